package cpu

import (
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// fuse gathers nodes into groups that one kernel computes. A group runs at the
// place of its last node; only results that nobody else reads are swallowed,
// so that the graph's meaning is kept to the bit.
//
//	convolution|dot [+ add] [+ unary] [+ multiply|add by one value]      pad + convolution …
//	convolution_transpose|dot_general + unary
//	add|subtract|multiply|… + unary        add + softmax
//	q_convolution|q_dot [+ q_add] [+ q_lookup]
//	q_convolution_transpose|q_add|q_multiply + q_lookup
//	transpose + uniform_quantize
//	dot_integer with what scales its sums (fuse_dynamic.go)
//	q_dot_general … softmax … q_dot_general (fuse_attention.go)
//	add|uniform_dequantize + layer_norm + multiply + uniform_quantize (fuse_rows.go)
//	large float functions of rows, whatever number (fuse_pointwise.go, after lowering)
func (c *compiler) fuse() {
	claimed := map[*ir.Node]bool{}
	at := map[*ir.Node]*group{} // by last node
	c.fuseDynamic(claimed, at)
	if !c.single {
		c.fuseRows(claimed, at)
	}
	c.fuseAttention(claimed, at)
	// Contractions choose first, and of two that could take an add the later.
	for _, contractions := range []bool{true, false} {
		for _, n := range slices.Backward(c.g.Nodes) {
			if claimed[n] || c.known(n) || contractions == elementwise(n) {
				continue
			}
			if g := c.chain(n, claimed); g != nil {
				for _, m := range g.nodes {
					claimed[m] = true
				}
				at[g.nodes[len(g.nodes)-1]] = g
			}
		}
	}
	for _, n := range c.g.Nodes {
		switch {
		case c.known(n) || c.unused(n):
		case at[n] != nil:
			c.groups = append(c.groups, at[n])
		case !claimed[n]:
			c.groups = append(c.groups, &group{nodes: []*ir.Node{n}})
		}
	}
}

// elementwise says that a binary node may be part of a contraction's group.
func elementwise(n *ir.Node) bool {
	return n.Op.Class == ir.Binary || n.Op.Name == "q_add" || n.Op.Name == "q_multiply"
}

// known says that a node was computed at compile time.
func (c *compiler) known(n *ir.Node) bool { return c.consts[n.Outputs[0]] != nil }

// unused says that nobody reads any of a node's results.
func (c *compiler) unused(n *ir.Node) bool {
	for _, v := range n.Outputs {
		if len(c.uses[v]) > 0 {
			return false
		}
	}
	return true
}

// only gives the one node that reads n's one result; nil where there are
// others, or the graph returns it, or the reader is taken.
func (c *compiler) only(n *ir.Node, claimed map[*ir.Node]bool) *ir.Node {
	if len(n.Outputs) != 1 {
		return nil
	}
	u := c.uses[n.Outputs[0]]
	if len(u) != 1 || u[0].Node == nil || claimed[u[0].Node] {
		return nil
	}
	return u[0].Node
}

// chain finds the group that begins with n; nil where n stands alone.
func (c *compiler) chain(n *ir.Node, claimed map[*ir.Node]bool) *group {
	g := &group{nodes: []*ir.Node{n}}
	if n.Op.Name == "pad" && foldablePad(n) {
		next := c.only(n, claimed)
		if next == nil || next.Inputs[0] != n.Outputs[0] || next.Op.Name != "convolution" && next.Op.Name != "q_convolution" {
			return nil
		}
		g.nodes, g.main = append(g.nodes, next), 1
		n = next
	}
	next := c.only(n, claimed)
	switch n.Op.Name {
	case "convolution", "dot":
		if n.Str("activation") != "" {
			break
		}
		if next != nil && next.Op.Name == "add" && sameShapes(next) {
			g.residual, g.nodes = other(next, n.Outputs[0]), append(g.nodes, next)
			next = c.only(next, claimed)
		}
		g.takeUnary(next)
		g.takeAffine(c, n, claimed)
	case "add":
		// A mask on the scores of an attention.
		if next != nil && next.Op.Name == "softmax" {
			g.nodes, g.main = append(g.nodes, next), 1
			break
		}
		g.takeUnary(next)
	case "convolution_transpose", "dot_general", "subtract", "multiply", "divide", "maximum", "minimum":
		g.takeUnary(next)
	case "q_convolution_transpose":
		g.takeLookup(c, n, next)
	case "q_convolution", "q_dot":
		if next == nil || !n.Outputs[0].Type.DType.Is8Bit() {
			break
		}
		if next.Op.Name == "q_add" && sameShapes(next) {
			g.residual, g.nodes = other(next, n.Outputs[0]), append(g.nodes, next)
			n, next = next, c.only(next, claimed)
		}
		g.takeLookup(c, n, next)
	case "q_add", "q_multiply":
		g.takeLookup(c, n, next)
	case "transpose":
		if next != nil && next.Op.Name == "uniform_quantize" {
			g.nodes, g.main = append(g.nodes, next), 1
		}
	}
	if len(g.nodes) == 1 {
		return nil
	}
	return g
}

// takeUnary appends an activation that the f32 kernels do in their epilogue.
func (g *group) takeUnary(n *ir.Node) {
	if n == nil {
		return
	}
	if _, ok := unaryAct(n); ok {
		g.act, g.nodes = n, append(g.nodes, n)
	}
}

// affine is a multiplication and then an addition of one value each.
type affine struct{ scale, shift float32 }

// takeAffine appends a multiplication by one value and an addition of another, or one of
// them, behind a contraction with constant weights.
func (g *group) takeAffine(c *compiler, n *ir.Node, claimed map[*ir.Node]bool) {
	if c.constant(n.Inputs[1]) == nil {
		return
	}
	a := affine{scale: 1, shift: float32(math.Copysign(0, -1))}
	for _, op := range []string{"multiply", "add"} {
		last := g.nodes[len(g.nodes)-1]
		next := c.only(last, claimed)
		if next == nil || next.Op.Name != op || !next.Outputs[0].Type.Shape.Equal(last.Outputs[0].Type.Shape) {
			continue
		}
		v := c.constant(other(next, last.Outputs[0]))
		if v == nil || v.DType != ir.F32 || v.Len() != 1 {
			continue
		}
		if op == "add" {
			a.shift = v.F32()[0]
		} else {
			a.scale = v.F32()[0]
		}
		g.affine, g.nodes = &a, append(g.nodes, next)
	}
}

// takeLookup appends an 8-bit table that maps the result of n.
func (g *group) takeLookup(c *compiler, n, next *ir.Node) {
	if next == nil || next.Op.Name != "q_lookup" || !n.Outputs[0].Type.DType.Is8Bit() {
		return
	}
	if next.Inputs[0] == n.Outputs[0] && c.constant(next.Inputs[1]) != nil && next.Outputs[0].Type.DType.Is8Bit() {
		g.nodes = append(g.nodes, next)
	}
}

// sameShapes says that a binary node does not broadcast.
func sameShapes(n *ir.Node) bool {
	s := n.Outputs[0].Type.Shape
	return n.Inputs[0].Type.Shape.Equal(s) && n.Inputs[1].Type.Shape.Equal(s)
}

// other gives the operand of a binary node that is not v.
func other(n *ir.Node, v *ir.Value) *ir.Value {
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// foldablePad says that a pad adds what a convolution's own padding would:
// zeros around the spatial axes.
func foldablePad(n *ir.Node) bool {
	low, high := n.Ints("low"), n.Ints("high")
	r := len(low)
	if r != 3 && r != 4 || n.Str("mode") != "constant" || n.Float("value") != 0 && n.Inputs[0].Type.Quant == nil {
		return false
	}
	if low[0] != 0 || high[0] != 0 || low[r-1] != 0 || high[r-1] != 0 {
		return false
	}
	return slices.Min(low) >= 0 && slices.Min(high) >= 0
}
