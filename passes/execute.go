package passes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// Execute turns a graph on levels, as Simulate makes it, into the quantized
// graph that computes the same bits: constants are evaluated by the ops' own
// definitions, weights and biases stored as the integers they are, chains of
// functions between levels become tables.
//
//	%w = fake_quantize @w …            %y = q_convolution %x @w @b @m
//	%a = convolution %x %w %b       →
//	%y = fake_quantize %a …
func Execute(g *ir.Graph) (*ir.Graph, *QuantReport, error) {
	e := &executor{
		b: &ir.Builder{G: ir.NewGraph(g.Name)}, uses: g.Uses(), values: map[*ir.Value]*ir.Tensor{},
		q: map[*ir.Value]*ir.Value{}, f: map[*ir.Value]*ir.Value{}, report: &QuantReport{},
	}
	for _, v := range g.Inputs {
		e.f[v] = e.b.Input(v.Name, v.Type)
	}
	for _, n := range g.Nodes {
		if err := e.node(n); err != nil {
			return nil, nil, diag.At("execute "+n.Label(), err)
		}
	}
	out := e.b.G
	for _, v := range g.Outputs {
		out.Outputs = append(out.Outputs, e.real(v))
	}
	if err := e.b.Err(); err != nil {
		return nil, nil, diag.At("execute", err)
	}
	out.RemoveDead()
	for i, v := range g.Outputs {
		if w := out.Outputs[i]; w.Def != nil && w.Name != v.Name {
			out.Rename(w, v.Name)
		}
	}
	if err := out.Verify(); err != nil {
		return nil, nil, diag.At("quantized graph", err)
	}
	e.count(out)
	return out, e.report, nil
}

// executor makes the quantized graph, node by node.
type executor struct {
	b      *ir.Builder
	uses   map[*ir.Value][]ir.Use
	values map[*ir.Value]*ir.Tensor // of what depends on constants only
	q      map[*ir.Value]*ir.Value  // levels → 8-bit form
	f      map[*ir.Value]*ir.Value  // real value → itself
	report *QuantReport
}

// value is the tensor of a constant or of what was computed from constants.
func (e *executor) value(v *ir.Value) *ir.Tensor {
	switch {
	case v == nil:
		return nil
	case v.IsConst():
		return v.Const
	}
	return e.values[v]
}

func (e *executor) node(n *ir.Node) error {
	if done, err := e.constant(n); done || err != nil {
		return err
	}
	switch {
	case n.Op.Name == "fake_quantize":
		return e.quantize(n)
	case n.Op.Name == "multiply" && e.isFactor(n.Inputs[1]):
		return e.scaled(n)
	case e.sums(n):
		return nil // its reader does it
	case e.levels(n.In(0)):
		return e.mover(n)
	}
	in := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		if v != nil {
			in[i] = e.real(v)
		}
	}
	for i, y := range e.b.Multi(n.Op.Name, n.Out().Name, n.Attrs, in...) {
		y.Def.Name = n.Name
		e.f[n.Outputs[i]] = y
	}
	return e.b.Err()
}

// constant evaluates what depends on constants only.
func (e *executor) constant(n *ir.Node) (bool, error) {
	in := make([]*ir.Tensor, max(len(n.Inputs), len(n.Op.In)))
	for i, v := range n.Inputs {
		if in[i] = e.value(v); v != nil && (in[i] == nil || e.levels(v)) {
			return false, nil
		}
	}
	out, err := n.Op.Eval(n, in)
	if err != nil {
		return true, err
	}
	if n.Op.Name == "fake_quantize" && n.Int("qmax")-n.Int("qmin") == 255 { // an activation's levels
		o, err := e.out(n)
		if err != nil {
			return true, err
		}
		t := ir.NewTensor(o.DType, out[0].Shape...)
		for i, v := range out[0].F32() {
			t.Set(i, float64(v)+float64(o.Zero))
		}
		e.q[n.Out()] = e.b.QConst(constName(n.Out())+".q", t, ir.PerTensor(o.Scale, o.Zero))
	}
	for i, v := range n.Outputs {
		e.values[v] = out[i]
	}
	return true, nil
}

