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

func TestFront(t *testing.T) {
	trials := []*Trial{
		{ID: 1, Values: []float64{1, 5}},
		{ID: 2, Values: []float64{3, 3}},
		{ID: 3, Values: []float64{2, 2}},               // under 2
		{ID: 4, Values: []float64{3, 3}},               // as 2
		{ID: 5, Values: []float64{9, 9}, Violation: 1}, // breaks a limit
		{ID: 6, Values: []float64{0, 6}},
		{ID: 7, Values: []float64{8, 8}, Outcome: Outcome{Fault: "does not compile"}},
	}
	var ids []int64
	for _, f := range Front(trials) {
		ids = append(ids, f.ID)
	}
	if len(ids) != 3 || ids[0] != 6 || ids[1] != 1 || ids[2] != 2 {
		t.Errorf("the front is %v; wanted 6, 1, 2", ids)
	}
}
