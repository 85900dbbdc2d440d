package fmath

import "math"

// Axpy sets acc[i] = FMA32(x, w[i], acc[i]) for all of acc.
func Axpy(acc []float32, x float32, w []float32) {
	w = w[:len(acc)]
	xd := float64(x)
	for i, a := range acc {
		s := xd*float64(w[i]) + float64(a) // FMA32's fast path, inlined
		b := math.Float64bits(s)
		if b&0x1fffffff != 0x10000000 && b&0x7ff0000000000000 >= 897<<52 {
			acc[i] = float32(s)
		} else {
			acc[i] = fmaOdd(x, w[i], a)
		}
	}
}

// MulAdd sets acc[i] = FMA32(x[i], w[i], acc[i]) for all of acc.
func MulAdd(acc, x, w []float32) {
	w, x = w[:len(acc)], x[:len(acc)]
	for i, a := range acc {
		acc[i] = FMA32(x[i], w[i], a)
	}
}
