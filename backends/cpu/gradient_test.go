package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// TestGradientKernels runs ops of training steps, whose weights are computed,
// on every instruction set and partition: the interpreter's bits, by kernels.
func TestGradientKernels(t *testing.T) {
	type in = []int
	for i, c := range []struct {
		op    string
		attrs ir.Attrs
		in    []in
	}{
		{"convolution", ir.Attrs{"padding": in{1, 1, 1, 1}}, []in{{2, 9, 8, 16}, {3, 3, 16, 32}}},
		{"convolution", ir.Attrs{"padding": in{1, 0, 1, 2}, "strides": in{2, 2}, "activation": "relu"}, []in{{3, 9, 8, 5}, {3, 3, 5, 7}, {7}}},
		{"convolution", ir.Attrs{"groups": 2}, []in{{2, 5, 5, 8}, {3, 3, 4, 10}, {10}}},
		{"convolution", ir.Attrs{}, []in{{2, 8, 8, 12}, {1, 1, 12, 20}}},
		{"convolution_transpose", ir.Attrs{"padding": in{1, 1, 1, 1}}, []in{{2, 9, 8, 16}, {3, 3, 16, 32}}},
		{"convolution_transpose", ir.Attrs{"padding": in{1, 0, 0, 1}}, []in{{2, 9, 8, 6}, {3, 2, 6, 5}, {5}}},
		{"convolution_transpose", ir.Attrs{"strides": in{2, 2}, "padding": in{1, 1, 1, 1}, "output_padding": in{1, 1}}, []in{{2, 5, 6, 8}, {3, 3, 8, 6}}},
		{"convolution_transpose", ir.Attrs{"strides": in{2, 2}, "output_padding": in{1, 1}}, []in{{2, 5, 6, 8}, {1, 1, 8, 6}}},
		{"convolution_transpose", ir.Attrs{"groups": 2, "dilation": in{2, 1}}, []in{{1, 5, 6, 8}, {3, 3, 8, 5}}},
		{"dot", ir.Attrs{"activation": "relu"}, []in{{3, 5, 20}, {20, 11}, {11}}},
		{"dot", ir.Attrs{}, []in{{70, 64}, {64, 10}, {10}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{3, 3}, "padding": in{1, 1, 1, 1}}, []in{{3, 9, 8, 16}, {3, 9, 8, 32}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{3, 3}, "padding": in{1, 1, 1, 1}}, []in{{20, 32, 32, 3}, {20, 32, 32, 16}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{3, 2}, "padding": in{1, 0, 1, 0}, "strides": in{2, 3}, "dilation": in{2, 1}}, []in{{3, 11, 9, 6}, {3, 5, 3, 7}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{1, 1}, "strides": in{2, 2}}, []in{{3, 9, 8, 16}, {3, 5, 4, 20}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{3}, "groups": 2}, []in{{3, 9, 8}, {3, 7, 10}}},
		{"convolution", ir.Attrs{"groups": 20, "padding": in{1, 1, 1, 1}, "strides": in{2, 2}}, []in{{2, 9, 8, 20}, {3, 3, 1, 20}}},
		{"convolution", ir.Attrs{"groups": 16, "padding": in{2, 2, 2, 2}, "activation": "relu"}, []in{{2, 9, 8, 16}, {5, 5, 1, 16}}},
		{"convolution", ir.Attrs{"groups": 24, "padding": in{1, 1, 1, 1}, "activation": "relu"}, []in{{2, 9, 8, 24}, {3, 3, 1, 24}, {24}}},
		{"convolution_transpose", ir.Attrs{"groups": 20, "padding": in{1, 1, 1, 1}}, []in{{2, 9, 8, 20}, {3, 3, 20, 1}}},
		{"convolution_transpose", ir.Attrs{"groups": 16, "padding": in{2, 2, 2, 2}, "strides": in{2, 2}, "output_padding": in{1, 0}}, []in{{2, 5, 6, 16}, {5, 5, 16, 1}}},
		{"convolution_transpose", ir.Attrs{"groups": 5, "dilation": in{1, 2}}, []in{{2, 5, 6, 5}, {3, 2, 5, 1}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{3, 3}, "groups": 20, "padding": in{1, 1, 1, 1}, "strides": in{2, 2}}, []in{{3, 9, 8, 20}, {3, 5, 4, 20}}},
		{"convolution_weight_grad", ir.Attrs{"kernel": in{5, 3}, "groups": 16}, []in{{20, 32, 32, 16}, {20, 28, 30, 16}}},
		{"batch_norm_training", ir.Attrs{}, []in{{5, 9, 8, 16}, {16}, {16}}},
		{"batch_norm_training", ir.Attrs{}, []in{{5, 9, 21}, {21}, {21}}},
		{"batch_norm_grad", ir.Attrs{}, []in{{5, 9, 8, 32}, {32}, {32}, {32}, {5, 9, 8, 32}}},
		{"batch_norm_grad", ir.Attrs{}, []in{{5, 9, 8, 21}, {21}, {21}, {21}, {5, 9, 8, 21}}},
		{"layer_norm", ir.Attrs{}, []in{{5, 9, 21}, {21}, {21}}},
		{"layer_norm", ir.Attrs{"axis": 1}, []in{{5, 9, 8}, {9, 8}}},
		{"fake_quantize", ir.Attrs{"qmin": 0, "qmax": 2}, []in{{5, 9, 8, 27}, {27}}},
		{"fake_quantize", ir.Attrs{"qmin": 0, "qmax": 3}, []in{{5, 1000, 7}, {1}, {1}}},
		{"fake_quantize_grad", ir.Attrs{"qmin": -1, "qmax": 2}, []in{{5, 90, 27}, {27}, {1}, {5, 90, 27}}},
		{"fake_quantize_grad", ir.Attrs{"qmin": -1, "qmax": 1, "floor": true}, []in{{5, 90, 40}, {1}, {1}, {5, 90, 40}}},
		{"clamp_grad", ir.Attrs{"min": 0.0, "max": 1.0}, []in{{5, 1000, 7}, {5, 1000, 7}}},
	} {
		b := ir.NewBuilder(fmt.Sprintf("%s%d", c.op, i))
		var args []*ir.Value
		for _, s := range c.in {
			args = append(args, b.Input("x", ir.T(ir.F32, s...)))
		}
		g, err := b.Graph(b.Multi(c.op, "", c.attrs, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(i), 1))
		var x []*ir.Tensor
		for _, v := range g.Inputs {
			x = append(x, graphgen.Tensor(r, v.Type))
			if c.op == "batch_norm_grad" && len(x) == 4 {
				for k, v := range x[3].F32() {
					x[3].F32()[k] = v*v + 0.1 // a variance
				}
			}
		}
		for _, l := range isa.Available() {
			for _, threads := range []int{1, 2} {
				o := backends.Options{ISA: l.String(), Threads: threads}
				e, err := F32().Compile(g, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range e.(backends.Planned).Steps() {
					if s.Fallback {
						t.Errorf("%s %v runs without a kernel on %v", c.op, c.attrs, l)
					}
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				backendtest.Compare(t, F32(), backendtest.Config{Options: o}, g, x)
				if t.Failed() {
					t.Fatalf("%s %v on %v with %d threads", c.op, c.attrs, l, threads)
				}
			}
		}
	}
}
