package nasc

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// amount reads 0.5x of now, or a number.
func amount(text string, now float64) (float64, error) {
	bad := &diag.Error{Found: strconv.Quote(text), Wanted: "a share such as 0.5x, or a number such as 20M, 1.5ms, 300k"}
	if s, ok := strings.CutSuffix(text, "x"); ok {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0 && f <= 1) {
			return 0, bad
		}
		return f * now, nil
	}
	s := strings.TrimSuffix(strings.TrimSuffix(text, "ms"), "B")
	unit := 1.0
	for suffix, u := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = t, u
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) {
		return 0, bad
	}
	return f * unit, nil
}

// costs is how a candidate is judged.
type costs struct {
	o      *PruneOptions
	table  string               // where latency comes from rows
	widths map[string][]float64 // what was weighed, by the kernels in which they differ
	first  *timed               // what others are timed beside
}

func (c *costs) of() (func(context.Context, *ir.Graph) (float64, error), error) {
	folded := func(f func(g *ir.Graph) int64) func(context.Context, *ir.Graph) (float64, error) {
		return func(ctx context.Context, g *ir.Graph) (float64, error) {
			x, err := canonical(ctx, g)
			if err != nil {
				return 0, err
			}
			return float64(f(x)), nil
		}
	}
	switch c.o.Goal {
	case "macs", "":
		return func(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.MACs()), nil }, nil
	case "params":
		return folded((*ir.Graph).Params), nil
	case "bytes":
		return folded((*ir.Graph).ConstBytes), nil
	case "latency":
		if c.table = c.o.Table; c.table != "" {
			return func(ctx context.Context, g *ir.Graph) (float64, error) {
				t, err := c.predicted(ctx, g)
				if err != nil {
					return 0, err
				}
				return t[0], nil
			}, nil
		}
		return c.measured, nil
	}
	return nil, &diag.Error{Place: "prune", Found: "no target", Wanted: "--target-macs, --target-params, --target-bytes or --target-latency"}
}

// runnable is a graph in the form that the target runs: for int8, with scales
// from noise, which do for timing.
func (c *costs) runnable(g *ir.Graph) (*ir.Graph, error) {
	g, err := canonical(context.Background(), g)
	if err != nil {
		return nil, err
	}
	t, _, err := Target(c.o.Target)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(t.Name(), "int8") {
		return g, nil
	}
	f, err := RandomFeed(g, 1, c.o.Seed)
	if err != nil {
		return nil, err
	}
	q, _, err := passes.Quantize(g, passes.QuantizeOptions{
		Calib: f, Rounding: passes.Nearest, NoEqualize: true, NoCorrection: true, Seed: c.o.Seed,
		Run: Runner(context.Background(), max(1, c.o.Threads)), Progress: func(string, int, int) {},
	})
	if err != nil {
		return nil, err
	}
	_, err = passes.Run(context.Background(), q, afterQuantize, passes.Options{})
	return q, err
}

// rowBudget is the time to measure what the table lacks of one candidate.
const rowBudget = time.Second

// predicted sums the rows of the table for each of the graphs. Where it lacks
// some and is of this device, they are measured and stay in it.
func (c *costs) predicted(ctx context.Context, gs ...*ir.Graph) ([]float64, error) {
	threads := max(1, c.o.Threads)
	plans := make([]backends.Planned, len(gs))
	static := make([]*ir.Graph, len(gs))
	for i, g := range gs {
		r, err := c.runnable(g)
		if err != nil {
			return nil, err
		}
		e, s, err := Start(r, c.o.Target, 1, threads)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		p, ok := e.(backends.Planned)
		if !ok {
			return nil, &diag.Error{Place: "--target", Found: c.o.Target, Wanted: "cpu-int8 or cpu-f32, which run steps of their own"}
		}
		plans[i], static[i] = p, s
	}
	t, err := latency.Read(c.table)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(gs))
	var missing latency.List
	var lacks error
	for i, p := range plans {
		x, err := t.Predict(p)
		if err == nil {
			out[i] = x.Total
			continue
		}
		lacks = errors.Join(lacks, err)
		s := static[i]
		missing = append(missing, latency.Work{Name: fmt.Sprintf("candidate#%08x", crc32.ChecksumIEEE([]byte(s.Body()))), Graph: s, In: passes.RandomInputs(s, 1)})
	}
	if len(missing) == 0 {
		return out, nil
	}
	base, isa := backends.SplitName(c.o.Target)
	facts := latency.Fingerprint(Version(), base, isa, threads, 1)
	if ferr := t.Foreign(facts); ferr != nil {
		return nil, errors.Join(lacks, diag.At(c.table, ferr))
	}
	target, _, err := Target(c.o.Target)
	if err != nil {
		return nil, err
	}
	if _, err := latency.Profile(ctx, c.table, missing, latency.Options{
		Target: target, Compile: backends.Options{Threads: threads, ISA: isa}, Facts: facts, Budget: rowBudget * time.Duration(len(missing)),
	}); err != nil {
		return nil, err
	}
	if t, err = latency.Read(c.table); err != nil {
		return nil, err
	}
	for i, p := range plans {
		x, err := t.Predict(p)
		if err != nil {
			return nil, err
		}
		out[i] = x.Total
	}
	return out, nil
}
