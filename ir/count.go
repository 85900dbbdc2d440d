package ir

// MACs sums the multiply-accumulates of all nodes at batch 1.
func (g *Graph) MACs() int64 {
	var s int64
	for _, n := range g.Nodes {
		s += n.Op.MACs(n)
	}
	return s
}

// Params is the number of elements in constants of rank 1 and more.
func (g *Graph) Params() int64 {
	var s int64
	for _, v := range g.Constants() {
		if len(v.Type.Shape) > 0 {
			s += int64(v.Const.Len())
		}
	}
	return s
}

// ConstBytes is the size of all constants.
func (g *Graph) ConstBytes() int64 {
	var s int64
	for _, v := range g.Constants() {
		s += v.Const.Bytes()
	}
	return s
}

// Bytes is what a node reads and writes, batch counted as 1.
func (n *Node) Bytes() int64 {
	var s int64
	for _, v := range n.Inputs {
		if v != nil {
			s += v.Type.Bytes()
		}
	}
	for _, v := range n.Outputs {
		s += v.Type.Bytes()
	}
	return s
}

// OpCounts counts the nodes of each op.
func (g *Graph) OpCounts() map[string]int {
	m := map[string]int{}
	for _, n := range g.Nodes {
		m[n.Op.Name]++
	}
	return m
}
