package strategy

import (
	"context"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/search"
)

// random draws networks with equal chances for each choice. It is what the
// others have to beat.
type random struct {
	space search.Space
	r     *rand.Rand
	seen  map[string]bool
	total int64 // networks of the space, -1 where they are too many to count
}

func newRandom(s search.Setup) (search.Strategy, error) {
	x := &random{space: s.Space, r: rand.New(rand.NewPCG(s.Seed, 0x72616e646f6d)), seen: map[string]bool{}, total: -1}
	if n := s.Space.Count(); n.IsInt64() {
		x.total = n.Int64()
	}
	return x, nil
}

// drawTries bounds how often a network that was met before is drawn again.
const drawTries = 1000

func (x *random) Ask(context.Context) (search.Proposal, error) {
	if int64(len(x.seen)) == x.total {
		return search.Proposal{}, search.ErrDone
	}
	var g search.Genotype
	for range drawTries {
		g = search.Draw(x.space, x.r)
		if k := g.String(); !x.seen[k] {
			x.seen[k] = true
			break
		}
	}
	return search.Proposal{Genotype: g}, nil
}

func (x *random) Tell(context.Context, *search.Trial) error { return nil }
