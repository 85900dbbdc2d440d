package cpu

import (
	"fmt"
	"strings"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

// norms runs int8's norm with what stands around it, which has more results than
// other kernels. Its operands are x and, of a sum, x2.
type norms struct {
	*q8.NormKernel
	name      string
	sum, y, q int // results among the call's operands; 0: there is none
}

func (w *norms) Name() string { return w.name }

func (w *norms) Run(lo, hi int, c *call) {
	a := &c.rows
	*a = q8.NormArgs{X: c.ops[0], Scratch: c.Scratch}
	if w.Add {
		a.X2 = c.ops[1]
	}
	if w.sum > 0 {
		a.Sum = c.ops[w.sum]
	}
	if w.y > 0 {
		a.Y = c.ops[w.y]
	}
	if w.q > 0 {
		a.Q = c.ops[w.q]
	}
	w.NormKernel.Run(lo, hi, a)
}

// lowerRowGroup prepares the one kernel of a norm with what stands around it, or
// a chain of kernels where the instruction set has none.
func lowerRowGroup(c *compiler, g *group) error {
	r := g.rowGroup
	n, err := c.normSpec(r.norm)
	if err != nil {
		return err
	}
	s := q8.NormSpec{Rows: n.Rows, N: n.N, Scale: n.Scale, Bias: n.Bias, Eps: n.Eps}
	g.in, g.out = []*ir.Value{r.norm.Inputs[0]}, nil
	switch {
	case r.dequantize != nil:
		v := r.dequantize.Inputs[0]
		g.in[0] = v
		s.Bytes, s.XSigned, s.XZero, s.XScale = true, v.Type.DType == ir.S8, v.Type.Quant.ZeroAt(0), v.Type.Quant.ScaleAt(0)
	case r.add != nil:
		g.in, s.Add = r.add.Inputs, true
	}
	if r.factor != nil {
		s.Factor = c.rowOf(other(r.factor, r.norm.Outputs[0]), s.N)
	}
	if r.quantize != nil {
		s.Quantize, s.Inv = true, ir.InverseScale(r.quantize.F32("out_scale"))
		if s.Out, err = outOf(r.quantize); err != nil {
			return err
		}
	}
	k, err := q8.Norm(s, c.level)
	if err != nil {
		return err
	}
	g.inPlace = []int{0, 1}[:len(g.in)]
	if k == nil {
		g.in = nil
		return lowerRowChain(c, g, n)
	}
	w := &norms{NormKernel: k}
	result := func(v *ir.Value) int {
		g.out = append(g.out, v)
		return len(g.in) + len(g.out) - 1
	}
	if r.summed != nil {
		w.sum = result(r.summed)
	}
	if r.normed != nil || r.quantize == nil {
		w.y = result(r.norm.Outputs[0])
	}
	if r.quantize != nil {
		w.q = result(r.quantize.Outputs[0])
	}
	var names []string
	for _, n := range g.nodes {
		names = append(names, n.Op.Name)
	}
	w.name = fmt.Sprintf("rows_%s_%s", strings.Join(names, "+"), strings.TrimPrefix(k.Name(), "norm_"))
	g.work = w
	return nil
}

// normSpec reads a layer norm with constant scale and bias.
func (c *compiler) normSpec(n *ir.Node) (f32.NormSpec, error) {
	scale, ok1 := c.floatsOf(n.In(1))
	bias, ok2 := c.floatsOf(n.In(2))
	if !ok1 || !ok2 || f32Only(n) != nil {
		return f32.NormSpec{}, errNoKernel
	}
	xs := n.Inputs[0].Type.Shape
	axis, err := ir.NormAxis(n.Int("axis"), len(xs))
	if err != nil {
		return f32.NormSpec{}, err
	}
	return f32.NormSpec{Rows: xs[:axis].Elems(), N: xs[axis:].Elems(), Scale: scale, Bias: bias, Eps: n.F32("epsilon")}, nil
}
