package onnx

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
)

// node is one ONNX node while it is converted.
type node struct {
	c     *importer
	p     *onnxpb.NodeProto
	attrs map[string]*onnxpb.AttributeProto
	err   error // the first fault of a reader below
}

// converter turns a node into values, one for each result that is named.
type converter func(n *node) ([]item, error)

func (c *importer) node(p *onnxpb.NodeProto) error {
	n := &node{c: c, p: p, attrs: map[string]*onnxpb.AttributeProto{}}
	for _, a := range p.GetAttribute() {
		n.attrs[a.GetName()] = a
	}
	domain := p.GetDomain()
	if domain == "ai.onnx" {
		domain = ""
	}
	key := p.GetOpType()
	if domain != "" {
		key = domain + "." + key
	}
	f := converters[key]
	place := fmt.Sprintf("node %s (%s, opset %d)", strconv.Quote(n.name()), key, c.domains[domain])
	if f == nil {
		n.poison()
		return &diag.Error{Place: place, Found: "an op that nasc does not have", Fix: "export the model without it, or open an issue with the op's name"}
	}
	for _, in := range p.GetInput() {
		if _, ok := c.vals[in]; !ok && in != "" {
			n.poison()
			if c.errs != nil { // its source was reported already
				return nil
			}
			return &diag.Error{Place: place, Found: "input " + strconv.Quote(in) + " that nothing computes before it"}
		}
	}
	out, err := f(n)
	if err == nil {
		err = n.err
	}
	if err != nil {
		n.poison()
		if errors.Is(err, errPoisoned) {
			return nil
		}
		return diag.At(place, err)
	}
	for i, name := range p.GetOutput() {
		switch {
		case name == "":
		case i < len(out):
			c.vals[name] = out[i]
		default:
			return &diag.Error{Place: place, Found: "result " + strconv.Quote(name), Wanted: fmt.Sprintf("at most %d results", len(out))}
		}
	}
	return nil
}

// errPoisoned silences nodes that read the result of one already reported.
var errPoisoned = errors.New("reads what could not be read")

// poison leaves the node's results without a value.
func (n *node) poison() {
	for _, name := range n.p.GetOutput() {
		delete(n.c.vals, name)
	}
}

func (n *node) name() string {
	if s := n.p.GetName(); s != "" {
		return s
	}
	if o := n.p.GetOutput(); len(o) > 0 {
		return o[0]
	}
	return n.p.GetOpType()
}

func (n *node) fail(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf(format, args...)
	}
}

// has says whether input i is given.
func (n *node) has(i int) bool { return i < len(n.p.GetInput()) && n.p.GetInput()[i] != "" }

func (n *node) item(i int) item {
	if !n.has(i) {
		n.fail("input %d is missing", i)
		return item{}
	}
	return n.c.vals[n.p.GetInput()[i]]
}

// in gives input i as a value; nil for an absent one after opt.
func (n *node) in(i int) *ir.Value {
	it := n.item(i)
	if it.v == nil && it.dims != nil {
		n.failErr(errSymbolic)
	}
	if it.v == nil {
		n.fail("input %d is missing", i)
		return &ir.Value{Name: "missing", Type: ir.T(ir.F32, 1, 1, 1, 1)}
	}
	return it.v
}

func (n *node) failErr(err error) {
	if n.err == nil {
		n.err = err
	}
}

func (n *node) opt(i int) *ir.Value {
	if !n.has(i) {
		return nil
	}
	return n.in(i)
}

// constant gives input i, which must be known while compiling.
func (n *node) constant(i int, what string) *ir.Tensor {
	v := n.in(i)
	if !v.IsConst() {
		n.fail("%s is computed while the model runs; wanted a constant", what)
		return ir.NewTensor(ir.F32, 1)
	}
	return v.Const
}

// ints gives input i as integers.
func (n *node) ints(i int, what string) []int {
	if it := n.item(i); it.dims != nil {
		n.failErr(errSymbolic)
		return nil
	}
	return n.constant(i, what).Ints()
}

// dims gives input i as integers of which some may be multiples of N.
func (n *node) dims(i int, what string) []dim {
	if it := n.item(i); it.dims != nil {
		return it.dims
	}
	t := n.constant(i, what)
	out := make([]dim, t.Len())
	for k := range out {
		out[k] = dim{k: t.Int(k)}
	}
	return out
}

func (n *node) attrInt(name string, def int) int {
	if a := n.attrs[name]; a != nil {
		return int(a.GetI())
	}
	return def
}

func (n *node) attrFloat(name string, def float64) float64 {
	if a := n.attrs[name]; a != nil {
		return float64(a.GetF())
	}
	return def
}

func (n *node) attrStr(name, def string) string {
	if a := n.attrs[name]; a != nil {
		return string(a.GetS())
	}
	return def
}

