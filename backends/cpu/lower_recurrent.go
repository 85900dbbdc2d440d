package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// recurrent runs f32's recurrent layers: operands x, lengths, h0, c0 (the last
// three may be absent), results y, h and, of an LSTM, c.
type recurrent struct {
	*f32.RecurrentKernel
	steps int
}

func (w recurrent) Name() string { return w.RecurrentKernel.Name() }

func (w recurrent) Run(lo, hi int, c *call) {
	a := &c.recurrent
	*a = f32.RecurrentArgs{X: c.ops[0], Lens: c.ops[1], H0: c.ops[2], C0: c.ops[3], Y: c.ops[4], HN: c.ops[5], Scratch: c.Scratch}
	if len(c.ops) > 6 {
		a.CN = c.ops[6]
	}
	w.RecurrentKernel.Run(lo, hi, a)
}

// check refuses lengths beyond the sequence.
func (w recurrent) check(c *call) error {
	for i, n := range elems[int32](c.ops[1]) {
		if n < 0 || int(n) > w.steps {
			return diag.Errorf("", "length %d of entry %d; wanted 0 to %d", n, i, w.steps)
		}
	}
	return nil
}

func lowerRecurrent(c *compiler, g *group) error {
	n := g.nodes[0]
	for _, v := range n.Outputs {
		if v.Type.DType != ir.F32 || v.Type.Shape.Elems() == 0 {
			return errNoKernel
		}
	}
	x := n.Inputs[0].Type.Shape
	s := f32.RecurrentSpec{
		GRU: n.Op.Name == "gru", T: x[0], N: x[1], C: x[2], H: n.Int("hidden_size"), Dirs: n.Outputs[0].Type.Shape[1],
		Reverse: n.Str("direction") == "reverse",
	}
	in := []*ir.Value{n.Inputs[0], n.In(4), n.In(5), nil}
	var ok [4]bool
	s.W, ok[0] = c.floatsOf(n.Inputs[1])
	s.R, ok[1] = c.floatsOf(n.Inputs[2])
	s.Bias, ok[2] = c.floatsOf(n.In(3))
	ok[3] = true
	if s.GRU {
		s.LinearBeforeReset = n.Bool("linear_before_reset")
	} else {
		in[3] = n.In(6)
		s.Peephole, ok[3] = c.floatsOf(n.In(7))
	}
	if ok != [4]bool{true, true, true, true} {
		return errNoKernel
	}
	k, err := f32.Recurrent(s, c.level)
	if err != nil {
		return err
	}
	w := recurrent{k, s.T}
	g.work, g.check, g.in = w, w, in
	g.recipe = Recipe{Package: "f32", Func: "Recurrent", Spec: s}
	return nil
}
