package nasc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// Tuned is what --tune measured of one layer and chose.
type Tuned struct {
	Layer  string  `json:"layer"`
	Int8MS float64 `json:"int8_ms"`
	F32MS  float64 `json:"f32_ms"`
	Choice string  `json:"choice"`
}

const (
	tuneRuns = 30
	// clearly is how much slower int8 must measure before a layer stays f32:
	// the edges that this adds cost something too.
	clearly = 1.05
)

// tune times every contraction in int8 and in f32, on this device or by a
// latency table, keeps those in f32 that were slower in int8, and then whichever
// whole network is faster. The choice is the graph itself: on another device it
// computes the same.
func (o *CompileOptions) tune(ctx context.Context, f32, int8 *ir.Graph, q passes.QuantizeOptions, man *nascfile.Manifest, res *Result) (*ir.Graph, error) {
	threads := max(1, o.Threads)
	layers := func(ctx context.Context, g *ir.Graph, target string, threads int, progress func(string, int, int)) (map[string]float64, error) {
		return layerTimes(ctx, plan{g, target, backends.Options{Threads: threads}}, progress)
	}
	whole := alternateGraphs
	device := func() string { return factOf(latency.Fingerprint(Version(), o.Target, "", threads, 1)) }
	if o.Table != nil {
		layers, whole = o.tableLayers, o.tableTotals
		device = func() string { return factOf(o.Table.Facts) }
	}
	a, err := layers(ctx, int8, o.Target, threads, o.Progress)
	if err != nil {
		return nil, err
	}
	b, err := layers(ctx, f32, floatTarget(o.Target), threads, o.Progress)
	if err != nil {
		return nil, err
	}
	slower := chooseLayers(a, b)
	if man.Notes == nil {
		man.Notes = map[string]string{}
	}
	man.Notes["tune.device"] = device()
	if o.Table != nil {
		man.Notes["tune.by"] = "latency table"
	}
	best := int8
	if len(slower) > 0 {
		p := passes.Policy{Default: q.Policy.Default, Layers: maps.Clone(q.Policy.Layers)}
		if p.Layers == nil {
			p.Layers = map[string]string{}
		}
		for _, l := range slower {
			p.Layers[l] = "f32"
		}
		q.Policy = p
		mixed, rep, err := passes.Quantize(f32, q)
		if err != nil {
			return nil, err
		}
		if _, err := passes.Run(ctx, mixed, afterQuantize, passes.Options{}); err != nil {
			return nil, err
		}
		ms, err := whole(ctx, o.Target, threads, int8, mixed)
		if err != nil {
			return nil, err
		}
		man.Notes["tune.int8_ms"], man.Notes["tune.mixed_ms"] = fmt.Sprintf("%.4f", ms[0]), fmt.Sprintf("%.4f", ms[1])
		if ms[1] < ms[0] {
			best, res.Quant, res.quantize = mixed, rep, q
		}
	}
	for _, layer := range slices.Sorted(maps.Keys(a)) {
		t := Tuned{Layer: layer, Int8MS: a[layer], F32MS: b[layer], Choice: "int8"}
		if best != int8 && slices.Contains(slower, layer) {
			t.Choice = "f32"
			man.Notes["tune."+layer] = fmt.Sprintf("f32: %.4f ms, int8 took %.4f", t.F32MS, t.Int8MS)
		}
		res.Tuned = append(res.Tuned, t)
	}
	if o.Tune {
		if err := o.tuneKernels(ctx, best, threads, man, res); err != nil {
			return nil, err
		}
	}
	return best, nil
}

// floatTarget is the float engine with the kernels of an int8 target.
func floatTarget(int8 string) string {
	if _, isa := backends.SplitName(int8); isa != "" {
		return "cpu-f32@" + isa
	}
	return "cpu-f32"
}

// factOf names the CPU of a fingerprint.
func factOf(fs []latency.Fact) string {
	for _, f := range fs {
		if f.Name == "cpu" {
			return f.Value
		}
	}
	return "unknown"
}

// tableLayers is layerTimes by the latency table.
func (o *CompileOptions) tableLayers(_ context.Context, g *ir.Graph, target string, threads int, _ func(string, int, int)) (map[string]float64, error) {
	steps, p, err := o.lookUp(g, target, threads)
	if err != nil {
		return nil, err
	}
	times := map[string]float64{}
	for i, step := range steps {
		for _, n := range step.Nodes {
			if isLayer(n) {
				times[n.Label()] += p.PerNode[i].MS
			}
		}
	}
	return times, nil
}

