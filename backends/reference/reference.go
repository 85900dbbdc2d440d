// Package reference is the interpreter as a target: slow, plain, and what every
// other target is compared with. It may import backends, ir and ir/eval.
package reference

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// Target is the target reference.
func Target() backends.Target { return target{} }

type target struct{}

func (target) Name() string     { return "reference" }
func (target) Doc() string      { return "the interpreter: slow, and the definition of right" }
func (target) Available() error { return nil }

func (target) Compile(g *ir.Graph, _ backends.Options) (backends.Executable, error) {
	if err := backends.CheckStatic(g); err != nil {
		return nil, err
	}
	return &program{g}, nil
}

type program struct{ g *ir.Graph }

func (*program) Close() error { return nil }

func (p *program) Run(ctx context.Context, in, out []*ir.Tensor) error {
	if err := backends.CheckTensors("input", p.g.Inputs, in); err != nil {
		return err
	}
	if err := backends.CheckTensors("output", p.g.Outputs, out); err != nil {
		return err
	}
	res, err := eval.Run(ctx, p.g, in, eval.Options{})
	if err != nil {
		return err
	}
	for i := range out {
		ir.CopyData(out[i], res.Outputs[i])
	}
	return nil
}
