package passes

import "github.com/nasc-dev/nasc/ir"

// foldShapes shortens chains of ops that only rename places.
//
//	reshape (reshape x)      → reshape x
//	transpose (transpose x)  → transpose x
//	add (broadcast x) y      → add x y       where y has the full shape
//
// Safe: elements keep their row-major order, or are repeated by the op itself.
func foldShapes(g *ir.Graph) (bool, error) {
	changed := false
	for _, n := range g.Nodes {
		if n.Op.Class == ir.Binary && n.Op.Name != "select" {
			c, err := dropBroadcast(n)
			if err != nil {
				return changed, err
			}
			changed = changed || c
		}
	}
	more, err := rewrite(g, nil, func(e *editor, n *ir.Node) (*ir.Value, error) {
		switch n.Op.Name {
		case "reshape":
			if p := def(n.Inputs[0], "reshape"); p != nil {
				return e.add(n, "reshape", n.Attrs, p.Inputs[0])
			}
		case "transpose":
			perm := n.Ints("permutation")
			x := n.Inputs[0]
			if p := def(x, "transpose"); p != nil {
				first := p.Ints("permutation")
				both := make([]int, len(perm))
				for i, a := range perm {
					both[i] = first[a]
				}
				return e.add(n, "transpose", ir.Attrs{"permutation": both}, p.Inputs[0])
			}
		case "broadcast":
			if p := def(n.Inputs[0], "broadcast"); p != nil {
				return e.add(n, "broadcast", n.Attrs, p.Inputs[0])
			}
		}
		return nil, nil
	})
	return changed || more, err
}

// dropBroadcast lets an elementwise op repeat an operand itself.
func dropBroadcast(n *ir.Node) (bool, error) {
	changed := false
	for i, v := range n.Inputs {
		p := def(v, "broadcast")
		if p == nil || len(n.Inputs) != 2 {
			continue
		}
		s, err := ir.Broadcast(p.Inputs[0].Type.Shape, n.Inputs[1-i].Type.Shape)
		if err == nil && s.Equal(n.Out().Type.Shape) && p.Inputs[0].Type.Quant == nil {
			n.Inputs[i] = p.Inputs[0]
			changed = true
		}
	}
	return changed, nil
}
