package fmath

import (
	"math"
	"math/rand/v2"
	"testing"
)

// winogradTile computes a tile of m×m results by transforms.
func winogradTile[T Real](m int, x []T, g []float64) []T {
	n := WinogradSide(m)
	u, v, y := make([]float64, n*n), make([]T, n*n), make([]T, m*m)
	WinogradWeights(m, u, g)
	WinogradInput(m, v, x)
	for i := range v {
		v[i] *= T(u[i])
	}
	WinogradOutput(m, y, v)
	return y
}

// The three transforms together are the 3×3 correlation: in float64 to its
// rounding, in float32 to some of float32's.
func TestWinograd(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, m := range []int{2, 4} {
		n := WinogradSide(m)
		worst64, worst32 := 0.0, 0.0
		for range 2000 {
			x, x32, g := make([]float64, n*n), make([]float32, n*n), make([]float64, 9)
			for i := range x {
				x32[i] = float32(r.NormFloat64())
				x[i] = float64(x32[i])
			}
			for i := range g {
				g[i] = r.NormFloat64()
			}
			y, y32 := winogradTile(m, x, g), winogradTile(m, x32, g)
			for i := range m * m {
				want := 0.0
				for k := range 9 {
					want += x[(i/m+k/3)*n+i%m+k%3] * g[k]
				}
				worst64 = max(worst64, math.Abs(y[i]-want))
				worst32 = max(worst32, math.Abs(float64(y32[i])-want))
			}
		}
		t.Logf("F(%d×%d, 3×3): greatest error %.1e in float64, %.1e in float32", m, m, worst64, worst32)
		if worst64 > 1e-13 {
			t.Errorf("F(%d×%d, 3×3) is off by %g", m, m, worst64)
		}
		if worst32 > 5e-5 {
			t.Errorf("F(%d×%d, 3×3) in float32 is off by %g", m, m, worst32)
		}
	}
}
