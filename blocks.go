package nasc

import (
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
}

// BlockSlot is one place: by state·Size + index the block that it holds, "" for
// none, and the state after it, -1 where no network is so.
type BlockSlot struct {
	latency.Choice
	Block []string
	Next  []int32

	states []arch.Genotype // a network that comes to this state
}

// Blocks finds the slots and states of a space.
func Blocks(space *arch.Space) (*SpaceBlocks, error) {
	p := &SpaceBlocks{Space: space, Witness: map[string]arch.Genotype{}}
	return p, p.walk()
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

// walk finds the states, from the first slot to the last: what comes out of a
// slot for each state before it and each combination of its genes.
func (p *SpaceBlocks) walk() error {
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
	state := func(i int, before string, g arch.Genotype) int32 {
		for _, gene := range shared[i] {
			before += fmt.Sprint(" ", g[gene])
		}
		id, ok := ids[i][before]
		if !ok {
			id = int32(len(ids[i]))
			ids[i][before] = id
			if i < len(p.Slots) {
				p.Slots[i].states = append(p.Slots[i].states, g)
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
			for k := range s.Size {
				g := slices.Clone(s.states[id])
				set(g, s.Choice, k)
				agree := !slices.ContainsFunc(shared[i], func(gene int) bool { return g[gene] != s.states[id][gene] })
				if g = p.Space.Canonical(g); s.Index(g) != k || !agree {
					s.Block, s.Next = append(s.Block, ""), append(s.Next, -1)
					continue
				}
				stages, err := p.trace(g)
				if err != nil {
					return err
				}
				at, here := slices.BinarySearch(p.Space.Present(g), i)
				before := stages[0].In.String()
				if at > 0 {
					before = stages[at-1].Out.String()
				}
				if !here {
					s.Block, s.Next = append(s.Block, ""), append(s.Next, state(i+1, before, g))
					continue
				}
				key := BlockKey(stages[at])
				if p.Witness[key] == nil {
					p.Witness[key] = g
					p.Keys = append(p.Keys, key)
				}
				s.Block, s.Next = append(s.Block, key), append(s.Next, state(i+1, stages[at].Out.String(), g))
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
