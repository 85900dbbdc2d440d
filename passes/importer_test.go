package passes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// sums are float ops that add up over several axes.
var sums = []string{"reduce_sum", "reduce_mean", "softmax", "log_softmax", "layer_norm", "rms_norm", "group_norm", "instance_norm"}

var (
	toNCHW = []int{0, 3, 1, 2}
	toNHWC = []int{0, 2, 3, 1}
)

// nchw rebuilds a graph as an importer of an NCHW model writes it: images are
// [N,C,H,W]; ops that want channels last get transposes around them, the others
// work on the other order. Inputs and outputs change their order too.
func nchw(t *testing.T, g *ir.Graph) *ir.Graph {
	t.Helper()
	out := ir.NewGraph(g.Name)
	vals := map[*ir.Value]*ir.Value{} // images in NCHW
	add := func(op, name string, attrs ir.Attrs, in ...*ir.Value) *ir.Node {
		n, err := out.AddNamed(op, name, attrs, in...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	image := func(v *ir.Value) bool { return v != nil && len(v.Type.Shape) == 4 && !v.IsConst() }
	turn := func(v *ir.Value, p []int) *ir.Value {
		return add("transpose", v.Name, ir.Attrs{"permutation": p}, v).Out()
	}
	for _, v := range g.Inputs {
		ty := v.Type
		if image(v) {
			ty.Shape = permuted(ty.Shape, toNCHW)
		}
		vals[v] = out.Input(v.Name, ty)
	}
	for _, n := range g.Nodes {
		attrs, free := nchwAttrs(n)
		in := slices.Clone(n.Inputs)
		for i, v := range in {
			switch {
			case v == nil:
			case v.IsConst():
				c := v.Const
				if free && n.Op.Class == ir.Binary && len(c.Shape) == 1 { // a channel constant of an elementwise op
					c = c.Reshaped(c.Len(), 1, 1)
				}
				in[i] = out.QConst(v.Name, c, v.Type.Quant)
			case image(v) && !free:
				in[i] = turn(vals[v], toNHWC)
			default:
				in[i] = vals[v]
			}
		}
		k := add(n.Op.Name, n.Out().Name, attrs, in...)
		for i, v := range n.Outputs {
			vals[v] = k.Outputs[i]
			if image(v) && !free {
				vals[v] = turn(k.Outputs[i], toNCHW)
			}
		}
	}
	for _, v := range g.Outputs {
		out.Outputs = append(out.Outputs, vals[v])
	}
	if err := out.Verify(); err != nil {
		t.Fatalf("the test's own graph: %v", err)
	}
	return out
}

// nchwAttrs gives a node's attributes for channels first; free is false where
// it must keep channels last.
func nchwAttrs(n *ir.Node) (attrs ir.Attrs, free bool) {
	attrs = maps.Clone(n.Attrs)
	for _, v := range append(slices.Clone(n.Inputs), n.Outputs...) {
		if v == nil || v.IsConst() && n.Op.Class == ir.Binary && len(v.Type.Shape) <= 1 {
			continue
		}
		if len(v.Type.Shape) != 4 || v.IsConst() {
			return attrs, false
		}
	}
	axis := func(a int) int { return slices.Index(toNCHW, (a+4)%4) }
	switch n.Op.Name {
	case "concatenate", "softmax", "log_softmax", "split":
		attrs["axis"] = axis(n.Int("axis"))
	case "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "q_reduce_mean":
		axes := slices.Clone(n.Ints("axes"))
		for i, a := range axes {
			axes[i] = axis(a)
		}
		attrs["axes"] = axes
	case "pad":
		attrs["low"], attrs["high"] = permuted(n.Ints("low"), toNCHW), permuted(n.Ints("high"), toNCHW)
	case "slice":
		attrs["start"], attrs["limit"] = permuted(n.Ints("start"), toNCHW), ir.Shape(permuted(n.Dims("limit"), toNCHW))
		if s := n.Ints("stride"); len(s) > 0 {
			attrs["stride"] = permuted(s, toNCHW)
		}
	default:
		return attrs, n.Op.Class == ir.Binary || n.Op.Class == ir.Unary && n.Op.Name != "prelu" || n.Op.Name == "q_add"
	}
	return attrs, true
}

// Layout brings random graphs in importer's form back: the same function, and
// no more transposes than images that enter or leave and transposes of their own.
func TestImporterForm(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			g := graphgen.New(graphgen.Config{Seed: seed, Quantized: seed%2 == 1})
			counts := g.OpCounts()
			if slices.ContainsFunc(jumps[:len(jumps)-1], func(op string) bool { return counts[op] > 0 }) {
				return
			}
			imported := nchw(t, g)
			before := imported.Clone()
			if _, err := Canonicalize(context.Background(), imported, Options{Disable: []string{"fuse-qdq"}}); err != nil {
				t.Fatal(err)
			}
			// Sums over several axes run in another order in the other layout;
			// norms enlarge what that changes, and a rounding may tip an 8-bit
			// value to its neighbour.
			limit := 1e-3
			if seed%2 == 1 {
				limit = 0
				if slices.ContainsFunc(sums, func(op string) bool { return counts[op] > 0 }) {
					limit = 0.05
				}
			}
			worst, err := validate(context.Background(), before, imported, Changes)
			if err != nil || worst > limit {
				t.Errorf("%v: outputs differ by %g\nfrom %s\nto %s", err, worst, before.Body(), imported.Body())
			}
		})
	}
}

// The networks of graphgen come back without a transpose but those at their
// inputs and outputs.
func TestImportedNets(t *testing.T) {
	for _, net := range graphgen.Nets() {
		for _, quantized := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/quantized=%v", net.Name, quantized), func(t *testing.T) {
				g, err := net.Build(quantized)
				if err != nil {
					t.Fatal(err)
				}
				want := g.OpCounts()
				imported := nchw(t, g)
				if _, err := Canonicalize(context.Background(), imported, Options{}); err != nil {
					t.Fatal(err)
				}
				got := imported.OpCounts()
				for op, n := range want {
					if op != "transpose" && op != "reshape" && got[op] != n {
						t.Errorf("%d %s, wanted %d", got[op], op, n)
					}
				}
				if got["transpose"] > 1 {
					t.Errorf("%d transposes are left:\n%s", got["transpose"], imported.Body())
				}
			})
		}
	}
}
