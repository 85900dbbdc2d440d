package nasc

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// PruneOptions steer Prune.
type PruneOptions struct {
	// Goal is what is to become less: macs, params, bytes or latency; Amount is
	// a share (0.5x) or a number (of milliseconds for latency; k, M, G follow).
	Goal, Amount string
	Target       string // whose latency it is
	Threads      int
	Table        string // latency rows; missing ones are measured and added
	Data         string // DATA for means, activation and taylor
	Samples      int    // of it
	Criterion    string
	Scope        string
	Round        int // widths are multiples of it; 0: for latency the step of the device, measured
	Keep         float64
	Blocks       int
	Seed         uint64
	Out          string
	Preprocess   *nascfile.Preprocess
	Progress     func(stage string, done, total int)
	Warn         func(text string)
}

// Size is what a network costs.
type Size struct {
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"`
	Bytes  int64   `json:"bytes"` // of its weights
	MS     float64 `json:"ms"`    // median of runs on the target, the two networks in turns
}

// PruneResult is what Prune did.
type PruneResult struct {
	Target string `json:"target"`
	Before Size   `json:"before"`
	After  Size   `json:"after"`
	Round  int    `json:"round"`
	*passes.Pruned
	Predicted [2]float64 `json:"predicted_ms,omitzero"` // by the table
	Out       string     `json:"out,omitempty"`
}

// Prune removes channels of a float model until it costs what was asked for,
// measures both on the target and writes the smaller one.
func Prune(ctx context.Context, m *Model, o PruneOptions) (*PruneResult, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if len(m.Module.Graphs) != 1 {
		return nil, &diag.Error{Place: m.Path, Found: "several sets of shapes", Wanted: "a model with one", Fix: "prune it before it is compiled for more"}
	}
	g := m.Graph().Clone()
	if !m.Compiled && o.Criterion != "bn-scale" { // the factors of batch norms are gone in canonical form
		if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
			return nil, err
		}
	}
	c := &costs{o: &o}
	cost, err := c.of()
	if err != nil {
		return nil, err
	}
	now, err := cost(ctx, g)
	if err != nil {
		return nil, err
	}
	limit, err := amount(o.Amount, now)
	if err != nil {
		return nil, diag.At("--target-"+o.Goal, err)
	}
	res := &PruneResult{Target: o.Target, Round: o.Round, Out: o.Out}
	if o.Round == 0 && o.Goal == "latency" {
		if res.Round, err = Step(ctx, o.Target, max(1, o.Threads)); err != nil {
			return nil, err
		}
	}
	p := passes.PruneOptions{
		Cost: cost, Target: limit, Criterion: o.Criterion, Scope: o.Scope, Round: res.Round, Keep: o.Keep, Seed: o.Seed,
		Blocks: o.Blocks, Progress: o.Progress,
	}
	if o.Data != "" {
		if err := o.samples(m, g, &p); err != nil {
			return nil, err
		}
	}
	small, rep, err := passes.Prune(ctx, g, p)
	if err != nil {
		return nil, err
	}
	res.Pruned = rep
	res.Before, res.After = sizeOf(g), sizeOf(small)
	if c.table != "" {
		res.Predicted = [2]float64{rep.Before, rep.After}
	}
	a, err := c.runnable(g)
	if err != nil {
		return nil, err
	}
	b, err := c.runnable(small)
	if err != nil {
		return nil, err
	}
	ms, err := alternate(ctx, o.Target, max(1, o.Threads), a, b)
	if err != nil {
		return nil, err
	}
	res.Before.MS, res.After.MS = ms[0], ms[1]
	if o.Out == "" {
		return res, nil
	}
	man := *m.Manifest
	man.Producer = "nasc " + Version()
	man.Passes = append(slices.Clone(man.Passes), "prune")
	if o.Preprocess != nil {
		man.Preprocess = o.Preprocess
	}
	return res, nascfile.Write(o.Out, &ir.Module{Graphs: []*ir.Graph{small}}, &man)
}

func sizeOf(g *ir.Graph) Size {
	return Size{Params: g.Params(), MACs: g.MACs(), Bytes: g.ConstBytes()}
}

// samples reads the data.
func (o *PruneOptions) samples(m *Model, g *ir.Graph, p *passes.PruneOptions) error {
	pp := m.Manifest.Preprocess
	if o.Preprocess != nil {
		pp = o.Preprocess
	}
	s, err := data.Open(o.Data)
	if err != nil {
		return err
	}
	f, err := data.NewFeed(s, g.Inputs, pp)
	if err != nil {
		return err
	}
	n := f.Len()
	if o.Samples > 0 {
		n = min(n, o.Samples)
	}
	for i := range n { // spread over the set: many are sorted by class
		in, class, err := f.Labelled(i * f.Len() / n)
		if err != nil {
			return err
		}
		p.Samples, p.Labels = append(p.Samples, in), append(p.Labels, class)
	}
	p.Real = true
	return nil
}

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
	o     *PruneOptions
	table string // where latency comes from rows
}

func (c *costs) of() (func(context.Context, *ir.Graph) (float64, error), error) {
	switch c.o.Goal {
	case "macs":
		return func(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.MACs()), nil }, nil
	case "params":
		return func(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.Params()), nil }, nil
	case "bytes":
		return func(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.ConstBytes()), nil }, nil
	case "latency":
		if c.table = c.o.Table; c.table != "" {
			return c.predicted, nil
		}
		return c.measured, nil
	}
	return nil, &diag.Error{Place: "prune", Found: "no target", Wanted: "--target-macs, --target-params, --target-bytes or --target-latency"}
}

