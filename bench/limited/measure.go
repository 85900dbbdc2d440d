package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/search/tables"
)

// rounds are how often each network is measured, all others between.
const rounds = 5

// measured are a network's times in ms: those by which a search picks among its
// finalists, and those that the pick is held to, taken afterwards.
type measured struct {
	Pick []float64 `json:"pick"`
	Hold []float64 `json:"hold"`
}

func (c *config) measure(ctx context.Context) error {
	s, err := load[searched](c.file("searched.json"))
	if err != nil {
		return err
	}
	var names []string
	for _, r := range s.Runs {
		for _, x := range r.Finalists {
			names = append(names, x.Genotype)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	out := map[string]*measured{}
	for round := range 2 * rounds {
		for _, name := range names {
			m, err := nasc.Open(c.file(name+".nasc"), nil)
			if err != nil {
				return err
			}
			ms, err := tables.Time(ctx, m.Graph(), target)
			if err != nil {
				return err
			}
			if err := m.Close(); err != nil {
				return err
			}
			if out[name] == nil {
				out[name] = &measured{}
			}
			if x := out[name]; round < rounds {
				x.Pick = append(x.Pick, ms)
			} else {
				x.Hold = append(x.Hold, ms)
			}
		}
	}
	fmt.Printf("%d networks measured\n", len(names))
	return save(c.file("measured.json"), out)
}
