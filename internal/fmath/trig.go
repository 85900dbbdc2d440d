package fmath

import (
	"math"
	"math/bits"
)

// twoOverPi holds the first 256 bits of 2/pi after the binary point.
var twoOverPi = [4]uint64{0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561}

// Sin returns the sine of x (radians) within 1 ulp, for every finite x; NaN for
// infinities.
func Sin(x float32) float32 {
	q, r := reduce(x)
	if q&1 != 0 {
		return float32(quadrantSign(q, cosPoly(r)))
	}
	return float32(quadrantSign(q, sinPoly(r)))
}

// Cos returns the cosine of x (radians) within 1 ulp, for every finite x; NaN
// for infinities.
func Cos(x float32) float32 {
	q, r := reduce(x)
	q++
	if q&1 != 0 {
		return float32(quadrantSign(q, cosPoly(r)))
	}
	return float32(quadrantSign(q, sinPoly(r)))
}

// reduce writes x as q*(pi/2) + r with |r| <= pi/4, q modulo 4, by Payne and
// Hanek's method in integers: exact until the last multiplication.
func reduce(x float32) (q uint64, r float64) {
	b := math.Float32bits(x)
	e := int(b >> 23 & 0xff)
	if e == 0xff {
		return 0, math.NaN()
	}
	if e < 126 { // |x| < 1/2
		return 0, float64(x)
	}
	// |x| = m * 2^(e-150). The product with 2/pi is wanted modulo 4, so the bits
	// of 2/pi of weight 4*2^(150-e) and above do not count.
	m := uint64(b&0x7fffff | 0x800000)
	start := e - 150 - 2 // number of leading bits of 2/pi to drop, may be negative
	hi, _ := bits.Mul64(m, window(start+64))
	p := m*window(start) + hi
	q = (p + 1<<61) >> 62
	r = float64(float64(int64(p-q<<62))*0x1p-62) * (math.Pi / 2)
	if x < 0 {
		q, r = -q, -r
	}
	return q, r
}

// window returns 64 bits of 2/pi from bit position i after the binary point;
// positions before it are zero.
func window(i int) uint64 {
	if i <= -64 {
		return 0
	}
	if i < 0 {
		return twoOverPi[0] >> uint(-i)
	}
	w, s := i/64, uint(i%64)
	v := twoOverPi[w] << s
	if s > 0 && w+1 < len(twoOverPi) {
		v |= twoOverPi[w+1] >> (64 - s)
	}
	return v
}

func quadrantSign(q uint64, v float64) float64 {
	if q&2 != 0 {
		return -v
	}
	return v
}

// sinPoly and cosPoly are Taylor polynomials in float64: their error on
// |r| <= pi/4 is below 2^-36.
func sinPoly(r float64) float64 {
	z := float64(r * r)
	p := horner64(z, []float64{-1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800})
	return float64(r * (1 + float64(z*p))) // keeps -0
}

func cosPoly(r float64) float64 {
	z := float64(r * r)
	p := horner64(z, []float64{-0.5, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600})
	return 1 + float64(z*p)
}

// horner64 evaluates c[0] + c[1]*x + ... with a rounded product in each step.
func horner64(x float64, c []float64) float64 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = float64(p*x) + c[i]
	}
	return p
}
