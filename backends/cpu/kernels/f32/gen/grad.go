package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// grad writes what training steps need: the sums and the second passes of batch
// norms, over whole vectors of channels, and the gradient of clamps.
func grad() {
	for _, v := range []vecISA{avx512, avx2} {
		e := emitter{v}
		text("normSums"+v.name, "(sums, x, pivot *float32, rows, step, cstep, vecs int)",
			"writes for each channel of vecs vectors the sum of x-pivot over rows step bytes apart, and cstep bytes on that of the squares.")
		e.columns([]string{"x"}, func(p []reg.Register, sums, chans, cstep, rows, step reg.Register) {
			m := e.load(Mem{Base: chans})
			s, q := e.zero(), e.zero()
			e.down(rows, step, p, func() {
				d := e.sub(e.load(Mem{Base: p[0]}), m)
				VADDPS(d, s, s)
				VFMADD231PS(d, d, q)
			})
			VMOVUPS(s, Mem{Base: sums})
			VMOVUPS(q, Mem{Base: sums, Index: cstep, Scale: 1})
		}, "sums", "pivot")

		text("normGradSums"+v.name, "(sums, x, dy, mean *float32, rows, step, cstep, vecs int)",
			"writes for each channel of vecs vectors the sum of dy over rows step bytes apart, and cstep bytes on that of dy*(x-mean).")
		e.columns([]string{"x", "dy"}, func(p []reg.Register, sums, chans, cstep, rows, step reg.Register) {
			m := e.load(Mem{Base: chans})
			s, q := e.zero(), e.zero()
			e.down(rows, step, p, func() {
				d := e.sub(e.load(Mem{Base: p[0]}), m)
				g := e.load(Mem{Base: p[1]})
				VADDPS(g, s, s)
				VFMADD231PS(d, g, q)
			})
			VMOVUPS(s, Mem{Base: sums})
			VMOVUPS(q, Mem{Base: sums, Index: cstep, Scale: 1})
		}, "sums", "mean")

		text("normApply"+v.name, "(y, x, f *float32, rows, step, cstep, vecs int)",
			"writes (x-f0)*f1 + f2 (FMA) for rows step bytes apart; f0, f1, f2 lie cstep bytes apart.")
		e.columns([]string{"y", "x"}, func(p []reg.Register, _, chans, cstep, rows, step reg.Register) {
			m, a, b := e.load(Mem{Base: chans}), e.load(Mem{Base: chans, Index: cstep, Scale: 1}), e.load(Mem{Base: chans, Index: cstep, Scale: 2})
			e.down(rows, step, p, func() {
				d := e.sub(e.load(Mem{Base: p[1]}), m)
				e.fma(d, a, b)
				VMOVUPS(d, Mem{Base: p[0]})
			})
		}, "", "f")

		text("normGradApply"+v.name, "(dx, x, dy, f *float32, rows, step, cstep, vecs int)",
			"writes (x-f0)*f1 + (f2*dy + f3) (FMA) for rows step bytes apart; f0 to f3 lie cstep bytes apart.")
		e.columns([]string{"dx", "x", "dy"}, func(p []reg.Register, _, chans, cstep, rows, step reg.Register) {
			at := GP64()
			LEAQ(Mem{Base: chans, Index: cstep, Scale: 1}, at)
			m, k1 := e.load(Mem{Base: chans}), e.load(Mem{Base: at})
			a, k0 := e.load(Mem{Base: at, Index: cstep, Scale: 1}), e.load(Mem{Base: at, Index: cstep, Scale: 2})
			e.down(rows, step, p, func() {
				d := e.sub(e.load(Mem{Base: p[1]}), m)
				g := e.load(Mem{Base: p[2]})
				e.fma(g, a, k0)
				e.fma(d, k1, g)
				VMOVUPS(d, Mem{Base: p[0]})
			})
		}, "", "f")

		text("clampGrad"+v.name, "(dx, x, dy *float32, n int, lo, hi float32)", "writes dy where lo < x < hi, else 0; dx may be x or dy.")
		dx, x, dy, n := Load(Param("dx"), GP64()), Load(Param("x"), GP64()), Load(Param("dy"), GP64()), Load(Param("n"), GP64())
		lo, hi := e.param("lo"), e.param("hi")
		elementLoop(e, n, func(mask reg.Register) {
			a, g := e.maskedLoad(Mem{Base: x}, mask), e.maskedLoad(Mem{Base: dy}, mask)
			r := e.reg()
			if v.is512() {
				k := K()
				VCMPPS(Imm(less), a, lo, k)
				VCMPPS(Imm(less), hi, a, k, k)
				VMOVAPS_Z(g, k, r)
			} else {
				c, d := YMM(), YMM()
				VCMPPS(Imm(less), a, lo, c)
				VCMPPS(Imm(less), hi, a, d)
				VANDPS(c, d, c)
				VANDPS(c, g, r)
			}
			e.maskedStore(r, Mem{Base: dx}, mask)
			for _, p := range []reg.Register{dx, x, dy} {
				ADDQ(Imm(uint64(v.bytes)), p)
			}
		})
		VZEROUPPER()
		RET()
	}
}

func (e emitter) zero() vec {
	r := e.reg()
	if e.v.is512() {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

// columns runs body for each vector of channels: p walks down the rows of the
// tensors named, sums and chans stand at the vector's channels.
func (e emitter) columns(tensors []string, body func(p []reg.Register, sums, chans, cstep, rows, step reg.Register), sums, chans string) {
	var first, p []reg.Register
	for _, t := range tensors {
		first = append(first, Load(Param(t), GP64()))
		p = append(p, GP64())
	}
	var s reg.Register
	if sums != "" {
		s = Load(Param(sums), GP64())
	}
	c, step, cstep := Load(Param(chans), GP64()), Load(Param("step"), GP64()), Load(Param("cstep"), GP64())
	vecs, rows := Load(Param("vecs"), GP64()), GP64()
	loop := label("column")
	Label(loop)
	for i := range p {
		MOVQ(first[i], p[i])
	}
	Load(Param("rows"), rows)
	body(p, s, c, cstep, rows, step)
	for _, r := range append(first, c) {
		ADDQ(Imm(uint64(e.v.bytes)), r)
	}
	if s != nil {
		ADDQ(Imm(uint64(e.v.bytes)), s)
	}
	DECQ(vecs)
	JNZ(LabelRef(loop))
	VZEROUPPER()
	RET()
}

// down runs body for each row, of which there is one or more.
func (e emitter) down(rows, step reg.Register, p []reg.Register, body func()) {
	loop := label("row")
	Label(loop)
	body()
	for _, r := range p {
		ADDQ(step, r)
	}
	DECQ(rows)
	JNZ(LabelRef(loop))
}
