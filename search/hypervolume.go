package search

import (
	"cmp"
	"math"
	"slices"
)

// Hypervolume is what points dominate, down to a reference point; all objectives
// are to be maximized. Points that are not above the reference add nothing.
func Hypervolume(points [][]float64, reference []float64) float64 {
	points = slices.DeleteFunc(slices.Clone(points), func(p []float64) bool {
		for i, r := range reference {
			if !(p[i] > r) {
				return true
			}
		}
		return false
	})
	return volume(points, reference)
}

// volume cuts the space into slabs along the last objective: in each, what the
// points that reach it dominate in the others.
func volume(points [][]float64, reference []float64) float64 {
	if len(points) == 0 {
		return 0
	}
	last := len(reference) - 1
	if last == 0 {
		best := math.Inf(-1)
		for _, p := range points {
			best = max(best, p[0])
		}
		return best - reference[0]
	}
	slices.SortFunc(points, func(a, b []float64) int { return cmp.Compare(b[last], a[last]) })
	if last == 1 { // a sweep, for fronts of thousands of points
		sum, reached := 0.0, reference[0]
		for _, p := range points {
			if p[0] > reached {
				sum += (p[0] - reached) * (p[1] - reference[1])
				reached = p[0]
			}
		}
		return sum
	}
	sum := 0.0
	for i, p := range points {
		below := reference[last]
		if i+1 < len(points) {
			below = points[i+1][last]
		}
		if p[last] > below {
			sum += (p[last] - below) * volume(slices.Clone(points[:i+1]), reference[:last])
		}
	}
	return sum
}
