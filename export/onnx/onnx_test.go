package onnx_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	export "github.com/nasc-dev/nasc/export/onnx"
	"github.com/nasc-dev/nasc/frontend/onnx"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// reread writes a graph and imports what was written.
func reread(g *ir.Graph) (*ir.Graph, error) {
	var b bytes.Buffer
	if err := export.Write(&b, g); err != nil {
		return nil, err
	}
	back, _, err := onnx.Read(b.Bytes(), "written.onnx", onnx.Options{})
	return back, err
}

func outputs(t *testing.T, g *ir.Graph, in []*ir.Tensor) []*ir.Tensor {
	t.Helper()
	r, err := eval.Run(context.Background(), g, in, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Outputs
}

// Every node of random graphs, written and read again, computes what it did:
// float ones within rounding, quantized ones (through their QDQ form) within one
// step.
func TestEveryNodeRoundTrips(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(160) {
		g := graphgen.New(graphgen.Config{Seed: seed, Quantized: seed%2 == 1})
		_, err := eval.Run(context.Background(), g, graphgen.Inputs(g, seed), eval.Options{Each: func(n *ir.Node, in, out []*ir.Tensor) error {
			place := fmt.Sprintf("seed %d, %s %s", seed, n.Op.Name, n.Out())
			one, feeds, err := difftest.Alone(n, in)
			if err != nil {
				return fmt.Errorf("%s: %w", place, err)
			}
			back, err := reread(one)
			if err != nil {
				if strings.Contains(err.Error(), "int32 result has no QDQ form") && n.Op.Class == ir.Quantized {
					return nil
				}
				return fmt.Errorf("%s: %w", place, err)
			}
			for i, got := range outputs(t, back, feeds) {
				rel, abs := 2e-5, 1e-6
				if out[i].DType.Is8Bit() {
					rel, abs = 0, 1
				}
				if err := difftest.Close(got, out[i], rel, abs); err != nil {
					t.Errorf("%s: %v", place, err)
				}
			}
			seen[n.Op.Name]++
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 70 {
		t.Errorf("only %d ops were drawn", len(seen))
	}
}

// Small differences stay small through whole graphs, unless they cross a
// threshold of one of these.
var thresholds = []string{"compare", "arg_max", "floor", "ceil", "round_nearest_even", "sign", "is_nan", "dynamic_quantize_linear", "dynamic_dot", "convert", "instance_norm"}

func TestWholeGraphs(t *testing.T) {
	tried := 0
	for seed := range uint64(200) {
		g := graphgen.New(graphgen.Config{Seed: seed})
		if slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return slices.Contains(thresholds, n.Op.Name) }) {
			continue
		}
		back, err := reread(g)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		in := graphgen.Inputs(g, seed)
		want := outputs(t, g, in)
		for i, got := range outputs(t, back, in) {
			if err := difftest.Close(got, want[i], 1e-4, 1e-6); err != nil {
				t.Errorf("seed %d, output %d: %v", seed, i, err)
			}
		}
		tried++
	}
	if tried < 30 {
		t.Errorf("only %d graphs were tried", tried)
	}
}

// Of whole quantized graphs the steps may differ where one node's result was
// one step off, but nearly all elements agree.
func TestWholeQuantizedGraphs(t *testing.T) {
	tried := 0
	for seed := range uint64(150) {
		g := graphgen.New(graphgen.Config{Seed: seed, Quantized: true, Nodes: 8})
		if slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return slices.Contains(thresholds, n.Op.Name) }) {
			continue
		}
		back, err := reread(g)
		if err != nil && strings.Contains(err.Error(), "int32 result has no QDQ form") {
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		in := graphgen.Inputs(g, seed)
		want := outputs(t, g, in)
		for i, got := range outputs(t, back, in) {
			if !got.Shape.Equal(want[i].Shape) || got.DType != want[i].DType {
				t.Errorf("seed %d, output %d: found %v%v, want %v%v", seed, i, got.DType, got.Shape, want[i].DType, want[i].Shape)
				continue
			}
			step := 1.0
			if !want[i].DType.Is8Bit() {
				for k := range want[i].Len() {
					step = max(step, math.Abs(want[i].At(k)))
				}
				step /= 100
			}
			far := 0
			for k := range want[i].Len() {
				if math.Abs(got.At(k)-want[i].At(k)) > step {
					far++
				}
			}
			if far*50 > want[i].Len() {
				t.Errorf("seed %d, output %d: %d of %d elements are more than a step off", seed, i, far, want[i].Len())
			}
		}
		tried++
	}
	if tried < 30 {
		t.Errorf("only %d graphs were tried", tried)
	}
}

// Whole graphs keep their inputs and outputs: names, order, types.
func TestSignatures(t *testing.T) {
	for seed := range uint64(40) {
		g := graphgen.New(graphgen.Config{Seed: seed})
		back, err := reread(g)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		form := func(g *ir.Graph) (s []string) {
			for _, v := range g.Inputs {
				s = append(s, v.Name+" "+v.Type.String())
			}
			for _, v := range g.Outputs {
				s = append(s, v.Type.String())
			}
			return s
		}
		m, err := export.Model(g)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range g.Outputs { // a reader renames what is also an input, or given twice
			if got := m.GetGraph().GetOutput()[i].GetName(); got != v.Name && v.Def != nil && slices.Index(g.Outputs, v) == i {
				t.Errorf("seed %d: output %s is called %s in the file", seed, v.Name, got)
			}
		}
		if a, b := form(g), form(back); !slices.Equal(a, b) {
			t.Errorf("seed %d: wrote %v, read %v", seed, a, b)
		}
	}
}

func ops(t *testing.T, g *ir.Graph) []string {
	t.Helper()
	m, err := export.Model(g)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, n := range m.GetGraph().GetNode() {
		s = append(s, n.GetOpType())
	}
	return s
}

// image gives a graph whose input is NCHW, as imported ones are.
func image(t *testing.T) (*ir.Builder, *ir.Value) {
	t.Helper()
	b := ir.NewBuilder("net")
	x := b.Input("x", ir.Type{DType: ir.F32, Shape: ir.Shape{ir.Batch, 3, 8, 8}})
	return b, b.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 3, 1}}, x)
}

