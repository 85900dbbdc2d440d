package gomlx

import (
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/ir"
)

// The ops of quantization-aware training; gomlx differentiates straight through
// the rounding because it is told that the rounding's error is a constant.
var fakes = map[string]lowering{
	"fake_quantize":     one(lowerFakeQuantize),
	"requantize_factor": one(lowerRequantizeFactor),
}

// through is f(x) with the gradient of x. f(x)−x is exact, and so is adding it.
func through(x *node, f func(*node) *node) *node {
	return graph.Add(x, graph.StopGradient(graph.Sub(f(graph.StopGradient(x)), graph.StopGradient(x))))
}

func lowerFakeQuantize(l *lowerer, n *ir.Node) *node {
	x := l.in(n, 0)
	s := n.Outputs[0].Type.Shape
	qmin, qmax := float64(n.Int("qmin")), float64(n.Int("qmax"))
	v := graph.Mul(x, stretch(l.in(n, 1), s))
	lo, hi := like(v, qmin), like(v, qmax)
	if z := l.in(n, 2); z != nil {
		z = stretch(through(z, func(z *node) *node { return graph.Round(clamp(z, qmin, qmax)) }), s)
		lo, hi = graph.Sub(lo, z), graph.Sub(hi, z)
	}
	// Not Min and Max, whose gradients gomlx cuts at the ends, where the
	// greatest weights lie.
	low := graph.LessThan(v, lo)
	if n.Bool("floor") {
		lo = like(v, 0)
		low = graph.LessOrEqual(v, lo)
	}
	return through(graph.Where(low, lo, graph.Where(graph.GreaterThan(v, hi), hi, v)), graph.Round)
}

func lowerRequantizeFactor(l *lowerer, n *ir.Node) *node {
	s := n.Outputs[0].Type.Shape
	in := func(i int) *node {
		v := l.in(n, i)
		if v == nil {
			return nil
		}
		return stretch(v, s)
	}
	a, b, out := in(0), in(1), in(2)
	var f *node
	switch kind := n.Str("kind"); kind {
	case "add":
		f = scaled(graph.Max(a, b), 1.0/(1<<14))
	case "share":
		return through(scaled(graph.Div(a, graph.Max(a, b)), 1<<14), graph.Round)
	default:
		f = a
		if b != nil && f != nil {
			f = graph.Mul(f, b)
		} else if b != nil {
			f = b
		}
		if kind == "mean" {
			f = scaled(f, 1/float64(n.Int("count")))
		}
	}
	switch {
	case out == nil:
		return f
	case f == nil:
		return graph.Div(like(out, 1), out)
	}
	return graph.Div(f, out)
}
