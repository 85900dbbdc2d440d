package passes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Promise says what a pass keeps of the graph's function.
type Promise uint8

// The promises. Exact: the same bits from the interpreter. Close: within
// Tolerance of the output's largest magnitude in f32, since arithmetic was
// merged or reordered. Changes: the function is another one. Keeps: the network
// is another one, its function the same within KeptTolerance.
const (
	Exact Promise = iota + 1
	Close
	Changes
	Keeps
)

// Tolerance is what Close promises, relative to the greatest |output|.
const Tolerance = 1e-4

func (p Promise) String() string { return [...]string{"", "exact", "close", "changes", "keeps"}[p] }

// Pass is one row of the list: it rewrites a graph in place and says whether
// it did anything.
type Pass struct {
	Name    string
	Doc     string
	Promise Promise
	Run     func(g *ir.Graph, a Args) (changed bool, err error)
	// Slow takes the place of Run in passes that take seconds.
	Slow func(ctx context.Context, g *ir.Graph, a Args, progress func(done, total int)) (changed bool, err error)
	// Grow takes the place of Run in transforms, which are always checked.
	Grow func(g *ir.Graph, a Args) (*Grown, error)
	// Measure takes the place of Run in passes that need data: Options.Inputs.
	Measure func(g *ir.Graph, samples [][]*ir.Tensor, run Runner) (changed bool, err error)
	Takes   []string // the arguments it takes
	After   []string // passes that must come earlier in the default pipeline, with reasons in the list
	// Optional passes run where they are named only: what is good for one
	// target is bad for another.
	Optional bool
	// Args are those given for this run; see Parse.
	Args Args
}

// node is the argument of passes that can be kept to one node.
var node = []string{"node"}

// whole makes a pass without arguments.
func whole(f func(g *ir.Graph) (bool, error)) func(*ir.Graph, Args) (bool, error) {
	return func(g *ir.Graph, _ Args) (bool, error) { return f(g) }
}

func removeDead(g *ir.Graph) (bool, error) { return g.RemoveDead(), nil }

// List is every pass, in the order of the default pipeline (Default), and the
// transforms.
var List = slices.Concat([]Pass{
	{Name: "remove-identity", Doc: "ops that give their operand back", Promise: Exact, Run: whole(removeIdentity)},
	{Name: "fold-constants", Doc: "ops on constants only", Promise: Exact, Run: whole(foldConstants)},
	{Name: "fold-shapes", Doc: "chains of reshapes, transposes and broadcasts", Promise: Exact, Run: whole(foldShapes)},
	{Name: "recognize-clamp", Doc: "maximum and minimum with numbers, one after the other", Promise: Exact, Run: recognizeClamp, Takes: node},
	{Name: "recognize-hard-swish", Doc: "hard sigmoid, hard swish and SiLU written out", Promise: Close, Run: recognizeSwish, Takes: node},
	{Name: "recognize-softmax", Doc: "softmax written out", Promise: Close, Run: recognizeSoftmax, Takes: node},
	{Name: "recognize-gelu", Doc: "GELU written out with erf", Promise: Close, Run: recognizeGelu, Takes: node},
	{Name: "recognize-layer-norm", Doc: "layer norm and RMS norm written out", Promise: Close, Run: recognizeLayerNorm, Takes: node},
	// Before fold-pad, fold-bn and fuse-bias: these look at the last axis.
	{Name: "layout", Doc: "NCHW transposes down and away", Promise: Close, Run: whole(layout), After: []string{"fold-constants", "fold-shapes"}},
	{Name: "recognize-dense", Doc: "products with a constant matrix to dense layers", Promise: Exact, Run: recognizeDense, Takes: node, After: []string{"fold-constants", "layout"}},
	{Name: "fuse-qdq", Doc: "quantize-dequantize models to quantized ops", Promise: Changes, Run: whole(fuseQDQ), After: []string{"layout"}},
	{Name: "fold-tables", Doc: "tables that follow each other", Promise: Exact, Run: foldTables},
	{Name: "fold-pad", Doc: "padding into convolutions and pools", Promise: Exact, Run: foldPad, Takes: node, After: []string{"layout"}},
	{Name: "fold-bn", Doc: "batch norm into the weights before it", Promise: Close, Run: foldBN, Takes: node, After: []string{"layout", "fold-pad"}},
	{Name: "fuse-bias", Doc: "constant factors and summands per channel into weights and bias", Promise: Close, Run: fuseBias, Takes: node, After: []string{"fold-bn"}},
	// After these two: a factor goes rather into the weights before it.
	{Name: "fold-scale", Doc: "constant factors and summands per channel into the weights after them", Promise: Close, Run: foldScale, Takes: node, After: []string{"fold-bn", "fuse-bias"}},
	{Name: "fuse-activation", Doc: "ReLU and clip onto convolutions and dense layers", Promise: Exact, Run: fuseActivation, Takes: node, After: []string{"fuse-bias", "fold-bn"}},
	{Name: "recognize-attention", Doc: "scaled dot-product attention written out", Promise: Close, Run: recognizeAttention, Takes: node, After: []string{"layout"}, Optional: true},
	{Name: "winograd", Doc: "3×3 convolutions of stride 1 by Winograd's algorithms where that is faster, or tile=2, 4 or 0 for all", Promise: Close, Run: winograd, Takes: []string{"node", "tile"}, Optional: true},
	{Name: "cse", Doc: "equal ops on equal operands once", Promise: Exact, Run: whole(cse)},
	{Name: "remove-dead", Doc: "ops nobody reads", Promise: Exact, Run: whole(removeDead)},
}, transforms, shrinking, measuring)

