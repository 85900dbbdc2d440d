package search

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The hypervolume of random points against the share of a grid's cells that
// they dominate, in one to four dimensions.
func TestHypervolumeCountsCells(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for dim := 1; dim <= 4; dim++ {
		for range 20 {
			const side = 6
			points := make([][]float64, 1+r.IntN(8))
			for i := range points {
				points[i] = make([]float64, dim)
				for j := range points[i] {
					points[i][j] = float64(r.IntN(side+2) - 1) // some are below the reference
				}
			}
			cells, at := 0, make([]int, dim)
			for n := range int(math.Pow(side, float64(dim))) {
				for j := range at {
					at[j], n = n%side, n/side
				}
				for _, p := range points {
					in := true
					for j := range at {
						in = in && p[j] > float64(at[j])
					}
					if in {
						cells++
						break
					}
				}
			}
			if got := Hypervolume(points, make([]float64, dim)); math.Abs(got-float64(cells)) > 1e-9 {
				t.Fatalf("%v dominate %v; %d cells counted", points, got, cells)
			}
		}
	}
}
