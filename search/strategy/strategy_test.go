package strategy

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
)

// The spaces that strategies are tried on.
const (
	oneNetwork = `name = "one"
input = [8, 8, 1]
[[stage]]
block = "conv"
channels = 8
`
	// small has 27 networks: choices below a choice of how often a stage stands.
	small = `name = "small"
input = [8, 8, 1]
[[stage]]
block = "conv"
channels = { choose = [4, 8, 16] }
[[stage]]
block = "conv"
repeat = { choose = [0, 1, 2] }
kernel = { choose = [1, 3] }
channels = { choose = [8, 16] }
`
	// wide has 8 choices of 4 names each.
	wide = `name = "wide"
input = [8, 8, 1]
`
)

func space(t *testing.T, text string) search.Space {
	t.Helper()
	if text == wide {
		for i := range 8 {
			text += fmt.Sprintf("[[stage]]\nblock = \"conv\"\nchannels = %d\nact = { choose = [\"relu\", \"relu6\", \"silu\", \"gelu\"] }\n", 8+i)
		}
	}
	s, err := arch.ParseSpace("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return search.ArchSpace{Space: s}
}

// worth is a problem whose best network is known, 1: choices count by
// themselves, and neighbours count for agreeing. Time is what the options sum up
// to.
func worth(g search.Genotype) (accuracy, ms float64) {
	sum, most := 0.0, 0.0
	for i, v := range g {
		d := math.Abs(float64(v - (3*i+1)%4))
		sum += 1 - d/3
		most++
		if i > 0 && (v+g[i-1])%4 == ((3*i+1)%4+(3*i-2)%4)%4 {
			sum += 0.7
		}
		if i > 0 {
			most += 0.7
		}
		ms += 1 + float64(v)
	}
	return sum / math.Max(most, 1), ms
}

// trained is worth as a table would have it, and with less training less, and
// less sure.
func trained(_ context.Context, t *search.Trial) (search.Outcome, error) {
	acc, ms := worth(t.Genotype)
	if b := t.Budget; b > 0 {
		h := uint64(t.ID) * 0x9e3779b97f4a7c15
		noise := float64(h>>40)/(1<<24) - 0.5
		acc = acc*(0.5+0.5*b) + noise*0.1*(1-b)
	}
	return search.Outcome{Metrics: map[string]float64{"accuracy": acc, "ms": ms}}, nil
}

func cheap(g search.Genotype) (map[string]float64, error) {
	_, ms := worth(g)
	return map[string]float64{"ms": ms}, nil
}

type setting struct {
	row      Row
	space    search.Space
	goal     search.Goal
	seed     uint64
	window   int
	budget   int
	evaluate search.EvaluatorFunc
	cheap    func(search.Genotype) (map[string]float64, error)
}

func (s setting) run(t *testing.T) []*search.Trial {
	t.Helper()
	setup := search.Setup{Space: s.space, Goal: s.goal, Budget: s.budget, Seed: s.seed, Cheap: s.cheap}
	x, err := Find(s.row.Name, setup)
	if err != nil {
		t.Fatal(err)
	}
	if s.evaluate == nil {
		s.evaluate = trained
	}
	// The loop refuses what is not of the space or not canonical, and a wait for
	// nothing.
	l := search.Loop{Space: s.space, Goal: s.goal, Strategy: x, Evaluator: s.evaluate, Seed: s.seed, Window: s.window, Budget: s.budget}
	trials, err := l.Run(t.Context())
	if err != nil {
		t.Fatalf("%s after %d trials: %v", s.row.Name, len(trials), err)
	}
	return trials
}

func goal(t *testing.T, objectives string, maxMS float64) search.Goal {
	t.Helper()
	var limits []search.Limit
	if maxMS != 0 {
		m, err := search.FindMetric("ms")
		if err != nil {
			t.Fatal(err)
		}
		limits = append(limits, search.Limit{Metric: m, Bound: maxMS})
	}
	g, err := search.ParseGoal(objectives, limits...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func trace(trials []*search.Trial) string {
	var b strings.Builder
	for _, t := range trials {
		fmt.Fprintf(&b, "%d %s %g %d\n", t.ID, t.Genotype, t.Budget, t.Parent)
	}
	return b.String()
}

func each(t *testing.T, f func(t *testing.T, r Row)) {
	for _, r := range Table {
		if r.Grows || r.Compresses || r.Single {
			continue // they have tests of their own, with networks that can be built
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			f(t, r)
		})
	}
}

func TestSeedsReplay(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		for _, window := range []int{1, 8} {
			s := setting{row: r, space: space(t, wide), goal: goal(t, "accuracy", 0), seed: 5, window: window, budget: 60}
			a, b := s.run(t), s.run(t)
			if trace(a) != trace(b) {
				t.Errorf("window %d: the same seed gave\n%sand\n%s", window, trace(a), trace(b))
			}
			if len(a) != 60 {
				t.Errorf("window %d: %d trials; wanted 60", window, len(a))
			}
			s.seed = 6
			if trace(a) == trace(s.run(t)) {
				t.Errorf("window %d: two seeds gave the same trials", window)
			}
		}
	})
}

