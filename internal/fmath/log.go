package fmath

import "math"

// Constants of the vector kernels' logarithm.
const (
	LogLn2Hi = 0x1.62e4p-01 // 15 bits, so that e*LogLn2Hi is exact
	LogLn2Lo = 0x1.7f7d1cp-20
	// SqrtHalfBits are the bits of sqrt(1/2): the mantissa is taken in
	// [sqrt(1/2), sqrt(2)).
	SqrtHalfBits = 0x3f3504f3
)

// LogPoly approximates (log(1+f)-f+f^2/2)/f^3 on [sqrt(1/2)-1, sqrt(2)-1].
var LogPoly = [9]float32{
	0x1.555546p-02, -0x1.ffffeep-03, 0x1.99a546p-03, -0x1.5562e2p-03, 0x1.2332bcp-03,
	-0x1.fb4354p-04, 0x1.e650fap-04, -0x1.e2e8ecp-04, 0x1.1b4126p-04,
}

// Log returns the natural logarithm of x within 2 ulp.
// Log(0) = -Inf, Log(+Inf) = +Inf, Log(x < 0) = NaN.
func Log(x float32) float32 {
	v, e0 := x, float32(0)
	if v < 0x1p-126 {
		v = float32(v * 0x1p23)
		e0 = -23
	}
	ix := int32(math.Float32bits(v))
	k := (ix - SqrtHalfBits) >> 23
	f := math.Float32frombits(uint32(ix-k<<23)) - 1
	e := float32(k) + e0
	s := float32(f * f)
	y := float32(float32(f*s) * horner(f, LogPoly[:]))
	y = FMA32(e, LogLn2Lo, y)
	y = FMA32(-0.5, s, y)
	y = f + y
	y = FMA32(e, LogLn2Hi, y)
	switch {
	case x == 0:
		return float32(math.Inf(-1))
	case x < 0 || x != x:
		return float32(math.NaN())
	case x > math.MaxFloat32:
		return x
	}
	return y
}

// Log1pPoly approximates (2*atanh(s)-2s)/s^3 as a polynomial in s^2 for |s| <= 1/3.
var Log1pPoly = [5]float32{0x1.555558p-01, 0x1.9996b0p-02, 0x1.2508b0p-02, 0x1.b6e6ccp-03, 0x1.f17348p-03}

// log1pUnit returns log(1+z) for z in [0, 1], as 2*atanh(z/(2+z)).
func log1pUnit(z float32) float32 {
	s := z / (2 + z)
	w := float32(s * s)
	return FMA32(float32(s*w), horner(w, Log1pPoly[:]), s+s)
}

// Softplus returns log(1+e^x), as max(x,0) + log(1+e^-|x|).
func Softplus(x float32) float32 {
	m := x
	if m < 0 {
		m = 0
	}
	return m + log1pUnit(Exp(-Abs(x)))
}
