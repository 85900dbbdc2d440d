package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// softmax writes the kernel. The greatest value of a row may come out as any of
// its values where one is NaN: its one use subtracts it, and the sum is NaN.
func (e emitter) softmax() {
	text("softmax"+e.v.name, "(y, x, bias *float32, rows, n int)",
		"is fmath.Softmax of rows > 0 rows of n > 0 values, one after the other, to each of which the n values of bias are added, unless it is nil; y may be x.")
	y, x, bias := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("bias"), GP64())
	rows, n := Load(Param("rows"), GP64()), Load(Param("n"), GP64())
	src, at, left, b := GP64(), GP64(), GP64(), GP64()
	step := Imm(uint64(e.v.bytes))

	Label("row")
	acc := e.firstOf(x)
	greater := func(i int, v vec, mask reg.Register) {
		if mask != nil && e.v.is512() {
			VMAXPS(v, acc[i], mask, acc[i])
			return
		}
		r := e.reg()
		VMAXPS(v, acc[i], r)
		e.merge(acc[i], r, mask)
	}
	MOVQ(x, src)
	MOVQ(n, left)
	TESTQ(bias, bias)
	JNZ(LabelRef("biased"))
	e.blocks16(nil, left, func(i int, mask reg.Register) {
		greater(i, e.maskedLoad(Mem{Base: src}, mask), mask)
		ADDQ(step, src)
	})
	MOVQ(x, src)
	JMP(LabelRef("exp"))

	// The sums go to y and are read again from there.
	Label("biased")
	MOVQ(bias, b)
	MOVQ(y, at)
	for _, r := range acc {
		first := XMM()
		VMOVSS(Mem{Base: bias}, first)
		VADDSS(Mem{Base: x}, first, first)
		VBROADCASTSS(first, r)
	}
	e.blocks16(nil, left, func(i int, mask reg.Register) {
		v := e.add(e.maskedLoad(Mem{Base: src}, mask), e.maskedLoad(Mem{Base: b}, mask))
		e.maskedStore(v, Mem{Base: at}, mask)
		greater(i, v, mask)
		ADDQ(step, src)
		ADDQ(step, b)
		ADDQ(step, at)
	})
	MOVQ(y, src)

	Label("exp")
	m := e.all(acc, VMAXPS)
	sum := e.zeros()
	MOVQ(y, at)
	MOVQ(n, left)
	e.blocks16(nil, left, func(i int, mask reg.Register) {
		v := e.softExp(e.sub(e.maskedLoad(Mem{Base: src}, mask), m))
		e.maskedStore(v, Mem{Base: at}, mask)
		ADDQ(step, src)
		ADDQ(step, at)
		e.addTo(sum[i], v, mask)
	})
	s := e.all(sum, VADDPS)
	e.reciprocal(s)
	MOVQ(n, left)
	MOVQ(y, at)
	elementLoop(e, left, func(mask reg.Register) {
		e.maskedStore(e.mul(e.maskedLoad(Mem{Base: at}, mask), s), Mem{Base: at}, mask)
		ADDQ(step, at)
	})
	LEAQ(Mem{Base: x, Index: n, Scale: 4}, x)
	LEAQ(Mem{Base: y, Index: n, Scale: 4}, y)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
