package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/train"
)

// train does the work in order of what it says: the comparison at half of the
// MACs, the network without labels, a tenth of the parameters, then the rest of
// the curves.
func (b *bench) train(ctx context.Context) error {
	var second, last []task
	first := make([][]task, b.seeds) // by seed, so that what is done at any time can be compared
	held := ""
	if b.held > 0 {
		held = fmt.Sprint(" held ", b.held)
	}
	nets := append([]string{b.cifarNet}, b.models("cifar-")...)
	for _, path := range nets {
		what := name(path)
		if path == b.cifarNet {
			what = "cifar-whole"
		}
		compared := strings.HasSuffix(what, "-0.50") && what != "cifar-nasc-taylor-0.50" && what != "cifar-nasc-taylor-fit-0.50"
		seeds := min(b.curveSeeds, b.seeds)
		if compared {
			seeds = b.seeds
		}
		for seed := 1; seed <= seeds; seed++ {
			t := task{fmt.Sprintf("%s epochs %d lr %g%s seed %d", what, b.epochs, b.lr, held, seed), func(ctx context.Context) (*run, error) {
				return b.finetune(ctx, path, what, seed, false)
			}}
			if compared {
				first[seed-1] = append(first[seed-1], t)
			} else {
				last = append(last, t)
			}
		}
	}
	// Both sides' networks once more, with the whole one as teacher.
	for _, what := range []string{"cifar-nasc-l2-0.50", "cifar-torch-l2-0.50"} {
		for _, path := range b.models(what) {
			for seed := 1; seed <= b.seeds; seed++ {
				second = append(second, task{fmt.Sprintf("%s-distilled epochs %d lr %g%s seed %d", what, b.epochs, b.lr, held, seed), func(ctx context.Context) (*run, error) {
					return b.finetune(ctx, path, what+"-distilled", seed, true)
				}})
			}
		}
	}
	for _, path := range b.models("lite0-") {
		second = append(second, task{fmt.Sprintf("%s epochs %d lr %g", name(path), b.distillEpochs, b.distillLR), func(ctx context.Context) (*run, error) { return b.distill(ctx, path) }})
	}
	for seed := 1; seed <= b.curveSeeds; seed++ {
		second = append(second, task{fmt.Sprintf("tenfold-cifar epochs %d seed %d", b.tenfoldEpochs, seed), func(ctx context.Context) (*run, error) { return b.tenfoldCIFAR(ctx, seed) }})
		if b.mnist != "" {
			second = append(second, task{fmt.Sprintf("tenfold-mnist epochs %d seed %d", b.tenfoldEpochs, seed), func(ctx context.Context) (*run, error) { return b.tenfoldMNIST(ctx, seed) }})
		}
	}
	return b.each(ctx, slices.Concat(slices.Concat(first...), second, last), b.jobs)
}

// opened is a network in the form that is trained.
type opened struct {
	g  *ir.Graph
	pp *nascfile.Preprocess
}

func open(ctx context.Context, path string) (*opened, error) {
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, err
	}
	g, err := nasc.Trainable(ctx, m)
	if err != nil {
		return nil, err
	}
	// The weights may be a view of the file.
	for _, v := range g.Constants() {
		v.Const = v.Const.Clone()
	}
	return &opened{g, m.Manifest.Preprocess}, m.Close()
}

func (o *opened) feed(arg string) (*data.Feed, error) {
	return data.OpenFeed(arg, o.g.Inputs, o.pp)
}

// scored runs a network on data, in float.
func (o *opened) scored(ctx context.Context, g *ir.Graph, arg string) (*nasc.Score, error) {
	f, err := o.feed(arg)
	if err != nil {
		return nil, err
	}
	return nasc.Evaluate(ctx, g, "cpu-f32", f, true, nil)
}

// cifarData is what is fine-tuned on and what judges.
func (b *bench) cifarData() (train, test string) {
	train, test = "cifar10:"+b.cifar+"/train.bin.gz", "cifar10:"+b.cifar+"/test.bin.gz"
	if b.held == 0 {
		return train, test
	}
	const pictures = 10000
	return fmt.Sprintf("%s[0:%d]", train, pictures-b.held), fmt.Sprintf("%s[%d:%d]", train, pictures-b.held, pictures)
}

// recipe is the fine-tuning on CIFAR, the same for every network.
func (b *bench) recipe(seed int) train.Config {
	c := train.Default()
	c.Epochs, c.Batch, c.Optimizer, c.LR, c.Schedule, c.Seed = b.epochs, 128, "sgd", b.lr, "cosine", uint64(seed)
	c.Hyper.WeightDecay = 5e-4
	c.Augment.Flip, c.Augment.Crop = true, 4
	return c
}

