package strategy

import (
	"context"

	"github.com/nasc-dev/nasc/search"
)

// random draws networks with equal chances for each choice. It is what the
// others have to beat.
type random struct{ *pool }

func newRandom(s search.Setup) (search.Strategy, error) {
	return &random{newPool(s, "random")}, nil
}

func (x *random) Ask(context.Context) (search.Proposal, error) {
	g, err := x.pick(nil)
	return search.Proposal{Genotype: g}, err
}

func (x *random) Tell(context.Context, *search.Trial) error { return nil }
