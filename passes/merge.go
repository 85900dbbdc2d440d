package passes

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// merge makes one layer of parallel ones whose results are joined.
//
//	%a = dot %x @v
//	%b = dot %x @w
//	%y = concatenate %a %b axis=1   →   %y = dot %x @vw
//
// Exact: the same sums. The layers have one geometry and activation, and nobody
// else reads them. Those in groups are joined where each reads its own part of
// a split.
func merge(g *ir.Graph, a Args) (*Grown, error) {
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "concatenate" {
			return false, "", nil
		}
		r := len(n.Out().Type.Shape)
		at, _ := ir.NormAxis(n.Int("axis"), r)
		first := n.Inputs[0].Def
		if at != r-1 || len(n.Inputs) < 2 || first == nil || first.Op.Name != "convolution" && first.Op.Name != "dot" {
			return false, "", nil
		}
		groups := 0
		var ws, bs []*ir.Value
		for _, v := range n.Inputs {
			k := v.Def
			switch {
			case k == nil || k.Op != first.Op || !e.only(v):
				return false, "what it joins is not only layers of one kind that it alone reads", nil
			case !k.Inputs[1].IsConst() || k.In(2) != nil && !k.In(2).IsConst():
				return false, "weights are computed", nil
			case !sameGeometry(first, k):
				return false, "the layers differ in geometry or activation", nil
			}
			if k.Op.Name == "convolution" {
				groups += k.Int("groups")
			}
			ws, bs = append(ws, k.Inputs[1]), append(bs, k.In(2))
		}
		x, attrs := first.Inputs[0], first.Attrs.Clone()
		if !slices.ContainsFunc(n.Inputs, func(v *ir.Value) bool { return v.Def.Inputs[0] != x }) {
			if groups > len(n.Inputs) || first.Op.Name == "convolution" && first.Int("groups") > 1 {
				return false, "groups of one input each read it anew", nil
			}
		} else {
			s := x.Def
			if s == nil || s.Op.Name != "split" || first.Op.Name != "convolution" || len(s.Outputs) != len(n.Inputs) {
				return false, "the layers read different values", nil
			}
			for i, v := range n.Inputs {
				if v.Def.Inputs[0] != s.Outputs[i] || v.Def.Inputs[1].Type.Shape[len(ws[0].Type.Shape)-1]/v.Def.Int("groups") != ws[0].Type.Shape[len(ws[0].Type.Shape)-1]/first.Int("groups") {
					return false, "the layers do not read the parts of one split in order", nil
				}
			}
			last := len(x.Type.Shape) - 1
			if axis, _ := ir.NormAxis(s.Int("axis"), last+1); axis != last || !ws[0].Type.Shape[:len(ws[0].Type.Shape)-1].Equal(ws[len(ws)-1].Type.Shape[:len(ws[0].Type.Shape)-1]) {
				return false, "the parts are not channels", nil
			}
			x, attrs["groups"] = s.Inputs[0], groups
		}
		w := e.joined(ws, len(ws[0].Type.Shape)-1)
		var b *ir.Value
		if slices.ContainsFunc(bs, func(v *ir.Value) bool { return v != nil }) {
			for i, v := range bs {
				if v == nil {
					s := ws[i].Type.Shape
					bs[i] = e.g.Const("", ir.NewTensor(ws[i].Type.DType, s[len(s)-1]))
				}
			}
			b = e.joined(bs, 0)
		}
		return true, "", e.after(n.Out(), func(*ir.Value) (*ir.Value, error) { return e.add(first, first.Op.Name, attrs, x, w, b) })
	})
}

// sameGeometry compares layers but for groups and the extents of channels.
func sameGeometry(a, b *ir.Node) bool {
	for _, s := range a.Op.Attrs {
		if s.Name == "groups" {
			continue
		}
		if fmt.Sprint(attrOf(a, s)) != fmt.Sprint(attrOf(b, s)) {
			return false
		}
	}
	x, y := a.Inputs[1].Type.Shape, b.Inputs[1].Type.Shape
	return len(x) == len(y) && x[:len(x)-1].Equal(y[:len(y)-1]) && a.Inputs[1].Type.DType == b.Inputs[1].Type.DType
}

// attrOf is an attribute as set, or its default.
func attrOf(n *ir.Node, s ir.AttrSpec) any {
	if v, ok := n.Attrs[s.Name]; ok {
		return v
	}
	return s.Default
}

// joined concatenates constants along an axis.
func (e *growing) joined(vs []*ir.Value, axis int) *ir.Value {
	s := vs[0].Type.Shape.Clone()
	s[axis] = 0
	for _, v := range vs {
		s[axis] += v.Type.Shape[axis]
	}
	t := ir.NewTensor(vs[0].Type.DType, s...)
	inner, off := s[axis+1:].Elems(), 0
	for _, v := range vs {
		d := v.Type.Shape[axis]
		for i := range v.Const.Len() {
			in, rest := i%inner, i/inner
			t.Set((rest/d*s[axis]+off+rest%d)*inner+in, v.Const.At(i))
		}
		off += d
	}
	return e.g.Const(vs[0].Name+".joined", t)
}