func (e *executor) levels(v *ir.Value) bool { return v != nil && e.q[v] != nil }

// isFactor says whether a value is a scale or a factor made of scales.
func (e *executor) isFactor(v *ir.Value) bool {
	if v == nil || v.Type.DType != ir.F32 || len(v.Type.Shape) != 1 {
		return false
	}
	if v.IsConst() {
		return slices.ContainsFunc(e.uses[v], func(u ir.Use) bool { return u.Node != nil && u.Node.Op.Name == "requantize_factor" })
	}
	return v.Def != nil && v.Def.Op.Name == "requantize_factor"
}

// sums says whether a node adds up products of levels, which stay integers
// until a fake_quantize or a factor reads them.
func (e *executor) sums(n *ir.Node) bool {
	switch n.Op.Name {
	case "convolution", "convolution_transpose", "dot", "reduce_sum", "average_pool":
		return e.levels(n.Inputs[0])
	case "multiply", "dot_general":
		return e.levels(n.Inputs[0]) && e.levels(n.Inputs[1])
	case "add":
		a, b := n.Inputs[0].Def, n.Inputs[1].Def
		return e.share(a) && e.share(b)
	}
	return false
}

// share says whether a node is an operand's part in an addition.
func (e *executor) share(n *ir.Node) bool {
	if n == nil || n.Op.Name != "multiply" || !e.levels(n.Inputs[0]) {
		return false
	}
	f := n.Inputs[1].Def
	return f != nil && f.Op.Name == "requantize_factor" && f.Str("kind") == "share"
}

// scaled is a product of levels or sums with a factor: real numbers.
func (e *executor) scaled(n *ir.Node) error {
	x := n.Inputs[0]
	switch {
	case e.share(n):
		return nil // see sums
	case x.Def != nil && e.sums(x.Def):
		y, err := e.arithmetic(x.Def, n, n.Inputs[1], ir.Out{DType: ir.F32})
		e.f[n.Out()] = y
		return err
	case e.levels(x):
		s, v := e.q[x].Type.Quant.Scale[0], e.value(n.Inputs[1])
		if v.Len() != 1 || v.F32()[0] != s {
			return &diag.Error{Found: "levels times another scale than their own", Wanted: "a graph as Simulate makes it"}
		}
		y := e.b.Named("uniform_dequantize", n.Out().Name, nil, e.q[x])
		e.f[n.Out()] = y
		return e.b.Err()
	}
	y := e.b.Named("multiply", n.Out().Name, n.Attrs, e.real(x), e.real(n.Inputs[1]))
	e.f[n.Out()] = y
	return e.b.Err()
}

// real gives a value in its own element type.
func (e *executor) real(v *ir.Value) *ir.Value {
	if w := e.f[v]; w != nil {
		return w
	}
	t := e.value(v)
	if t == nil {
		e.b.Fail(fmt.Errorf("BUG: %s is read as real numbers, and holds levels or sums", v))
		return v
	}
	e.f[v] = e.b.Const(v.Name, t)
	return e.f[v]
}

