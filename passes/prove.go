package passes

import (
	"context"
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// KeptTolerance64 is what transforms keep where all is computed in float64.
const KeptTolerance64 = 1e-11

// Proof is how far a transform's result is from the network before it, relative
// to max(1, max |output|), where weights and arithmetic are float32 and where
// they are float64 (−1: a part of the network is float32 by definition).
type Proof struct {
	*Grown
	F32, F64 float64
	After    *ir.Graph
}

// Prove runs a transform on copies of a graph and compares by the interpreter
// on seeded random inputs at a batch of 2. Its errors are the transform's and
// those of graphs that do not verify; how large the differences are is for the
// caller to judge.
func Prove(ctx context.Context, g *ir.Graph, p Pass, a Args, seed uint64) (*Proof, error) {
	out := &Proof{F32: -1, F64: -1}
	for _, x := range []*ir.Graph{g, Doubled(g)} {
		if x == nil {
			continue
		}
		b := x.Clone()
		grown, err := p.Grow(b, a)
		if err != nil {
			return nil, diag.At(p.Name, err)
		}
		double := x != g
		if !double {
			out.Grown, out.After = grown, b
		}
		if len(grown.Places) == 0 {
			return out, nil
		}
		b.RemoveDead()
		if err := b.Verify(); err != nil {
			return nil, diag.At(p.Name, err)
		}
		e, err := Gap(ctx, x, b, grown, seed)
		if err != nil {
			return nil, diag.At(p.Name, err)
		}
		if double {
			out.F64 = e
		} else {
			out.F32 = e
		}
	}
	return out, nil
}

// Gap is the greatest |Δ| of two graphs over max(1, greatest |output|), by the
// interpreter on seeded random inputs; NaN where only one gives numbers.
func Gap(ctx context.Context, a, b *ir.Graph, grown *Grown, seed uint64) (float64, error) {
	a, err := ir.Specialize(a, 2)
	if err != nil {
		return 0, err
	}
	if b, err = ir.Specialize(b, 2); err != nil {
		return 0, err
	}
	in := RandomInputs(b, seed)
	was := in
	if grown != nil && grown.Adapt != nil {
		if was, err = grown.Adapt(in); err != nil {
			return 0, err
		}
	}
	ra, err := eval.Run(ctx, a, was, eval.Options{})
	if err != nil {
		return 0, err
	}
	rb, err := eval.Run(ctx, b, in, eval.Options{})
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for i, x := range ra.Outputs {
		y := rb.Outputs[i]
		if x.DType != y.DType || !x.Shape.Equal(y.Shape) {
			return 0, fmt.Errorf("output %d was %v and is %v", i, x.Type(), y.Type())
		}
		top, diff := 0.0, 0.0
		for k := range x.Len() {
			u, v := x.At(k), y.At(k)
			if !math.IsInf(u, 0) && u == u {
				top = max(top, math.Abs(u))
			}
			if u != v && (u == u || v == v) {
				diff = max(diff, math.Abs(u-v)) // NaN stays
			}
		}
		worst = max(worst, diff/max(1, top))
	}
	return worst, nil
}

// Doubled gives a copy of a float graph in which inputs, weights and results
// are float64; nil where a part of it is float32 by definition.
func Doubled(g *ir.Graph) *ir.Graph {
	c := g.Clone()
	for _, v := range c.Inputs {
		if v.Type.DType == ir.F32 {
			v.Type.DType = ir.F64
		}
	}
	wide := map[*ir.Value]*ir.Value{}
	for _, n := range c.Nodes {
		if n.Op.Class == ir.Quantized {
			return nil
		}
		for i, v := range n.Inputs {
			if !v.IsConst() || v.Type.DType != ir.F32 {
				continue
			}
			if wide[v] == nil {
				wide[v] = c.Const(v.Name, v.Const.Converted(ir.F64))
			}
			n.Inputs[i] = wide[v]
		}
		if a := n.Op.Attr("dtype"); a != nil && n.Str("dtype") == "f32" {
			n.SetAttr("dtype", "f64")
		}
	}
	if c.InferAll() != nil {
		return nil
	}
	return c
}