func (b *bench) finetune(ctx context.Context, path, what string, seed int, taught bool) (*run, error) {
	begun := time.Now()
	o, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	train, test := b.cifarData()
	was, err := o.scored(ctx, o.g, test)
	if err != nil {
		return nil, err
	}
	var g *ir.Graph
	if b.epochs == 0 {
		g, err = o.recalibrated(ctx, "cifar10:"+b.cifar+"/train.bin.gz[0:200]")
	} else {
		var teacher *ir.Graph
		if taught {
			whole, err := open(ctx, b.cifarNet)
			if err != nil {
				return nil, err
			}
			teacher = whole.g
		}
		g, err = o.trained(ctx, train, b.recipe(seed), teacher)
	}
	if err != nil {
		return nil, err
	}
	now, err := o.scored(ctx, g, test)
	if err != nil {
		return nil, err
	}
	m := &nasc.Model{Path: what, Module: &ir.Module{Graphs: []*ir.Graph{g.Clone()}}, Manifest: &nascfile.Manifest{Preprocess: o.pp}}
	c, err := nasc.Compile(ctx, m, nasc.CompileOptions{Target: "cpu-int8", Calib: "cifar10:" + b.cifar + "/train.bin.gz[0:200]", Eval: test, Seed: 1, Threads: 1})
	if err != nil {
		return nil, err
	}
	return &run{Model: what, Seed: seed, Params: g.Params(), MACs: g.MACs(), Pruned: was.Top1, Tuned: now.Top1, Int8: c.Top1, Seconds: time.Since(begun).Seconds()}, nil
}

// trained gives the network after a training.
func (o *opened) trained(ctx context.Context, arg string, c train.Config, teacher *ir.Graph) (*ir.Graph, error) {
	n, err := train.New(o.g)
	if err != nil {
		return nil, err
	}
	j := &train.Job{Config: c, Network: n, Preprocess: o.pp, Threads: 1}
	if j.Data, err = o.feed(arg); err != nil {
		return nil, err
	}
	if teacher != nil {
		j.Teacher = &train.Teacher{Graph: teacher}
	}
	r, err := j.Run(ctx)
	if err != nil {
		return nil, err
	}
	return r.Graph, nil
}

// agreement is the share of samples on which two networks answer alike.
func agreement(a, b *nasc.Score) float64 {
	same := 0
	for i, x := range a.Outputs {
		if nasc.ArgMax(x) == nasc.ArgMax(b.Outputs[i]) {
			same++
		}
	}
	return float64(same) / float64(max(1, len(a.Outputs)))
}

// distill trains a network pruned without labels towards the whole one, on the
// 100 pictures of its split, and judges both on the others.
func (b *bench) distill(ctx context.Context, path string) (*run, error) {
	begun := time.Now()
	what := name(path)
	split, err := strconv.Atoi(what[strings.LastIndex(what, "-s")+2:])
	if err != nil {
		return nil, &diag.Error{Place: path, Found: "no split in its name", Wanted: "…-s1"}
	}
	calib, rest, err := b.split(split)
	if err != nil {
		return nil, err
	}
	whole, err := open(ctx, b.liteNet)
	if err != nil {
		return nil, err
	}
	o, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	want, err := whole.scored(ctx, whole.g, "images:"+rest)
	if err != nil {
		return nil, err
	}
	was, err := o.scored(ctx, o.g, "images:"+rest)
	if err != nil {
		return nil, err
	}
	r := &run{Model: what, Seed: split, Params: o.g.Params(), MACs: o.g.MACs(), Pruned: was.Top1, AgreePruned: agreement(want, was)}
	anew, err := o.recalibrated(ctx, "images:"+calib)
	if err != nil {
		return nil, err
	}
	now, err := o.scored(ctx, anew, "images:"+rest)
	if err != nil {
		return nil, err
	}
	r.Tuned, r.AgreeNorms = now.Top1, agreement(want, now)
	if b.distillEpochs > 0 {
		c := train.Default()
		c.Epochs, c.Batch, c.LR, c.Schedule, c.Seed = b.distillEpochs, 20, b.distillLR, "cosine", uint64(split)
		c.Options.FreezeNorm = true // 100 pictures say little of statistics
		c.Augment.Flip, c.Augment.Crop = true, 8
		c.Distill = train.Distill{Mode: "logits", Weight: 1, Temperature: 2}
		if !strings.Contains(what, "-fit-") { // those are where they gave what the whole one gives
			o.g = anew
		}
		g, err := o.trained(ctx, "images:"+calib, c, whole.g)
		if err != nil {
			return nil, err
		}
		if now, err = o.scored(ctx, g, "images:"+rest); err != nil {
			return nil, err
		}
		r.Tuned, r.AgreeTuned = now.Top1, agreement(want, now)
	}
	r.Seconds = time.Since(begun).Seconds()
	return r, nil
}

