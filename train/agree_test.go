package train

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// TestGomlxAgrees: gomlx differentiates random graphs by its own rules; the
// gradients are those of passes/gradient on cpu-f32.
func TestGomlxAgrees(t *testing.T) {
	target := gomlxTarget()
	other, err := Backends(target)
	if err != nil {
		t.Fatal(err)
	}
	own, err := Backends("cpu-f32")
	if err != nil {
		t.Fatal(err)
	}
	ops, refused := map[string]int{}, map[string]int{}
	for seed := range uint64(24) {
		g := graphgen.New(graphgen.Config{Seed: seed, Nodes: 4})
		r := rand.New(rand.NewPCG(seed, 5))
		x := scalar(g, r)
		if x == nil {
			continue
		}
		wrt := g.Inputs[len(g.Inputs)-len(x):]
		if slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Class == ir.Quantized }) {
			continue
		}
		if c := g.OpCounts(); c["broadcast"] > 0 && c["reduce_max"]+c["reduce_min"] > 0 {
			continue // of equal elements gomlx gives each the whole gradient
		}
		want, err := gradients(own, g, wrt, x)
		if err != nil {
			if strings.Contains(err.Error(), "without a gradient") {
				continue
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := gradients(other, g, wrt, x)
		if err != nil {
			msg, _, _ := strings.Cut(err.Error(), "\n")
			refused[msg]++
			continue
		}
		for i := range want {
			if slices.ContainsFunc(want[i].F32(), func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
				continue
			}
			if err := difftest.Close(got[i], want[i], 1e-3, 1e-4); err != nil {
				t.Errorf("seed %d, %s, gradient %d: %v\n%s", seed, target, i, err, g)
			}
		}
		for op := range g.OpCounts() {
			ops[op]++
		}
	}
	t.Logf("%s agrees on graphs with %v", target, slices.Sorted(maps.Keys(ops)))
	for m, k := range refused {
		t.Logf("%d graphs: %s", k, m)
	}
	if len(ops) < 20 {
		t.Errorf("only %d ops were compared", len(ops))
	}
}

// gomlxTarget is the best of gomlx's targets that is there.
func gomlxTarget() string {
	if gomlx.XLA().Available() != nil {
		return "go"
	}
	return "xla-cpu"
}

// bothGradients gives the gradients of a step of four pictures of 8×8 in ten classes:
// cpu-f32's and gomlx's.
func bothGradients(t *testing.T, s *step, n *Network) (got [2][]*ir.Tensor) {
	t.Helper()
	x := []*ir.Tensor{ir.NewTensor(ir.F32, 4, 8, 8, 1), ir.NewTensor(ir.F32, 4, 10)}
	for i := range x[0].F32() {
		x[0].F32()[i] = float32(i*7%17) / 17
	}
	for i := range 4 {
		x[1].F32()[i*10+i] = 1
	}
	for _, p := range n.Params {
		x = append(x, ir.From(p.Value, p.Shape...))
	}
	for i, name := range []string{"cpu-f32", gomlxTarget()} {
		b, err := Backends(name)
		if err != nil {
			t.Fatal(err)
		}
		if got[i], err = gradients(b, s.graph, s.params, x); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func gradients(b Backend, g *ir.Graph, wrt []*ir.Value, x []*ir.Tensor) ([]*ir.Tensor, error) {
	e, err := b(g, wrt, 1)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	out := backends.NewOutputs(g)
	for _, v := range wrt {
		out = append(out, ir.NewTensor(v.Type.DType, v.Type.Shape...))
	}
	return out[len(g.Outputs):], e.Run(context.Background(), x, out)
}

// scalar makes g's float constants inputs and Σ w·output its first output, for
// random w; it gives values for the inputs, nil where there is nothing to
// differentiate.
func scalar(g *ir.Graph, r *rand.Rand) []*ir.Tensor {
	var x []*ir.Tensor
	for _, v := range g.Inputs {
		in := graphgen.Tensor(r, v.Type)
		for k := range in.Len() {
			in.Set(k, in.At(k)+0.01*r.NormFloat64())
		}
		x = append(x, in)
	}
	for _, v := range g.Constants() {
		if v.Type.DType == ir.F32 && len(v.Type.Shape) > 0 {
			in := g.Input(v.Name, v.Type)
			x = append(x, v.Const.Clone())
			g.ReplaceUses(v, in)
		}
	}
	b := &ir.Builder{G: g}
	var loss *ir.Value
	for _, v := range g.Outputs {
		if v.Type.DType != ir.F32 {
			continue
		}
		w := ir.NewTensor(ir.F32, v.Type.Shape...)
		for k := range w.F32() {
			w.F32()[k] = float32(r.NormFloat64())
		}
		var axes []int
		for a := range v.Type.Shape {
			axes = append(axes, a)
		}
		s := b.Op("multiply", nil, v, b.Const("w", w))
		if len(axes) > 0 {
			s = b.Op("reduce_sum", ir.Attrs{"axes": axes, "keep_dims": false}, s)
		}
		if loss == nil {
			loss = s
		} else {
			loss = b.Op("add", nil, loss, s)
		}
	}
	if loss == nil || b.Err() != nil {
		return nil
	}
	g.Outputs = []*ir.Value{loss}
	return x
}
