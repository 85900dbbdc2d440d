package strategy

import (
	"context"

	"github.com/nasc-dev/nasc/search"
)

// evolution keeps the latest networks as its population. The best of a random
// sample of it is mutated; the oldest dies, however good, so that none lives on
// by a lucky outcome.
type evolution struct {
	*pool
	size, sample int
	begun        int             // networks drawn for the first population
	alive        []*search.Trial // a ring, once it is full
	oldest       int
}

func newEvolution(s search.Setup) (search.Strategy, error) {
	size, err := number(s, "population", 1, 1e6)
	if err != nil {
		return nil, err
	}
	sample, err := number(s, "sample", 1, 1e6)
	if err != nil {
		return nil, err
	}
	return &evolution{pool: newPool(s, "regularized-evolution"), size: int(size), sample: int(sample)}, nil
}

func (x *evolution) Ask(context.Context) (search.Proposal, error) {
	if x.begun < x.size || len(x.alive) == 0 {
		x.begun++
		g, err := x.pick(nil)
		return search.Proposal{Genotype: g, Note: "first population"}, err
	}
	var parent *search.Trial
	for range x.sample {
		if t := x.alive[x.r.IntN(len(x.alive))]; parent == nil || t.Better(parent) {
			parent = t
		}
	}
	// Where all neighbours were tried, another step is taken from one of them.
	from, tries := parent.Genotype, 0
	g, err := x.pick(func() search.Genotype {
		if tries++; tries%16 == 0 {
			from = search.Mutate(x.Space, from, x.r)
		}
		return search.Mutate(x.Space, from, x.r)
	})
	return search.Proposal{Genotype: g}, err
}

func (x *evolution) Tell(_ context.Context, t *search.Trial) error {
	if len(x.alive) < x.size {
		x.alive = append(x.alive, t)
		return nil
	}
	x.alive[x.oldest] = t
	x.oldest = (x.oldest + 1) % x.size
	return nil
}
