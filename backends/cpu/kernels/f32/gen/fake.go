package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fake writes fake_quantize and its gradient over whole vectors of channels.
func fake() {
	for _, v := range []vecISA{avx512, avx2} {
		e := emitter{v}
		text("fakeQuantize"+v.name, "(y, x, f *float32, rows, step, cstep, vecs int, lo, hi float32)",
			"writes round(clamp(x*f, lo, hi)) for rows step bytes apart; NaN gives 0, and 0 is positive.")
		lo, hi := e.param("lo"), e.param("hi")
		zero := e.zero()
		e.columns([]string{"y", "x"}, func(p []reg.Register, _, chans, _, rows, step reg.Register) {
			f := e.load(Mem{Base: chans})
			e.down(rows, step, p, func() {
				x := e.mul(e.load(Mem{Base: p[1]}), f)
				x = e.only(x, x, ordered, x)
				VMAXPS(lo, x, x)
				VMINPS(hi, x, x)
				x = e.round(x, 8)
				VADDPS(zero, x, x)
				VMOVUPS(x, Mem{Base: p[0]})
			})
		}, "", "f")

		text("fakeGrad"+v.name, "(dx, sums, x, dy, f *float32, rows, step, cstep, vecs int, lo, hi, under float32)",
			"writes dy*f where lo <= x*f <= hi, else 0, for rows step bytes apart, and for each channel minus the sum of dy where x*f is above hi or below under, and cstep bytes on that of dy*x inside; dx may be x or dy.")
		lo, hi = e.param("lo"), e.param("hi")
		under, zero := e.param("under"), e.zero()
		e.columns([]string{"dx", "x", "dy"}, func(p []reg.Register, sums, chans, cstep, rows, step reg.Register) {
			f := e.load(Mem{Base: chans})
			z, q := e.zero(), e.zero()
			e.down(rows, step, p, func() {
				x, g := e.load(Mem{Base: p[1]}), e.load(Mem{Base: p[2]})
				y := e.mul(x, f)
				VSUBPS(e.only(g, hi, less, y), z, z)
				VSUBPS(e.only(g, y, less, under), z, z)
				in := e.only(g, y, atLeast, lo)
				in = e.only(in, hi, atLeast, y)
				VFMADD231PS(in, x, q)
				dx := e.mul(in, f)
				VADDPS(zero, dx, dx)
				VMOVUPS(dx, Mem{Base: p[0]})
			})
			VMOVUPS(z, Mem{Base: sums})
			VMOVUPS(q, Mem{Base: sums, Index: cstep, Scale: 1})
		}, "sums", "f")
	}
}

// only gives x where a stands in the relation to b, 0 elsewhere.
func (e emitter) only(x, a vec, predicate uint64, b vec) vec {
	r := e.reg()
	if e.v.is512() {
		k := K()
		VCMPPS(Imm(predicate), b, a, k)
		VMOVAPS_Z(x, k, r)
		return r
	}
	VCMPPS(Imm(predicate), b, a, r)
	VANDPS(x, r, r)
	return r
}
