package gomlx

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

type node = graph.Node

// lowerer builds the gomlx graph of one IR graph.
type lowerer struct {
	p      *program
	slices bool
	diff   bool // gomlx will differentiate: only what it can
	values map[*ir.Value]*node
}

// lowering builds one IR node's results.
type lowering func(l *lowerer, n *ir.Node) ([]*node, error)

// lowerings are the ops that gomlx runs.
var lowerings map[string]lowering

func init() { // the table's functions refer to helpers that look ops up
	lowerings = map[string]lowering{}
	for _, m := range []map[string]lowering{elementwise, contractions, recurrent, reductions, movements, fakes} {
		for name, f := range m {
			lowerings[name] = f
		}
	}
}

// Supports says whether the targets of this package run an op.
func Supports(op string) bool { return lowerings[op] != nil }

func (l *lowerer) node(n *ir.Node) error {
	f := lowerings[n.Op.Name]
	if f == nil {
		e := &diag.Error{Found: "an op that the gomlx targets do not have"}
		if n.Op.Class == ir.Quantized {
			e.Fix = "quantized graphs run on xla-cpu-int8 and cpu-int8"
		}
		return e
	}
	out, err := f(l, n)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		if o := out[i].Shape(); o.DType != dtypeOf[v.Type.DType] || !slices.Equal(o.Dimensions, dims(v.Type.Shape)) {
			panic(fmt.Sprintf("BUG: %s was lowered to %v, its type is %v", n.Op.Name, o, v.Type))
		}
		l.values[v] = out[i]
	}
	return nil
}

// in gives operand i, nil where it is absent.
func (l *lowerer) in(n *ir.Node, i int) *node {
	v := n.In(i)
	if v == nil {
		return nil
	}
	return l.values[v]
}

// one wraps a function of one result that cannot fail.
func one(f func(l *lowerer, n *ir.Node) *node) lowering {
	return func(l *lowerer, n *ir.Node) ([]*node, error) { return []*node{f(l, n)}, nil }
}

// fn wraps a function of the first operand.
func fn(f func(x *node, n *ir.Node) *node) lowering {
	return one(func(l *lowerer, n *ir.Node) *node { return f(l.in(n, 0), n) })
}

// plain wraps one of gomlx's own unary functions.
func plain(f func(*node) *node) lowering {
	return fn(func(x *node, _ *ir.Node) *node { return f(x) })
}

// binary wraps a function of two operands brought to the result's shape.
func binary(f func(a, b *node) *node) lowering {
	return one(func(l *lowerer, n *ir.Node) *node {
		s := n.Outputs[0].Type.Shape
		return f(stretch(l.in(n, 0), s), stretch(l.in(n, 1), s))
	})
}

// stretch broadcasts by numpy's rule.
func stretch(x *node, s ir.Shape) *node {
	if slices.Equal(x.Shape().Dimensions, dims(s)) {
		return x
	}
	return graph.BroadcastToDims(graph.ExpandLeftToRank(x, len(s)), dims(s)...)
}

// channels stretches a vector along the last axis.
func channels(x *node, like *node) *node { return stretch(x, like.Shape().Dimensions) }

// like is a number in x's shape.
func like(x *node, v float64) *node {
	return graph.BroadcastToDims(graph.Scalar(x.Graph(), x.DType(), v), x.Shape().Dimensions...)
}

func clamp(x *node, lo, hi float64) *node {
	if !math.IsInf(lo, -1) {
		x = graph.Max(x, like(x, lo))
	}
	if !math.IsInf(hi, 1) {
		x = graph.Min(x, like(x, hi))
	}
	return x
}

func scaled(x *node, f float64) *node  { return graph.Mul(x, like(x, f)) }
func shifted(x *node, v float64) *node { return graph.Add(x, like(x, v)) }

