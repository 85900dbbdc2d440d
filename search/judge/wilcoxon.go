package judge

import (
	"cmp"
	"math"
	"slices"
)

// exactPairs is the number of pairs up to which the signed-rank distribution is
// counted out; beyond, a normal one is near enough.
const exactPairs = 200

// Wilcoxon is the two-sided signed-rank test of paired figures: the chance of
// ranks at least as uneven, were a and b alike. Pairs that are equal are left
// out; equal differences share their ranks, and the distribution is that of the
// ranks that are there. Without a differing pair it is 1.
func Wilcoxon(a, b []float64) float64 {
	type difference struct {
		size float64
		up   bool
	}
	var d []difference
	for i := range a {
		if v := a[i] - b[i]; v != 0 && !math.IsNaN(v) {
			d = append(d, difference{math.Abs(v), v > 0})
		}
	}
	slices.SortFunc(d, func(x, y difference) int { return cmp.Compare(x.size, y.size) })
	// Ranks are doubled, so that shared ones are whole.
	ranks, up, all := make([]int, len(d)), 0, 0
	ties := 0.0
	for from := 0; from < len(d); {
		to := from + 1
		for to < len(d) && d[to].size == d[from].size {
			to++
		}
		for i := from; i < to; i++ {
			ranks[i] = from + 1 + to
			all += ranks[i]
			if d[i].up {
				up += ranks[i]
			}
		}
		n := float64(to - from)
		ties += n*n*n - n
		from = to
	}
	if len(d) == 0 {
		return 1
	}
	less := min(up, all-up)
	n := float64(len(d))
	if len(d) > exactPairs {
		spread := math.Sqrt(n*(n+1)*(2*n+1)/24 - ties/48)
		z := (math.Abs(float64(up-all/2))/2 - 0.25) / spread
		return min(1, math.Erfc(max(z, 0)/math.Sqrt2))
	}
	// ways[s]: the share of the signs' choices whose positive ranks sum to s.
	ways := make([]float64, all+1)
	ways[0] = 1
	for _, r := range ranks {
		for s := all; s >= 0; s-- {
			ways[s] /= 2
			if s >= r {
				ways[s] += ways[s-r] / 2
			}
		}
	}
	p := 0.0
	for s := 0; s <= less; s++ {
		p += ways[s]
	}
	return min(1, 2*p)
}

// Quantile of sorted figures, between neighbours in proportion.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