// tableTotals is alternate by the latency table; networks with kernels that it
// has no relatives of are measured.
func (o *CompileOptions) tableTotals(ctx context.Context, target string, threads int, gs ...*ir.Graph) ([]float64, error) {
	ms := make([]float64, len(gs))
	for i, g := range gs {
		_, p, err := o.lookUp(g, target, threads)
		if err != nil {
			o.Warn("the whole networks were measured, since the tables do not know all their kernels: " + err.Error())
			return alternateGraphs(ctx, target, threads, gs...)
		}
		ms[i] = p.Total
	}
	return ms, nil
}

func (o *CompileOptions) lookUp(g *ir.Graph, target string, threads int) ([]backends.Step, *latency.Prediction, error) {
	steps, err := planSteps(g, target, 1, threads)
	if err != nil {
		return nil, nil, err
	}
	p, err := o.Table.PredictSteps(steps)
	return steps, p, err
}

// isLayer says whether a node is one that may be int8 or f32.
func isLayer(n *ir.Node) bool {
	switch n.Op.Name {
	case "convolution", "dot", "q_convolution", "q_dot":
		return true
	}
	return false
}

// chooseLayers lists the layers whose int8 form measured clearly slower.
func chooseLayers(int8, f32 map[string]float64) []string {
	var out []string
	for _, layer := range slices.Sorted(maps.Keys(int8)) {
		if t, ok := f32[layer]; ok && int8[layer] > clearly*t {
			out = append(out, layer)
		}
	}
	return out
}

// plan is a graph, and how it is compiled to be timed.
type plan struct {
	g      *ir.Graph
	target string
	opts   backends.Options
}

func (p plan) start() (backends.Executable, *ir.Graph, error) {
	return startWith(p.g, p.target, 1, p.opts)
}

// layerTimes gives the median time in ms of the steps that compute each
// contraction.
func layerTimes(ctx context.Context, timed plan, progress func(string, int, int)) (map[string]float64, error) {
	e, s, err := timed.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	p, ok := e.(backends.Planned)
	if !ok {
		return nil, fmt.Errorf("target %s does not run steps of its own: --tune is for cpu-int8", timed.target)
	}
	steps := p.Steps()
	all := make([][]float64, len(steps))
	in, out := passes.RandomInputs(s, 1), backends.NewOutputs(s)
	for r := range tuneRuns + 3 { // three runs to warm up
		took := make([]time.Duration, len(steps))
		if err := p.RunTimed(ctx, in, out, took); err != nil {
			return nil, err
		}
		for i, d := range took {
			if r >= 3 {
				all[i] = append(all[i], float64(d.Nanoseconds())/1e6)
			}
		}
		progress("tune "+timed.target, r+1, tuneRuns+3)
	}
	times := map[string]float64{}
	for i, step := range steps {
		for _, n := range step.Nodes {
			switch n.Op.Name {
			case "convolution", "convolution_transpose", "dot", "q_convolution", "q_convolution_transpose", "q_dot", "dynamic_dot":
				slices.Sort(all[i])
				times[n.Label()] += all[i][len(all[i])/2]
			}
		}
	}
	return times, nil
}

// alternateGraphs is alternate of graphs for one target.
func alternateGraphs(ctx context.Context, target string, threads int, gs ...*ir.Graph) ([]float64, error) {
	var ps []plan
	for _, g := range gs {
		ps = append(ps, plan{g, target, backends.Options{Threads: threads}})
	}
	return alternate(ctx, ps...)
}

// alternate times plans in turns and gives the median of each in ms.
func alternate(ctx context.Context, ps ...plan) ([]float64, error) {
	type one struct {
		e       backends.Executable
		in, out []*ir.Tensor
		took    []float64
	}
	runs := make([]one, len(ps))
	for i, p := range ps {
		e, s, err := p.start()
		if err != nil {
			return nil, err
		}
		defer e.Close()
		runs[i] = one{e: e, in: passes.RandomInputs(s, 1), out: backends.NewOutputs(s)}
	}
	for r := range 2*tuneRuns + 3 {
		for i := range runs {
			start := time.Now()
			if err := runs[i].e.Run(ctx, runs[i].in, runs[i].out); err != nil {
				return nil, err
			}
			if r >= 3 {
				runs[i].took = append(runs[i].took, float64(time.Since(start).Nanoseconds())/1e6)
			}
		}
	}
	ms := make([]float64, len(runs))
	for i, r := range runs {
		slices.Sort(r.took)
		ms[i] = r.took[len(r.took)/2]
	}
	return ms, nil
}
