package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// simulated is the trained digits network on levels.
func simulated(t *testing.T, bits int) *ir.Graph {
	t.Helper()
	g := network(t, "digits-cnn.toml").Inference(nil)
	if _, err := passes.Canonicalize(context.Background(), g, passes.Options{}); err != nil {
		t.Fatal(err)
	}
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := passes.Simulate(g, passes.SimulateOptions{QuantizeOptions: passes.QuantizeOptions{Calib: feed(t, n, "digits[0:40]")}, WeightBits: bits})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestQuantizationAware: training from poor scales mends them, whatever the
// optimizer; what it gives runs on cpu-int8 with the bits of the simulation.
func TestQuantizationAware(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		mode, optimizer string
		lr              float64
		kinds           []Kind // that are trained
	}{
		{"ste", "adamw", 1e-3, []Kind{Weight}},
		{"lsq", "sgd", 0.01, []Kind{Weight, Scale}},
		{"lsq+", "adamw", 2e-3, []Kind{Weight, Scale, Zero}},
	} {
		g := simulated(t, 4)
		uses := g.Uses()
		for _, v := range g.Constants() { // scales that clip half of everything, zero points that are off
			for _, u := range uses[v] {
				if u.Node.Op.Name == "requantize_factor" && v.Type.Shape.Elems() == 1 {
					v.Const = v.Const.Clone()
					v.Const.F32()[0] *= 0.5
					break
				}
			}
		}
		before := g.Clone()
		n, err := New(g)
		if err != nil {
			t.Fatal(err)
		}
		f := Default()
		f.Epochs, f.Batch, f.Optimizer, f.LR, f.Quantization, f.Hyper.WeightDecay = 4, 50, c.optimizer, c.lr, c.mode, 0
		j := &Job{Config: f, Network: n, Data: feed(t, n, "digits[0:600]"), Valid: feed(t, n, "digits[1200:]")}
		r, err := j.Run(ctx)
		if err != nil {
			t.Fatalf("%s: %v", c.mode, err)
		}
		if a, b := r.Epochs[0].Loss, r.Epochs[3].Loss; !(b < a) {
			t.Errorf("%s: loss %v → %v", c.mode, a, b)
		}
		if r.Epochs[3].VTop1 < 0.9 {
			t.Errorf("%s: top-1 %v", c.mode, r.Epochs[3].VTop1)
		}
		moved := map[Kind]bool{}
		kinds := scales(before)
		after := map[string]*ir.Tensor{}
		for _, v := range r.Graph.Constants() {
			after[v.Name] = v.Const
		}
		for _, v := range before.Constants() {
			if v.Type.DType != ir.F32 || len(v.Type.Shape) == 0 {
				continue
			}
			k := Weight
			if p := kinds[v]; p != nil {
				k = p.Kind
			}
			w := after[v.Name]
			moved[k] = moved[k] || !ir.SameData(v.Const, w)
			if k == Scale && slices.ContainsFunc(w.F32(), func(s float32) bool { return !(s > 0) }) {
				t.Errorf("%s: scale %s is %v", c.mode, v.Name, w)
			}
		}
		for k := range Zero + 1 {
			if k == Zero && len(c.kinds) == 3 && !hasZero(before) {
				continue
			}
			if want := slices.Contains(c.kinds, k); moved[k] != want {
				t.Errorf("%s: parameters of kind %d moved: %v, wanted %v", c.mode, k, moved[k], want)
			}
		}
		q, _, err := passes.Execute(r.Graph)
		if err != nil {
			t.Fatal(err)
		}
		var out [2]*ir.Tensor
		for i, g := range []*ir.Graph{r.Graph, q} {
			s, err := ir.Specialize(g, 50)
			if err != nil {
				t.Fatal(err)
			}
			e, err := []backends.Target{cpu.F32(), cpu.Int8()}[i].Compile(s, backends.Options{})
			if err != nil {
				t.Fatal(err)
			}
			in := ir.NewTensor(ir.F32, s.Inputs[0].Type.Shape...)
			for k := range 50 {
				x, _, err := j.Valid.Labelled(k)
				if err != nil {
					t.Fatal(err)
				}
				copy(in.F32()[k*x[0].Len():], x[0].F32())
			}
			o := backends.NewOutputs(s)
			if err := e.Run(ctx, []*ir.Tensor{in}, o); err != nil {
				t.Fatal(err)
			}
			out[i] = o[0]
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if !ir.SameData(out[0], out[1]) {
			t.Errorf("%s: the simulation and cpu-int8 differ", c.mode)
		}
	}
}

func hasZero(g *ir.Graph) bool {
	for _, p := range scales(g) {
		if p.Kind == Zero {
			return true
		}
	}
	return false
}

// TestQuantizationAgrees: gomlx, told to look through the rounding, finds the
// gradients that passes/gradient has.
func TestQuantizationAgrees(t *testing.T) {
	n, err := New(simulated(t, 8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Quantization("lsq+"); err != nil {
		t.Fatal(err)
	}
	s, err := n.step(4, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := bothGradients(t, s, n)
	for i, p := range n.Params {
		size := 0.0
		for _, v := range got[0][i].F32() {
			size = max(size, math.Abs(float64(v)))
		}
		if p.Kind == Scale { // the difference of two large sums
			size++
		}
		if err := difftest.Close(got[1][i], got[0][i], 2e-3, 2e-3*size); err != nil {
			t.Errorf("gradient of %s: %v", p.Name, err)
		}
	}
}
