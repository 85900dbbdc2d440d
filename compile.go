package nasc

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/quant"
)

// CompileOptions steer Compile.
type CompileOptions struct {
	Target string
	Out    string // file to write; "" writes none
	Calib  string // DATA, or "synthetic"
	Eval   string // DATA
	// Sources are data that are open, by the name that Calib and Eval call them;
	// their samples are the tensors that enter the network.
	Sources map[string]data.Source

	Preprocess *nascfile.Preprocess // instead of the model's
	Passes     []passes.Pass        // instead of the default pipeline
	Pipeline   passes.Options
	Policy     passes.Policy
	MaxDrop    float64 // points of top-1
	Method     string  // of calibration
	Rounding   string
	Smooth     float64
	// Activations is "static", scales from calibration (the default), or
	// "dynamic": dense layers find a scale for each row while they run.
	Activations string
	// Winograd computes 3×3 float convolutions by Winograd's algorithms where that
	// is faster: by an estimate, or with Tune as measured here. Other last bits.
	Winograd bool
	Tune     bool           // measure each layer in both types and keep the faster
	Table    *latency.Table // by which --policy auto chooses, instead of measuring
	Seed     uint64
	Threads  int
	Progress func(stage string, done, total int)
	Warn     func(text string)

	unmeasured bool // nothing is run but for calibration
}

// syntheticSamples is the number of random samples of --calib synthetic.
const syntheticSamples = 8

// Result is what Compile did, before and after.
type Result struct {
	Target    string  `json:"target"`
	Nodes     int     `json:"nodes"`
	Int8Nodes int     `json:"int8_nodes"`
	F32Nodes  int     `json:"f32_nodes"`
	MACShare  float64 `json:"int8_mac_share"`
	MACs      int64   `json:"macs"`
	Params    int64   `json:"params"`
	Bytes     int64   `json:"bytes"`
	BytesF32  int64   `json:"bytes_f32"`
	CompileMS float64 `json:"compile_ms"`
	EvalN     int     `json:"eval_n,omitempty"`
	Top1      float64 `json:"top1"`
	Top1F32   float64 `json:"top1_f32"`
	Agreement float64 `json:"agreement"`
	SQNR      float64 `json:"sqnr_db"`
	MS        float64 `json:"ms"`
	MSF32     float64 `json:"ms_f32"`
	Out       string  `json:"out,omitempty"`

	Tuned []Tuned `json:"tuned,omitempty"` // by --tune: each layer in both types

	// By --tune: layers with another kernel than the engine's own choice, and the
	// network's time by that and by these.
	Kernels      []TunedKernel   `json:"kernels,omitempty"`
	KernelsTuned bool            `json:"-"` // they were measured, whether or not others are faster
	Winograd     *WinogradResult `json:"winograd,omitempty"`
	OwnKernelsMS float64         `json:"own_kernels_ms,omitempty"`
	KernelsMS    float64         `json:"kernels_ms,omitempty"`

	Evaluated bool                `json:"-"`
	Labelled  bool                `json:"-"`
	Quant     *passes.QuantReport `json:"quantization,omitempty"`
	Steps     []passes.Step       `json:"-"`
	Module    *ir.Module          `json:"-"`
	Float     *ir.Graph           `json:"-"` // the canonical float graph, where there was one
	Manifest  *nascfile.Manifest  `json:"-"`
	Feed      Samples             `json:"-"` // of --eval, or of calibration

	quantize passes.QuantizeOptions // of the first graph, for further sets of shapes
}

// MarshalJSON writes null for what was not judged, for want of --eval or of labels.
func (r *Result) MarshalJSON() ([]byte, error) {
	type plain Result
	out := struct {
		*plain
		Top1      *float64 `json:"top1"`
		Top1F32   *float64 `json:"top1_f32"`
		Agreement *float64 `json:"agreement"`
		SQNR      *float64 `json:"sqnr_db"`
	}{plain: (*plain)(r)}
	if r.Evaluated {
		out.Agreement, out.SQNR = &r.Agreement, &r.SQNR
	}
	if r.Labelled {
		out.Top1, out.Top1F32 = &r.Top1, &r.Top1F32
	}
	return json.Marshal(out)
}

// Version names the program in files; the CLI prints it.
func Version() string {
	v := "(devel)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		v = b.Main.Version
	}
	return v
}

