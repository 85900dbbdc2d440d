package search_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
)

const spaceText = `input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [2, 4, 6, 8] }
repeat = { choose = [1, 2, 3] }
kernel = { choose = [1, 3, 5], each = true }
[[stage]]
block = "pool"
`

func space(t *testing.T) search.Space {
	t.Helper()
	s, err := arch.ParseSpace("small.toml", []byte(spaceText))
	if err != nil {
		t.Fatal(err)
	}
	return search.ArchSpace{Space: s}
}

// quality is an outcome that depends on the genotype alone.
func quality(g search.Genotype) search.Outcome {
	v := 0.0
	for i, x := range g {
		v += float64(x) / float64(i+1)
	}
	return search.Outcome{Metrics: map[string]float64{"accuracy": v / 10, "ms": 1 + v}}
}

// drifting proposes mutants of the best network told; what it draws depends on
// all calls so far, so that another order of them leads elsewhere.
type drifting struct {
	space search.Space
	r     *rand.Rand
	best  *search.Trial
	calls []string
	asked int64
	wait  bool // every fourth proposal waits for all outcomes
	told  int64
	done  int64 // ErrDone after so many; 0: never
}

func (d *drifting) Ask(context.Context) (search.Proposal, error) {
	if d.done > 0 && d.asked == d.done {
		return search.Proposal{}, search.ErrDone
	}
	if d.wait && d.asked%4 == 3 && d.told < d.asked {
		d.calls = append(d.calls, "wait")
		return search.Proposal{}, search.ErrWait
	}
	d.asked++
	g := search.Draw(d.space, d.r)
	if d.best != nil && d.r.IntN(3) > 0 {
		g = search.Mutate(d.space, d.best.Genotype, d.r)
	}
	d.calls = append(d.calls, "ask "+g.String())
	return search.Proposal{Genotype: g}, nil
}

func (d *drifting) Tell(_ context.Context, t *search.Trial) error {
	d.told = t.ID
	d.calls = append(d.calls, fmt.Sprintf("tell %d", t.ID))
	if d.best == nil || t.Better(d.best) {
		d.best = t
	}
	return nil
}

func goal(t *testing.T) search.Goal {
	t.Helper()
	g, err := search.ParseGoal("accuracy")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The calls that a strategy sees depend on the window, not on which trial
// finished first.
func TestLoopIsDeterministic(t *testing.T) {
	for _, wait := range []bool{false, true} {
		var want []string
		for round := range 3 {
			d := &drifting{space: space(t), r: rand.New(rand.NewPCG(1, 2)), wait: wait}
			jitter := rand.New(rand.NewPCG(uint64(round), 0))
			var mu sync.Mutex
			l := &search.Loop{
				Space: d.space, Goal: goal(t), Strategy: d, Seed: 7, Window: 5, Budget: 60,
				Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
					mu.Lock()
					n := jitter.IntN(400)
					mu.Unlock()
					time.Sleep(time.Duration(n) * time.Microsecond)
					return quality(t.Genotype), nil
				}),
			}
			trials, err := l.Run(t.Context())
			if err != nil || len(trials) != 60 {
				t.Fatalf("%d trials, %v", len(trials), err)
			}
			if round == 0 {
				want = d.calls
			} else if !slices.Equal(d.calls, want) {
				t.Errorf("wait %v, round %d: other calls", wait, round)
			}
		}
	}
}

// A network is evaluated once; a trial of it again is counted and told, with
// the first one's outcome.
func TestLoopEvaluatesANetworkOnce(t *testing.T) {
	d := &drifting{space: space(t), r: rand.New(rand.NewPCG(3, 4))}
	var mu sync.Mutex
	seen := map[string]int{}
	l := &search.Loop{
		Space: d.space, Goal: goal(t), Strategy: d, Window: 8, Budget: 400,
		Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
			mu.Lock()
			seen[t.Genotype.String()]++
			mu.Unlock()
			return quality(t.Genotype), nil
		}),
	}
	trials, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, x := range trials {
		if x.Metrics["accuracy"] != quality(x.Genotype).Metrics["accuracy"] {
			t.Errorf("trial %d has another outcome", x.ID)
		}
		if x.CopyOf != 0 {
			copies++
		}
	}
	for g, n := range seen {
		if n != 1 {
			t.Errorf("%s was evaluated %d times", g, n)
		}
	}
	if copies == 0 || copies+len(seen) != 400 {
		t.Errorf("%d copies and %d evaluations of 400 trials", copies, len(seen))
	}
}

