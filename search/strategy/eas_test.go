package strategy

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
)

func zooSpace(t *testing.T, name string) search.ArchSpace {
	t.Helper()
	b, err := os.ReadFile("../../zoo/spaces/" + name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := arch.ParseSpace(name, b)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.Adapted([]int{8, 8, 1}, 10); err != nil {
		t.Fatal(err)
	}
	return search.ArchSpace{Space: s}
}

// grow runs a growing strategy where a network is worth what f says of the
// options that its active genes take.
func grow(t *testing.T, name, space string, seed uint64, window, budget int, options map[string]string, f func(map[string]string) float64) []*search.Trial {
	t.Helper()
	s := zooSpace(t, space)
	g := goal(t, "accuracy", 0)
	x, err := Find(name, search.Setup{Space: s, Goal: g, Seed: seed, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	l := search.Loop{Space: s, Goal: g, Strategy: x, Seed: seed, Window: window, Budget: budget, Evaluator: search.EvaluatorFunc(
		func(_ context.Context, trial *search.Trial) (search.Outcome, error) {
			taken := map[string]string{}
			s.Active(trial.Genotype, func(i int) { taken[s.Space.Genes[i].Name] = s.Space.Genes[i].Options[trial.Genotype[i]] })
			return search.Outcome{Metrics: map[string]float64{"accuracy": f(taken)}}, nil
		})}
	trials, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return trials
}

var few = map[string]string{"nets": "6", "wider": "2", "deeper": "2", "rate": "0.02", "stage": "0"}

// deepThird is a world in which the third block alone should be deep, with
// kernels of 5, and the first wide.
func deepThird(o map[string]string) float64 {
	a := 0.5
	a += 0.1 * float64(strings.Index("1234", o["block3.repeat"])-strings.Index("1234", o["block1.repeat"])-strings.Index("1234", o["block2.repeat"]))
	if o["block1.channels"] != "16" {
		a += 0.1
	}
	if o["block2.channels"] != "32" {
		a -= 0.1
	}
	return a
}

func TestEASLearns(t *testing.T) {
	t.Parallel()
	const budget = 1 + 6*18
	mean := func(trials []*search.Trial) float64 {
		sum := 0.0
		for _, x := range trials {
			sum += x.Metrics["accuracy"] / float64(len(trials))
		}
		return sum
	}
	learned := grow(t, "eas", "plain-cnn", 3, 6, budget, few, deepThird)
	few := map[string]string{"nets": "6", "wider": "2", "deeper": "2", "stage": "0"}
	random := grow(t, "random-growth", "plain-cnn", 3, 6, budget, few, deepThird)
	a, b, c := mean(learned[1:31]), mean(learned[len(learned)-30:]), mean(random[1:])
	if b < a+0.05 || b < c+0.05 {
		t.Errorf("accuracy went from %.3f to %.3f; by chance %.3f", a, b, c)
	}
}

// A seed replays, and the window does not matter up to an episode's size: the
// networks of an episode are drawn together.
func TestEASReplays(t *testing.T) {
	t.Parallel()
	for _, space := range []string{"plain-cnn", "densenet"} {
		o := map[string]string{"nets": "3", "wider": "1", "deeper": "1", "stage": "1"}
		var first []*search.Trial
		for _, window := range []int{1, 3} {
			trials := grow(t, "eas", space, 9, window, 10, o, func(o map[string]string) float64 {
				return 0.5 + 0.01*float64(len(o)) + 0.02*float64(strings.Index("0123468", o["block1.repeat"]))
			})
			if first != nil && trace(first) != trace(trials) {
				t.Errorf("window %d:\n%s\nand\n%s", window, trace(first), trace(trials))
			}
			first = trials
		}
		if first[0].Parent != 0 || first[1].Parent != 1 || first[9].Parent < 2 {
			t.Errorf("parents:\n%s", trace(first))
		}
	}
}

// Growing goes on from what has grown, also where the start is ahead of it.
func TestEASLeavesStart(t *testing.T) {
	t.Parallel()
	o := map[string]string{"nets": "2", "wider": "1", "deeper": "1", "stage": "1"}
	trials := grow(t, "eas", "plain-cnn", 9, 1, 7, o, func(o map[string]string) float64 {
		return 0.9 - 0.1*float64(strings.Index("1234", o["block1.repeat"])+strings.Index("1234", o["block2.repeat"])+strings.Index("1234", o["block3.repeat"]))
	})
	for _, x := range trials[3:] {
		if x.Parent < 2 {
			t.Errorf("trial %d begins at %d:\n%s", x.ID, x.Parent, trace(trials))
		}
	}
}

// What is proposed is what the edits make: nothing else is trained.
func TestEASEdits(t *testing.T) {
	ctx := context.Background()
	for _, space := range []string{"plain-cnn", "densenet"} {
		s := zooSpace(t, space)
		trials := grow(t, "random-growth", space, 4, 5, 6, map[string]string{"nets": "5"}, func(map[string]string) float64 { return 0.5 })
		edits := 0
		for _, x := range trials[1:] {
			base, _, err := morph.Build(ctx, s.Space, trials[0].Genotype)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range x.Edits {
				if _, err := morph.Edit(ctx, base, e); err != nil {
					t.Fatal(err)
				}
			}
			net, _, err := morph.Build(ctx, s.Space, x.Genotype)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := morph.Fit(ctx, base, net); err != nil {
				t.Errorf("%v: %v", x.Edits, err)
			}
			edits += len(x.Edits)
		}
		if edits < 10 {
			t.Errorf("%s: %d edits of 5 networks", space, edits)
		}
	}
}

// By loss, less is better, and what has none is worth nothing.
func TestEASByLoss(t *testing.T) {
	x := &eas{ground: &ground{setup: search.Setup{Goal: goal(t, "loss", 0)}}, clip: 0.99}
	worth := func(m map[string]float64) float64 {
		return x.reward(&search.Trial{Outcome: search.Outcome{Metrics: m}})
	}
	good, bad := worth(map[string]float64{"loss": 0.1, "accuracy": 0.9}), worth(map[string]float64{"loss": 0.2, "accuracy": 0.95})
	if !(good > bad && bad > 0) || worth(map[string]float64{"accuracy": 0.9}) != 0 || worth(map[string]float64{"loss": 0}) > 64 {
		t.Errorf("%v for a loss of 0.1, %v for 0.2", good, bad)
	}
}

func TestEASRefuses(t *testing.T) {
	one, err := arch.ParseSpace("one.toml", []byte("input = [8, 8, 1]\n[[stage]]\nblock = \"flatten\"\n[[stage]]\nblock = \"dense\"\nout = 10\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find("eas", search.Setup{Space: search.ArchSpace{Space: one}, Goal: goal(t, "accuracy", 0)}); err == nil || !strings.Contains(err.Error(), "something that can grow") {
		t.Error(err)
	}
}

// A limit that needs no training holds for everything that is proposed.
func TestGrowthKeepsLimits(t *testing.T) {
	s := zooSpace(t, "plain-cnn")
	m, err := search.FindMetric("macs")
	if err != nil {
		t.Fatal(err)
	}
	g := goal(t, "accuracy", 0)
	g.Limits = append(g.Limits, search.Limit{Metric: m, Bound: 400e3})
	cheap := func(x search.Genotype) (map[string]float64, error) {
		text, err := s.Instance(x)
		if err != nil {
			return nil, err
		}
		net, _, err := arch.Trace("x", []byte(text))
		return map[string]float64{"macs": float64(net.MACs())}, err
	}
	x, err := Find("random-growth", search.Setup{Space: s, Goal: g, Seed: 1, Cheap: cheap})
	if err != nil {
		t.Fatal(err)
	}
	l := search.Loop{Space: s, Goal: g, Strategy: x, Budget: 21, Window: 10, Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
		c, err := cheap(t.Genotype)
		c["accuracy"] = 0.5
		return search.Outcome{Metrics: c}, err
	})}
	trials, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var macs []float64
	for _, x := range trials {
		macs = append(macs, x.Metrics["macs"])
	}
	if slices.Max(macs) > 400e3 || slices.Max(macs) == macs[0] {
		t.Errorf("MACs %v", macs)
	}
}
