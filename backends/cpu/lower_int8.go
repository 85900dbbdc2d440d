package cpu

import (
	"slices"

	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/ir"
)

// int8Work runs a kernel of package q8.
type int8Work struct{ q8.Kernel }

func (w int8Work) Run(lo, hi int, c *call) {
	c.int8 = c.int8Args()
	w.Kernel.Run(lo, hi, &c.int8)
	c.held, c.int8 = c.int8.Held, q8.Args{}
}

// int8Check makes a kernel's check one of the steps'.
type int8Check struct{ q8.Checker }

func (k int8Check) check(c *call) error {
	c.int8 = c.int8Args()
	err := k.Check(&c.int8)
	c.int8 = q8.Args{}
	return err
}

// setInt8 prepares a kernel as the group's work, reading in.
func setInt8[S any](c *compiler, g *group, name string, prepare func(S, isa.Level) (q8.Kernel, error), spec S, in ...*ir.Value) error {
	k, err := prepare(spec, c.level)
	if err != nil {
		return err
	}
	g.work, g.in = int8Work{k}, in
	if ch, ok := k.(q8.Checker); ok {
		g.check = int8Check{ch}
	}
	g.recipe = Recipe{Package: "int8", Func: name, Spec: spec}
	return nil
}

// outOf is what a node's attributes ask of a kernel's result.
func outOf(n *ir.Node) (q8.Out, error) {
	o, err := ir.OutOf(n)
	if err != nil {
		return q8.Out{}, err
	}
	d := map[ir.DType]q8.DType{ir.U8: q8.U8, ir.S8: q8.S8, ir.F32: q8.F32, ir.I32: q8.I32}[o.DType]
	return q8.Out{DType: d, Zero: o.Zero, QMin: o.QMin, QMax: o.QMax}, nil
}

// perTensor gives signedness and zero point of an 8-bit value of one scale.
func perTensor(v *ir.Value) (signed bool, zero int32, err error) {
	t := v.Type
	if !t.DType.Is8Bit() || t.Quant == nil || t.Quant.Axis >= 0 || t.Shape.Elems() == 0 {
		return false, 0, errNoKernel
	}
	return t.DType == ir.S8, t.Quant.Zero[0], nil
}

// qweights gives constant weights as s8 with the zero points of n channels, nil
// where all are 0; u8 weights move down by 128 with their zero points.
func (c *compiler) qweights(v *ir.Value, n int) (w []int8, zero []int32, err error) {
	t := c.constant(v)
	if t == nil {
		return nil, nil, errNoKernel
	}
	if !t.DType.Is8Bit() {
		return nil, nil, errNoKernel
	}
	w, shift := s8Weights(t)
	q := v.Type.Quant
	zero = make([]int32, n)
	any := false
	for i := range zero {
		zero[i] = q.ZeroAt(i) - shift
		any = any || zero[i] != 0
	}
	if !any {
		zero = nil
	}
	return w, zero, nil
}

// biasAndMult gives the constant bias (nil where absent) and factors of a
// quantized contraction.
func (c *compiler) biasAndMult(n *ir.Node) (bias []int32, mult []float32, err error) {
	if n.Inputs[2] != nil {
		t := c.constant(n.Inputs[2])
		if t == nil {
			return nil, nil, errNoKernel
		}
		bias = t.I32()
	}
	m := c.constant(n.Inputs[3])
	if m == nil {
		return nil, nil, errNoKernel
	}
	return bias, m.F32(), nil
}

// epilogue gives what the group fuses behind its contraction.
func (c *compiler) epilogue(g *group) (*q8.Residual, *[256]uint8, error) {
	var r *q8.Residual
	for i := g.main + 1; i < len(g.nodes); i++ {
		n := g.nodes[i]
		switch n.Op.Name {
		case "q_add":
			out, err := outOf(n)
			if err != nil {
				return nil, nil, err
			}
			signed, zero, err := perTensor(g.residual)
			if err != nil {
				return nil, nil, err
			}
			a, b, m := ir.QAddConsts(n)
			if n.Inputs[0] == g.residual {
				a, b = b, a
			}
			r = &q8.Residual{Signed: signed, Zero: zero, A: a, B: b, Mult: m, Out: out}
		case "q_lookup":
			t, err := c.table(n)
			return r, t, err
		}
	}
	return r, nil, nil
}

