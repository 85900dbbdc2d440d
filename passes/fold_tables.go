package passes

import "github.com/nasc-dev/nasc/ir"

// foldTables composes tables that follow each other.
//
//	%a = q_lookup %x @t; %b = q_lookup %a @u  →  %b = q_lookup %x @u∘t
//
// Exact: both are 256 entries, so the composition has the same entry for each
// input. A table somebody else reads stays as well.
func foldTables(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		first := def(n.Inputs[0], "q_lookup")
		if n.Op.Name != "q_lookup" || first == nil || !first.Inputs[1].IsConst() || !n.Inputs[1].IsConst() || !e.only(first.Out()) {
			return nil, nil
		}
		inner, outer := first.Inputs[1].Const, n.Inputs[1].Const
		if !inner.DType.Is8Bit() {
			return nil, nil
		}
		t := ir.NewTensor(outer.DType, 256)
		lo, _ := inner.DType.Range()
		for i := range 256 {
			t.Set(i, outer.At(inner.Int(i)-int(lo)))
		}
		return e.add(n, "q_lookup", ir.Attrs{"out_scale": n.Float("out_scale"), "out_zero": n.Int("out_zero")}, first.Inputs[0], e.g.Const(n.Inputs[1].Name, t))
	})
}
