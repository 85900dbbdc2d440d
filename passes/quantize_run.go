package passes

import "github.com/nasc-dev/nasc/ir"

// interpreter is the Runner that needs no target: the op table's own
// definitions, node by node.
func interpreter(g *ir.Graph) (run func(in []*ir.Tensor) ([]*ir.Tensor, error), free func(), err error) {
	last := map[*ir.Value]*ir.Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			last[v] = n
		}
	}
	for _, v := range g.Outputs {
		delete(last, v)
	}
	run = func(in []*ir.Tensor) ([]*ir.Tensor, error) {
		env := map[*ir.Value]*ir.Tensor{}
		for i, v := range g.Inputs {
			env[v] = in[i]
		}
		get := func(v *ir.Value) *ir.Tensor {
			if v == nil || v.IsConst() {
				if v == nil {
					return nil
				}
				return v.Const
			}
			return env[v]
		}
		for _, n := range g.Nodes {
			args := make([]*ir.Tensor, len(n.Inputs))
			for i, v := range n.Inputs {
				args[i] = get(v)
			}
			if _, most := n.Op.Arity(); most > len(args) {
				args = append(args, make([]*ir.Tensor, most-len(args))...)
			}
			out, err := n.Op.Eval(n, args)
			if err != nil {
				return nil, err
			}
			for i, v := range n.Outputs {
				env[v] = out[i]
			}
			for _, v := range n.Inputs {
				if last[v] == n {
					delete(env, v)
				}
			}
		}
		out := make([]*ir.Tensor, len(g.Outputs))
		for i, v := range g.Outputs {
			out[i] = get(v)
		}
		return out, nil
	}
	return run, nil, nil
}
