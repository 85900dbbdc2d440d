package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeGelu finds GELU written out.
//
//	multiply (multiply %x (add (erf (divide %x 1.4142)) 1)) 0.5  →  gelu %x
//
// in any order of its three factors, and the tanh form
// 0.5·x·(1 + tanh(√(2/π)(x + 0.044715x³))). Safe within rounding.
func recognizeGelu(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "multiply" {
			return nil, nil
		}
		f := factors(n.Out(), e)
		if len(f) != 3 {
			return nil, nil
		}
		for i := range f {
			half, x, t := f[i], f[(i+1)%3], f[(i+2)%3]
			if !isScalar(half, 0.5) {
				continue
			}
			for range 2 {
				switch onePlus(t, x) {
				case "erf":
					return e.add(n, "gelu", nil, x)
				case "tanh":
					return e.add(n, "gelu", ir.Attrs{"approximate": "tanh"}, x)
				}
				x, t = t, x
			}
		}
		return nil, nil
	})
}

// factors lists what a tree of multiplications multiplies.
func factors(v *ir.Value, e *editor) []*ir.Value {
	m := def(v, "multiply")
	if m == nil {
		if d := def(v, "divide"); d != nil && isScalar(d.Inputs[1], 2) { // x/2
			half := e.g.Const("half", ir.Scalar(float32(0.5)))
			return append(factors(d.Inputs[0], e), half)
		}
		return []*ir.Value{v}
	}
	var out []*ir.Value
	for _, in := range m.Inputs {
		if k := def(in, "multiply"); k != nil && e.only(in) {
			out = append(out, factors(in, e)...)
		} else {
			out = append(out, in)
		}
	}
	return out
}

// onePlus says which function t is in 1 + f(x), scaled as GELU wants it.
func onePlus(t, x *ir.Value) string {
	a := def(t, "add")
	if a == nil {
		return ""
	}
	kind := ""
	either(a, func(p, one *ir.Value) bool {
		if !isScalar(one, 1) {
			return false
		}
		if r := def(p, "erf"); r != nil && scaledBy(r.Inputs[0], x, math.Sqrt(0.5)) {
			kind = "erf"
		}
		if r := def(p, "tanh"); r != nil && cubicOf(r.Inputs[0], x) {
			kind = "tanh"
		}
		return kind != ""
	})
	return kind
}

// scaledBy says whether v is x·s, or x divided by 1/s.
func scaledBy(v, x *ir.Value, s float64) bool {
	if d := def(v, "divide"); d != nil {
		return d.Inputs[0] == x && isScalar(d.Inputs[1], 1/s)
	}
	m := def(v, "multiply")
	return m != nil && either(m, func(a, b *ir.Value) bool { return a == x && isScalar(b, s) })
}

// cubicOf says whether v is √(2/π)·(x + 0.044715·x³), the cube's factors in any
// order.
func cubicOf(v, x *ir.Value) bool {
	m := def(v, "multiply")
	return m != nil && either(m, func(sum, s *ir.Value) bool {
		a := def(sum, "add")
		return isScalar(s, math.Sqrt(2/math.Pi)) && a != nil && either(a, func(p, q *ir.Value) bool {
			c, power, ok := monomial(q, x)
			return p == x && ok && power == 3 && math.Abs(c-0.044715) <= 1e-4*0.044715
		})
	})
}

// monomial reads v as c·x^power.
func monomial(v, x *ir.Value) (c float64, power int, ok bool) {
	if v == x {
		return 1, 1, true
	}
	if s, ok := scalar(v); ok {
		return s, 0, true
	}
	if p := def(v, "power"); p != nil && p.Inputs[0] == x {
		s, ok := scalar(p.Inputs[1])
		return 1, int(s), ok && s == math.Trunc(s) && s > 0 && s < 8
	}
	m := def(v, "multiply")
	if m == nil {
		return 0, 0, false
	}
	a, p, ok1 := monomial(m.Inputs[0], x)
	b, q, ok2 := monomial(m.Inputs[1], x)
	return a * b, p + q, ok1 && ok2
}

// isSquare says whether v is x².
func isSquare(v, x *ir.Value) bool {
	if p := def(v, "power"); p != nil {
		return p.Inputs[0] == x && isScalar(p.Inputs[1], 2)
	}
	m := def(v, "multiply")
	return m != nil && m.Inputs[0] == x && m.Inputs[1] == x
}
