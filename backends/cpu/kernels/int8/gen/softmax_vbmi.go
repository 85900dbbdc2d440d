package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// softmaxVBMI holds the four byte planes of the table of exponentials in sixteen
// registers, so that one pass finds 64 of them; interleaving the planes leaves
// the 32-bit values in the order that packing restores.
func softmaxVBMI() {
	a := text("softmaxVBMI", "softmaxArgs", "computes rows.")
	y, x, k := load(a, softY), load(a, softX), load(a, softK)
	var planes [4][4]reg.VecVirtual
	table := load(a, softTable)
	for p := range planes {
		for i := range planes[p] {
			planes[p][i] = ZMM()
			VMOVDQU8(at(table, 256*p+64*i), planes[p][i])
		}
	}
	flip := ZMM()
	VPBROADCASTB(field(a, softFlip), flip)
	Label("row")

	// The greatest value.
	left, px := GP64(), GP64()
	MOVQ(k, left)
	MOVQ(x, px)
	top := ZMM()
	VPXORD(top, top, top)
	Label("max")
	tailMask(left, 64)
	v := ZMM()
	VMOVDQU8_Z(at(px, 0), reg.K1, v)
	VPXORD(flip, v, v)
	VMOVDQU8_Z(v, reg.K1, v)
	VPMAXUB(v, top, top)
	ADDQ(I32(64), px)
	SUBQ(I32(64), left)
	JG(LabelRef("max"))
	half := YMM()
	VEXTRACTI64X4(Imm(1), top, half)
	VPMAXUB(top.AsY(), half, half)
	quarter := XMM()
	VEXTRACTI32X4(Imm(1), half, quarter)
	VPMAXUB(half.AsX(), quarter, quarter)
	for _, n := range []uint64{8, 4, 2, 1} {
		moved := XMM()
		VPSRLDQ(Imm(n), quarter, moved)
		VPMAXUB(moved, quarter, quarter)
	}
	VPBROADCASTB(quarter, top)

	// exponentials gives the four vectors of the next 64 values.
	exponentials := func() [4]reg.VecVirtual {
		tailMask(left, 64)
		v := ZMM()
		VMOVDQU8_Z(at(px, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPSUBB(v, top, v)
		var b [4]reg.VecVirtual
		for p := range b {
			r := permute256(planes[p], v)
			VMOVDQU8_Z(r, reg.K1, r)
			b[p] = r
		}
		var e [4]reg.VecVirtual
		l, h := ZMM(), ZMM()
		for i := range e {
			e[i] = ZMM()
		}
		VPUNPCKLBW(b[1], b[0], l)
		VPUNPCKLBW(b[3], b[2], h)
		VPUNPCKLWD(h, l, e[0])
		VPUNPCKHWD(h, l, e[1])
		VPUNPCKHBW(b[1], b[0], l)
		VPUNPCKHBW(b[3], b[2], h)
		VPUNPCKLWD(h, l, e[2])
		VPUNPCKHWD(h, l, e[3])
		return e
	}
	next := func(label string) {
		ADDQ(I32(64), px)
		SUBQ(I32(64), left)
		JG(LabelRef(label))
	}

	// Their sum.
	MOVQ(k, left)
	MOVQ(x, px)
	sum := ZMM()
	VPXORD(sum, sum, sum)
	Label("sum")
	e := exponentials()
	for _, r := range e {
		VPADDD(r, sum, sum)
	}
	next("sum")
	VEXTRACTI64X4(Imm(1), sum, half)
	VPADDD(sum.AsY(), half, half)
	VEXTRACTI32X4(Imm(1), half, quarter)
	VPADDD(half.AsX(), quarter, quarter)
	for _, n := range []uint64{8, 4} {
		moved := XMM()
		VPSRLDQ(Imm(n), quarter, moved)
		VPADDD(moved, quarter, quarter)
	}
	factor := XMM()
	VCVTDQ2PS(quarter, quarter)
	VMOVSS(field(a, softFactor), factor)
	VDIVSS(quarter, factor, factor)
	r := ZMM()
	VBROADCASTSS(factor, r)

	// The results.
	MOVQ(k, left)
	MOVQ(x, px)
	Label("scale")
	e = exponentials()
	for _, q := range e {
		VCVTDQ2PS(q, q)
		VMULPS(r, q, q)
		VMAXPS_BCST(field(a, softLo), q, q)
		VMINPS_BCST(field(a, softHi), q, q)
		VCVTPS2DQ(q, q)
		VPADDD_BCST(field(a, softZero), q, q)
	}
	VPACKSSDW(e[1], e[0], e[0])
	VPACKSSDW(e[3], e[2], e[2])
	VPACKUSWB(e[2], e[0], e[0])
	yflip := ZMM()
	VPBROADCASTB(field(a, softYFlip), yflip)
	VPXORD(yflip, e[0], e[0])
	store(e[0], y, left, 64, false)
	ADDQ(I32(64), y)
	next("scale")
	ADDQ(left, y) // 0 or less: what the last step went too far
	ADDQ(k, x)
	DECQ(field(a, softRows))
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
