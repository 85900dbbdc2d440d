package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/search"
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
	t := &timer{c: c, k: k, nets: map[string]*ready{}}
	defer t.close()
	if err := t.start(ctx, names[0]); err != nil {
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
			ms, err := t.time(ctx, name)
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

// A neighbour on the processor's other thread takes a third of its speed for
// seconds, and the table's rows are of the time without. So a network's time counts
// while an anchor, a network that is always the same, runs about as fast before
// and after it as it ever did; if it does not in some tries, the median of the
// network's time by the anchor's counts, times the anchor's fastest.
const (
	anchorSlack = 1.1
	mostTries   = 9
	burst       = 10 * time.Millisecond
)

// timer times networks, which stay ready from round to round.
type timer struct {
	c      *config
	k      *known
	nets   map[string]*ready
	anchor *ready
	least  float64 // of the anchor, ms
	tries  int
	slow   int // times by the anchor's ratio
}

// ready is a network that can run.
type ready struct {
	e       backends.Executable
	in, out []*ir.Tensor
}

func (t *timer) close() {
	for _, r := range t.nets {
		_ = r.e.Close()
	}
	if t.slow > 0 {
		fmt.Printf("%d of %d times by their ratio to the anchor, which did not run within %.0f %% of its fastest\n", t.slow, t.tries, 100*(anchorSlack-1))
	}
}

// start takes an anchor and learns how fast it runs.
func (t *timer) start(ctx context.Context, name string) error {
	var err error
	if t.anchor, err = t.get(ctx, name); err != nil {
		return err
	}
	for i := range 100 {
		ms, err := t.anchor.run(ctx, 0)
		if err != nil {
			return err
		}
		if i == 0 || ms < t.least {
			t.least = ms
		}
		time.Sleep(burst)
	}
	return nil
}

// time is a network's median ms while the anchor is fast, or as it would be.
func (t *timer) time(ctx context.Context, name string) (float64, error) {
	r, err := t.get(ctx, name)
	if err != nil {
		return 0, err
	}
	t.tries++
	var ratios []float64
	for range mostTries {
		before, err := t.anchor.run(ctx, 0)
		if err != nil {
			return 0, err
		}
		ms, err := r.run(ctx, burst)
		if err != nil {
			return 0, err
		}
		after, err := t.anchor.run(ctx, 0)
		if err != nil {
			return 0, err
		}
		t.least = min(t.least, before, after)
		if max(before, after) <= anchorSlack*t.least {
			return ms, nil
		}
		ratios = append(ratios, ms/math.Sqrt(before*after))
	}
	t.slow++
	return median(ratios) * t.least, nil
}

// run gives the median ms of runs for so long, at least five.
func (r *ready) run(ctx context.Context, long time.Duration) (float64, error) {
	var ms []float64
	for begun := time.Now(); len(ms) < 5 || time.Since(begun) < long; {
		start := time.Now()
		if err := r.e.Run(ctx, r.in, r.out); err != nil {
			return 0, err
		}
		ms = append(ms, time.Since(start).Seconds()*1e3)
	}
	return median(ms), nil
}

// get makes a network ready: what was compiled of the trained one, or one with
// random weights.
func (t *timer) get(ctx context.Context, name string) (*ready, error) {
	if r := t.nets[name]; r != nil {
		return r, nil
	}
	g, err := t.graph(ctx, name)
	if err != nil {
		return nil, err
	}
	e, s, err := nasc.Start(g, target, 1, 1)
	if err != nil {
		return nil, err
	}
	r := &ready{e, passes.RandomInputs(s, 1), backends.NewOutputs(s)}
	t.nets[name] = r
	_, err = r.run(ctx, 0) // cold
	return r, err
}

func (t *timer) graph(ctx context.Context, name string) (*ir.Graph, error) {
	if !t.c.own() {
		g, err := t.k.space.DecodeGenotype(name)
		if err != nil {
			return nil, err
		}
		return t.k.graph(ctx, g)
	}
	m, err := nasc.Open(t.c.file(name+".nasc"), nil)
	if err != nil {
		return nil, err
	}
	g := m.Graph().Clone()
	for _, v := range g.Constants() { // views of the file
		v.Const = v.Const.Clone()
	}
	return g, m.Close()
}
