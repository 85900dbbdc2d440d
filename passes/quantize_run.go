package passes

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// Runner prepares a static graph and gives a function that runs it, and one
// that frees it (nil for nothing to free). Results are the caller's to keep.
type Runner func(g *ir.Graph) (run func(in []*ir.Tensor) ([]*ir.Tensor, error), free func(), err error)

// interpreter is the Runner that needs no target.
func interpreter(g *ir.Graph) (run func(in []*ir.Tensor) ([]*ir.Tensor, error), free func(), err error) {
	run = func(in []*ir.Tensor) ([]*ir.Tensor, error) {
		r, err := eval.Run(context.Background(), g, in, eval.Options{})
		if err != nil {
			return nil, err
		}
		return r.Outputs, nil
	}
	return run, nil, nil
}

// RunOn is the Runner of a target: calibration then goes at its speed.
func RunOn(ctx context.Context, t backends.Target, o backends.Options) Runner {
	return func(g *ir.Graph) (run func(in []*ir.Tensor) ([]*ir.Tensor, error), free func(), err error) {
		e, err := t.Compile(g, o)
		if err != nil {
			return nil, nil, err
		}
		// The results are read before the next run: one set will do.
		out := backends.NewOutputs(g)
		run = func(in []*ir.Tensor) ([]*ir.Tensor, error) {
			if err := e.Run(ctx, in, out); err != nil {
				return nil, err
			}
			return out, nil
		}
		return run, func() { e.Close() }, nil
	}
}