// table gives the 8-bit table of a q_lookup as bytes.
func (c *compiler) table(n *ir.Node) (*[256]uint8, error) {
	t := c.constant(n.Inputs[1])
	if t == nil || !t.DType.Is8Bit() {
		return nil, errNoKernel
	}
	return (*[256]uint8)(rawBytes(t)), nil
}

// contraction is what the kernels of contractions want of a q_convolution, a
// q_dot or the transposed one with k output channels, and of what is fused to it.
type contraction struct {
	signed   bool // the input, its zero point
	zero     int32
	weights  []int8
	wzero    []int32
	bias     []int32
	mult     []float32
	out      q8.Out
	residual *q8.Residual
	table    *[256]uint8
}

func (c *compiler) contraction(g *group, n *ir.Node, x *ir.Value, k int) (p contraction, err error) {
	if p.signed, p.zero, err = perTensor(x); err != nil {
		return p, err
	}
	if p.weights, p.wzero, err = c.qweights(n.Inputs[1], k); err != nil {
		return p, err
	}
	if p.bias, p.mult, err = c.biasAndMult(n); err != nil {
		return p, err
	}
	if p.out, err = outOf(n); err != nil {
		return p, err
	}
	p.residual, p.table, err = c.epilogue(g)
	return p, err
}

// conv is the convolution of k output channels over windows d of an input of shape
// xs, without a residual.
func (p *contraction) conv(d ir.Window, xs ir.Shape, k int) q8.ConvSpec {
	return q8.ConvSpec{
		N: xs[0], H: d.In[0], W: d.In[1], C: xs[len(xs)-1], OH: d.Out[0], OW: d.Out[1], K: k,
		KH: d.Kernel[0], KW: d.Kernel[1], SH: d.Stride[0], SW: d.Stride[1], DH: d.Dilation[0], DW: d.Dilation[1],
		PT: d.Before[0], PL: d.Before[1], Groups: d.Groups, XSigned: p.signed, XZero: p.zero,
		Weights: p.weights, WZero: p.wzero, Bias: p.bias, Mult: p.mult, Out: p.out, Table: p.table,
	}
}

func lowerQConv(c *compiler, g *group) error {
	n := g.nodes[g.main]
	d, x, err := g.window()
	if err != nil {
		return err
	}
	xs, ys := x.Type.Shape, n.Outputs[0].Type.Shape
	k := ys[len(ys)-1]
	p, err := c.contraction(g, n, x, k)
	if err != nil {
		return err
	}
	if p.residual != nil {
		g.inPlace = []int{1}
	}
	s := p.conv(d, xs, k)
	s.Residual, s.Kernel = p.residual, c.kernels[n.Label()]
	return setInt8(c, g, "Conv", q8.Conv, s, withX2(x, g.residual)...)
}

func lowerQDot(c *compiler, g *group) error {
	n := g.nodes[0]
	xs, ws := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	p, err := c.contraction(g, n, n.Inputs[0], ws[1])
	if err != nil {
		return err
	}
	if p.residual != nil {
		g.inPlace = []int{1}
	}
	return setInt8(c, g, "Dot", q8.Dot, q8.DotSpec{
		M: xs[:len(xs)-1].Elems(), K: ws[0], N: ws[1], XSigned: p.signed, XZero: p.zero,
		Weights: p.weights, WZero: p.wzero, Bias: p.bias, Mult: p.mult, Out: p.out, Residual: p.residual, Table: p.table, Kernel: c.kernels[n.Label()],
	}, withX2(n.Inputs[0], g.residual)...)
}

