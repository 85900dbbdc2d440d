package onnx

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// model builds an ONNX file by calls.
type model struct {
	p     *onnxpb.ModelProto
	g     *onnxpb.GraphProto
	opset int
}

func newModel(opset int) *model {
	g := &onnxpb.GraphProto{Name: proto.String("g")}
	return &model{g: g, p: &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(int64(opset))}}}, opset: opset}
}

func valueInfo(name string, d onnxpb.TensorProto_DataType, dims ...any) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		switch x := d.(type) {
		case int:
			s.Dim = append(s.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(x)}})
		case string:
			s.Dim = append(s.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: x}})
		}
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(d)), Shape: s}}}}
}

func (m *model) input(name string, dims ...any) *model {
	m.g.Input = append(m.g.Input, valueInfo(name, onnxpb.TensorProto_FLOAT, dims...))
	return m
}

func (m *model) output(names ...string) *model {
	for _, n := range names {
		m.g.Output = append(m.g.Output, &onnxpb.ValueInfoProto{Name: proto.String(n)})
	}
	return m
}

func (m *model) floats(name string, dims []int64, v ...float32) *model {
	m.g.Initializer = append(m.g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), Dims: dims, DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), FloatData: v})
	return m
}

func (m *model) ints(name string, v ...int64) *model {
	m.g.Initializer = append(m.g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), Dims: []int64{int64(len(v))}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: v})
	return m
}

func (m *model) bytes(name string, kind onnxpb.TensorProto_DataType, dims []int64, v ...int32) *model {
	m.g.Initializer = append(m.g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), Dims: dims, DataType: proto.Int32(int32(kind)), Int32Data: v})
	return m
}

func attr(name string, v any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	switch x := v.(type) {
	case int:
		a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(x))
	case float64:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(x))
	case string:
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(x)
	case []int64:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), x
	}
	return a
}

// node appends "out = Op(in…)"; names are separated by spaces, _ is absent.
func (m *model) node(op, in, out string, attrs ...*onnxpb.AttributeProto) *model {
	split := func(s string) []string {
		f := strings.Fields(s)
		for i, n := range f {
			if n == "_" {
				f[i] = ""
			}
		}
		return f
	}
	m.g.Node = append(m.g.Node, &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String("n_" + out), Input: split(in), Output: split(out), Attribute: attrs})
	return m
}

func (m *model) domain(name string, version int64) *model {
	m.p.OpsetImport = append(m.p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(name), Version: proto.Int64(version)})
	return m
}

// inDomain moves the last node to another domain.
func (m *model) inDomain(name string) *model {
	m.g.Node[len(m.g.Node)-1].Domain = proto.String(name)
	return m
}

