package gomlx

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

var dtypeOf = map[ir.DType]dtypes.DType{
	ir.F32: dtypes.Float32, ir.F64: dtypes.Float64, ir.I64: dtypes.Int64, ir.I32: dtypes.Int32,
	ir.U8: dtypes.Uint8, ir.S8: dtypes.Int8, ir.Bool: dtypes.Bool,
}

// caught runs f and turns gomlx's panics into errors. nasc's own broken
// invariants go on panicking.
func caught(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case string:
			panic(r)
		case error:
			err = r
		default:
			err = fmt.Errorf("%v", r)
		}
	}()
	f()
	return nil
}

// program is a compiled gomlx graph. Its weights are parameters, so that neither
// gomlx nor XLA folds or copies them while compiling; they are placed once.
type program struct {
	g       *ir.Graph
	graph   *graph.Graph
	weights []*tensors.Tensor
	wrt     []*ir.Value  // inputs for which the first output is differentiated
	on      func(func()) // runs what is to keep to the threads asked for
}

func shapeOf(t ir.Type) (shapes.Shape, error) {
	d, ok := dtypeOf[t.DType]
	if !ok || t.Quant != nil {
		return shapes.Shape{}, &diag.Error{Found: t.String(), Wanted: "a float graph", Fix: "quantized graphs run on xla-cpu-int8 and cpu-int8"}
	}
	return shapes.Make(d, t.Shape...), nil
}

// toTensor copies a tensor to gomlx.
func toTensor(t *ir.Tensor) (*tensors.Tensor, error) {
	s, err := shapeOf(ir.Type{DType: t.DType, Shape: t.Shape})
	if err != nil {
		return nil, err
	}
	x := tensors.FromShape(s)
	err = x.MutableBytes(func(b []byte) { copy(b, t.RawBytes()) })
	return x, err
}

func compile(b compute.Backend, g *ir.Graph, slices bool, on func(func())) (*program, error) {
	p := &program{g: g, on: on}
	var err error
	if caughtErr := caught(func() { err = p.build(b, slices) }); caughtErr != nil {
		err = caughtErr
	}
	if err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

func (p *program) build(b compute.Backend, slices bool) error {
	p.graph = graph.NewGraph(b, p.g.Name+"-nasc")
	l := &lowerer{p: p, slices: slices, diff: len(p.wrt) > 0, values: map[*ir.Value]*graph.Node{}}
	for i, v := range p.g.Inputs {
		s, err := shapeOf(v.Type)
		if err != nil {
			return diag.At(v.String(), err)
		}
		l.values[v] = graph.Parameter(p.graph, fmt.Sprintf("in%d", i), s)
	}
	// All weights come after the inputs, in the order of their use.
	for _, v := range p.g.Constants() {
		t, err := toTensor(v.Const)
		if err != nil {
			return diag.At(v.String(), err)
		}
		l.values[v] = graph.Parameter(p.graph, fmt.Sprintf("w%d", len(p.weights)), t.Shape())
		p.weights = append(p.weights, t)
	}
	for _, n := range p.g.Nodes {
		if err := l.node(n); err != nil {
			return diag.At(n.Label()+": "+n.Op.Name, err)
		}
	}
	var out []*graph.Node
	for _, v := range p.g.Outputs {
		x := l.values[v]
		if v.Def == nil { // a graph may not return a parameter itself
			x = graph.Identity(x)
		}
		out = append(out, x)
	}
	if err := p.graph.Compile(l.gradients(out, p.wrt)...); err != nil {
		return err
	}
	// Now, and not in the first run: two first runs at once would both move the
	// weights, and one would find them on neither side.
	for _, w := range p.weights {
		if err := w.MaterializeOnDevice(b, true, 0); err != nil {
			return err
		}
	}
	return nil
}

// Run copies the inputs to the backend, executes, and copies the results out.
func (p *program) Run(ctx context.Context, in, out []*ir.Tensor) error {
	if err := backends.CheckTensors("input", p.g.Inputs, in); err != nil {
		return err
	}
	args := make([]any, 0, len(in)+len(p.weights))
	for _, t := range in {
		x, err := toTensor(t)
		if err != nil {
			return err
		}
		defer free(x)
		args = append(args, x)
	}
	return p.execute(ctx, args, out)
}

// execute runs on inputs that the backend has; the weights come after them. Its
// buffers are freed here: Go's collector does not see a plugin's memory.
func (p *program) execute(ctx context.Context, args []any, out []*ir.Tensor) error {
	if out != nil {
		if err := backends.CheckTensors("output", p.g.Outputs, out); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, w := range p.weights {
		args = append(args, w)
	}
	var results []*tensors.Tensor
	var err error
	p.on(func() {
		if err = caught(func() { results = p.graph.Run(args...) }); err != nil || out == nil {
			return
		}
		for i, r := range results { // XLA may still be at them
			if err = r.ConstBytes(func(b []byte) { copy(out[i].RawBytes(), b) }); err != nil {
				err = fmt.Errorf("output %d: %w", i, err)
				return
			}
		}
	})
	for _, r := range results {
		free(r)
	}
	return err
}

// Place copies the inputs to the backend once for many runs.
func (p *program) Place(in []*ir.Tensor) (run func(context.Context, []*ir.Tensor) error, release func(), err error) {
	if err := backends.CheckTensors("input", p.g.Inputs, in); err != nil {
		return nil, nil, err
	}
	args := make([]any, 0, len(in)+len(p.weights))
	release = func() {
		for _, a := range args {
			free(a.(*tensors.Tensor))
		}
	}
	for _, t := range in {
		x, err := toTensor(t)
		if err == nil {
			args = append(args, x)
			err = x.MaterializeOnDevice(p.graph.Backend(), true, 0)
		}
		if err != nil {
			release()
			return nil, nil, err
		}
	}
	return func(ctx context.Context, out []*ir.Tensor) error { return p.execute(ctx, slices.Clip(args), out) }, release, nil
}

func free(t *tensors.Tensor) {
	_ = caught(func() { _ = t.FinalizeAll() }) // nothing is left to do with one that will not go
}

func (p *program) free() {
	for _, w := range p.weights {
		free(w)
	}
	if p.graph != nil {
		_ = caught(p.graph.Finalize)
	}
}

// Close frees the weights and the executable.
func (p *program) Close() error {
	p.free()
	return nil
}

// dims gives a shape's extents as gomlx takes them.
func dims(s ir.Shape) []int { return slices.Clone([]int(s)) }