// Default is the list without the optional passes.
func Default() []Pass {
	return slices.DeleteFunc(slices.Clone(List), func(p Pass) bool { return p.Optional })
}

// checkOrder reports rows of the list that come before what they need.
func checkOrder(list []Pass) error {
	seen := map[string]bool{}
	for _, p := range list {
		for _, a := range p.After {
			if !seen[a] {
				return fmt.Errorf("pass %s must come after %s", p.Name, a)
			}
		}
		seen[p.Name] = true
	}
	return nil
}

// Lookup finds a pass by name; nil if there is none.
func Lookup(name string) *Pass {
	for i := range List {
		if List[i].Name == name {
			return &List[i]
		}
	}
	return nil
}

// Names lists the passes in pipeline order.
func Names() []string {
	out := make([]string, len(List))
	for i, p := range List {
		out[i] = p.Name
	}
	return out
}

// Options of a run of passes.
type Options struct {
	// VerifyEach runs the interpreter before and after every pass that
	// changed something, on seeded random inputs.
	VerifyEach bool
	// DumpAfter names passes whose result is printed to Dump; "all" and
	// "changed" stand for many.
	DumpAfter []string
	Dump      io.Writer
	// Disable lists passes to leave out.
	Disable []string
	// Inputs are what a transform is checked on, instead of random numbers, for
	// the graph at the batch they have; Unchecked leaves the check to the caller.
	Inputs    [][]*ir.Tensor
	Unchecked bool
	// Difference says by how much each pass that changes the function has done
	// so: on Inputs where there are any, by Runner.
	Difference bool
	// Runner runs the graphs of passes that measure [the interpreter].
	Runner Runner
	// Progress says how far a slow pass is, or the interpreter that checks one.
	Progress func(stage string, done, total int)
	// ReproDir, where set, gets a file with the graph that a failing pass was
	// given: PASS.repro.nasc.
	ReproDir string
}

// Step is what one pass did.
type Step struct {
	Name    string
	Changed bool
	Nodes   int // after it
	Took    time.Duration
	// MaxAbs is the greatest difference that VerifyEach or Difference saw, relative
	// to the greatest |output| (of transforms: to 1 where that is less); −1 where it
	// was not run.
	MaxAbs float64
	// Places and Refused are where a transform changed the network, and where it
	// could not.
	Places  []string  `json:",omitempty"`
	Refused []Refusal `json:",omitempty"`
}

// Run applies passes in order, with the verifier after each. The graph is
// rewritten in place; after an error it must not be used.
func Run(ctx context.Context, g *ir.Graph, list []Pass, o Options) ([]Step, error) {
	var steps []Step
	for _, p := range list {
		if slices.Contains(o.Disable, p.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return steps, err
		}
		var before *ir.Graph
		if o.VerifyEach || o.ReproDir != "" || p.Grow != nil || o.Difference && p.Promise == Changes {
			before = g.Clone()
		}
		s, err := runOne(ctx, g, before, p, o)
		if err != nil {
			return steps, diag.At("pass "+p.Name, o.repro(before, p, err))
		}
		changed := s.Changed
		steps = append(steps, s)
		if o.Dump != nil && (slices.Contains(o.DumpAfter, p.Name) || slices.Contains(o.DumpAfter, "all") || changed && slices.Contains(o.DumpAfter, "changed")) {
			fmt.Fprintf(o.Dump, "# after %s\n%s\n", p.Name, g.Body())
		}
	}
	return steps, nil
}

