package nasc

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/stablehlo"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// Compared is one target held against the first.
type Compared struct {
	Target string `json:"target"`
	// Integer says that only the integer part was compared, each piece fed the
	// reference's values: on XLA float islands have a tolerance.
	Integer bool `json:"integer_part_only,omitempty"`
	*Difference
}

// VerifyTargets runs one graph on several targets, on the same samples, and
// compares each with the first.
func VerifyTargets(ctx context.Context, g *ir.Graph, targets []string, s Samples, progress func(stage string, done, total int)) ([]Compared, error) {
	first, static, err := Start(g, targets[0], 1, 1)
	if err != nil {
		return nil, err
	}
	defer first.Close()
	var want [][]*ir.Tensor
	err = Each(ctx, first, static, s, func(d, n int) { progress(targets[0], d, n) }, func(_, _ int, out []*ir.Tensor) error {
		want = append(want, out)
		return nil
	})
	if err != nil {
		return nil, diag.At("target "+targets[0], err)
	}
	var rows []Compared
	for _, name := range targets[1:] {
		c := Compared{Target: name, Difference: NewDifference()}
		if t, _, err := Target(name); err == nil && t.Name() == (stablehlo.Target{}).Name() && hasFloat(static) {
			c.Integer = true
			if err := verifyIntegerPart(ctx, static, name, s, c.Difference, func(d, n int) { progress(name, d, n) }); err != nil {
				return nil, diag.At("target "+name, err)
			}
			rows = append(rows, c)
			continue
		}
		e, st, err := Start(g, name, 1, 1)
		if err != nil {
			return nil, err
		}
		err = Each(ctx, e, st, s, func(d, n int) { progress(name, d, n) }, func(i, _ int, out []*ir.Tensor) error {
			for k, y := range out {
				c.Add(want[i][k], y)
			}
			return nil
		})
		if cerr := e.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, diag.At("target "+name, err)
		}
		rows = append(rows, c)
	}
	return rows, nil
}

// hasFloat says whether a graph computes in float besides quantizing.
func hasFloat(g *ir.Graph) bool {
	for _, n := range g.Nodes {
		if n.Op.Class != ir.Quantized && n.Op.Class != ir.Movement && n.Outputs[0].Type.DType == ir.F32 {
			return true
		}
	}
	return false
}

// verifyIntegerPart feeds the exact part of a graph what the interpreter
// computed around it and compares what it hands back.
func verifyIntegerPart(ctx context.Context, g *ir.Graph, target string, s Samples, d *Difference, progress func(done, total int)) error {
	part, ins, outs := stablehlo.IntegerPart(g)
	if part == nil {
		return &diag.Error{Found: "a graph without integer ops", Wanted: "a quantized model"}
	}
	t, isa, err := Target(target)
	if err != nil {
		return err
	}
	if err := t.Available(); err != nil {
		return err
	}
	e, err := t.Compile(part, backends.Options{ISA: isa})
	if err != nil {
		return err
	}
	defer e.Close()
	watch := append(append([]*ir.Value{}, ins...), outs...)
	for i := range s.Len() {
		in, err := s.At(i)
		if err != nil {
			return err
		}
		r, err := eval.Run(ctx, g, in, eval.Options{Watch: watch})
		if err != nil {
			return err
		}
		got := backends.NewOutputs(part)
		if err := e.Run(ctx, r.Watched[:len(ins)], got); err != nil {
			return err
		}
		for k, want := range r.Watched[len(ins):] {
			d.Add(want, got[k])
		}
		progress(i+1, s.Len())
	}
	return nil
}

// VerifyModels runs two models on the same samples and compares outputs.
func VerifyModels(ctx context.Context, a, b *ir.Graph, targetA, targetB string, s Samples) (*Difference, error) {
	if len(a.Inputs) != len(b.Inputs) || len(a.Outputs) != len(b.Outputs) {
		return nil, diag.Errorf("verify", "the models have %d and %d inputs, %d and %d outputs", len(a.Inputs), len(b.Inputs), len(a.Outputs), len(b.Outputs))
	}
	ea, sa, err := Start(a, targetA, 1, 1)
	if err != nil {
		return nil, err
	}
	defer ea.Close()
	eb, sb, err := Start(b, targetB, 1, 1)
	if err != nil {
		return nil, err
	}
	defer eb.Close()
	for i, v := range sa.Inputs {
		if w := sb.Inputs[i]; !v.Type.Equal(w.Type) {
			return nil, diag.Errorf("verify", "input %d is %v in one and %v in the other", i, v.Type, w.Type)
		}
	}
	var want [][]*ir.Tensor
	if err := Each(ctx, ea, sa, s, nil, func(_, _ int, out []*ir.Tensor) error { want = append(want, out); return nil }); err != nil {
		return nil, err
	}
	d := NewDifference()
	err = Each(ctx, eb, sb, s, nil, func(i, _ int, out []*ir.Tensor) error {
		for k, y := range out {
			if !y.Shape.Equal(want[i][k].Shape) || y.DType != want[i][k].DType {
				return diag.Errorf("verify", "output %d is %v in one and %v in the other", k, want[i][k].Type(), y.Type())
			}
			d.Add(want[i][k], y)
		}
		return nil
	})
	return d, err
}
