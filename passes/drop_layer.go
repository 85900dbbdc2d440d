package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// dropLayer removes a convolution or dense layer with its batch norm and
// activation, where what comes out has the type of what goes in.
//
//	%c = convolution %x @w
//	%n = batch_norm_inference %c …
//	%r = relu %n                     →   %x
//
// It changes the function. Without node= every such layer goes.
func dropLayer(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			return nil, nil
		}
		x := n.Inputs[0]
		end, _, _ := (&growing{editor: e}).layer(n)
		if !end.Type.Equal(x.Type) || x.Def == nil && slices.Contains(g.Outputs, end) {
			return nil, nil
		}
		if end != n.Out() {
			e.replace(end, x) // the norm and the activation die with it
		}
		return x, nil
	})
}
