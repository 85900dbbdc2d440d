package cpu

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// rowGroup is a layer norm with what stands around it, row after row.
type rowGroup struct {
	dequantize, add, norm, factor, quantize *ir.Node  // all but norm may be nil
	summed, normed                          *ir.Value // results of add and norm where others read them, too
}

// fuseRows finds layer norms and what stands around them, in the order
//
//	uniform_dequantize | add    layer_norm    multiply by a constant row    uniform_quantize
//
// of which one may be missing or another: what lies between them never leaves the
// first level cache, and threads are called together once. Others may read the sum
// and the norm's result, but only later.
func (c *compiler) fuseRows(claimed map[*ir.Node]bool, at map[*ir.Node]*group) {
	place := map[*ir.Node]int{}
	for i, n := range c.g.Nodes {
		place[n] = i
	}
	for _, n := range c.g.Nodes {
		if n.Op.Name != "layer_norm" || c.known(n) || claimed[n] {
			continue
		}
		g := c.rowsAround(n, place, claimed)
		if len(g.nodes) < 2 {
			continue
		}
		for _, m := range g.nodes {
			claimed[m] = true
		}
		at[g.nodes[len(g.nodes)-1]] = g
	}
}

// rowsAround gives the group of a layer norm: it alone where nothing can join it.
func (c *compiler) rowsAround(norm *ir.Node, place map[*ir.Node]int, claimed map[*ir.Node]bool) *group {
	r := &rowGroup{norm: norm}
	g := &group{rowGroup: r, nodes: []*ir.Node{norm}}
	x := norm.Inputs[0]
	s, err := c.normSpec(norm)
	if err != nil || s.Rows == 0 || s.N == 0 {
		return g
	}
	if d := x.Def; d != nil && !c.known(d) && !claimed[d] {
		switch {
		case d.Op.Name == "uniform_dequantize" && perTensorOnly(d.Inputs[0]) && len(c.uses[x]) == 1:
			r.dequantize = d
		case d.Op.Name == "add" && sameShapes(d) && f32Only(d) == nil && !slices.ContainsFunc(d.Inputs, c.contracted):
			r.add = d
		}
	}
	r.factor, r.quantize = c.rowsTail(norm, s.N, place, claimed)
	for _, m := range []*ir.Node{r.factor, r.quantize} {
		if m != nil {
			g.nodes = append(g.nodes, m)
		}
	}
	end := g.nodes[len(g.nodes)-1]
	if y := norm.Outputs[0]; r.quantize != nil && len(c.uses[y]) > 1 {
		r.normed = y
	}
	if r.add != nil && len(c.uses[x]) > 1 {
		r.summed = x
		// Without a quantizer the network is float: contractions add most sums
		// themselves, and a norm that takes a sum only after some blocks would make
		// equal blocks cost differently.
		if r.quantize == nil || !c.readLater(x, norm, place, end) {
			r.add, r.summed = nil, nil
		}
	}
	for _, d := range []*ir.Node{r.dequantize, r.add} {
		if d != nil {
			g.main, g.nodes = 1, append([]*ir.Node{d}, g.nodes...)
		}
	}
	return g
}

// readLater says that whoever reads v, but one, stands behind a node.
func (c *compiler) readLater(v *ir.Value, but *ir.Node, place map[*ir.Node]int, end *ir.Node) bool {
	for _, u := range c.uses[v] {
		if u.Node != nil && u.Node != but && place[u.Node] < place[end] {
			return false
		}
	}
	return true
}

// rowsTail finds what follows a norm: nil where nothing can join it.
func (c *compiler) rowsTail(norm *ir.Node, width int, place map[*ir.Node]int, claimed map[*ir.Node]bool) (factor, quantize *ir.Node) {
	y := norm.Outputs[0]
	for _, u := range c.uses[y] {
		if u.Node == nil || claimed[u.Node] {
			continue
		}
		if n := u.Node; n.Op.Name == "uniform_quantize" && quantize == nil {
			quantize = n
		} else if n.Op.Name == "multiply" && factor == nil {
			if q := c.follower(n.Outputs[0], "uniform_quantize"); q != nil && !claimed[q] && c.rowOf(other(n, y), width) != nil {
				factor = n
			}
		}
	}
	first := quantize
	if factor != nil {
		first, quantize = factor, c.follower(factor.Outputs[0], "uniform_quantize")
	}
	if first == nil || !perTensorOnly(quantize.Outputs[0]) || !c.readLater(y, first, place, quantize) {
		return nil, nil
	}
	return factor, quantize
}

// contracted says that a float contraction gives v: it will add what is added to
// its sums itself.
func (c *compiler) contracted(v *ir.Value) bool {
	return v.Def != nil && len(c.uses[v]) == 1 && (v.Def.Op.Name == "convolution" || v.Def.Op.Name == "dot")
}

// rowOf gives the constant row of n float32 that v is; nil for others.
func (c *compiler) rowOf(v *ir.Value, n int) []float32 {
	t := c.constant(v)
	if t == nil || t.DType != ir.F32 || t.Len() != n || t.Shape[len(t.Shape)-1] != n {
		return nil
	}
	return t.F32()
}

func perTensorOnly(v *ir.Value) bool {
	_, _, err := perTensor(v)
	return err == nil
}
