package gradient

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var movements = map[string]product{
	"reshape": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.reshape(dy[0], n.Inputs[0].Type.Shape)}
	},
	"broadcast": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.unstretch(dy[0], n.Inputs[0].Type.Shape)}
	},
	"transpose": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		p := n.Ints("permutation")
		back := make([]int, len(p))
		for i, a := range p {
			back[a] = i
		}
		return []*ir.Value{b.transpose(dy[0], back...)}
	},
	"concatenate": concatenate, "split": split, "slice": slice, "pad": pad, "gather": gather, "resize": resize,
}

// part slices [start, start+extent) of one axis.
func (b *builder) part(x *ir.Value, axis, start, extent int) *ir.Value {
	begin, limit := make([]int, len(x.Type.Shape)), x.Type.Shape.Clone()
	begin[axis], limit[axis] = start, start+extent
	return b.op("slice", ir.Attrs{"start": begin, "limit": limit}, x)
}

func concatenate(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	a, at := axis(n), 0
	out := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		e := v.Type.Shape[a]
		if b.wants(n, i) {
			out[i] = b.part(dy[0], a, at, e)
		}
		at += e
	}
	return out
}

func split(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	parts := make([]*ir.Value, len(dy))
	for i, d := range dy {
		if parts[i] = d; d == nil {
			t := n.Outputs[i].Type
			parts[i] = b.g.Const("zero", ir.NewTensor(t.DType, t.Shape...))
		}
	}
	return []*ir.Value{b.op("concatenate", ir.Attrs{"axis": axis(n)}, parts...)}
}

// slice puts dy back: by padding, or where there are steps by the places.
func slice(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	s := n.Inputs[0].Type.Shape
	d := dy[0]
	low, high := make([]int, len(s)), make([]int, len(s))
	for a := range s {
		start, _, stride, extent, err := ir.SliceAxis(n, a)
		if err != nil {
			panic(failure{err})
		}
		if stride == 1 {
			low[a], high[a] = start, s[a]-start-extent
			continue
		}
		at := make([]int, extent)
		for i := range at {
			at[i] = start + i*stride
		}
		d = b.scatter(d, a, at, s[a])
	}
	return []*ir.Value{b.padded(d, low, high)}
}

// padded adds zeros, or takes elements away where counts are negative.
func (b *builder) padded(x *ir.Value, low, high []int) *ir.Value {
	if !slices.ContainsFunc(append(slices.Clone(low), high...), func(v int) bool { return v != 0 }) {
		return x
	}
	return b.op("pad", ir.Attrs{"low": low, "high": high}, x)
}

// scatter adds slice i of an axis to place at[i] of one of the given extent.
func (b *builder) scatter(x *ir.Value, axis int, at []int, extent int) *ir.Value {
	s := x.Type.Shape.Clone()
	s[axis] = extent
	return b.op("gather_grad", ir.Attrs{"axis": axis, "shape": s}, x, b.ints(at))
}

func pad(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	s := n.Inputs[0].Type.Shape
	low, high, d := slices.Clone(n.Ints("low")), slices.Clone(n.Ints("high")), dy[0]
	mode := n.Str("mode")
	for a := range s {
		if mode != "constant" && (low[a] != 0 || high[a] != 0) {
			at := make([]int, d.Type.Shape[a])
			for i := range at {
				p := i - low[a]
				switch {
				case mode == "edge":
					p = min(max(p, 0), s[a]-1)
				case p < 0:
					p = -p
				case p >= s[a]:
					p = 2*(s[a]-1) - p
				}
				at[i] = p
			}
			d = b.scatter(d, a, at, s[a])
			low[a], high[a] = 0, 0
		}
		low[a], high[a] = -low[a], -high[a]
	}
	return []*ir.Value{b.padded(d, low, high)}
}

func gather(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	if !b.wants(n, 0) {
		return nil
	}
	return []*ir.Value{b.op("gather_grad", ir.Attrs{"axis": n.Int("axis"), "shape": n.Inputs[0].Type.Shape.Clone()}, dy[0], n.Inputs[1])}
}

// resize goes back axis by axis: nearest by the places that were read, linear
// and cubic by the transpose of the axis's interpolation matrix, which the op's
// own evaluation of unit vectors gives.
func resize(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
	x, size := n.Inputs[0].Type.Shape, n.Ints("size")
	d := dy[0]
	for a, out := range size {
		in := x[a+1]
		if n.Str("mode") == "nearest" {
			at := make([]int, out)
			for i := range at {
				at[i] = ir.NearestIndex(n, a, i, in, out)
			}
			d = b.scatter(d, a+1, at, in)
			continue
		}
		m := b.g.Const("resize", interpolation(n, a, in, out))
		s := d.Type.Shape.Clone()
		rows, rest := s[:a+1].Elems(), s[a+2:].Elems()
		s[a+1] = in
		d = b.reshape(b.matmul(m, b.reshape(d, ir.Shape{rows, out, rest}), true, false), s)
	}
	return []*ir.Value{d}
}

// interpolation is the matrix [out, in] of one axis: the resize of the unit
// vectors as the channels of a picture of one row.
func interpolation(n *ir.Node, axis, in, out int) *ir.Tensor {
	unit := ir.NewTensor(ir.F32, 1, in, in)
	for i := range in {
		unit.F32()[i*in+i] = 1
	}
	a := n.Attrs.Clone()
	a["size"] = []int{out}
	if f := n.Floats("scales"); len(f) > 0 {
		a["scales"] = []float64{f[axis]}
	}
	g := ir.NewGraph("axis")
	one, err := g.AddNamed("resize", "", a, g.Const("unit", unit))
	if err != nil {
		panic(failure{err})
	}
	m, err := one.Op.Eval(one, []*ir.Tensor{unit})
	if err != nil {
		panic(failure{err})
	}
	return m[0].Reshaped(out, in)
}
