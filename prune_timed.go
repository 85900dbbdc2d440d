package nasc

import (
	"context"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// timed is a network that is ready to be timed.
type timed struct {
	e  backends.Executable
	s  *ir.Graph
	in []*ir.Tensor
	ms float64
}

// A candidate is timed in short turns with the network that was first: the speed
// of a device changes by more than what is looked for, and their ratio does not.
// There are at least pruneTurns, and more while they take less than turnsTime.
const (
	pruneTurns = 9
	turnRuns   = 5
	turnsTime  = 300 * time.Millisecond
)

func (t *timed) turn(ctx context.Context) (float64, error) {
	x, err := Bench(ctx, t.e, t.s, t.in, turnRuns, 0)
	if err != nil {
		return 0, err
	}
	return x.Median, nil
}

func (c *costs) ready(g *ir.Graph) (*timed, error) {
	r, err := c.runnable(g)
	if err != nil {
		return nil, err
	}
	e, s, err := Start(r, c.o.Target, 1, max(1, c.o.Threads))
	if err != nil {
		return nil, err
	}
	return &timed{e: e, s: s, in: passes.RandomInputs(s, 1)}, nil
}

// measured is a network's time in ms, as the device was when the first one was
// timed: that one's time by the median of their ratios.
func (c *costs) measured(ctx context.Context, g *ir.Graph) (float64, error) {
	x, err := c.ready(g)
	if err != nil {
		return 0, err
	}
	if c.first == nil {
		if _, err := Bench(ctx, x.e, x.s, x.in, turnRuns, 20*time.Millisecond); err != nil {
			_ = x.e.Close()
			return 0, err
		}
		c.first = x
		var ms []float64
		for range pruneTurns {
			t, err := x.turn(ctx)
			if err != nil {
				return 0, err
			}
			ms = append(ms, t)
		}
		slices.Sort(ms)
		x.ms = ms[len(ms)/2]
		return x.ms, nil
	}
	defer x.e.Close()
	var ratios []float64
	for begun := time.Now(); len(ratios) < pruneTurns || time.Since(begun) < turnsTime; {
		a, err := c.first.turn(ctx)
		if err != nil {
			return 0, err
		}
		b, err := x.turn(ctx)
		if err != nil {
			return 0, err
		}
		ratios = append(ratios, b/a)
	}
	slices.Sort(ratios)
	return c.first.ms * ratios[len(ratios)/2], nil
}

// close frees what is kept to time others beside.
func (c *costs) close() {
	if c.first != nil {
		_ = c.first.e.Close()
	}
}