// runnable is a graph in the form that the target runs: for int8, with scales
// from noise, which do for timing.
func (c *costs) runnable(g *ir.Graph) (*ir.Graph, error) {
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

// pruneRuns is how often a candidate is timed.
const pruneRuns = 25

// measured is the least of several medians in ms: what else runs on the device
// only adds.
func (c *costs) measured(ctx context.Context, g *ir.Graph) (float64, error) {
	r, err := c.runnable(g)
	if err != nil {
		return 0, err
	}
	e, s, err := Start(r, c.o.Target, 1, max(1, c.o.Threads))
	if err != nil {
		return 0, err
	}
	defer e.Close()
	best := 0.0
	for i := range 3 {
		t, err := Bench(ctx, e, s, passes.RandomInputs(s, 1), pruneRuns, 20*time.Millisecond)
		if err != nil {
			return 0, err
		}
		if i == 0 || t.Median < best {
			best = t.Median
		}
	}
	return best, nil
}

// rowBudget is the time to measure what the table lacks of one candidate.
const rowBudget = 3 * time.Second

// predicted sums the rows of the table. Where it lacks some and is of this
// device, they are measured and stay in it.
func (c *costs) predicted(ctx context.Context, g *ir.Graph) (float64, error) {
	r, err := c.runnable(g)
	if err != nil {
		return 0, err
	}
	threads := max(1, c.o.Threads)
	e, s, err := Start(r, c.o.Target, 1, threads)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	plan, ok := e.(backends.Planned)
	if !ok {
		return 0, &diag.Error{Place: "--target", Found: c.o.Target, Wanted: "cpu-int8 or cpu-f32, which run steps of their own"}
	}
	t, err := latency.Read(c.table)
	if err != nil {
		return 0, err
	}
	p, err := t.Predict(plan)
	if err == nil {
		return p.Total, nil
	}
	base, isa := backends.SplitName(c.o.Target)
	facts := latency.Fingerprint(Version(), base, isa, threads, 1)
	if ferr := t.Foreign(facts); ferr != nil {
		return 0, errors.Join(err, diag.At(c.table, ferr))
	}
	target, _, err := Target(c.o.Target)
	if err != nil {
		return 0, err
	}
	if _, err := latency.Profile(ctx, c.table, latency.List{{Name: fmt.Sprintf("candidate#%08x", crc32.ChecksumIEEE([]byte(s.Body()))), Graph: s, In: passes.RandomInputs(s, 1)}}, latency.Options{
		Target: target, Compile: backends.Options{Threads: threads, ISA: isa}, Facts: facts, Budget: rowBudget,
	}); err != nil {
		return 0, err
	}
	if t, err = latency.Read(c.table); err != nil {
		return 0, err
	}
	if p, err = t.Predict(plan); err != nil {
		return 0, err
	}
	return p.Total, nil
}

// Step measures the width of the stairs of a target on this device: how many
// output channels of a convolution cost the same. It times 1×1 convolutions of
// 33 to 64 channels and takes the greatest power of two between whose multiples
// the time stays within a tenth of the climb.
func Step(ctx context.Context, target string, threads int) (int, error) {
	const from, to, in, side = 32, 64, 128, 14
	c := &costs{o: &PruneOptions{Target: target, Threads: threads, Seed: 1}}
	times := map[int]float64{}
	for w := from + 1; w <= to; w++ {
		b := ir.NewBuilder("step")
		x := b.Input("x", ir.T(ir.F32, 1, side, side, in))
		k := ir.NewTensor(ir.F32, 1, 1, in, w)
		for i := range k.F32() {
			k.F32()[i] = float32(i%7-3) / 64
		}
		g, err := b.Graph(b.Op("convolution", nil, x, b.Const("w", k)))
		if err != nil {
			return 0, err
		}
		r, err := c.runnable(g)
		if err != nil {
			return 0, err
		}
		e, s, err := Start(r, target, 1, threads)
		if err != nil {
			return 0, err
		}
		least := 0.0
		for i := range 5 {
			t, err := Bench(ctx, e, s, passes.RandomInputs(s, 1), 20, time.Millisecond)
			if err != nil {
				_ = e.Close()
				return 0, err
			}
			if i == 0 || t.P10 < least {
				least = t.P10
			}
		}
		if err := e.Close(); err != nil {
			return 0, err
		}
		times[w] = least
	}
	return stairs(times, from, to), nil
}

// stairs finds the step of times by width: the greatest power of two within
// whose stairs the times vary little beside what a stair costs.
func stairs(times map[int]float64, from, to int) int {
	for step := 32; step > 1; step /= 2 {
		var inside, tops []float64
		for lo := from; lo < to; lo += step {
			least, most := times[lo+1], times[lo+1]
			for w := lo + 1; w <= lo+step; w++ {
				least, most = min(least, times[w]), max(most, times[w])
			}
			inside = append(inside, most-least)
			tops = append(tops, times[lo+step])
		}
		slices.Sort(inside)
		// What a stair costs on average, were time proportional to width.
		climb := tops[len(tops)-1] * float64(step) / float64(to)
		if inside[len(inside)/2] <= 0.25*climb {
			return step
		}
	}
	return 1
}

// PruneGoals are what Prune can lower.
var PruneGoals = []string{"macs", "params", "bytes", "latency"}

// Describe sums a result up in one line for people.
func (r *PruneResult) Describe() string {
	return fmt.Sprintf("%.2f× parameters, %.2f× MACs, %.2f× bytes, %.2f× measured time",
		ratio(r.After.Params, r.Before.Params), ratio(r.After.MACs, r.Before.MACs), ratio(r.After.Bytes, r.Before.Bytes), r.After.MS/max(1e-9, r.Before.MS))
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(1, b)) }
