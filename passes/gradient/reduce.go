package gradient

import "github.com/nasc-dev/nasc/ir"

var reductions = map[string]product{
	"reduce_sum": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.broadcast(b.kept(n, dy[0]), n.Inputs[0].Type.Shape)}
	},
	"reduce_mean": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		x := n.Inputs[0].Type.Shape
		d := b.scale(b.kept(n, dy[0]), float64(max(dy[0].Type.Shape.Elems(), 1))/float64(x.Elems()))
		return []*ir.Value{b.broadcast(d, x)}
	},
	"reduce_max": extreme, "reduce_min": extreme, "reduce_prod": prod,
	"max_pool": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.op("max_pool_grad", n.Attrs.Clone(), n.Inputs[0], dy[0])}
	},
	"average_pool": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		a := n.Attrs.Clone()
		a["size"] = spatial(n.Inputs[0].Type.Shape)
		return []*ir.Value{b.op("average_pool_grad", a, dy[0])}
	},
}

// kept gives a reduction's result (or its cotangent) extents of 1 where axes
// were folded.
func (b *builder) kept(n *ir.Node, v *ir.Value) *ir.Value {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		panic(failure{err})
	}
	s := n.Inputs[0].Type.Shape.Clone()
	for _, a := range axes {
		s[a] = 1
	}
	return b.reshape(v, s)
}

// extreme shares dy among the elements that are the greatest or least.
func extreme(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	axes, _ := ir.ReduceAxes(n) // kept has seen its error
	x := n.Inputs[0]
	y, d := b.kept(n, n.Outputs[0]), b.kept(n, dy[0])
	hit := b.where(x, "EQ", y, b.number(1), b.number(0))
	return []*ir.Value{b.mul(hit, b.div(d, b.sum(hit, axes, true)))}
}

// prod is the product of the others, right beside zeros too: with one zero
// only that element has a gradient, with two none.
func prod(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	axes, _ := ir.ReduceAxes(n)
	x, d := n.Inputs[0], b.kept(n, dy[0])
	zero, one := b.number(0), b.number(1)
	nulls := b.where(x, "EQ", zero, one, zero)
	filled := b.add(x, nulls)
	p := b.op("reduce_prod", ir.Attrs{"axes": axes}, filled)
	count := b.sum(nulls, axes, true)
	alone := b.where(b.sub(count, nulls), "EQ", zero, b.div(p, filled), zero) // no other zero
	return []*ir.Value{b.mul(d, alone)}
}
