package fmath

import "math"

// Abs returns |x|.
func Abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// copySign returns |v| with the sign of s.
func copySign(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v)&^(1<<31) | math.Float32bits(s)&(1<<31))
}

// Sqrt returns the square root of x, correctly rounded: rounding the float64
// root to float32 is exact double rounding (53 >= 2*24+2).
func Sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// Rsqrt returns 1/Sqrt(x), two roundings.
func Rsqrt(x float32) float32 { return 1 / Sqrt(x) }

// Reciprocal returns 1/x.
func Reciprocal(x float32) float32 { return 1 / x }

// RoundEven returns x rounded to an integer, ties to even.
func RoundEven(x float32) float32 { return float32(math.RoundToEven(float64(x))) }

// Floor returns the greatest integer not above x.
func Floor(x float32) float32 { return float32(math.Floor(float64(x))) }

// Ceil returns the least integer not below x.
func Ceil(x float32) float32 { return float32(math.Ceil(float64(x))) }

// Sign returns -1, 0 or 1 with the sign of x; zeros and NaN are returned as they are.
func Sign(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// Max returns the greater of a and b, NaN if either is NaN, and b if they are
// equal (zeros of different sign).
func Max(a, b float32) float32 {
	if a > b || a != a {
		return a
	}
	return b
}

// Min returns the lesser of a and b, NaN if either is NaN, and b if they are
// equal (zeros of different sign).
func Min(a, b float32) float32 {
	if a < b || a != a {
		return a
	}
	return b
}

// Relu returns 0 for x < 0 and x otherwise: NaN and -0 stay.
func Relu(x float32) float32 {
	if x < 0 {
		return 0
	}
	return x
}

// Clamp returns lo for x < lo, then hi for what is above hi; NaN stays.
func Clamp(x, lo, hi float32) float32 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

// Rem returns the remainder of a/b with the sign of a (C's fmodf); exact.
func Rem(a, b float32) float32 { return float32(math.Mod(float64(a), float64(b))) }