// A space that is used up ends the search, and each network was asked for once.
func TestSmallSpacesEnd(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		for _, text := range []string{oneNetwork, small} {
			for _, window := range []int{1, 8} {
				sp := space(t, text)
				s := setting{row: r, space: sp, goal: goal(t, "accuracy", 0), window: window, budget: 1000}
				trials := s.run(t)
				met := map[string]int{}
				for _, t := range trials {
					met[fmt.Sprint(t.Genotype, t.Budget)]++
				}
				networks := map[string]bool{}
				for _, t := range trials {
					networks[t.Genotype.String()] = true
				}
				if n := sp.Count().Int64(); int64(len(networks)) != n {
					t.Errorf("%s, window %d: %d networks of %d", sp.Name(), window, len(networks), n)
				}
				for k, n := range met {
					if n > 1 {
						t.Errorf("%s, window %d: %s was asked for %d times", sp.Name(), window, k, n)
					}
				}
				if len(trials) == 1000 {
					t.Errorf("%s, window %d: no end", sp.Name(), window)
				}
			}
		}
	})
}

// Where limits are known without training, no network that breaks one is
// proposed while others are left.
func TestLimitsAreKept(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		for _, window := range []int{1, 8} {
			s := setting{row: r, space: space(t, wide), goal: goal(t, "accuracy", 16), window: window, budget: 80, cheap: cheap}
			for _, trial := range s.run(t) {
				if !trial.Feasible() {
					t.Fatalf("window %d: trial %d, %s, takes %g ms; the limit is 16", window, trial.ID, trial.Genotype, trial.Metrics["ms"])
				}
			}
		}
	})
}

// Nothing that can be told stops a strategy: no network keeps the limits, none
// can be evaluated, every third cannot.
func TestBadNewsIsTaken(t *testing.T) {
	fault := func(every int64) search.EvaluatorFunc {
		return func(ctx context.Context, t *search.Trial) (search.Outcome, error) {
			if t.ID%every == 0 {
				return search.Outcome{Fault: "does not compile"}, nil
			}
			return trained(ctx, t)
		}
	}
	each(t, func(t *testing.T, r Row) {
		for name, s := range map[string]setting{
			"no network under the limit": {goal: goal(t, "accuracy", 0.5)},
			"every network faults":       {goal: goal(t, "accuracy", 0), evaluate: fault(1)},
			"every third network faults": {goal: goal(t, "accuracy", 20), evaluate: fault(3)},
			"the metric is missing": {goal: goal(t, "accuracy", 0), evaluate: func(context.Context, *search.Trial) (search.Outcome, error) {
				return search.Outcome{Metrics: map[string]float64{"accuracy": math.NaN()}}, nil
			}},
		} {
			for _, window := range []int{1, 8} {
				s.row, s.space, s.window, s.budget = r, space(t, wide), window, 50
				if n := len(s.run(t)); n != 50 {
					t.Errorf("%s, window %d: %d trials; wanted 50", name, window, n)
				}
			}
		}
	})
}

// A space in which no network keeps the limits, as is known without training,
// has nothing to propose; one with some has these.
func TestImpossibleLimitsEnd(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		s := setting{row: r, space: space(t, small), goal: goal(t, "accuracy", 0.5), budget: 50, cheap: cheap}
		if n := len(s.run(t)); n != 0 {
			t.Errorf("%d trials; wanted none", n)
		}
		s.goal = goal(t, "accuracy", 7)
		want := 0
		for g := search.Genotype(make([]int, len(s.space.Genes()))); g != nil; g = newPool(search.Setup{Space: s.space}, "").next(g) {
			if m, err := cheap(g); err == nil && m["ms"] <= 7 {
				want++
			}
		}
		met := map[string]bool{}
		for _, trial := range s.run(t) {
			met[trial.Genotype.String()] = true
		}
		if len(met) != want || want == 0 {
			t.Errorf("%d networks; %d keep the limit", len(met), want)
		}
	})
}

