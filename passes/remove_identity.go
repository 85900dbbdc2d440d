package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// removeIdentity drops nodes whose result is their operand.
//
//	%b = reshape %a shape=[N,8]    (a: [N,8])
//	%c = add %b 0                →  %a
//
// Safe: the types are equal, and x+0 differs from x for −0 only, which no
// comparison tells from +0; a node whose operand has another type stays, and so does
// one that makes an output of an input, a constant or another output: it carries the name.
func removeIdentity(g *ir.Graph) (bool, error) {
	return rewrite(g, nil, func(_ *editor, n *ir.Node) (*ir.Value, error) {
		x := operandOf(n)
		if x != nil && (x.Def == nil || slices.Contains(g.Outputs, x)) && slices.Contains(g.Outputs, n.Out()) {
			return nil, nil
		}
		return x, nil
	})
}

// operandOf is the operand that a node gives back, nil where it does more.
func operandOf(n *ir.Node) *ir.Value {
	if len(n.Inputs) == 0 || n.Inputs[0] == nil {
		return nil
	}
	x := n.Inputs[0]
	same := func(v *ir.Value) bool { return v.Type.Equal(n.Out().Type) }
	switch n.Op.Name {
	case "reshape", "broadcast", "convert", "split":
		if same(x) {
			return x
		}
	case "slice":
		if !same(x) {
			return nil
		}
		for _, s := range n.Ints("stride") {
			if s != 1 {
				return nil
			}
		}
		return x
	case "pad":
		for i, l := range n.Ints("low") {
			if l != 0 || n.Ints("high")[i] != 0 {
				return nil
			}
		}
		return x
	case "transpose":
		for i, p := range n.Ints("permutation") {
			if i != p {
				return nil
			}
		}
		return x
	case "concatenate":
		if len(n.Inputs) == 1 {
			return x
		}
	case "add", "subtract":
		if s, ok := scalar(n.Inputs[1]); ok && s == 0 && same(x) {
			return x
		}
		if s, ok := scalar(x); ok && s == 0 && n.Op.Name == "add" && same(n.Inputs[1]) {
			return n.Inputs[1]
		}
	case "multiply", "divide":
		if s, ok := scalar(n.Inputs[1]); ok && s == 1 && same(x) {
			return x
		}
		if s, ok := scalar(x); ok && s == 1 && n.Op.Name == "multiply" && same(n.Inputs[1]) {
			return n.Inputs[1]
		}
	case "average_pool", "max_pool":
		w, err := ir.WindowOf(n)
		if err == nil && w.Taps() == 1 && same(x) {
			return x
		}
	}
	return nil
}
