package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
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
	space, err := arch.LoadSpace(c.space)
	if err != nil {
		return err
	}
	k := &known{space: search.ArchSpace{Space: space}}
	finalists := map[string]bool{}
	var names []string
	for _, r := range s.Runs {
		for _, x := range r.Finalists {
			finalists[x.Genotype] = true
			names = append(names, x.Genotype)
		}
	}
	if !c.own() { // the benchmark has no times of the others
		for _, f := range s.Fronts {
			for _, x := range slices.Concat(f.Latency, f.MACs, s.Sample) {
				names = append(names, x.Genotype)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	out, err := load[map[string]*measured](c.file("measured.json"))
	if errors.Is(err, fs.ErrNotExist) {
		out, err = map[string]*measured{}, nil
	}
	if err != nil {
		return err
	}
	begun := time.Now()
	for round := range 2 * rounds {
		for i, name := range names {
			x := out[name]
			if x == nil {
				x = &measured{}
				out[name] = x
			}
			if len(x.Pick)+len(x.Hold) > round || round >= rounds && !finalists[name] {
				continue
			}
			if c.piece > 0 && time.Since(begun) > c.piece {
				fmt.Printf("round %d of %d, network %d of %d: the same command goes on\n", round+1, 2*rounds, i+1, len(names))
				return save(c.file("measured.json"), out)
			}
			ms, err := c.time(ctx, k, name)
			if err != nil {
				return err
			}
			if round < rounds {
				x.Pick = append(x.Pick, ms)
			} else {
				x.Hold = append(x.Hold, ms)
			}
		}
		if err := save(c.file("measured.json"), out); err != nil {
			return err
		}
	}
	fmt.Printf("%d networks measured\n", len(names))
	return nil
}

// time measures a network: what was compiled of the trained one, or one with
// random weights.
func (c *config) time(ctx context.Context, k *known, name string) (float64, error) {
	if !c.own() {
		g, err := k.space.DecodeGenotype(name)
		if err != nil {
			return 0, err
		}
		net, err := k.graph(ctx, g)
		if err != nil {
			return 0, err
		}
		return tables.Time(ctx, net, target)
	}
	m, err := nasc.Open(c.file(name+".nasc"), nil)
	if err != nil {
		return 0, err
	}
	ms, err := tables.Time(ctx, m.Graph(), target)
	return ms, errors.Join(err, m.Close())
}
