// Package gradient is reverse-mode differentiation as a rewriting of the IR:
// every op of the op table has its vector-Jacobian product in one table, which
// appends the nodes that compute it, so that a training step is a graph like
// any other. It may import ir and internal/diag.
package gradient

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Append adds to a static graph the nodes that compute Σ seed·∂v/∂w for every
// w of wrt, where seeds gives the seed (of v's type) of values v. It returns
// them in the order of wrt; one that no seed reaches is a constant of zeros.
//
//	%y = multiply %x @w            %y  = multiply %x @w
//	                      ──►      %dx = multiply %dy @w
func Append(g *ir.Graph, seeds map[*ir.Value]*ir.Value, wrt []*ir.Value) ([]*ir.Value, error) {
	if !g.Static() {
		return nil, &diag.Error{Place: "gradient of @" + g.Name, Found: "a symbolic batch", Wanted: "a static graph", Fix: "specialize it to a batch size first"}
	}
	b := &builder{g: g, needs: map[*ir.Value]bool{}, sums: map[*ir.Value]*ir.Value{}, numbers: map[float64]*ir.Value{}}
	for _, v := range wrt {
		if v.Type.DType != ir.F32 && v.Type.DType != ir.F64 {
			return nil, &diag.Error{Place: "gradient for " + v.String(), Found: v.Type.String(), Wanted: "a float"}
		}
		b.needs[v] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil && b.needs[v] {
				for _, o := range n.Outputs {
					b.needs[o] = b.needs[o] || o.Type.DType.IsFloat()
				}
			}
		}
	}
	nodes := g.Nodes[:len(g.Nodes):len(g.Nodes)]
	for v, s := range seeds {
		if !s.Type.Shape.Equal(v.Type.Shape) || s.Type.DType != v.Type.DType {
			return nil, &diag.Error{Place: "gradient of " + v.String(), Found: "a seed " + s.Type.String(), Wanted: v.Type.String()}
		}
		b.sums[v] = s
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		if err := b.node(nodes[i]); err != nil {
			return nil, diag.At(nodes[i].Op.Name+" "+nodes[i].Label(), err)
		}
	}
	out := make([]*ir.Value, len(wrt))
	for i, v := range wrt {
		if out[i] = b.sums[v]; out[i] == nil {
			out[i] = g.Const("zero", ir.NewTensor(v.Type.DType, v.Type.Shape...))
		}
	}
	return out, nil
}

// Has says whether an op has a vector-Jacobian product.
func Has(op string) bool { return products[op] != nil }

// product appends the vector-Jacobian product of a node: from the cotangents
// of its results (nil where nothing flows back) those of its operands, nil
// for zero or where b.wants says that nobody asks.
type product func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value

// builder appends nodes. Its methods panic with a failure on a graph that does
// not take them; node turns it into an error.
type builder struct {
	g       *ir.Graph
	needs   map[*ir.Value]bool      // values that an asked-for gradient flows through
	sums    map[*ir.Value]*ir.Value // cotangents so far
	numbers map[float64]*ir.Value
}

type failure struct{ err error }

func (b *builder) node(n *ir.Node) (err error) {
	dy := make([]*ir.Value, len(n.Outputs))
	live := false
	for i, v := range n.Outputs {
		dy[i] = b.sums[v]
		live = live || dy[i] != nil
	}
	asked := false
	for _, v := range n.Inputs {
		asked = asked || v != nil && b.needs[v]
	}
	if !live || !asked {
		return nil
	}
	f := products[n.Op.Name]
	if f == nil {
		return &diag.Error{Found: "an op without a gradient", Wanted: "ops that nasc can differentiate", Fix: "leave it out of what is trained"}
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.err
		default:
			panic(r)
		}
	}()
	for i, d := range f(b, n, dy) {
		v := n.In(i)
		if d == nil || v == nil || !b.needs[v] {
			continue
		}
		if !d.Type.Shape.Equal(v.Type.Shape) {
			panic(fmt.Sprintf("BUG: gradient of %s operand %d is %v, the operand %v", n.Op.Name, i, d.Type, v.Type))
		}
		if s := b.sums[v]; s != nil {
			d = b.add(s, d)
		}
		b.sums[v] = d
	}
	return nil
}

