package passes

import (
	"maps"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// builder makes the quantized graph from a plan, ranges and rounded weights.
type quantBuilder struct {
	z     *quantizer
	dst   *ir.Graph
	q     map[*ir.Value]*ir.Value // float value → its 8-bit form in dst
	f     map[*ir.Value]*ir.Value // float value → its f32 (or integer) form in dst
	roles map[*ir.Node]role
	// tables are the 8-bit rows and the scales of constant tables.
	tables map[*ir.Value][2]*ir.Value
}

// build makes the quantized graph that gives outs, values of the float graph.
func (z *quantizer) build(outs []*ir.Value) (*ir.Graph, error) {
	b := &quantBuilder{z: z, dst: ir.NewGraph(z.g.Name), q: map[*ir.Value]*ir.Value{}, f: map[*ir.Value]*ir.Value{}, roles: z.roles(), tables: map[*ir.Value][2]*ir.Value{}}
	for _, v := range z.g.Inputs {
		b.f[v] = b.dst.Input(v.Name, v.Type)
	}
	need := z.needed(outs)
	for _, n := range z.g.Nodes {
		if !need[n] || z.p.folded[n] || z.p.absorb[n] {
			continue
		}
		var err error
		switch {
		case z.p.rows[n]:
			err = b.dynamicDot(n)
		case z.p.int8[n]:
			err = b.int8(n)
		case z.p.tables[n]:
			err = b.embedding(n)
		default:
			err = b.float(n)
		}
		if err != nil {
			return nil, diag.At("quantize", err)
		}
	}
	for _, v := range outs {
		w, err := b.real(v)
		if err != nil {
			return nil, err
		}
		b.dst.Outputs = append(b.dst.Outputs, w)
	}
	b.dst.RemoveDead()
	for i, v := range outs {
		if w := b.dst.Outputs[i]; w.Def != nil && w.Name != v.Name {
			// The 8-bit form has taken the name: the output is what users know.
			if q := b.q[v]; q != nil && q.Name == v.Name {
				b.dst.Rename(q, v.Name+".q")
			}
			b.dst.Rename(w, v.Name)
		}
	}
	return b.dst, nil
}

func (z *quantizer) roles() map[*ir.Node]role {
	m := make(map[*ir.Node]role, len(z.g.Nodes))
	for _, n := range z.g.Nodes {
		m[n] = roleOf(n, &z.opt)
	}
	return m
}

// needed lists the nodes that outs depend on.
func (z *quantizer) needed(outs []*ir.Value) map[*ir.Node]bool {
	need := map[*ir.Node]bool{}
	var visit func(v *ir.Value)
	visit = func(v *ir.Value) {
		if v == nil || v.Def == nil || need[v.Def] {
			return
		}
		need[v.Def] = true
		for _, w := range v.Def.Inputs {
			visit(w)
		}
	}
	for _, v := range outs {
		visit(v)
	}
	return need
}

// add appends a node and keeps where it came from.
func (b *quantBuilder) add(from *ir.Node, op, name string, attrs ir.Attrs, in ...*ir.Value) (*ir.Node, error) {
	n, err := b.dst.AddNamed(op, name, attrs, in...)
	if err != nil {
		return nil, err
	}
	if from != nil {
		n.Name = from.Name
	}
	return n, nil
}

// float copies a node that stays as it is.
func (b *quantBuilder) float(n *ir.Node) error {
	in := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		var err error
		if in[i], err = b.real(v); err != nil {
			return err
		}
	}
	k, err := b.add(n, n.Op.Name, n.Out().Name, n.Attrs, in...)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		b.f[v] = k.Outputs[i]
	}
	return nil
}

// real gives a value in its own element type.
func (b *quantBuilder) real(v *ir.Value) (*ir.Value, error) {
	if v.IsConst() {
		if w := b.f[v]; w != nil {
			return w, nil
		}
		w := b.dst.QConst(v.Name, v.Const, v.Type.Quant)
		b.f[v] = w
		return w, nil
	}
	if w := b.f[v]; w != nil {
		return w, nil
	}
	q := b.q[v]
	if q == nil {
		panic("BUG: " + v.String() + " is read before it is quantized")
	}
	n, err := b.add(nil, "uniform_dequantize", v.Name+".f32", nil, q)
	if err != nil {
		return nil, err
	}
	b.f[v] = n.Out()
	return n.Out(), nil
}