// attrInts gives a list attribute; nil where it is absent.
func (n *node) attrInts(name string) []int {
	a := n.attrs[name]
	if a == nil {
		return nil
	}
	out := make([]int, len(a.GetInts()))
	for i, v := range a.GetInts() {
		out[i] = int(v)
	}
	return out
}

// refuse reports attributes that change the meaning in a way nasc has not.
func (n *node) refuse(name string, allowed ...any) {
	a := n.attrs[name]
	if a == nil {
		return
	}
	for _, v := range allowed {
		switch x := v.(type) {
		case int:
			if int(a.GetI()) == x {
				return
			}
		case string:
			if string(a.GetS()) == x {
				return
			}
		}
	}
	n.fail("attribute %s of this value is not had; wanted one of %v", name, allowed)
}

// emit appends a node and evaluates it at once where all its operands are
// small constants: that is how shape arithmetic disappears.
func (n *node) emit(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	if out := n.emitAll(op, attrs, in...); out != nil {
		return out[0]
	}
	return &ir.Value{Name: "error", Type: ir.T(ir.F32, 1, 1, 1, 1)}
}

// maxFolded is the size in elements up to which results are computed here.
const maxFolded = 1 << 16

func (n *node) emitAll(op string, attrs ir.Attrs, in ...*ir.Value) []*ir.Value {
	if n.err != nil {
		return nil
	}
	k, err := n.c.g.AddNamed(op, n.resultName(), attrs, in...)
	if err != nil {
		n.err = err
		return nil
	}
	k.Name = n.name()
	args := make([]*ir.Tensor, max(len(k.Op.In), len(in)))
	fold := k.Op.Class != ir.Quantized
	for i, v := range in {
		if v == nil {
			continue
		}
		if fold = fold && v.IsConst(); fold {
			args[i] = v.Const
		}
	}
	for _, v := range k.Outputs {
		fold = fold && v.Type.Shape.Static() && v.Type.Shape.Elems() <= maxFolded
	}
	if !fold {
		return k.Outputs
	}
	out, err := k.Op.Eval(k, args)
	if err != nil {
		n.err = err
		return nil
	}
	vs := make([]*ir.Value, len(out))
	for i, t := range out {
		vs[i] = n.c.g.Const(n.resultName(), t)
	}
	return vs
}

func (n *node) resultName() string {
	if o := n.p.GetOutput(); len(o) > 0 {
		return o[0]
	}
	return ""
}

// scalar makes a constant of the element type of like.
func (n *node) scalar(like *ir.Value, v float64) *ir.Value {
	t := ir.NewTensor(like.Type.DType)
	t.Set(0, v)
	return n.c.g.Const(n.resultName()+".c", t)
}

// one wraps a value as the only result.
func one(v *ir.Value) ([]item, error) { return []item{{v: v}}, nil }

// turn transposes a value; a constant, or a dequantized constant, at once.
func (n *node) turn(v *ir.Value, perm []int) *ir.Value {
	if d := v.Def; d != nil && d.Op.Name == "uniform_dequantize" && d.Inputs[0].IsConst() {
		q := d.Inputs[0]
		t := n.turnTensor(q.Const, perm)
		quant := *q.Type.Quant
		for i, p := range perm {
			if p == q.Type.Quant.Axis {
				quant.Axis = i
				break
			}
		}
		return n.emit("uniform_dequantize", nil, n.c.g.QConst(q.Name, t, &quant))
	}
	if v.IsConst() {
		return n.c.g.Const(v.Name, n.turnTensor(v.Const, perm))
	}
	return n.emit("transpose", ir.Attrs{"permutation": perm}, v)
}

func (n *node) turnTensor(t *ir.Tensor, perm []int) *ir.Tensor {
	g := ir.NewGraph("const")
	k, err := g.AddNamed("transpose", "y", ir.Attrs{"permutation": perm}, g.Const("x", t))
	if err != nil {
		n.failErr(err)
		return t
	}
	out, err := k.Op.Eval(k, []*ir.Tensor{t})
	if err != nil {
		n.failErr(err)
		return t
	}
	return out[0]
}

// channelsLast and channelsFirst move between NCHW and NHWC.
func (n *node) channelsLast(v *ir.Value) *ir.Value {
	r := len(v.Type.Shape)
	if r < 3 {
		return v
	}
	perm := []int{0}
	for a := 2; a < r; a++ {
		perm = append(perm, a)
	}
	return n.turn(v, append(perm, 1))
}

func (n *node) channelsFirst(v *ir.Value) *ir.Value {
	r := len(v.Type.Shape)
	if r < 3 {
		return v
	}
	perm := []int{0, r - 1}
	for a := 1; a < r-1; a++ {
		perm = append(perm, a)
	}
	return n.turn(v, perm)
}

func (n *node) axis(a, rank int) int {
	p, err := ir.NormAxis(a, rank)
	if err != nil {
		n.failErr(err)
	}
	return p
}
