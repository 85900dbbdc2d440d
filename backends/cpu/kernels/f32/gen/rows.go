package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// partials are the sixteen partial results of fmath.Sum16: one register, or two.
type partials []vec

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

func (e emitter) zeros() partials {
	p := partials{}
	for range 64 / e.v.bytes {
		r := e.reg()
		if e.v.is512() {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
		p = append(p, r)
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

// transpose8 turns 8 rows of values into 8 columns, 8x8 values at a time.
func transpose8() {
	text("transpose8", "(dst, src *float32, dstStep, srcStep, blocks int)",
		"writes value j of row i of src to value i of row j of dst, for 8 rows i srcStep bytes apart and 8*blocks rows j dstStep bytes apart (AVX2).")
	dst, src, ds, ss, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("dstStep"), GP64()), Load(Param("srcStep"), GP64()), Load(Param("blocks"), GP64())
	mid := func(base, step reg.Register) reg.GPVirtual {
		r := GP64()
		LEAQ(Mem{Base: base, Index: step, Scale: 4}, r)
		return r
	}
	from, to := strides{s1: ss, s3: GP64()}, strides{s1: ds, s3: GP64()}
	from.multiply()
	to.multiply()
	at := func(s strides, lo, hi reg.Register, i int) Mem {
		return s.from([]reg.Register{lo, hi}[i/4], i%4)
	}
	Label("block")
	sh, dh := mid(src, ss), mid(dst, ds)
	var r, t [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(at(from, src, sh, i), r[i])
	}
	for i := 0; i < 8; i += 2 {
		t[i], t[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			r[i+2*j], r[i+2*j+1] = YMM(), YMM()
			VSHUFPS(Imm(0x44), t[i+2+j], t[i+j], r[i+2*j])
			VSHUFPS(Imm(0xee), t[i+2+j], t[i+j], r[i+2*j+1])
		}
	}
	for i := range 4 {
		lo, hi := YMM(), YMM()
		VPERM2F128(Imm(0x20), r[i+4], r[i], lo)
		VPERM2F128(Imm(0x31), r[i+4], r[i], hi)
		VMOVUPS(lo, at(to, dst, dh, i))
		VMOVUPS(hi, at(to, dst, dh, i+4))
	}
	ADDQ(Imm(32), src)
	LEAQ(Mem{Base: dst, Index: ds, Scale: 8}, dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
