package passes

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// jumps are ops whose result leaps where their operand changes by a rounding:
// graphs with them cannot be compared within a tolerance.
var jumps = []string{"floor", "ceil", "round_nearest_even", "sign", "arg_max", "uniform_quantize"}

// Random graphs, with transposes at their inputs as importers leave them, keep
// their function under any selection of passes from any order of nodes: each
// pass is held to its promise, and the graph after it verifies with types
// inferred anew.
func TestRandomGraphsKeepTheirFunction(t *testing.T) {
	changed := map[string]int{}
	for seed := range uint64(400) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0x70617373))
			g := graphgen.New(graphgen.Config{Seed: seed, Nodes: 14, Quantized: seed%4 == 3})
			if counts := g.OpCounts(); seed%4 != 3 && slices.ContainsFunc(jumps, func(op string) bool { return counts[op] > 0 }) {
				return
			}
			transposeInputs(t, r, g)
			shuffle(r, g)
			if err := g.Verify(); err != nil {
				t.Fatalf("the test's own graph: %v", err)
			}
			before := g.Clone()
			list := slices.DeleteFunc(slices.Clone(List), func(p Pass) bool { return r.IntN(4) == 0 || p.Promise == Changes || p.Grow != nil })
			for round := range 2 {
				for _, p := range list {
					steps, err := Run(context.Background(), g, []Pass{p}, Options{VerifyEach: true})
					if err != nil {
						t.Fatalf("round %d, %s: %v\nfrom %s\nto %s", round, p.Name, err, before.Body(), g.Body())
					}
					if steps[0].Changed {
						changed[p.Name]++
					}
					shuffle(r, g)
					if err := g.InferAll(); err != nil {
						t.Fatalf("%s: types inferred anew: %v", p.Name, err)
					}
				}
			}
			if _, err := validate(context.Background(), before, g, Close, nil); err != nil {
				t.Errorf("all together: %v\nfrom %s\nto %s", err, before.Body(), g.Body())
			}
		})
	}
	for _, name := range []string{"layout", "fold-shapes", "cse"} {
		if changed[name] == 0 {
			t.Errorf("no graph gave %s anything to do", name)
		}
	}
	t.Logf("changes: %v", changed)
}

// transposeInputs lets each input come in another order, with a transpose that
// brings it to the order the graph reads.
func transposeInputs(t *testing.T, r *rand.Rand, g *ir.Graph) {
	t.Helper()
	for i, v := range slices.Clone(g.Inputs) {
		perm := r.Perm(len(v.Type.Shape))
		x := g.Input(v.Name+".in", ir.Type{DType: v.Type.DType, Shape: permuted(v.Type.Shape, inverse(perm)), Quant: v.Type.Quant})
		g.Inputs = slices.Delete(g.Inputs, len(g.Inputs)-1, len(g.Inputs))
		n, err := g.AddNamed("transpose", v.Name+".turned", ir.Attrs{"permutation": perm}, x)
		if err != nil {
			t.Fatal(err)
		}
		g.ReplaceUses(v, n.Out())
		g.Inputs[i] = x
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
}

// shuffle puts the nodes in another topological order.
func shuffle(r *rand.Rand, g *ir.Graph) {
	r.Shuffle(len(g.Nodes), func(i, j int) { g.Nodes[i], g.Nodes[j] = g.Nodes[j], g.Nodes[i] })
	if err := g.Sort(); err != nil {
		panic("BUG: " + err.Error())
	}
}
