package passes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// raiseResolution lets a network read larger pictures: the first convolution
// takes f² times the taps and f times the stride.
//
//	graph(%x: f32[N,32,32,3])                graph(%x: f32[N,64,64,3])
//	%y = convolution %x @w strides=[2,2]  →  %y = convolution %x @w strides=[4,4]
//
// @w repeats each tap f times along both axes, divided by f²: what the network
// gives is what it gave for the mean of each f×f pixels, and for a picture
// enlarged f times what it gave for the picture. factor=2 by default. Safe
// within rounding.
func raiseResolution(g *ir.Graph, a Args) (*Grown, error) {
	f, err := a.whole("factor", 2, 2)
	if err != nil {
		return nil, err
	}
	grown := &Grown{}
	uses := g.Uses()
	changed := map[int][2]int{} // input, its spatial axes
	for i, v := range g.Inputs {
		if len(v.Type.Shape) != 4 || !v.Type.DType.IsFloat() {
			continue
		}
		convs, why := stems(v, uses, [4]int{0, 1, 2, 3})
		if named := slices.ContainsFunc(convs, func(s stem) bool { return a.takes(s.n) }); !named && a["node"] != "" {
			continue
		}
		if why != "" {
			grown.Refused = append(grown.Refused, Refusal{v.Name, why})
			continue
		}
		if len(convs) == 0 {
			continue
		}
		for _, s := range convs {
			if err := raise(g, s.n, f); err != nil {
				return nil, err
			}
			grown.Places = append(grown.Places, s.n.Label())
		}
		h, w := convs[0].axes[1], convs[0].axes[2]
		v.Type.Shape = v.Type.Shape.Clone()
		v.Type.Shape[h] *= f
		v.Type.Shape[w] *= f
		changed[i] = [2]int{h, w}
	}
	if err := grown.named(a); err != nil || len(grown.Places) == 0 {
		return grown, err
	}
	grown.Adapt = func(in []*ir.Tensor) ([]*ir.Tensor, error) {
		out := slices.Clone(in)
		for i, hw := range changed {
			out[i] = meanOver(in[i], hw, f)
		}
		return out, nil
	}
	return grown, g.InferAll()
}

// stem is a convolution that reads an input, through transposes; axes are the
// input's axes in the convolution's order.
type stem struct {
	n    *ir.Node
	axes [4]int
}

// stems lists the convolutions that read v, or says what else does.
func stems(v *ir.Value, uses map[*ir.Value][]ir.Use, axes [4]int) ([]stem, string) {
	var out []stem
	for _, u := range uses[v] {
		switch {
		case u.Node == nil:
			return out, "the input is an output too"
		case u.Node.Op.Name == "transpose":
			var turned [4]int
			for i, p := range u.Node.Ints("permutation") {
				turned[i] = axes[p]
			}
			s, why := stems(u.Node.Out(), uses, turned)
			if why != "" {
				return out, why
			}
			out = append(out, s...)
		case u.Node.Op.Name == "convolution" && u.Index == 0 && u.Node.Inputs[1].IsConst():
			out = append(out, stem{u.Node, axes})
		default:
			return out, fmt.Sprintf("%s %q reads the input, not a convolution", u.Node.Op.Name, u.Node.Label())
		}
	}
	for _, s := range out {
		if s.axes[1] != out[0].axes[1] || s.axes[2] != out[0].axes[2] {
			return out, "convolutions read the input in different orders of axes"
		}
	}
	return out, ""
}

// raise gives a convolution f times the kernel, stride and padding.
func raise(g *ir.Graph, n *ir.Node, f int) error {
	win, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	w := n.Inputs[1].Const
	shape := w.Shape.Clone()
	for i := range 2 {
		shape[i] = (win.Kernel[i]-1)*win.Dilation[i] + 1
	}
	w = placed(w, shape, []int{0, 0}, win.Dilation)
	inner := shape[2:].Elems()
	t := ir.NewTensor(w.DType, append([]int{f * shape[0], f * shape[1]}, shape[2:]...)...)
	for y := range f * shape[0] {
		for x := range f * shape[1] {
			for j := range inner {
				t.Set((y*f*shape[1]+x)*inner+j, w.At((y/f*shape[1]+x/f)*inner+j)/float64(f*f))
			}
		}
	}
	n.Inputs[1] = g.Const(n.Inputs[1].Name+".raised", t)
	n.Attrs = maps.Clone(n.Attrs)
	delete(n.Attrs, "dilation")
	delete(n.Attrs, "winograd")
	n.SetAttr("strides", []int{f * win.Stride[0], f * win.Stride[1]})
	n.SetAttr("padding", []int{f * win.Before[0], f * win.Before[1], f * win.After[0], f * win.After[1]})
	return nil
}

// meanOver gives the means of f×f pixels.
func meanOver(t *ir.Tensor, hw [2]int, f int) *ir.Tensor {
	s := t.Shape.Clone()
	s[hw[0]] /= f
	s[hw[1]] /= f
	out := ir.NewTensor(t.DType, s...)
	sums := make([]float64, out.Len())
	at := make([]int, 4)
	for i := range t.Len() {
		rest := i
		for k := 3; k >= 0; k-- {
			at[k] = rest % t.Shape[k]
			rest /= t.Shape[k]
		}
		at[hw[0]] /= f
		at[hw[1]] /= f
		sums[((at[0]*s[1]+at[1])*s[2]+at[2])*s[3]+at[3]] += t.At(i)
	}
	for i, v := range sums {
		out.Set(i, v/float64(f*f))
	}
	return out
}
