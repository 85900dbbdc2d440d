package strategy

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nasc-dev/nasc/search"
)

// scores puts outcomes on the scale of a normal distribution by their ranks:
// feasible ones by their value, all others below, by how much they break the
// limits. So a few networks that did not learn at all, or an accuracy near its
// ceiling, do not decide how a model of them looks.
func scores(trials []*search.Trial) []float64 {
	order := make([]int, len(trials))
	for i := range order {
		order[i] = i
	}
	compare := func(a, b int) int { return compareTrials(trials[a], trials[b]) }
	slices.SortStableFunc(order, compare)
	out := make([]float64, len(trials))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && compare(order[from], order[to]) == 0 {
			to++
		}
		z := normal.Quantile(float64(from+to) / 2 / float64(len(order))) // the middle of what the tied ones cover
		for _, i := range order[from:to] {
			out[i] = z
		}
		from = to
	}
	return out
}

// compareTrials orders from worse to better.
func compareTrials(a, b *search.Trial) int {
	switch {
	case a.Better(b):
		return 1
	case b.Better(a):
		return -1
	}
	return 0
}

var normal = distuv.UnitNormal

// expectedImprovement over best of a normal prediction.
func expectedImprovement(mean, std, best float64) float64 {
	if std < 1e-12 {
		return math.Max(0, mean-best)
	}
	z := (mean - best) / std
	return (mean-best)*normal.CDF(z) + std*normal.Prob(z)
}
