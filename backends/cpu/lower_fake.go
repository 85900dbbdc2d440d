package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/ir"
)

func fakeSpec(n *ir.Node) f32.FakeSpec {
	x, f := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	c := x[len(x)-1]
	return f32.FakeSpec{
		Rows: x[:len(x)-1].Elems(), C: c, QMin: n.Int("qmin"), QMax: n.Int("qmax"), Floor: n.Bool("floor"),
		PerChannel: len(f) == 1 && f[0] == c,
	}
}

// fakeStep is one group of a fake_quantize or its gradient.
func (c *compiler) fakeStep(n *ir.Node, s f32.FakeSpec, rest bool, name string, prepare func(f32.FakeSpec, isa.Level) (*f32.NormKernel, error), in, out []*ir.Value, fields ...func(a *f32.NormArgs) *[]byte) func() (*group, error) {
	return func() (*group, error) {
		k, err := prepare(s, c.level)
		if err != nil {
			return nil, err
		}
		return &group{nodes: []*ir.Node{n}, in: in, out: out, rest: rest, work: normWork{NormKernel: k, fields: fields}, recipe: Recipe{Package: "f32", Func: name, Spec: s}}, nil
	}
}

// fakeFactors makes the factors of the channels and the clamp's ends.
func (c *compiler) fakeFactors(n *ir.Node, s f32.FakeSpec, factors *ir.Value) func() (*group, error) {
	in, fields := []*ir.Value{n.Inputs[1]}, []func(a *f32.NormArgs) *[]byte{normScale}
	if z := n.In(2); z != nil {
		in, fields = append(in, z), append(fields, normBias)
	}
	return c.fakeStep(n, s, true, "FakeFactors", f32.FakeFactors, in, []*ir.Value{factors}, append(fields, normY)...)
}

func lowerFakeQuantize(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	s := fakeSpec(n)
	factors := floatValue(n, ".factors", s.FactorFloats())
	if err := c.normSteps(g,
		c.fakeFactors(n, s, factors),
		c.fakeStep(n, s, false, "FakeQuantize", f32.FakeQuantize, []*ir.Value{n.Inputs[0], factors}, n.Outputs, normX, normSums, normY)); err != nil {
		return err
	}
	return nil
}

func lowerFakeQuantizeGrad(c *compiler, g *group) error {
	n := g.nodes[0]
	if err := f32Only(n); err != nil {
		return err
	}
	s := fakeSpec(n)
	factors, sums := floatValue(n, ".factors", s.FactorFloats()), floatValue(n, ".sums", s.SumsFloats())
	if err := c.normSteps(g,
		c.fakeFactors(n, s, factors),
		c.fakeStep(n, s, false, "FakeGrad", f32.FakeGrad, []*ir.Value{n.Inputs[0], n.Inputs[3], factors}, []*ir.Value{n.Outputs[0], sums}, normX, normDY, normSums, normY, normDScale),
		c.fakeStep(n, s, true, "FakeTotals", f32.FakeTotals, []*ir.Value{sums}, n.Outputs[1:], normSums, normDScale, normDBias)); err != nil {
		return err
	}
	g.expand[1].inPlace = []int{1, 0}
	g.expand[2].inPlace = nil
	return nil
}
