package cpu

import (
	"slices"

	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

// quantizedRows are an activation's rows brought to 8 bits by their own ranges,
// in the form that the products which read them share.
type quantizedRows struct {
	spec q8.RowsSpec
	v    *ir.Value // the memory: a value of no type that others could read
	x    *ir.Value // f32
}

// rowProduct is a dense layer of quantized rows.
type rowProduct struct {
	rows  *quantizedRows
	first bool // its group writes the rows, too
	spec  q8.DotRowsSpec
}

// fuseDynamic finds dense layers whose activation scales are found while they
// run: dynamic_dot, whose rows other layers share, and as ONNX writes them
//
//	%q, %s, %z = dynamic_quantize_linear %x
//	%i = dot_integer %q @w %z _
//	%y = add (multiply (convert %i) (multiply %s @scale)) @bias
//
// where nothing else reads the parts. The results are the same bits.
func (c *compiler) fuseDynamic(claimed map[*ir.Node]bool, at map[*ir.Node]*group) {
	type key struct {
		x    *ir.Value
		wide bool
	}
	shared := map[key]*quantizedRows{}
	for _, n := range c.g.Nodes {
		if c.known(n) {
			continue
		}
		switch n.Op.Name {
		case "dynamic_dot":
			p := c.dynamicDot(n)
			if p == nil {
				continue
			}
			k := key{n.Inputs[0], p.rows.spec.Wide}
			if r := shared[k]; r != nil {
				p.rows, p.spec.Rows = r, r.spec
			} else {
				shared[k] = p.rows
				p.first = true
			}
			claimed[n] = true
			at[n] = &group{nodes: []*ir.Node{n}, product: p}
		case "dynamic_quantize_linear":
			c.fuseDynamicLinear(n, claimed, at)
		}
	}
}

func newRows(x *ir.Value, spec q8.RowsSpec) *quantizedRows {
	v := &ir.Value{Name: x.Name + ".rows", Type: ir.Type{DType: ir.U8, Shape: ir.Shape{spec.Bytes()}}}
	return &quantizedRows{spec: spec, v: v, x: x}
}

// dynamicDot reads a dynamic_dot; nil where no kernel has its form.
func (c *compiler) dynamicDot(n *ir.Node) *rowProduct {
	x, y := n.Inputs[0].Type, n.Outputs[0].Type.Shape
	if x.DType != ir.F32 || y.Elems() == 0 || c.constant(n.Inputs[0]) != nil {
		return nil
	}
	nn := y[len(y)-1]
	w, zero, err := c.qweights(n.Inputs[1], nn)
	if err != nil || len(w) == 0 {
		return nil
	}
	bias, ok := c.floatsOf(n.In(2))
	if !ok {
		return nil
	}
	mult := make([]float32, nn)
	for i := range mult {
		mult[i] = n.Inputs[1].Type.Quant.ScaleAt(i)
	}
	rows := newRows(n.Inputs[0], q8.RowsSpec{M: y.Elems() / nn, K: len(w) / nn, Wide: zero != nil})
	return &rowProduct{rows: rows, spec: q8.DotRowsSpec{Rows: rows.spec, N: nn, Weights: w, WZero: zero, Mult: mult, Bias: bias}}
}

// fuseDynamicLinear claims a dynamic_quantize_linear with all that reads it.
func (c *compiler) fuseDynamicLinear(d *ir.Node, claimed map[*ir.Node]bool, at map[*ir.Node]*group) {
	x := d.Inputs[0]
	if x.Type.DType != ir.F32 || x.Type.Shape.Elems() == 0 || len(x.Type.Shape) < 1 || c.constant(x) != nil {
		return
	}
	var gs []*group
	wide := false
	mine := map[*ir.Node]bool{d: true}
	for _, u := range c.uses[d.Outputs[0]] {
		g := c.integerProduct(d, u)
		if g == nil {
			return
		}
		for _, n := range g.nodes {
			mine[n] = true
		}
		wide = wide || g.product.spec.WZero != nil
		gs = append(gs, g)
	}
	for _, v := range d.Outputs { // nobody else may read scale and zero point
		for _, u := range c.uses[v] {
			if u.Node == nil || !mine[u.Node] || claimed[u.Node] {
				return
			}
		}
	}
	if len(gs) == 0 {
		return
	}
	k := x.Type.Shape[len(x.Type.Shape)-1]
	rows := newRows(x, q8.RowsSpec{M: x.Type.Shape.Elems() / k, K: k, PerTensor: true, Wide: wide})
	at[d] = &group{nodes: []*ir.Node{d}, rows: rows}
	for n := range mine {
		claimed[n] = true
	}
	for _, g := range gs {
		g.product.rows, g.product.spec.Rows = rows, rows.spec
		at[g.nodes[len(g.nodes)-1]] = g
	}
}

// integerProduct reads the product that use u of a quantized activation is,
// with the scaling and the bias behind it; nil where it is anything else.
func (c *compiler) integerProduct(d *ir.Node, u ir.Use) *group {
	n := u.Node
	if n == nil || n.Op.Name != "dot_integer" || u.Index != 0 || n.In(2) != d.Outputs[2] {
		return nil
	}
	b := c.constant(n.Inputs[1])
	if b == nil || len(b.Shape) != 2 || b.Len() == 0 {
		return nil
	}
	nn := b.Shape[1]
	w, shift := s8Weights(b)
	zero := make([]int32, nn)
	if z := n.In(3); z != nil {
		t := c.constant(z)
		if t == nil {
			return nil
		}
		for i := range zero {
			zero[i] = int32(t.Int(i % t.Len()))
		}
	}
	for i := range zero {
		zero[i] -= shift
	}
	s := q8.DotRowsSpec{N: nn, Weights: w, WZero: zero}
	if !slices.ContainsFunc(zero, func(z int32) bool { return z != 0 }) {
		s.WZero = nil
	}
	g := &group{nodes: []*ir.Node{n}}
	// The sums to float, times both scales.
	cast := c.follower(n.Outputs[0], "convert")
	if cast == nil || cast.Outputs[0].Type.DType != ir.F32 {
		return nil
	}
	mul := c.follower(cast.Outputs[0], "multiply")
	if mul == nil || !mul.Outputs[0].Type.Shape.Equal(n.Outputs[0].Type.Shape) {
		return nil
	}
	scales := other(mul, cast.Outputs[0]).Def
	if scales == nil || scales.Op.Name != "multiply" || c.follower(scales.Outputs[0], "multiply") != mul || !slices.Contains(scales.Inputs, d.Outputs[1]) {
		return nil
	}
	if s.Mult = c.alongColumns(other(scales, d.Outputs[1]), nn); s.Mult == nil {
		return nil
	}
	g.nodes = append(g.nodes, scales, cast, mul)
	if add := c.follower(mul.Outputs[0], "add"); add != nil && add.Outputs[0].Type.Shape.Equal(n.Outputs[0].Type.Shape) {
		if s.Bias = c.alongColumns(other(add, mul.Outputs[0]), nn); s.Bias != nil {
			g.nodes = append(g.nodes, add)
		}
	}
	g.product = &rowProduct{spec: s}
	return g
}

// follower gives the one node that reads v, if it is of the given op.
func (c *compiler) follower(v *ir.Value, op string) *ir.Node {
	u := c.uses[v]
	if len(u) != 1 || u[0].Node == nil || u[0].Node.Op.Name != op {
		return nil
	}
	return u[0].Node
}

// alongColumns gives a f32 constant of one number or one for each of n columns,
// written out; nil where v is anything else.
func (c *compiler) alongColumns(v *ir.Value, n int) []float32 {
	t := c.constant(v)
	if t == nil || t.DType != ir.F32 || t.Len() != 1 && (t.Len() != n || t.Shape[len(t.Shape)-1] != n) {
		return nil
	}
	if t.Len() == n {
		return t.F32()
	}
	return slices.Repeat(t.F32(), n)
}

// lowerRows plans the quantization of rows that products share.
func lowerRows(c *compiler, g *group, r *quantizedRows) error {
	g.out = []*ir.Value{r.v}
	return setInt8(c, g, "QuantizeRows", q8.QuantizeRows, r.spec, r.x)
}

// lowerRowProduct plans a product, behind its rows where it is their first.
func lowerRowProduct(c *compiler, g *group) error {
	p := g.product
	if err := setInt8(c, g, "DotRows", q8.DotRows, p.spec, p.rows.v); err != nil || !p.first {
		return err
	}
	first := &group{nodes: g.nodes, rest: true}
	if err := lowerRows(c, first, p.rows); err != nil {
		return err
	}
	second := *g
	g.expand = []*group{first, &second}
	return nil
}

func lowerDynamicDot(c *compiler, g *group) error {
	if g.product == nil {
		return errNoKernel
	}
	return lowerRowProduct(c, g)
}
