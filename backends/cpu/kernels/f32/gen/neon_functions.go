package main

import (
	"math"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

	"github.com/nasc-dev/nasc/internal/fmath"
)

func (e *neonEmitter) poly(x nvec, c []float32) nvec {
	p := e.c(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		p = e.fma(p, x, e.c(c[i]))
	}
	return p
}

func (e *neonEmitter) exp(x nvec) nvec {
	// The bounds are not 0, so that their order with zeros does not matter.
	x = e.op(three("fmax", S4), x, e.c(fmath.ExpLo))
	y, k := e.expParts(e.op(three("fmin", S4), x, e.c(fmath.ExpHi)))
	k1 := e.shift("sshr", k, 1)
	for _, f := range []nvec{k1, e.subI(k, k1)} {
		y = e.mul(y, e.shift("shl", e.addI(f, e.bits(127)), 23))
	}
	return y
}

// softExp is fmath.SoftExp.
func (e *neonEmitter) softExp(x nvec) nvec {
	y, k := e.expParts(e.op(three("fmax", S4), x, e.c(fmath.SoftExpLo)))
	y = e.mul(y, e.shift("shl", e.addI(k, e.bits(127)), 23))
	return e.op(three("bic", B16), y, e.greater(e.c(fmath.SoftExpLo), x))
}

// expParts gives y and k where exp of x is y times 2^k.
func (e *neonEmitter) expParts(x nvec) (y, k nvec) {
	t := e.fma(x, e.c(fmath.Log2E), e.c(fmath.RoundMagic))
	n := e.sub(t, e.c(fmath.RoundMagic))
	r := e.fms(n, e.c(fmath.Ln2Hi), x)
	r = e.fms(n, e.c(fmath.Ln2Lo), r)
	u := e.fma(e.mul(r, r), e.poly(r, fmath.ExpPoly[:]), r)
	return e.add(u, e.c(1)), e.subI(t, e.bits(0x4b400000))
}

func (e *neonEmitter) log(x nvec) nvec {
	tiny := e.greater(e.c(0x1p-126), x)
	v := e.where(tiny, e.mul(x, e.c(0x1p23)), x)
	e0 := e.op(three("and", B16), tiny, e.c(-23))
	k := e.shift("sshr", e.subI(v, e.bits(fmath.SqrtHalfBits)), 23)
	f := e.sub(e.subI(v, e.shift("shl", k, 23)), e.c(1))
	ex := e.add(e.op(two("scvtf"), k), e0)
	s := e.mul(f, f)
	y := e.mul(e.mul(f, s), e.poly(f, fmath.LogPoly[:]))
	y = e.fma(ex, e.c(fmath.LogLn2Lo), y)
	y = e.fma(s, e.c(-0.5), y)
	y = e.add(f, y)
	y = e.fma(ex, e.c(fmath.LogLn2Hi), y)
	inf := float32(math.Inf(1))
	y = e.where(e.equal(x, e.c(0)), e.c(-inf), y)
	y = e.where(e.greater(e.c(0), x), e.c(float32(math.NaN())), y)
	y = e.where(e.equal(x, x), y, x)
	return e.where(e.equal(x, e.c(inf)), x, y)
}

func (e *neonEmitter) softplus(x nvec) nvec {
	z := e.exp(e.neg(e.abs(x)))
	s := e.div(z, e.add(z, e.c(2)))
	w := e.mul(s, s)
	l := e.fma(e.mul(s, w), e.poly(w, fmath.Log1pPoly[:]), e.add(s, s))
	return e.add(e.lo(x, e.c(0)), l)
}

func (e *neonEmitter) tanh(x nvec) nvec {
	a := e.abs(x)
	z := e.mul(a, a)
	y := e.fma(e.mul(a, z), e.poly(z, fmath.TanhPoly[:]), a)
	d := e.add(e.exp(e.add(a, a)), e.c(1))
	big := e.sub(e.c(1), e.div(e.c(2), d))
	return e.withSign(e.where(e.greater(a, e.c(fmath.TanhSmall)), big, y), x)
}

func (e *neonEmitter) sigmoid(x nvec) nvec {
	z := e.exp(e.neg(e.abs(x)))
	d := e.add(z, e.c(1))
	return e.div(e.where(e.greater(e.c(0), x), z, e.c(1)), d)
}

func (e *neonEmitter) erf(x nvec) nvec {
	a := e.abs(x)
	y := e.fma(a, e.poly(e.mul(a, a), fmath.ErfPoly[:]), a)
	t := e.hi(a, e.c(fmath.ErfBig))
	q := e.fma(t, e.poly(t, fmath.ErfcPoly[:]), t)
	big := e.sub(e.c(1), e.exp(e.neg(q)))
	return e.withSign(e.where(e.greater(a, e.c(fmath.ErfSmall)), big, y), x)
}

func (e *neonEmitter) hardSigmoid(x, alpha, beta nvec) nvec {
	return e.hi(e.lo(e.add(e.mul(x, alpha), beta), e.c(0)), e.c(1))
}

func (e *neonEmitter) elu(x, alpha nvec) nvec {
	return e.where(e.greater(e.c(0), x), e.mul(e.sub(e.exp(x), e.c(1)), alpha), x)
}
