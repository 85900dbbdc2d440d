package gomlx

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Differentiator is implemented by targets that can differentiate a graph
// themselves.
type Differentiator interface {
	// CompileGradient makes an executable whose outputs are g's, then the
	// gradients of g's first output, a scalar, for wrt, which are inputs of g.
	CompileGradient(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error)
}

// CompileGradient lowers g and lets gomlx differentiate it.
func (t target) CompileGradient(g *ir.Graph, wrt []*ir.Value, threads int) (backends.Executable, error) {
	if err := backends.CheckStatic(g); err != nil {
		return nil, err
	}
	b, err := t.open(threads)
	if err != nil {
		return nil, err
	}
	p := &program{g: g, wrt: wrt, on: t.on(threads)}
	if caughtErr := caught(func() { err = p.build(b, t.slices) }); caughtErr != nil {
		err = caughtErr
	}
	if err != nil {
		p.free()
		return nil, diag.At(t.name, err)
	}
	// Run checks the outputs given to it: the gradients are among them.
	c := *g
	c.Outputs = append(append([]*ir.Value{}, g.Outputs...), wrt...)
	p.g = &c
	return p, nil
}

// gradients appends the gradients of the first output for wrt.
func (l *lowerer) gradients(out []*node, wrt []*ir.Value) []*node {
	if len(wrt) == 0 {
		return out
	}
	at := make([]*node, len(wrt))
	for i, v := range wrt {
		at[i] = l.values[v]
	}
	return append(out, graph.Gradient(out[0], at...)...)
}

// pad adds a number around and between the elements. gomlx cannot
// differentiate its own: then the parts are joined.
func (l *lowerer) pad(x *node, v float64, axes []compute.PadAxis) *node {
	if !l.diff {
		return graph.Pad(x, graph.Scalar(x.Graph(), x.DType(), v), axes...)
	}
	for a, p := range axes {
		d := slices.Clone(x.Shape().Dimensions)
		fill := func(k int) *node {
			s := slices.Clone(x.Shape().Dimensions)
			s[a] = k
			return graph.BroadcastToDims(graph.Scalar(x.Graph(), x.DType(), v), s...)
		}
		if p.Interior > 0 && d[a] > 1 { // [n] to [n, 1+interior], without the end
			split := slices.Insert(slices.Clone(d), a+1, 1)
			gap := slices.Clone(split)
			gap[a+1] = p.Interior
			y := graph.Concatenate([]*node{graph.Reshape(x, split...), graph.BroadcastToDims(graph.Scalar(x.Graph(), x.DType(), v), gap...)}, a+1)
			joined := slices.Clone(d)
			joined[a] *= 1 + p.Interior
			x = graph.SliceAxis(graph.Reshape(y, joined...), a, graph.AxisRange(0, joined[a]-p.Interior))
		}
		parts := []*node{x}
		if p.Start > 0 {
			parts = append([]*node{fill(p.Start)}, parts...)
		}
		if p.End > 0 {
			parts = append(parts, fill(p.End))
		}
		if len(parts) > 1 {
			x = graph.Concatenate(parts, a)
		}
	}
	return x
}

// reverse turns axes around.
func (l *lowerer) reverse(x *node, axes ...int) *node {
	if !l.diff {
		return graph.Reverse(x, axes...)
	}
	for _, a := range axes {
		n := x.Shape().Dimensions[a]
		parts := make([]*node, n)
		for i := range n {
			parts[i] = graph.SliceAxis(x, a, graph.AxisRange(n-1-i, n-i))
		}
		if n > 1 {
			x = graph.Concatenate(parts, a)
		}
	}
	return x
}

// plainWindow says whether gomlx's gradient of a convolution is right: with
// uneven padding, strides or dilation it is not.
func plainWindow(win ir.Window) bool {
	for a, k := range win.Kernel {
		if k%2 == 0 || win.Before[a] != k/2 || win.After[a] != k/2 || win.Stride[a] != 1 || win.Dilation[a] != 1 {
			return false
		}
	}
	return win.Groups == 1
}
