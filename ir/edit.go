package ir

import (
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Use is one place where a value is read; Node nil means graph output Index.
type Use struct {
	Node  *Node
	Index int
}

// Uses maps every value to the places that read it.
func (g *Graph) Uses() map[*Value][]Use {
	m := make(map[*Value][]Use)
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v != nil {
				m[v] = append(m[v], Use{n, i})
			}
		}
	}
	for i, v := range g.Outputs {
		m[v] = append(m[v], Use{nil, i})
	}
	return m
}

// ReplaceUses makes every reader of old read new instead, outputs included.
// An output keeps its name: new is renamed when old's name was the graph's.
func (g *Graph) ReplaceUses(old, new *Value) {
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v == old {
				n.Inputs[i] = new
			}
		}
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = new
			if new.Def != nil && !slices.Contains(g.Outputs[:i], new) {
				name := old.Name
				g.Rename(old, name+".old")
				g.Rename(new, name)
			}
		}
	}
}

// RemoveDead drops nodes whose results nobody reads and says whether there
// were any.
func (g *Graph) RemoveDead() bool {
	live := map[*Node]bool{}
	var visit func(v *Value)
	var stack []*Node
	visit = func(v *Value) {
		if v != nil && v.Def != nil && !live[v.Def] {
			live[v.Def] = true
			stack = append(stack, v.Def)
		}
	}
	for _, v := range g.Outputs {
		visit(v)
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range n.Inputs {
			visit(v)
		}
	}
	before := len(g.Nodes)
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool {
		if live[n] {
			return false
		}
		for _, v := range n.Outputs {
			delete(g.names, v.Name)
		}
		return true
	})
	return len(g.Nodes) != before
}

// Sort restores topological order, keeping the present order where it is one.
// It fails when the nodes form a cycle.
func (g *Graph) Sort() error {
	state := make(map[*Node]uint8, len(g.Nodes)) // 1: on the stack, 2: placed
	out := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		n *Node
		i int
	}
	for _, root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		stack := []frame{{root, 0}}
		state[root] = 1
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.i == len(f.n.Inputs) {
				state[f.n] = 2
				out = append(out, f.n)
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.n.Inputs[f.i]
			f.i++
			if v == nil || v.Def == nil {
				continue
			}
			switch state[v.Def] {
			case 0:
				state[v.Def] = 1
				stack = append(stack, frame{v.Def, 0})
			case 1:
				return diag.Errorf(v.Def.place(), "depends on its own result")
			}
		}
	}
	g.Nodes = out
	return nil
}
