package passes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/ir"
)

// maxCompared is the size up to which constants are compared by content.
const maxCompared = 1 << 12

// cse keeps one of several equal nodes.
//
//	%b = relu %a
//	%c = relu %a  →  %c is %b
//
// Safe: ops have no state; equal op, attributes and operands give equal bits.
func cse(g *ir.Graph) (bool, error) {
	constants := map[string]*ir.Value{}
	canonical := func(v *ir.Value) *ir.Value {
		if v == nil || !v.IsConst() || v.Const.Len() > maxCompared {
			return v
		}
		key := fmt.Sprintf("%v %v %x", v.Type, v.Type.Quant, v.Const.RawBytes())
		if q := v.Type.Quant; q != nil {
			key += fmt.Sprint(q.Scale, q.Zero)
		}
		if constants[key] == nil {
			constants[key] = v
		}
		return constants[key]
	}
	seen := map[string]*ir.Node{}
	changed := false
	for _, n := range g.Nodes {
		var b strings.Builder
		b.WriteString(n.Op.Name)
		for i, v := range n.Inputs {
			n.Inputs[i] = canonical(v)
			fmt.Fprintf(&b, " %p", n.Inputs[i])
		}
		for _, k := range slices.Sorted(maps.Keys(n.Attrs)) {
			fmt.Fprintf(&b, " %s=%v", k, n.Attrs[k])
		}
		old := seen[b.String()]
		if old == nil {
			seen[b.String()] = n
			continue
		}
		if slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return slices.Contains(g.Outputs, v) }) {
			continue // an output keeps its own name
		}
		for i, v := range n.Outputs {
			g.ReplaceUses(v, old.Outputs[i])
		}
		changed = true
	}
	if changed {
		g.RemoveDead()
	}
	return changed, nil
}
