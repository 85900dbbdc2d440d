package cpu

import (
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// fallback runs a node through the op table's evaluation. It is right for
// every op, allocates, and uses one thread.
type fallback struct {
	node    *ir.Node
	in, out []operand
}

func newFallback(n *ir.Node, in, out []operand) *fallback {
	return &fallback{node: n, in: in, out: out}
}

func (f *fallback) run(c *call) error {
	in := make([]*ir.Tensor, max(len(f.in), len(f.node.Op.In)))
	for i, o := range f.in {
		if o.buf != nil {
			in[i] = wrap(o.typ.DType, o.typ.Shape, c.ops[i])
		}
	}
	out, err := f.node.Op.Eval(f.node, in)
	if err != nil {
		return err
	}
	if len(out) != len(f.out) {
		return diag.Errorf(f.node.Op.Name, "evaluation gives %d results; wanted %d", len(out), len(f.out))
	}
	for i, o := range f.out {
		if o.buf != nil {
			copy(c.ops[len(f.in)+i], rawBytes(out[i]))
		}
	}
	return nil
}