func (m *model) data(t testing.TB) []byte {
	t.Helper()
	b, err := proto.Marshal(m.p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (m *model) read(t *testing.T, o Options) *ir.Graph {
	t.Helper()
	g, _, err := Read(m.data(t), "test.onnx", o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run evaluates a graph with a batch of one on inputs 1, 2, 3, ….
func run(t *testing.T, g *ir.Graph) []*ir.Tensor {
	t.Helper()
	s, err := ir.Specialize(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	var in []*ir.Tensor
	for _, v := range s.Inputs {
		x := ir.NewTensor(v.Type.DType, v.Type.Shape...)
		for i := range x.Len() {
			x.Set(i, float64(i+1))
		}
		in = append(in, x)
	}
	r, err := eval.Run(context.Background(), s, in, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Outputs
}

func values(t *ir.Tensor) string {
	var b strings.Builder
	for i := range t.Len() {
		fmt.Fprintf(&b, "%.4g ", t.At(i))
	}
	return t.Shape.String() + " " + strings.TrimSpace(b.String())
}

func f32(dims ...int64) []int64 { return dims }

// Outputs worked out by hand, inputs 1, 2, 3, ….
func TestOps(t *testing.T) {
	for name, c := range map[string]struct {
		m    *model
		want string
	}{
		"conv with asymmetric padding": {
			newModel(13).input("x", "N", 1, 2, 2).floats("w", f32(1, 1, 2, 2), 1, 10, 100, 1000).floats("b", f32(1), 0.5).
				node("Conv", "x w b", "y", attr("pads", []int64{0, 0, 1, 0})).output("y"),
			"[1,1,2,1] 4322 43.5",
		},
		"conv SAME_UPPER, strides": {
			newModel(11).input("x", "N", 1, 3).floats("w", f32(1, 1, 2), 1, 10).
				node("Conv", "x w", "y", attr("auto_pad", "SAME_UPPER"), attr("strides", []int64{2})).output("y"),
			"[1,1,2] 21 3",
		},
		"transposed conv": {
			newModel(11).input("x", "N", 1, 2).floats("w", f32(1, 1, 2), 1, 10).node("ConvTranspose", "x w", "y", attr("strides", []int64{2})).output("y"),
			"[1,1,4] 1 10 2 20",
		},
		"gemm": {
			newModel(9).input("x", "N", 2).floats("w", f32(3, 2), 1, 0, 0, 1, 1, 1).floats("c", f32(3), 1, 2, 3).
				node("Gemm", "x w c", "y", attr("transB", 1), attr("alpha", 2.0), attr("beta", 10.0)).output("y"),
			"[1,3] 12 24 36",
		},
		"softmax before 13 joins axes": {
			newModel(11).input("x", 1, 1, 2).floats("z", f32(1, 1, 2), 0, 0).node("Mul", "x z", "m").node("Softmax", "m", "y").output("y"),
			"[1,1,2] 0.5 0.5",
		},
		"clip by inputs": {
			newModel(13).input("x", "N", 4).floats("lo", nil, 2).node("Clip", "x lo", "y").output("y"), "[1,4] 2 2 3 4",
		},
		"reshape with 0 and -1 keeps the batch": {
			newModel(13).input("x", "N", 2, 3).ints("s", 0, -1).node("Reshape", "x s", "y").output("y"), "[1,6] 1 2 3 4 5 6",
		},
		"shape arithmetic around the batch": {
			newModel(13).input("x", "N", 2, 3).ints("zero", 0).ints("minus", -1).ints("axes", 0).
				node("Shape", "x", "s").node("Gather", "s zero", "n").node("Concat", "n minus", "ns", attr("axis", 0)).node("Reshape", "x ns", "y").output("y"),
			"[1,6] 1 2 3 4 5 6",
		},
		"slice backwards": {
			newModel(13).input("x", 1, 4).ints("a", -1).ints("b", -100).ints("ax", 1).ints("st", -2).node("Slice", "x a b ax st", "y").output("y"), "[1,2] 4 2",
		},
		"split": {
			newModel(13).input("x", 1, 3).ints("k", 1, 2).node("Split", "x k", "a b", attr("axis", 1)).node("Concat", "b a", "y", attr("axis", 1)).output("y"), "[1,3] 2 3 1",
		},
		"mean over the last axis, dropped": {
			newModel(13).input("x", 2, 2).node("ReduceMean", "x", "y", attr("axes", []int64{-1}), attr("keepdims", 0)).output("y"), "[2] 1.5 3.5",
		},
		"max pool with ceil": {
			newModel(12).input("x", 1, 1, 3).node("MaxPool", "x", "y", attr("kernel_shape", []int64{2}), attr("strides", []int64{2}), attr("ceil_mode", 1)).output("y"), "[1,1,2] 2 3",
		},
		"average pool excludes padding": {
			newModel(12).input("x", 1, 1, 3).node("AveragePool", "x", "y", attr("kernel_shape", []int64{3}), attr("pads", []int64{1, 1})).output("y"), "[1,1,3] 1.5 2 2.5",
		},
		"average pool, ceil and counted padding": {
			// windows [0 1], [2 3], [4 .]: the padding counts, what ceil adds does not
			newModel(12).input("x", 1, 1, 4).node("AveragePool", "x", "y", attr("kernel_shape", []int64{2}), attr("strides", []int64{2}), attr("pads", []int64{1, 0}), attr("ceil_mode", 1), attr("count_include_pad", 1)).output("y"), "[1,1,3] 0.5 2.5 4",
		},
		"transposed conv to a larger shape": {
			newModel(11).input("x", "N", 1, 2).floats("w", f32(1, 1, 1), 2).floats("b", f32(1), 5).node("ConvTranspose", "x w b", "y", attr("strides", []int64{2}), attr("output_shape", []int64{5})).output("y"), "[1,1,5] 7 5 9 5 5",
		},
		"local response norm": {
			// x / (1 + Σ x² over 3 channels)
			newModel(13).input("x", "N", 3, 1, 1).node("LRN", "x", "y", attr("size", 3), attr("alpha", 3.0), attr("beta", 1.0), attr("bias", 1.0)).output("y"), "[1,3,1,1] 0.1667 0.1333 0.2143",
		},
		"log of summed exponentials": {
			newModel(13).input("x", 1, 2).node("ReduceLogSumExp", "x", "y", attr("axes", []int64{1}), attr("keepdims", 0)).output("y"), "[1] 2.313",
		},
		"least place": {
			newModel(13).input("x", 1, 3).floats("z", f32(1, 3), 0, -5, 0).node("Add", "x z", "s").node("ArgMin", "s", "y", attr("axis", 1), attr("keepdims", 0)).output("y"), "[1] 1",
		},
		"softsign, celu, thresholded": {
			newModel(13).input("x", 1, 2).floats("c", nil, 2).node("Sub", "x c", "d").node("Softsign", "d", "a").node("Celu", "d", "b", attr("alpha", 2.0)).node("ThresholdedRelu", "x", "e", attr("alpha", 1.5)).
				node("Concat", "a b e", "y", attr("axis", 1)).output("y"), "[1,6] -0.5 0 -0.7869 0 0 2",
		},
		"norm of zeros": {
			newModel(13).input("x", 1, 2).floats("z", nil, 0).node("Mul", "x z", "o").node("LpNormalization", "o", "y").output("y"), "[1,2] 0 0",
		},
		"integers of a quantized tensor": {
			newModel(13).input("x", 1, 3).floats("s", nil, 1).bytes("z", onnxpb.TensorProto_INT8, nil, -3).node("QuantizeLinear", "x s z", "q").node("Cast", "q", "y", attr("to", 6)).output("y"), "[1,3] -2 -1 0",
		},
		"slice backwards to the largest integer": {
			newModel(13).input("x", 1, 3).ints("a", 1).ints("b", 1<<63-1).ints("ax", 1).ints("st", -1).node("Slice", "x a b ax st", "y").output("y"), "[1,2] 2 1",
		},
		"fused convolution": {
			newModel(13).input("x", "N", 1, 2, 1).floats("w", f32(1, 1, 1, 1), -1).floats("b", f32(1), 1.5).domain("com.microsoft", 1).node("FusedConv", "x w b", "y", attr("activation", "Relu")).inDomain("com.microsoft").output("y"), "[1,1,2,1] 0.5 0",
		},
		"pad reflects": {
			newModel(13).input("x", 1, 3).ints("p", 0, 2, 0, 0).node("Pad", "x p", "y", attr("mode", "reflect")).output("y"), "[1,5] 3 2 1 2 3",
		},
		"tile and expand": {
			newModel(13).input("x", 1, 2).ints("r", 2, 2).node("Tile", "x r", "y").output("y"), "[2,4] 1 2 1 2 1 2 1 2",
		},
		"resize nearest by scales": {
			newModel(13).input("x", 1, 1, 2).floats("s", f32(3), 1, 1, 2).node("Resize", "x _ s", "y", attr("coordinate_transformation_mode", "asymmetric"), attr("nearest_mode", "floor")).output("y"), "[1,1,4] 1 1 2 2",
		},
		"batch norm": {
			newModel(9).input("x", "N", 2, 1).floats("s", f32(2), 2, 1).floats("b", f32(2), 1, 0).floats("m", f32(2), 1, 1).floats("v", f32(2), 1, 1).
				node("BatchNormalization", "x s b m v", "y", attr("epsilon", 0.0)).output("y"), "[1,2,1] 1 1",
		},
		"where and compare": {
			newModel(13).input("x", 1, 3).floats("c", nil, 2).floats("z", nil, 0).node("Greater", "x c", "g").node("Where", "g x z", "y").output("y"), "[1,3] 0 0 3",
		},
		"quantize and back": {
			newModel(13).input("x", 1, 3).floats("s", nil, 2).bytes("z", onnxpb.TensorProto_UINT8, nil, 10).node("QuantizeLinear", "x s z", "q").node("DequantizeLinear", "q s z", "y").output("y"), "[1,3] 0 2 4",
		},
		"integer matrix product": {
			newModel(13).input("x", 1, 2).bytes("w", onnxpb.TensorProto_INT8, f32(2, 1), 1, -1).node("DynamicQuantizeLinear", "x", "q s z").node("MatMulInteger", "q w z", "i").node("Cast", "i", "f", attr("to", 1)).node("Mul", "f s", "y").output("y"), "[1,1] -1.004",
		},
		"range and constant of shape": {
			newModel(13).input("x", 1, 3).ints("s", 3).node("ConstantOfShape", "s", "c").node("Add", "x c", "y").output("y"), "[1,3] 1 2 3",
		},
		"depth to space": {
			newModel(13).input("x", 1, 4, 1, 1).node("DepthToSpace", "x", "y", attr("blocksize", 2)).output("y"), "[1,1,2,2] 1 2 3 4",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := values(run(t, c.m.read(t, Options{}))[0]); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
		})
	}
}

func TestErrorsNameEveryNode(t *testing.T) {
	m := newModel(13).input("x", "N", 3).node("Foo", "x", "a").node("Bar", "a", "b").node("TopK", "x", "c").output("b")
	_, _, err := Read(m.data(t), "net.onnx", Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`net.onnx: node "n_a" (Foo, opset 13)`, `"n_b" (Bar, opset 13)`, `"n_c" (TopK, opset 13)`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestBadModels(t *testing.T) {
	good := newModel(13).input("x", "N", 1, 4, 4).floats("w", f32(1, 1, 1, 1), 2).node("Conv", "x w", "y").output("y")
	whole := good.data(t)
	for name, c := range map[string]struct {
		data []byte
		o    Options
		want string
	}{
		"truncated":         {whole[:len(whole)-7], Options{}, "m.onnx"},
		"empty":             {nil, Options{}, "no graph with outputs"},
		"text":              {[]byte("<html>not here</html>"), Options{}, "no ONNX model"},
		"old opset":         {newModel(5).input("x", 1).node("Relu", "x", "y").output("y").data(t), Options{}, "opset 5; wanted 7 to 21"},
		"unknown input":     {whole, Options{Shapes: map[string]ir.Shape{"z": {1}}}, "no input of this name; wanted one of x"},
		"wrong rank":        {whole, Options{Shapes: map[string]ir.Shape{"x": {1, 4}}}, "2 axes; wanted 4"},
		"fixed axis":        {whole, Options{Shapes: map[string]ir.Shape{"x": {1, 1, 5, 4}}}, "5 on axis 2; wanted 4"},
		"open axes":         {newModel(13).input("x", "N", 3, "h", "w").node("Relu", "x", "y").output("y").data(t), Options{}, "give --shape x=1x3x…x…"},
		"weights too short": {newModel(13).input("x", "N", 2).floats("w", f32(2, 2), 1, 2, 3).node("MatMul", "x w", "y").output("y").data(t), Options{}, "3 elements; wanted 4"},
		"NaN weights":       {newModel(13).input("x", "N", 1).floats("w", f32(1, 1), nan()).node("MatMul", "x w", "y").output("y").data(t), Options{}, "NaN"},
		"missing value":     {newModel(13).input("x", "N", 1).node("Relu", "z", "y").output("y").data(t), Options{}, `input "z" that nothing computes`},
		"channels":          {newModel(13).input("x", "N", 2, 4, 4).floats("w", f32(1, 1, 1, 1), 2).node("Conv", "x w", "y").output("y").data(t), Options{}, "input has 2 channels"},
		"no such output":    {newModel(13).input("x", "N", 1).node("Relu", "x", "y").output("u").data(t), Options{}, "no node computes it"},
	} {
		_, _, err := Read(c.data, "m.onnx", c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, want %q", name, err, c.want)
		}
	}
}

func nan() float32 {
	var z float32
	return z / z
}

func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), []byte{0, 0, 0, 0, 0, 0, 0x40, 0x40}, 0o600); err != nil {
		t.Fatal(err)
	}
	m := newModel(13).input("x", 1, 1).node("MatMul", "x w", "y").output("y")
	kv := func(k, v string) *onnxpb.StringStringEntryProto {
		return &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(v)}
	}
	w := &onnxpb.TensorProto{Name: proto.String("w"), Dims: f32(1, 1), DataType: proto.Int32(1), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	w.ExternalData = []*onnxpb.StringStringEntryProto{kv("location", "w.bin"), kv("offset", "4"), kv("length", "4")}
	m.g.Initializer = append(m.g.Initializer, w)
	path := filepath.Join(dir, "m.onnx")
	read := func() (*ir.Graph, error) {
		if err := os.WriteFile(path, m.data(t), 0o600); err != nil {
			t.Fatal(err)
		}
		g, _, err := Import(path, Options{})
		return g, err
	}
	g, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if got := values(run(t, g)[0]); got != "[1,1] 3" {
		t.Errorf("found %s, want 3", got)
	}
	for location, want := range map[string]string{"../w.bin": "beside the model", "none.bin": "none.bin"} {
		w.ExternalData[0].Value = proto.String(location)
		if _, err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found %v, want %q", location, err, want)
		}
	}
	w.ExternalData[0].Value, w.ExternalData[2].Value = proto.String("w.bin"), proto.String("400")
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("found %v, want: cut short", err)
	}
}

// The batch stays symbolic where the model allows it and is fixed where not.
func TestSymbolicBatch(t *testing.T) {
	m := newModel(13).input("x", "N", 4).ints("k", 2, 2).ints("zero", 0).node("Shape", "x", "s").node("Gather", "s zero", "n").node("Concat", "n k", "nk", attr("axis", 0)).node("Reshape", "x nk", "y").output("y")
	if g := m.read(t, Options{}); g.Outputs[0].Type.String() != "f32[N,2,2]" {
		t.Errorf("output is %v, want f32[N,2,2]", g.Outputs[0].Type)
	}
	// 0·N is 0, 1·N + 0 is N: how shapes around the batch are often put together.
	m = newModel(13).input("x", "N", 4).ints("zero", 0).ints("f", 1, 0).ints("k", 0, 4).node("Shape", "x", "s").node("Gather", "s zero", "n").
		node("Mul", "f n", "a").node("Add", "a k", "d").floats("c", f32(1, 4), 1, 2, 3, 4).node("Expand", "c d", "e").node("Add", "x e", "y").output("y")
	if g := m.read(t, Options{}); g.Outputs[0].Type.String() != "f32[N,4]" {
		t.Errorf("output is %v, want f32[N,4]", g.Outputs[0].Type)
	}
	m = newModel(13).input("x", "N", 4).node("Shape", "x", "s").node("Cast", "s", "f", attr("to", 1)).node("ReduceSum", "f", "r", attr("keepdims", 0)).node("Mul", "x r", "y").output("y")
	g, info, err := Read(m.data(t), "m", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if g.Outputs[0].Type.String() != "f32[1,4]" || len(info.Notes) != 1 {
		t.Errorf("output is %v, notes %q; want a batch fixed to 1, and that said", g.Outputs[0].Type, info.Notes)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(newModel(13).input("x", "N", 1, 4, 4).floats("w", f32(1, 1, 3, 3), 1, 2, 3, 4, 5, 6, 7, 8, 9).node("Conv", "x w", "c", attr("pads", []int64{1, 1, 1, 1})).node("Relu", "c", "y").output("y").data(f))
	f.Add(newModel(11).input("x", 2, 3).ints("s", 3, -1).node("Reshape", "x s", "r").node("Softmax", "r", "y").output("y").data(f))
	f.Add(newModel(13).input("x", 1, 4).ints("a", 1).ints("b", 3).node("Slice", "x a b", "y").node("Concat", "y y", "z", attr("axis", 0)).output("z").data(f))
	f.Add(newModel(13).input("x", 1, 3).floats("s", nil, 2).bytes("z", onnxpb.TensorProto_UINT8, nil, 10).node("QuantizeLinear", "x s z", "q").node("DequantizeLinear", "q s z", "y").output("y").data(f))
	f.Add(newModel(12).input("x", 1, 1, 6).node("MaxPool", "x", "y", attr("kernel_shape", []int64{2}), attr("ceil_mode", 1)).node("Shape", "y", "s").node("Expand", "y s", "z").output("z").data(f))
	f.Add(newModel(14).input("x", 3, 1, 2).floats("w", f32(1, 4, 2), 1, 1, 1, 1, 1, 1, 1, 1).floats("r", f32(1, 4, 1), 1, 1, 1, 1).node("LSTM", "x w r", "y", attr("hidden_size", 1)).output("y").data(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, _, err := Read(data, "fuzz.onnx", Options{})
		if err != nil {
			return
		}
		if err := g.Verify(); err != nil {
			t.Fatalf("an imported graph does not verify: %v", err)
		}
	})
}
