package latency

import "math"

// ridge solves min Σ wᵢ (xᵢ·β − yᵢ)² + Σ λⱼ (βⱼ − priorⱼ)². The system is small
// and made regular by λ.
func ridge(x [][]float64, y, w, prior, lambda []float64) []float64 {
	n := len(prior)
	a := make([][]float64, n)
	for j := range a {
		a[j] = make([]float64, n+1)
		a[j][j] = lambda[j] + 1e-12
		a[j][n] = lambda[j] * prior[j]
	}
	for i, r := range x {
		for j := range n {
			for k := range n {
				a[j][k] += w[i] * r[j] * r[k]
			}
			a[j][n] += w[i] * r[j] * y[i]
		}
	}
	for c := range n { // Gauss, with the largest pivot
		p := c
		for r := c; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		a[c], a[p] = a[p], a[c]
		if a[c][c] == 0 {
			continue
		}
		for r := range n {
			if r == c {
				continue
			}
			f := a[r][c] / a[c][c]
			for k := c; k <= n; k++ {
				a[r][k] -= f * a[c][k]
			}
		}
	}
	out := make([]float64, n)
	for j := range n {
		out[j] = prior[j]
		if a[j][j] != 0 {
			out[j] = a[j][n] / a[j][j]
		}
	}
	return out
}
