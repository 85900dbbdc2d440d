package difftest

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

// Alone builds a graph of one node, and what it is fed of the node's operands: those
// that are computed are inputs.
func Alone(n *ir.Node, in []*ir.Tensor) (g *ir.Graph, feeds []*ir.Tensor, err error) {
	g = ir.NewGraph("node")
	var args []*ir.Value
	for i, v := range n.Inputs {
		switch {
		case v == nil:
			args = append(args, nil)
		case v.IsConst() && v.Type.Quant != nil:
			args = append(args, g.QConst(v.Name, v.Const, v.Type.Quant))
		case v.IsConst():
			args = append(args, g.Const(v.Name, v.Const))
		default:
			args = append(args, g.Input(fmt.Sprintf("x%d", i), v.Type))
			feeds = append(feeds, in[i])
		}
	}
	k, err := g.AddNamed(n.Op.Name, "y", n.Attrs, args...)
	if err != nil {
		return nil, nil, err
	}
	g.Outputs = k.Outputs
	return g, feeds, nil
}