// recalibrated is the network with its batch norms measured anew.
func (o *opened) recalibrated(ctx context.Context, arg string) (*ir.Graph, error) {
	f, err := o.feed(arg)
	if err != nil {
		return nil, err
	}
	var in [][]*ir.Tensor
	for i := range f.Len() {
		x, err := f.At(i)
		if err != nil {
			return nil, err
		}
		in = append(in, x)
	}
	g := o.g.Clone()
	_, err = passes.Run(ctx, g, []passes.Pass{*passes.Lookup("recalibrate-bn")}, passes.Options{Inputs: in, Runner: nasc.Runner(ctx, 1)})
	return g, err
}

// tenfold prunes to a tenth of the parameters in rounds with distillation.
func (b *bench) tenfold(ctx context.Context, path, arg, test string, pp *nascfile.Preprocess, seed, epochs int) (*run, error) {
	begun := time.Now()
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.Manifest.Preprocess == nil {
		m.Manifest.Preprocess = pp
	}
	c := train.Default()
	c.Epochs, c.Batch, c.Optimizer, c.LR, c.Schedule = epochs, 128, "sgd", 0.05, "cosine"
	c.Hyper.WeightDecay = 5e-4
	c.Augment.Crop = 2
	if strings.HasPrefix(arg, "cifar10:") {
		c.Augment.Flip, c.Augment.Crop = true, 4
	}
	out := filepath.Join(b.dir, fmt.Sprintf("tenfold-%s-%d.nasc", name(path), seed))
	r, err := nasc.Prune(ctx, m, nasc.PruneOptions{
		Goal: "params", Amount: "0.1x", Target: "cpu-int8", Threads: 1, Data: arg, Samples: 400, Eval: test, Criterion: "taylor", Scope: "global", PerCost: true,
		Rounds: 3, Finetune: nasc.FinetuneOptions{Config: c, Teach: true}, Seed: uint64(seed), Out: out,
	})
	if err != nil {
		return nil, err
	}
	return &run{
		Model: name(path), Seed: seed, Params: r.After.Params, MACs: r.After.MACs, Pruned: r.Judged.Top1Whole, Tuned: r.Judged.Top1, AgreeTuned: r.Judged.Agreement,
		Seconds: time.Since(begun).Seconds(), Note: fmt.Sprintf("%d of %d parameters", r.After.Params, r.Before.Params),
	}, nil
}

func (b *bench) tenfoldCIFAR(ctx context.Context, seed int) (*run, error) {
	epochs := b.tenfoldEpochs
	if epochs == 0 {
		epochs = 5
	}
	return b.tenfold(ctx, b.cifarNet, "cifar10:"+b.cifar+"/train.bin.gz", "cifar10:"+b.cifar+"/test.bin.gz", nil, seed, epochs)
}

// tenfoldMNIST trains a ResNet on MNIST first.
func (b *bench) tenfoldMNIST(ctx context.Context, seed int) (*run, error) {
	arch := filepath.Join(b.dir, "mnist-resnet.toml")
	if err := os.WriteFile(arch, mnistNet, 0o644); err != nil {
		return nil, err
	}
	m, err := nasc.Open(arch, nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	m.Manifest.Preprocess = data.Assume(m.Graph().Inputs[0].Type)
	c := train.Default()
	c.Epochs, c.Batch, c.Optimizer, c.LR, c.Schedule, c.Seed = 3, 128, "sgd", 0.1, "cosine", uint64(seed)
	c.Hyper.WeightDecay = 5e-4
	c.Augment.Crop = 2
	whole := filepath.Join(b.dir, fmt.Sprintf("mnist-resnet-%d.nasc", seed))
	if _, err := os.Stat(whole); err != nil {
		if _, err := nasc.Train(ctx, m, nasc.TrainOptions{Config: withTarget(c), Out: whole, Data: "mnist:" + b.mnist + "[0:20000]", Reinit: true, Threads: 1, Preprocess: m.Manifest.Preprocess, Resume: true}); err != nil {
			return nil, err
		}
	}
	epochs := b.tenfoldEpochs
	if epochs == 0 {
		epochs = 2
	}
	return b.tenfold(ctx, whole, "mnist:"+b.mnist+"[0:20000]", "mnist:"+b.mnist+"[60000:]", m.Manifest.Preprocess, seed, epochs)
}

func withTarget(c train.Config) train.Config {
	c.Target = "cpu-f32"
	return c
}
