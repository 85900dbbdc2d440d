package coupling

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

// axis is one axis of a value: an atom for each position, or none where the
// axis cannot change, and why.
type axis struct {
	ids []atom
	why string
}

// Analysis is what Analyze finds of one graph.
type Analysis struct {
	g          *ir.Graph
	axes       map[*ir.Value][]axis
	same, unit forest
	fixed      map[atom]string // of units: why they can be neither removed nor copied
	single     map[atom]string // of units: why they cannot be copied
	even       []even
	producers  []producer
	shuffles   map[*ir.Node]*shuffle // by the reshape that ends one
	inside     map[*ir.Node]bool     // the other nodes of shuffles
	uses       map[*ir.Value][]ir.Use
}

// even lists channels of which all need equally many copies.
type even struct {
	ids []atom
	why string
}

// producer is a node whose weights make the channels of an axis.
type producer struct {
	n   *ir.Node
	ids []atom
	why string // where ids is nil
}

// Analyze labels every axis of every value of a verified graph.
func Analyze(g *ir.Graph) *Analysis {
	a := &Analysis{g: g, axes: map[*ir.Value][]axis{}, fixed: map[atom]string{}, single: map[atom]string{}, uses: g.Uses()}
	a.findShuffles()
	for _, v := range g.Inputs {
		a.axes[v] = fixedAxes(v, "it is an input of the network")
	}
	for _, n := range g.Nodes {
		r := ruleOf(n)
		if r.label == nil {
			a.barrier(n, r.barrier)
			continue
		}
		r.label(a, n)
		for _, v := range n.Outputs {
			if len(a.axes[v]) != len(v.Type.Shape) {
				panic(fmt.Sprintf("BUG: coupling: %s gives %d axes for %v", n.Op.Name, len(a.axes[v]), v.Type))
			}
		}
	}
	for _, v := range g.Outputs {
		for i := range a.of(v) {
			a.fix(a.of(v)[i], "it is an output of the network")
		}
	}
	return a
}

func fixedAxes(v *ir.Value, why string) []axis {
	ax := make([]axis, len(v.Type.Shape))
	for i := range ax {
		ax[i].why = why
	}
	return ax
}

// of gives a value's axes; a constant's are made at its first use.
func (a *Analysis) of(v *ir.Value) []axis {
	if ax, ok := a.axes[v]; ok || !v.IsConst() {
		return ax
	}
	ax := make([]axis, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		ax[i] = a.fresh(d)
	}
	a.axes[v] = ax
	return ax
}

// fresh makes an axis of n new channels.
func (a *Analysis) fresh(n int) axis {
	if n < 0 {
		return axis{why: "it is the batch"}
	}
	ids := make([]atom, n)
	for i := range ids {
		ids[i] = atom(len(a.same) + i)
	}
	a.same.grow(n)
	a.unit.grow(n)
	return axis{ids: ids}
}

// fix says that the channels of an axis can be neither removed nor copied.
func (a *Analysis) fix(x axis, why string) {
	for _, id := range x.ids {
		if u := a.unit.find(id); a.fixed[u] == "" {
			a.fixed[u] = why
		}
	}
}

// once says that the channels of an axis cannot be copied.
func (a *Analysis) once(x axis, why string) {
	for _, id := range x.ids {
		if u := a.unit.find(id); a.single[u] == "" {
			a.single[u] = why
		}
	}
}

// together makes two channels one unit.
func (a *Analysis) together(x, y atom) {
	into, from := a.unit.join(x, y)
	if into == from {
		return
	}
	for _, m := range []map[atom]string{a.fixed, a.single} {
		if why := m[from]; why != "" {
			if m[into] == "" {
				m[into] = why
			}
			delete(m, from)
		}
	}
}

// tie makes the channels of two axes the same, one by one, and gives them.
func (a *Analysis) tie(x, y axis) axis {
	switch {
	case x.ids == nil:
		a.fix(y, x.why)
		return x
	case y.ids == nil:
		a.fix(x, y.why)
		return y
	case len(x.ids) != len(y.ids):
		panic(fmt.Sprintf("BUG: coupling: axes of %d and %d tied", len(x.ids), len(y.ids)))
	}
	for i, id := range x.ids {
		a.together(id, y.ids[i])
		a.same.join(id, y.ids[i])
	}
	return x
}

// barrier fixes every axis of a node's operands and results.
func (a *Analysis) barrier(n *ir.Node, why string) {
	why = n.Op.Name + " " + why
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		for _, x := range a.of(v) {
			a.fix(x, why)
		}
	}
	for _, v := range n.Outputs {
		a.axes[v] = fixedAxes(v, why)
	}
}

// named says why in terms of a node.
func named(n *ir.Node, why string) string { return fmt.Sprintf("%s %q %s", n.Op.Name, n.Label(), why) }
