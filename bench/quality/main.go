// Command quality measures what quantization costs a model: it calibrates on
// some samples, compares the int8 graph with the float graph on others, for
// several seeded splits, and prints a table.
//
//	go run ./bench/quality -model efficientnet_lite0.onnx -data images:labels.tsv -calib 100
//	go run ./bench/quality -model cifar_resnet20.onnx -data cifar10:train.bin.gz -test cifar10:test.bin.gz -calib 100
//	go run ./bench/quality -model minilm.onnx -stsb DIR -calib 100
//
// Without -test, a split calibrates on part of -data and evaluates on the rest.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/quant"
)

var (
	model   = flag.String("model", "", "the .onnx or .toml model")
	dataArg = flag.String("data", "", "DATA to calibrate on, and to evaluate on but for -test")
	testArg = flag.String("test", "", "DATA to evaluate on")
	stsb    = flag.String("stsb", "", "folder of sentence pairs: an embedding model is measured by Spearman's rho")
	calib   = flag.Int("calib", 100, "samples to calibrate on")
	splits  = flag.Int("splits", 5, "how many seeded splits")
	first   = flag.Uint64("seed", 1, "seed of the first split")
	limit   = flag.Int("limit", 0, "evaluate on at most this many samples (0: all)")
	threads = flag.Int("threads", 2, "threads of calibration")
	method  = flag.String("method", "", "ranges: minmax, average, percentile, entropy, mse (default)")
	round   = flag.String("rounding", "", "weights: gptq (default), nearest, adaround")
	smooth  = flag.Float64("smooth", 0, "SmoothQuant's alpha (0: the default, -1: off)")
	noEq    = flag.Bool("no-equalize", false, "no cross-layer equalization")
	noCorr  = flag.Bool("no-correction", false, "no bias correction")
	floatAt = flag.Bool("float-attention", false, "keep products of two activations in f32")
	dynamic = flag.Bool("dynamic", false, "dense layers find a scale for each row while they run")
	damp    = flag.Float64("damp", 0, "damping of second-order rounding")
	float   = flag.String("float", "", "nodes to keep in f32, with commas; a trailing * stands for any ending")
	layers  = flag.Bool("layers", false, "print every layer")
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

// subset is some samples of a feed.
type subset struct {
	nasc.Samples
	index []int
}

func (s subset) Len() int                       { return len(s.index) }
func (s subset) At(i int) ([]*ir.Tensor, error) { return s.Samples.At(s.index[i]) }
func (s subset) Labelled(i int) ([]*ir.Tensor, int, error) {
	return s.Samples.(*data.Feed).Labelled(s.index[i])
}

func run(ctx context.Context) error {
	if *model == "" || *dataArg == "" && *stsb == "" {
		flag.Usage()
		return fmt.Errorf("-model and -data (or -stsb) are wanted")
	}
	if *stsb != "" {
		return embeddings(ctx)
	}
	g, m, err := open(ctx, nil)
	if err != nil {
		return err
	}
	feed := func(arg string) (*data.Feed, error) {
		return data.OpenFeed(arg, g.Inputs, m.Manifest.Preprocess)
	}
	cal, err := feed(*dataArg)
	if err != nil {
		return err
	}
	test := cal
	if *testArg != "" {
		if test, err = feed(*testArg); err != nil {
			return err
		}
	}
	fmt.Printf("| split | int8 MAC share | agreement %% | SQNR dB | top-1 f32 %% | top-1 int8 %% | drop | quantize s |\n|---|---|---|---|---|---|---|---|\n")
	var mean [5]float64
	for k := range *splits {
		seed := *first + uint64(k)
		perm := rand.New(rand.NewPCG(seed, 0)).Perm(cal.Len())
		n := min(*calib, len(perm))
		held := perm[n:]
		if *testArg != "" {
			held = rand.New(rand.NewPCG(seed, 0)).Perm(test.Len())
		}
		if *limit > 0 {
			held = held[:min(*limit, len(held))]
		}
		slices.Sort(held)
		q, rep, took, err := quantize(g, subset{cal, perm[:n]})
		if err != nil {
			return err
		}
		f, err := outputs(ctx, g, subset{test, held})
		if err != nil {
			return err
		}
		i, err := outputs(ctx, q, subset{test, held})
		if err != nil {
			return err
		}
		row := [5]float64{100 * agreement(f, i), sqnr(f, i), 100 * f.Top1, 100 * i.Top1, 100 * (f.Top1 - i.Top1)}
		for j := range row {
			mean[j] += row[j] / float64(*splits)
		}
		fmt.Printf("| %d (%d) | %.4f | %.2f | %.2f | %.2f | %.2f | %.2f | %.1f |\n", seed, len(held), rep.Int8MACShare(), row[0], row[1], row[2], row[3], row[4], took.Seconds())
	}
	fmt.Printf("| mean | | %.2f | %.2f | %.2f | %.2f | %.2f | |\n", mean[0], mean[1], mean[2], mean[3], mean[4])
	return nil
}

// open reads the model and brings it to the form that Quantize wants.
func open(ctx context.Context, shapes map[string]ir.Shape) (*ir.Graph, *nasc.Model, error) {
	var sets []map[string]ir.Shape
	if shapes != nil {
		sets = append(sets, shapes)
	}
	m, err := nasc.Open(*model, sets)
	if err != nil {
		return nil, nil, err
	}
	g := m.Graph().Clone()
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return nil, nil, err
	}
	return g, m, nil
}

func quantize(g *ir.Graph, calib passes.Samples) (*ir.Graph, *passes.QuantReport, time.Duration, error) {
	start := time.Now()
	policy := passes.Policy{Layers: map[string]string{}}
	for name := range strings.SplitSeq(*float, ",") {
		if name != "" {
			policy.Layers[name] = "f32"
		}
	}
	q, rep, err := passes.Quantize(g, passes.QuantizeOptions{
		Calib: calib, Run: nasc.Runner(context.Background(), *threads), Method: quant.Method(*method), Rounding: passes.Rounding(*round),
		Smooth: *smooth, NoEqualize: *noEq, NoCorrection: *noCorr, FloatAttention: *floatAt, Dynamic: *dynamic, Damp: *damp, Policy: policy,
	})
	if err == nil && *layers {
		for _, l := range rep.Layers {
			fmt.Fprintf(os.Stderr, "%-40s %-12s int8=%-5v %6.2f dB %s\n", l.Name, l.Op, l.Int8, l.SQNR, l.Reason)
		}
	}
	return q, rep, time.Since(start), err
}

func outputs(ctx context.Context, g *ir.Graph, s nasc.Samples) (*nasc.Score, error) {
	target := "cpu-f32"
	if nasc.Quantized(g) {
		target = "cpu-int8"
	}
	return nasc.Evaluate(ctx, g, target, s, true, nil)
}

func sqnr(a, b *nasc.Score) float64 {
	var signal, noise float64
	for i, t := range a.Outputs {
		for j, v := range t.F32() {
			d := float64(v) - float64(b.Outputs[i].F32()[j])
			signal += float64(v) * float64(v)
			noise += d * d
		}
	}
	return 10 * math.Log10(signal/noise)
}

func agreement(a, b *nasc.Score) float64 {
	same := 0
	for i, t := range a.Outputs {
		if argmax(t.F32()) == argmax(b.Outputs[i].F32()) {
			same++
		}
	}
	return float64(same) / float64(len(a.Outputs))
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