// pair is what the kernels of two 8-bit operands want of a node.
type pair struct {
	aSigned, bSigned bool
	aZero, bZero     int32
	out              q8.Out
}

func pairOf(n *ir.Node) (p pair, err error) {
	if p.aSigned, p.aZero, err = perTensor(n.Inputs[0]); err != nil {
		return p, err
	}
	if p.bSigned, p.bZero, err = perTensor(n.Inputs[1]); err != nil {
		return p, err
	}
	p.out, err = outOf(n)
	return p, err
}

func lowerQDotGeneral(c *compiler, g *group) error {
	if g.attend != nil {
		return lowerAttend(c, g)
	}
	n := g.nodes[0]
	p, err := pairOf(n)
	if err != nil {
		return err
	}
	return setInt8(c, g, "DotGeneral", q8.DotGeneral, q8.DotGeneralSpec{
		AShape: n.Inputs[0].Type.Shape, BShape: n.Inputs[1].Type.Shape,
		TransposeA: n.Bool("transpose_a"), TransposeB: n.Bool("transpose_b"),
		ASigned: p.aSigned, BSigned: p.bSigned, AZero: p.aZero, BZero: p.bZero, Mult: ir.QMult(n), Out: p.out,
	}, n.Inputs...)
}

func lowerQPair(c *compiler, g *group) error {
	n := g.nodes[0]
	p, err := pairOf(n)
	if err != nil {
		return err
	}
	s := q8.PairSpec{
		AShape: n.Inputs[0].Type.Shape, BShape: n.Inputs[1].Type.Shape,
		ASigned: p.aSigned, BSigned: p.bSigned, AZero: p.aZero, BZero: p.bZero, Out: p.out,
	}
	if len(g.nodes) > 1 {
		if s.Table, err = c.table(g.nodes[1]); err != nil {
			return err
		}
	}
	if n.Outputs[0].Type.DType.Is8Bit() {
		for i, v := range n.Inputs {
			if v.Type.Shape.Equal(n.Outputs[0].Type.Shape) {
				g.inPlace = append(g.inPlace, i)
			}
		}
	}
	if n.Op.Name == "q_multiply" {
		s.Mult = ir.QMult(n)
		return setInt8(c, g, "Multiply", q8.Multiply, s, n.Inputs...)
	}
	s.FactorA, s.FactorB, s.Mult = ir.QAddConsts(n)
	return setInt8(c, g, "Add", q8.Add, s, n.Inputs...)
}

func lowerQLookup(c *compiler, g *group) error {
	n := g.nodes[0]
	t := c.constant(n.Inputs[1])
	if t == nil || n.Outputs[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	s := q8.LookupSpec{Len: n.Outputs[0].Type.Shape.Elems(), Signed: n.Inputs[0].Type.DType == ir.S8}
	if t.DType == ir.F32 {
		s.TableF32 = (*[256]float32)(t.F32())
	} else {
		s.Table = (*[256]uint8)(rawBytes(t))
		g.inPlace = []int{0}
	}
	return setInt8(c, g, "Lookup", q8.Lookup, s, n.Inputs[0])
}

func lowerQPool(c *compiler, g *group) error {
	n := g.nodes[0]
	signed, zero, err := perTensor(n.Inputs[0])
	if err != nil {
		return err
	}
	w, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	d := w.D2()
	xs := n.Inputs[0].Type.Shape
	s := q8.PoolSpec{
		N: xs[0], H: d.In[0], W: d.In[1], C: xs[len(xs)-1], OH: d.Out[0], OW: d.Out[1],
		KH: d.Kernel[0], KW: d.Kernel[1], SH: d.Stride[0], SW: d.Stride[1], DH: d.Dilation[0], DW: d.Dilation[1],
		PT: d.Before[0], PL: d.Before[1], XSigned: signed, XZero: zero,
	}
	if n.Op.Name == "max_pool" {
		return setInt8(c, g, "MaxPool", q8.MaxPool, s, n.Inputs[0])
	}
	if s.Out, err = outOf(n); err != nil {
		return err
	}
	s.CountIncludePad = n.Bool("count_include_pad")
	s.Mults = make([]float32, d.Taps()+1)
	for i := 1; i < len(s.Mults); i++ {
		s.Mults[i] = ir.QMeanMult(n, i)
	}
	return setInt8(c, g, "AveragePool", q8.AveragePool, s, n.Inputs[0])
}

func lowerQMean(c *compiler, g *group) error {
	n := g.nodes[0]
	signed, zero, err := perTensor(n.Inputs[0])
	if err != nil {
		return err
	}
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return err
	}
	out, err := outOf(n)
	if err != nil {
		return err
	}
	xs := n.Inputs[0].Type.Shape
	s := q8.MeanSpec{Outer: 1, Count: 1, Inner: 1, XSigned: signed, XZero: zero, Out: out}
	for i, d := range xs {
		switch {
		case d == 1:
		case slices.Contains(axes, i):
			if s.Inner > 1 {
				return errNoKernel // axes with another in between
			}
			s.Count *= d
		case s.Count > 1:
			s.Inner *= d
		default:
			s.Outer *= d
		}
	}
	s.Mult = ir.QMeanMult(n, s.Count)
	return setInt8(c, g, "Mean", q8.Mean, s, n.Inputs[0])
}

