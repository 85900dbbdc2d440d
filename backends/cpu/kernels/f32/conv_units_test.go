package f32

import (
	"math"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

func TestMakespan(t *testing.T) {
	even := func(unit, last int) float64 { return 1 }
	for _, c := range []struct {
		name   string
		units  int
		speeds []float64
		cost   func(unit, last int) float64
		want   float64
	}{
		{"one thread", 9, []float64{1}, even, 9},
		{"halves", 8, []float64{1, 1}, even, 4},
		{"an odd unit", 9, []float64{1, 1}, even, 5},
		{"more threads than units", 3, []float64{1, 1, 1, 1}, even, 1},
		{"a slow thread's units are taken over", 8, []float64{1, 0.5}, even, 6},
		{"a long unit last", 4, []float64{1, 1}, func(u, last int) float64 { return float64(1 + 3*(u/3)) }, 5},
		{"what is copied once", 8, []float64{1, 1}, func(u, last int) float64 {
			if last < 0 || last/4 != u/4 {
				return 3
			}
			return 1
		}, 6},
	} {
		if got := makespan(c.units, c.speeds, c.cost); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

// Layers of common networks are cut so that two threads are done at about the
// same time: neither waits for more than a tenth of what both do.
func TestUnitsSuitTwoThreads(t *testing.T) {
	for _, s := range []ConvSpec{
		{H: 14, W: 14, C: 128, K: 128, KH: 3},
		{H: 14, W: 14, C: 512, K: 128, KH: 1},
		{H: 14, W: 14, C: 128, K: 512, KH: 1},
		{H: 7, W: 7, C: 256, K: 256, KH: 3},
		{H: 7, W: 7, C: 1024, K: 256, KH: 1},
		{H: 28, W: 28, C: 64, K: 64, KH: 3},
		{H: 56, W: 56, C: 32, K: 128, KH: 1},
		{H: 14, W: 14, C: 256, K: 256, KH: 3},
		{H: 7, W: 7, C: 512, K: 512, KH: 3},
		{H: 14, W: 14, C: 1024, K: 256, KH: 1},
	} {
		s.N, s.OH, s.OW, s.KW, s.SH, s.SW, s.DH, s.DW, s.Groups = 1, s.H, s.W, s.KH, 1, 1, 1, 1, 1
		s.PT, s.PL = s.KH/2, s.KH/2
		if s.KH == 1 { // as Conv takes it
			s.W, s.OW, s.H, s.OH = s.H*s.W, s.H*s.W, 1, 1
		}
		s.Weights = make([]float32, s.KH*s.KW*s.C*s.K)
		for _, l := range isa.Available() {
			checkTwoThreads(t, s, l)
		}
	}
}

func checkTwoThreads(t *testing.T, s ConvSpec, l isa.Level) {
	t.Helper()
	ep, err := s.Act.epilogue(l)
	if err != nil {
		t.Fatal(err)
	}
	c := &conv{ConvSpec: s, set: gemmFor(l), ep: ep}
	c.prepare()
	costs := c.stripCosts(s.KH * s.KW * s.C)
	unit := func(u, _ int) float64 {
		band, sum := u/c.parts, 0.0
		for _, b := range c.blocks[cut(len(c.blocks), c.parts, u%c.parts):cut(len(c.blocks), c.parts, u%c.parts+1)] {
			sum += costs[b.vecs][c.bands[band+1]] - costs[b.vecs][c.bands[band]]
		}
		return sum
	}
	units := (len(c.bands) - 1) * c.parts
	one, two := makespan(units, []float64{1}, unit), makespan(units, []float64{1, 1}, unit)
	if two > 0.55*one {
		t.Errorf("%s on %s: %d bands in %d parts take two threads %.2f of one's time", s.dims(), c.set.name, len(c.bands)-1, c.parts, two/one)
	}
}
