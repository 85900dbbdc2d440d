package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeClamp turns bounds written as maximum and minimum into one clamp.
//
//	minimum (maximum %x 0) 6     →  clamp %x min=0 max=6
//	clamp (relu %x) max=6        →  clamp %x min=0 max=6
//
// Safe: one bound after the other picks the same number; NaN goes through all.
func recognizeClamp(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		x, lo, hi := bounds(n)
		if x == nil {
			return nil, nil
		}
		if x.Def == nil || !e.only(x) {
			return spelled(e, n, x, lo, hi)
		}
		y, a, b := bounds(x.Def)
		if y == nil {
			return spelled(e, n, x, lo, hi)
		}
		return addClamp(e, n, y, min(max(a, lo), hi), min(max(b, lo), hi))
	})
}

// bounds reads relu, clamp, and maximum or minimum with a constant number as
// min(max(x, lo), hi); x is nil for other nodes.
func bounds(n *ir.Node) (x *ir.Value, lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	if n.Out().Type.DType != ir.F32 {
		return nil, lo, hi
	}
	switch n.Op.Name {
	case "relu":
		return n.Inputs[0], 0, hi
	case "clamp":
		lo, hi = n.Float("min"), n.Float("max")
		if lo > hi {
			return nil, lo, hi
		}
		return n.Inputs[0], lo, hi
	case "maximum", "minimum":
		for i := range 2 {
			s, ok := scalar(n.Inputs[i])
			if !ok || math.IsNaN(s) || !n.Inputs[1-i].Type.Equal(n.Out().Type) {
				continue
			}
			if n.Op.Name == "maximum" {
				lo = s
			} else {
				hi = s
			}
			return n.Inputs[1-i], lo, hi
		}
	}
	return nil, lo, hi
}

// spelled gives a maximum or minimum as a clamp; nil for what is one already.
func spelled(e *editor, n *ir.Node, x *ir.Value, lo, hi float64) (*ir.Value, error) {
	if n.Op.Name == "relu" || n.Op.Name == "clamp" {
		return nil, nil
	}
	return addClamp(e, n, x, lo, hi)
}

func addClamp(e *editor, n *ir.Node, x *ir.Value, lo, hi float64) (*ir.Value, error) {
	switch {
	case math.IsInf(lo, -1) && math.IsInf(hi, 1):
		return x, nil
	case lo == 0 && math.IsInf(hi, 1):
		return e.add(n, "relu", nil, x)
	}
	return e.add(n, "clamp", ir.Attrs{"min": lo, "max": hi}, x)
}
