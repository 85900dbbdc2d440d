package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
)

// attention runs f32's attention, which has more operands than other kernels.
type attention struct{ *f32.AttentionKernel }

func (w attention) Run(lo, hi int, c *call) {
	c.attention = f32.AttentionArgs{Args: c.f32Args(), V: c.ops[2]}
	if len(c.ops) == 5 { // q, k, v, mask and the result
		c.attention.Mask = c.ops[3]
	}
	w.AttentionKernel.Run(lo, hi, &c.attention)
}

func lowerAttention(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	q, k, v := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape, n.Inputs[2].Type.Shape
	r := len(q)
	if k.Elems() == 0 {
		return errNoKernel
	}
	s := f32.AttentionSpec{Lead: q[:r-2], T: q[r-2], S: k[r-2], D: q[r-1], V: v[r-1], Scale: n.F32("scale")}
	in := n.Inputs[:3]
	if m := n.In(3); m != nil {
		s.Mask, in = append([]int{1}, m.Type.Shape...), n.Inputs[:4]
		if len(m.Type.Shape) == r {
			s.Mask = m.Type.Shape
		}
	}
	kernel, err := f32.Attention(s, c.level)
	if err != nil {
		return err
	}
	g.work, g.in = attention{kernel}, in
	g.recipe = Recipe{Package: "f32", Func: "Attention", Spec: s}
	return nil
}
