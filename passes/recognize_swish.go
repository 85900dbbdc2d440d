package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeSwish finds hard sigmoid, hard swish and SiLU written out.
//
//	%a = clamp (add %x 3) min=0 max=6; divide %a 6     →  hard_sigmoid %x
//	multiply %x (hard_sigmoid %x)                       →  hard_swish %x
//	multiply %x (logistic %x)                           →  silu %x
//
// Safe within rounding: the same function with its factors in another order.
func recognizeSwish(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		switch n.Op.Name {
		case "divide", "multiply":
			if y := overSix(n); y != nil {
				if x := relu6Plus3(y); x != nil {
					return e.add(n, "hard_sigmoid", ir.Attrs{"alpha": float64(float32(1.0 / 6)), "beta": 0.5}, x)
				}
				if m := def(y, "multiply"); m != nil { // x · clip(x+3) / 6
					for i, x := range m.Inputs {
						if relu6Plus3(m.Inputs[1-i]) == x {
							return e.add(n, "hard_swish", nil, x)
						}
					}
				}
			}
			if n.Op.Name == "divide" {
				return nil, nil
			}
			for i, op := range []string{"hard_sigmoid", "logistic"} {
				var y *ir.Value
				if !either(n, func(a, b *ir.Value) bool {
					s := def(b, op)
					if s == nil || s.Inputs[0] != a || i == 0 && (math.Abs(s.Float("alpha")-1.0/6) > 1e-5 || s.Float("beta") != 0.5) {
						return false
					}
					y = a
					return true
				}) {
					continue
				}
				return e.add(n, []string{"hard_swish", "silu"}[i], nil, y)
			}
		}
		return nil, nil
	})
}

// overSix gives y of y/6 or y·(1/6).
func overSix(n *ir.Node) *ir.Value {
	switch {
	case n.Op.Name == "divide" && isScalar(n.Inputs[1], 6), n.Op.Name == "multiply" && isScalar(n.Inputs[1], 1.0/6):
		return n.Inputs[0]
	case n.Op.Name == "multiply" && isScalar(n.Inputs[0], 1.0/6):
		return n.Inputs[1]
	}
	return nil
}

// relu6Plus3 gives x of clamp(x+3, 0, 6).
func relu6Plus3(v *ir.Value) *ir.Value {
	c := def(v, "clamp")
	if c == nil || c.Float("min") != 0 || c.Float("max") != 6 {
		return nil
	}
	a := def(c.Inputs[0], "add")
	if a == nil {
		return nil
	}
	var x *ir.Value
	either(a, func(p, q *ir.Value) bool {
		if isScalar(q, 3) {
			x = p
		}
		return x != nil
	})
	return x
}
