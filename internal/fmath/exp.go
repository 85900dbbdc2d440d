package fmath

import "math"

// Constants of the vector kernels' exponential; exported so that they are
// written once.
const (
	// ExpLo and ExpHi bound the argument: below, the result is 0; above, +Inf.
	ExpLo, ExpHi = -104, 89
	// RoundMagic added to and taken from |v| < 2^22 rounds v to nearest even.
	RoundMagic = 12582912 // 1.5 * 2^23
	Log2E      = 0x1.715476p+00
	Ln2Hi      = 0x1.62e43p-01
	Ln2Lo      = -0x1.05c61p-29
)

// ExpPoly approximates (e^r-1-r)/r^2 for |r| <= ln2/2, lowest power first.
var ExpPoly = [5]float32{0x1.fffffcp-02, 0x1.55548ap-03, 0x1.555916p-05, 0x1.123fc6p-07, 0x1.6a1a8cp-10}

// Exp returns e^x within 2 ulp: x = n*ln2 + r, e^x = 2^n * (1 + r + r^2*P(r)).
// Exp(-Inf) = 0, Exp(+Inf) = +Inf. Results below 2^-126 are subnormal.
func Exp(x float32) float32 {
	if x < ExpLo {
		x = ExpLo
	}
	if x > ExpHi {
		x = ExpHi
	}
	t := FMA32(x, Log2E, RoundMagic)
	n := t - RoundMagic
	r := FMA32(n, -Ln2Hi, x)
	r = FMA32(n, -Ln2Lo, r)
	q := horner(r, ExpPoly[:])
	u := FMA32(float32(r*r), q, r)
	y := 1 + u
	// 2^n in two factors: the first product is exact, the second rounds once,
	// also into the subnormals (the same as AVX-512's VSCALEFPS).
	k := int32(math.Float32bits(t)) - 0x4b400000
	k1 := k >> 1
	y = float32(y * math.Float32frombits(uint32(k1+127)<<23))
	return float32(y * math.Float32frombits(uint32(k-k1+127)<<23))
}

// SoftExpLo is where softmax's exponentials end: what is e^64 times less than the
// greatest of a row counts as 0. So neither the exponentials nor their shares of a
// sum are subnormal, which takes some CPUs more than a hundred cycles each.
const SoftExpLo = -64

// SoftExp is Exp of x, no greater than 0, as softmax takes it: 0 below SoftExpLo.
func SoftExp(x float32) float32 {
	if x < SoftExpLo {
		return 0
	}
	return Exp(x)
}

// horner evaluates c[0] + c[1]*x + ... with one FMA32 a step.
func horner(x float32, c []float32) float32 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = FMA32(p, x, c[i])
	}
	return p
}
