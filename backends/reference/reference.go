// Package reference is the target that runs the op table's own evaluation node
// by node: slow, plain, and what every other target is compared with. It may
// import backends and ir.
package reference

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
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
	have := map[*ir.Value]*ir.Tensor{}
	for i, v := range p.g.Inputs {
		have[v] = in[i]
	}
	get := func(v *ir.Value) *ir.Tensor {
		if v == nil {
			return nil
		}
		if v.Const != nil {
			return v.Const
		}
		return have[v]
	}
	for _, n := range p.g.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		args := make([]*ir.Tensor, max(len(n.Inputs), len(n.Op.In)))
		for i, v := range n.Inputs {
			args[i] = get(v)
		}
		res, err := n.Op.Eval(n, args)
		if err != nil {
			return diag.At(n.Op.Name+" "+n.Label(), err)
		}
		for i, v := range n.Outputs {
			have[v] = res[i]
		}
	}
	for i, v := range p.g.Outputs {
		ir.CopyData(out[i], get(v))
	}
	return nil
}
