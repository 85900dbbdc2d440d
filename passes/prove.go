package passes

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// KeptTolerance64 is what transforms keep where all is computed in float64.
const KeptTolerance64 = 1e-11

// Transforms lists the passes that keep the function, for proofs.
func Transforms() []Pass { return slices.Clone(transforms) }

// Proof is how far a transform's result is from the network before it, relative
// to max(1, max |output|), where weights and arithmetic are float32 and where
// they are float64 (−1: a part of the network is float32 by definition).
type Proof struct {
	*Grown
	F32, F64 float64
	After    *ir.Graph
}

// Prover holds a network before transforms, in float32 and in float64, and what
// it gives on seeded random inputs at a batch of 2.
type Prover struct {
	seed   uint64
	graphs [2]*ir.Graph // the second nil where a part is float32 by definition
	in     [2][]*ir.Tensor
	out    [2][]*ir.Tensor
	memo   [2]memo
}

// NewProver runs the network.
func NewProver(ctx context.Context, g *ir.Graph, seed uint64) (*Prover, error) {
	p := &Prover{seed: seed, graphs: [2]*ir.Graph{g, Doubled(g)}}
	for i, x := range p.graphs {
		if x == nil {
			continue
		}
		s, err := ir.Specialize(x, 2)
		if err != nil {
			return nil, err
		}
		p.in[i], p.memo[i] = RandomInputs(s, seed), memo{map[string][]remembered{}}
		if p.out[i], err = p.memo[i].run(ctx, s, p.in[i], true); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func runSeeded(ctx context.Context, g *ir.Graph, seed uint64) (in, out []*ir.Tensor, err error) {
	s, err := ir.Specialize(g, 2)
	if err != nil {
		return nil, nil, err
	}
	in = RandomInputs(s, seed)
	r, err := eval.Run(ctx, s, in, eval.Options{})
	if err != nil {
		return nil, nil, err
	}
	return in, r.Outputs, nil
}

// Prove runs a transform on copies of the network and compares. Its errors are
// the transform's and those of graphs that do not verify; how large the
// differences are is for the caller to judge.
func (q *Prover) Prove(ctx context.Context, p Pass, a Args) (*Proof, error) {
	out := &Proof{F32: -1, F64: -1}
	for i, x := range q.graphs {
		if x == nil {
			continue
		}
		b := x.Clone()
		grown, err := p.Grow(b, a)
		if err != nil {
			return nil, diag.At(p.Name, err)
		}
		if i == 0 {
			out.Grown, out.After = grown, b
		}
		if len(grown.Places) == 0 {
			return out, nil
		}
		b.RemoveDead()
		b.TidyNames()
		if err := b.Verify(); err != nil {
			return nil, diag.At(p.Name, err)
		}
		e, err := q.gap(ctx, i, b, grown)
		if err != nil {
			return nil, diag.At(p.Name, err)
		}
		if i == 0 {
			out.F32 = e
		} else {
			out.F64 = e
		}
	}
	return out, nil
}

// Gap is how far a network is from the one before it, in float32.
func (q *Prover) Gap(ctx context.Context, b *ir.Graph) (float64, error) {
	return q.gap(ctx, 0, b, nil)
}

func (q *Prover) gap(ctx context.Context, i int, b *ir.Graph, grown *Grown) (float64, error) {
	if grown != nil && grown.Adapt != nil { // other inputs: run both
		return Gap(ctx, q.graphs[i], b, grown, q.seed)
	}
	s, err := ir.Specialize(b, 2)
	if err != nil {
		return 0, err
	}
	out, err := q.memo[i].run(ctx, s, q.in[i], false)
	if err != nil {
		return 0, err
	}
	return largest(q.out[i], out, 1)
}

// Gap is the greatest |Δ| of two graphs over max(1, greatest |output|), by the
// interpreter on seeded random inputs; NaN where only one gives numbers.
func Gap(ctx context.Context, a, b *ir.Graph, grown *Grown, seed uint64) (float64, error) {
	in, got, err := runSeeded(ctx, b, seed)
	if err != nil {
		return 0, err
	}
	if grown != nil && grown.Adapt != nil {
		if in, err = grown.Adapt(in); err != nil {
			return 0, err
		}
	}
	s, err := ir.Specialize(a, 2)
	if err != nil {
		return 0, err
	}
	r, err := eval.Run(ctx, s, in, eval.Options{})
	if err != nil {
		return 0, err
	}
	return largest(r.Outputs, got, 1)
}

// largest is the greatest |Δ| over the greatest |output|, which counts as least
// where it is smaller; NaN where only one gives numbers.
func largest(want, got []*ir.Tensor, least float64) (float64, error) {
	worst := 0.0
	for i, x := range want {
		y := got[i]
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
		worst = max(worst, diff/max(least, top))
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
