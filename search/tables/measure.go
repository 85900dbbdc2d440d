package tables

import (
	"context"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Targets are those that networks are timed on; the first one's time is the
// table's ms.
var Targets = []string{"cpu-int8", "cpu-f32"}

// Sizes are a network's numbers that need no training.
type Sizes struct{ Params, MACs, Bytes int64 }

// Sizes counts network i as inspect does, and the bytes of its int8 file. Weights
// are random: a file's size does not depend on them.
func (t *Table) Sizes(ctx context.Context, i int) (Sizes, error) {
	g, text, err := t.graph(i)
	if err != nil {
		return Sizes{}, err
	}
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return Sizes{}, err
	}
	s := Sizes{Params: g.Params(), MACs: g.MACs()}
	q, err := nasc.Synthetic(ctx, t.Space.Name, text, Targets[0], 1)
	if err != nil {
		return Sizes{}, err
	}
	w := &counted{Writer: io.Discard}
	err = nascfile.Encode(w, &ir.Module{Graphs: []*ir.Graph{q}}, &nascfile.Manifest{Target: Targets[0]})
	s.Bytes = w.n
	return s, err
}

type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.Writer.Write(b)
}

// A time is the median of bursts, each of so many runs that the clock does not
// count.
const (
	warmup    = 4 * time.Millisecond
	burst     = 60 * time.Microsecond
	bursts    = 101
	leastRuns = 2
)

// Time measures network i on a target, one thread, in milliseconds.
func (t *Table) Time(ctx context.Context, i int, target string) (float64, error) {
	_, text, err := t.graph(i)
	if err != nil {
		return 0, err
	}
	g, err := nasc.Synthetic(ctx, t.Space.Name, text, target, 1)
	if err != nil {
		return 0, err
	}
	return Time(ctx, g, target)
}

// Time measures a graph on a target, one thread, in milliseconds.
func Time(ctx context.Context, g *ir.Graph, target string) (float64, error) {
	e, static, err := nasc.Start(g, target, 1, 1)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	in, out := passes.RandomInputs(static, 1), backends.NewOutputs(static)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runs, start := 0, time.Now()
	for time.Since(start) < warmup || runs < leastRuns {
		if err := e.Run(ctx, in, out); err != nil {
			return 0, err
		}
		runs++
	}
	each := max(leastRuns, int(burst/(time.Since(start)/time.Duration(runs)+1)))
	took := make([]float64, bursts)
	for k := range took {
		start := time.Now()
		for range each {
			if err := e.Run(ctx, in, out); err != nil {
				return 0, err
			}
		}
		took[k] = time.Since(start).Seconds() * 1e3 / float64(each)
	}
	slices.Sort(took)
	return took[bursts/2], nil
}