var elementwise = map[string]lowering{
	"add": binary(graph.Add), "subtract": binary(graph.Sub), "multiply": binary(graph.Mul), "divide": binary(graph.Div),
	"maximum": binary(graph.Max), "minimum": binary(graph.Min), "power": binary(graph.Pow), "remainder": binary(graph.Rem),
	"and": binary(graph.LogicalAnd), "or": binary(graph.LogicalOr), "xor": binary(graph.LogicalXor),
	"compare": one(lowerCompare),
	"select": one(func(l *lowerer, n *ir.Node) *node {
		s := n.Outputs[0].Type.Shape
		return graph.Where(stretch(l.in(n, 0), s), stretch(l.in(n, 1), s), stretch(l.in(n, 2), s))
	}),
	"negate": plain(graph.Neg), "abs": plain(graph.Abs), "sign": plain(graph.Sign), "exponential": plain(graph.Exp), "log": plain(graph.Log),
	"sqrt": plain(graph.Sqrt), "rsqrt": plain(rsqrt), "sine": plain(graph.Sin), "cosine": plain(graph.Cos), "tanh": plain(graph.Tanh),
	"logistic": plain(graph.Logistic), "erf": plain(graph.Erf), "floor": flat(graph.Floor), "ceil": flat(graph.Ceil),
	"round_nearest_even": flat(graph.Round), "not": plain(graph.LogicalNot),
	"reciprocal": plain(func(x *node) *node { return graph.Div(like(x, 1), x) }),
	"relu":       plain(func(x *node) *node { return graph.Max(x, like(x, 0)) }),
	"clamp":      fn(func(x *node, n *ir.Node) *node { return clamp(x, n.Float("min"), n.Float("max")) }),
	"leaky_relu": fn(func(x *node, n *ir.Node) *node { return positive(x, x, scaled(x, n.Float("alpha"))) }),
	"prelu": one(func(l *lowerer, n *ir.Node) *node {
		x := l.in(n, 0)
		return positive(x, x, graph.Mul(x, stretch(l.in(n, 1), n.Outputs[0].Type.Shape)))
	}),
	"hard_sigmoid": fn(func(x *node, n *ir.Node) *node { return hardSigmoid(x, n.Float("alpha"), n.Float("beta")) }),
	"hard_swish":   plain(func(x *node) *node { return graph.Mul(x, hardSigmoid(x, 1.0/6, 0.5)) }),
	"silu":         plain(func(x *node) *node { return graph.Mul(x, graph.Logistic(x)) }),
	"gelu":         fn(gelu),
	"elu":          fn(func(x *node, n *ir.Node) *node { return elu(x, n.Float("alpha")) }),
	"selu":         fn(func(x *node, n *ir.Node) *node { return scaled(elu(x, n.Float("alpha")), n.Float("scale")) }),
	"softplus":     plain(softplus),
	"mish":         plain(func(x *node) *node { return graph.Mul(x, graph.Tanh(softplus(x))) }),
	"is_nan":       plain(func(x *node) *node { return graph.NotEqual(x, x) }),
	"convert":      fn(func(x *node, n *ir.Node) *node { return graph.ConvertDType(x, dtypeOf[n.Outputs[0].Type.DType]) }),
}

// positive is a where x >= 0, else b.
func positive(x, a, b *node) *node { return graph.Where(graph.GreaterOrEqual(x, like(x, 0)), a, b) }

// rsqrt is 1/√x: gomlx cannot differentiate its own.
func rsqrt(x *node) *node { return graph.Div(like(x, 1), graph.Sqrt(x)) }

// flat wraps a function whose gradient is zero, which gomlx does not know.
func flat(f func(*node) *node) lowering {
	return plain(func(x *node) *node { return f(graph.StopGradient(x)) })
}

func hardSigmoid(x *node, alpha, beta float64) *node {
	return clamp(shifted(scaled(x, alpha), beta), 0, 1)
}

func elu(x *node, alpha float64) *node {
	// The branch that is not taken must not overflow.
	return positive(x, x, scaled(shifted(graph.Exp(graph.Min(x, like(x, 0))), -1), alpha))
}

// softplus is max(x,0) + log1p(e^-|x|).
func softplus(x *node) *node {
	return graph.Add(graph.Max(x, like(x, 0)), graph.Log1p(graph.Exp(graph.Neg(graph.Abs(x)))))
}

func gelu(x *node, n *ir.Node) *node {
	t := graph.Erf
	u := scaled(x, math.Sqrt(0.5))
	if n.Str("approximate") == "tanh" {
		t = graph.Tanh
		u = scaled(graph.Add(x, scaled(graph.Mul(graph.Mul(x, x), x), 0.044715)), math.Sqrt(2/math.Pi))
	}
	return graph.Mul(scaled(x, 0.5), shifted(t(u), 1))
}

func lowerCompare(l *lowerer, n *ir.Node) *node {
	s := n.Outputs[0].Type.Shape
	f := map[string]func(a, b *node) *node{
		"EQ": graph.Equal, "NE": graph.NotEqual, "LT": graph.LessThan, "LE": graph.LessOrEqual, "GT": graph.GreaterThan, "GE": graph.GreaterOrEqual,
	}[n.Str("direction")]
	return f(stretch(l.in(n, 0), s), stretch(l.in(n, 1), s))
}
