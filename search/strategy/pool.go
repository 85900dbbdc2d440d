package strategy

import (
	"math/big"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/search"
)

// pool is what strategies share: the seeded randomness, and which networks were
// asked for, so that none is asked for twice while there are others, and none
// that is known to break a limit while there are others.
type pool struct {
	search.Setup
	r     *rand.Rand
	asked map[string]bool
	total int // networks of the space; -1 where they are too many to be all asked for
	over  map[string]float64
	walk  search.Genotype // where the walk through the space has come to
}

// newPool seeds a strategy's randomness; salt keeps strategies of one seed
// apart.
func newPool(s search.Setup, salt string) *pool {
	h := uint64(14695981039346656037)
	for _, c := range []byte(salt) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	p := &pool{Setup: s, r: rand.New(rand.NewPCG(s.Seed, h)), asked: map[string]bool{}, over: map[string]float64{}, total: -1}
	if n := s.Space.Count(); n.Cmp(big.NewInt(walkable)) <= 0 {
		p.total = int(n.Int64())
	}
	return p
}

const (
	// walkable is the largest space that is gone through one by one for networks
	// that were not asked for, walkStep how many of them at one asking.
	walkable = 1 << 20
	walkStep = 1 << 12
	// ownDraws is how often a strategy draws before it takes what chance brings,
	// and chanceDraws how often chance does.
	ownDraws, chanceDraws = 100, 300
)

// pick draws until a network comes that was not asked for and breaks no limit
// that is known without training; then it draws blindly; then it goes through
// the space, some thousand networks a time; in a space too large for that it
// takes the one drawn that breaks the limits least. Nothing left, or nothing that
// keeps the limits, is ErrDone.
func (p *pool) pick(draw func() search.Genotype) (search.Genotype, error) {
	if len(p.asked) == p.total {
		return nil, search.ErrDone
	}
	var least search.Genotype
	leastOver := 0.0
	try := func(g search.Genotype) (bool, error) {
		if p.asked[g.String()] {
			return false, nil
		}
		over, err := p.violation(g)
		if err != nil {
			return false, err
		}
		if least == nil || over < leastOver {
			least, leastOver = g, over
		}
		return over == 0, nil
	}
	for n := range ownDraws + chanceDraws {
		var g search.Genotype
		if n < ownDraws && draw != nil {
			g = draw()
		} else {
			g = search.Draw(p.Space, p.r)
		}
		if g == nil { // the strategy has no more of its own
			draw = nil
			continue
		}
		ok, err := try(g)
		if err != nil {
			return nil, err
		}
		if ok {
			return p.take(g), nil
		}
	}
	if p.total >= 0 {
		if p.walk == nil {
			p.walk = search.Canonical(p.Space, make(search.Genotype, len(p.Space.Genes())))
		}
		for range walkStep {
			ok, err := try(p.walk)
			if err != nil {
				return nil, err
			}
			if ok {
				return p.take(p.walk), nil
			}
			// It was asked for, or breaks a limit, and will ever so.
			if p.walk = p.next(p.walk); p.walk == nil {
				p.total = len(p.asked)
				return nil, search.ErrDone
			}
		}
	}
	if least == nil { // a space too large to go through, of which chance brings the same again
		least = search.Draw(p.Space, p.r)
	}
	return p.take(least), nil
}

func (p *pool) take(g search.Genotype) search.Genotype {
	p.asked[g.String()] = true
	return g
}

// violation is by how much a network breaks the limits on what is known without
// training.
func (p *pool) violation(g search.Genotype) (float64, error) {
	if p.Cheap == nil || len(p.Goal.Limits) == 0 {
		return 0, nil
	}
	k := g.String()
	if v, ok := p.over[k]; ok {
		return v, nil
	}
	m, err := p.Cheap(g)
	if err != nil {
		return 0, err
	}
	v := p.Goal.Violation(m)
	p.over[k] = v
	return v, nil
}

// next is the network after g in the order of the choices, nil after the last.
func (p *pool) next(g search.Genotype) search.Genotype {
	genes, active := p.Space.Genes(), search.ActiveGenes(p.Space, g)
	for j := len(active) - 1; j >= 0; j-- {
		if g[active[j]]+1 == len(genes[active[j]].Options) {
			continue
		}
		out := make(search.Genotype, len(g))
		for _, i := range active[:j] {
			out[i] = g[i]
		}
		out[active[j]] = g[active[j]] + 1
		return search.Canonical(p.Space, out)
	}
	return nil
}
