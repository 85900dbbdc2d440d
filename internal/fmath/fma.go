package fmath

import "math"

// FMA32 returns x*y+z, rounded once.
//
// The product of two float32 is exact in float64, so only the sum is rounded
// before the conversion to float32. That first rounding matters only where the
// float64 sum lies halfway between two float32 values or where the result is
// subnormal; those cases take the slow path.
func FMA32(x, y, z float32) float32 {
	s := float64(x)*float64(y) + float64(z)
	b := math.Float64bits(s)
	if b&0x1fffffff != 0x10000000 && b&0x7ff0000000000000 >= 897<<52 {
		return float32(s)
	}
	return fmaOdd(x, y, z)
}

// fmaOdd computes the float64 sum rounded to odd (Boldo and Melquiond,
// "Emulation of FMA and correctly rounded sums"): rounding that to float32 is
// the same as rounding the exact sum.
func fmaOdd(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	// Knuth's TwoSum: e is the exact error of s.
	t := s - p
	e := (p - (s - t)) + (c - t)
	if e > 0 || e < 0 {
		b := math.Float64bits(s)
		if b&1 == 0 {
			if (e > 0) == (s > 0) {
				b++
			} else {
				b--
			}
			s = math.Float64frombits(b)
		}
	}
	return float32(s)
}
