package nasc

import (
	"context"
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

// maxCombinations bounds the look-ups of one slot.
const maxCombinations = 1 << 16

// maxStates bounds them over the states that shared choices may lead to.
const maxStates = 1 << 20

// maxSlot bounds the networks that are looked at for one slot: its states times
// its combinations.
const maxSlot = 1 << 17

// SpaceBlocks is a space as a row of slots, each of which may hold a block, with
// states between them that say what shape comes out: what networks cost and are
// worth adds up along it (see latency.Chain).
type SpaceBlocks struct {
	Space   *arch.Space
	Root    latency.Choice // decides the first state
	First   []int32        // state by root's index, -1: none
	Slots   []BlockSlot
	Keys    []string                 // what blocks there are, in shapes
	Witness map[string]arch.Genotype // a network that has the block

	built map[string]arch.Stage // by key: what a block is in the shape that it meets
}

// BlockSlot is one place: by state·Size + index the block that it holds, "" for
// none, and the state after it, -1 where no network is so.
type BlockSlot struct {
	latency.Choice
	Block []string
	Next  []int32

	states []arch.Genotype // a network that comes to this state
	shapes []string        // what comes out of it before this slot
}

// Blocks finds the slots and states of a space. progress, where it is not nil,
// hears of the slots, in thousandths.
func Blocks(ctx context.Context, space *arch.Space, progress func(done, total int)) (*SpaceBlocks, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	p := &SpaceBlocks{Space: space, Witness: map[string]arch.Genotype{}, built: map[string]arch.Stage{}}
	return p, p.walk(ctx, progress)
}

// States is the number of states before a slot.
func (s *BlockSlot) States() int { return len(s.states) }

// BlockKey is a block and the shape that it meets.
func BlockKey(s arch.Stage) string { return s.In.String() + " " + s.Params }

func (p *SpaceBlocks) trace(g arch.Genotype) ([]arch.Stage, error) {
	text, err := p.Space.Instance(g)
	if err != nil {
		return nil, err
	}
	_, info, err := arch.Trace(p.Space.Name, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("network %v of %s: %w", g, p.Space.Name, err)
	}
	return info.Stages, nil
}

// block is what a network has in a slot that is not empty, where before comes out
// of the slots before it. Networks are built for blocks that were not met in this
// shape: to build each would take a hundred times as long.
func (p *SpaceBlocks) block(g arch.Genotype, params, before string) (arch.Stage, string, error) {
	key := before + " " + params
	if s, ok := p.built[key]; ok {
		return s, key, nil
	}
	stages, err := p.trace(g)
	if err != nil {
		return arch.Stage{}, "", err
	}
	for _, s := range stages {
		p.built[BlockKey(s)] = s
	}
	s, ok := p.built[key]
	if !ok {
		return s, key, fmt.Errorf("BUG: network %v of %s has no block %s", g, p.Space.Name, key)
	}
	return s, key, nil
}

// keys are the blocks of a network.
func (p *SpaceBlocks) keys(g arch.Genotype) ([]string, error) {
	var out []string
	before := ""
	for i := range p.Slots {
		params, here := p.Space.BlockAt(g, i)
		if !here {
			continue
		}
		if out == nil {
			before = p.input(g)
		}
		s, key, err := p.block(g, params, before)
		if err != nil {
			return nil, err
		}
		out, before = append(out, key), s.Out.String()
	}
	return out, nil
}

// input is what a network's first block takes.
func (p *SpaceBlocks) input(g arch.Genotype) string {
	return p.Slots[0].shapes[p.First[p.Root.Index(g)]]
}

// walk finds the states, from the first slot to the last: what comes out of a
// slot for each state before it and each combination of its genes.
func (p *SpaceBlocks) walk(ctx context.Context, progress func(done, total int)) error {
	options := func(g int) int { return len(p.Space.Genes[g].Options) }
	p.Root = latency.NewChoice(p.Space.RootGenes(), options)
	if p.Root.Size > maxCombinations {
		return &diag.Error{Place: "space " + p.Space.Name, Found: fmt.Sprintf("%d combinations before the first block", p.Root.Size), Wanted: fmt.Sprintf("at most %d", maxCombinations)}
	}
	p.First = slices.Repeat([]int32{-1}, int(p.Root.Size))
	genes := p.Space.Slots()
	for _, g := range genes {
		s := BlockSlot{Choice: latency.NewChoice(g, options)}
		if s.Size > maxCombinations {
			return &diag.Error{Place: "space " + p.Space.Name, Found: fmt.Sprintf("a block with %d combinations", s.Size), Wanted: fmt.Sprintf("at most %d", maxCombinations)}
		}
		p.Slots = append(p.Slots, s)
	}
	ids := make([]map[string]int32, len(genes)+1)
	for i := range ids {
		ids[i] = map[string]int32{}
	}
	// shared are the genes that slots before i and slots from i on both ask: what
	// was taken of them is part of the state.
	shared := make([][]int, len(genes)+1)
	for i := range genes {
		for _, gene := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(append([][]int{p.Space.RootGenes()}, genes[:i]...)...)))) {
			if slices.Contains(slices.Concat(genes[i:]...), gene) {
				shared[i] = append(shared[i], gene)
			}
		}
	}
	// Choices that slots share multiply, here with themselves.
	for i, among := range shared[:len(genes)] {
		n := float64(p.Slots[i].Size)
		for _, gene := range among {
			n *= float64(options(gene))
		}
		if n > maxStates {
			return &diag.Error{Place: "space " + p.Space.Name, Found: fmt.Sprintf("blocks that share choices with earlier ones: %.3g combinations of states and blocks", n), Wanted: fmt.Sprintf("at most %d", maxStates), Fix: "predict its networks one by one"}
		}
	}
	// state numbers what comes before slot i; one that is new keeps its network.
	state := func(i int, shape string, g arch.Genotype) int32 {
		before := shape
		for _, gene := range shared[i] {
			before += fmt.Sprint(" ", g[gene])
		}
		id, ok := ids[i][before]
		if !ok {
			id = int32(len(ids[i]))
			ids[i][before] = id
			if i < len(p.Slots) {
				p.Slots[i].states, p.Slots[i].shapes = append(p.Slots[i].states, g), append(p.Slots[i].shapes, shape)
			}
		}
		return id
	}
	for k := range p.Root.Size {
		g := make(arch.Genotype, len(p.Space.Genes))
		set(g, p.Root, k)
		g = p.Space.Canonical(g)
		if p.Root.Index(g) != k {
			continue
		}
		stages, err := p.trace(g)
		if err != nil {
			return err
		}
		p.First[k] = state(0, stages[0].In.String(), g)
	}
	all := 0
	for i := range p.Slots {
		s := &p.Slots[i]
		n := len(s.states) * int(s.Size) // all states are known when their slot's turn comes
		if all += n; n > maxSlot || all > maxStates {
			return &diag.Error{Place: "space " + p.Space.Name, Found: fmt.Sprintf("slot %d with %d states before it and %d combinations, %d by then", i+1, len(s.states), s.Size, all), Wanted: fmt.Sprintf("at most %d together, and %d in all", maxSlot, maxStates), Fix: "predict its networks one by one"}
		}
		for id := 0; id < len(s.states); id++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(1000*i+1000*id/len(s.states), 1000*len(p.Slots))
			for k := range s.Size {
				g := slices.Clone(s.states[id])
				set(g, s.Choice, k)
				agree := !slices.ContainsFunc(shared[i], func(gene int) bool { return g[gene] != s.states[id][gene] })
				if g = p.Space.Canonical(g); s.Index(g) != k || !agree {
					s.Block, s.Next = append(s.Block, ""), append(s.Next, -1)
					continue
				}
				params, here := p.Space.BlockAt(g, i)
				if !here {
					s.Block, s.Next = append(s.Block, ""), append(s.Next, state(i+1, s.shapes[id], g))
					continue
				}
				stage, key, err := p.block(g, params, s.shapes[id])
				if err != nil {
					return err
				}
				if p.Witness[key] == nil {
					p.Witness[key] = g
					p.Keys = append(p.Keys, key)
				}
				s.Block, s.Next = append(s.Block, key), append(s.Next, state(i+1, stage.Out.String(), g))
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
