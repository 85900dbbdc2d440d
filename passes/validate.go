package passes

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// validate runs both graphs by the interpreter on the same seeded inputs and
// compares by the promise. It gives the greatest |Δ| over the greatest |output|.
func validate(ctx context.Context, before, after *ir.Graph, p Promise, progress func(done, total int)) (float64, error) {
	return validateOn(ctx, before, after, p, nil, nil, progress)
}

// validateOn is validate on given inputs, where there are any; adapt turns
// inputs of after into those of before.
func validateOn(ctx context.Context, before, after *ir.Graph, p Promise, adapt func([]*ir.Tensor) ([]*ir.Tensor, error), given [][]*ir.Tensor, progress func(done, total int)) (float64, error) {
	batch, worst := 2, 0.0
	if len(given) > 0 {
		batch = 1
	}
	a, err := ir.Specialize(before, batch)
	if err != nil {
		return 0, err
	}
	b, err := ir.Specialize(after, batch)
	if err != nil {
		return 0, err
	}
	if len(given) == 0 || adapt != nil {
		given = [][]*ir.Tensor{RandomInputs(b, 1)}
	}
	done, total := 0, len(given)*(len(a.Nodes)+len(b.Nodes))
	each := func(*ir.Node, []*ir.Tensor, []*ir.Tensor) error {
		if done++; progress != nil {
			progress(done, total)
		}
		return nil
	}
	for _, in := range given {
		d, err := compared(ctx, a, b, in, adapt, p, each)
		if err != nil {
			return 0, err
		}
		worst = max(worst, d)
	}
	limit := map[Promise]float64{Exact: 0, Close: Tolerance, Changes: math.Inf(1), Keeps: KeptTolerance}[p]
	if worst > limit || math.IsNaN(worst) {
		return worst, fmt.Errorf("promised %v, but outputs differ by %.3g of their greatest magnitude", p, worst)
	}
	return worst, nil
}

// compared gives the greatest |Δ| of two graphs over the greatest |output|, by
// Keeps over max(1, greatest |output|).
func compared(ctx context.Context, a, b *ir.Graph, in []*ir.Tensor, adapt func([]*ir.Tensor) ([]*ir.Tensor, error), p Promise, each func(*ir.Node, []*ir.Tensor, []*ir.Tensor) error) (float64, error) {
	was, err := in, error(nil)
	if adapt != nil {
		if was, err = adapt(in); err != nil {
			return 0, err
		}
	}
	ra, err := eval.Run(ctx, a, was, eval.Options{Each: each})
	if err != nil {
		return 0, fmt.Errorf("before: %w", err)
	}
	rb, err := eval.Run(ctx, b, in, eval.Options{Each: each})
	if err != nil {
		return 0, fmt.Errorf("after: %w", err)
	}
	least := leastOutput
	if p == Keeps {
		least = 1
	}
	return largest(ra.Outputs, rb.Outputs, least)
}

// difference is how much a pass that changes the function has changed it, by the
// runner: on the inputs given, or on seeded random ones.
func (o Options) difference(before, after *ir.Graph) (float64, error) {
	batch, given := 1, o.Inputs
	if len(given) == 0 {
		batch = 2
	}
	var out [2][][]*ir.Tensor // by graph and input
	for i, g := range []*ir.Graph{before, after} {
		s, err := ir.Specialize(g, batch)
		if err != nil {
			return 0, err
		}
		if len(given) == 0 {
			given = [][]*ir.Tensor{RandomInputs(s, 1)}
		}
		run, free, err := o.runner()(s)
		if err != nil {
			return 0, err
		}
		for _, in := range given {
			var y []*ir.Tensor
			if y, err = run(in); err != nil {
				break
			}
			out[i] = append(out[i], y)
		}
		if free != nil {
			free()
		}
		if err != nil {
			return 0, err
		}
	}
	worst := 0.0
	for i := range given {
		d, err := largest(out[0][i], out[1][i], leastOutput)
		if err != nil {
			return 0, err
		}
		worst = max(worst, d)
	}
	if worst-worst != 0 {
		return 0, &diag.Error{Found: "outputs that are NaN or infinite where they were numbers before", Fix: "leave the pass out, or keep it to one layer with node="}
	}
	return worst, nil
}

// leastOutput stands for the greatest |output| where that is next to nothing.
const leastOutput = 1e-30

// RandomInputs draws inputs for a static graph: floats from the normal
// distribution, 8-bit integers over their range, other integers 0 or 1 (masks,
// token types and small indices all take these).
func RandomInputs(g *ir.Graph, seed uint64) []*ir.Tensor {
	rng := rand.New(rand.NewPCG(seed, 0x696e70))
	out := make([]*ir.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		t := ir.NewTensor(v.Type.DType, v.Type.Shape...)
		for k := range t.Len() {
			switch {
			case t.DType.IsFloat():
				t.Set(k, rng.NormFloat64())
			case t.DType.Is8Bit():
				lo, hi := t.DType.Range()
				t.Set(k, float64(lo)+float64(rng.IntN(int(hi-lo)+1)))
			default:
				t.Set(k, float64(rng.IntN(2)))
			}
		}
		out[i] = t
	}
	return out
}
