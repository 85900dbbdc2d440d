package shrink

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// residual is a block that adds what it computes to what it began with.
type residual struct {
	add    *ir.Node
	inside map[*ir.Node]bool // what is computed on the way
	first  *ir.Node          // its first layer
}

// residuals finds additions one operand of which is computed from the other.
func residuals(g *ir.Graph) []residual {
	var out []residual
	for _, n := range g.Nodes {
		if n.Op.Name != "add" || n.Inputs[0].IsConst() || n.Inputs[1].IsConst() {
			continue
		}
		for i, x := range n.Inputs {
			inside := map[*ir.Node]bool{}
			if x == n.Inputs[1-i] || !x.Type.Equal(n.Out().Type) || !between(x, n.Inputs[1-i], inside) {
				continue
			}
			r := residual{add: n, inside: inside}
			for _, m := range g.Nodes {
				if inside[m] && m.Op.Name == "convolution" {
					r.first = m
					break
				}
			}
			out = append(out, r)
			break
		}
	}
	return out
}

// between collects the nodes on the ways from x to y, and says whether there
// is one.
func between(x, y *ir.Value, inside map[*ir.Node]bool) bool {
	if x == y {
		return true
	}
	if y == nil || y.Def == nil {
		return false
	}
	if reached, ok := inside[y.Def]; ok {
		return reached
	}
	inside[y.Def] = false
	for _, v := range y.Def.Inputs {
		if between(x, v, inside) {
			inside[y.Def] = true
		}
	}
	return inside[y.Def]
}

// features describes a layer by numbers of about unit size: kind, kernel,
// stride, padding, extent, channels and how they change, place in a block.
func features(n *ir.Node, skipped, first bool) ([]float64, error) {
	w := n.Inputs[1].Type.Shape
	in, out := w[len(w)-2], w[len(w)-1]
	f := make([]float64, 0, Features)
	if n.Op.Name == "convolution" {
		win, err := ir.WindowOf(n)
		if err != nil {
			return nil, err
		}
		f = append(f, 1, float64(win.Kernel[0])/3, float64(win.Stride[0])-1, float64(win.Before[0]), math.Log2(float64(win.Out[0]))/4)
	} else {
		f = append(f, 0, 0, 0, 0, 0)
	}
	f = append(f, math.Log2(float64(in))/6, math.Log2(float64(out))/6, math.Log2(float64(out)/float64(in)))
	for _, b := range []bool{skipped, first} {
		v := 0.0
		if b {
			v = 1
		}
		f = append(f, v)
	}
	return f, nil
}
