package passes

import (
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// fuseQDQ turns the float ops of a quantize-dequantize (QDQ) model into
// quantized ones.
//
//	%a = uniform_dequantize %x          %y = q_convolution %x @w @b @m
//	%f = convolution %a (deq @w) …  →
//	%y = uniform_quantize %f
//
// Dequantizations move down and quantizations up through ops that only move
// elements, so that they meet the arithmetic. The scales are the model's own;
// where it rounded in float between two ops the result may differ by one step,
// which is the promise QDQ models make on any engine.
func fuseQDQ(g *ir.Graph) (changed bool, err error) {
	if g.OpCounts()["uniform_dequantize"] == 0 {
		return false, nil
	}
	f := &qdqFuser{g: g}
	for again := true; again; changed = changed || again {
		again = false
		for _, step := range []func(n *ir.Node) (*ir.Value, error){f.sinkDequantize, f.hoistQuantize, f.fuse, f.fuseFloatEnd} {
			f.uses = g.Uses()
			for _, n := range slices.Clone(g.Nodes) {
				if len(n.Outputs) != 1 {
					continue
				}
				y, err := step(n)
				if err != nil {
					return changed, err
				}
				if y == nil {
					continue
				}
				again = true
				g.ReplaceUses(n.Out(), y)
				f.uses = g.Uses()
			}
			if err := g.Sort(); err != nil {
				return changed, err
			}
			g.RemoveDead()
		}
	}
	return changed, nil
}

type qdqFuser struct {
	g    *ir.Graph
	uses map[*ir.Value][]ir.Use
}

func isOp(v *ir.Value, op string) bool { return v != nil && v.Def != nil && v.Def.Op.Name == op }

// source gives what a dequantized activation was: an 8-bit tensor of one scale.
func source(v *ir.Value) *ir.Value {
	if !isOp(v, "uniform_dequantize") {
		return nil
	}
	x := v.Def.Inputs[0]
	if x.Type.Quant.Axis >= 0 || !x.Type.DType.Is8Bit() {
		return nil
	}
	return x
}

func (f *qdqFuser) add(from *ir.Node, op string, attrs ir.Attrs, in ...*ir.Value) (*ir.Value, error) {
	n, err := f.g.AddNamed(op, from.Out().Name, attrs, in...)
	if err != nil {
		return nil, err
	}
	n.Name = from.Name
	return n.Out(), nil
}

// commutes says whether a node with one data operand may change places with a
// quantization of one scale.
func commutes(n *ir.Node) bool {
	switch n.Op.Name {
	case "slice", "reshape", "transpose", "broadcast", "gather", "max_pool":
		return true
	case "pad":
		return n.Float("value") == 0 || n.Str("mode") != "constant"
	case "resize":
		return n.Str("mode") == "nearest"
	}
	return false
}

// sinkDequantize moves a dequantization below a movement.
func (f *qdqFuser) sinkDequantize(n *ir.Node) (*ir.Value, error) {
	if !commutes(n) {
		return nil, nil
	}
	x := source(n.Inputs[0])
	if x == nil {
		return nil, nil
	}
	in := slices.Clone(n.Inputs)
	in[0] = x
	attrs := maps.Clone(n.Attrs)
	delete(attrs, "value")
	y, err := f.add(n, n.Op.Name, attrs, in...)
	if err != nil {
		return nil, err
	}
	return f.add(n, "uniform_dequantize", nil, y)
}

// hoistQuantize moves a quantization above a movement that nobody else reads.
func (f *qdqFuser) hoistQuantize(n *ir.Node) (*ir.Value, error) {
	if n.Op.Name != "uniform_quantize" || n.Inputs[0].Def == nil {
		return nil, nil
	}
	m := n.Inputs[0].Def
	if !commutes(m) || !f.single(m.Out()) || m.Inputs[0].IsConst() {
		return nil, nil
	}
	q, err := f.add(n, "uniform_quantize", n.Attrs, m.Inputs[0])
	if err != nil {
		return nil, err
	}
	in := slices.Clone(m.Inputs)
	in[0] = q
	attrs := maps.Clone(m.Attrs)
	delete(attrs, "value")
	return f.add(m, m.Op.Name, attrs, in...)
}

func (f *qdqFuser) single(v *ir.Value) bool { return len(f.uses[v]) == 1 && f.uses[v][0].Node != nil }

// fuse replaces the arithmetic above a quantization.
func (f *qdqFuser) fuse(q *ir.Node) (*ir.Value, error) {
	if q.Op.Name != "uniform_quantize" {
		return nil, nil
	}
	out := quant.Of(q.Out().Type)
	if x := source(q.Inputs[0]); x != nil {
		return f.rescaled(q, x, out)
	}
	n := q.Inputs[0].Def
	if n == nil || len(n.Outputs) != 1 || !f.single(n.Out()) {
		return nil, nil
	}
	lo, hi := math.Inf(-1), math.Inf(1)
	act := n
	switch n.Op.Name {
	case "relu":
		lo = 0
	case "clamp":
		lo, hi = n.Float("min"), n.Float("max")
	}
	if act.Op.Name == "relu" || act.Op.Name == "clamp" {
		if d := act.Inputs[0].Def; d != nil && len(d.Outputs) == 1 && f.single(d.Out()) && d.Op.Name != "uniform_dequantize" {
			n = d
		}
	}
	if n.Op.Attr("activation") != nil {
		switch n.Str("activation") {
		case "relu":
			lo = max(lo, 0)
		case "clamp":
			lo, hi = max(lo, n.Float("act_min")), min(hi, n.Float("act_max"))
		}
	}
	o := out.Out(lo, hi)
	switch n.Op.Name {
	case "convolution", "convolution_transpose", "dot":
		return f.contraction(n, o)
	case "concatenate":
		return f.concatenate(n, out)
	case "dot_general", "add", "multiply", "average_pool", "reduce_mean", "resize":
		return f.simple(n, o)
	}
	if n.Op.Class == ir.Unary && n == act {
		return f.table(n, out)
	}
	return nil, nil
}

// rescaled brings an 8-bit tensor to other levels by a table; the same levels
// need none.
func (f *qdqFuser) rescaled(from *ir.Node, x *ir.Value, out quant.Params) (*ir.Value, error) {
	in := quant.Of(x.Type)
	if in == out {
		return x, nil
	}
	return f.lookup(from, x, quant.Table(in, out, quant.Identity), out, "")
}

func (f *qdqFuser) lookup(from *ir.Node, x *ir.Value, t *ir.Tensor, out quant.Params, function string) (*ir.Value, error) {
	attrs := ir.Attrs{"out_scale": float64(out.Scale), "out_zero": int(out.Zero), "function": function}
	return f.add(from, "q_lookup", attrs, x, f.g.Const(from.Out().Name+".table", t))
}

// table makes an elementwise function of one tensor a q_lookup.
func (f *qdqFuser) table(n *ir.Node, out quant.Params) (*ir.Value, error) {
	x := source(n.Inputs[0])
	if x == nil || n.Op.Name == "convert" || len(n.Inputs) > 1 && !isScalarConst(n.Inputs[1]) {
		return nil, nil
	}
	return f.lookup(n, x, quant.Table(quant.Of(x.Type), out, tableFunc(n)), out, n.Op.Name)
}

// weights gives the stored 8-bit weights of a contraction whose zero points
// and scales q_ ops take.
func weights(v *ir.Value) *ir.Value {
	if !isOp(v, "uniform_dequantize") {
		return nil
	}
	w := v.Def.Inputs[0]
	q := w.Type.Quant
	if !w.IsConst() || !w.Type.DType.Is8Bit() || q.Axis >= 0 && q.Axis != len(w.Type.Shape)-1 {
		return nil
	}
	return w
}

// contraction builds q_convolution, q_convolution_transpose or q_dot; nil where an operand is not
// quantized.
func (f *qdqFuser) contraction(n *ir.Node, o ir.Out) (*ir.Value, error) {
	x, w := source(n.Inputs[0]), weights(n.Inputs[1])
	if x == nil || w == nil {
		return nil, nil
	}
	cout := n.Out().Type.Shape[len(n.Out().Type.Shape)-1]
	if w.Type.Shape[len(w.Type.Shape)-1] != cout && w.Type.Quant.Axis >= 0 {
		return nil, nil // the groups of a transposed convolution share its scales
	}
	sw := make([]float32, cout)
	for c := range sw {
		sw[c] = w.Type.Quant.ScaleAt(c)
	}
	sx, sy := x.Type.Quant.Scale[0], float32(1)
	if o.DType.Is8Bit() {
		sy = o.Scale
	}
	var bias *ir.Value
	if b := n.In(2); b != nil {
		real := b.Const
		if isOp(b, "uniform_dequantize") && b.Def.Inputs[0].IsConst() {
			d := b.Def
			r, err := d.Op.Eval(d, []*ir.Tensor{d.Inputs[0].Const})
			if err != nil {
				return nil, err
			}
			real = r[0]
		}
		if real == nil {
			return nil, nil
		}
		bias = f.g.Const(n.Out().Name+".bias", ir.From(quant.RoundBias(real.F32(), sx, sw), cout))
	}
	attrs := maps.Clone(n.Attrs)
	for _, a := range []string{"activation", "act_min", "act_max"} {
		delete(attrs, a)
	}
	mult := f.g.Const(n.Out().Name+".mult", ir.From(quant.Mults(sx, sw, sy), cout))
	return f.add(n, "q_"+n.Op.Name, attrs.SetOut(o), x, w, bias, mult)
}

// simple builds the q_ form of ops that have operands and attributes in common
// with it.
func (f *qdqFuser) simple(n *ir.Node, o ir.Out) (*ir.Value, error) {
	if n.Op.Name == "resize" && n.Str("mode") != "linear" {
		return nil, nil
	}
	in := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		if in[i] = source(v); in[i] == nil {
			return nil, nil
		}
	}
	return f.add(n, "q_"+n.Op.Name, maps.Clone(n.Attrs).SetOut(o), in...)
}

