package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// weightPacker rounds weights that packing saturates to 0 and 255, four vectors at a
// time; what is no number becomes the least integer, so 0. Their sum is a product
// with ones.
type weightPacker struct{ inv, order, ones reg.VecVirtual }

func newWeightPacker(a reg.Register, inv, order int) weightPacker {
	p := weightPacker{inv: broadcast(a, inv), order: ZMM(), ones: ones8()}
	VMOVDQU32(Mem{Base: load(a, order)}, p.order)
	return p
}

// pack takes four vectors of exponentials, so far apart, times r, writes them to out
// and adds them to acc.
func (p weightPacker) pack(from reg.Register, apart int, r reg.VecVirtual, out reg.Register, acc reg.VecVirtual) {
	v := zmmsOf(4)
	for i := range v {
		VMULPS(Mem{Base: from, Disp: apart * i}, r, v[i])
		VMULPS(p.inv, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	VPACKUSDW(v[1], v[0], v[0])
	VPACKUSDW(v[3], v[2], v[2])
	VPACKUSWB(v[2], v[0], v[0])
	VPERMD(v[0], p.order, v[0])
	VMOVDQU32(v[0], Mem{Base: out})
	VPDPBUSD(p.ones, v[0], acc)
}
