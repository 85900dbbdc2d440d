package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// window256 goes through the taps of a window for each vector of columns.
func window256(a reg.Register, per, outBytes int, begin, tap, end func(p reg.GPVirtual)) {
	yStep, xStep := load(a, winYStep), load(a, winXStep)
	y0, x0 := load(a, winY), load(a, winX)
	Label("pixel")
	y, x, n := GP64(), GP64(), load(a, winN)
	MOVQ(y0, y)
	MOVQ(x0, x)
	SUBQ(I32(per), n)
	JLT(LabelRef("done"))
	Label("columns")
	begin(y)
	windowTaps(a, x, xStep, yStep, tap)
	end(y)
	ADDQ(I32(per), x)
	ADDQ(I32(per*outBytes), y)
	SUBQ(I32(per), n)
	JGE(LabelRef("columns"))
	Label("done")
	nextPixel(a, x0, y0)
	VZEROUPPER()
	RET()
}

func max256() {
	a := text("maxAVX2", "windowArgs", "takes the greatest byte of each column of whole vectors.")
	flip, acc := YMM(), YMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window256(a, 32, 1, func(reg.GPVirtual) { VPXOR(acc, acc, acc) }, func(x reg.GPVirtual) {
		v := YMM()
		VPXOR(at(x, 0), flip, v)
		VPMAXUB(v, acc, acc)
	}, func(y reg.GPVirtual) {
		VPXOR(flip, acc, acc)
		VMOVDQU(acc, at(y, 0))
	})
}

// maxEights is max256 on eight columns at a time.
func maxEights() {
	a := text("maxEightsAVX2", "windowArgs", "takes the greatest byte of each column of whole eights.")
	flip, acc := XMM(), XMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window256(a, 8, 1, func(reg.GPVirtual) { VPXOR(acc, acc, acc) }, func(x reg.GPVirtual) {
		v := XMM()
		VMOVQ(at(x, 0), v)
		VPXOR(flip, v, v)
		VPMAXUB(v, acc, acc)
	}, func(y reg.GPVirtual) {
		VPXOR(flip, acc, acc)
		VMOVQ(acc, at(y, 0))
	})
}

func sum256() {
	a := text("sumAVX2", "windowArgs", "adds the bytes of each column of whole vectors.")
	flip, acc := broadcast256(a, winFlip), YMM()
	window256(a, 8, 4, func(y reg.GPVirtual) { VMOVDQU(at(y, 0), acc) }, func(x reg.GPVirtual) {
		v := YMM()
		VPMOVZXBD(at(x, 0), v)
		VPXOR(flip, v, v)
		VPADDD(v, acc, acc)
	}, func(y reg.GPVirtual) { VMOVDQU(acc, at(y, 0)) })
}