// out reads what a fake_quantize gives: the scale its factor divides by, the
// zero point and the levels.
func (e *executor) out(n *ir.Node) (ir.Out, error) {
	o := ir.Out{DType: ir.U8}
	if n.Int("qmin") < 0 {
		o.DType = ir.S8
	}
	lo, hi := o.DType.Range()
	if n.Int("qmin") != int(lo) || n.Int("qmax") != int(hi) {
		return o, &diag.Error{Found: fmt.Sprintf("levels %d to %d", n.Int("qmin"), n.Int("qmax")), Wanted: fmt.Sprintf("%d to %d for an activation", lo, hi)}
	}
	f := n.Inputs[1].Def
	if f == nil || f.Op.Name != "requantize_factor" || f.In(2) == nil {
		return o, &diag.Error{Found: "a factor that is no requantize_factor with a scale for the result", Wanted: "a graph as Simulate makes it"}
	}
	s := e.value(f.In(2))
	if s == nil || s.Len() != 1 {
		return o, &diag.Error{Found: "a scale that is computed, or one for each channel", Wanted: "one number"}
	}
	if o.Scale = s.F32()[0]; !(o.Scale >= quant.MinScale) {
		return o, &diag.Error{Found: fmt.Sprintf("scale %v", o.Scale), Wanted: "a positive number", Fix: "train with a lower learning rate"}
	}
	zero := 0.0
	if v := n.In(2); v != nil {
		t := e.value(v)
		if t == nil {
			return o, &diag.Error{Found: "a zero point that is computed", Wanted: "a constant"}
		}
		zero = t.At(0)
	}
	a, b, _ := ir.FakeBounds(n, zero)
	_, top, _ := ir.FakeBounds(n, zero)
	o.Zero = hi - int32(top)
	o.QMin, o.QMax = o.Zero+int32(a), o.Zero+int32(b)
	if o.QMin >= o.QMax {
		return o, &diag.Error{Found: fmt.Sprintf("zero point %d, which leaves no levels above it", o.Zero), Wanted: "two levels or more"}
	}
	return o, nil
}

// quantize emits the 8-bit result of a fake_quantize.
func (e *executor) quantize(n *ir.Node) error {
	o, err := e.out(n)
	if err != nil {
		return err
	}
	x := n.Inputs[0]
	var y *ir.Value
	switch {
	case e.levels(x):
		y, err = e.lookup(n, nil, x, o)
	case x.Def != nil && e.sums(x.Def):
		y, err = e.arithmetic(x.Def, n, n.Inputs[1], o)
	default:
		if chain, from := e.chain(x); from != nil {
			y, err = e.lookup(n, chain, from, o)
			break
		}
		f := e.value(n.Inputs[1])
		if f.Len() != 1 || f.F32()[0] != ir.InverseScale(o.Scale) {
			return &diag.Error{Found: "real numbers quantized by another factor than the scale's inverse", Wanted: "a graph as Simulate makes it"}
		}
		y = e.b.Named("uniform_quantize", n.Out().Name, ir.Attrs{}.SetOut(o), e.real(x))
	}
	if err != nil {
		return err
	}
	if y.Def != nil && n.Name != "" {
		y.Def.Name = n.Name
	}
	e.q[n.Out()] = y
	return e.b.Err()
}

// chain walks back from x through functions of one tensor to levels times
// their scale; from is nil where there are none.
func (e *executor) chain(x *ir.Value) (chain []*ir.Node, from *ir.Value) {
	for x.Def != nil {
		n := x.Def
		if n.Op.Name == "multiply" && e.isFactor(n.Inputs[1]) && e.levels(n.Inputs[0]) {
			return append([]*ir.Node{n}, chain...), n.Inputs[0]
		}
		if roleOf(n, &QuantizeOptions{}) != table {
			return nil, nil
		}
		chain = append([]*ir.Node{n}, chain...)
		x = n.In(dataOperand(n))
	}
	return nil, nil
}

