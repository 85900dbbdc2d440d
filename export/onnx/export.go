// Package onnx writes graphs as ONNX models (opset 17): float ones, and
// quantized ones in QDQ form, where each integer op becomes dequantize, the
// float op, quantize, which ONNX runtimes fuse back. Inside the file tensors
// are NCHW where ops want them so; inputs and outputs keep the model's layout.
// It may not import passes or backends.
//
// Specification: https://onnx.ai/onnx/operators/
package onnx

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
)

const (
	opset     = 17
	irVersion = 8
)

// Write writes a graph. Ops without an ONNX form are reported together.
func Write(w io.Writer, g *ir.Graph) error {
	m, err := Model(g)
	if err != nil {
		return err
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Model builds the ONNX model of a graph.
func Model(g *ir.Graph) (*onnxpb.ModelProto, error) {
	e := &exporter{g: g, out: &onnxpb.GraphProto{Name: proto.String(g.Name)}, names: map[string]bool{}, vals: map[*ir.Value]*forms{}, shared: map[string]string{}}
	for _, v := range g.Inputs {
		name := e.unique(v.Name)
		e.vals[v] = &forms{asIs: name}
		e.out.Input = append(e.out.Input, info(name, v.Type))
	}
	outputs := make([]string, len(g.Outputs)) // named before the nodes that make them
	for i, v := range g.Outputs {
		outputs[i] = e.unique(v.Name)
	}
	var errs diag.List
	for _, n := range g.Nodes {
		if err := e.node(n); err != nil {
			errs.Add(diag.At(n.Op.Name+" "+strconv.Quote(n.Label()), err))
			for _, v := range n.Outputs { // go on, to report every such node
				e.vals[v] = &forms{asIs: "none"}
			}
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	for i, v := range g.Outputs {
		e.emit("Identity", outputs[i], nil, e.get(v))
		e.out.Output = append(e.out.Output, info(outputs[i], v.Type))
	}
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(irVersion), ProducerName: proto.String("nasc"), Graph: e.out,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(opset)}},
	}, nil
}

// forms are the names under which a value exists in the file.
type forms struct {
	asIs  string // in nasc's order of axes
	first string // channels first
	real  string // dequantized, as asIs
	realF string // dequantized, channels first
}

type exporter struct {
	g      *ir.Graph
	out    *onnxpb.GraphProto
	names  map[string]bool
	vals   map[*ir.Value]*forms
	shared map[string]string // constants by content
}

func (e *exporter) unique(want string) string {
	name := want
	for i := 1; e.names[name] || name == ""; i++ {
		name = want + "_" + strconv.Itoa(i)
	}
	e.names[name] = true
	return name
}

func info(name string, t ir.Type) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range t.Shape {
		dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}}
		if d < 0 {
			p := "N"
			if d != ir.Batch {
				p = strconv.Itoa(-d) + "N"
			}
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: p}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elemType(t.DType))), Shape: shape},
	}}}
}

func elemType(d ir.DType) onnxpb.TensorProto_DataType {
	return map[ir.DType]onnxpb.TensorProto_DataType{
		ir.F32: onnxpb.TensorProto_FLOAT, ir.F64: onnxpb.TensorProto_DOUBLE, ir.F16: onnxpb.TensorProto_FLOAT16, ir.BF16: onnxpb.TensorProto_BFLOAT16,
		ir.I64: onnxpb.TensorProto_INT64, ir.I32: onnxpb.TensorProto_INT32, ir.U8: onnxpb.TensorProto_UINT8, ir.S8: onnxpb.TensorProto_INT8, ir.Bool: onnxpb.TensorProto_BOOL,
	}[d]
}

// constant stores a tensor once and gives its name.
func (e *exporter) constant(want string, t *ir.Tensor) string {
	key := ""
	if t.Len() <= 64 {
		key = fmt.Sprintf("%v %v %x", t.DType, t.Shape, t.RawBytes())
		if name, ok := e.shared[key]; ok {
			return name
		}
	}
	name := e.unique(want)
	dims := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = int64(d)
	}
	e.out.Initializer = append(e.out.Initializer, &onnxpb.TensorProto{
		Name: proto.String(name), Dims: dims, DataType: proto.Int32(int32(elemType(t.DType))), RawData: t.RawBytes(),
	})
	if key != "" {
		e.shared[key] = name
	}
	return name
}

func (e *exporter) ints(v ...int) string {
	t := ir.NewTensor(ir.I64, len(v))
	for i, x := range v {
		t.I64()[i] = int64(x)
	}
	return e.constant("ints", t)
}

