package cpu

import (
	"slices"

	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/move"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/plain"
	"github.com/nasc-dev/nasc/ir"
)

// plainWork runs a kernel of package plain, whose further operands and results
// are those of the step beyond the first two and the first.
type plainWork struct {
	plain.Kernel
	in int // operands of the step
}

func (w plainWork) Run(lo, hi int, c *call) { w.Kernel.Run(lo, hi, w.args(c)) }

func (w plainWork) args(c *call) *plain.Args {
	a := &c.plain
	a.X, a.X2, a.Y, a.Scratch = c.X, c.X2, c.Y, c.Scratch
	if w.in > 2 {
		a.X3 = c.ops[2]
	}
	if w.in > 3 {
		a.X4 = c.ops[3]
	}
	if out := c.ops[w.in:]; len(out) > 1 {
		a.Y2 = out[1]
		if len(out) > 2 {
			a.Y3 = out[2]
		}
	}
	return a
}

// plainCheck makes plain's check one of the steps'.
type plainCheck struct {
	w plainWork
	k plain.Checker
}

func (p plainCheck) check(c *call) error { return p.k.Check(p.w.args(c)) }

// moveCheck does the same for package move.
type moveCheck struct{ move.Checker }

func (m moveCheck) check(c *call) error { return m.Check((*move.Args)(&c.args)) }

