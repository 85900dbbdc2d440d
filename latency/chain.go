package latency

import "math"

// Chain predicts networks of one prepared space by look-ups: a row of slots,
// each of which may hold a block, and a state that tells what shape came before.
// A network is a list of the options taken of the space's genes.
type Chain struct {
	Base  float64 // ms of every network
	Root  Choice  // decides the first state
	First []int32 // state by root's index, −1: none known
	Slots []Slot
}

// Slot is what the blocks of one place cost and lead to.
type Slot struct {
	Choice
	Cost []float64 // ms, by state·Size + index
	Next []int32   // the state after it; −1: no network is so
}

// Choice gives the options of some genes one index.
type Choice struct {
	Genes   []int32
	Options []int32 // of each gene
	Mult    []int32
	Size    int32
}

// NewChoice numbers the combinations of genes with so many options. Size is
// math.MaxInt32 where there are more than can be numbered.
func NewChoice(genes []int, options func(gene int) int) Choice {
	c := Choice{Size: 1}
	for _, g := range genes {
		c.Genes, c.Options, c.Mult = append(c.Genes, int32(g)), append(c.Options, int32(options(g))), append(c.Mult, c.Size)
		c.Size = int32(min(int64(c.Size)*int64(options(g)), math.MaxInt32))
	}
	return c
}

// Index is the number of a network's combination; −1 of a list that lacks genes
// or has options that are not there.
func (c *Choice) Index(g []int) int32 {
	i := int32(0)
	for k, gene := range c.Genes {
		if int(gene) >= len(g) || uint(g[gene]) >= uint(c.Options[k]) {
			return -1
		}
		i += int32(g[gene]) * c.Mult[k]
	}
	return i
}

// Predict gives a network's time in ms; ok is false for none of the space.
func (c *Chain) Predict(g []int) (ms float64, ok bool) {
	root := c.Root.Index(g)
	if root < 0 {
		return 0, false
	}
	state := c.First[root]
	ms = c.Base
	for i := range c.Slots {
		if state < 0 {
			return 0, false
		}
		s := &c.Slots[i]
		k := s.Index(g)
		if k < 0 {
			return 0, false
		}
		at := state*s.Size + k
		ms += s.Cost[at]
		state = s.Next[at]
	}
	return ms, state >= 0
}
