package cpu

import (
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

// lowerQuantize also moves a transposition in front of it behind it, where
// elements are a byte: the two commute.
func lowerQuantize(c *compiler, g *group) error {
	n := g.nodes[g.main]
	if n.Inputs[0].Type.DType != ir.F32 || n.Outputs[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	out, err := outOf(n)
	if err != nil {
		return err
	}
	s := q8.QuantizeSpec{Len: n.Outputs[0].Type.Shape.Elems(), Inv: ir.InverseScale(n.F32("out_scale")), Out: out}
	if g.main == 0 {
		return setInt8(c, g, "Quantize", q8.Quantize, s, n.Inputs[0])
	}
	turn := g.nodes[0]
	bytes := &ir.Value{Name: n.Outputs[0].Name + ".bytes", Type: ir.Type{DType: n.Outputs[0].Type.DType, Shape: turn.Inputs[0].Type.Shape}}
	first := &group{nodes: []*ir.Node{n}, out: []*ir.Value{bytes}}
	if err := setInt8(c, first, "Quantize", q8.Quantize, s, turn.Inputs[0]); err != nil {
		return err
	}
	second := &group{nodes: []*ir.Node{turn}, out: n.Outputs}
	if err := second.transpose(c, bytes, n.Outputs[0], turn.Ints("permutation")); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}

func lowerDequantize(c *compiler, g *group) error {
	n := g.nodes[0]
	t := n.Inputs[0].Type
	if !t.DType.Is8Bit() || t.Shape.Elems() == 0 {
		return errNoKernel
	}
	s := q8.DequantizeSpec{Outer: 1, Channels: 1, Inner: t.Shape.Elems(), XSigned: t.DType == ir.S8}
	if a := t.Quant.Axis; a >= 0 {
		s.Outer, s.Channels, s.Inner = t.Shape[:a].Elems(), t.Shape[a], t.Shape[a+1:].Elems()
	}
	for i := range s.Channels {
		s.Zero, s.Scale = append(s.Zero, t.Quant.ZeroAt(i)), append(s.Scale, t.Quant.ScaleAt(i))
	}
	return setInt8(c, g, "Dequantize", q8.Dequantize, s, n.Inputs[0])
}
