package latency

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
)

// Pace tells how fast the machine is at a moment, by a kernel of fixed work of
// nasc's own: the anchor that profiles of ByBlocks targets time beside what they
// measure.
type Pace struct{ a *anchor }

// NewPace warms the kernel up.
func NewPace() (*Pace, error) {
	a, err := newAnchor(cpu.F32(), backends.Options{Threads: 1})
	return &Pace{a}, err
}

// Now is the time of one run in µs, the middle of a few.
func (p *Pace) Now(ctx context.Context) (float64, error) { return p.a.time(ctx) }

// Close frees the kernel.
func (p *Pace) Close() { p.a.close() }

// Pace is what the anchor took, in µs, at the speed of the machine that
// predictions are for: the middle of its times beside the table's networks. 0:
// not known.
func (t *Table) Pace() float64 {
	var anchors []float64
	for _, n := range t.Nets {
		if n.Anchor > 0 {
			anchors = append(anchors, n.Anchor)
		}
	}
	if len(anchors) == 0 {
		return 0
	}
	return median(anchors)
}
