package passes

import "github.com/nasc-dev/nasc/ir"

// recognizeDense turns a product with a constant matrix into a dense layer,
// which takes a bias, an activation and 8-bit weights.
//
//	dot_general %x @w                      →  dot %x @w
//	dot_general %x @w transpose_b=true     →  dot %x @w'
//
// Safe: the same chain of multiply-adds; the constant is turned at compile time.
func recognizeDense(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "dot_general" || n.Bool("transpose_a") {
			return nil, nil
		}
		x, w := n.Inputs[0], n.Inputs[1]
		if x.IsConst() || !w.IsConst() || w.Const.DType != ir.F32 || len(w.Type.Shape) > len(x.Type.Shape) {
			return nil, nil
		}
		s := w.Type.Shape
		for ; len(s) > 2; s = s[1:] {
			if s[0] != 1 {
				return nil, nil
			}
		}
		t := w.Const.Reshaped(s...)
		if n.Bool("transpose_b") {
			var err error
			if t, err = evalConst("transpose", ir.Attrs{"permutation": []int{1, 0}}, t); err != nil {
				return nil, err
			}
		}
		if n.Bool("transpose_b") || len(w.Type.Shape) > 2 {
			w = e.g.Const(w.Name, t)
		}
		return e.add(n, "dot", nil, x, w)
	})
}
