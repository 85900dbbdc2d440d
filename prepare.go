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
	// Progress counts networks compiled.
	Progress func(done, total int)
}

// maxCombinations bounds the look-ups of one slot.
const maxCombinations = 1 << 16

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
	p := &preparation{space: space, table: table, o: o, cost: map[string]float64{}, witness: map[string]arch.Genotype{}}
	if err := p.walk(); err != nil {
		return nil, err
	}
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
	space *arch.Space
	table *latency.Table
	o     PrepareOptions

	root    latency.Choice
	first   []int32
	slots   []prepSlot
	blocks  []string                 // what blocks there are, in shapes
	cost    map[string]float64       // ms, by block
	witness map[string]arch.Genotype // a network that has the block
}

type prepSlot struct {
	latency.Choice
	states []arch.Genotype // a network that comes to this state
	block  []string        // by state·Size + index; "" for an empty slot
	next   []int32
}

// blockKey is a block and the shape that it meets.
func blockKey(s arch.Stage) string { return s.In.String() + " " + s.Params }

func (p *preparation) trace(g arch.Genotype) ([]arch.Stage, error) {
	text, err := p.space.Instance(g)
	if err != nil {
		return nil, err
	}
	_, info, err := arch.Trace(p.space.Name, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("network %v of %s: %w", g, p.space.Name, err)
	}
	return info.Stages, nil
}

// walk finds the states, from the first slot to the last: what comes out of a
// slot for each state before it and each combination of its genes.
func (p *preparation) walk() error {
	options := func(g int) int { return len(p.space.Genes[g].Options) }
	p.root = latency.NewChoice(p.space.RootGenes(), options)
	p.first = slices.Repeat([]int32{-1}, int(p.root.Size))
	genes := p.space.Slots()
	for _, g := range genes {
		s := prepSlot{Choice: latency.NewChoice(g, options)}
		if s.Size > maxCombinations {
			return &diag.Error{Place: "space " + p.space.Name, Found: fmt.Sprintf("a block with %d combinations", s.Size), Wanted: fmt.Sprintf("at most %d", maxCombinations)}
		}
		p.slots = append(p.slots, s)
	}
	ids := make([]map[string]int32, len(genes)+1)
	for i := range ids {
		ids[i] = map[string]int32{}
	}
	// shared are the genes that slots before i and slots from i on both ask: what
	// was taken of them is part of the state.
	shared := make([][]int, len(genes)+1)
	for i := range genes {
		for _, gene := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(append([][]int{p.space.RootGenes()}, genes[:i]...)...)))) {
			if slices.Contains(slices.Concat(genes[i:]...), gene) {
				shared[i] = append(shared[i], gene)
			}
		}
	}
	// state numbers what comes before slot i; one that is new keeps its network.
	state := func(i int, before string, g arch.Genotype) int32 {
		for _, gene := range shared[i] {
			before += fmt.Sprint(" ", g[gene])
		}
		id, ok := ids[i][before]
		if !ok {
			id = int32(len(ids[i]))
			ids[i][before] = id
			if i < len(p.slots) {
				p.slots[i].states = append(p.slots[i].states, g)
			}
		}
		return id
	}
	for k := range p.root.Size {
		g := make(arch.Genotype, len(p.space.Genes))
		set(g, p.root, k)
		g = p.space.Canonical(g)
		if p.root.Index(g) != k {
			continue
		}
		stages, err := p.trace(g)
		if err != nil {
			return err
		}
		p.first[k] = state(0, stages[0].In.String(), g)
	}
	for i := range p.slots {
		s := &p.slots[i]
		for id := 0; id < len(s.states); id++ {
			for k := range s.Size {
				g := slices.Clone(s.states[id])
				set(g, s.Choice, k)
				agree := !slices.ContainsFunc(shared[i], func(gene int) bool { return g[gene] != s.states[id][gene] })
				if g = p.space.Canonical(g); s.Index(g) != k || !agree {
					s.block, s.next = append(s.block, ""), append(s.next, -1)
					continue
				}
				stages, err := p.trace(g)
				if err != nil {
					return err
				}
				at, here := slices.BinarySearch(p.space.Present(g), i)
				before := stages[0].In.String()
				if at > 0 {
					before = stages[at-1].Out.String()
				}
				if !here {
					s.block, s.next = append(s.block, ""), append(s.next, state(i+1, before, g))
					continue
				}
				key := blockKey(stages[at])
				if p.witness[key] == nil {
					p.witness[key] = g
					p.blocks = append(p.blocks, key)
				}
				s.block, s.next = append(s.block, key), append(s.next, state(i+1, stages[at].Out.String(), g))
			}
		}
	}
	return nil
}

// set gives the genes of a choice the options of its k-th combination.
func set(g arch.Genotype, c latency.Choice, k int32) {
	for i, gene := range c.Genes {
		n := c.Size
		if i+1 < len(c.Mult) {
			n = c.Mult[i+1]
		}
		g[gene] = int(k % n / c.Mult[i])
	}
}

// measure finds each block's time: networks are drawn that have many that are
// not known yet, then the networks that were found to have the others.
func (p *preparation) measure(ctx context.Context) error {
	r := rand.New(rand.NewPCG(p.o.Seed, 0x70726570))
	left := func(g arch.Genotype) (n int) {
		stages, err := p.trace(g)
		if err != nil {
			return 0
		}
		seen := map[string]bool{}
		for _, s := range stages {
			k := blockKey(s)
			if _, known := p.cost[k]; !known && !seen[k] {
				seen[k] = true
				n++
			}
		}
		return n
	}
	for i := 0; i < len(p.blocks); {
		if _, known := p.cost[p.blocks[i]]; known {
			i++
			continue
		}
		best := p.witness[p.blocks[i]]
		most := left(best)
		for range coverDraws / 2 {
			if g := p.space.Sample(r.Uint64()); left(g) > most {
				best, most = g, left(g)
			}
		}
		if err := p.learn(ctx, best); err != nil {
			return err
		}
		p.o.Progress(len(p.cost), len(p.blocks))
	}
	return nil
}

// steps compiles a network and gives its plan.
func (p *preparation) steps(ctx context.Context, g arch.Genotype) ([]backends.Step, []arch.Stage, error) {
	text, err := p.space.Instance(g)
	if err != nil {
		return nil, nil, err
	}
	f, info, err := arch.Parse(p.space.Name, []byte(text), nil)
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

// planSteps compiles a static graph for its plan alone.
func planSteps(g *ir.Graph, target string, batch, threads int) ([]backends.Step, error) {
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
		if _, known := p.cost[blockKey(s)]; !known {
			p.cost[blockKey(s)] = sums[k]
		}
	}
	return nil
}

// chain puts the times where the combinations are.
func (p *preparation) chain() *latency.Chain {
	c := &latency.Chain{Base: p.table.RunCost(), Root: p.root, First: p.first}
	for _, s := range p.slots {
		out := latency.Slot{Choice: s.Choice, Next: s.next, Cost: make([]float64, len(s.block))}
		for i, b := range s.block {
			if b != "" {
				out.Cost[i] = p.cost[b]
			}
		}
		c.Slots = append(c.Slots, out)
	}
	return c
}