// Compile brings a model to a target's form, measures it against the float
// model and writes the file.
func Compile(ctx context.Context, m *Model, o CompileOptions) (*Result, error) {
	start := time.Now()
	t, level, err := Target(o.Target)
	if err != nil {
		return nil, err
	}
	if l, err := isa.Parse(level); err == nil && !slices.Contains(isa.Available(), l) { // measuring would find out, after calibration
		return nil, &diag.Error{Place: "--target " + o.Target, Found: "an instruction set that this CPU does not have", Wanted: fmt.Sprintf("one of %v", isa.Available()), Fix: "leave the choice to nasc, or take portable"}
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	man := *m.Manifest
	man.Producer, man.Target = "nasc "+Version(), o.Target
	if o.Preprocess != nil {
		man.Preprocess = o.Preprocess
	}
	for _, n := range m.Notes {
		o.Warn(n)
	}
	res := &Result{Target: o.Target, Module: &ir.Module{}, Manifest: &man, Out: o.Out}
	if o.Eval != "" { // a fault there shows before hours of calibration
		if _, err := o.feed(o.Eval, m.Graph(), &man); err != nil {
			return nil, err
		}
	}
	int8 := strings.HasSuffix(t.Name(), "int8")
	for i, g := range m.Module.Graphs {
		g = g.Clone()
		if !m.Compiled || o.Passes != nil {
			if err := g.CheckFinite(); err != nil {
				return nil, diag.At(m.Path, err)
			}
			var steps []passes.Step
			if o.Passes != nil {
				steps, err = passes.Run(ctx, g, o.Passes, o.Pipeline)
			} else {
				steps, err = passes.Canonicalize(ctx, g, o.Pipeline)
			}
			if err != nil {
				return nil, err
			}
			if i == 0 {
				res.Steps = steps
				for _, s := range steps {
					if s.Changed {
						man.Passes = append(man.Passes, s.Name)
					}
				}
			}
		}
		if i == 0 && Quantized(g) {
			if err := o.quantizedAlready(m.Path, int8); err != nil {
				return nil, err
			}
		} else if i == 0 {
			res.Float = g
		}
		if int8 && !Quantized(g) {
			if i == 0 {
				g, err = o.quantize(ctx, m, g, &man, res)
			} else { // the scales and weights of the first set of shapes
				g, err = o.quantizeLike(ctx, g, res)
			}
			if err != nil {
				return nil, err
			}
		}
		if o.Winograd {
			if g, err = o.winograd(ctx, g, &man, res); err != nil {
				return nil, err
			}
		}
		g.TidyNames()
		res.Module.Graphs = append(res.Module.Graphs, g)
	}
	res.Module.Dedup()
	if err := res.Module.Verify(); err != nil {
		return nil, fmt.Errorf("BUG: the compiled module is bad: %w", err)
	}
	res.CompileMS = float64(time.Since(start).Microseconds()) / 1e3
	res.count()
	if o.Tune && res.Quant == nil && int8 { // its layers' types are decided; their kernels are not
		if err := o.tuneKernels(ctx, res.Module.Graphs[0], max(1, o.Threads), &man, res); err != nil {
			return nil, err
		}
	}
	if o.unmeasured {
		return res, nil
	}
	if err := o.measure(ctx, m, res); err != nil {
		return nil, err
	}
	if o.Out == "" {
		return res, nil
	}
	if err := nascfile.Write(o.Out, res.Module, &man); err != nil {
		return nil, err
	}
	st, err := os.Stat(o.Out)
	if err != nil {
		return nil, err
	}
	res.Bytes = st.Size()
	return res, nil
}

// quantizedAlready says what cannot be asked of a model that computes in int8 as
// it comes.
func (o *CompileOptions) quantizedAlready(path string, int8 bool) error {
	switch {
	case o.MaxDrop > 0 || o.Table != nil || o.Policy.Default != "" || len(o.Policy.Layers) > 0:
		return &diag.Error{Place: path, Found: "a model that is quantized already", Wanted: "a float model for --policy, --table and --max-drop, which choose types of layers", Fix: "compile the model that it was made of"}
	case !int8:
		o.Warn(fmt.Sprintf("%s is quantized: it stays int8 on %s; for f32 compile the model that it was made of", path, o.Target))
	case o.Calib != "" || o.Method != "" || o.Rounding != "":
		o.Warn(path + " is quantized already: its scales are kept, and calibration is left out")
	}
	return nil
}

// afterQuantize are the passes that clean up a quantized graph.
var afterQuantize = []passes.Pass{*passes.Lookup("fold-tables"), *passes.Lookup("cse"), *passes.Lookup("remove-dead")}

// quantize calibrates and rewrites a float graph; one that computes on levels
// has its scales.
func (o *CompileOptions) quantize(ctx context.Context, m *Model, g *ir.Graph, man *nascfile.Manifest, res *Result) (*ir.Graph, error) {
	if passes.Simulates(g) {
		if o.Calib != "" || o.Tune || o.Table != nil || o.MaxDrop > 0 || o.Policy.Default != "" || len(o.Policy.Layers) > 0 {
			return nil, &diag.Error{Place: "--calib, --policy, --tune, --max-drop", Found: "a network trained for its quantization", Wanted: "none of them: scales and places are the network's own"}
		}
		out, rep, err := passes.Execute(g)
		if err != nil {
			return nil, err
		}
		res.Quant = rep
		_, err = passes.Run(ctx, out, afterQuantize, passes.Options{})
		return out, err
	}
	if o.Calib == "" {
		return nil, &diag.Error{
			Place: "--calib", Found: "no calibration data for " + o.Target, Wanted: data.Kinds,
			Fix: "give some, or --calib synthetic for timing only",
		}
	}
	if a := o.Activations; a != "" && a != "static" && a != "dynamic" {
		return nil, &diag.Error{Place: "--activations", Found: fmt.Sprintf("%q", a), Wanted: "static or dynamic"}
	}
	if o.Table != nil { // what it lacks of the float layers shows before calibration
		if _, _, err := o.lookUp(g, floatTarget(o.Target), max(1, o.Threads)); err != nil {
			return nil, diag.At("--table", err)
		}
	}
	q := passes.QuantizeOptions{
		Method: quant.Method(o.Method), Rounding: passes.Rounding(o.Rounding), Smooth: o.Smooth,
		Dynamic: o.Activations == "dynamic",
		Policy:  o.Policy, Seed: o.Seed, Progress: o.Progress, Run: Runner(ctx, max(1, o.Threads)),
	}
	man.Calibration = nascfile.Calibration{Data: o.Calib, Method: o.Method}
	if o.Calib == "synthetic" {
		f, err := RandomFeed(g, syntheticSamples, o.Seed)
		if err != nil {
			return nil, err
		}
		o.Warn("calibrated on random inputs: good for timing only, accuracy means nothing")
		q.Calib = f
		q.Rounding, q.NoEqualize, q.NoCorrection = passes.Nearest, true, true // nothing to learn from noise
	} else {
		f, err := o.feed(o.Calib, g, man)
		if err != nil {
			return nil, err
		}
		q.Calib = f
		if man.Calibration.Digest, err = f.Digest(); err != nil {
			return nil, err
		}
	}
	man.Calibration.Samples = q.Calib.Len()
	if o.MaxDrop > 0 {
		s := Samples(nil)
		if o.Eval != "" {
			f, err := o.feed(o.Eval, g, man)
			if err != nil {
				return nil, err
			}
			s = f
		} else if f, ok := q.Calib.(*data.Feed); ok {
			s = f
		}
		if s == nil {
			return nil, &diag.Error{Place: "--max-drop", Found: "no data with classes", Wanted: "--eval DATA"}
		}
		q.MaxDrop = o.MaxDrop
		q.Evaluate = func(h *ir.Graph) (float64, error) {
			r, err := Evaluate(ctx, h, engineFor(h), s, false, nil)
			if err != nil {
				return 0, err
			}
			if r.Labels == 0 {
				return 0, &diag.Error{Place: "--max-drop", Found: "data without classes", Wanted: "labelled data"}
			}
			return 100 * r.Top1, nil
		}
	}
	out, rep, err := passes.Quantize(g, q)
	if err != nil {
		return nil, err
	}
	if _, err := passes.Run(ctx, out, afterQuantize, passes.Options{}); err != nil {
		return nil, err
	}
	res.Quant, res.quantize = rep, q
	if o.Tune || o.Table != nil {
		return o.tune(ctx, g, out, q, man, res)
	}
	return out, nil
}

// quantizeLike gives another set of shapes what the first one was given.
func (o *CompileOptions) quantizeLike(ctx context.Context, g *ir.Graph, res *Result) (*ir.Graph, error) {
	q := res.quantize // all that steers the rewriting as for the first graph
	q.MaxDrop, q.Evaluate = 0, nil
	out, _, err := passes.QuantizeLike(g, q, res.Quant)
	if err != nil {
		return nil, err
	}
	_, err = passes.Run(ctx, out, afterQuantize, passes.Options{})
	return out, err
}

// engineFor is nasc's own engine for a graph.
func engineFor(g *ir.Graph) string {
	if Quantized(g) {
		return "cpu-int8"
	}
	return "cpu-f32"
}

func (o *CompileOptions) feed(arg string, g *ir.Graph, man *nascfile.Manifest) (*data.Feed, error) {
	if s := o.Sources[arg]; s != nil {
		return data.NewFeed(s, g.Inputs, nil)
	}
	return data.OpenFeed(arg, g.Inputs, man.Preprocess)
}

// Runner runs calibration on nasc's own engine.
func Runner(ctx context.Context, threads int) passes.Runner {
	return func(g *ir.Graph) (func([]*ir.Tensor) ([]*ir.Tensor, error), func(), error) {
		t, level, err := Target(engineFor(g))
		if err != nil {
			return nil, nil, err
		}
		e, err := t.Compile(g, backends.Options{Threads: threads, ISA: level})
		if err != nil {
			return nil, nil, err
		}
		run := func(in []*ir.Tensor) ([]*ir.Tensor, error) {
			out := backends.NewOutputs(g)
			return out, e.Run(ctx, in, out)
		}
		return run, func() { _ = e.Close() }, nil
	}
}

// count fills in what the graph alone tells.
func (r *Result) count() {
	g := r.Module.Graphs[0]
	r.Nodes, r.Params, r.Bytes = len(g.Nodes), g.Params(), g.ConstBytes()
	r.BytesF32 = r.Bytes
	if r.Float != nil {
		r.BytesF32 = r.Float.ConstBytes()
		r.Params = r.Float.Params()
	}
	var int8 int64
	for _, n := range g.Nodes {
		k := n.Op.MACs(n)
		r.MACs += k
		if n.Op.Class == ir.Quantized {
			r.Int8Nodes++
			int8 += k
		} else if n.Outputs[0].Type.DType == ir.F32 {
			r.F32Nodes++
		} else {
			r.Int8Nodes++
		}
	}
	if r.MACs > 0 {
		r.MACShare = float64(int8) / float64(r.MACs)
	}
}

// measure runs both models on the evaluation data and times them.
func (o *CompileOptions) measure(ctx context.Context, m *Model, r *Result) error {
	g := r.Module.Graphs[0]
	if o.Eval != "" {
		f, err := o.feed(o.Eval, g, r.Manifest)
		if err != nil {
			return err
		}
		r.Feed = f
		after, err := Evaluate(ctx, g, o.Target, f, true, func(d, n int) { o.Progress("evaluate "+o.Target, d, n) })
		if err != nil {
			return err
		}
		r.Evaluated, r.Labelled, r.Top1, r.EvalN = true, after.Labels > 0, after.Top1, after.N
		r.Top1F32, r.Agreement, r.SQNR = r.Top1, 1, MaxSQNR
		if r.Float != nil && r.Float != g {
			before, err := Evaluate(ctx, r.Float, "cpu-f32", f, true, func(d, n int) { o.Progress("evaluate f32", d, n) })
			if err != nil {
				return err
			}
			d := NewDifference()
			for i, y := range before.Outputs {
				d.Add(y, after.Outputs[i])
			}
			r.Top1F32, r.Agreement, r.SQNR = before.Top1, d.Top1, d.SQNR
		}
	}
	one, err := RandomFeed(g, 1, o.Seed)
	if err != nil {
		return err
	}
	in, err := one.At(0)
	if err != nil {
		return err
	}
	for _, v := range []struct {
		g      *ir.Graph
		target string
		ms     *float64
	}{{g, o.Target, &r.MS}, {r.Float, "cpu-f32", &r.MSF32}} {
		if v.g == nil {
			continue
		}
		o.Progress("measure "+v.target, 0, 1)
		opts := backends.Options{Threads: max(1, o.Threads)}
		if v.g == g && r.Manifest != nil {
			opts.Kernels = r.Manifest.Tuned.On(isa.Processor())
		}
		e, s, err := startWith(v.g, v.target, 1, opts)
		if err != nil {
			return err
		}
		t, err := Bench(ctx, e, s, in, 30, 100*time.Millisecond)
		if cerr := e.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		*v.ms = math.Round(t.Median*1e4) / 1e4
	}
	return nil
}
