package passes

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// normals draws inputs for a graph.
func normals(t *testing.T, g *ir.Graph, n int) [][]*ir.Tensor {
	t.Helper()
	s, err := ir.Specialize(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	var out [][]*ir.Tensor
	for range n {
		in := RandomInputs(s, r.Uint64())
		out = append(out, in)
	}
	return out
}

// A channel that is the sum of two others can go: the layer that read it reads
// these instead, once it is fitted, with or without a batch norm behind it.
func TestCorrectFindsWhatRemains(t *testing.T) {
	for _, text := range []string{
		`const @w: f32[3,3,2,4] = normal(1,1)
const @v: f32[1,1,4,3] = normal(2,1)
graph @main(%x: f32[N,6,6,2]) {
  %a = convolution %x @w padding=[1,1,1,1]
  %y = convolution %a @v
  return %y
}`,
		`const @w: f32[3,3,2,4] = normal(1,1)
const @v: f32[1,1,4,3] = normal(2,1)
const @s: f32[3] = [1,2,0.5]
const @o: f32[3] = [0.1,-2,3]
const @q: f32[3] = [1,4,2]
graph @main(%x: f32[N,6,6,2]) {
  %a = convolution %x @w padding=[1,1,1,1]
  %b = convolution %a @v
  %y = batch_norm_inference %b @s @o @o @q
  return %y
}`,
	} {
		g, err := ir.ParseGraph("t.ir", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := g.Nodes[0].Inputs[1].Const
		for i := 0; i < w.Len(); i += 4 {
			w.Set(i+3, w.At(i)+w.At(i+1))
		}
		o := PruneOptions{
			Cost: macs, Target: float64(g.MACs()) * 0.8, Criterion: "random", Scope: "global", Keep: 0.7, Seed: 5,
			Samples: normals(t, g, 20), Real: true,
		}
		gaps := map[bool]float64{}
		for _, o.Correct = range []bool{false, true} {
			p, rep, err := Prune(context.Background(), g, o)
			if err != nil {
				t.Fatal(err)
			}
			if gaps[o.Correct], err = Gap(context.Background(), g, p, nil, 1); err != nil {
				t.Fatal(err)
			}
			if o.Correct != (rep.Corrected == 1) || len(p.Nodes) != len(g.Nodes) {
				t.Errorf("%d layers fitted, %d nodes of %d", rep.Corrected, len(p.Nodes), len(g.Nodes))
			}
		}
		// One of three kept channels may be the sum: then the third is lost.
		if !(gaps[true] < gaps[false]/2) {
			t.Errorf("|Δ| %g without and %g with the fit", gaps[false], gaps[true])
		}
	}
}

// Fitting never breaks a network, whatever is in it, and refuses without data.
func TestCorrectAnyNetwork(t *testing.T) {
	moved := 0
	for seed := range uint64(60) {
		g, names := graphgen.Network(seed)
		if seed%4 == 3 {
			g, names = graphgen.New(graphgen.Config{Seed: seed}), nil
		}
		o := PruneOptions{
			Cost: macs, Target: 0.8 * float64(g.MACs()), Criterion: "l2", Scope: "global", Seed: seed,
			Samples: normals(t, g, 6), Real: true, Correct: true,
		}
		p, rep, err := Prune(context.Background(), g, o)
		if err != nil {
			continue // TestPruneAnyNetwork looks at refusals
		}
		moved += rep.Corrected
		if err := p.Verify(); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
		}
		s, err := ir.Specialize(p, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runAll(context.Background(), interpreter, s, [][]*ir.Tensor{RandomInputs(s, 1)}); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
		}
	}
	if moved < 30 {
		t.Errorf("only %d layers were fitted", moved)
	}
	g, _ := graphgen.Network(1)
	if _, _, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: 1, Criterion: "l2", Scope: "global", Correct: true}); err == nil {
		t.Error("fitted to no data")
	}
}

// Units that cost more for the same score go first, and what fits comes back.
func TestPrunePerCost(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @a: f32[3,3,1,8] = normal(1,1)
const @b: f32[1,1,8,8] = normal(2,1)
const @c: f32[8,4] = normal(3,1)
graph @main(%x: f32[N,12,12,1]) {
  %a = convolution %x @a padding=[1,1,1,1] activation="relu"
  %b = convolution %a @b strides=[4,4] activation="relu"
  %m = reduce_mean %b axes=[1,2] keep_dims=false
  %y = dot %m @c
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, per := range []bool{false, true} {
		o := PruneOptions{Cost: macs, Target: 0.6 * float64(g.MACs()), Criterion: "l1", Scope: "global", PerCost: per}
		_, rep, err := Prune(context.Background(), g, o)
		if err != nil {
			t.Fatal(err)
		}
		if per && rep.Groups[1].Is != 8 {
			t.Errorf("the cheap layer keeps %d of 8", rep.Groups[1].Is)
		}
		if next := rep.After + float64(g.MACs())/8; next <= o.Target {
			t.Errorf("%g of %g: there was room for more", rep.After, o.Target)
		}
	}
}
