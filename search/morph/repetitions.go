package morph

import (
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/frontend/arch"
)

// Repetitions is a stage whose number of repetitions a gene chooses.
type Repetitions struct {
	Slots  []int   // of arch.Space.Slots, one a repetition
	Each   [][]int // for each repetition, the genes that it has for itself, in order
	Shared []int   // the genes that all have, the one that chooses among them

	space *arch.Space
	gene  int
}

// RepetitionsOf finds the stage that a gene repeats.
func RepetitionsOf(s *arch.Space, gene int) *Repetitions {
	r := &Repetitions{space: s, gene: gene}
	slots := s.Slots()
	for i, genes := range slots {
		if slices.Contains(genes, gene) {
			r.Slots = append(r.Slots, i)
		}
	}
	for _, g := range slots[r.Slots[0]] {
		if !slices.ContainsFunc(r.Slots, func(i int) bool { return !slices.Contains(slots[i], g) }) {
			r.Shared = append(r.Shared, g)
		}
	}
	for _, i := range r.Slots {
		r.Each = append(r.Each, slices.DeleteFunc(slices.Clone(slots[i]), func(g int) bool { return slices.Contains(r.Shared, g) }))
	}
	return r
}

// Times is how often a network repeats the stage.
func (r *Repetitions) Times(g arch.Genotype) int {
	k, err := strconv.Atoi(r.space.Genes[r.gene].Options[g[r.gene]])
	if err != nil {
		panic("BUG: a repetition that is no number")
	}
	return k
}
