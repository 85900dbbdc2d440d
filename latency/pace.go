package latency

import (
	"context"
	"runtime"
	"slices"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
)

// Pace tells how fast the machine is at a moment, by a kernel of fixed work of
// nasc's own: the anchor that profiles time beside what they measure.
type Pace struct {
	a     *anchor
	crowd *crowd
}

// NewPace warms the kernel up, for measurements of so many threads. known is
// what it takes in quiet as a table tells (Table.Pace), in µs; 0: not known, and
// the quickest times count that are seen.
func NewPace(threads int, known float64) (*Pace, error) {
	a, err := newAnchor(cpu.F32(), backends.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	a.known = known
	return &Pace{a: a, crowd: newCrowd(runtime.NumCPU(), max(1, threads))}, nil
}

// Now is the time of one run in µs, the middle of a few.
func (p *Pace) Now(ctx context.Context) (float64, error) { return p.a.time(ctx) }

// Wait looks until the machine is quiet, for a while; look is the last one.
func (p *Pace) Wait(ctx context.Context, look float64) (float64, error) { return p.a.wait(ctx, look) }

// Quiet says that what was measured between two looks met the machine as a
// profile takes it to be: neither the clock nor the neighbours were seen to
// change.
func (p *Pace) Quiet(before, after float64) bool {
	return max(before, after) <= p.a.limit() && !p.crowd.crowded()
}

// Close frees the kernel.
func (p *Pace) Close() { p.a.close() }

// Pace is what the anchor took, in µs, at the speed of the machine that
// predictions are for: the middle of its times beside the table's networks,
// of those that met quiet if there are some. 0: not known.
func (t *Table) Pace() float64 {
	var anchors, quiet []float64
	still := t.still()
	for i, n := range t.Nets {
		if n.Anchor > 0 {
			anchors = append(anchors, n.Anchor)
			if still[i] {
				quiet = append(quiet, n.Anchor)
			}
		}
	}
	if len(quiet) > 0 && !t.byBlocks() {
		anchors = quiet
	}
	if len(anchors) == 0 {
		return 0
	}
	return median(anchors)
}

// quiet are the networks that were measured in quiet, all where there are few.
func (t *Table) quiet() []Net {
	var out []Net
	for i, still := range t.still() {
		if still {
			out = append(out, t.Nets[i])
		}
	}
	if len(out) < folds {
		return t.Nets
	}
	return out
}

// still says of each network of the table whether it was measured in quiet: the
// anchor beside it near its low times in all of the table, since a profile that
// meets a busy neighbour from its beginning to its end takes that for quiet. Of
// targets by blocks times are multiples of the anchor's, and it is what the
// profile said.
func (t *Table) still() []bool {
	var anchors []float64
	for _, n := range t.Nets {
		if n.Anchor > 0 {
			anchors = append(anchors, n.Anchor)
		}
	}
	slices.Sort(anchors)
	out := make([]bool, len(t.Nets))
	for i, n := range t.Nets {
		out[i] = !n.Noisy && (t.byBlocks() || n.Anchor == 0 || n.Anchor <= quietFactor*quantile(anchors, 0.1))
	}
	return out
}
