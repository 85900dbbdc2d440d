package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/ir"
)

// computedConv lowers a convolution, transposed convolution or dense layer
// whose weights the graph computes: one group packs them, one reads them.
func (c *compiler) computedConv(g *group, n *ir.Node, s f32.ConvSpec, transposed bool) error {
	if err := f32Only(n); err != nil {
		return err
	}
	if g.residual != nil || g.main != 0 {
		return errNoKernel
	}
	s.Weights, s.Bias = nil, nil
	if s.Groups > 1 && s.Groups == s.C && s.K == s.C && (!transposed || s.SH*s.SW == 1 || s.DH*s.DW == 1) {
		spec := f32.ComputedSpec{ConvSpec: s, Transposed: transposed}
		if n.In(2) == nil {
			return setF32(c, g, "DepthwiseComputed", f32.DepthwiseComputed, spec, n.Inputs[0], n.Inputs[1])
		}
		// The bias comes last by definition, so that a step of its own may add it.
		spec.Act = f32.Act{}
		y := n.Outputs[0].Type
		sums := &ir.Value{Name: n.Outputs[0].Name + ".sums", Type: y}
		first := &group{nodes: g.nodes, out: []*ir.Value{sums}}
		if err := setF32(c, first, "DepthwiseComputed", f32.DepthwiseComputed, spec, n.Inputs[0], n.Inputs[1]); err != nil {
			return err
		}
		second := &group{nodes: g.nodes, out: g.out, rest: true, inPlace: []int{0}}
		if err := setF32(c, second, "Binary", f32.Binary, f32.BinarySpec{Op: "add", A: y.Shape, B: n.In(2).Type.Shape, Act: s.Act}, sums, n.In(2)); err != nil {
			return err
		}
		g.expand = []*group{first, second}
		return nil
	}
	if s.Groups > 1 && s.C/s.Groups < 4 {
		return errNoKernel
	}
	spec := f32.ComputedSpec{ConvSpec: s, Transposed: transposed, WithBias: n.In(2) != nil}
	size, err := spec.PackedFloats(c.level)
	if err != nil {
		return err
	}
	packed := &ir.Value{Name: n.Outputs[0].Name + ".weights", Type: ir.T(ir.F32, size)}
	in := []*ir.Value{n.Inputs[1]}
	if spec.WithBias {
		in = append(in, n.In(2))
	}
	first := &group{nodes: g.nodes, out: []*ir.Value{packed}, rest: true}
	if err := setF32(c, first, "PackComputed", f32.PackComputed, spec, in...); err != nil {
		return err
	}
	second := &group{nodes: g.nodes, out: g.out}
	if err := setF32(c, second, "ConvComputed", f32.ConvComputed, spec, n.Inputs[0], packed); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}

// lowerConvWeightGrad: partial sums, then their sum.
func lowerConvWeightGrad(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	win, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	d := win.D2()
	x, dy := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	s := f32.WeightGradSpec{ConvSpec: convShape(d, x, dy[len(dy)-1]), Parts: ir.GradParts(x[0], d.Out[0]*d.Out[1])}
	if s.Groups > 1 && s.C/s.Groups < 4 && (s.Groups != s.C || s.K != s.C) {
		return errNoKernel
	}
	y := n.Outputs[0]
	parts := len(s.Parts) - 1
	if parts == 1 {
		return setF32(c, g, "WeightGrad", f32.WeightGrad, s, n.Inputs...)
	}
	sums := &ir.Value{Name: y.Name + ".parts", Type: ir.Type{DType: ir.F32, Shape: append(ir.Shape{parts}, y.Type.Shape...)}}
	first := &group{nodes: g.nodes, out: []*ir.Value{sums}}
	if err := setF32(c, first, "WeightGrad", f32.WeightGrad, s, n.Inputs...); err != nil {
		return err
	}
	second := &group{nodes: g.nodes, out: g.out, rest: true}
	if err := setF32(c, second, "Reduce", f32.Reduce, f32.ReduceSpec{Op: "sum", Shape: sums.Type.Shape, Axes: []int{0}}, sums); err != nil {
		return err
	}
	g.expand = []*group{first, second}
	return nil
}

// normWork runs one of f32's norm kernels; args are the fields that the step's
// operands and results go to, in their order.
type normWork struct {
	*f32.NormKernel
	fields []func(a *f32.NormArgs) *[]byte

	// How it was made, where that is known.
	spec    f32.NormGradSpec
	prepare func(f32.NormGradSpec, isa.Level) (*f32.NormKernel, error)
}

func (w normWork) Run(lo, hi int, c *call) {
	a := &c.norm
	*a = f32.NormArgs{}
	for i, f := range w.fields {
		*f(a) = c.ops[i]
	}
	w.NormKernel.Run(lo, hi, a)
}

// The places of a norm kernel's operands and results.
func normX(a *f32.NormArgs) *[]byte        { return &a.X }
func normDY(a *f32.NormArgs) *[]byte       { return &a.DY }
func normScale(a *f32.NormArgs) *[]byte    { return &a.Scale }
func normBias(a *f32.NormArgs) *[]byte     { return &a.Bias }
func normMean(a *f32.NormArgs) *[]byte     { return &a.Mean }
func normVariance(a *f32.NormArgs) *[]byte { return &a.Variance }
func normSums(a *f32.NormArgs) *[]byte     { return &a.Sums }
func normY(a *f32.NormArgs) *[]byte        { return &a.Y }
func normDScale(a *f32.NormArgs) *[]byte   { return &a.DScale }
func normDBias(a *f32.NormArgs) *[]byte    { return &a.DBias }