// lookup emits the table of what chain and n make of each level of from.
func (e *executor) lookup(n *ir.Node, chain []*ir.Node, from *ir.Value, o ir.Out) (*ir.Value, error) {
	x := e.q[from]
	p := quant.Of(x.Type)
	lo, _ := p.DType.Range()
	t := ir.NewTensor(ir.F32, 256)
	for i := range t.F32() {
		t.F32()[i] = float32(int32(i) + lo - p.Zero)
	}
	for _, k := range append(slices.Clone(chain), n) {
		at := 0
		if k != n {
			at = dataOperand(k)
		}
		c := &ir.Node{Op: k.Op, Name: k.Name, Attrs: k.Attrs, Inputs: slices.Clone(k.Inputs)}
		in := make([]*ir.Tensor, max(len(k.Inputs), len(k.Op.In)))
		for i, v := range k.Inputs {
			if i == at {
				in[i] = t
				c.Inputs[i] = &ir.Value{Name: "x", Type: ir.T(ir.F32, 256)}
			} else if v != nil {
				w := e.value(v)
				if k != n {
					w = w.Reshaped(1)
				}
				in[i] = w
				c.Inputs[i] = &ir.Value{Name: v.Name, Type: w.Type(), Const: w}
			}
		}
		c.Outputs = []*ir.Value{{Name: "y", Type: ir.T(ir.F32, 256), Def: c}}
		out, err := k.Op.Eval(c, in)
		if err != nil {
			return nil, err
		}
		t = out[0]
	}
	levels := ir.NewTensor(o.DType, 256)
	for i, v := range t.F32() {
		levels.Set(i, float64(v)+float64(o.Zero))
	}
	attrs := ir.Attrs{"out_scale": float64(o.Scale), "out_zero": int(o.Zero)}
	if len(chain) == 2 { // the scale and one function
		attrs["function"] = chain[1].Op.Name
	}
	name := n.Out().Name
	return e.b.Named("q_lookup", name, attrs, x, e.b.Const(name+".table", levels)), nil
}

// arithmetic emits the integer form of sums, which to brings to its result by
// factor.
func (e *executor) arithmetic(n, to *ir.Node, factor *ir.Value, o ir.Out) (*ir.Value, error) {
	attrs := maps.Clone(n.Attrs)
	if attrs == nil {
		attrs = ir.Attrs{}
	}
	attrs.SetOut(o)
	name := to.Out().Name
	var y *ir.Value
	switch n.Op.Name {
	case "convolution", "convolution_transpose", "dot":
		var err error
		if y, err = e.contraction(n, name, attrs, factor); err != nil {
			return nil, err
		}
	case "add":
		y = e.b.Named("q_add", name, attrs, e.q[n.Inputs[0].Def.Inputs[0]], e.q[n.Inputs[1].Def.Inputs[0]])
	case "reduce_sum", "average_pool":
		op := map[string]string{"reduce_sum": "q_reduce_mean", "average_pool": "q_average_pool"}[n.Op.Name]
		y = e.b.Named(op, name, attrs, e.q[n.Inputs[0]])
	default:
		a, b := e.q[n.Inputs[0]], e.q[n.Inputs[1]]
		if n.Op.Name == "dot_general" && a.Type.DType == ir.S8 && b.Type.DType == ir.S8 {
			p := quant.Of(a.Type)
			u := p.As(ir.U8)
			a = e.b.Named("q_lookup", name+".a", ir.Attrs{"out_scale": float64(u.Scale), "out_zero": int(u.Zero)}, a, e.b.Const(name+".a.table", quant.Table(p, u, quant.Identity)))
		}
		y = e.b.Named("q_"+n.Op.Name, name, attrs, a, b)
	}
	if y.Def != nil {
		y.Def.Name = n.Name
	}
	return y, e.b.Err()
}

// integers gives the whole numbers of weights or biases on levels.
func (e *executor) integers(v *ir.Value, what string) ([]float32, error) {
	t := e.value(v)
	if t == nil || v.Def == nil || v.Def.Op.Name != "fake_quantize" {
		return nil, &diag.Error{Found: "a " + what + " that is no fake_quantize of a constant", Wanted: "a graph as Simulate makes it"}
	}
	return t.F32(), nil
}

