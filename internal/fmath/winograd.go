package fmath

import "math"

// WinogradTap is the width of the kernels that the Winograd transforms are for;
// WinogradSide is that of the tiles of input behind m×m results.
const WinogradTap = 3

// WinogradSide gives the width of a tile's input and of its transforms.
func WinogradSide(m int) int { return m + WinogradTap - 1 }

// Points of F(4×4, 3×3): 0, ±winogradA, ±winogradB and infinity. With ±1 and ±2
// the error of float32 is two to three times as large. The products and powers
// below are exact in float32.
const (
	winogradA = 0.625
	winogradB = 1.5
	a2        = winogradA * winogradA
	b2        = winogradB * winogradB
)

// Real is the types that the transforms are defined on.
type Real interface{ float32 | float64 }

// fma is x·y + z, rounded once.
func fma[T Real](x, y, z T) T {
	if x, ok := any(x).(float32); ok {
		return T(FMA32(x, float32(y), float32(z)))
	}
	return T(math.FMA(float64(x), float64(y), float64(z)))
}

// WinogradInput is Bᵀ·x·B of F(m×m, 3×3), m 2 or 4 (Lavin and Gray, Fast
// Algorithms for Convolutional Neural Networks, 2015; the points of m = 4 as
// Barabasz and others, Error Analysis and Improving the Accuracy of Winograd
// Convolution for Deep Neural Networks, 2020, find them better): x is a tile of
// input, row by row, y its transform at (m+2)² positions. Columns go first; each
// operation is rounded once, products within an FMA.
func WinogradInput[T Real](m int, y, x []T) {
	n := WinogradSide(m)
	var t [36]T
	for i := range n {
		winogradInputLine(m, t[i:], x[i:], n)
	}
	for i := range n {
		winogradInputLine(m, y[i*n:], t[i*n:], 1)
	}
}

// winogradInputLine is Bᵀ times values s apart.
func winogradInputLine[T Real](m int, y, x []T, s int) {
	if m == 2 {
		x0, x1, x2, x3 := x[0], x[s], x[2*s], x[3*s]
		y[0], y[s], y[2*s], y[3*s] = x0-x2, x1+x2, x2-x1, x1-x3
		return
	}
	x0, x1, x2, x3, x4, x5 := x[0], x[s], x[2*s], x[3*s], x[4*s], x[5*s]
	t1, t2 := fma(-b2, x2, x4), fma(-b2, x1, x3)
	t3, t4 := fma(-a2, x2, x4), fma(-a2, x1, x3)
	y[0] = fma(a2*b2, x0, fma(-(a2+b2), x2, x4))
	y[s], y[2*s] = fma(winogradA, t2, t1), fma(-winogradA, t2, t1)
	y[3*s], y[4*s] = fma(winogradB, t4, t3), fma(-winogradB, t4, t3)
	y[5*s] = fma(a2*b2, x1, fma(-(a2+b2), x3, x5))
}

// WinogradOutput is Aᵀ·x·A: x is the sums at (m+2)² positions, y the m×m results.
func WinogradOutput[T Real](m int, y, x []T) {
	n := WinogradSide(m)
	var t [24]T
	for i := range n {
		winogradOutputLine(m, t[i:], x[i:], n)
	}
	for i := range m {
		winogradOutputLine(m, y[i*m:], t[i*n:], 1)
	}
}

// winogradOutputLine is Aᵀ times values s apart.
func winogradOutputLine[T Real](m int, y, x []T, s int) {
	if m == 2 {
		x0, x1, x2, x3 := x[0], x[s], x[2*s], x[3*s]
		y[0], y[s] = (x0+x1)+x2, (x1-x2)-x3
		return
	}
	x0, x1, x2, x3, x4, x5 := x[0], x[s], x[2*s], x[3*s], x[4*s], x[5*s]
	s1, d1, s2, d2 := x1+x2, x1-x2, x3+x4, x3-x4
	y[0] = (x0 + s1) + s2
	y[s] = fma(winogradB, d2, T(winogradA*d1))
	y[2*s] = fma(b2, s2, T(a2*s1))
	y[3*s] = fma(winogradB*b2, d2, fma(winogradA*a2, d1, x5))
}

// WinogradWeights is G·g·Gᵀ: g is a 3×3 kernel, row by row, y its transform at
// (m+2)² positions. It is computed in float64; who wants float32 rounds once.
func WinogradWeights(m int, y, g []float64) {
	n := WinogradSide(m)
	var t [18]float64
	for i := range WinogradTap {
		winogradWeightLine(m, t[i:], WinogradTap, g[i], g[WinogradTap+i], g[2*WinogradTap+i])
	}
	for i := range n {
		r := t[i*WinogradTap:]
		winogradWeightLine(m, y[i*n:], 1, r[0], r[1], r[2])
	}
}

// WinogradKernels is WinogradWeights of n kernels, tap after tap [9,n], rounded
// once: [(m+2)²,n].
func WinogradKernels[T Real](m int, w []T, n int) []T {
	places := WinogradSide(m) * WinogradSide(m)
	u := make([]T, places*n)
	g, t := make([]float64, WinogradTap*WinogradTap), make([]float64, places)
	for i := range n {
		for tap := range g {
			g[tap] = float64(w[tap*n+i])
		}
		WinogradWeights(m, t, g)
		for p, v := range t {
			u[p*n+i] = T(v)
		}
	}
	return u
}

// winogradWeightLine is G times three weights, to places s apart. Conversions keep
// products from being fused with sums.
func winogradWeightLine(m int, y []float64, s int, g0, g1, g2 float64) {
	if m == 2 {
		e := g0 + g2
		y[0], y[s], y[2*s], y[3*s] = g0, (e+g1)/2, (e-g1)/2, g2
		return
	}
	const fa, fb = 1 / (2 * a2 * (a2 - b2)), 1 / (2 * b2 * (b2 - a2))
	ea, eb := g0+float64(a2*g2), g0+float64(b2*g2)
	oa, ob := float64(winogradA*g1), float64(winogradB*g1)
	y[0] = g0 / (a2 * b2)
	y[s], y[2*s] = fa*(ea+oa), fa*(ea-oa)
	y[3*s], y[4*s] = fb*(eb+ob), fb*(eb-ob)
	y[5*s] = g2
}
