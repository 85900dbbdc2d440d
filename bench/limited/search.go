package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/train"
)

// limitsAt are the shares of the space's networks that keep the limits.
var limitsAt = []float64{0.3, 0.5, 0.7}

// sampled is how many networks judge the prediction.
const sampled = 40

func (c *config) search(ctx context.Context) error {
	if err := os.MkdirAll(c.state, 0o755); err != nil {
		return err
	}
	k, err := c.open(ctx)
	if err != nil {
		return err
	}
	out := &searched{Device: k.cpu, Strategy: c.strategy, Budget: c.budget, Front: c.front}
	if err := c.limits(k, out); err != nil {
		return err
	}
	for _, limit := range out.Limits {
		for seed := range uint64(c.seeds) {
			r, err := c.under(ctx, k, limit, seed+1)
			if err != nil {
				return err
			}
			out.Runs = append(out.Runs, *r)
		}
	}
	for seed := range uint64(c.seeds) {
		f := fronts{Seed: seed + 1}
		if f.Latency, err = c.frontOf(ctx, k, "accuracy,ms", seed+1); err != nil {
			return err
		}
		if f.MACs, err = c.frontOf(ctx, k, "accuracy,macs", seed+1); err != nil {
			return err
		}
		out.Fronts = append(out.Fronts, f)
	}
	if err := save(c.file("searched.json"), out); err != nil {
		return err
	}
	if !c.own() {
		return nil // it is not known how they were trained: they are timed with random weights
	}
	for _, r := range out.Runs {
		for _, x := range r.Finalists {
			if err := c.build(ctx, k, x.Genotype); err != nil {
				return err
			}
		}
	}
	return nil
}

// limits sets them at quantiles of the predicted times, and draws networks that
// the prediction is judged by.
func (c *config) limits(k *known, out *searched) error {
	var predicted []float64
	var all []chosen
	for i := range k.table.Rows {
		x, err := k.look(k.table.Rows[i].Genotype)
		if err != nil {
			return err
		}
		all = append(all, x)
		predicted = append(predicted, x.Predicted)
	}
	out.Last = slices.MaxFunc(all, func(a, b chosen) int { return cmp.Compare(a.Predicted, b.Predicted) })
	rng := rand.New(rand.NewPCG(1, 0x73616d706c65))
	for len(out.Sample) < min(sampled, len(all)) {
		if x := all[rng.IntN(len(all))]; !slices.Contains(out.Sample, x) {
			out.Sample = append(out.Sample, x)
		}
	}
	sorted := slices.Sorted(slices.Values(predicted))
	for _, q := range limitsAt {
		l := sorted[int(q*float64(len(sorted)))]
		unit := math.Pow(10, math.Floor(math.Log10(l))-1) // two digits: a limit is a round number
		l = math.Round(l/unit) * unit
		best := 0.0
		for _, x := range all {
			if x.Predicted <= l {
				best = max(best, x.Test)
			}
		}
		out.Limits, out.Best = append(out.Limits, l), append(out.Best, best)
	}
	return nil
}

func (c *config) loop(ctx context.Context, k *known, name string, goal search.Goal, budget int, seed uint64, options map[string]string) ([]*search.Trial, error) {
	s, err := strategy.Find(name, search.Setup{Space: k.space, Goal: goal, Budget: budget, Seed: seed, Options: options, Cheap: k.cheap})
	if err != nil {
		return nil, err
	}
	l := &search.Loop{Space: k.space, Goal: goal, Strategy: s, Evaluator: k, Seed: seed, Budget: budget}
	return l.Run(ctx)
}

