package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// editor rewrites a graph: it keeps the uses current.
type editor struct {
	g    *ir.Graph
	uses map[*ir.Value][]ir.Use

	touched bool               // something was changed in place
	fresh   map[*ir.Value]bool // made by add
}

func edit(g *ir.Graph) *editor { return &editor{g: g, uses: g.Uses(), fresh: map[*ir.Value]bool{}} }

// add appends a node named after the one it comes from.
func (e *editor) add(from *ir.Node, op string, attrs ir.Attrs, in ...*ir.Value) (*ir.Value, error) {
	n, err := e.g.AddNamed(op, from.Out().Name, attrs, in...)
	if err != nil {
		return nil, err
	}
	n.Name = from.Name
	e.fresh[n.Out()] = true
	for i, v := range in {
		if v != nil {
			e.uses[v] = append(e.uses[v], ir.Use{Node: n, Index: i})
		}
	}
	return n.Out(), nil
}

// replace makes readers of old read new. Readers that die of it are counted
// until the next round: only errs on the side of leaving things alone.
func (e *editor) replace(old, new *ir.Value) {
	readers := e.uses[old]
	delete(e.uses, old)
	for _, u := range readers {
		if u.Node == nil {
			e.g.ReplaceUses(old, new)
			e.uses[new] = append(e.uses[new], readers...)
			return
		}
	}
	if name := old.Name; new.Def != nil && old.Def != nil && e.fresh[new] {
		e.g.Rename(old, name+".old") // the one that stays keeps the plain name
		e.g.Rename(new, name)
	}
	e.uses[new] = append(e.uses[new], readers...)
	for _, u := range readers {
		u.Node.Inputs[u.Index] = new
	}
}

// only says whether v has one reader and is no output.
func (e *editor) only(v *ir.Value) bool {
	u := e.uses[v]
	return len(u) == 1 && u[0].Node != nil
}

// rewrite offers every node that a allows to f until f changes nothing; f gives the value
// that takes the place of the node's first result, or nil.
func rewrite(g *ir.Graph, a Args, f func(e *editor, n *ir.Node) (*ir.Value, error)) (bool, error) {
	e := edit(g)
	changed := false
	for again := true; again; {
		again = false
		for _, n := range append([]*ir.Node{}, g.Nodes...) {
			if len(n.Outputs) != 1 || len(e.uses[n.Out()]) == 0 || !a.takes(n) {
				continue
			}
			v, err := f(e, n)
			if err != nil {
				return changed, err
			}
			if v != nil {
				e.replace(n.Out(), v)
				again, changed = true, true
			}
		}
		if again {
			if err := g.Sort(); err != nil {
				return changed, err
			}
			g.RemoveDead()
			e.uses = g.Uses()
		}
	}
	return changed, nil
}

// scalar reads a constant of one float element.
func scalar(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() != 1 || !v.Const.DType.IsFloat() {
		return 0, false
	}
	return v.Const.At(0), true
}

// isScalar says whether v is a constant close to want: exporters write √2 and
// 1/6 with few digits.
func isScalar(v *ir.Value, want float64) bool {
	s, ok := scalar(v)
	return ok && math.Abs(s-want) <= 1e-4*math.Abs(want)
}

// def gives the node that computes v where it is op.
func def(v *ir.Value, op string) *ir.Node {
	if v == nil || v.Def == nil || v.Def.Op.Name != op {
		return nil
	}
	return v.Def
}

// either matches a commutative node's operands in both orders.
func either(n *ir.Node, f func(a, b *ir.Value) bool) bool {
	return f(n.Inputs[0], n.Inputs[1]) || f(n.Inputs[1], n.Inputs[0])
}
