package fmath

import "math"

// Pow returns x^y within 1 ulp, computed as 2^(y*log2|x|) in float64. Special
// cases are those of math.Pow (C99, annex F).
func Pow(x, y float32) float32 {
	switch {
	case y == 0 || x == 1:
		return 1
	case x != x || y != y:
		return float32(math.NaN())
	case x == 0 || Abs(x) > math.MaxFloat32 || Abs(y) > math.MaxFloat32:
		// No rounding is involved here: zeros, ones and infinities.
		return float32(math.Pow(float64(x), float64(y)))
	}
	sign := 1.0
	if x < 0 {
		if t := math.Trunc(float64(y)); t != float64(y) {
			return float32(math.NaN())
		} else if Abs(y) < 1<<24 && int64(t)&1 != 0 {
			sign = -1
		}
	}
	t := float64(float64(y) * log2(float64(Abs(x))))
	if t > 200 {
		t = 200
	}
	if t < -200 {
		t = -200
	}
	return float32(sign * exp2(t))
}

// log2Series holds 2/((2i+1)*ln2): log2(m) = sum of c[i]*s^(2i+1), s = (m-1)/(m+1).
var log2Series = []float64{
	2 / (1 * math.Ln2), 2 / (3 * math.Ln2), 2 / (5 * math.Ln2), 2 / (7 * math.Ln2), 2 / (9 * math.Ln2),
	2 / (11 * math.Ln2), 2 / (13 * math.Ln2), 2 / (15 * math.Ln2), 2 / (17 * math.Ln2), 2 / (19 * math.Ln2), 2 / (21 * math.Ln2),
}

// log2 returns the binary logarithm of a positive normal float64; its relative
// error is below 2^-48.
func log2(x float64) float64 {
	ix := int64(math.Float64bits(x))
	k := (ix - 0x3fe6a09e667f3bcd) >> 52
	m := math.Float64frombits(uint64(ix - k<<52))
	s := (m - 1) / (m + 1)
	return float64(s*horner64(float64(s*s), log2Series)) + float64(k)
}

// expSeries is the Taylor series of e^u, used for |u| <= ln2/2.
var expSeries = []float64{
	1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
	1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
}

// exp2 returns 2^t for |t| <= 200; its relative error is below 2^-48.
func exp2(t float64) float64 {
	n := math.RoundToEven(t)
	u := float64((t - n) * math.Ln2)
	return horner64(u, expSeries) * math.Float64frombits(uint64(int64(n)+1023)<<52)
}
