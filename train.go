package nasc

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/train"
)

// TrainOptions steer Train.
type TrainOptions struct {
	train.Config
	Out        string // .nasc file to write; "" writes none
	Data, Val  string // DATA
	Teacher    string // model file to learn from; "": none
	Preprocess *nascfile.Preprocess
	Reinit     bool   // draw the weights anew first
	WeightBits int    // of quantization-aware training: 8 (0) or 4
	Calib      string // DATA for its first scales; "": samples of Data
	Threads    int
	Checkpoint string // "": Out with .ckpt
	Every      time.Duration
	Resume     bool
	Progress   func(done, total int)
	Report     func(epoch int, e train.Epoch)
	Warn       func(text string)
}

// TrainResult is what a training gave.
type TrainResult struct {
	train.Result
	Model  string  `json:"model"`
	Target string  `json:"target"`
	Params int64   `json:"params"`
	Top1   float64 `json:"top1,omitempty"` // on the validation data, at the end
	Out    string  `json:"out,omitempty"`
}

// untrainable are the passes that merge what training keeps apart: batch
// norms and the weights before them, factors and biases.
var untrainable = []string{"fold-bn", "fuse-bias", "fold-scale"}

// Trainable brings a model's first graph to the form that is trained: the
// canonical one, with batch norms on their own.
func Trainable(ctx context.Context, m *Model) (*ir.Graph, error) {
	g := m.Graph().Clone()
	passes.Direct(g)
	if passes.Simulates(g) {
		_, err := passes.Canonicalize(ctx, g, passes.Options{})
		return g, err
	}
	for range 4 {
		steps, err := passes.Run(ctx, g, passes.Default(), passes.Options{Disable: untrainable})
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(steps, func(s passes.Step) bool { return s.Changed }) {
			break
		}
	}
	return g, nil
}

// Train trains a model and writes the file, which compiles like any source.
func Train(ctx context.Context, m *Model, o TrainOptions) (*TrainResult, error) {
	if o.Data == "" {
		return nil, &diag.Error{Place: "--data", Found: "nothing", Wanted: data.Kinds}
	}
	if k := len(m.Module.Graphs); k != 1 {
		return nil, &diag.Error{Place: m.Path, Found: fmt.Sprintf("%d sets of shapes", k), Wanted: "one", Fix: "choose one with --shape, and compile the trained model for the others"}
	}
	g, err := Trainable(ctx, m)
	if err != nil {
		return nil, err
	}
	man := *m.Manifest
	man.Producer, man.Target, man.Calibration = "nasc "+Version(), "", nascfile.Calibration{}
	if o.Preprocess != nil {
		man.Preprocess = o.Preprocess
	}
	feed := func(arg string) (*data.Feed, error) {
		return data.OpenFeed(arg, g.Inputs, man.Preprocess)
	}
	if o.Quantization != "" && !passes.Simulates(g) {
		if o.Reinit || m.Random {
			return nil, &diag.Error{Place: "--qat", Found: "a network without trained weights", Wanted: "one that is trained in float first"}
		}
		calib, err := feed(cmp.Or(o.Calib, o.Data))
		if err != nil {
			return nil, err
		}
		if g, err = Simulated(ctx, m, calib, o); err != nil {
			return nil, err
		}
	} else if o.WeightBits != 0 || o.Calib != "" {
		return nil, &diag.Error{Place: "--weight-bits, --calib", Found: "a training without --qat, or one that goes on", Wanted: "--qat on a float network"}
	}
	n, err := train.New(g)
	if err != nil {
		return nil, diag.At(m.Path, err)
	}
	if o.Reinit || m.Random {
		n.Init(o.Seed)
	}
	j := &train.Job{
		Config: o.Config, Network: n, Preprocess: man.Preprocess, Threads: o.Threads,
		Checkpoint: o.Checkpoint, Every: o.Every, Resume: o.Resume, Progress: o.Progress, Report: o.Report, Warn: o.Warn,
	}
	if j.Data, err = feed(o.Data); err != nil {
		return nil, err
	}
	if o.Val != "" {
		if j.Valid, err = feed(o.Val); err != nil {
			return nil, err
		}
	}
	if o.Teacher != "" {
		t, err := Open(o.Teacher, nil)
		if err != nil {
			return nil, err
		}
		defer t.Close()
		if t.Random {
			return nil, &diag.Error{Place: "--teacher " + o.Teacher, Found: "an architecture without weights", Wanted: "a trained model"}
		}
		j.Teacher = &train.Teacher{Graph: t.Graph(), Preprocess: t.Manifest.Preprocess}
	}
	if j.Backend, err = train.Backends(o.Target); err != nil {
		return nil, err
	}
	if j.Checkpoint == "" && o.Out != "" {
		j.Checkpoint = o.Out + ".ckpt"
	}
	r, err := j.Run(ctx)
	if err != nil {
		return nil, err
	}
	out := &TrainResult{Result: *r, Model: m.Path, Target: o.Target, Params: r.Graph.Params(), Out: o.Out}
	if k := len(r.Epochs); k > 0 && r.Epochs[k-1].Valid {
		out.Top1 = r.Epochs[k-1].VTop1
	}
	if o.Out == "" {
		return out, nil
	}
	if man.Notes == nil {
		man.Notes = map[string]string{}
	}
	man.Notes["training"] = fmt.Sprintf("%d epochs of %s, batch %d, %s, %s, seed %d", o.Epochs, o.Data, o.Batch, o.Optimizer, o.Schedule, o.Seed)
	if passes.Simulates(r.Graph) {
		man.Notes["quantization"] = fmt.Sprintf("trained on levels, %s, weights of %d bits", cmp.Or(o.Quantization, "lsq"), cmp.Or(o.WeightBits, 8))
	}
	if o.Teacher != "" {
		man.Notes["teacher"] = fmt.Sprintf("%s of %s, weight %g, temperature %g", o.Distill.Mode, filepath.Base(o.Teacher), o.Distill.Weight, o.Distill.Temperature)
	}
	mod := &ir.Module{Graphs: []*ir.Graph{r.Graph}}
	if err := mod.Verify(); err != nil {
		return nil, fmt.Errorf("BUG: the trained module is bad: %w", err)
	}
	return out, nascfile.Write(o.Out, mod, &man)
}

// calibrated is how many samples the first scales come from, where --calib
// does not say.
const calibrated = 128

// Simulated quantizes a float model after training and gives the graph on
// levels from which quantization-aware training starts.
func Simulated(ctx context.Context, m *Model, calib *data.Feed, o TrainOptions) (*ir.Graph, error) {
	g := m.Graph().Clone()
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return nil, err
	}
	samples := passes.Samples(calib)
	if o.Calib == "" && calib.Len() > calibrated {
		samples = spread{calib, calibrated}
	}
	s, _, err := passes.Simulate(g, passes.SimulateOptions{
		QuantizeOptions: passes.QuantizeOptions{Calib: samples, Run: Runner(ctx, max(1, o.Threads)), Seed: o.Seed},
		WeightBits:      o.WeightBits,
	})
	return s, diag.At(m.Path, err)
}

// spread takes n samples, evenly.
type spread struct {
	of passes.Samples
	n  int
}

func (s spread) Len() int { return s.n }

func (s spread) At(i int) ([]*ir.Tensor, error) { return s.of.At(i * s.of.Len() / s.n) }
