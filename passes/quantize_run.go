package passes

import (
	"context"

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
