package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
	"github.com/nasc-dev/nasc/ir"
)

// f32Work runs a kernel of package f32.
type f32Work struct{ f32.Kernel }

func (w f32Work) Run(lo, hi int, c *call) {
	c.f32 = c.f32Args()
	w.Kernel.Run(lo, hi, &c.f32)
	c.held, c.f32 = c.f32.Held, f32.Args{}
}

// setF32 prepares a kernel as the group's work, reading in.
func setF32[S any](c *compiler, g *group, name string, prepare func(S, isa.Level) (f32.Kernel, error), spec S, in ...*ir.Value) error {
	k, err := prepare(spec, c.level)
	if err != nil {
		return err
	}
	g.work, g.in = f32Work{k}, in
	g.recipe = Recipe{Package: "f32", Func: name, Spec: spec}
	return nil
}

// f32Only refuses groups with operands of another type.
func f32Only(n *ir.Node) error {
	for _, v := range n.Inputs {
		if v != nil && v.Type.DType != ir.F32 {
			return errNoKernel
		}
	}
	if n.Outputs[0].Type.DType != ir.F32 || n.Outputs[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	return nil
}

// unaryAct gives a unary float node as the kernels' activation.
func unaryAct(n *ir.Node) (f32.Act, bool) {
	if n.Op.Class != ir.Unary || len(n.Inputs) != 1 || n.Inputs[0].Type.DType != ir.F32 || n.Outputs[0].Type.DType != ir.F32 {
		return f32.Act{}, false
	}
	a := f32.Act{Kind: n.Op.Name}
	switch n.Op.Name {
	case "clamp":
		a.Min, a.Max = n.F32("min"), n.F32("max")
		a.Params.Min, a.Params.Max = a.Min, a.Max
	case "leaky_relu", "elu":
		a.Params.Alpha = n.F32("alpha")
	case "hard_sigmoid":
		a.Params.Alpha, a.Params.Beta = n.F32("alpha"), n.F32("beta")
	case "selu":
		a.Params.Alpha, a.Params.Beta = n.F32("alpha"), n.F32("scale")
	case "gelu":
		if n.Str("approximate") == "tanh" {
			a.Kind = "gelu_tanh"
		}
	case "convert":
		return a, false
	}
	return a, true
}

// actOf is the activation of a group's contraction: its own attribute's, or
// the node fused behind it.
func (g *group) actOf(n *ir.Node) f32.Act {
	a := f32.Act{}
	switch {
	case g.act != nil:
		a, _ = unaryAct(g.act)
	case n.Op.Attr("activation") != nil:
		a = f32.Act{Kind: n.Str("activation"), Min: n.F32("act_min"), Max: n.F32("act_max")}
	}
	if g.affine != nil {
		a.Affine, a.Scale, a.Shift = true, g.affine.scale, g.affine.shift
	}
	return a
}

// floatsOf gives a constant's values; nil for an absent operand. ok is false
// where the operand is no constant.
func (c *compiler) floatsOf(v *ir.Value) (x []float32, ok bool) {
	if v == nil {
		return nil, true
	}
	t := c.constant(v)
	if t == nil || t.DType != ir.F32 {
		return nil, false
	}
	return t.F32(), true
}

// withX2 gives the operands of a kernel with an optional second one.
func withX2(x, x2 *ir.Value) []*ir.Value {
	if x2 == nil {
		return []*ir.Value{x}
	}
	return []*ir.Value{x, x2}
}

// window is a convolution's geometry with a folded pad in front.
func (g *group) window() (ir.Window, *ir.Value, error) {
	n := g.nodes[g.main]
	w, err := ir.WindowOf(n)
	if err != nil {
		return w, nil, err
	}
	x := n.Inputs[0]
	if g.main == 1 {
		pad := g.nodes[0]
		x = pad.Inputs[0]
		low, high := pad.Ints("low"), pad.Ints("high")
		w.Before, w.After = append([]int{}, w.Before...), append([]int{}, w.After...)
		for i := range w.In {
			w.In[i] -= low[i+1] + high[i+1]
			w.Before[i] += low[i+1]
			w.After[i] += high[i+1]
		}
	}
	return w.D2(), x, nil
}

func lowerConv(c *compiler, g *group) error {
	n := g.nodes[g.main]
	w, ok1 := c.floatsOf(n.Inputs[1])
	b, ok2 := c.floatsOf(n.In(2))
	if err := f32Only(n); err != nil {
		return errNoKernel
	}
	d, x, err := g.window()
	if err != nil {
		return err
	}
	xs, ys := x.Type.Shape, n.Outputs[0].Type.Shape
	s := convShape(d, xs, ys[len(ys)-1])
	s.Weights, s.Bias, s.Act, s.Residual = w, b, g.actOf(n), g.residual != nil
	s.Winograd = n.Int("winograd")
	switch {
	case ok1 && ok2:
	case s.Winograd != 0:
		return errNoKernel // its weights are transformed once
	default:
		return c.computedConv(g, n, s, false)
	}
	return setF32(c, g, "Conv", f32.Conv, s, withX2(x, g.residual)...)
}

// convShape is the shape of a convolution of k output channels over windows d of an
// input of shape xs.
func convShape(d ir.Window, xs ir.Shape, k int) f32.ConvSpec {
	return f32.ConvSpec{
		N: xs[0], H: d.In[0], W: d.In[1], C: xs[len(xs)-1], OH: d.Out[0], OW: d.Out[1], K: k,
		KH: d.Kernel[0], KW: d.Kernel[1], SH: d.Stride[0], SW: d.Stride[1], DH: d.Dilation[0], DW: d.Dilation[1],
		PT: d.Before[0], PL: d.Before[1], Groups: d.Groups,
	}
}

func lowerConvTranspose(c *compiler, g *group) error {
	n := g.nodes[0]
	w, ok1 := c.floatsOf(n.Inputs[1])
	b, ok2 := c.floatsOf(n.In(2))
	if err := f32Only(n); err != nil {
		return errNoKernel
	}
	d, err := ir.TransposedWindowOf(n)
	if err != nil {
		return err
	}
	d = d.D2()
	xs, ys := n.Inputs[0].Type.Shape, n.Outputs[0].Type.Shape
	s := convShape(d, xs, ys[len(ys)-1])
	s.Weights, s.Bias, s.Act = w, b, g.actOf(n)
	if !ok1 || !ok2 {
		return c.computedConv(g, n, s, true)
	}
	return setF32(c, g, "ConvTranspose", f32.ConvTranspose, s, n.Inputs[0])
}

func lowerDot(c *compiler, g *group) error {
	n := g.nodes[0]
	w, ok1 := c.floatsOf(n.Inputs[1])
	b, ok2 := c.floatsOf(n.In(2))
	if err := f32Only(n); err != nil {
		return errNoKernel
	}
	xs, ws := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	rows := xs[:len(xs)-1].Elems()
	if !ok1 || !ok2 { // weights that the graph computes
		if g.residual != nil {
			return errNoKernel
		}
		s := f32.SplitSpec{DotGeneralSpec: f32.DotGeneralSpec{M: rows, K: ws[0], N: ws[1], Act: g.actOf(n)}, WithBias: n.In(2) != nil}
		if c.parts && f32.SplitPays(s.M, s.K, s.N, c.level) {
			return c.splitDot(g, s, n.Inputs...)
		}
		if n.In(2) != nil {
			return c.computedConv(g, n, f32.ConvSpec{
				N: 1, H: 1, W: rows, C: ws[0], OH: 1, OW: rows, K: ws[1], KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1, Act: g.actOf(n),
			}, false)
		}
		return setF32(c, g, "DotGeneral", f32.DotGeneral, s.DotGeneralSpec, n.Inputs[0], n.Inputs[1])
	}
	return setF32(c, g, "Dot", f32.Dot, f32.DotSpec{M: rows, K: ws[0], N: ws[1], Weights: w, Bias: b, Act: g.actOf(n), Residual: g.residual != nil}, withX2(n.Inputs[0], g.residual)...)
}

func lowerDotGeneral(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	_, m, kk, nn, err := ir.MatMulDims(n)
	if err != nil {
		return err
	}
	a, b := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	if w, ok := c.floatsOf(n.Inputs[1]); ok && len(b) == 2 && !n.Bool("transpose_a") && !n.Bool("transpose_b") {
		return setF32(c, g, "Dot", f32.Dot, f32.DotSpec{M: a[:len(a)-1].Elems(), K: kk, N: nn, Weights: w, Act: g.actOf(n)}, n.Inputs[0])
	}
	s := f32.DotGeneralSpec{
		BatchA: a[:len(a)-2], BatchB: b[:len(b)-2], M: m, K: kk, N: nn,
		TransposeA: n.Bool("transpose_a"), TransposeB: n.Bool("transpose_b"), Act: g.actOf(n),
	}
	if c.parts && f32.SplitPays(m, kk, nn, c.level) {
		return c.splitDot(g, f32.SplitSpec{DotGeneralSpec: s}, n.Inputs...)
	}
	return setF32(c, g, "DotGeneral", f32.DotGeneral, s, n.Inputs...)
}

// splitDot lowers a product by parts. With a bias it is two groups: one splits the
// columns, one reads them. With a long sum it is two as well: one gives parts of the
// sum, one adds them.
func (c *compiler) splitDot(g *group, s f32.SplitSpec, in ...*ir.Value) error {
	if s.Sums = f32.SplitSums(s.DotGeneralSpec); s.Sums > 1 && !s.WithBias && s.Act == (f32.Act{}) {
		sums := &ir.Value{Name: g.out[0].Name + ".sums", Type: ir.T(ir.F32, s.Sums, s.M, s.N)}
		first := &group{nodes: g.nodes, out: []*ir.Value{sums}}
		if err := setF32(c, first, "SplitDot", f32.SplitDot, s, in[0], in[1]); err != nil {
			return err
		}
		second := &group{nodes: g.nodes, out: g.out, rest: true}
		if err := setF32(c, second, "Reduce", f32.Reduce, f32.ReduceSpec{Op: "sum", Shape: sums.Type.Shape, Axes: []int{0}}, sums); err != nil {
			return err
		}
		g.expand = []*group{first, second}
		return nil
	}
	s.Sums = 1
	if !s.WithBias {
		return setF32(c, g, "SplitDot", f32.SplitDot, s, in[0], in[1])
	}
	s.Packed = true
	packed := &ir.Value{Name: g.out[0].Name + ".weights", Type: ir.T(ir.F32, s.PackedFloats())}
	first := &group{nodes: g.nodes, out: []*ir.Value{packed}, rest: true}
	if err := setF32(c, first, "PackSplit", f32.PackSplit, s, in[1], in[2]); err != nil {
		return err
	}
	second := &group{nodes: g.nodes, out: g.out}
	if err := setF32(c, second, "SplitDot", f32.SplitDot, s, in[0], packed); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}

func lowerBinary(c *compiler, g *group) error {
	n := g.nodes[0]
	if d := n.Inputs[0].Type.DType; d == ir.I64 || d == ir.I32 {
		return lowerInteger(c, g)
	}
	if err := f32Only(n); err != nil {
		return err
	}
	if sameShapes(n) {
		g.inPlace = []int{0, 1}
	}
	return setF32(c, g, "Binary", f32.Binary, f32.BinarySpec{Op: n.Op.Name, A: n.Inputs[0].Type.Shape, B: n.Inputs[1].Type.Shape, Act: g.actOf(n)}, n.Inputs...)
}

func lowerUnary(c *compiler, g *group) error {
	n := g.nodes[0]
	a, ok := unaryAct(n)
	if err := f32Only(n); err != nil || !ok {
		return errNoKernel
	}
	g.inPlace = []int{0}
	return setF32(c, g, "Unary", f32.Unary, f32.UnarySpec{Name: a.Kind, N: n.Outputs[0].Type.Shape.Elems(), Params: a.Params}, n.Inputs[0])
}

func lowerSoftmax(c *compiler, g *group) error {
	n := g.nodes[g.main]
	if err := f32Only(n); err != nil {
		return err
	}
	if a, err := ir.NormAxis(n.Int("axis"), len(n.Inputs[0].Type.Shape)); err == nil && a == len(n.Inputs[0].Type.Shape)-1 && n.Op.Name == "softmax" {
		g.inPlace = []int{0}
	}
	s := f32.SoftmaxSpec{Shape: n.Inputs[0].Type.Shape, Axis: n.Int("axis"), Log: n.Op.Name == "log_softmax"}
	if g.main == 0 {
		return setF32(c, g, "Softmax", f32.Softmax, s, n.Inputs[0])
	}
	add := g.nodes[0]
	x, bias := add.Inputs[0], add.Inputs[1]
	if !x.Type.Shape.Equal(s.Shape) {
		x, bias = bias, x
	}
	rows, ok := rowsOf(bias.Type.Shape, x.Type.Shape)
	if err := f32Only(add); err != nil || !ok || !x.Type.Shape.Equal(s.Shape) {
		return errNoKernel
	}
	s.Biases = rows
	return setF32(c, g, "Softmax", f32.Softmax, s, x, bias)
}

// rowsOf says how many rows of the last axis b has, where each stands for as
// many consecutive rows of shape x: leading axes as in x, then axes of 1.
func rowsOf(b, x ir.Shape) (rows int, ok bool) {
	last := len(x) - 1
	if len(b) == 0 || b[len(b)-1] != x[last] || len(b) > len(x) {
		return 0, false
	}
	rows = 1
	ones := false
	for i := range last {
		d := 1
		if at := i - (len(x) - len(b)); at >= 0 {
			d = b[at]
		}
		if d != 1 && (ones || d != x[i]) {
			return 0, false
		}
		ones = ones || d != x[i]
		rows *= d
	}
	return rows, true
}

func lowerRowNorm(c *compiler, g *group) error {
	if g.rowGroup != nil {
		return lowerRowGroup(c, g)
	}
	n := g.nodes[0]
	_, ok1 := c.floatsOf(n.In(1))
	_, ok2 := c.floatsOf(n.In(2))
	if err := f32Only(n); err != nil {
		return errNoKernel
	}
	if !ok1 || !ok2 {
		return c.computedNorm(g, n)
	}
	s, err := c.normSpec(n)
	if err != nil {
		return err
	}
	g.inPlace = []int{0}
	if n.Op.Name == "rms_norm" {
		return setF32(c, g, "RMSNorm", f32.RMSNorm, s, n.Inputs[0])
	}
	return setF32(c, g, "LayerNorm", f32.LayerNorm, s, n.Inputs[0])
}

func lowerChannelNorm(c *compiler, g *group) error {
	n := g.nodes[0]
	scale, ok1 := c.floatsOf(n.In(1))
	bias, ok2 := c.floatsOf(n.In(2))
	if err := f32Only(n); err != nil || !ok1 || !ok2 {
		return errNoKernel
	}
	xs := n.Inputs[0].Type.Shape
	s := f32.ChannelNormSpec{N: xs[0], Space: xs[1 : len(xs)-1].Elems(), C: xs[len(xs)-1], Scale: scale, Bias: bias, Eps: n.F32("epsilon")}
	s.Groups = s.C
	if n.Op.Name == "group_norm" {
		s.Groups = n.Int("groups")
	}
	return setF32(c, g, "ChannelNorm", f32.ChannelNorm, s, n.Inputs[0])
}

func lowerBatchNorm(c *compiler, g *group) error {
	n := g.nodes[0]
	var p [4][]float32
	for i := range p {
		var ok bool
		if p[i], ok = c.floatsOf(n.Inputs[i+1]); !ok {
			return errNoKernel
		}
	}
	if err := f32Only(n); err != nil {
		return err
	}
	xs := n.Inputs[0].Type.Shape
	g.inPlace = []int{0}
	return setF32(c, g, "BatchNorm", f32.BatchNorm, f32.BatchNormSpec{
		Rows: xs[:len(xs)-1].Elems(), C: xs[len(xs)-1], Scale: p[0], Bias: p[1], Mean: p[2], Variance: p[3], Eps: n.F32("epsilon"),
	}, n.Inputs[0])
}

func lowerPoolF32(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	w, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	d := w.D2()
	xs := n.Inputs[0].Type.Shape
	s := f32.PoolSpec{
		N: xs[0], H: d.In[0], W: d.In[1], C: xs[len(xs)-1], OH: d.Out[0], OW: d.Out[1],
		KH: d.Kernel[0], KW: d.Kernel[1], SH: d.Stride[0], SW: d.Stride[1], DH: d.Dilation[0], DW: d.Dilation[1],
		PT: d.Before[0], PL: d.Before[1], PB: d.After[0], PR: d.After[1],
	}
	if n.Op.Name == "max_pool" {
		return setF32(c, g, "MaxPool", f32.MaxPool, s, n.Inputs[0])
	}
	s.IncludePad = n.Bool("count_include_pad")
	return setF32(c, g, "AveragePool", f32.AveragePool, s, n.Inputs[0])
}

func lowerReduce(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil || n.Inputs[0].Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return err
	}
	if len(axes) == 0 {
		return errNoKernel
	}
	s := f32.ReduceSpec{Op: n.Op.Name[len("reduce_"):], Shape: n.Inputs[0].Type.Shape, Axes: axes}
	columns, ok := s.Columns()
	if !ok || c.single {
		return setF32(c, g, "Reduce", f32.Reduce, s, n.Inputs[0])
	}
	partials := &ir.Value{Name: n.Outputs[0].Name + ".partials", Type: ir.T(ir.F32, fmath.Partials, columns.Cols)}
	first := &group{nodes: g.nodes, out: []*ir.Value{partials}}
	if err := setF32(c, first, "ColumnPartials", f32.ColumnPartials, columns, n.Inputs[0]); err != nil {
		return err
	}
	second := &group{nodes: g.nodes, out: g.out, rest: true}
	if err := setF32(c, second, "Reduce", f32.Reduce, f32.ReduceSpec{Op: s.Op, Shape: partials.Type.Shape, Axes: []int{0}}, partials); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}