// A strategy that proposes one network for ever ends by its trials, and by its
// time.
func TestLoopEnds(t *testing.T) {
	s := space(t)
	same := search.Draw(s, rand.New(rand.NewPCG(1, 1)))
	for _, l := range []search.Loop{{Budget: 50}, {Time: time.Hour}} {
		l.Space, l.Goal = s, goal(t)
		l.Strategy = &fixed{same}
		l.Evaluator = search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
			return quality(t.Genotype), nil
		})
		trials, err := l.Run(t.Context())
		if want := max(l.Budget, 1001*min(1, int(l.Time))); err != nil || len(trials) != want {
			t.Errorf("%d trials of %d, %v", len(trials), want, err)
		}
	}
	x, err := strategy.Find("random", search.Setup{Space: s})
	if err != nil {
		t.Fatal(err)
	}
	l := search.Loop{Space: s, Goal: goal(t), Strategy: x, Window: 3, Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
		return quality(t.Genotype), nil
	})}
	if trials, err := l.Run(t.Context()); err != nil || int64(len(trials)) != s.Count().Int64() {
		t.Errorf("%d trials of a space of %v, %v", len(trials), s.Count(), err)
	}
}

type fixed struct{ g search.Genotype }

func (f *fixed) Ask(context.Context) (search.Proposal, error) {
	return search.Proposal{Genotype: f.g}, nil
}
func (f *fixed) Tell(context.Context, *search.Trial) error { return nil }

// An evaluator's error ends the study; a fault is an outcome like others.
func TestLoopFaults(t *testing.T) {
	s := space(t)
	eval := func(bad error) search.Evaluator {
		return search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
			if t.ID == 5 {
				return search.Outcome{Fault: "does not compile"}, bad
			}
			return quality(t.Genotype), nil
		})
	}
	d := &drifting{space: s, r: rand.New(rand.NewPCG(1, 2))}
	l := &search.Loop{Space: s, Goal: goal(t), Strategy: d, Window: 3, Budget: 20, Evaluator: eval(nil)}
	trials, err := l.Run(t.Context())
	if err != nil || len(trials) != 20 || trials[4].Feasible() || search.Best(trials).Fault != "" {
		t.Fatalf("%d trials, %v", len(trials), err)
	}
	full := errors.New("no space left on device")
	l.Strategy = &drifting{space: s, r: rand.New(rand.NewPCG(1, 2))}
	l.Evaluator = eval(full)
	trials, err = l.Run(t.Context())
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "trial 5") || len(trials) != 4 {
		t.Errorf("%d trials, %v", len(trials), err)
	}
	l.Strategy = &fixed{search.Genotype{9, 9}}
	if _, err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "trial 1 as proposed") {
		t.Errorf("%v", err)
	}
}

// The front is what no other dominates.
func TestFront(t *testing.T) {
	g, err := search.ParseGoal("accuracy,ms", search.Limit{Metric: search.Metric{Name: "ms"}, Bound: 3})
	if err != nil {
		t.Fatal(err)
	}
	var trials []*search.Trial
	for i, m := range [][2]float64{{.5, 1}, {.6, 2}, {.55, 2}, {.6, 2}, {.9, 4}, {.4, .5}, {.7, 2}} {
		x := &search.Trial{ID: int64(i + 1), Outcome: search.Outcome{Metrics: map[string]float64{"accuracy": m[0], "ms": m[1]}}}
		x.Judge(g)
		trials = append(trials, x)
	}
	var ids []int64
	for _, x := range search.Front(trials) {
		ids = append(ids, x.ID)
	}
	if !slices.Equal(ids, []int64{1, 6, 7}) {
		t.Errorf("front %v", ids)
	}
	if b := search.Best(trials); b.ID != 7 {
		t.Errorf("best %d", b.ID)
	}
}
