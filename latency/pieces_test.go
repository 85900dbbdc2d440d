package latency

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

func TestPieces(t *testing.T) {
	ms := func(x ...float64) (d []time.Duration) {
		for _, v := range x {
			d = append(d, time.Duration(v*1e6))
		}
		return d
	}
	for _, c := range []struct {
		took  []time.Duration
		first []int
	}{
		{nil, []int{0}},
		{ms(1, 1), []int{0}},
		{ms(9), []int{0}},
		{ms(2, 2, 2, 2), []int{0, 2}},
		{ms(3, 1), []int{0}}, // too little is left
		{ms(3, 1.5), []int{0, 1}},
		{ms(9, 9, 9), []int{0, 1, 2}},
		{ms(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5), []int{0, 5}},
	} {
		if first := Pieces(c.took); !slices.Equal(first, c.first) {
			t.Errorf("%v: %v; wanted %v", c.took, first, c.first)
		}
	}
}

// A row of a key with steps in two pieces is the pieces' together, each by its
// share; one piece without quiet makes it noisy.
func TestPartsOfRow(t *testing.T) {
	s := &samples{parts: []part{{weight: 0.25}, {weight: 0}, {weight: 0.75}}}
	round := func(x float64) []map[string]float64 { return []map[string]float64{{"k": x}} }
	for i := range 2*minRuns + 1 {
		s.add(0, round(float64(100+i%3)), "k", true, 1)
		s.add(2, round(float64(200+i%3)), "k", i%2 == 0, 1)
		s.look(true, 27)
	}
	r := s.row("k", clock{})
	if want := 0.25*101 + 0.75*201; math.Abs(r.Median-want) > 1e-9 || r.Runs != minRuns+1 || r.Noisy || r.Anchor != 27 {
		t.Errorf("%+v", r)
	}
	if !(r.P10 < r.Median && r.Median < r.P90) || r.Interval <= 0 || r.Interval > 0.01 {
		t.Errorf("spread: %+v", r)
	}
	s.parts[2].quiet = s.parts[2].quiet[:minRuns-1]
	if r := s.row("k", clock{}); !r.Noisy || r.Runs != 2*minRuns-1 {
		t.Errorf("a piece that met little quiet: %+v", r)
	}
	s.parts[2].quiet, s.parts[2].noisy = nil, nil
	if r := s.row("k", clock{}); !r.Noisy || r.Runs != 0 || r.Median != 0 {
		t.Errorf("a piece without samples: %+v", r)
	}
}

// A network that is measured in pieces has a row of each kernel and of the whole.
func TestSessionInPieces(t *testing.T) {
	ctx := context.Background()
	for _, threads := range []int{1, 2} {
		o := options()
		o.Compile.Threads = threads
		anchor, err := newAnchor(o.Target, o.Compile)
		if err != nil {
			t.Fatal(err)
		}
		m := &measure{o: o, anchor: anchor, crowd: newCrowd(64, threads), clock: newClock(), j: &journal{table: &Table{}}}
		w := work(3)[0]
		s, err := m.begin(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		want := backends.NewOutputs(w.Graph)
		if err := s.p.Run(ctx, w.In, want); err != nil {
			t.Fatal(err)
		}
		n := len(s.took)
		if n < 5 {
			t.Fatalf("%d steps", n)
		}
		s.cut([]int{0, 2, n - 1})
		look, err := anchor.time(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 * minRuns {
			runs := 0
			if look, runs, _, err = s.round(ctx, look); err != nil || runs != 1 {
				t.Fatal(runs, err)
			}
			for i := range want {
				if !slices.Equal(raw(s.out[i]), raw(want[i])) {
					t.Fatalf("%d threads: output %d differs", threads, i)
				}
			}
		}
		sum := 0.0
		for _, k := range s.order {
			r := s.have[k].row(k, m.clock)
			if !(r.Median > 0) || r.Runs < minRuns {
				t.Errorf("%s: %+v", k, r)
			}
			sum += r.Median * float64(len(s.byKey[k]))
		}
		r := s.have[wholeRun].row(wholeRun, m.clock)
		if !(r.Median > 0) || r.Runs < minRuns || len(s.have[wholeRun].parts) != 3 {
			t.Errorf("the whole: %+v", r)
		}
		t.Logf("%d threads: %v µs, its kernels %v µs", threads, r.Median, sum)
		anchor.close()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// raw are a tensor's values.
func raw(t *ir.Tensor) []float64 {
	out := make([]float64, t.Len())
	for i := range out {
		out[i] = t.At(i)
	}
	return out
}
