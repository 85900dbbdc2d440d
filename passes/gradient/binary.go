package gradient

import "github.com/nasc-dev/nasc/ir"

// pair makes a product of two operands that broadcast, from the partial
// products of each; only what is asked for is built.
func pair(da, db func(b *builder, x, y, out, dy *ir.Value) *ir.Value) product {
	return func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		out := make([]*ir.Value, 2)
		for i, f := range []func(b *builder, x, y, out, dy *ir.Value) *ir.Value{da, db} {
			if b.wants(n, i) {
				d := f(b, n.Inputs[0], n.Inputs[1], n.Outputs[0], dy[0])
				out[i] = b.unstretch(b.broadcast(d, n.Outputs[0].Type.Shape), n.Inputs[i].Type.Shape)
			}
		}
		return out
	}
}

func pass(_ *builder, _, _, _, dy *ir.Value) *ir.Value { return dy }

// chosen gives dy where the operand won against the other, half where they
// are equal.
func chosen(first bool, relation string) func(b *builder, x, y, out, dy *ir.Value) *ir.Value {
	return func(b *builder, x, y, _, dy *ir.Value) *ir.Value {
		if !first {
			x, y = y, x
		}
		share := b.where(x, relation, y, b.number(1), b.where(x, "EQ", y, b.number(0.5), b.number(0)))
		return b.mul(dy, share)
	}
}

var binary = map[string]product{
	"add":      pair(pass, pass),
	"subtract": pair(pass, func(b *builder, _, _, _, dy *ir.Value) *ir.Value { return b.neg(dy) }),
	"multiply": pair(
		func(b *builder, _, y, _, dy *ir.Value) *ir.Value { return b.mul(dy, y) },
		func(b *builder, x, _, _, dy *ir.Value) *ir.Value { return b.mul(dy, x) }),
	"divide": pair(
		func(b *builder, _, y, _, dy *ir.Value) *ir.Value { return b.div(dy, y) },
		func(b *builder, _, y, out, dy *ir.Value) *ir.Value { return b.neg(b.div(b.mul(dy, out), y)) }),
	"maximum": pair(chosen(true, "GT"), chosen(false, "GT")),
	"minimum": pair(chosen(true, "LT"), chosen(false, "LT")),
	// y·x^(y−1), and x^y·log x where x is positive
	"power": pair(
		func(b *builder, x, y, _, dy *ir.Value) *ir.Value {
			return b.mul(dy, b.mul(y, b.op("power", nil, x, b.plus(y, -1))))
		},
		func(b *builder, x, _, out, dy *ir.Value) *ir.Value {
			one := b.number(1)
			l := b.op("log", nil, b.where(x, "GT", b.number(0), x, one))
			return b.mul(dy, b.mul(out, l))
		}),
	// a − trunc(a/b)·b, and trunc is flat; a/b is its integer part exactly at (a − a mod b)/b
	"remainder": pair(pass, func(b *builder, x, y, out, dy *ir.Value) *ir.Value {
		whole := b.op("round_nearest_even", nil, b.div(b.sub(x, out), y))
		return b.neg(b.mul(dy, whole))
	}),
	"select": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		out := make([]*ir.Value, 3)
		full, zero := n.Outputs[0].Type.Shape, b.number(0)
		if b.wants(n, 1) {
			out[1] = b.unstretch(b.broadcast(b.op("select", nil, n.Inputs[0], dy[0], zero), full), n.Inputs[1].Type.Shape)
		}
		if b.wants(n, 2) {
			out[2] = b.unstretch(b.broadcast(b.op("select", nil, n.Inputs[0], zero, dy[0]), full), n.Inputs[2].Type.Shape)
		}
		return out
	},
}