// wants says whether operand i's gradient is asked for.
func (b *builder) wants(n *ir.Node, i int) bool { return n.In(i) != nil && b.needs[n.In(i)] }

// multi appends a node and gives all its results.
func (b *builder) multi(op string, attrs ir.Attrs, in ...*ir.Value) []*ir.Value {
	n, err := b.g.AddNamed(op, "", attrs, in...)
	if err != nil {
		panic(failure{err})
	}
	return n.Outputs
}

func (b *builder) op(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	return b.multi(op, attrs, in...)[0]
}

// number is a scalar of x's type.
func (b *builder) number(v float64) *ir.Value {
	if b.numbers[v] == nil {
		b.numbers[v] = b.g.Const("number", ir.Scalar(float32(v)))
	}
	return b.numbers[v]
}

func (b *builder) add(x, y *ir.Value) *ir.Value           { return b.op("add", nil, x, y) }
func (b *builder) sub(x, y *ir.Value) *ir.Value           { return b.op("subtract", nil, x, y) }
func (b *builder) mul(x, y *ir.Value) *ir.Value           { return b.op("multiply", nil, x, y) }
func (b *builder) div(x, y *ir.Value) *ir.Value           { return b.op("divide", nil, x, y) }
func (b *builder) neg(x *ir.Value) *ir.Value              { return b.op("negate", nil, x) }
func (b *builder) scale(x *ir.Value, f float64) *ir.Value { return b.mul(x, b.number(f)) }
func (b *builder) plus(x *ir.Value, f float64) *ir.Value  { return b.add(x, b.number(f)) }

// where is x where a stands in the relation to c, else y; x and y broadcast.
func (b *builder) where(a *ir.Value, relation string, c, x, y *ir.Value) *ir.Value {
	return b.op("select", nil, b.op("compare", ir.Attrs{"direction": relation}, a, c), x, y)
}

// sum folds axes away, leaving extents of 1 with keep.
func (b *builder) sum(x *ir.Value, axes []int, keep bool) *ir.Value {
	if len(axes) == 0 {
		return x
	}
	return b.op("reduce_sum", ir.Attrs{"axes": axes, "keep_dims": keep}, x)
}

func (b *builder) mean(x *ir.Value, axes []int) *ir.Value {
	return b.op("reduce_mean", ir.Attrs{"axes": axes}, x)
}

func (b *builder) reshape(x *ir.Value, s ir.Shape) *ir.Value {
	if x.Type.Shape.Equal(s) {
		return x
	}
	return b.op("reshape", ir.Attrs{"shape": s.Clone()}, x)
}

func (b *builder) broadcast(x *ir.Value, s ir.Shape) *ir.Value {
	if x.Type.Shape.Equal(s) {
		return x
	}
	return b.op("broadcast", ir.Attrs{"shape": s.Clone()}, x)
}

func (b *builder) transpose(x *ir.Value, p ...int) *ir.Value {
	return b.op("transpose", ir.Attrs{"permutation": p}, x)
}

// unstretch sums d over the axes that numpy's rule repeated from shape s.
func (b *builder) unstretch(d *ir.Value, s ir.Shape) *ir.Value {
	full := d.Type.Shape
	off := len(full) - len(s)
	var axes []int
	for i, e := range full {
		if i < off || s[i-off] == 1 && e != 1 {
			axes = append(axes, i)
		}
	}
	return b.reshape(b.sum(d, axes, true), s)
}

// leading are the axes 0 … rank−2.
func leading(rank int) []int {
	var axes []int
	for i := range rank - 1 {
		axes = append(axes, i)
	}
	return axes
}

// ints makes a constant of indices.
func (b *builder) ints(v []int) *ir.Value {
	d := make([]int64, len(v))
	for i, x := range v {
		d[i] = int64(x)
	}
	return b.g.Const("indices", ir.From(d, len(d)))
}
