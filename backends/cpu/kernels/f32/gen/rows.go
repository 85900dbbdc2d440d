package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func rows() {
	transpose8()
	for _, v := range []vecISA{avx512, avx2} {
		e := emitter{v}
		text("sum16"+v.name, "(x *float32, n int) (s float32)", "is fmath.Sum16.")
		x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
		e.reduce(x, n, e.zeros(), func(x, acc vec) vec { return e.add(acc, x) })

		text("sumSq16"+v.name, "(x *float32, n int, c float32) (s float32)", "is fmath.SumSq16.")
		x, n = Load(Param("x"), GP64()), Load(Param("n"), GP64())
		c := e.param("c")
		e.reduce(x, n, e.zeros(), func(x, acc vec) vec {
			d := e.sub(x, c)
			return e.add(acc, e.mul(d, d))
		})

		text("rowMax"+v.name, "(x *float32, n int) (s float32)", "returns the greatest of n > 0 values; any of them if one is NaN.")
		x, n = Load(Param("x"), GP64()), Load(Param("n"), GP64())
		e.rowMax(x, n)

		for _, f := range []struct {
			name, of string
			op       func(...Op)
		}{{"max16", "Max16", VMAXPS}, {"min16", "Min16", VMINPS}} {
			text(f.name+v.name, "(p, x *float32, n int)", "folds n values into the sixteen partial results at p, as fmath."+f.of+" does.")
			p := Load(Param("p"), GP64())
			x, n = Load(Param("x"), GP64()), Load(Param("n"), GP64())
			e.foldInto(p, x, n, f.op)
		}

		text("expSum"+v.name, "(y, x *float32, n int, m float32) (s float32)", "writes fmath.SoftExp(x-m) to y, which may be x, and returns its Sum16.")
		y := Load(Param("y"), GP64())
		x, n = Load(Param("x"), GP64()), Load(Param("n"), GP64())
		m := e.param("m")
		e.reduceStore(x, n, y, e.zeros(), func(x vec) vec { return e.softExp(e.sub(x, m)) })

		for _, rows := range []int{1, normRows} {
			e.layerNorm(rows)
		}
		e.softmax()

		text("normRow"+v.name, "(y, x, scale, bias *float32, n int, mean, rstd float32)", "writes (x-mean)*rstd, times scale and plus bias where they are not nil; y may be x.")
		e.normRow()
	}
}

func (e emitter) param(name string) vec {
	s := XMM()
	Load(Param(name), s)
	r := e.reg()
	VBROADCASTSS(s, r)
	return r
}

func (e emitter) reduce(x, n reg.Register, p partials, f func(x, acc vec) vec) {
	e.blocks16(x, n, func(i int, mask reg.Register) {
		v := e.maskedLoad(Mem{Base: x}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), x)
		e.merge(p[i], f(v, p[i]), mask)
	})
	e.tree(p, VADDPS)
}

func (e emitter) reduceStore(x, n, y reg.Register, p partials, f func(x vec) vec) {
	e.blocks16(x, n, func(i int, mask reg.Register) {
		v := f(e.maskedLoad(Mem{Base: x}, mask))
		e.maskedStore(v, Mem{Base: y}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), x)
		ADDQ(Imm(uint64(e.v.bytes)), y)
		e.merge(p[i], e.add(p[i], v), mask)
	})
	e.tree(p, VADDPS)
}

// foldInto folds x into the partial results at p with fmath.Max or Min.
func (e emitter) foldInto(p, x, n reg.Register, op func(...Op)) {
	acc := partials{}
	for i := range 64 / e.v.bytes {
		acc = append(acc, e.load(Mem{Base: p, Disp: i * e.v.bytes}))
	}
	e.blocks16(x, n, func(i int, mask reg.Register) {
		v := e.maskedLoad(Mem{Base: x}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), x)
		e.merge(acc[i], e.extreme(acc[i], v, op), mask)
	})
	for i, r := range acc {
		VMOVUPS(r, Mem{Base: p, Disp: i * e.v.bytes})
	}
	VZEROUPPER()
	RET()
}

// rowMax ignores the sign of zeros and where NaN stands: its one use subtracts
// the result.
func (e emitter) rowMax(x, n reg.Register) {
	acc := e.firstOf(x)
	e.blocks16(x, n, func(i int, mask reg.Register) {
		v := e.maskedLoad(Mem{Base: x}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), x)
		r := e.reg()
		VMAXPS(v, acc[i], r)
		e.merge(acc[i], r, mask)
	})
	e.tree(acc, VMAXPS)
}

func (e emitter) normRow() {
	y, x, scale, bias := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("scale"), GP64()), Load(Param("bias"), GP64())
	n := Load(Param("n"), GP64())
	mean, rstd := e.param("mean"), e.param("rstd")
	elementLoop(e, n, func(mask reg.Register) {
		v := e.mul(e.sub(e.maskedLoad(Mem{Base: x}, mask), mean), rstd)
		e.scaleAndBias([]vec{v}, scale, bias, mask)
		e.maskedStore(v, Mem{Base: y}, mask)
		ADDQ(Imm(uint64(e.v.bytes)), x)
		ADDQ(Imm(uint64(e.v.bytes)), y)
	})
	VZEROUPPER()
	RET()
}