// normStep is one group of a batch norm in training.
func (c *compiler) normStep(n *ir.Node, rest bool, prepare func(f32.NormGradSpec, isa.Level) (*f32.NormKernel, error), in, out []*ir.Value, fields ...func(a *f32.NormArgs) *[]byte) (*group, error) {
	x := n.Inputs[0].Type.Shape
	s := f32.NormGradSpec{Rows: x[:len(x)-1].Elems(), C: x[len(x)-1], Eps: n.F32("epsilon")}
	k, err := prepare(s, c.level)
	if err != nil {
		return nil, err
	}
	return &group{nodes: []*ir.Node{n}, in: in, out: out, rest: rest, work: normWork{k, fields, s, prepare}, recipe: Recipe{Package: "f32", Func: "BatchNormTraining", Spec: s}}, nil
}

// floatValue is a value between the groups of one node.
func floatValue(n *ir.Node, name string, size int) *ir.Value {
	return &ir.Value{Name: n.Outputs[0].Name + name, Type: ir.T(ir.F32, size)}
}

func lowerBatchNormTraining(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	x, scale, bias := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	y, mean, variance := n.Outputs[0], n.Outputs[1], n.Outputs[2]
	s := x.Type.Shape
	channels := s[len(s)-1]
	spec := f32.NormGradSpec{Rows: s[:len(s)-1].Elems(), C: channels}
	sums, factors := floatValue(n, ".sums", spec.SumsFloats()), floatValue(n, ".factors", 3*channels)
	type vs = []*ir.Value
	return c.normSteps(g,
		func() (*group, error) { return c.normStep(n, true, f32.NormSums, vs{x}, vs{sums}, normX, normY) },
		func() (*group, error) {
			return c.normStep(n, true, f32.NormMoments, vs{x, sums}, vs{mean, variance}, normX, normSums, normY, normDScale)
		},
		func() (*group, error) {
			return c.normStep(n, true, f32.NormFactors, vs{mean, variance, scale, bias}, vs{factors}, normMean, normVariance, normScale, normBias, normY)
		},
		func() (*group, error) {
			return c.normStep(n, false, f32.NormApply, vs{x, factors}, vs{y}, normX, normSums, normY)
		})
}

func lowerBatchNormGrad(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	x, scale, mean, variance, dy := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3], n.Inputs[4]
	dx, dscale, dbias := n.Outputs[0], n.Outputs[1], n.Outputs[2]
	s := x.Type.Shape
	channels := s[len(s)-1]
	spec := f32.NormGradSpec{Rows: s[:len(s)-1].Elems(), C: channels}
	sums, factors := floatValue(n, ".sums", spec.SumsFloats()), floatValue(n, ".factors", 4*channels)
	type vs = []*ir.Value
	return c.normSteps(g,
		func() (*group, error) {
			return c.normStep(n, true, f32.NormGradSums, vs{x, dy, mean}, vs{sums}, normX, normDY, normMean, normY)
		},
		func() (*group, error) {
			return c.normStep(n, true, f32.NormGradFactors, vs{sums, scale, mean, variance}, vs{factors, dscale, dbias},
				normSums, normScale, normMean, normVariance, normY, normDScale, normDBias)
		},
		func() (*group, error) {
			return c.normStep(n, false, f32.NormGradApply, vs{x, dy, factors}, vs{dx}, normX, normDY, normSums, normY)
		})
}

func (c *compiler) normSteps(g *group, steps ...func() (*group, error)) error {
	for _, f := range steps {
		s, err := f()
		if err != nil {
			g.expand = nil
			return err
		}
		g.expand = append(g.expand, s)
	}
	last := g.expand[len(g.expand)-1]
	last.inPlace = []int{0, 1}[:len(last.in)-1]
	return nil
}

func lowerClampGrad(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	g.inPlace = []int{1, 0}
	return setF32(c, g, "ClampGrad", f32.ClampGrad, f32.ClampGradSpec{N: n.Outputs[0].Type.Shape.Elems(), Min: n.F32("min"), Max: n.F32("max")}, n.Inputs...)
}

// computedNorm lowers a layer norm whose scale or bias the graph computes: the
// norm alone, then the product and the sum, each rounded as its definition says.
func (c *compiler) computedNorm(g *group, n *ir.Node) error {
	x := n.Inputs[0].Type.Shape
	axis, err := ir.NormAxis(n.Int("axis"), len(x))
	if err != nil || n.Op.Name != "layer_norm" || len(g.nodes) > 1 {
		return errNoKernel
	}
	at := n.Inputs[0]
	add := func(f func(part *group) error) error {
		part := &group{nodes: g.nodes, out: []*ir.Value{{Name: n.Outputs[0].Name + ".part", Type: n.Outputs[0].Type}}, rest: len(g.expand) > 0, inPlace: []int{0}}
		if err := f(part); err != nil {
			return err
		}
		at = part.out[0]
		g.expand = append(g.expand, part)
		return nil
	}
	err = add(func(part *group) error {
		return setF32(c, part, "LayerNorm", f32.LayerNorm, f32.NormSpec{Rows: x[:axis].Elems(), N: x[axis:].Elems(), Eps: n.F32("epsilon")}, at)
	})
	for i, op := range []string{"multiply", "add"} {
		v := n.In(i + 1)
		if err != nil || v == nil {
			continue
		}
		err = add(func(part *group) error {
			return setF32(c, part, "Binary", f32.Binary, f32.BinarySpec{Op: op, A: x, B: v.Type.Shape}, at, v)
		})
	}
	if err != nil {
		g.expand = nil
		return err
	}
	g.expand[len(g.expand)-1].out = n.Outputs
	return nil
}
