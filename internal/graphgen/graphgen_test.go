package graphgen

import (
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// One seed gives one graph, graphs verify, and together they use every op that
// the rows name.
func TestGraphsVerifyAndRepeat(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		cfg := Config{Seed: seed, Quantized: seed%2 == 1}
		g := New(cfg)
		if err := g.Verify(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := New(cfg); again.String() != g.String() {
			t.Fatalf("seed %d gives two graphs", seed)
		}
		for _, n := range g.Nodes {
			seen[n.Op.Name] = true
		}
	}
	for _, op := range []string{"convolution", "attention", "layer_norm", "split", "q_convolution", "q_convolution_transpose", "q_add", "q_lookup", "q_softmax", "q_resize", "q_dot_general", "uniform_dequantize", "select", "arg_max", "dot_integer", "dynamic_dot"} {
		if !seen[op] {
			t.Errorf("no graph has %s", op)
		}
	}
}

func TestInputsFit(t *testing.T) {
	g := New(Config{Seed: 1})
	for i, x := range Inputs(g, 7) {
		if !x.Shape.Equal(g.Inputs[i].Type.Shape) || x.DType != ir.F32 {
			t.Errorf("input %d is %v%v", i, x.DType, x.Shape)
		}
	}
}
