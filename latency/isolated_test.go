package latency

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Rows and networks were measured while the machine had several speeds: all of
// them are brought to the middle one.
func TestSteady(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	table, steady := &Table{Facts: []Fact{{"target", ByBlocks[0]}}}, &Table{Facts: []Fact{{"target", ByBlocks[0]}}}
	const pace = 20.0
	add := func(row Row, speed float64) {
		t.Helper()
		row.Anchor = pace
		if err := steady.add(row); err != nil {
			t.Fatal(err)
		}
		row.Median, row.P10, row.P90, row.Anchor = row.Median*speed, row.P10*speed, row.P90*speed, row.Anchor*speed
		if err := table.add(row); err != nil {
			t.Fatal(err)
		}
	}
	speed := func() float64 { return []float64{0.9, 1, 1.6}[r.IntN(3)] }
	for i := range 40 {
		us := 50 + 400*r.Float64()
		add(Row{Key: fmt.Sprintf("dot | f32[1,%d] -> f32[1,%d] | x", 8+i, 8+i), Median: us, P10: us, P90: us, Runs: 20}, speed())
	}
	for i := range 15 {
		var uses []Use
		sum := 0.0
		for range 10 {
			u := Use{Row: r.IntN(40), N: 1}
			uses, sum = append(uses, u), sum+steady.Rows[u.Row].Median
		}
		add(Row{Key: netKey(fmt.Sprint("n", i), uses), Median: sum, P10: sum, P90: sum, Runs: 20}, []float64{0.9, 1, 1.6}[i%3])
	}
	if got := table.Pace(); got != pace {
		t.Errorf("the middle of the speeds is %v, wanted %v", got, pace)
	}
	for i, want := range steady.learned().rows {
		if got := table.learned().rows[i]; math.Abs(got.t/want.t-1) > 1e-6 {
			t.Errorf("row %d: %v µs, wanted %v", i, got.t, want.t)
		}
	}
	if a, b := table.learned().net, steady.learned().net; math.Abs(a.b-b.b) > 1e-6 || math.Abs(a.a-b.a) > 1e-3 {
		t.Errorf("correction %+v, wanted %+v", a, b)
	}
	if carried := (&Table{Facts: table.Facts, Rows: []Row{{Median: 7}}, Nets: table.Nets}).steady(); carried.Rows[0].Median != 7 {
		t.Errorf("a row without an anchor became %v", carried.Rows[0].Median)
	}
}

// A program's row is its multiples of the anchor at the middle of the anchor's
// times, without an empty run.
func TestAloneRow(t *testing.T) {
	a := &alone{samples: samples{macs: 3, bytes: 5}}
	for i, speed := range []float64{20, 21, 30, 20, 22} {
		var round []map[string]float64
		for range 4 {
			round = append(round, map[string]float64{wholeRun: 10})
		}
		a.add(0, round, wholeRun, i != 2, 1)
		a.anchors = append(a.anchors, speed, speed)
	}
	r := a.row("k", 0.5)
	if r.Key != "k" || r.Anchor != 21 || math.Abs(r.Median-9.5*21) > 1e-9 || r.Runs != 16 || r.Noisy || r.MACs != 3 || r.Bytes != 5 {
		t.Errorf("%+v", r)
	}
	if r := a.row("k", 9.9); math.Abs(r.Median-21) > 1e-9 {
		t.Errorf("hardly longer than an empty run: %v µs", r.Median)
	}
}

// A run's time is never more than it took, and its error is handed on.
func TestOneRun(t *testing.T) {
	for _, threads := range []int{1, 2} {
		begun := time.Now()
		us, err := oneRun(t.Context(), func(context.Context) error { time.Sleep(time.Millisecond); return context.Canceled }, threads)
		if took := float64(time.Since(begun).Nanoseconds()) / 1000; us < 0 || us > took || err != context.Canceled {
			t.Errorf("%d threads: %v of %v µs, %v", threads, us, took, err)
		}
	}
}
