package nasc

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/train"
)

// FinetuneOptions are those of the training after a round of pruning. The
// network that is pruned is the teacher where Teach is set.
type FinetuneOptions struct {
	train.Config // Epochs 0: none
	Teach        bool
	Report       func(round, epoch int, e train.Epoch)
}

// preprocess is how pictures become the input.
func (o *PruneOptions) preprocess(m *Model) *nascfile.Preprocess {
	if o.Preprocess != nil {
		return o.Preprocess
	}
	return m.Manifest.Preprocess
}

func (o *PruneOptions) feed(m *Model, g *ir.Graph, arg string) (*data.Feed, error) {
	s, err := data.Open(arg)
	if err != nil {
		return nil, err
	}
	return data.NewFeed(s, g.Inputs, o.preprocess(m))
}

// finetuneFlags are the names that a training's flags have here.
var finetuneFlags = strings.NewReplacer(
	"--lr, --warmup or --clip", "--finetune-lr", "--lr", "--finetune-lr", "--batch", "--finetune-batch", "--optimizer", "--finetune-optimizer",
	"--epochs", "--finetune-epochs", "--distill-weight", "--distill-weight", "--distill", "--distill-mode",
)

// asFinetuning makes of a training's errors those of a fine-tuning.
func asFinetuning(err error) error {
	switch e := err.(type) {
	case *diag.Error:
		c := *e
		c.Place, c.Fix = finetuneFlags.Replace(e.Place), finetuneFlags.Replace(e.Fix)
		return diag.At("fine-tuning", &c)
	case interface{ Unwrap() []error }:
		var l diag.List
		for _, x := range e.Unwrap() {
			l.Add(asFinetuning(x))
		}
		return l.Err()
	}
	return diag.At("fine-tuning", err)
}

// job is the training of g after a round; whole is the network before pruning.
func (o *PruneOptions) job(m *Model, whole, g *ir.Graph) (*train.Job, error) {
	n, err := train.New(g)
	if err != nil {
		return nil, err
	}
	cfg := o.Finetune.Config
	cfg.Seed, cfg.KeepZeros = o.Seed, o.Mask != "" || m.Masked()
	j := &train.Job{Config: cfg, Network: n, Preprocess: o.preprocess(m), Threads: max(1, o.Threads)}
	if o.Finetune.Teach {
		j.Teacher = &train.Teacher{Graph: whole}
	}
	j.Data, err = o.feed(m, g, o.Data)
	return j, err
}

// rehearse refuses settings and samples that no fine-tuning takes, before
// anything is pruned.
func (o *PruneOptions) rehearse(ctx context.Context, m *Model, g *ir.Graph) error {
	j, err := o.job(m, g, g)
	if err == nil {
		err = j.Check(ctx)
	}
	return asFinetuning(err)
}

// finetune trains what a round left; whole is the network before pruning.
func (o *PruneOptions) finetune(ctx context.Context, m *Model, whole, g *ir.Graph, round int, r *PruneRound) (*ir.Graph, error) {
	j, err := o.job(m, whole, g)
	if err != nil {
		return nil, asFinetuning(err)
	}
	j.Warn = o.Warn
	stage := "fine-tune"
	if o.Rounds > 1 {
		stage = fmt.Sprintf("fine-tune, round %d of %d", round, o.Rounds)
	}
	j.Progress = func(done, total int) { o.Progress(stage, done, total) }
	if o.Finetune.Report != nil {
		j.Report = func(epoch int, e train.Epoch) { o.Finetune.Report(round, epoch, e) }
	}
	res, err := j.Run(ctx)
	if err != nil {
		return nil, asFinetuning(err)
	}
	last := res.Epochs[len(res.Epochs)-1]
	r.Loss, r.Top1 = last.Loss, last.Top1
	return res.Graph, nil
}

// Judged is what two networks make of the same samples.
type Judged struct {
	Samples   int     `json:"n"`
	Top1      float64 `json:"top1,omitempty"` // of the pruned network
	Top1Whole float64 `json:"top1_before,omitempty"`
	Agreement float64 `json:"agreement"`
	SQNR      float64 `json:"sqnr_db"`
}

// judge runs the network before and after on data.
func (o *PruneOptions) judge(ctx context.Context, m *Model, before, after *ir.Graph) (*Judged, error) {
	f, err := o.feed(m, before, o.Eval)
	if err != nil {
		return nil, err
	}
	var scores [2]*Score
	for i, g := range []*ir.Graph{before, after} {
		if scores[i], err = Evaluate(ctx, g, "cpu-f32", f, true, func(done, total int) { o.Progress("evaluate", done, total) }); err != nil {
			return nil, err
		}
	}
	j := &Judged{Samples: scores[0].N, Top1: scores[1].Top1, Top1Whole: scores[0].Top1}
	same, signal, noise := 0, 0.0, 0.0
	for i, x := range scores[0].Outputs {
		y := scores[1].Outputs[i]
		if ArgMax(x) == ArgMax(y) {
			same++
		}
		for k := range x.Len() {
			d := x.At(k) - y.At(k)
			signal += x.At(k) * x.At(k)
			noise += d * d
		}
	}
	j.Agreement = float64(same) / float64(max(1, j.Samples))
	if j.SQNR = 200; noise > 0 {
		j.SQNR = 10 * math.Log10(signal/noise)
	}
	return j, nil
}
