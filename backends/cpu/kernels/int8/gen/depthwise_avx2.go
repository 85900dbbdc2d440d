package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwiseAVX2 writes the depthwise kernels on 256 bits: four taps through
// VPDPBUSD, or two taps through VPMADDWD.
func depthwiseAVX2() {
	depthwise256("depthwiseAVXVNNI", 4, false)
	depthwise256("depthwiseAVX2", 2, false)
	depthwise256("depthwiseSumsAVXVNNI", 4, true)
	depthwise256("depthwiseSumsAVX2", 2, true)
}

func depthwise256(name string, group int, sums bool) {
	doc := "computes steps of any number of taps."
	if sums {
		doc = "computes steps of any number of taps and writes int32 sums."
	}
	a := text(name, "dwArgs", doc)
	x, y := load(a, dwX), load(a, dwY)
	acc, tap, mixed, t0, t1, none := ymms[:4], ymms[4:8], ymms[8:12], ymms[12], ymms[13], ymms[14]
	init := load(a, dwInit)
	var mult reg.GPVirtual
	if !sums {
		mult = load(a, dwMult)
	}
	VPXOR(none, none, none)
	Label("step")
	for v, r := range acc {
		VMOVDQU(at(init, 32*v), r)
	}
	taps, w, groups := load(a, dwTaps), load(a, dwW), load(a, dwQuads)
	Label("group")
	for t := range group {
		off := load(taps, 8*t)
		VMOVDQU(Mem{Base: x, Index: off, Scale: 1}, tap[t])
	}
	VPUNPCKLBW(tap[1], tap[0], mixed[0])
	VPUNPCKHBW(tap[1], tap[0], mixed[1])
	if group == 4 {
		VPUNPCKLBW(tap[3], tap[2], mixed[2])
		VPUNPCKHBW(tap[3], tap[2], mixed[3])
	}
	for v, r := range acc {
		if group == 4 {
			if v%2 == 0 {
				VPUNPCKLWD(mixed[2+v/2], mixed[v/2], t0)
			} else {
				VPUNPCKHWD(mixed[2+v/2], mixed[v/2], t0)
			}
			VMOVDQU(at(w, 32*v), t1)
			vexVPDPBUSD(t1, t0, r)
			continue
		}
		if v%2 == 0 {
			VPUNPCKLBW(none, mixed[v/2], t0)
		} else {
			VPUNPCKHBW(none, mixed[v/2], t0)
		}
		VPMADDWD(at(w, 32*v), t0, t0)
		VPADDD(t0, r, r)
	}
	ADDQ(I32(8*group), taps)
	ADDQ(I32(128), w)
	DECQ(groups)
	JNZ(LabelRef("group"))

	next := func() {
		ADDQ(field(a, dwXStep), x)
		ADDQ(field(a, dwYStep), y)
		DECQ(field(a, dwN))
		JNZ(LabelRef("step"))
		VZEROUPPER()
		RET()
	}
	if sums {
		// Lane l of vectors 2i and 2i+1 is vector 2l+i in the order of the channels.
		for j := range 4 {
			i, l := j%2, j/2
			VPERM2I128(Imm([]uint64{0x20, 0x31}[l]), acc[2*i+1], acc[2*i], t0)
			VMOVDQU(t0, at(y, 32*j))
		}
		next()
		return
	}
	lo, hi, zero, flip := tap[0], tap[1], tap[2], tap[3]
	VPBROADCASTD(field(a, dwLo), lo)
	VPBROADCASTD(field(a, dwHi), hi)
	VPBROADCASTD(field(a, dwZero), zero)
	VPBROADCASTB(field(a, dwYFlip), flip)
	for v, r := range acc {
		scaleClamped(r, at(mult, 32*v), lo, hi)
		VPADDD(zero, r, r)
	}
	VPACKSSDW(acc[1], acc[0], acc[0])
	VPACKSSDW(acc[3], acc[2], acc[2])
	VPACKUSWB(acc[2], acc[0], acc[0])
	VPXOR(flip, acc[0], acc[0])
	VMOVDQU(acc[0], at(y, 0))
	next()
}