// under runs a search under a limit, and draws its rival's networks.
func (c *config) under(ctx context.Context, k *known, limit float64, seed uint64) (*limited, error) {
	ms, err := search.FindMetric("ms")
	if err != nil {
		return nil, err
	}
	goal, err := search.ParseGoal("accuracy", search.Limit{Metric: ms, Bound: limit})
	if err != nil {
		return nil, err
	}
	trials, err := c.loop(ctx, k, c.strategy, goal, c.budget, seed, nil)
	if err != nil {
		return nil, err
	}
	r := &limited{Limit: limit, Seed: seed, Trials: len(trials)}
	slices.SortStableFunc(trials, func(a, b *search.Trial) int {
		switch {
		case a.Better(b):
			return -1
		case b.Better(a):
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	seen := map[string]bool{}
	for _, t := range trials {
		if !t.Feasible() {
			r.Broke++
			continue
		}
		if g := t.Genotype.String(); !seen[g] && len(r.Finalists) < c.finalists {
			seen[g] = true
			x, err := k.look(t.Genotype)
			if err != nil {
				return nil, err
			}
			r.Finalists = append(r.Finalists, x)
		}
	}
	if len(r.Finalists) == 0 {
		return nil, fmt.Errorf("limit %v, seed %d: no network found that keeps it", limit, seed)
	}
	rng := rand.New(rand.NewPCG(seed, 0x72697661))
	seen = map[string]bool{}
	for tries := 0; len(seen) < c.budget && tries < 1_000_000; tries++ {
		g := search.Draw(k.space, rng)
		x, err := k.look(g)
		if err != nil {
			return nil, err
		}
		if x.Predicted > limit || seen[x.Genotype] {
			continue
		}
		seen[x.Genotype] = true
		if x.Val > r.Random.Val {
			r.Random = x
		}
	}
	return r, nil
}

// frontOf searches for a front, and gives the trials that none dominates.
func (c *config) frontOf(ctx context.Context, k *known, objectives string, seed uint64) ([]chosen, error) {
	goal, err := search.ParseGoal(objectives)
	if err != nil {
		return nil, err
	}
	trials, err := c.loop(ctx, k, "nsga2", goal, c.front, seed, map[string]string{"population": "20"})
	if err != nil {
		return nil, err
	}
	var out []chosen
	for _, t := range search.Front(trials) {
		x, err := k.look(t.Genotype)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out, nil
}

// build trains a chosen network as the benchmark did with its first seed, and
// compiles it; what is there is not built again.
func (c *config) build(ctx context.Context, k *known, genotype string) error {
	path := c.file(genotype + ".nasc")
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g, err := k.space.DecodeGenotype(genotype)
	if err != nil {
		return err
	}
	text, err := k.space.Instance(g)
	if err != nil {
		return err
	}
	source := c.file(genotype + ".toml")
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		return err
	}
	m, err := nasc.Open(source, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	m.Manifest.Preprocess = data.Assume(m.Graph().Inputs[0].Type)
	o := nasc.TrainOptions{Config: train.Default(), Data: "m2k:" + c.dir, Reinit: true, Threads: 1, Preprocess: m.Manifest.Preprocess, Out: c.file(genotype + ".f32.nasc")}
	o.Epochs, o.LR, o.ValSplit, o.Target = 4, 5e-3, 0.256, "cpu-f32"
	if _, err := nasc.Train(ctx, m, o); err != nil {
		return err
	}
	trained, err := nasc.Open(o.Out, nil)
	if err != nil {
		return err
	}
	defer trained.Close()
	r, err := nasc.Compile(ctx, trained, nasc.CompileOptions{Target: target, Out: path, Calib: "m2k:" + c.dir + "[0:200]", Threads: 1, Seed: 1})
	if err != nil {
		return err
	}
	feed, err := c.test(r.Module.Graphs[0], r.Manifest.Preprocess)
	if err != nil {
		return err
	}
	s, err := nasc.Evaluate(ctx, r.Module.Graphs[0], target, feed, false, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: int8 %.2f %%\n", genotype, 100*s.Top1)
	return save(c.file(genotype+".json"), s.Top1)
}

func (c *config) test(g *ir.Graph, pp *nascfile.Preprocess) (*data.Feed, error) {
	return data.OpenFeed("m2k-test:"+c.dir, g.Inputs, pp)
}