// number stores a scalar of the given type.
func (e *exporter) number(d ir.DType, v float64) string {
	t := ir.NewTensor(d)
	t.Set(0, v)
	return e.constant("scalar", t)
}

// attrs of a node; values are int, []int, float64, string.
type attrs map[string]any

// emit appends a node with one result, named after want.
func (e *exporter) emit(op, want string, a attrs, in ...string) string {
	name := want
	if !e.names[want] || op != "Identity" {
		name = e.unique(want)
	}
	e.emitN(op, []string{name}, a, in...)
	return name
}

func (e *exporter) emitN(op string, out []string, a attrs, in ...string) {
	for len(in) > 0 && in[len(in)-1] == "" {
		in = in[:len(in)-1]
	}
	n := &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(out[0]), Input: in, Output: out}
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		p := &onnxpb.AttributeProto{Name: proto.String(k)}
		switch x := a[k].(type) {
		case int:
			p.Type, p.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(x))
		case float64:
			p.Type, p.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(x))
		case string:
			p.Type, p.S = onnxpb.AttributeProto_STRING.Enum(), []byte(x)
		case []int:
			p.Type = onnxpb.AttributeProto_INTS.Enum()
			for _, i := range x {
				p.Ints = append(p.Ints, int64(i))
			}
		}
		n.Attribute = append(n.Attribute, p)
	}
	e.out.Node = append(e.out.Node, n)
}

// toFirst and toLast are the permutations between NHWC and NCHW.
func toFirst(rank int) []int {
	p := []int{0, rank - 1}
	for a := 1; a < rank-1; a++ {
		p = append(p, a)
	}
	return p
}

func toLast(rank int) []int {
	p := []int{0}
	for a := 2; a < rank; a++ {
		p = append(p, a)
	}
	return append(p, 1)
}

func (e *exporter) forms(v *ir.Value) *forms {
	f := e.vals[v]
	if f == nil {
		if v.Const == nil {
			panic("BUG: " + v.String() + " is read before it is written")
		}
		f = &forms{asIs: e.constant(v.Name, v.Const)}
		e.vals[v] = f
	}
	return f
}

// get gives a value in nasc's order.
func (e *exporter) get(v *ir.Value) string {
	f := e.forms(v)
	if f.asIs == "" {
		f.asIs = e.emit("Transpose", v.Name+"_nhwc", attrs{"perm": toLast(len(v.Type.Shape))}, f.first)
	}
	return f.asIs
}

// first gives a value with its channels first.
func (e *exporter) first(v *ir.Value) string {
	r := len(v.Type.Shape)
	if r < 3 {
		return e.get(v)
	}
	f := e.forms(v)
	if f.first == "" {
		if v.IsConst() {
			f.first = e.constant(v.Name, turned(v.Const, toFirst(r)))
		} else {
			f.first = e.emit("Transpose", v.Name+"_nchw", attrs{"perm": toFirst(r)}, f.asIs)
		}
	}
	return f.first
}

// opt gives an optional operand, "" where it is absent.
func (e *exporter) opt(v *ir.Value) string {
	if v == nil {
		return ""
	}
	return e.get(v)
}

// hasFirst says whether a value already exists with channels first.
func (e *exporter) hasFirst(v *ir.Value) bool {
	return v != nil && len(v.Type.Shape) >= 3 && v.Const == nil && e.forms(v).first != "" && e.forms(v).asIs == ""
}

func (e *exporter) setFirst(v *ir.Value, name string) {
	if len(v.Type.Shape) < 3 {
		e.vals[v] = &forms{asIs: name}
		return
	}
	e.vals[v] = &forms{first: name}
}

func (e *exporter) set(v *ir.Value, name string) { e.vals[v] = &forms{asIs: name} }

// turned transposes a constant.
func turned(t *ir.Tensor, perm []int) *ir.Tensor {
	g := ir.NewGraph("const")
	k, err := g.AddNamed("transpose", "y", ir.Attrs{"permutation": perm}, g.Const("x", t))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	out, err := k.Op.Eval(k, []*ir.Tensor{t})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return out[0]
}

func (e *exporter) node(n *ir.Node) error {
	f := writers[n.Op.Name]
	if f == nil {
		return fmt.Errorf("the op has no ONNX form in nasc")
	}
	return f(e, n)
}

// shape stores the operand of a Reshape: an extent that depends on the batch
// is left for the runtime to find.
func (e *exporter) shape(s ir.Shape) string {
	out := make([]int, len(s))
	for i, d := range s {
		out[i] = d
		if d < 0 {
			out[i] = -1
		}
	}
	return e.ints(out...)
}
