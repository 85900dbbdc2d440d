package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// window512 goes through the taps of a window for each vector of columns.
func window512(a reg.Register, per, outBytes int, begin func(y reg.GPVirtual), tap func(x reg.GPVirtual), end func(y, n reg.GPVirtual)) {
	yStep, xStep := load(a, winYStep), load(a, winXStep)
	y0, x0 := load(a, winY), load(a, winX)
	Label("pixel")
	y, x, n := GP64(), GP64(), load(a, winN)
	MOVQ(y0, y)
	MOVQ(x0, x)
	Label("columns")
	tailMask(n, per)
	begin(y)
	windowTaps(a, x, xStep, yStep, tap)
	end(y, n)
	ADDQ(I32(per), x)
	ADDQ(I32(per*outBytes), y)
	SUBQ(I32(per), n)
	JG(LabelRef("columns"))
	nextPixel(a, x0, y0)
	VZEROUPPER()
	RET()
}

func max512() {
	a := text("maxVNNI", "windowArgs", "takes the greatest byte of each column over a window.")
	maxOfNine(a)
	Label("any")
	flip, acc := ZMM(), ZMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window512(a, 64, 1, func(reg.GPVirtual) {
		VPXORD(acc, acc, acc)
	}, func(x reg.GPVirtual) {
		v := ZMM()
		VMOVDQU8_Z(at(x, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPMAXUB(v, acc, acc)
	}, func(y, n reg.GPVirtual) {
		VPXORD(flip, acc, acc)
		store(acc, y, n, 64, false)
	})
}

// maxOfNine takes windows of 3×3 taps with whole vectors of columns; others go on
// behind it.
func maxOfNine(a reg.Register) {
	for _, offset := range []int{winNX, winNY} {
		CMPQ(field(a, offset), Imm(3))
		JNE(LabelRef("any"))
	}
	n := load(a, winN)
	TESTQ(U32(63), n)
	JNZ(LabelRef("any"))
	y, x, xStep, yStep, count := load(a, winY), load(a, winX), load(a, winXStep), load(a, winYStep), load(a, winCount)
	flip := GP32()
	MOVL(field(a, winFlip), flip)
	windows := func(name string, greater func(...Op)) {
		Label(name)
		lines, to, left := [3]reg.GPVirtual{GP64(), GP64(), GP64()}, GP64(), GP64()
		MOVQ(x, lines[0])
		for i := range 2 {
			LEAQ(Mem{Base: lines[i], Index: yStep, Scale: 1}, lines[i+1])
		}
		MOVQ(y, to)
		MOVQ(n, left)
		Label(name + "Columns")
		acc := ZMM()
		VMOVDQU64(at(lines[0], 0), acc)
		for i, l := range lines {
			if i > 0 {
				greater(at(l, 0), acc, acc)
			}
			for tap := range 2 {
				greater(Mem{Base: l, Index: xStep, Scale: uint8(tap + 1)}, acc, acc)
			}
			ADDQ(Imm(64), l)
		}
		VMOVDQU64(acc, at(to, 0))
		ADDQ(Imm(64), to)
		SUBQ(Imm(64), left)
		JNZ(LabelRef(name + "Columns"))
		ADDQ(field(a, winXMove), x)
		ADDQ(field(a, winYMove), y)
		DECQ(count)
		JNZ(LabelRef(name))
		VZEROUPPER()
		RET()
	}
	TESTL(flip, flip)
	JNZ(LabelRef("signed"))
	windows("unsigned", VPMAXUB)
	windows("signed", VPMAXSB)
}

func sum512() {
	a := text("sumVNNI", "windowArgs", "adds the bytes of each column over a window to int32 sums.")
	flip, acc := broadcast(a, winFlip), ZMM()
	window512(a, 16, 4, func(y reg.GPVirtual) {
		VMOVDQU32_Z(at(y, 0), reg.K1, acc)
	}, func(x reg.GPVirtual) {
		v := ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPADDD(v, acc, acc)
	}, func(y, _ reg.GPVirtual) {
		VMOVDQU32(acc, reg.K1, at(y, 0))
	})
}
