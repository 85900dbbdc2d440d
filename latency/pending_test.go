package latency

import (
	"testing"
	"time"
)

// One spoilt measurement does not spoil the row, nor does a noisy one count
// beside quiet ones; what they differ by shows.
func TestCombine(t *testing.T) {
	for _, c := range []struct {
		rows     []Row
		median   float64
		interval float64
		runs     int
		noisy    bool
	}{
		{[]Row{{Median: 10, Runs: 20, Interval: 0.01}}, 10, 0.01, 20, false},
		{[]Row{{Median: 20, Runs: 20}, {Median: 10, Runs: 20}}, 10, 0.5, 40, false},
		{[]Row{{Median: 10.1, Runs: 20}, {Median: 25, Runs: 20}, {Median: 10, Runs: 20, Interval: 0.02}}, 10.1, 0.05 / 10.1, 60, false},
		{[]Row{{Median: 10, Runs: 11, Noisy: true}, {Median: 11, Runs: 20}, {Median: 9, Runs: 11, Noisy: true}}, 11, 0, 20, false},
		{[]Row{{Median: 10, Runs: 11, Noisy: true}}, 10, 0, 11, true},
	} {
		r := combine(c.rows)
		if r.Median != c.median || r.Interval-c.interval > 1e-12 || c.interval-r.Interval > 1e-12 || r.Runs != c.runs || r.Noisy != c.noisy {
			t.Errorf("%+v gives %+v", c.rows, r)
		}
	}
}

// What a network needs grows with its runs: a budget is not filled with networks
// that take minutes.
func TestNeeds(t *testing.T) {
	if d := (&session{run: time.Millisecond}).needs(); d != leastBudget {
		t.Errorf("a short network needs %v", d)
	}
	if d := (&session{run: time.Second}).needs(); d < 2*minRuns*time.Second {
		t.Errorf("a network of a second needs %v", d)
	}
}
