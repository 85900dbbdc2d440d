package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normRows is how many rows a layer norm takes at a time: a sum is one chain of
// additions per lane, so several are in flight.
const normRows = 4

// lines addresses up to four rows of n values, one after the other in memory.
type lines struct {
	p reg.GPVirtual
	strides
}

func newLines(p reg.Register, n reg.Register, rows int) lines {
	l := lines{p: GP64(), strides: strides{s1: GP64()}}
	MOVQ(p, l.p)
	MOVQ(n, l.s1)
	SHLQ(Imm(2), l.s1)
	if rows > 3 {
		l.s3 = GP64()
	}
	l.multiply()
	return l
}

func (l lines) at(row int) Mem { return l.from(l.p, row) }

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

// reciprocal sets every lane of s to 1 over its first.
func (e emitter) reciprocal(s vec) {
	one := XMM()
	VMOVUPS(e.c(1), one)
	VDIVPS(s.AsX(), one, one)
	VBROADCASTSS(one, s)
}

// scaleAndBias takes rows times scale, plus bias, where these are not nil, and moves
// them on.
func (e emitter) scaleAndBias(rows []vec, scale, bias, mask reg.Register) {
	for _, f := range []struct {
		p  reg.Register
		op func(...Op)
	}{{scale, VMULPS}, {bias, VADDPS}} {
		skip := label("skip")
		TESTQ(f.p, f.p)
		JZ(LabelRef(skip))
		s := e.maskedLoad(Mem{Base: f.p}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), f.p)
		for _, v := range rows {
			f.op(s, v, v)
		}
		Label(skip)
	}
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

// layerNorm writes the kernel of so many rows.
func (e emitter) layerNorm(rows int) {
	text(fmt.Sprintf("layerNorm%d%s", rows, e.v.name), "(y, x, scale, bias *float32, n int, inv, eps float32)",
		fmt.Sprintf("is fmath.LayerNorm of %d rows of n > 0 values, one after the other; inv is InvCount(n); scale and bias may be nil, y may be x.", rows))
	y, x := Load(Param("y"), GP64()), Load(Param("x"), GP64())
	scale, bias, n := Load(Param("scale"), GP64()), Load(Param("bias"), GP64()), Load(Param("n"), GP64())
	inv, eps := e.param("inv"), e.param("eps")

	// Two sums over each row: of the values, then of the squared differences.
	var mean, rstd []vec
	for second := range 2 {
		acc := make([]partials, rows)
		for r := range acc {
			acc[r] = e.zeros()
		}
		in, left := newLines(x, n, rows), GP64()
		MOVQ(n, left)
		e.blocks16(nil, left, func(i int, mask reg.Register) {
			for r := range rows {
				v := e.maskedLoad(in.at(r), mask)
				if second == 1 {
					v = e.sub(v, mean[r])
					v = e.mul(v, v)
				}
				e.addTo(acc[r][i], v, mask)
			}
			ADDQ(Imm(uint64(e.v.bytes)), in.p)
		})
		for r := range rows {
			s := e.all(acc[r], VADDPS)
			VMULPS(inv, s, s)
			if second == 0 {
				mean = append(mean, s)
				continue
			}
			VADDPS(eps, s, s)
			VSQRTPS(s.AsX(), s.AsX())
			e.reciprocal(s)
			rstd = append(rstd, s)
		}
	}

	in, out := newLines(x, n, rows), newLines(y, n, rows)
	elementLoop(e, n, func(mask reg.Register) {
		v := make([]vec, rows)
		for r := range v {
			v[r] = e.mul(e.sub(e.maskedLoad(in.at(r), mask), mean[r]), rstd[r])
		}
		e.scaleAndBias(v, scale, bias, mask)
		for r := range v {
			e.maskedStore(v[r], out.at(r), mask)
		}
		ADDQ(Imm(uint64(e.v.bytes)), in.p)
		ADDQ(Imm(uint64(e.v.bytes)), out.p)
	})
	VZEROUPPER()
	RET()
}

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