// runOne applies one pass, with the verifier and what o asks for after it.
func runOne(ctx context.Context, g, before *ir.Graph, p Pass, o Options) (Step, error) {
	if err := p.Args.check(g); err != nil {
		return Step{}, err
	}
	start := time.Now()
	if p.Grow != nil {
		grown, worst, err := p.grow(ctx, g, before, o)
		if err != nil {
			return Step{}, err
		}
		return Step{Name: p.Name, Changed: len(grown.Places) > 0, Took: time.Since(start), Nodes: len(g.Nodes), MaxAbs: worst, Places: grown.Places, Refused: grown.Refused}, nil
	}
	run := p.Run
	if p.Slow != nil {
		run = func(g *ir.Graph, a Args) (bool, error) { return p.Slow(ctx, g, a, o.progress(p.Name)) }
	}
	if p.Measure != nil {
		run = func(g *ir.Graph, _ Args) (bool, error) {
			if len(o.Inputs) == 0 {
				return false, &diag.Error{Place: p.Name, Found: "no data", Wanted: "samples of the model's inputs", Fix: "give --data DATA and --samples N"}
			}
			return p.Measure(g, o.Inputs, o.runner())
		}
	}
	changed, err := run(g, p.Args)
	s := Step{Name: p.Name, Changed: changed, Took: time.Since(start), MaxAbs: -1}
	if err != nil {
		return s, err
	}
	if changed {
		g.RemoveDead()
	}
	if err := g.Verify(); err != nil {
		return s, diag.At("left a bad graph", err)
	}
	if o.Difference && p.Promise == Changes && changed {
		if s.MaxAbs, err = o.difference(before, g); err != nil {
			return s, err
		}
	} else if o.VerifyEach && changed {
		if s.MaxAbs, err = validate(ctx, before, g, p.Promise, o.progress("check "+p.Name)); err != nil {
			return s, err
		}
	}
	s.Nodes = len(g.Nodes)
	return s, nil
}

func (o Options) runner() Runner {
	if o.Runner == nil {
		return interpreter
	}
	return o.Runner
}

// progress tells of one stage.
func (o Options) progress(stage string) func(done, total int) {
	if o.Progress == nil {
		return func(int, int) {}
	}
	return func(done, total int) { o.Progress(stage, done, total) }
}

// repro keeps the graph that made a pass fail and says in the error where.
func (o Options) repro(before *ir.Graph, p Pass, err error) error {
	if o.ReproDir == "" {
		return err
	}
	path := filepath.Join(o.ReproDir, p.Name+".repro.nasc")
	m := &ir.Module{Graphs: []*ir.Graph{before}}
	man := &nascfile.Manifest{Producer: "nasc", Source: "the graph that pass " + p.Name + " failed on", Passes: []string{p.Name}}
	if werr := nascfile.Write(path, m, man); werr != nil {
		return errors.Join(err, werr)
	}
	return &diag.Error{Err: err, Fix: "report it with " + path + "; nasc opt " + path + " --passes " + p.Name + " --verify-each repeats it"}
}

// maxRounds bounds how often the default pipeline runs: passes make work for
// each other, and two rounds have been enough for every model seen.
const maxRounds = 4

// Canonicalize brings a graph to the form that quantization and targets want:
// the default pipeline, until nothing changes.
func Canonicalize(ctx context.Context, g *ir.Graph, o Options) ([]Step, error) {
	var all []Step
	list := Default()
	if Simulates(g) { // canonical already, and what merges factors would change bits
		list = []Pass{*Lookup("cse"), *Lookup("remove-dead")}
	}
	for range maxRounds {
		steps, err := Run(ctx, g, list, o)
		all = append(all, steps...)
		if err != nil {
			return all, err
		}
		if !slices.ContainsFunc(steps, func(s Step) bool { return s.Changed }) {
			break
		}
	}
	return all, nil
}
