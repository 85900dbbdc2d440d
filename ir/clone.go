package ir

import "maps"

// Clone copies graph, nodes and values; constant data is shared.
func (g *Graph) Clone() *Graph {
	c, _ := g.CloneMap()
	return c
}

// CloneMap is Clone with the map from old values to new ones.
func (g *Graph) CloneMap() (*Graph, map[*Value]*Value) {
	c := &Graph{Name: g.Name, names: maps.Clone(g.names), consts: maps.Clone(g.consts)}
	m := make(map[*Value]*Value)
	val := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if w := m[v]; w != nil {
			return w
		}
		w := &Value{Name: v.Name, Type: v.Type, Const: v.Const}
		w.Type.Shape = v.Type.Shape.Clone()
		m[v] = w
		return w
	}
	for _, v := range g.Inputs {
		c.Inputs = append(c.Inputs, val(v))
	}
	for _, n := range g.Nodes {
		k := &Node{Op: n.Op, Name: n.Name, Attrs: n.Attrs.Clone()}
		for _, v := range n.Inputs {
			k.Inputs = append(k.Inputs, val(v))
		}
		for _, v := range n.Outputs {
			w := val(v)
			w.Def = k
			k.Outputs = append(k.Outputs, w)
		}
		c.Nodes = append(c.Nodes, k)
	}
	for _, v := range g.Outputs {
		c.Outputs = append(c.Outputs, val(v))
	}
	return c, m
}
