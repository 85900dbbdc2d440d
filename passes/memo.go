package passes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// memo keeps what the nodes of one network gave. A changed network's nodes that
// do the same to the same operands, to the bit, need not run again: a proof
// that takes place after place would run the same beginning a hundred times.
type memo struct{ of map[string][]remembered }

type remembered struct{ in, out []*ir.Tensor }

// doing says what a node does to its operands.
func doing(n *ir.Node) string {
	var b strings.Builder
	b.WriteString(n.Op.Name)
	for _, k := range slices.Sorted(maps.Keys(n.Attrs)) {
		fmt.Fprintf(&b, " %s=%v", k, n.Attrs[k])
	}
	for _, v := range n.Inputs {
		if v != nil {
			fmt.Fprintf(&b, " %v", v.Type)
		}
	}
	for _, v := range n.Outputs {
		fmt.Fprintf(&b, " %v", v.Type)
	}
	return b.String()
}

func (m *memo) find(what string, in []*ir.Tensor) []*ir.Tensor {
	for _, r := range m.of[what] {
		if slices.EqualFunc(r.in, in, sameTensor) {
			return r.out
		}
	}
	return nil
}

func sameTensor(a, b *ir.Tensor) bool {
	return a == b || a != nil && b != nil && ir.SameData(a, b)
}

// run evaluates a static graph as eval.Run does. With keep, what it gives is
// remembered; without, only found again.
func (m *memo) run(ctx context.Context, g *ir.Graph, in []*ir.Tensor, keep bool) ([]*ir.Tensor, error) {
	vals := map[*ir.Value]*ir.Tensor{}
	for i, v := range g.Inputs {
		vals[v] = in[i]
	}
	get := func(v *ir.Value) *ir.Tensor {
		if v == nil || v.IsConst() {
			if v == nil {
				return nil
			}
			return v.Const
		}
		return vals[v]
	}
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		args := make([]*ir.Tensor, max(len(n.Op.In), len(n.Inputs)))
		for i, v := range n.Inputs {
			args[i] = get(v)
		}
		what := doing(n)
		out := m.find(what, args)
		if out == nil {
			var err error
			if out, err = n.Op.Eval(n, args); err != nil {
				return nil, diag.At(n.Op.Name+" "+n.Label(), err)
			}
			if keep {
				m.of[what] = append(m.of[what], remembered{args, out})
			}
		}
		for i, v := range n.Outputs {
			vals[v] = out[i]
		}
	}
	out := make([]*ir.Tensor, len(g.Outputs))
	for i, v := range g.Outputs {
		out[i] = get(v)
	}
	return out, nil
}
