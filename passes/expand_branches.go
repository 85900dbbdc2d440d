package passes

import (
	"github.com/nasc-dev/nasc/ir"
)

// expandBranches is reparam's inverse: parallel layers that are added, of one.
//
//	%y = convolution %x @k padding=[1,1,1,1]   →   %a = convolution %x @rest padding=[1,1,1,1]
//	                                               %b = convolution %x @one
//	                                               %s = add %a %b
//	                                               %y = add %s %x
//
// @one holds half of the centre; the input itself is added where the shapes
// agree, and @rest is @k less both. dilation=2 takes half of every second tap
// into a dilated convolution instead of the centre. Safe within rounding.
func expandBranches(g *ir.Graph, a Args) (*Grown, error) {
	dilation, err := a.whole("dilation", 0, 2)
	if err != nil {
		return nil, err
	}
	return convSites(g, a, func(e *growing, n *ir.Node, win ir.Window) (bool, string, error) {
		r := len(win.In)
		w := n.Inputs[1].Const
		cout := w.Shape[r+1]
		kernel, at, pad, apart := make([]int, r), make([]int, r), make([]int, 2*r), make([]int, r)
		for i, k := range win.Kernel {
			if k%2 == 0 || k < 3 {
				return false, "its kernel has no centre and taps around it", nil
			}
			d, half := 1, 0
			if dilation > 0 {
				if d, half = dilation, k/2/dilation; half == 0 || win.Dilation[i] != 1 {
					return false, "its kernel is too small for this dilation, or dilated already", nil
				}
			}
			kernel[i], apart[i], at[i] = 2*half+1, d, k/2-half*d
			pad[i] = win.Before[i] - at[i]*win.Dilation[i]
			span := 2*half*d + 1
			pad[r+i] = max(0, (win.Out[i]-1)*win.Stride[i]+span-win.In[i]-pad[i])
			if pad[i] < 0 || (win.In[i]+pad[i]+pad[r+i]-span)/win.Stride[i]+1 != win.Out[i] {
				return false, "its padding leaves no room for a smaller kernel beside it", nil
			}
		}
		// The part: half of the taps at these places.
		part := ir.NewTensor(w.DType, append(append([]int{}, kernel...), w.Shape[r:]...)...)
		rest := w.Clone()
		index := ir.NewTensor(ir.I64, w.Shape...)
		for i := range index.Len() {
			index.I64()[i] = int64(i)
		}
		taps := part.Shape[:r].Elems()
		inner := w.Shape[r:].Elems()
		for t := range taps {
			from, rem, step := 0, t, 1
			for i := r - 1; i >= 0; i-- {
				from += (at[i] + rem%kernel[i]*apart[i]) * step
				rem /= kernel[i]
				step *= w.Shape[i]
			}
			for j := range inner {
				v := w.At(from*inner+j) / 2
				part.Set(t*inner+j, v)
				rest.Set(from*inner+j, v)
			}
		}
		x := n.Inputs[0]
		skip, err := e.pastIt(n)
		if err != nil {
			return false, "", err
		}
		if skip == x {
			one := ir.NewTensor(w.DType, w.Shape...)
			identityWeights(one, win.Kernel)
			for i := range rest.Len() {
				if v := one.At(i); v != 0 {
					rest.Set(i, rest.At(i)-v)
				}
			}
		}
		act := takeActivation(n)
		n.Inputs[1] = e.g.Const(n.Inputs[1].Name+".rest", rest)
		e.grown.Copied = append(e.grown.Copied, everyElement(n.Inputs[1]))
		_ = cout
		return true, "", e.after(n.Out(), func(v *ir.Value) (*ir.Value, error) {
			attrs := ir.Attrs{"strides": win.Stride, "padding": pad, "groups": win.Groups}
			if dilation > 0 {
				attrs["dilation"] = apart
			}
			b, err := e.add(n, "convolution", attrs, x, e.g.Const(n.Inputs[1].Name+".branch", part))
			if err == nil {
				v, err = e.add(n, "add", nil, v, b)
			}
			if err == nil && skip == x {
				v, err = e.add(n, "add", nil, v, x)
			}
			if err != nil || act == nil {
				return v, err
			}
			return e.add(n, act.op, act.attrs, v)
		})
	})
}
