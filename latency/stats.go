package latency

import (
	"cmp"
	"math"
	"slices"
)

// Accuracy says how well predictions met measurements.
type Accuracy struct {
	N        int     `json:"n"`
	Within5  float64 `json:"within_5pct"`
	Within10 float64 `json:"within_10pct"`
	MAPE     float64 `json:"mape"`
	Spearman float64 `json:"spearman"`
	Kendall  float64 `json:"kendall"`
}

// Compare sums up predictions against measurements of the same networks.
func Compare(predicted, measured []float64) Accuracy {
	a := Accuracy{N: len(measured)}
	if a.N == 0 {
		return a
	}
	for i, m := range measured {
		e := math.Abs(predicted[i]/m - 1)
		a.MAPE += e / float64(a.N)
		if e <= 0.05 {
			a.Within5 += 1 / float64(a.N)
		}
		if e <= 0.10 {
			a.Within10 += 1 / float64(a.N)
		}
	}
	a.Spearman, a.Kendall = correlation(ranks(predicted), ranks(measured)), kendall(predicted, measured)
	return a
}

// ranks gives each value its place among all; equal ones share theirs.
func ranks(x []float64) []float64 {
	at := make([]int, len(x))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	out := make([]float64, len(x))
	for i := 0; i < len(at); {
		j := i
		for j < len(at) && x[at[j]] == x[at[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[at[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return out
}

// correlation is Pearson's; 0 where one side does not vary.
func correlation(x, y []float64) float64 {
	n := float64(len(x))
	var mx, my, sxy, sxx, syy float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		sxy, sxx, syy = sxy+dx*dy, sxx+dx*dx, syy+dy*dy
	}
	if sxx == 0 || syy == 0 {
		return 0
	}
	return sxy / math.Sqrt(sxx*syy)
}

// kendall is tau-b; 0 where one side does not vary.
func kendall(x, y []float64) float64 {
	var s, nx, ny float64
	for i := range x {
		for j := range i {
			a, b := float64(cmp.Compare(x[i], x[j])), float64(cmp.Compare(y[i], y[j]))
			s, nx, ny = s+a*b, nx+a*a, ny+b*b
		}
	}
	if nx == 0 || ny == 0 {
		return 0
	}
	return s / math.Sqrt(nx*ny)
}