func (e *executor) contraction(n *ir.Node, name string, attrs ir.Attrs, factor *ir.Value) (*ir.Value, error) {
	x, w := e.q[n.Inputs[0]], n.Inputs[1]
	wl, err := e.integers(w, "weight")
	if err != nil {
		return nil, err
	}
	q := make([]int8, len(wl))
	for i, v := range wl {
		q[i] = int8(v)
	}
	if w.Def.Int("qmin") < -127 || w.Def.Int("qmax") > 127 {
		return nil, &diag.Error{Found: fmt.Sprintf("weights on levels %d to %d", w.Def.Int("qmin"), w.Def.Int("qmax")), Wanted: "−127 to 127 at most"}
	}
	sf := w.Def.Inputs[1].Def
	if sf == nil || sf.Op.Name != "requantize_factor" || sf.In(2) == nil || e.value(sf.In(2)) == nil {
		return nil, &diag.Error{Found: "weights without a scale", Wanted: "a graph as Simulate makes it"}
	}
	cout := w.Type.Shape[len(w.Type.Shape)-1]
	scale := slices.Clone(e.value(sf.In(2)).F32())
	for len(scale) < cout {
		scale = append(scale, scale[0])
	}
	mult := slices.Clone(e.value(factor).F32())
	for len(mult) < cout {
		mult = append(mult, mult[0])
	}
	sx := x.Type.Quant.Scale[0]
	for c, m := range mult {
		if !(m >= quant.MinMult && m < quant.MaxMult) && attrs["out_dtype"] != "f32" {
			return nil, &diag.Error{Found: fmt.Sprintf("factor %v of channel %d", m, c), Wanted: "2^−32 to 2^8", Fix: "train with a lower learning rate"}
		}
		sy := float32(1)
		if s, ok := attrs["out_scale"].(float64); ok {
			sy = float32(s)
		}
		if m != quant.Mult(sx, scale[c], sy) {
			return nil, &diag.Error{Found: fmt.Sprintf("factor %v of channel %d", m, c), Wanted: fmt.Sprintf("%v, by the scales", quant.Mult(sx, scale[c], sy))}
		}
	}
	var bias *ir.Value
	var ints []int32
	if b := n.In(2); b != nil {
		bl, err := e.integers(b, "bias")
		if err != nil {
			return nil, err
		}
		ints = make([]int32, len(bl))
		for i, v := range bl {
			ints[i] = int32(v)
		}
		bias = e.b.Const(constName(b), ir.From(ints, len(ints)))
	}
	if err := quant.CheckOverflow(q, len(q)/cout, cout, ints, x.Type.DType, x.Type.Quant.Zero[0]); err != nil {
		return nil, err
	}
	wv := e.b.QConst(constName(w), ir.From(q, w.Type.Shape...), &ir.Quant{Axis: len(w.Type.Shape) - 1, Scale: scale, Zero: []int32{0}})
	return e.b.Named("q_"+n.Op.Name, name, attrs, x, wv, bias, e.b.Const(constName(w)+".mult", ir.From(mult, cout))), nil
}

// constName is the name of the constant that a fake_quantize takes.
func constName(v *ir.Value) string { return v.Def.Inputs[0].Name }

// mover emits the op itself on 8-bit tensors.
func (e *executor) mover(n *ir.Node) error {
	if roleOf(n, &QuantizeOptions{}) != mover {
		return &diag.Error{Found: n.Op.Name + " of levels", Wanted: "a graph as Simulate makes it"}
	}
	in := make([]*ir.Value, len(n.Inputs))
	data := dataOperands(n, mover)
	for i, v := range n.Inputs {
		switch {
		case v == nil:
		case i < len(data) && data[i] == i:
			if !e.levels(v) {
				return &diag.Error{Found: v.String() + ", which is no levels", Wanted: "levels as the first operand is"}
			}
			in[i] = e.q[v]
		default:
			in[i] = e.real(v)
		}
	}
	for i, y := range e.b.Multi(n.Op.Name, n.Out().Name, n.Attrs, in...) {
		y.Def.Name = n.Name
		e.q[n.Outputs[i]] = y
	}
	return e.b.Err()
}

// count fills the report in.
func (e *executor) count(out *ir.Graph) {
	r := e.report
	for _, n := range out.Nodes {
		macs := n.Op.MACs(n)
		if macs > 0 {
			int8 := n.Op.Class == ir.Quantized
			r.Layers = append(r.Layers, LayerReport{Name: n.Label(), Op: n.Op.Name, Int8: int8, MACs: macs})
			r.MACs += macs
			if int8 {
				r.Int8MACs += macs
			}
		}
		if n.Op.Class == ir.Quantized || n.Out().Type.DType.Is8Bit() {
			r.Int8Nodes++
		} else {
			r.FloatNodes++
		}
	}
}
