package cpu

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// TestParts: with Options.Parts a dense layer of computed weights and its gradients
// go by parts where the processor has tile registers for it, near the chains' sums
// and with the same bits for any number of threads; elsewhere, and without the
// option, they are the chains.
func TestParts(t *testing.T) {
	b := ir.NewBuilder("dense")
	x, w, bias, dy := b.Input("x", ir.T(ir.F32, 150, 96)), b.Input("w", ir.T(ir.F32, 96, 130)), b.Input("b", ir.T(ir.F32, 130)), b.Input("dy", ir.T(ir.F32, 150, 130))
	var outs []*ir.Value
	outs = append(outs, b.Multi("dot", "forward", ir.Attrs{"activation": "relu"}, x, w, bias)...)
	outs = append(outs, b.Multi("dot_general", "input", ir.Attrs{"transpose_b": true}, dy, w)...)
	outs = append(outs, b.Multi("dot_general", "weights", ir.Attrs{"transpose_a": true}, x, dy)...)
	g, err := b.Graph(outs...)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 1))
	var in []*ir.Tensor
	for _, v := range g.Inputs {
		in = append(in, graphgen.Tensor(r, v.Type))
	}
	run := func(o backends.Options) (out []*ir.Tensor, byParts int) {
		t.Helper()
		e, err := F32().Compile(g, o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, s := range e.(backends.Planned).Steps() {
			if strings.Contains(s.Kernel, "bf16x3") {
				byParts++
			}
		}
		out = backends.NewOutputs(g)
		if err := e.Run(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
		return out, byParts
	}
	for _, l := range isa.Available() {
		chains, n := run(backends.Options{ISA: l.String(), Threads: 2})
		if n != 0 {
			t.Errorf("%v: %d steps by parts without the option", l, n)
		}
		one, n := run(backends.Options{ISA: l.String(), Threads: 1, Parts: true})
		want := 0
		if l == isa.AMX && isa.HasTileBF16() {
			want = 3
		}
		if n != want {
			t.Errorf("%v: %d steps by parts, wanted %d", l, n, want)
		}
		two, _ := run(backends.Options{ISA: l.String(), Threads: 2, Parts: true})
		for i := range chains {
			a, p, q := chains[i].F32(), one[i].F32(), two[i].F32()
			largest := 0.0
			for _, v := range a {
				largest = max(largest, math.Abs(float64(v)))
			}
			for j := range a {
				if math.Float32bits(p[j]) != math.Float32bits(q[j]) {
					t.Fatalf("%v, output %d: value %d is %g on one thread and %g on two", l, i, j, p[j], q[j])
				}
				if d := math.Abs(float64(p[j]) - float64(a[j])); !(d <= 1e-6*largest) {
					t.Fatalf("%v, output %d: value %d is %g by parts, %g as a chain", l, i, j, p[j], a[j])
				}
			}
			if want == 0 && !slices.Equal(a, p) {
				t.Errorf("%v, output %d: the option changed bits", l, i)
			}
		}
	}
}
