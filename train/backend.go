package train

import (
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/gradient"
)

// Backend makes an executable of a step: it computes the graph's outputs, then
// the gradients of the first (a scalar) for wrt, which are inputs.
type Backend func(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error)

// Backends finds a backend by target name.
func Backends(target string) (Backend, error) {
	name, isa := backends.SplitName(target)
	switch name {
	case "cpu-f32", "":
		return func(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error) {
			d, err := Differentiated(g, wrt)
			if err != nil {
				return nil, err
			}
			return cpu.F32().Compile(d, backends.Options{Threads: threads, ISA: isa, Parts: true})
		}, nil
	case "xla-cpu":
		return func(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error) {
			return gomlx.XLA().(gomlx.Differentiator).CompileGradient(g, wrt, threads)
		}, nil
	case "go":
		return func(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error) {
			return gomlx.Go().(gomlx.Differentiator).CompileGradient(g, wrt, threads)
		}, nil
	}
	return nil, &diag.Error{Place: "--target " + target, Found: "a target that does not train", Wanted: "cpu-f32, or xla-cpu or go, which let gomlx differentiate"}
}

// Differentiated gives a copy of g with the gradients of its first output, a
// scalar, for wrt as further outputs.
func Differentiated(g *ir.Graph, wrt []*ir.Value) (*ir.Graph, error) {
	d, m := g.CloneMap()
	in := make([]*ir.Value, len(wrt))
	for i, v := range wrt {
		in[i] = m[v]
	}
	loss := d.Outputs[0]
	grads, err := gradient.Append(d, map[*ir.Value]*ir.Value{loss: d.Const("seed", ir.Scalar(float32(1)))}, in)
	if err != nil {
		return nil, err
	}
	d.Outputs = append(d.Outputs, grads...)
	return d, d.Verify()
}
