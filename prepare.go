package nasc

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
)

// PrepareOptions steer PrepareSpace.
type PrepareOptions struct {
	Target  string
	Threads int
	Batch   int
	Seed    uint64
	Checks  int // networks on which the chain is compared with the whole way [4]
	// Walking is told how far it is with finding what blocks there are, Progress
	// how many of them are known.
	Walking, Progress func(done, total int)
}

// PrepareSpace compiles as many networks of a space as it takes to see every
// block in every shape, looks their kernels up in the table, and gives a chain
// that predicts any network of the space as Table.Predict would, by adding up.
func PrepareSpace(ctx context.Context, space *arch.Space, table *latency.Table, o PrepareOptions) (*latency.Chain, error) {
	if o.Checks == 0 {
		o.Checks = 4
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	o.Threads, o.Batch = max(1, o.Threads), max(1, o.Batch)
	blocks, err := Blocks(ctx, space, o.Walking)
	if err != nil {
		return nil, err
	}
	p := &preparation{SpaceBlocks: blocks, table: table, o: o, cost: map[string]float64{}}
	if err := p.measure(ctx); err != nil {
		return nil, err
	}
	c := p.chain()
	r := rand.New(rand.NewPCG(o.Seed, 0x636865636b))
	for range o.Checks {
		g := space.Sample(r.Uint64())
		whole, err := p.whole(ctx, g)
		if err != nil {
			return nil, err
		}
		if ms, ok := c.Predict(g); !ok || math.Abs(ms/whole.Total-1) > 1e-6 {
			return nil, &diag.Error{Place: "space " + space.Name, Found: fmt.Sprintf("blocks that cost otherwise among others: network %v is %.5f ms by blocks and %.5f as a whole", g, ms, whole.Total), Wanted: "a space whose networks are the sum of their blocks", Fix: "predict its networks one by one"}
		}
	}
	return c, nil
}

// preparation is a space being prepared.
type preparation struct {
	*SpaceBlocks
	table *latency.Table
	o     PrepareOptions
	cost  map[string]float64 // ms, by block
}

// measure finds each block's time: networks are drawn that have many that are
// not known yet, then the networks that were found to have the others.
func (p *preparation) measure(ctx context.Context) error {
	r := rand.New(rand.NewPCG(p.o.Seed, 0x70726570))
	left := func(g arch.Genotype) (n int) {
		keys, err := p.keys(g)
		if err != nil {
			return 0
		}
		seen := map[string]bool{}
		for _, k := range keys {
			if _, known := p.cost[k]; !known && !seen[k] {
				seen[k] = true
				n++
			}
		}
		return n
	}
	for i := 0; i < len(p.Keys); {
		if _, known := p.cost[p.Keys[i]]; known {
			i++
			continue
		}
		best := p.Witness[p.Keys[i]]
		most := left(best)
		for range coverDraws / 2 {
			if g := p.Space.Sample(r.Uint64()); left(g) > most {
				best, most = g, left(g)
			}
		}
		if err := p.learn(ctx, best); err != nil {
			return err
		}
		p.o.Progress(len(p.cost), len(p.Keys))
	}
	return nil
}

// steps compiles a network and gives its plan.
func (p *preparation) steps(ctx context.Context, g arch.Genotype) ([]backends.Step, []arch.Stage, error) {
	text, err := p.Space.Instance(g)
	if err != nil {
		return nil, nil, err
	}
	f, info, err := arch.Parse(p.Space.Name, []byte(text), nil)
	if err != nil {
		return nil, nil, err
	}
	static, err := SyntheticGraph(ctx, f, p.o.Target, p.o.Batch)
	if err != nil {
		return nil, nil, err
	}
	steps, err := planSteps(static, p.o.Target, p.o.Batch, p.o.Threads)
	return steps, info.Stages, err
}

// planSteps compiles a static graph for its plan alone; blocks need no compiler.
func planSteps(g *ir.Graph, target string, batch, threads int) ([]backends.Step, error) {
	if base, _ := backends.SplitName(target); slices.Contains(latency.ByBlocks, base) {
		static, err := ir.Specialize(g, batch)
		if err != nil {
			return nil, err
		}
		return latency.Steps(nil, static, target)
	}
	e, static, err := Start(g, target, batch, threads)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return latency.Steps(e, static, target)
}

func (p *preparation) whole(ctx context.Context, g arch.Genotype) (*latency.Prediction, error) {
	steps, _, err := p.steps(ctx, g)
	if err != nil {
		return nil, err
	}
	return p.table.PredictSteps(steps)
}

// learn adds up the steps of each block of a network.
func (p *preparation) learn(ctx context.Context, g arch.Genotype) error {
	steps, stages, err := p.steps(ctx, g)
	if err != nil {
		return err
	}
	pred, err := p.table.PredictSteps(steps)
	if err != nil {
		return err
	}
	sums := make([]float64, len(stages))
	at := 0
	for i, s := range steps {
		// Steps are in the order of the blocks; one that no block names, such as
		// a change of types between two, is the earlier block's.
		for k, stage := range stages {
			if s.Label == stage.Name || strings.HasPrefix(s.Label, stage.Name+".") {
				at = k
			}
		}
		sums[at] += p.table.StepCost(pred.PerNode[i].MS)
	}
	for k, s := range stages {
		if _, known := p.cost[BlockKey(s)]; !known {
			p.cost[BlockKey(s)] = sums[k]
		}
	}
	return nil
}

// chain puts the times where the combinations are.
func (p *preparation) chain() *latency.Chain {
	c := &latency.Chain{Base: p.table.RunCost(), Root: p.Root, First: p.First}
	for _, s := range p.Slots {
		out := latency.Slot{Choice: s.Choice, Next: s.Next, Cost: make([]float64, len(s.Block))}
		for i, b := range s.Block {
			if b != "" {
				out.Cost[i] = p.cost[b]
			}
		}
		c.Slots = append(c.Slots, out)
	}
	return c
}
