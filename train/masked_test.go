package train

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// layerZeros counts zeros of the weights of layers, by name.
func layerZeros(g *ir.Graph) (zeros map[string][]bool, share float64) {
	zeros = map[string][]bool{}
	count, all := 0, 0
	for _, n := range g.Nodes {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			continue
		}
		w := n.Inputs[1]
		if w.Def != nil { // levels
			w = w.Def.Inputs[0]
		}
		z := make([]bool, w.Const.Len())
		for i := range z {
			if z[i] = w.Const.At(i) == 0; z[i] {
				count++
			}
		}
		zeros[w.Name], all = z, all+len(z)
	}
	return zeros, float64(count) / float64(all)
}

// TestMaskStays: training leaves what a mask set to zero, on both ways, with all
// that could move it: decay, momentum, noise, averages, every optimizer and
// quantization; without KeepZeros it does not.
func TestMaskStays(t *testing.T) {
	other := "xla-cpu"
	if gomlx.XLA().Available() != nil {
		other = "go"
	}
	for _, c := range []struct {
		mask, target, optimizer, qat string
		keep                         bool
	}{
		{"pattern=2:4", "cpu-f32", "sgd", "", true},
		{"share=0.8", "cpu-f32", "adam", "", true},
		{"share=0.5", "cpu-f32", "lamb", "", true},
		{"pattern=1:4", other, "adamw", "", true},
		{"share=0.7", "cpu-f32", "adamw", "lsq+", true},
		{"pattern=2:4", "cpu-f32", "sgd", "", false},
	} {
		name := fmt.Sprint(c)
		g := network(t, "digits-cnn.toml").Inference(nil)
		list, err := passes.Parse("mask(" + c.mask + ")")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := passes.Run(context.Background(), g, list, passes.Options{}); err != nil {
			t.Fatal(err)
		}
		if c.qat != "" {
			if _, err := passes.Canonicalize(context.Background(), g, passes.Options{}); err != nil {
				t.Fatal(err)
			}
			n, err := New(g)
			if err != nil {
				t.Fatal(err)
			}
			if g, _, err = passes.Simulate(g, passes.SimulateOptions{QuantizeOptions: passes.QuantizeOptions{Calib: feed(t, n, "digits[0:20]")}}); err != nil {
				t.Fatal(err)
			}
		}
		before, share := layerZeros(g)
		n, err := New(g)
		if err != nil {
			t.Fatal(err)
		}
		f := Default()
		f.Epochs, f.Batch, f.Optimizer, f.Target, f.Quantization, f.KeepZeros = 1, 50, c.optimizer, c.target, c.qat, c.keep
		f.EMA, f.GradNoise, f.Clip = 0.9, 0.1, 1
		j := &Job{Config: f, Network: n, Data: feed(t, n, "digits[0:150]")}
		if j.Backend, err = Backends(c.target); err != nil {
			t.Fatal(err)
		}
		r, err := j.Run(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after, now := layerZeros(r.Graph)
		moved, trained := 0, 0
		for w, zs := range before {
			for i, z := range zs {
				if z && !after[w][i] {
					moved++
				}
			}
			trained += len(zs)
		}
		if (moved > 0) == c.keep || c.keep && math.Abs(now-share) > 0.02 {
			t.Errorf("%s: %d of %d masked weights moved, %.3f of all are zero, %.3f were", name, moved, trained, now, share)
		}
		if c.mask == "share=0.8" && share < 0.79 {
			t.Errorf("%s: only %.2f were zero at the start", name, share)
		}
	}
}

// TestUnmasked: biases, norms and layers of nothing but zeros are no mask.
func TestUnmasked(t *testing.T) {
	b := ir.NewBuilder("zeros")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 4))
	some := ir.From([]float32{1, 0, 2, 0, 0, 3, 0, 4}, 4, 2)
	y := b.Op("dot", nil, x, b.Const("some", some), b.Const("bias", ir.NewTensor(ir.F32, 2)))
	g, err := b.Graph(b.Op("dot", nil, y, b.Const("none", ir.NewTensor(ir.F32, 2, 3))))
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	for i, z := range n.zeros() {
		want := 0
		if n.Params[i].Name == "some" {
			want = 4
		}
		if len(z) != want {
			t.Errorf("%s: %d elements stay zero, wanted %d", n.Params[i].Name, len(z), want)
		}
	}
}
