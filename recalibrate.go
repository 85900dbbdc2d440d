package nasc

import (
	"context"
	"fmt"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Recalibrated says what measuring batch norms anew did.
type Recalibrated struct {
	Model   string  `json:"model"`
	Norms   int     `json:"norms"`
	Samples int     `json:"samples"`
	Before  float64 `json:"top1_before,omitempty"` // on the validation data
	Top1    float64 `json:"top1,omitempty"`
	N       int     `json:"n,omitempty"`
	Out     string  `json:"out,omitempty"`
}

// RecalibrateNorms takes the statistics of a model's batch norms anew, from
// o.Data as it is, compares accuracy on o.Val with and without, and writes
// the file.
func RecalibrateNorms(ctx context.Context, m *Model, o TrainOptions) (*Recalibrated, error) {
	if o.Data == "" {
		return nil, &diag.Error{Place: "--data", Found: "nothing", Wanted: data.Kinds}
	}
	g, err := Trainable(ctx, m)
	if err != nil {
		return nil, err
	}
	out := &Recalibrated{Model: m.Path, Norms: g.OpCounts()["batch_norm_inference"], Out: o.Out}
	if out.Norms == 0 {
		return nil, &diag.Error{Place: m.Path, Found: "no batch norms", Wanted: "a model whose norms are not folded yet: an architecture, an ONNX file or what nasc train wrote"}
	}
	man := *m.Manifest
	man.Producer, man.Target, man.Calibration = "nasc "+Version(), "", nascfile.Calibration{}
	if o.Preprocess != nil {
		man.Preprocess = o.Preprocess
	}
	open := func(arg string) (*data.Feed, error) {
		return data.OpenFeed(arg, g.Inputs, man.Preprocess)
	}
	feed, err := open(o.Data)
	if err != nil {
		return nil, err
	}
	var samples [][]*ir.Tensor
	for i := range feed.Len() {
		in, err := feed.At(i)
		if err != nil {
			return nil, err
		}
		samples = append(samples, in)
	}
	out.Samples = len(samples)
	judge := func() (float64, error) {
		if o.Val == "" {
			return 0, nil
		}
		f, err := open(o.Val)
		if err != nil {
			return 0, err
		}
		r, err := Evaluate(ctx, g, "cpu-f32", f, false, nil)
		if err != nil {
			return 0, err
		}
		out.N = r.N
		return r.Top1, nil
	}
	if out.Before, err = judge(); err != nil {
		return nil, err
	}
	steps, err := passes.Run(ctx, g, []passes.Pass{*passes.Lookup("recalibrate-bn")}, passes.Options{Inputs: samples, Runner: Runner(ctx, max(1, o.Threads))})
	if err != nil {
		return nil, err
	}
	if out.Top1, err = judge(); err != nil {
		return nil, err
	}
	if o.Out == "" {
		return out, nil
	}
	for _, s := range steps {
		man.Passes = append(man.Passes, s.Name)
	}
	g.TidyNames()
	mod := &ir.Module{Graphs: []*ir.Graph{g}}
	if err := mod.Verify(); err != nil {
		return nil, fmt.Errorf("BUG: the recalibrated module is bad: %w", err)
	}
	return out, nascfile.Write(o.Out, mod, &man)
}
