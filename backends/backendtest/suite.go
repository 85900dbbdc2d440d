// Package backendtest is the suite that every target must pass: random graphs
// compared with the reference, and the promises of the interface (refused
// tensors, cancellation, concurrent runs). A target's test is one call of Run.
// It may import backends, ir and the generators.
package backendtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// Config says what a target promises.
type Config struct {
	Options backends.Options
	// Float and Quantized are the kinds of random graphs it is given.
	Float, Quantized bool
	// Rel is the tolerance of float results, relative to the largest of a
	// tensor; 0 means the same bits. Integer results are the same bits always.
	Rel float64
	// Graphs is the number of random graphs of each kind; 0 is 40.
	Graphs int
}

// Run runs the suite.
func Run(t *testing.T, target backends.Target, cfg Config) {
	if err := target.Available(); err != nil {
		t.Skipf("%s cannot run here: %v", target.Name(), err)
	}
	if cfg.Graphs == 0 {
		cfg.Graphs = 40
	}
	if cfg.Float {
		t.Run("float", func(t *testing.T) { random(t, target, cfg, false) })
	}
	if cfg.Quantized {
		t.Run("quantized", func(t *testing.T) { random(t, target, cfg, true) })
	}
	t.Run("interface", func(t *testing.T) { promises(t, target, cfg) })
}

// Reference gives what g computes by the interpreter.
func Reference(t testing.TB, g *ir.Graph, in []*ir.Tensor) []*ir.Tensor {
	t.Helper()
	r, err := eval.Run(context.Background(), g, in, eval.Options{})
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	return r.Outputs
}

func execute(t testing.TB, target backends.Target, o backends.Options, g *ir.Graph, in []*ir.Tensor) []*ir.Tensor {
	t.Helper()
	e, err := target.Compile(g, o)
	if err != nil {
		t.Fatalf("%s: compile: %v", target.Name(), err)
	}
	defer e.Close()
	out := backends.NewOutputs(g)
	if err := e.Run(context.Background(), in, out); err != nil {
		t.Fatalf("%s: run: %v", target.Name(), err)
	}
	return out
}

// Compare runs g on target and on the reference and fails where they differ.
func Compare(t *testing.T, target backends.Target, cfg Config, g *ir.Graph, in []*ir.Tensor) {
	t.Helper()
	want := Reference(t, g, in)
	got := execute(t, target, cfg.Options, g, in)
	if err := differ(got, want, cfg.Rel); err != nil {
		t.Errorf("%s: %v\n%s", target.Name(), err, g)
	}
}

func differ(got, want []*ir.Tensor, rel float64) error {
	for i := range want {
		err := difftest.Bits(got[i], want[i])
		if err != nil && rel > 0 && want[i].DType.IsFloat() {
			err = difftest.Close(got[i], want[i], rel, 1e-6)
		}
		if err != nil {
			return errors.New("output " + ir.Shape{i}.String() + ": " + err.Error())
		}
	}
	return nil
}

func random(t *testing.T, target backends.Target, cfg Config, quantized bool) {
	for seed := range uint64(cfg.Graphs) {
		g := graphgen.New(graphgen.Config{Seed: seed, Quantized: quantized})
		Compare(t, target, cfg, g, graphgen.Inputs(g, seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// promises tests what does not depend on the graph.
func promises(t *testing.T, target backends.Target, cfg Config) {
	g := graphgen.New(graphgen.Config{Seed: 3, Quantized: cfg.Quantized && !cfg.Float, Batch: 1})
	e, err := target.Compile(g, cfg.Options)
	if err != nil {
		t.Fatal(err)
	}
	in, out := graphgen.Inputs(g, 1), backends.NewOutputs(g)
	ctx := context.Background()

	if err := e.Run(ctx, in[:0], out); err == nil {
		t.Error("a run without inputs is not refused")
	}
	bad := append([]*ir.Tensor{ir.NewTensor(ir.F32, 1, 2, 3)}, in[1:]...)
	if err := e.Run(ctx, bad, out); err == nil || !strings.Contains(err.Error(), "[1,2,3]") {
		t.Errorf("an input of another shape: %v; wanted an error that names it", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.Run(done, in, out); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run gives %v", err)
	}

	want := make([][]*ir.Tensor, 4)
	for i := range want {
		want[i] = Reference(t, g, graphgen.Inputs(g, uint64(i)))
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			in, out := graphgen.Inputs(g, uint64(i)), backends.NewOutputs(g)
			for range 5 {
				if err := e.Run(ctx, in, out); err != nil {
					t.Error(err)
					return
				}
				if err := differ(out, want[i], cfg.Rel); err != nil {
					t.Errorf("run %d beside others: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()

	symbolic := ir.NewBuilder("symbolic")
	x := symbolic.Input("x", ir.T(ir.F32, ir.Batch, 4))
	sg, err := symbolic.Graph(symbolic.Op("relu", nil, x))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Compile(sg, cfg.Options); err == nil {
		t.Error("a symbolic batch is not refused")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
