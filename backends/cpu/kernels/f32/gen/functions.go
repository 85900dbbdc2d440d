package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// poly evaluates a polynomial as fmath's horner does.
func (e emitter) poly(x vec, c []float32) vec {
	p := e.set(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		e.fma(p, x, e.c(c[i]))
	}
	return p
}

// exp is fmath.Exp. Lanes of ExpLo and below, where the result is 0, are kept
// from the last product: there it would underflow, which takes some CPUs more
// than a hundred cycles of microcode, and masked attention scores all lie there.
func (e emitter) exp(x vec) vec { return e.expAbove(x, fmath.ExpLo, true) }

// softExp is fmath.SoftExp.
func (e emitter) softExp(x vec) vec { return e.expAbove(x, fmath.SoftExpLo, false) }

// expAbove is exp of what is above lo, else 0; positive where it can be above 0.
func (e emitter) expAbove(x vec, lo float32, positive bool) vec {
	in := x
	if !e.v.is512() {
		x = e.lo(x, lo)
	}
	if positive {
		x = e.hi(x, fmath.ExpHi)
	}
	t := e.copy(x)
	l := e.set(fmath.Log2E)
	e.fma(t, l, e.c(fmath.RoundMagic))
	n := e.sub(t, e.c(fmath.RoundMagic))
	r := e.copy(x)
	VFNMADD231PS(e.c(fmath.Ln2Hi), n, r)
	VFNMADD231PS(e.c(fmath.Ln2Lo), n, r)
	u := e.poly(r, fmath.ExpPoly[:])
	e.fma(u, e.mul(r, r), r)
	y := e.add(u, e.c(1))
	if e.v.is512() {
		k := K()
		VCMPPS(Imm(notAtMost), e.c(lo), in, k)
		VSCALEFPS_Z(n, y, k, y)
		return y
	}
	k, k1, m := YMM(), YMM(), YMM()
	VPSUBD(e.bits(0x4b400000), t, k)
	if !positive { // the results are normal: one product
		VPADDD(e.bits(127), k, k)
		VPSLLD(Imm(23), k, k)
		VCMPPS(Imm(notAtMost), e.c(lo), in, m)
		VANDPS(m, k, k)
		VMULPS(k, y, y)
		return y
	}
	VPSRAD(Imm(1), k, k1)
	VPSUBD(k1, k, k)
	for _, f := range []vec{k1, k} {
		VPADDD(e.bits(127), f, f)
		VPSLLD(Imm(23), f, f)
	}
	VCMPPS(Imm(notAtMost), e.c(lo), in, m)
	VANDPS(m, k, k)
	VMULPS(k1, y, y)
	VMULPS(k, y, y)
	return y
}

// log is fmath.Log.
func (e emitter) log(x vec) vec {
	tiny := e.c(0x1p-126)
	v := e.where(x, less, tiny, e.mul(x, e.c(0x1p23)), x)
	e0 := e.where(x, less, tiny, e.set(-23), e.set(0))
	k, m := e.reg(), e.reg()
	VPSUBD(e.bits(fmath.SqrtHalfBits), v, k)
	VPSRAD(Imm(23), k, k)
	VPSLLD(Imm(23), k, m)
	VPSUBD(m, v, m)
	f := e.sub(m, e.c(1))
	VCVTDQ2PS(k, k)
	ex := e.add(k, e0)
	s := e.mul(f, f)
	y := e.mul(e.mul(f, s), e.poly(f, fmath.LogPoly[:]))
	VFMADD231PS(e.c(fmath.LogLn2Lo), ex, y)
	VFMADD231PS(e.c(-0.5), s, y)
	y = e.add(f, y)
	VFMADD231PS(e.c(fmath.LogLn2Hi), ex, y)
	inf := float32(math.Inf(1))
	zero := e.set(0)
	y = e.where(x, equal, zero, e.set(-inf), y)
	y = e.where(x, less, zero, e.set(float32(math.NaN())), y)
	y = e.where(x, isNaN, x, x, y)
	return e.where(x, equal, e.c(inf), x, y)
}

func (e emitter) log1pUnit(z vec) vec {
	s := e.div(z, e.add(z, e.c(2)))
	w := e.mul(s, s)
	p := e.poly(w, fmath.Log1pPoly[:])
	e.fma(p, e.mul(s, w), e.add(s, s))
	return p
}

func (e emitter) softplus(x vec) vec {
	m := e.lo(x, 0)
	return e.add(m, e.log1pUnit(e.exp(e.or(x, e.bits(1<<31)))))
}

func (e emitter) tanh(x vec) vec {
	a := e.abs(x)
	z := e.mul(a, a)
	y := e.poly(z, fmath.TanhPoly[:])
	e.fma(y, e.mul(a, z), a)
	d := e.add(e.exp(e.add(a, a)), e.c(1))
	big := e.sub(e.set(1), e.div(e.set(2), d))
	y = e.where(a, greater, e.c(fmath.TanhSmall), big, y)
	return e.withSign(y, x)
}

func (e emitter) sigmoid(x vec) vec {
	z := e.exp(e.or(x, e.bits(1<<31)))
	d := e.add(z, e.c(1))
	return e.div(e.where(x, less, e.set(0), z, e.set(1)), d)
}

func (e emitter) erf(x vec) vec {
	a := e.abs(x)
	y := e.poly(e.mul(a, a), fmath.ErfPoly[:])
	e.fma(y, a, a)
	t := e.hi(a, fmath.ErfBig)
	q := e.poly(t, fmath.ErfcPoly[:])
	e.fma(q, t, t)
	big := e.sub(e.set(1), e.exp(e.xor(q, e.bits(1<<31))))
	y = e.where(a, greater, e.c(fmath.ErfSmall), big, y)
	return e.withSign(y, x)
}

func (e emitter) hardSigmoid(x vec, alpha, beta Op) vec {
	return e.hi(e.lo(e.add(e.mul(x, alpha), beta), 0), 1)
}

func (e emitter) elu(x vec, alpha Op) vec {
	return e.where(x, less, e.set(0), e.mul(e.sub(e.exp(x), e.c(1)), alpha), x)
}
