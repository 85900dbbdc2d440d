package coupling

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// Group is the channels that some weights make: its units can be removed,
// copied or moved one by one.
type Group struct {
	Units     []Unit
	Producers []*ir.Node // whose weights make them
	// Fixed says why the group can neither shrink nor grow; Single why its
	// units cannot be copied; Even why all need equally many copies.
	Fixed, Single, Even string
}

// Groups lists the groups in order of their first producer. Producers whose
// channels share a unit are of one group.
func (a *Analysis) Groups() []*Group {
	var all forest
	all.grow(len(a.producers))
	owner := map[Unit]atom{}
	for i, p := range a.producers {
		for _, id := range p.ids {
			u := a.unit.find(id)
			if o, ok := owner[u]; ok {
				all.join(o, atom(i))
			} else {
				owner[u] = atom(i)
			}
		}
	}
	groups := map[atom]*Group{}
	var out []*Group
	for i, p := range a.producers {
		root := all.find(atom(i))
		g := groups[root]
		if g == nil {
			g = &Group{}
			groups[root] = g
			out = append(out, g)
		}
		g.Producers = append(g.Producers, p.n)
		if p.ids == nil && g.Fixed == "" {
			g.Fixed = p.why
		}
		for _, id := range p.ids {
			u := a.unit.find(id)
			if why := a.fixed[u]; why != "" && g.Fixed == "" {
				g.Fixed = why
			}
			if why := a.single[u]; why != "" && g.Single == "" {
				g.Single = why
			}
			g.Units = append(g.Units, u)
		}
	}
	for _, g := range out {
		slices.Sort(g.Units)
		g.Units = slices.Compact(g.Units)
	}
	evenUnits := map[Unit]string{}
	for _, e := range a.even {
		for _, id := range e.ids {
			evenUnits[a.unit.find(id)] = e.why
		}
	}
	for _, g := range out {
		for _, u := range g.Units {
			if why := evenUnits[u]; why != "" {
				g.Even = why
				break
			}
		}
	}
	return out
}

// Member is one appearance of units: an axis of an operand or result of a node,
// with the unit of every position.
type Member struct {
	Node  *ir.Node
	Value *ir.Value
	Axis  int
	Units []Unit
	// Sums says that the node sums over the axis: its weights read the
	// channels, and do not make them.
	Sums bool
}

// Constants lists the axes of constants whose channels can change, use by use.
func (a *Analysis) Constants() []Member {
	var out []Member
	for _, n := range a.g.Nodes {
		var sums []place
		if c := ruleOf(n).contracts; c != nil {
			sums = c(n)
		}
		for i, v := range n.Inputs {
			if !v.IsConst() {
				continue
			}
			for k, x := range a.of(v) {
				if x.ids == nil {
					continue
				}
				m := Member{Node: n, Value: v, Axis: k, Sums: slices.Contains(sums, place{i, k})}
				for _, id := range x.ids {
					m.Units = append(m.Units, a.unit.find(id))
				}
				out = append(out, m)
			}
		}
	}
	return out
}

// Of gives the unit of each position of an axis of a value; nil where it cannot
// change.
func (a *Analysis) Of(v *ir.Value, at int) []Unit {
	x := a.of(v)[at]
	if x.ids == nil {
		return nil
	}
	out := make([]Unit, len(x.ids))
	for i, id := range x.ids {
		out[i] = a.unit.find(id)
	}
	return out
}

// LeastKept gives those of the units to be removed that must stay so that
// something is left of every axis: for each axis that would be empty, the unit
// of the highest score.
func (a *Analysis) LeastKept(gone map[Unit]bool, score map[Unit]float64) []Unit {
	var back []Unit
	kept := map[Unit]bool{}
	for _, n := range a.g.Nodes {
		for _, v := range append(n.Inputs[:len(n.Inputs):len(n.Inputs)], n.Outputs...) {
			if v == nil {
				continue
			}
			for _, x := range a.of(v) {
				best, empty := Unit(-1), len(x.ids) > 0
				for _, id := range x.ids {
					u := a.unit.find(id)
					if !gone[u] || kept[u] {
						empty = false
						break
					}
					if best < 0 || score[u] > score[best] {
						best = u
					}
				}
				if empty {
					back, kept[best] = append(back, best), true
				}
			}
		}
	}
	return back
}