func filled(shape ...int) *ir.Tensor {
	t := ir.NewTensor(ir.F32, shape...)
	for i := range t.F32() {
		t.F32()[i] = float32(i%7) - 3
	}
	return t
}

// Inside the file images are channels first: between the model's own NCHW ends
// no Transpose is left.
func TestNoTransposes(t *testing.T) {
	b, x := image(t)
	y := b.Op("convolution", ir.Attrs{"padding": []int{1, 1, 1, 1}, "activation": "relu"}, x, b.Const("w", filled(3, 3, 3, 4)), b.Const("c", filled(4)))
	z := b.Op("convolution", nil, y, b.Const("v", filled(1, 1, 4, 4)))
	z = b.Op("add", nil, b.Op("hard_swish", nil, z), y)
	z = b.Op("max_pool", ir.Attrs{"kernel": []int{2, 2}, "strides": []int{2, 2}}, z)
	z = b.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}}, z)
	g, err := b.Graph(b.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, 4}}, z))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(ops(t, g), " ")
	if want := "Conv Relu Conv HardSwish Add MaxPool GlobalAveragePool Reshape Identity"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// A quantized convolution becomes the pattern that runtimes fuse: int8 weights
// per channel, an int32 bias with scale s_x·s_w, u8 activations.
func TestQDQForm(t *testing.T) {
	g := graphWithConv(t)
	m, err := export.Model(g)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, n := range m.GetGraph().GetNode() {
		s = append(s, n.GetOpType())
	}
	if got, want := strings.Join(s, " "), "DequantizeLinear Transpose DequantizeLinear DequantizeLinear Conv QuantizeLinear Transpose Identity"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	kinds := map[onnxpb.TensorProto_DataType]int{}
	for _, c := range m.GetGraph().GetInitializer() {
		kinds[onnxpb.TensorProto_DataType(c.GetDataType())]++
	}
	if kinds[onnxpb.TensorProto_INT8] == 0 || kinds[onnxpb.TensorProto_INT32] == 0 || kinds[onnxpb.TensorProto_UINT8] == 0 {
		t.Errorf("initializers are %v; want int8 weights, an int32 bias and uint8 zero points", kinds)
	}
}

// graphWithConv draws until a graph has a q_convolution with a bias and an 8-bit
// result, and gives that node alone.
func graphWithConv(t *testing.T) *ir.Graph {
	t.Helper()
	var found *ir.Graph
	for seed := uint64(0); seed < 50 && found == nil; seed++ {
		g := graphgen.New(graphgen.Config{Seed: seed, Quantized: true})
		_, err := eval.Run(context.Background(), g, graphgen.Inputs(g, seed), eval.Options{Each: func(n *ir.Node, in, out []*ir.Tensor) error {
			if found == nil && n.Op.Name == "q_convolution" && n.In(2) != nil && out[0].DType == ir.U8 && n.Attrs["qmin"] == nil {
				var err error
				found, _, err = difftest.Alone(n, in)
				return err
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == nil {
		t.Fatal("no q_convolution was drawn")
	}
	return found
}

// A constant that is repeated over the batch takes the batch from an input.
func TestRepeatOverBatch(t *testing.T) {
	b := ir.NewBuilder("net")
	x := b.Input("x", ir.Type{DType: ir.F32, Shape: ir.Shape{ir.Batch, 2, 3}})
	k := b.Op("broadcast", ir.Attrs{"shape": ir.Shape{ir.Batch, 1, 3}}, b.Const("k", filled(1, 1, 3)))
	g, err := b.Graph(b.Op("concatenate", ir.Attrs{"axis": 1}, k, x))
	if err != nil {
		t.Fatal(err)
	}
	back, err := reread(g)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Outputs[0].Type.String(); got != "f32[N,3,3]" {
		t.Errorf("read back as %s, want f32[N,3,3]", got)
	}
}

// All ops without an ONNX form are named in one error.
func TestRefusals(t *testing.T) {
	b := ir.NewBuilder("net")
	a := b.Named("iota", "first", ir.Attrs{"shape": ir.Shape{3}, "axis": 0})
	c := b.Named("iota", "second", ir.Attrs{"shape": ir.Shape{3}, "axis": 0})
	g, err := b.Graph(b.Op("add", nil, a, c))
	if err != nil {
		t.Fatal(err)
	}
	_, err = export.Model(g)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`iota "first"`, `iota "second"`, "no ONNX form"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// The same graph gives the same bytes.
func TestDeterministic(t *testing.T) {
	g := graphgen.New(graphgen.Config{Seed: 3, Quantized: true})
	var a, b bytes.Buffer
	if err := export.Write(&a, g); err != nil {
		t.Skip("the drawn graph has no ONNX form: ", err)
	}
	if err := export.Write(&b, g); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two writes differ")
	}
	if err := proto.Unmarshal(a.Bytes(), &onnxpb.ModelProto{}); err != nil {
		t.Error(err)
	}
}
