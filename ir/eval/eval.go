// Package eval is the reference interpreter: it walks a static graph and
// evaluates each node by the op table. It is slow and plain, and the truth
// that every target is compared with. It owns no arithmetic (the op table
// does) and imports only ir and diag.
package eval

import (
	"context"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Options of one run.
type Options struct {
	// Double evaluates float ops in float64; inputs may then be F64 for F32.
	// Quantized ops keep their float32 steps: those are their definition.
	Double bool
	// Watch lists values to return besides the graph's outputs.
	Watch []*ir.Value
	// Each, where set, sees every node with its operands and results.
	Each func(n *ir.Node, in, out []*ir.Tensor) error
}

// Result holds what a run gave.
type Result struct {
	Outputs []*ir.Tensor
	Watched []*ir.Tensor // as Options.Watch
}

// Run evaluates a static graph. Intermediate values are dropped after their
// last use.
func Run(ctx context.Context, g *ir.Graph, in []*ir.Tensor, o Options) (*Result, error) {
	if len(in) != len(g.Inputs) {
		return nil, diag.Errorf("graph @"+g.Name, "found %d inputs, wanted %d", len(in), len(g.Inputs))
	}
	left := map[*ir.Value]int{} // uses still to come
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			left[v]++
		}
	}
	for _, v := range g.Outputs {
		left[v]++
	}
	for _, v := range o.Watch {
		left[v]++
	}
	vals := map[*ir.Value]*ir.Tensor{}
	for i, v := range g.Inputs {
		t := in[i]
		fits := t != nil && (t.DType == v.Type.DType || o.Double && t.DType == ir.F64 && v.Type.DType == ir.F32)
		if !fits || !t.Shape.Equal(v.Type.Shape) {
			found := "nothing"
			if t != nil {
				found = t.Type().String()
			}
			return nil, &diag.Error{Place: "input " + strconv.Quote(v.Name), Found: found, Wanted: v.Type.String()}
		}
		vals[v] = o.widen(t)
	}
	get := func(v *ir.Value) *ir.Tensor {
		if v.Const == nil {
			return vals[v]
		}
		if !o.Double {
			return v.Const
		}
		if vals[v] == nil {
			vals[v] = o.widen(v.Const)
		}
		return vals[v]
	}
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		args := make([]*ir.Tensor, max(len(n.Op.In), len(n.Inputs)))
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			args[i] = get(v)
			if o.Double && n.Op.Class == ir.Quantized && args[i].DType == ir.F64 {
				args[i] = args[i].Converted(ir.F32)
			}
		}
		out, err := n.Op.Eval(n, args)
		if err != nil {
			return nil, diag.At(n.Op.Name+" "+strconv.Quote(n.Label()), err)
		}
		if o.Each != nil {
			if err := o.Each(n, args, out); err != nil {
				return nil, err
			}
		}
		for i, v := range n.Outputs {
			if left[v] > 0 {
				vals[v] = o.widen(out[i])
			}
		}
		for _, v := range n.Inputs {
			if left[v]--; left[v] == 0 {
				delete(vals, v)
			}
		}
	}
	r := &Result{}
	for _, v := range g.Outputs {
		r.Outputs = append(r.Outputs, get(v))
	}
	for _, v := range o.Watch {
		r.Watched = append(r.Watched, get(v))
	}
	return r, nil
}

// widen brings floats to the precision of the run.
func (o Options) widen(t *ir.Tensor) *ir.Tensor {
	if o.Double && t.DType == ir.F32 {
		return t.Converted(ir.F64)
	}
	return t
}