// concatenate brings the parts to the result's levels and joins them.
func (f *qdqFuser) concatenate(n *ir.Node, out quant.Params) (*ir.Value, error) {
	in := make([]*ir.Value, len(n.Inputs))
	for _, v := range n.Inputs {
		if source(v) == nil {
			return nil, nil
		}
	}
	for i, v := range n.Inputs {
		var err error
		if in[i], err = f.rescaled(v.Def, source(v), out); err != nil {
			return nil, err
		}
	}
	return f.add(n, "concatenate", n.Attrs, in...)
}

// fuseFloatEnd makes contractions whose result stays float give it straight
// from their sums.
func (f *qdqFuser) fuseFloatEnd(n *ir.Node) (*ir.Value, error) {
	if n.Op.Name != "convolution" && n.Op.Name != "convolution_transpose" && n.Op.Name != "dot" {
		return nil, nil
	}
	if u := f.uses[n.Out()]; len(u) == 1 && u[0].Node != nil { // left to fuse
		r := u[0].Node
		if r.Op.Name == "uniform_quantize" {
			return nil, nil
		}
		if r.Op.Name == "relu" || r.Op.Name == "clamp" {
			if v := f.uses[r.Out()]; len(v) == 1 && v[0].Node != nil && v[0].Node.Op.Name == "uniform_quantize" {
				return nil, nil
			}
		}
	}
	y, err := f.contraction(n, ir.Out{DType: ir.F32})
	if y == nil || err != nil {
		return nil, err
	}
	if n.Op.Attr("activation") == nil {
		return y, nil
	}
	switch n.Str("activation") {
	case "relu":
		return f.add(n, "relu", nil, y)
	case "clamp":
		return f.add(n, "clamp", ir.Attrs{"min": n.Float("act_min"), "max": n.Float("act_max")}, y)
	}
	return y, nil
}
