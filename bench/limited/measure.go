package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/bench/paired"
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
	for _, f := range s.Fronts {
		for _, x := range slices.Concat(f.Latency, f.MACs) {
			names = append(names, x.Genotype)
		}
	}
	for _, x := range append(s.Sample, s.Last) {
		names = append(names, x.Genotype)
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
// seconds or for milliseconds. So a network is timed in short bursts, each between
// two of an anchor, a network that is always the same, and what counts is the
// median ratio of the bursts in which the anchor kept its speed, times the
// anchor's typical ms.
const (
	steady   = 1.1 // two bursts of the anchor that are so near to each other
	wanted   = 7   // ratios of a time
	mostTry  = 40  // bursts of a time
	burst    = 3 * time.Millisecond
	starting = 200 // bursts that the anchor's typical ms is the median of
)

// timer times networks, which stay ready from round to round.
type timer struct {
	c       *config
	k       *known
	nets    map[string]*ready
	anchor  *ready
	typical float64 // of the anchor, ms
	times   int
	few     int // times of fewer ratios than wanted
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
	if t.few > 0 {
		fmt.Printf("%d of %d times by fewer than %d steady bursts\n", t.few, t.times, wanted)
	}
}

// start takes an anchor and learns how fast it runs, once for all pieces.
func (t *timer) start(ctx context.Context, name string) error {
	var err error
	if t.anchor, err = t.get(ctx, name); err != nil {
		return err
	}
	file := t.c.file("anchor.json")
	if t.typical, err = load[float64](file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var all []float64
	for range starting {
		ms, err := t.anchor.run(ctx, burst)
		if err != nil {
			return err
		}
		all = append(all, ms)
		time.Sleep(burst)
	}
	t.typical = paired.Median(all)
	return save(file, t.typical)
}

// time is a network's ms at the anchor's typical speed.
func (t *timer) time(ctx context.Context, name string) (float64, error) {
	r, err := t.get(ctx, name)
	if err != nil {
		return 0, err
	}
	t.times++
	var kept, all []float64
	before, err := t.anchor.run(ctx, burst)
	if err != nil {
		return 0, err
	}
	for tries := 0; len(kept) < wanted && tries < mostTry; tries++ {
		ms, err := r.run(ctx, burst)
		if err != nil {
			return 0, err
		}
		after, err := t.anchor.run(ctx, burst)
		if err != nil {
			return 0, err
		}
		ratio := ms / math.Sqrt(before*after)
		all = append(all, ratio)
		if max(before, after) <= steady*min(before, after) {
			kept = append(kept, ratio)
		}
		before = after
	}
	if len(kept) < wanted {
		t.few++
		kept = all
	}
	return paired.Median(kept) * t.typical, nil
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
	return paired.Median(ms), nil
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
	path := t.c.file(name + ".nasc")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		g, err := t.k.space.DecodeGenotype(name)
		if err != nil {
			return nil, err
		}
		return t.k.graph(ctx, g)
	}
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, err
	}
	g := m.Graph().Clone()
	for _, v := range g.Constants() { // views of the file
		v.Const = v.Const.Clone()
	}
	return g, m.Close()
}
