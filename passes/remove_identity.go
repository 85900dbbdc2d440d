package passes

import "github.com/nasc-dev/nasc/ir"

// removeIdentity drops nodes whose result is their operand.
//
//	%b = reshape %a shape=[N,8]    (a: [N,8])
//	%c = add %b 0                →  %a
//
// Safe: the types are equal, and x+0 differs from x for −0 only, which no
// comparison tells from +0; a node whose operand has another type stays.
func removeIdentity(g *ir.Graph) (bool, error) {
	return rewrite(g, nil, func(_ *editor, n *ir.Node) (*ir.Value, error) {
		if len(n.Inputs) == 0 || n.Inputs[0] == nil {
			return nil, nil
		}
		x := n.Inputs[0]
		same := func(v *ir.Value) bool { return v.Type.Equal(n.Out().Type) }
		switch n.Op.Name {
		case "reshape", "broadcast", "convert", "split":
			if same(x) {
				return x, nil
			}
		case "slice":
			if !same(x) {
				return nil, nil
			}
			for _, s := range n.Ints("stride") {
				if s != 1 {
					return nil, nil
				}
			}
			return x, nil
		case "pad":
			for i, l := range n.Ints("low") {
				if l != 0 || n.Ints("high")[i] != 0 {
					return nil, nil
				}
			}
			return x, nil
		case "transpose":
			for i, p := range n.Ints("permutation") {
				if i != p {
					return nil, nil
				}
			}
			return x, nil
		case "concatenate":
			if len(n.Inputs) == 1 {
				return x, nil
			}
		case "add", "subtract":
			if s, ok := scalar(n.Inputs[1]); ok && s == 0 && same(x) {
				return x, nil
			}
			if s, ok := scalar(x); ok && s == 0 && n.Op.Name == "add" && same(n.Inputs[1]) {
				return n.Inputs[1], nil
			}
		case "multiply", "divide":
			if s, ok := scalar(n.Inputs[1]); ok && s == 1 && same(x) {
				return x, nil
			}
			if s, ok := scalar(x); ok && s == 1 && n.Op.Name == "multiply" && same(n.Inputs[1]) {
				return n.Inputs[1], nil
			}
		case "average_pool", "max_pool":
			w, err := ir.WindowOf(n)
			if err == nil && w.Taps() == 1 && same(x) {
				return x, nil
			}
		}
		return nil, nil
	})
}
