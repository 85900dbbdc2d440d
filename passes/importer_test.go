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
			worst, err := validate(context.Background(), before, imported, Changes, nil)
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

// denseBlock is DenseNet's form: batch norms that no convolution can take, on
// joined feature maps, a transition, and a head.
const denseBlock = `const @w0: f32[3,3,3,8] = normal(1,0.3)
const @w1: f32[3,3,8,4] = normal(2,0.3)
const @w2: f32[3,3,12,4] = normal(3,0.3)
const @w3: f32[1,1,16,8] = normal(4,0.3)
const @d: f32[8,10] = normal(5,0.3)
const @p8: f32[8] = [1,2,1,2,1,2,1,2]
const @p12: f32[12] = [1,2,1,2,1,2,1,2,1,2,1,2]
const @p16: f32[16] = [1,2,1,2,1,2,1,2,1,2,1,2,1,2,1,2]
graph @main(%x: f32[N,8,8,3]) {
  %a = convolution %x @w0 padding=[1,1,1,1]
  %n1 = batch_norm_inference %a @p8 @p8 @p8 @p8
  %r1 = relu %n1
  %c1 = convolution %r1 @w1 padding=[1,1,1,1]
  %j1 = concatenate %a %c1 axis=3
  %n2 = batch_norm_inference %j1 @p12 @p12 @p12 @p12
  %r2 = relu %n2
  %c2 = convolution %r2 @w2 padding=[1,1,1,1]
  %j2 = concatenate %j1 %c2 axis=3
  %n3 = batch_norm_inference %j2 @p16 @p16 @p16 @p16
  %r3 = relu %n3
  %t = convolution %r3 @w3
  %p = average_pool %t kernel=[2,2] strides=[2,2]
  %g = reduce_mean %p axes=[1,2]
  %f = reshape %g shape=[N,8]
  %y = dot %f @d
  return %y
}`

func TestImportedDenseBlock(t *testing.T) {
	g, err := ir.ParseGraph("dense.ir", denseBlock, nil)
	if err != nil {
		t.Fatal(err)
	}
	imported := nchw(t, g)
	before := imported.Clone()
	if _, err := Canonicalize(context.Background(), imported, Options{VerifyEach: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := validate(context.Background(), before, imported, Close, nil); err != nil {
		t.Error(err)
	}
	got := fmt.Sprint(imported.OpCounts())
	want := "map[average_pool:1 batch_norm_inference:3 concatenate:2 convolution:4 dot:1 reduce_mean:1 relu:3 reshape:1 transpose:1]"
	if got != want {
		t.Errorf("ops %s\nwant %s\n%s", got, want, imported.Body())
	}
}
