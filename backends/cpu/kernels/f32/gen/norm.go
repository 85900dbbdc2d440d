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
