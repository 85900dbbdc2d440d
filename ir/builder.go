package ir

import "github.com/nasc-dev/nasc/internal/diag"

// Builder makes a graph by calls that read like the network. The first error
// is kept, later calls then do nothing, and Graph returns it.
//
//	b := ir.NewBuilder("tiny")
//	x := b.Input("x", ir.T(ir.F32, ir.Batch, 8, 8, 1))
//	y := b.Op("convolution", ir.Attrs{"padding": []int{1, 1, 1, 1}}, x, w, bias)
//	y = b.Op("relu", nil, y)
//	g, err := b.Graph(y)
type Builder struct {
	G      *Graph
	errs   diag.List
	prefix string
}

// NewBuilder starts a graph.
func NewBuilder(name string) *Builder { return &Builder{G: NewGraph(name)} }

// Scope prefixes the names of what f builds with name and a dot.
func (b *Builder) Scope(name string, f func()) {
	old := b.prefix
	b.prefix += name + "."
	f()
	b.prefix = old
}

// Input appends a graph input.
func (b *Builder) Input(name string, t Type) *Value { return b.G.Input(name, t) }

// Const makes a constant.
func (b *Builder) Const(name string, t *Tensor) *Value { return b.G.Const(b.prefix+name, t) }

// QConst makes a quantized constant.
func (b *Builder) QConst(name string, t *Tensor, q *Quant) *Value {
	return b.G.QConst(b.prefix+name, t, q)
}

// Op appends a node with one result and returns it.
func (b *Builder) Op(op string, attrs Attrs, in ...*Value) *Value {
	return b.Named(op, "", attrs, in...)
}

// Named is Op with a name for the result.
func (b *Builder) Named(op, name string, attrs Attrs, in ...*Value) *Value {
	if v := b.Multi(op, name, attrs, in...); v != nil {
		return v[0]
	}
	return &Value{Name: "error"}
}

// Multi appends a node and returns all its results, nil after an error.
func (b *Builder) Multi(op, name string, attrs Attrs, in ...*Value) []*Value {
	if len(b.errs) > 0 {
		return nil
	}
	if name != "" {
		name = b.prefix + name
	}
	n, err := b.G.AddNamed(op, name, attrs, in...)
	if err != nil {
		b.errs.Add(err)
		return nil
	}
	return n.Outputs
}

// Fail records an error of the caller's.
func (b *Builder) Fail(err error) { b.errs.Add(err) }

// Err is the first error so far.
func (b *Builder) Err() error { return b.errs.Err() }

// Graph ends the graph with the given outputs and verifies it.
func (b *Builder) Graph(out ...*Value) (*Graph, error) {
	if err := b.errs.Err(); err != nil {
		return nil, err
	}
	b.G.Outputs = out
	if err := b.G.Verify(); err != nil {
		return nil, err
	}
	return b.G, nil
}