// quantized gives a value's 8-bit form, in the quantization of its class.
func (b *quantBuilder) quantized(v *ir.Value) (*ir.Value, error) {
	if w := b.q[v]; w != nil {
		return w, nil
	}
	if v.IsConst() {
		w := b.quantizedConst(v)
		b.q[v] = w
		return w, nil
	}
	x, err := b.real(v)
	if err != nil {
		return nil, err
	}
	out := b.z.paramsOf(v).Out(math.Inf(-1), math.Inf(1))
	n, err := b.add(nil, "uniform_quantize", v.Name+".q", ir.Attrs{}.SetOut(out), x)
	if err != nil {
		return nil, err
	}
	b.q[v] = n.Out()
	return n.Out(), nil
}

// quantizedConst quantizes a constant operand by its own extremes.
func (b *quantBuilder) quantizedConst(v *ir.Value) *ir.Value {
	x := v.Const.F32()
	var o quant.Observer
	o.Add(x)
	p := quant.Affine(o.Min, o.Max, ir.U8)
	t := ir.NewTensor(ir.U8, v.Const.Shape...)
	d := t.U8()
	for i, e := range x {
		d[i] = uint8(p.Quantize(float64(e)))
	}
	return b.dst.QConst(v.Name+".q", t, p.Quant())
}

// rescaled gives v's 8-bit form in the quantization p.
func (b *quantBuilder) rescaled(v *ir.Value, p quant.Params) (*ir.Value, error) {
	x, err := b.quantized(v)
	if err != nil {
		return nil, err
	}
	from := quant.Of(x.Type)
	if from == p {
		return x, nil
	}
	return b.lookup(nil, v.Name+".rescaled", x, quant.Table(from, p, quant.Identity), p, "")
}

func (b *quantBuilder) lookup(from *ir.Node, name string, x *ir.Value, t *ir.Tensor, p quant.Params, function string) (*ir.Value, error) {
	attrs := ir.Attrs{"function": function}
	if t.DType.Is8Bit() {
		attrs["out_scale"], attrs["out_zero"] = float64(p.Scale), int(p.Zero)
	}
	n, err := b.add(from, "q_lookup", name, attrs, x, b.dst.Const(name+".table", t))
	if err != nil {
		return nil, err
	}
	return n.Out(), nil
}

// int8 emits the 8-bit form of a node.
func (b *quantBuilder) int8(n *ir.Node) error {
	switch b.roles[n] {
	case contraction:
		return b.contraction(n)
	case mover:
		return b.mover(n)
	case table:
		return b.table(n)
	}
	in := make([]*ir.Value, 0, 2)
	for i, at := range dataOperands(n, b.roles[n]) {
		v := n.In(at)
		x, err := b.quantized(v)
		if err != nil {
			return err
		}
		if b.roles[n] == product && i == 0 && x.Type.DType == ir.S8 && !v.IsConst() {
			// One operand unsigned, the other signed.
			if x, err = b.rescaled(v, quant.Of(x.Type).As(ir.U8)); err != nil {
				return err
			}
		}
		in = append(in, x)
	}
	attrs := maps.Clone(n.Attrs)
	if attrs == nil {
		attrs = ir.Attrs{}
	}
	op := "q_" + n.Op.Name
	if op == "q_softmax" {
		delete(attrs, "axis")
		in = append(in, b.dst.Const(n.Out().Name+".table", quant.ExpTable(in[0].Type.Quant.Scale[0], in[0].Type.Shape[len(in[0].Type.Shape)-1])))
	}
	return b.emit(n, op, attrs, in)
}

// emit appends a q_ op whose result is 8-bit where somebody reads it so, and
// f32 otherwise.
func (b *quantBuilder) emit(n *ir.Node, op string, attrs ir.Attrs, in []*ir.Value) error {
	res := b.z.p.result(n)
	lo, hi := b.z.p.bounds(n)
	if b.z.p.wants8(res) {
		k, err := b.add(n, op, res.Name, attrs.SetOut(b.z.paramsOf(res).Out(lo, hi)), in...)
		if err != nil {
			return err
		}
		b.q[res] = k.Out()
		return nil
	}
	attrs["out_dtype"] = "f32"
	k, err := b.add(n, op, res.Name, attrs, in...)
	if err != nil {
		return err
	}
	y := k.Out()
	switch {
	case math.IsInf(lo, -1) && math.IsInf(hi, 1):
	case lo == 0 && math.IsInf(hi, 1):
		k, err = b.add(nil, "relu", res.Name+".relu", nil, y)
	default:
		k, err = b.add(nil, "clamp", res.Name+".clamp", ir.Attrs{"min": lo, "max": hi}, y)
	}
	if err != nil {
		return err
	}
	b.f[res] = k.Out()
	return nil
}

