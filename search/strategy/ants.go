package strategy

import (
	"context"
	"slices"

	"github.com/nasc-dev/nasc/search"
)

// ants draw networks along trails: an option is the likelier, the more good
// networks had it. After each round trails fade, and the best of the round and
// the best of all renew theirs; bounds keep every option possible.
type ants struct {
	*pool
	round  int // ants in a round
	fade   float64
	lo, hi float64
	trail  [][]float64 // by choice and option
	told   []*search.Trial
	best   *search.Trial
}

func newAnts(s search.Setup) (search.Strategy, error) {
	round, err := number(s, "ants", 1, 1e6)
	if err != nil {
		return nil, err
	}
	fade, err := number(s, "evaporation", 0.001, 1)
	if err != nil {
		return nil, err
	}
	lo, err := number(s, "floor", 0, 1)
	if err != nil {
		return nil, err
	}
	a := &ants{pool: newPool(s, "ant-colony"), round: int(round), fade: fade, lo: lo, hi: 1}
	for _, g := range s.Space.Genes() {
		t := make([]float64, len(g.Options))
		for i := range t {
			t[i] = a.hi
		}
		a.trail = append(a.trail, t)
	}
	return a, nil
}

func (a *ants) Ask(context.Context) (search.Proposal, error) {
	g, err := a.pick(func() search.Genotype {
		g := make(search.Genotype, len(a.trail))
		a.Space.Active(g, func(i int) { g[i] = a.follow(a.trail[i]) })
		return g
	})
	return search.Proposal{Genotype: g}, err
}

func (a *ants) follow(trail []float64) int {
	sum := 0.0
	for _, v := range trail {
		sum += v
	}
	x := a.r.Float64() * sum
	for i, v := range trail {
		if x -= v; x < 0 {
			return i
		}
	}
	return len(trail) - 1
}

func (a *ants) Tell(_ context.Context, t *search.Trial) error {
	if a.best == nil || t.Better(a.best) {
		a.best = t
	}
	if a.told = append(a.told, t); len(a.told) < a.round {
		return nil
	}
	slices.SortStableFunc(a.told, func(x, y *search.Trial) int { return compareTrials(y, x) })
	for _, trail := range a.trail {
		for i := range trail {
			trail[i] = max(trail[i]*(1-a.fade), a.lo)
		}
	}
	for _, good := range append(slices.Clone(a.told[:min(len(a.told), max(1, a.round/5))]), a.best) {
		if !good.Feasible() && a.best.Feasible() {
			continue
		}
		a.Space.Active(slices.Clone(good.Genotype), func(i int) {
			v := &a.trail[i][good.Genotype[i]]
			*v = min(*v+a.fade/2, a.hi)
		})
	}
	a.told = nil
	return nil
}
