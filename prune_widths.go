package nasc

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
)

// What a group of channels saves when it is narrower is a few microseconds of a
// network's run, less than the run's own noise. So networks of several widths run
// in turns, step by step: what a kernel takes is a low percentile of all its runs in
// all of them, so that the layers they have in common differ by nothing.
const (
	weighRounds = 40                      // of turns
	weighTime   = 1500 * time.Millisecond // at most, if that makes enough rounds
	weighLeast  = 8                       // rounds
)

// weigher compares the times of networks that differ in little, on this device,
// or by the models of another's table. Targets whose steps are not known have none.
func (c *costs) weigher(ctx context.Context, g *ir.Graph) (func(context.Context, []*ir.Graph) ([]float64, error), error) {
	if c.table != "" {
		t, err := latency.Read(c.table)
		if err != nil {
			return nil, err
		}
		base, isa := backends.SplitName(c.o.Target)
		if t.Foreign(latency.Fingerprint(Version(), base, isa, max(1, c.o.Threads), 1)) != nil {
			return func(ctx context.Context, gs []*ir.Graph) ([]float64, error) { return c.predicted(ctx, gs...) }, nil
		}
	}
	x, err := c.ready(g)
	if err != nil {
		return nil, err
	}
	_, ok := x.e.(backends.Planned)
	if err := x.e.Close(); err != nil || !ok {
		return nil, err
	}
	return c.weigh, nil
}

// weigh gives the ms of the networks' steps, whose differences count: what they have in
// common may be of networks that were weighed before.
func (c *costs) weigh(ctx context.Context, gs []*ir.Graph) ([]float64, error) {
	type one struct {
		p       backends.Planned
		keys    []string
		count   map[string]int // by key
		in, out []*ir.Tensor
		took    []time.Duration
	}
	nets := make([]one, len(gs))
	for i, g := range gs {
		x, err := c.ready(g)
		if err != nil {
			return nil, err
		}
		defer x.e.Close()
		p := x.e.(backends.Planned)
		n := one{p: p, in: x.in, out: backends.NewOutputs(x.s), took: make([]time.Duration, len(p.Steps())), count: map[string]int{}}
		for _, s := range p.Steps() {
			k := latency.Key(s)
			n.keys = append(n.keys, k)
			n.count[k]++
		}
		nets[i] = n
	}
	// Groups of the same layers are weighed once.
	var known strings.Builder
	for _, n := range nets {
		for _, k := range n.keys {
			if slices.ContainsFunc(nets, func(o one) bool { return o.count[k] != n.count[k] }) {
				known.WriteString(k + "\n")
			}
		}
		known.WriteString("\n")
	}
	if t, ok := c.widths[known.String()]; ok {
		return t, nil
	}
	took := map[string][]time.Duration{}
	begun := time.Now()
	for round := range weighRounds {
		if round >= weighLeast && time.Since(begun) > weighTime {
			break
		}
		for _, n := range nets {
			for again := range 2 { // the first after another network finds cold caches
				clear(n.took)
				if err := n.p.RunTimed(ctx, n.in, n.out, n.took); err != nil {
					return nil, err
				}
				for i, d := range n.took {
					if again > 0 {
						took[n.keys[i]] = append(took[n.keys[i]], d)
					}
				}
			}
		}
	}
	for _, d := range took {
		slices.Sort(d)
	}
	out := make([]float64, len(nets))
	for i, n := range nets {
		for _, k := range n.keys {
			out[i] += float64(took[k][len(took[k])/10]) / 1e6
		}
	}
	if c.widths == nil {
		c.widths = map[string][]float64{}
	}
	c.widths[known.String()] = out
	return out, nil
}
