package passes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// split cuts a layer into parallel ones.
//
//	%y = dot %x @w   →   %a = dot %x @w.0
//	                     %b = dot %x @w.1
//	                     %y = concatenate %a %b axis=1
//
// parts=2 of them by default, each making its part of the channels. Exact: the
// same sums. With along=in each reads its part of the input instead, and the
// results are added (within rounding).
func split(g *ir.Graph, a Args) (*Grown, error) {
	parts, err := a.whole("parts", 2, 2)
	if err != nil {
		return nil, err
	}
	along := a["along"]
	if along != "" && along != "in" && along != "out" {
		return nil, fmt.Errorf("along=%s: wanted in or out", along)
	}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			return false, "", nil
		}
		w, b := n.Inputs[1], n.In(2)
		if !w.IsConst() || b != nil && !b.IsConst() {
			return false, "its weights are computed", nil
		}
		groups := 1
		if n.Op.Name == "convolution" {
			groups = n.Int("groups")
		}
		if along == "in" {
			return e.splitIn(n, parts, groups)
		}
		return e.splitOut(n, parts, groups)
	})
}

// cuts gives the bounds of n things in parts, in multiples of each.
func cuts(n, parts, each int) []int {
	var at []int
	for i := range parts + 1 {
		at = append(at, n/each*i/parts*each)
	}
	return at
}

// sliced cuts a constant along an axis.
func (e *growing) sliced(v *ir.Value, axis, lo, hi int) *ir.Value {
	if v == nil {
		return nil
	}
	s := v.Type.Shape.Clone()
	s[axis] = hi - lo
	t := ir.NewTensor(v.Const.DType, s...)
	inner, extent := v.Type.Shape[axis+1:].Elems(), v.Type.Shape[axis]
	for i := range t.Len() {
		in, rest := i%inner, i/inner
		k, outer := rest%(hi-lo), rest/(hi-lo)
		t.Set(i, v.Const.At((outer*extent+lo+k)*inner+in))
	}
	return e.g.Const(v.Name+".part", t)
}

func (e *growing) splitOut(n *ir.Node, parts, groups int) (bool, string, error) {
	w := n.Inputs[1]
	r := len(w.Type.Shape)
	cout := w.Type.Shape[r-1]
	if groups > 1 && groups < parts || cout < parts {
		return false, fmt.Sprintf("%d channels in %d groups are fewer than %d parts", cout, groups, parts), nil
	}
	each := 1
	if groups > 1 {
		each = cout / groups
	}
	at := cuts(cout, parts, each)
	pieces := slices.Repeat([]*ir.Value{n.Inputs[0]}, parts)
	if groups > 1 { // every part reads its groups
		x := n.Inputs[0].Type.Shape
		per := x[len(x)-1] / groups
		var sizes []int
		for i := range parts {
			sizes = append(sizes, (at[i+1]-at[i])/each*per)
		}
		s, err := e.g.AddNamed("split", n.Inputs[0].Name, ir.Attrs{"axis": len(x) - 1, "sizes": sizes}, n.Inputs[0])
		if err != nil {
			return false, "", err
		}
		pieces = s.Outputs
	}
	return true, "", e.after(n.Out(), func(*ir.Value) (*ir.Value, error) {
		var outs []*ir.Value
		for i, x := range pieces {
			attrs := maps.Clone(n.Attrs)
			if groups > 1 {
				attrs["groups"] = (at[i+1] - at[i]) / each
			}
			v, err := e.add(n, n.Op.Name, attrs, x, e.sliced(w, r-1, at[i], at[i+1]), e.sliced(n.In(2), 0, at[i], at[i+1]))
			if err != nil {
				return nil, err
			}
			outs = append(outs, v)
		}
		return e.add(n, "concatenate", ir.Attrs{"axis": len(n.Out().Type.Shape) - 1}, outs...)
	})
}

func (e *growing) splitIn(n *ir.Node, parts, groups int) (bool, string, error) {
	x, w := n.Inputs[0], n.Inputs[1]
	last, over := len(x.Type.Shape)-1, len(w.Type.Shape)-2
	cin := x.Type.Shape[last]
	if groups > 1 {
		return false, "its channels are in groups", nil
	}
	if cin < parts {
		return false, fmt.Sprintf("%d channels are fewer than %d parts", cin, parts), nil
	}
	act := takeActivation(n)
	at := cuts(cin, parts, 1)
	var sizes []int
	for i := range parts {
		sizes = append(sizes, at[i+1]-at[i])
	}
	s, err := e.g.AddNamed("split", x.Name, ir.Attrs{"axis": last, "sizes": sizes}, x)
	if err != nil {
		return false, "", err
	}
	return true, "", e.after(n.Out(), func(*ir.Value) (*ir.Value, error) {
		var sum *ir.Value
		for i, piece := range s.Outputs {
			var b *ir.Value
			if i == 0 {
				b = n.In(2)
			}
			v, err := e.add(n, n.Op.Name, n.Attrs, piece, e.sliced(w, over, at[i], at[i+1]), b)
			if err == nil && sum != nil {
				v, err = e.add(n, "add", nil, sum, v)
			}
			if err != nil {
				return nil, err
			}
			sum = v
		}
		if act == nil {
			return sum, nil
		}
		return e.add(n, act.op, act.attrs, sum)
	})
}
