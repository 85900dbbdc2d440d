package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwiseVNNI writes the depthwise kernels on 512 bits: the bytes of four taps
// are interleaved, so that one VPDPBUSD multiplies and adds all four.
func depthwiseVNNI() {
	depthwise9("depthwise9VNNI")
	depthwiseAny("depthwiseVNNI")
}

// dwFrame is what both depthwise kernels keep.
type dwFrame struct {
	a            reg.Register
	x, y         reg.GPVirtual
	cols         reg.GPVirtual // channels that are stored
	lo, hi, zero reg.VecVirtual
	flip         reg.VecVirtual
	mult, acc    [4]reg.VecVirtual
}

func dwBegin(name, doc string) *dwFrame {
	f := &dwFrame{a: text(name, "dwArgs", doc)}
	f.x, f.y = load(f.a, dwX), load(f.a, dwY)
	f.lo, f.hi, f.zero, f.flip = broadcast(f.a, dwLo), broadcast(f.a, dwHi), broadcast(f.a, dwZero), ZMM()
	VPACKSSDW(f.zero, f.zero, f.zero)
	VPBROADCASTB(field(f.a, dwYFlip), f.flip)
	mult := load(f.a, dwMult)
	for v := range f.mult {
		f.mult[v] = ZMM()
		VMOVUPS(at(mult, 64*v), f.mult[v])
	}
	KMOVQ(field(f.a, dwMask), reg.K1)
	f.cols = GP64()
	POPCNTQ(field(f.a, dwMask), f.cols)
	return f
}

// quad interleaves the bytes of four taps and adds their products; w gives the
// weights of the four vectors.
func (f *dwFrame) quad(x [4]reg.VecVirtual, w func(v int) Op) {
	lo, hi := [2]reg.VecVirtual{ZMM(), ZMM()}, [2]reg.VecVirtual{ZMM(), ZMM()}
	for i := range 2 {
		VPUNPCKLBW(x[2*i+1], x[2*i], lo[i])
		VPUNPCKHBW(x[2*i+1], x[2*i], hi[i])
	}
	for i, h := range [][2]reg.VecVirtual{lo, hi} {
		a, b := ZMM(), ZMM()
		VPUNPCKLWD(h[1], h[0], a)
		VPUNPCKHWD(h[1], h[0], b)
		VPDPBUSD(w(2*i), a, f.acc[2*i])
		VPDPBUSD(w(2*i+1), b, f.acc[2*i+1])
	}
}

// finish requantizes the sums and stores one vector of bytes.
func (f *dwFrame) finish() {
	q := f.acc
	for v := range q {
		VCVTDQ2PS(q[v], q[v])
	}
	for v := range q {
		VMULPS(f.mult[v], q[v], q[v])
	}
	for v := range q {
		VMAXPS(f.lo, q[v], q[v])
	}
	for v := range q {
		VMINPS(f.hi, q[v], q[v])
	}
	for v := range q {
		VCVTPS2DQ(q[v], q[v])
	}
	VPACKSSDW(q[1], q[0], q[0])
	VPACKSSDW(q[3], q[2], q[2])
	VPADDW(f.zero, q[0], q[0])
	VPADDW(f.zero, q[2], q[2])
	VPACKUSWB(q[2], q[0], q[0])
	VPXORD(f.flip, q[0], q[0])
	store(q[0], f.y, f.cols, 64, false)
	ADDQ(field(f.a, dwXStep), f.x)
	ADDQ(field(f.a, dwYStep), f.y)
}

// depthwise9 keeps the offsets of nine taps and nearly all weights in registers.
func depthwise9(name string) {
	f := dwBegin(name, "computes steps of nine taps.")
	taps, w, init := load(f.a, dwTaps), load(f.a, dwW), load(f.a, dwInit)
	// Offsets count from the first tap; x is the ninth register.
	var off [9]reg.GPVirtual
	for t := 1; t < 9; t++ {
		off[t] = load(taps, 8*t)
	}
	var ws [8]reg.VecVirtual
	for i := range ws {
		ws[i] = ZMM()
		VMOVDQU32(at(w, 64*i), ws[i])
	}
	Label("step")
	for v := range f.acc {
		f.acc[v] = ZMM()
		VMOVDQU32(at(init, 64*v), f.acc[v])
	}
	tap := func(t int) reg.VecVirtual {
		z := ZMM()
		if t == 0 {
			VMOVDQU32(at(f.x, 0), z)
		} else {
			VMOVDQU32(Mem{Base: f.x, Index: off[t], Scale: 1}, z)
		}
		return z
	}
	for q := range 2 {
		f.quad([4]reg.VecVirtual{tap(4 * q), tap(4*q + 1), tap(4*q + 2), tap(4*q + 3)}, func(v int) Op { return ws[4*q+v] })
	}
	// The last tap alone: its bytes widened to 32 bits in the same order.
	x, none := tap(8), ZMM()
	VPXORD(none, none, none)
	f.quad([4]reg.VecVirtual{x, none, none, none}, func(v int) Op { return at(w, 512+64*v) })
	f.finish()
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// depthwiseAny goes through any number of quads.
func depthwiseAny(name string) {
	f := dwBegin(name, "computes steps of any number of taps.")
	init := load(f.a, dwInit)
	Label("step")
	for v := range f.acc {
		f.acc[v] = ZMM()
		VMOVDQU32(at(init, 64*v), f.acc[v])
	}
	taps, w, quads := load(f.a, dwTaps), load(f.a, dwW), load(f.a, dwQuads)
	Label("quad")
	var x [4]reg.VecVirtual
	for t := range x {
		x[t] = ZMM()
		off := load(taps, 8*t)
		VMOVDQU32(Mem{Base: f.x, Index: off, Scale: 1}, x[t])
	}
	f.quad(x, func(v int) Op { return at(w, 64*v) })
	ADDQ(I32(32), taps)
	ADDQ(I32(256), w)
	DECQ(quads)
	JNZ(LabelRef("quad"))
	f.finish()
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}
