package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// partials are the sixteen partial results of fmath.Sum16: one register, or two.
type partials []vec

func (e emitter) zeros() partials {
	p := partials{}
	for range 64 / e.v.bytes {
		p = append(p, e.zero())
	}
	return p
}

// blocks16 runs body for each vector of x: whole blocks of 16 values, then the
// rest with masks. i is the index of the vector within its block.
func (e emitter) blocks16(x, n reg.Register, body func(i int, mask reg.Register)) {
	loop, rest, end := label("loop"), label("rest"), label("end")
	Label(loop)
	CMPQ(n, Imm(16))
	JLT(LabelRef(rest))
	for i := range 64 / e.v.bytes {
		body(i, nil)
	}
	SUBQ(Imm(16), n)
	JMP(LabelRef(loop))
	Label(rest)
	if e.v.is512() {
		TESTQ(n, n)
		JZ(LabelRef(end))
		body(0, e.restMask(n))
	} else {
		second := label("second")
		CMPQ(n, Imm(8))
		JLT(LabelRef(second))
		body(0, nil)
		SUBQ(Imm(8), n)
		TESTQ(n, n)
		JZ(LabelRef(end))
		body(1, e.restMask(n))
		JMP(LabelRef(end))
		Label(second)
		TESTQ(n, n)
		JZ(LabelRef(end))
		body(0, e.restMask(n))
	}
	Label(end)
}

// merge sets acc = r in the lanes of the mask.
func (e emitter) merge(acc, r vec, mask reg.Register) {
	switch {
	case mask == nil:
		VMOVAPS(r, acc)
	case e.v.is512():
		VMOVAPS(r, mask, acc)
	default:
		VBLENDVPS(mask, r, acc, acc)
	}
}

// tree folds the partials as fmath.Tree does and returns the result.
func (e emitter) tree(p partials, op func(...Op)) {
	y, hi := YMM(), YMM()
	if e.v.is512() {
		VEXTRACTF64X4(Imm(1), p[0], hi)
		op(hi, p[0].AsY(), y)
	} else {
		op(p[1], p[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, t)
	op(t, y.AsX(), x)
	VMOVHLPS(x, x, t)
	op(t, x, x)
	VMOVSHDUP(x, t)
	op(t, x, x)
	Store(x, Return("s"))
	VZEROUPPER()
	RET()
}

// all folds the partials as fmath.Tree does, with the result in every lane.
func (e emitter) all(p partials, op func(...Op)) vec {
	r := p[0]
	t := e.reg()
	if e.v.is512() {
		VSHUFF32X4(Imm(0x4e), r, r, t)
		op(t, r, r)
		VSHUFF32X4(Imm(0xb1), r, r, t)
	} else {
		op(p[1], r, r)
		VPERM2F128(Imm(1), r, r, t)
	}
	op(t, r, r)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPERMILPS(Imm(swap), r, t)
		op(t, r, r)
	}
	return r
}

// firstOf begins partials with the value at x.
func (e emitter) firstOf(x reg.Register) (p partials) {
	for range 64 / e.v.bytes {
		r := e.reg()
		VBROADCASTSS(Mem{Base: x}, r)
		p = append(p, r)
	}
	return p
}

// addTo sets acc += x in the lanes of the mask.
func (e emitter) addTo(acc, x vec, mask reg.Register) {
	switch {
	case mask == nil:
		VADDPS(x, acc, acc)
	case e.v.is512():
		VADDPS(x, acc, mask, acc)
	default:
		e.merge(acc, e.add(acc, x), mask)
	}
}
