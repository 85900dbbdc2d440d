package strategy

import (
	"context"

	"github.com/nasc-dev/nasc/search"
)

// local walks to a better neighbour, a network with one other choice, until
// there is none, and begins again elsewhere.
type local struct {
	*pool
	at      *search.Trial     // nil before the first outcome of a walk
	start   string            // where the walk began
	untried []search.Genotype // neighbours, shuffled
	out     int               // asked for and not told
}

func newLocal(s search.Setup) (search.Strategy, error) {
	return &local{pool: newPool(s, "local-search")}, nil
}

func (x *local) Ask(context.Context) (search.Proposal, error) {
	for len(x.untried) > 0 {
		g := x.untried[0]
		x.untried = x.untried[1:]
		if x.asked[g.String()] {
			continue
		}
		if over, err := x.violation(g); err != nil {
			return search.Proposal{}, err
		} else if over > 0 && x.at.Feasible() {
			continue
		}
		x.out++
		return search.Proposal{Genotype: x.take(g)}, nil
	}
	if x.out > 0 { // the start, or neighbours that may be better
		return search.Proposal{}, search.ErrWait
	}
	g, err := x.pick(nil)
	if err != nil {
		return search.Proposal{}, err
	}
	x.at, x.start = nil, g.String()
	x.out++
	return search.Proposal{Genotype: g, Note: "start"}, nil
}

func (x *local) Tell(_ context.Context, t *search.Trial) error {
	x.out--
	if x.at != nil && !t.Better(x.at) || x.at == nil && t.Genotype.String() != x.start {
		return nil
	}
	x.at = t
	x.untried = x.neighbours(t.Genotype)
	return nil
}

// neighbours are the networks that differ in one choice, in random order; what
// becomes active by it is drawn.
func (x *local) neighbours(g search.Genotype) []search.Genotype {
	genes := x.Space.Genes()
	var out []search.Genotype
	for _, i := range search.ActiveGenes(x.Space, g) {
		for v := range genes[i].Options {
			if v != g[i] {
				out = append(out, search.Replace(x.Space, g, i, v, x.r))
			}
		}
	}
	x.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
