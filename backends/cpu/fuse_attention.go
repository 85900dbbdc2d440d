package cpu

import (
	"slices"

	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/ir"
)

// attendGroup is an attention with int8 products, found in the graph.
type attendGroup struct {
	q, k, v, mask *ir.Value // before their transpositions; mask may be nil
	score, weigh  *ir.Node
	quantize      *ir.Node
}

// attend runs int8's attention, which has more operands than other kernels.
type attend struct{ *q8.AttendKernel }

func (w attend) Run(lo, hi int, c *call) {
	c.attend = q8.AttendArgs{Args: c.int8Args(), V: c.ops[2]}
	if len(c.ops) == 5 { // q, k, v, mask and the result
		c.attend.Mask = c.ops[3]
	}
	w.AttendKernel.Run(lo, hi, &c.attend)
}

// headsFirst is how [N,T,H,D] becomes [N,H,T,D].
var headsFirst = []int{0, 2, 1, 3}

// fuseAttention finds attentions whose products are int8 and whose softmax is not:
//
//	%s = q_dot_general (transpose %q) (transpose %k) transpose_b=true : f32
//	%w = uniform_quantize (softmax (add %s %mask))
//	%y = transpose (q_dot_general %w (transpose %v))
//
// A block of scores never leaves the first level cache, heads are read and written
// where they lie, and the bits are those of the parts.
func (c *compiler) fuseAttention(claimed map[*ir.Node]bool, at map[*ir.Node]*group) {
	if !c.level.Has(isa.VNNI) { // elsewhere the parts have the faster kernels
		return
	}
	for _, n := range c.g.Nodes {
		if n.Op.Name == "softmax" && !c.known(n) {
			if g := c.attention(n); g != nil && !slices.ContainsFunc(g.nodes, func(n *ir.Node) bool { return claimed[n] }) {
				for _, m := range g.nodes {
					claimed[m] = true
				}
				at[g.nodes[len(g.nodes)-1]] = g
			}
		}
	}
}

// attention reads the attention around a softmax; nil where it is another.
func (c *compiler) attention(softmax *ir.Node) *group {
	rank := len(softmax.Outputs[0].Type.Shape)
	if axis := softmax.Int("axis"); rank != 4 || axis != -1 && axis != 3 {
		return nil
	}
	a := &attendGroup{}
	var middle []*ir.Node
	a.score = softmax.Inputs[0].Def
	if a.score != nil && a.score.Op.Name == "add" {
		add := a.score
		if len(c.uses[add.Outputs[0]]) != 1 {
			return nil
		}
		for i, v := range add.Inputs {
			if v.Def != nil && v.Def.Op.Name == "q_dot_general" {
				a.score, a.mask = v.Def, add.Inputs[1-i]
			}
		}
		if a.mask == nil || !c.isMask(a.mask, a.score.Outputs[0].Type.Shape) {
			return nil
		}
		middle = append(middle, add)
	}
	s := a.score
	if s == nil || s.Op.Name != "q_dot_general" || s.Outputs[0].Type.DType != ir.F32 || len(c.uses[s.Outputs[0]]) != 1 || s.Bool("transpose_a") || !s.Bool("transpose_b") {
		return nil
	}
	a.quantize = c.follower(softmax.Outputs[0], "uniform_quantize")
	if a.quantize == nil || a.quantize.Outputs[0].Type.DType != ir.U8 {
		return nil
	}
	a.weigh = c.follower(a.quantize.Outputs[0], "q_dot_general")
	if a.weigh == nil || a.weigh.Inputs[0] != a.quantize.Outputs[0] || a.weigh.Bool("transpose_a") || a.weigh.Bool("transpose_b") || !a.weigh.Outputs[0].Type.DType.Is8Bit() {
		return nil
	}
	last := c.follower(a.weigh.Outputs[0], "transpose")
	if last == nil || !slices.Equal(last.Ints("permutation"), headsFirst) {
		return nil
	}
	var first []*ir.Node
	for i, v := range []*ir.Value{s.Inputs[0], s.Inputs[1], a.weigh.Inputs[1]} {
		t := v.Def
		if t == nil || t.Op.Name != "transpose" || c.known(t) || !slices.Equal(t.Ints("permutation"), headsFirst) || c.constant(t.Inputs[0]) != nil {
			return nil
		}
		*[]**ir.Value{&a.q, &a.k, &a.v}[i] = t.Inputs[0]
		if len(c.uses[v]) == 1 { // others may read it, too
			first = append(first, t)
		}
	}
	spec, err := a.spec()
	if err != nil {
		return nil
	}
	if _, err := q8.Attend(spec, c.level); err != nil || spec.D%16 != 0 || spec.V%16 != 0 {
		return nil
	}
	g := &group{attend: a, nodes: append(append(first, s), middle...)}
	g.main = len(first)
	g.nodes = append(g.nodes, softmax, a.quantize, a.weigh, last)
	return g
}

// isMask says that v, added to scores [N,H,T,S], is a row for all or one for each
// sample.
func (c *compiler) isMask(v *ir.Value, scores ir.Shape) bool {
	s := v.Type.Shape
	if v.Type.DType != ir.F32 || len(s) == 0 || len(s) > 4 || s[len(s)-1] != scores[3] {
		return false
	}
	n := s.Elems() / scores[3]
	return n == 1 || n == scores[0] && len(s) == 4 && s[0] == n
}

// spec is the kernel's specification.
func (a *attendGroup) spec() (q8.AttendSpec, error) {
	q, k, v := a.q.Type.Shape, a.k.Type.Shape, a.v.Type.Shape
	s := q8.AttendSpec{N: q[0], T: q[1], H: q[2], D: q[3], S: k[1], V: v[3], Score: ir.QMult(a.score), Mult: ir.QMult(a.weigh)}
	if k[0] != s.N || v[0] != s.N || k[2] != s.H || v[2] != s.H || v[1] != s.S { // products that broadcast
		return s, errNoKernel
	}
	for _, x := range []struct {
		v      *ir.Value
		signed *bool
		zero   *int32
	}{{a.q, &s.QSigned, &s.QZero}, {a.k, &s.KSigned, &s.KZero}, {a.v, &s.VSigned, &s.VZero}} {
		var err error
		if *x.signed, *x.zero, err = perTensor(x.v); err != nil {
			return s, err
		}
	}
	if a.mask != nil {
		s.Masks = a.mask.Type.Shape.Elems() / s.S
	}
	s.Inv = ir.InverseScale(a.quantize.F32("out_scale"))
	var err error
	if s.Weights, err = outOf(a.quantize); err != nil {
		return s, err
	}
	s.Out, err = outOf(a.weigh)
	return s, err
}

func lowerAttend(c *compiler, g *group) error {
	a := g.attend
	s, err := a.spec()
	if err != nil {
		return err
	}
	k, err := q8.Attend(s, c.level)
	if err != nil {
		return err
	}
	g.work, g.in = attend{k}, []*ir.Value{a.q, a.k, a.v}
	if a.mask != nil {
		g.in = append(g.in, a.mask)
	}
	g.recipe = Recipe{Package: "int8", Func: "Attend", Spec: s}
	return nil
}
