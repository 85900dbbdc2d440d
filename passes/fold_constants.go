package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// maxFolded bounds the size of a folded constant in elements, unless its
// operands are as large: an iota of a whole attention mask stays an op.
const maxFolded = 1 << 18

// foldConstants evaluates nodes whose operands are all constants.
//
//	%b = add @x @y  →  @b
//
// Safe: the op table's evaluation is what the interpreter would run. Stored
// quantized weights stay as they are: dequantizing them here would hide them
// from fuse-qdq.
func foldConstants(g *ir.Graph) (bool, error) {
	e := edit(g)
	changed := false
	for _, n := range append([]*ir.Node{}, g.Nodes...) {
		if n.Op.Class == ir.Quantized {
			continue
		}
		args := make([]*ir.Tensor, max(len(n.Op.In), len(n.Inputs)))
		all, size := true, int64(0)
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			if !v.IsConst() {
				all = false
				break
			}
			args[i] = v.Const
			size += int64(v.Const.Len())
		}
		if !all || !slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return len(e.uses[v]) > 0 }) {
			continue
		}
		fits := true
		for _, v := range n.Outputs {
			fits = fits && v.Type.Shape.Static() && int64(v.Type.Shape.Elems()) <= max(maxFolded, 2*size)
		}
		if !fits {
			continue
		}
		out, err := n.Op.Eval(n, args)
		if err != nil {
			return changed, diag.At(n.Op.Name+" "+n.Label(), err)
		}
		for i, v := range n.Outputs {
			if len(e.uses[v]) > 0 {
				g.ReplaceUses(v, g.QConst(v.Name, out[i], v.Type.Quant))
				changed = true
			}
		}
	}
	if changed {
		g.RemoveDead()
	}
	return changed, nil
}
