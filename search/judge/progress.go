package judge

import (
	"math"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/tabular"
)

// progress follows the network that a search would give, were it to end: the
// best by what it saw, of those trained the longest.
type progress struct {
	table  *tabular.Table
	best   float64
	budget int

	cost   float64
	given  *search.Trial
	test   float64
	regret []float64
	err    error
}

// share is how much of a training a trial had in all.
func share(t *search.Trial) float64 {
	if t.Budget == 0 {
		return 1
	}
	return t.Budget
}

// told takes a trial and gives the cost so far, in whole trainings: one that
// goes on with its parent's costs what it adds.
func (p *progress) told(t *search.Trial) float64 {
	add := share(t)
	if t.ParentTrial != nil && t.ParentTrial.Genotype.String() == t.Genotype.String() {
		add -= share(t.ParentTrial)
	}
	before := p.now()
	p.cost += add
	p.fill(int(math.Ceil(p.cost-1e-6))-1, before)
	if g := p.given; g == nil || share(t) > share(g) && t.Feasible() || share(t) == share(g) && t.Better(g) {
		p.given = t
		row, err := p.table.Row(t.Genotype)
		if err != nil {
			p.err = err
			return p.cost
		}
		p.test = row.Test
	}
	p.fill(int(p.cost+1e-6), p.now())
	return p.cost
}

// now is the regret of what would be given; a network that breaks the limits
// is worth nothing.
func (p *progress) now() float64 {
	if p.given == nil || !p.given.Feasible() {
		return p.best
	}
	return p.best - p.test
}

func (p *progress) fill(upTo int, v float64) {
	for len(p.regret) < min(upTo, p.budget) {
		p.regret = append(p.regret, v)
	}
}

// end fills the curve to the budget: a search that used up its space had no
// more to find.
func (p *progress) end() one {
	p.fill(p.budget, p.now())
	return one{regret: p.regret, test: p.best - p.now()}
}
