package strategy

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/search/shrink"
)

func resnet(t *testing.T, repeat string) *shrink.Space {
	t.Helper()
	text := strings.ReplaceAll(`name = "tiny"
input = [8, 8, 1]
[[stage]]
block = "conv"
name = "stem"
channels = 8
[[stage]]
block = "basic"
name = "one"
channels = 8
repeat = REPEAT
[[stage]]
block = "basic"
name = "two"
channels = 16
repeat = REPEAT
stride = 2
[[stage]]
block = "pool"
[[stage]]
block = "dense"
name = "fc"
out = 10
`, "REPEAT", repeat)
	g, _, err := arch.Parse("tiny", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := shrink.New(g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compress runs n2n where a student's accuracy is a matter of its layers: each
// that the first stage lost costs 0.1.
func compress(t *testing.T, s *shrink.Space, seed uint64, window, budget int, options map[string]string, limits ...search.Limit) (*n2n, []*search.Trial) {
	t.Helper()
	g := goal(t, "accuracy", 0)
	g.Limits = limits
	x, err := Find("n2n", search.Setup{Space: s, Goal: g, Seed: seed, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	l := search.Loop{Space: s, Goal: g, Strategy: x, Seed: seed, Window: window, Budget: budget, Evaluator: search.EvaluatorFunc(
		func(ctx context.Context, trial *search.Trial) (search.Outcome, error) {
			net := s.Teacher.Clone()
			for _, e := range s.Edits(trial.Genotype) {
				if _, err := morph.Edit(ctx, net, e); err != nil {
					return search.Outcome{}, err
				}
			}
			accuracy := 0.9
			for i, layer := range s.Layers {
				if strings.HasPrefix(layer.Node, "one") && trial.Genotype[i] != 0 {
					accuracy -= 0.1
				}
			}
			return search.Outcome{Metrics: map[string]float64{"accuracy": accuracy, "params": float64(net.Params())}}, nil
		})}
	trials, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x.(*n2n), trials
}

func TestN2N(t *testing.T) {
	t.Parallel()
	s := resnet(t, "3")
	o := map[string]string{"rollouts": "5", "removal": "22", "shrinkage": "16", "rate": "0.01", "share-rate": "0.02"}
	x, trials := compress(t, s, 2, 5, 1000, o)
	if x.removing() || x.best == nil {
		t.Fatalf("%d trials", len(trials))
	}
	best := x.best.Metrics
	if best["params"]*4 > trials[0].Metrics["params"] || best["accuracy"] < 0.7 {
		t.Errorf("the best: %v of %v", best, trials[0].Metrics)
	}
	// A seed replays.
	_, again := compress(t, s, 2, 5, 1000, o)
	if trace(trials) != trace(again) {
		t.Error("the same seed proposes otherwise")
	}
	// What was learned is worth more than nothing on a deeper teacher.
	file := filepath.Join(t.TempDir(), "policies")
	b, err := x.Policies()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	deeper := resnet(t, "4")
	reward := func(options map[string]string) float64 {
		x, trials := compress(t, deeper, 3, 5, 11, options)
		sum := 0.0
		for _, t := range trials[1:] {
			sum += x.reward(t)
		}
		return sum / float64(len(trials)-1)
	}
	o["policy"] = file
	with := reward(o)
	delete(o, "policy")
	if without := reward(o); with < without+0.05 {
		t.Errorf("with what was learned %.3f, without %.3f", with, without)
	}
}

func TestN2NReward(t *testing.T) {
	x := &n2n{teacher: &search.Trial{Outcome: search.Outcome{Metrics: map[string]float64{"accuracy": 0.8, "params": 100}}}}
	trial := &search.Trial{Outcome: search.Outcome{Metrics: map[string]float64{"accuracy": 0.6, "params": 25}}}
	want := 0.75 * 1.25 * 0.75
	if r := x.reward(trial); math.Abs(r-want) > 1e-12 {
		t.Errorf("%v, wanted %v", r, want)
	}
	trial.Violation = 0.1
	for _, c := range []struct {
		epoch int
		e     float64
	}{{0, 1}, {3, 0.4096}, {15, 0}, {30, 0}, {1000, 0}} {
		x.epoch = c.epoch
		if r, want := x.reward(trial), c.e-1+c.e*want; math.Abs(r-want) > 1e-12 {
			t.Errorf("epoch %d: %v, wanted %v", c.epoch, r, want)
		}
	}
	trial.Fault = "it"
	if x.reward(trial) != -1 {
		t.Error("a network that cannot be has another reward")
	}
}

func TestN2NRefuses(t *testing.T) {
	if _, err := Find("n2n", search.Setup{Space: space(t, small), Goal: goal(t, "accuracy", 0)}); err == nil || !strings.Contains(err.Error(), "without a teacher") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "no-policy")
	if err := os.WriteFile(file, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Find("n2n", search.Setup{Space: resnet(t, "2"), Goal: goal(t, "accuracy", 0), Options: map[string]string{"policy": file}}); err == nil || !strings.Contains(err.Error(), "no policies of n2n") {
		t.Error(err)
	}
}