// What an untold trial may become does not stop the others: with a window as
// large as the budget, a strategy that waits gets its outcomes.
func TestWideWindows(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		s := setting{row: r, space: space(t, wide), goal: goal(t, "accuracy", 0), window: 200, budget: 120}
		if n := len(s.run(t)); n != 120 {
			t.Errorf("%d trials; wanted 120", n)
		}
	})
}

// Asking goes on beyond the budget that a strategy was told of.
func TestBudgetMayBeExceeded(t *testing.T) {
	each(t, func(t *testing.T, r Row) {
		sp, g := space(t, wide), goal(t, "accuracy", 0)
		x, err := Find(r.Name, search.Setup{Space: sp, Goal: g, Budget: 5, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		trials, err := (&search.Loop{Space: sp, Goal: g, Strategy: x, Evaluator: search.EvaluatorFunc(trained), Budget: 40}).Run(t.Context())
		if err != nil || len(trials) != 40 {
			t.Errorf("%d trials, %v; wanted 40", len(trials), err)
		}
	})
}

// cost is the training that trials took, in full ones.
func cost(trials []*search.Trial) []float64 {
	out := make([]float64, len(trials))
	share := func(t *search.Trial) float64 {
		if t.Budget == 0 {
			return 1
		}
		return t.Budget
	}
	sum := 0.0
	for i, t := range trials {
		sum += share(t)
		if t.ParentTrial != nil {
			sum -= share(t.ParentTrial)
		}
		out[i] = sum
	}
	return out
}

// Each strategy finds better networks than random at equal cost, by the medians
// of 9 seeds.
func TestBeatsRandom(t *testing.T) {
	const trainings = 100
	median := func(t *testing.T, r Row) float64 {
		var found []float64
		for seed := range uint64(9) {
			s := setting{row: r, space: space(t, wide), goal: goal(t, "accuracy", 0), seed: seed, window: 1, budget: trainings}
			if r.Partial {
				s.budget = 10 * trainings
			}
			trials := s.run(t)
			best := 0.0
			for i, c := range cost(trials) {
				if c <= trainings && trials[i].Budget == 0 {
					best = max(best, trials[i].Values[0])
				}
			}
			found = append(found, best)
		}
		slices.Sort(found)
		return found[len(found)/2]
	}
	random := median(t, Table[0])
	each(t, func(t *testing.T, r Row) {
		if r.Name == "random" {
			return
		}
		got := median(t, r)
		t.Logf("%.4f, random %.4f", got, random)
		if got <= random {
			t.Errorf("median %.4f; random has %.4f", got, random)
		}
	})
}

func TestRefusals(t *testing.T) {
	sp, two := space(t, small), goal(t, "accuracy,ms", 0)
	for _, r := range Table {
		if r.New == nil || r.Doc == "" || r.Paper == "" {
			t.Errorf("%s: an empty column", r.Name)
		}
		_, err := Find(r.Name, search.Setup{Space: sp, Goal: goal(t, "accuracy", 0), Options: map[string]string{"no-such": "1"}})
		if err == nil || !strings.Contains(err.Error(), `"no-such"`) {
			t.Errorf("%s: an unknown option gives %v", r.Name, err)
		}
		for _, o := range r.Options {
			_, err := Find(r.Name, search.Setup{Space: sp, Goal: goal(t, "accuracy", 0), Options: map[string]string{o.Name: "NaN"}})
			if err == nil || !strings.Contains(err.Error(), o.Name) {
				t.Errorf("%s: %s = NaN gives %v", r.Name, o.Name, err)
			}
		}
		if _, err := Find(r.Name, search.Setup{Space: sp, Goal: two}); (err == nil) != r.Many || err != nil && !strings.Contains(err.Error(), "nsga2") {
			t.Errorf("%s with two objectives: %v", r.Name, err)
		}
		for _, also := range r.Also {
			if x, err := Lookup(also); err != nil || x.Name != r.Name {
				t.Errorf("%s is not found as %s", r.Name, also)
			}
		}
	}
	if _, err := Find("no-such", search.Setup{Space: sp}); err == nil || !strings.Contains(err.Error(), "regularized-evolution") {
		t.Errorf("an unknown strategy gives %v", err)
	}
}
