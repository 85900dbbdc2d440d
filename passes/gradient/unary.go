package gradient

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// slope gives the derivative of an elementwise function at operand x with
// result y.
type slope func(b *builder, n *ir.Node, x, y *ir.Value) *ir.Value

// by makes the product dy·slope.
func by(f slope) product {
	return func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.mul(dy[0], f(b, n, n.Inputs[0], n.Outputs[0]))}
	}
}

// flat is for functions whose derivative is zero almost everywhere.
func flat(*builder, *ir.Node, []*ir.Value) []*ir.Value { return nil }

// between passes dy where the operand lies between two bounds, which is where
// the result does: the operand need not be kept.
func between(lo, hi func(n *ir.Node) float64) product {
	return func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.clampGrad(n.Outputs[0], dy[0], lo(n), hi(n))}
	}
}

func (b *builder) clampGrad(x, dy *ir.Value, lo, hi float64) *ir.Value {
	return b.op("clamp_grad", ir.Attrs{"min": lo, "max": hi}, x, dy)
}

func (b *builder) logistic(x *ir.Value) *ir.Value { return b.op("logistic", nil, x) }

// normalDensity is e^(−x²/2)/√(2π).
func (b *builder) normalDensity(x *ir.Value) *ir.Value {
	return b.scale(b.op("exponential", nil, b.scale(b.mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
}

var unary = map[string]product{
	"negate": func(b *builder, _ *ir.Node, dy []*ir.Value) []*ir.Value { return []*ir.Value{b.neg(dy[0])} },
	"abs":    by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value { return b.op("sign", nil, x) }),
	"sign":   flat, "floor": flat, "ceil": flat, "round_nearest_even": flat,
	"exponential": by(func(_ *builder, _ *ir.Node, _, y *ir.Value) *ir.Value { return y }),
	"log":         by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value { return b.op("reciprocal", nil, x) }),
	"sqrt": by(func(b *builder, _ *ir.Node, _, y *ir.Value) *ir.Value {
		return b.scale(b.op("reciprocal", nil, y), 0.5)
	}),
	"rsqrt": by(func(b *builder, _ *ir.Node, _, y *ir.Value) *ir.Value {
		return b.scale(b.mul(y, b.mul(y, y)), -0.5)
	}),
	"reciprocal": by(func(b *builder, _ *ir.Node, _, y *ir.Value) *ir.Value { return b.neg(b.mul(y, y)) }),
	"sine":       by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value { return b.op("cosine", nil, x) }),
	"cosine":     by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value { return b.neg(b.op("sine", nil, x)) }),
	"tanh":       by(func(b *builder, _ *ir.Node, _, y *ir.Value) *ir.Value { return b.sub(b.number(1), b.mul(y, y)) }),
	"logistic": by(func(b *builder, _ *ir.Node, _, y *ir.Value) *ir.Value {
		return b.mul(y, b.sub(b.number(1), y))
	}),
	"erf": by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value {
		return b.scale(b.op("exponential", nil, b.neg(b.mul(x, x))), 2/math.Sqrt(math.Pi))
	}),
	"relu":  between(func(*ir.Node) float64 { return 0 }, func(*ir.Node) float64 { return math.Inf(1) }),
	"clamp": between(func(n *ir.Node) float64 { return n.Float("min") }, func(n *ir.Node) float64 { return n.Float("max") }),
	"leaky_relu": by(func(b *builder, n *ir.Node, x, _ *ir.Value) *ir.Value {
		return b.where(x, "GE", b.number(0), b.number(1), b.number(n.Float("alpha")))
	}),
	"hard_sigmoid": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		y := n.Outputs[0]
		return []*ir.Value{b.scale(b.clampGrad(y, dy[0], 0, 1), n.Float("alpha"))}
	},
	// x·h with h = clamp(x/6 + 1/2): h + x/6 where h is inside, else h.
	"hard_swish": by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value {
		h := b.op("hard_sigmoid", nil, x)
		return b.add(h, b.clampGrad(h, b.scale(x, 1.0/6), 0, 1))
	}),
	// s + x·s·(1−s)
	"silu": by(func(b *builder, _ *ir.Node, x, y *ir.Value) *ir.Value {
		s := b.logistic(x)
		return b.add(s, b.mul(y, b.sub(b.number(1), s)))
	}),
	"gelu": by(geluSlope),
	"elu": by(func(b *builder, n *ir.Node, x, y *ir.Value) *ir.Value {
		return b.where(x, "GE", b.number(0), b.number(1), b.plus(y, n.Float("alpha")))
	}),
	"selu": by(func(b *builder, n *ir.Node, x, y *ir.Value) *ir.Value {
		s := n.Float("scale")
		return b.where(x, "GE", b.number(0), b.number(s), b.plus(y, s*n.Float("alpha")))
	}),
	"softplus": by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value { return b.logistic(x) }),
	// t = tanh(softplus x): t + x·(1−t²)·logistic x
	"mish": by(func(b *builder, _ *ir.Node, x, _ *ir.Value) *ir.Value {
		t := b.op("tanh", nil, b.op("softplus", nil, x))
		return b.add(t, b.mul(b.mul(x, b.logistic(x)), b.sub(b.number(1), b.mul(t, t))))
	}),
	"prelu": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		x, s := n.Inputs[0], n.Inputs[1]
		zero := b.number(0)
		out := make([]*ir.Value, 2)
		if b.wants(n, 0) {
			out[0] = b.where(x, "GE", zero, dy[0], b.mul(dy[0], s))
		}
		if b.wants(n, 1) {
			out[1] = b.unstretch(b.where(x, "GE", zero, zero, b.mul(dy[0], x)), s.Type.Shape)
		}
		return out
	},
	"convert": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		if !n.Outputs[0].Type.DType.IsFloat() {
			return nil
		}
		return []*ir.Value{b.op("convert", ir.Attrs{"dtype": n.Inputs[0].Type.DType.String()}, dy[0])}
	},
}

// geluSlope is Φ(x) + x·φ(x), or the derivative of the tanh form.
func geluSlope(b *builder, n *ir.Node, x, _ *ir.Value) *ir.Value {
	if n.Str("approximate") != "tanh" {
		cdf := b.scale(b.plus(b.op("erf", nil, b.scale(x, math.Sqrt2/2)), 1), 0.5)
		return b.add(cdf, b.mul(x, b.normalDensity(x)))
	}
	c, k := math.Sqrt(2/math.Pi), 0.044715
	x2 := b.mul(x, x)
	t := b.op("tanh", nil, b.scale(b.mul(x, b.plus(b.scale(x2, k), 1)), c))
	inner := b.scale(b.plus(b.scale(x2, 3*k), 1), c)
	half := b.scale(b.plus(t, 1), 0.5)
	return b.add(half, b.scale(b.mul(b.mul(x, inner), b.sub(b.number(1), b.mul(t, t))), 0.5))
}