func lowerQSoftmax(c *compiler, g *group) error {
	n := g.nodes[0]
	signed, _, err := perTensor(n.Inputs[0])
	if err != nil {
		return err
	}
	t := c.constant(n.Inputs[1])
	if t == nil {
		return errNoKernel
	}
	out, err := outOf(n)
	if err != nil {
		return err
	}
	xs := n.Inputs[0].Type.Shape
	s := q8.SoftmaxSpec{
		Rows: xs[:len(xs)-1].Elems(), K: xs[len(xs)-1], XSigned: signed, Table: t.I32(), Factor: ir.QSoftmaxFactor(n), Out: out,
	}
	return setInt8(c, g, "Softmax", q8.Softmax, s, n.Inputs[0])
}

func lowerMaxPool(c *compiler, g *group) error {
	if g.nodes[0].Inputs[0].Type.DType.Is8Bit() {
		return lowerQPool(c, g)
	}
	return lowerPoolF32(c, g)
}

// lowerQConvTranspose computes the phases to memory of their own and brings
// them together.
func lowerQConvTranspose(c *compiler, g *group) error {
	n := g.nodes[0]
	d, err := ir.TransposedWindowOf(n)
	if err != nil {
		return err
	}
	d = d.D2()
	x := n.Inputs[0]
	xs, ys := x.Type.Shape, n.Outputs[0].Type.Shape
	k := ys[len(ys)-1]
	if q := n.Inputs[1].Type.Quant; q == nil || len(q.Zero) > 1 && d.Groups > 1 {
		return errNoKernel
	}
	p, err := c.contraction(g, n, x, k)
	if err != nil {
		return err
	}
	s := p.conv(d, xs, k)
	order, scattered := s.Interleaving()
	if !scattered {
		return setInt8(c, g, "ConvTranspose", q8.ConvTranspose, s, x)
	}
	h, wd := s.PhasePixels()
	y := g.out[0]
	parts := &ir.Value{Name: y.Name + ".phases", Type: ir.Type{DType: y.Type.DType, Shape: ir.Shape{d.Stride[0], d.Stride[1], xs[0], h, wd, k}}}
	first := &group{nodes: g.nodes, out: []*ir.Value{parts}}
	if err := setInt8(c, first, "ConvTranspose", q8.ConvTranspose, s, x); err != nil {
		return err
	}
	second := &group{nodes: g.nodes[len(g.nodes)-1:], out: g.out, rest: true}
	if err := setInt8(c, second, "Interleave", q8.Interleave, order, parts); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}