func setPlain[S any](c *compiler, g *group, name string, prepare func(S, isa.Level) (plain.Kernel, error), spec S, in ...*ir.Value) error {
	if len(g.out) > 0 && g.out[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	k, err := prepare(spec, c.level)
	if err != nil {
		return err
	}
	w := plainWork{k, len(in)}
	g.work, g.in = w, in
	g.recipe = Recipe{Package: "plain", Func: name, Spec: spec}
	if ch, ok := k.(plain.Checker); ok && name == "DynamicQuantize" {
		g.check = plainCheck{w, ch}
	}
	return nil
}

func lowerConvert(c *compiler, g *group) error {
	n := g.nodes[0]
	x, y := n.Inputs[0].Type, n.Outputs[0].Type
	if x.DType == y.DType {
		return g.asView(0)
	}
	return setPlain(c, g, "Convert", plain.Convert, plain.ConvertSpec{Len: x.Shape.Elems(), From: x.DType.String(), To: y.DType.String()}, n.Inputs[0])
}

func lowerNot(c *compiler, g *group) error {
	n := g.nodes[0]
	g.inPlace = []int{0}
	return setPlain(c, g, "Not", plain.Not, plain.NotSpec{Len: n.Outputs[0].Type.Shape.Elems()}, n.Inputs[0])
}

func lowerIsNaN(c *compiler, g *group) error {
	n := g.nodes[0]
	if n.Inputs[0].Type.DType != ir.F32 {
		return errNoKernel
	}
	return setPlain(c, g, "IsNaN", plain.IsNaN, plain.IsNaNSpec{Len: n.Outputs[0].Type.Shape.Elems()}, n.Inputs[0])
}

func lowerCompare(c *compiler, g *group) error {
	n := g.nodes[0]
	a, b := n.Inputs[0].Type, n.Inputs[1].Type
	return setPlain(c, g, "Compare", plain.Compare, plain.CompareSpec{Type: a.DType.String(), Direction: n.Str("direction"), A: a.Shape, B: b.Shape}, n.Inputs...)
}

func lowerLogic(c *compiler, g *group) error {
	n := g.nodes[0]
	return setPlain(c, g, "Logic", plain.Logic, plain.LogicSpec{Op: n.Op.Name, A: n.Inputs[0].Type.Shape, B: n.Inputs[1].Type.Shape}, n.Inputs...)
}

func lowerInteger(c *compiler, g *group) error {
	n := g.nodes[0]
	a, b := n.Inputs[0].Type, n.Inputs[1].Type
	return setPlain(c, g, "Integer", plain.Integer, plain.IntegerSpec{Type: a.DType.String(), Op: n.Op.Name, A: a.Shape, B: b.Shape}, n.Inputs...)
}

func lowerSelect(c *compiler, g *group) error {
	n := g.nodes[0]
	return setPlain(c, g, "Select", plain.Select, plain.SelectSpec{
		Elem: n.Outputs[0].Type.DType.Size(), P: n.Inputs[0].Type.Shape, A: n.Inputs[1].Type.Shape, B: n.Inputs[2].Type.Shape,
	}, n.Inputs...)
}

func lowerArgMax(c *compiler, g *group) error {
	n := g.nodes[0]
	x := n.Inputs[0].Type
	axis, err := ir.NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	if x.DType != ir.F32 {
		return errNoKernel
	}
	return setPlain(c, g, "ArgMax", plain.ArgMax, plain.ArgMaxSpec{Outer: x.Shape[:axis].Elems(), N: x.Shape[axis], Inner: x.Shape[axis+1:].Elems()}, n.Inputs[0])
}

func lowerDynamicQuantize(c *compiler, g *group) error {
	if g.rows != nil {
		return lowerRows(c, g, g.rows)
	}
	n := g.nodes[0]
	if n.Inputs[0].Type.DType != ir.F32 {
		return errNoKernel
	}
	return setPlain(c, g, "DynamicQuantize", plain.DynamicQuantize, plain.DynamicQuantizeSpec{Len: n.Inputs[0].Type.Shape.Elems()}, n.Inputs[0])
}

// lowerDotInteger multiplies as if the zero points were 0, by the quantized
// dense kernel, then corrects the sums for those that the graph computes.
func lowerDotInteger(c *compiler, g *group) error {
	if g.product != nil {
		return lowerRowProduct(c, g)
	}
	n := g.nodes[0]
	as, bs := n.Inputs[0].Type, n.Inputs[1].Type
	b := c.constant(n.Inputs[1])
	if b == nil || len(bs.Shape) != 2 || !as.DType.Is8Bit() || n.Outputs[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	m, k, nn := as.Shape[:len(as.Shape)-1].Elems(), bs.Shape[0], bs.Shape[1]
	w, shifted := s8Weights(b)
	s := q8.DotSpec{M: m, K: k, N: nn, XSigned: as.DType == ir.S8, Weights: w, Mult: slices.Repeat([]float32{1}, nn), Out: q8.Out{DType: q8.I32}}
	sums := make([]int32, nn)
	for i, v := range w {
		sums[i%nn] += int32(v) + shifted
	}
	if shifted != 0 {
		s.WZero = slices.Repeat([]int32{-shifted}, nn)
	}
	za, zb := n.In(2), n.In(3)
	if t := c.constant(za); t != nil && allZero(t) {
		za = nil
	}
	if t := c.constant(zb); t != nil && allZero(t) {
		zb = nil
	}
	if za == nil && zb == nil {
		return setInt8(c, g, "Dot", q8.Dot, s, n.Inputs[0])
	}
	raw := &ir.Value{Name: n.Outputs[0].Name + ".raw", Type: n.Outputs[0].Type}
	first := &group{nodes: g.nodes, out: []*ir.Value{raw}}
	if err := setInt8(c, first, "Dot", q8.Dot, s, n.Inputs[0]); err != nil {
		return err
	}
	second := &group{nodes: g.nodes, out: n.Outputs, inPlace: []int{0}, rest: true}
	spec := plain.ZeroPointSpec{M: m, K: k, N: nn, ASigned: as.DType == ir.S8, BSigned: bs.DType == ir.S8, ColSums: sums}
	if err := setPlain(c, second, "ZeroPoint", plain.ZeroPoint, spec, raw, n.Inputs[0], za, zb); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}

// s8Weights gives 8-bit constants as s8, with what must be added to each to get
// the true number: 128 for u8.
func s8Weights(t *ir.Tensor) (w []int8, shift int32) {
	if d, ok := t.Data.([]int8); ok {
		return d, 0
	}
	d := t.U8()
	w = make([]int8, len(d))
	for i, x := range d {
		w[i] = int8(int(x) - 128)
	}
	return w, 128
}

func allZero(t *ir.Tensor) bool {
	for i := range t.Len() {
		if t.At(i) != 0 {
			return false
		}
	}
	return true
}
