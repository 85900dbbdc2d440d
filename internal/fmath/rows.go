package fmath

import "math"

// Partials is the number of partial results of every reduction: one AVX-512
// register. Element i goes to partial i mod Partials, in order; then
// p[i] op= p[i+8], p[i] op= p[i+4], +2, +1.
const Partials = 16

// Sum16 returns the sum of x in that order, starting from +0.
func Sum16(x []float32) float32 {
	var p [Partials]float32
	for i, v := range x {
		p[i%Partials] += v
	}
	return Tree(&p)
}

// Tree adds the partial sums.
func Tree(p *[Partials]float32) float32 {
	for h := Partials / 2; h > 0; h /= 2 {
		for i := 0; i < h; i++ {
			p[i] += p[i+h]
		}
	}
	return p[0]
}

// SumSq16 returns the sum of the rounded products (x-c)*(x-c), in Sum16's order.
func SumSq16(x []float32, c float32) float32 {
	var p [Partials]float32
	for i, v := range x {
		d := v - c
		p[i%Partials] += float32(d * d)
	}
	return Tree(&p)
}

// Max16 returns the greatest element of x in the same order with Max (so the
// sign of a zero is defined too), -Inf for no elements; NaN if any is NaN.
func Max16(x []float32) float32 { return fold16(x, float32(math.Inf(-1)), Max) }

// Min16 is Max16 with Min, +Inf for no elements.
func Min16(x []float32) float32 { return fold16(x, float32(math.Inf(1)), Min) }

// Prod16 returns the product of x in the same order, starting from 1.
func Prod16(x []float32) float32 {
	return fold16(x, 1, func(a, b float32) float32 { return float32(a * b) })
}

func fold16(x []float32, init float32, op func(a, b float32) float32) float32 {
	var p [Partials]float32
	for i := range p {
		p[i] = init
	}
	for i, v := range x {
		p[i%Partials] = op(p[i%Partials], v)
	}
	for h := Partials / 2; h > 0; h /= 2 {
		for i := 0; i < h; i++ {
			p[i] = op(p[i], p[i+h])
		}
	}
	return p[0]
}

// InvCount returns the factor that turns a sum of n elements into their mean.
func InvCount(n int) float32 { return float32(1 / float64(n)) }

// Mean16 returns Sum16(x) * InvCount(len(x)).
func Mean16(x []float32) float32 { return float32(Sum16(x) * InvCount(len(x))) }

// Softmax writes e^(x-max) / sum to y (which may be x): e = SoftExp(x-m),
// r = 1/Sum16(e), y = e*r.
func Softmax(y, x []float32) {
	m := Max16(x)
	for i, v := range x {
		y[i] = SoftExp(v - m)
	}
	r := 1 / Sum16(y[:len(x)])
	for i := range x {
		y[i] *= r
	}
}

// LogSoftmax writes (x-m) - Log(Sum16(SoftExp(x-m))) to y, which may not overlap x.
func LogSoftmax(y, x []float32) {
	m := Max16(x)
	for i, v := range x {
		y[i] = SoftExp(v - m)
	}
	l := Log(Sum16(y[:len(x)]))
	for i, v := range x {
		y[i] = (v - m) - l
	}
}

// LayerNorm normalizes one row: d = x-mean, r = 1/Sqrt(var+eps), y = d*r, then
// times scale and plus bias (nil: left out), each rounded. y may be x.
func LayerNorm(y, x, scale, bias []float32, eps float32) {
	m, r := Moments(x, eps)
	for i, v := range x {
		y[i] = affine(float32((v-m)*r), scale, bias, i)
	}
}

// Moments returns the mean of x and 1/Sqrt(variance+eps).
func Moments(x []float32, eps float32) (mean, rstd float32) {
	mean = Mean16(x)
	v := float32(SumSq16(x, mean) * InvCount(len(x)))
	return mean, 1 / Sqrt(v+eps)
}

// RMSNorm writes x*r to y with r = 1/Sqrt(mean of squares + eps), then times
// scale (nil: left out). y may be x.
func RMSNorm(y, x, scale []float32, eps float32) {
	r := 1 / Sqrt(float32(SumSq16(x, 0)*InvCount(len(x)))+eps)
	for i, v := range x {
		y[i] = affine(float32(v*r), scale, nil, i)
	}
}

// BatchNorm returns (x-mean)*rstd, times scale, plus bias, each rounded; rstd is
// 1/Sqrt(var+eps), see Rstd.
func BatchNorm(x, mean, rstd, scale, bias float32) float32 {
	return float32(float32((x-mean)*rstd)*scale) + bias
}

// Rstd returns 1/Sqrt(variance+eps).
func Rstd(variance, eps float32) float32 { return 1 / Sqrt(variance+eps) }

func affine(v float32, scale, bias []float32, i int) float32 {
	if scale != nil {
		v = float32(v * scale[i])
	}
	if bias != nil {
		v += bias[i]
	}
	return v
}