// contraction emits q_convolution, q_convolution_transpose or q_dot.
func (b *quantBuilder) contraction(n *ir.Node) error {
	x, err := b.quantized(n.In(0))
	if err != nil {
		return err
	}
	l := b.z.byNode[n]
	sx := x.Type.Quant.Scale[0]
	res := b.z.p.result(n)
	sy := float32(1)
	if b.z.p.wants8(res) {
		sy = b.z.paramsOf(res).Scale
	}
	bias := l.bias
	if bias == nil {
		bias = l.spec.Bias
	}
	w := n.In(1)
	wq := ir.From(l.q, w.Const.Shape...)
	axis := len(w.Const.Shape) - 1
	name := w.Name
	wv := b.dst.QConst(name, wq, &ir.Quant{Axis: axis, Scale: l.scale, Zero: []int32{0}})
	var bv *ir.Value
	if bias != nil {
		bname := name + ".bias"
		if n.In(2) != nil {
			bname = n.In(2).Name
		}
		qb := quant.RoundBias(bias, sx, l.scale)
		bv = b.dst.Const(bname, ir.From(qb, len(qb)))
	}
	mv := b.dst.Const(name+".mult", ir.From(quant.Mults(sx, l.scale, sy), len(l.scale)))
	attrs := maps.Clone(n.Attrs)
	if attrs == nil {
		attrs = ir.Attrs{}
	}
	for _, a := range []string{"activation", "act_min", "act_max"} {
		delete(attrs, a)
	}
	return b.emit(n, "q_"+n.Op.Name, attrs, []*ir.Value{x, wv, bv, mv})
}

// dynamicDot emits a dense layer that finds its input's scales itself.
func (b *quantBuilder) dynamicDot(n *ir.Node) error {
	x, err := b.real(n.In(0))
	if err != nil {
		return err
	}
	l := b.z.byNode[n]
	bias := l.bias
	if bias == nil {
		bias = l.spec.Bias
	}
	w := n.In(1)
	in := []*ir.Value{x, b.dst.QConst(w.Name, ir.From(l.q, w.Const.Shape...), &ir.Quant{Axis: 1, Scale: l.scale, Zero: []int32{0}})}
	if bias != nil {
		name := w.Name + ".bias"
		if n.In(2) != nil {
			name = n.In(2).Name
		}
		in = append(in, b.dst.Const(name, ir.From(bias, len(bias))))
	}
	y := n.Out()
	k, err := b.add(n, "dynamic_dot", y.Name, nil, in...)
	if err != nil {
		return err
	}
	switch n.Str("activation") {
	case "relu":
		k, err = b.add(nil, "relu", y.Name+".relu", nil, k.Out())
	case "clamp":
		k, err = b.add(nil, "clamp", y.Name+".clamp", ir.Attrs{"min": n.Float("act_min"), "max": n.Float("act_max")}, k.Out())
	}
	if err != nil {
		return err
	}
	b.f[y] = k.Out()
	return nil
}

// mover emits the op itself on 8-bit tensors.
func (b *quantBuilder) mover(n *ir.Node) error {
	in := make([]*ir.Value, len(n.Inputs))
	data := dataOperands(n, mover)
	p := b.z.paramsOf(n.Out())
	for i, v := range n.Inputs {
		var err error
		switch {
		case v == nil:
		case i < len(data) && data[i] == i && n.Op.Name == "concatenate":
			in[i], err = b.rescaled(v, p)
		case i == 0:
			in[i], err = b.quantized(v)
		default:
			in[i], err = b.real(v)
		}
		if err != nil {
			return err
		}
	}
	k, err := b.add(n, n.Op.Name, n.Out().Name, n.Attrs, in...)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		b.q[v] = k.Outputs[i]
	}
	return nil
}

// table emits a q_lookup for a chain of table nodes that ends in n.
func (b *quantBuilder) table(n *ir.Node) error {
	chain := b.z.p.chain(n)
	x, err := b.quantized(chain[0].In(dataOperand(chain[0])))
	if err != nil {
		return err
	}
	from, f := quant.Of(x.Type), b.z.p.chainFunc(n)
	function := n.Op.Name
	if len(chain) > 1 {
		function = ""
	}
	v := n.Out()
	if !b.z.p.wants8(v) {
		y, err := b.lookup(n, v.Name, x, quant.TableF32(from, f), quant.Params{}, function)
		b.f[v] = y
		return err
	}
	to := b.z.paramsOf(v)
	y, err := b.lookup(n, v.Name, x, quant.Table(from, to, f), to, function)
	b.q[v] = y
	return err
}
