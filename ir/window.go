package ir

import "fmt"

// windowAttrs are shared by convolutions and pools. An empty list stands for
// all ones (strides, dilation) or zeros (padding). padding lists the begins of
// all spatial axes, then the ends: [top,left,bottom,right].
var windowAttrs = []AttrSpec{
	{Name: "strides", Kind: Ints, Default: []int{}, Doc: "step along each spatial axis"},
	{Name: "padding", Kind: Ints, Default: []int{}, Doc: "begins of the spatial axes, then ends"},
	{Name: "dilation", Kind: Ints, Default: []int{}, Doc: "distance between taps along each spatial axis"},
}

// Window is the geometry of a convolution or pool over R spatial axes.
type Window struct {
	In, Out, Kernel, Stride, Dilation []int // R entries each
	Before, After                     []int // padding
	Groups                            int
}

// WindowOf reads the geometry of a convolution, pool or one of their quantized
// forms; the shapes of its operands must be known.
func WindowOf(n *Node) (Window, error) { return windowOn(n, n.Inputs[0].Type.Shape) }

// windowOn is WindowOf for an input of the given shape.
func windowOn(n *Node, x Shape) (Window, error) {
	r := len(x) - 2
	if r != 1 && r != 2 {
		return Window{}, fmt.Errorf("input is %v; wanted [N,W,C] or [N,H,W,C]", x)
	}
	w := Window{In: append([]int{}, x[1:1+r]...), Groups: 1}
	for _, d := range w.In {
		if d < 0 {
			return Window{}, fmt.Errorf("input is %v; spatial axes must not depend on the batch", x)
		}
	}
	if n.Op.Attr("kernel") != nil {
		w.Kernel = n.Ints("kernel")
		if len(w.Kernel) != r {
			return Window{}, fmt.Errorf("kernel %v for %d spatial axes", w.Kernel, r)
		}
	} else {
		ws := n.Inputs[1].Type.Shape
		if len(ws) != r+2 {
			return Window{}, fmt.Errorf("weight is %v; wanted rank %d", ws, r+2)
		}
		w.Kernel = append([]int{}, ws[:r]...)
	}
	if n.Op.Attr("groups") != nil {
		w.Groups = n.Int("groups")
		if w.Groups < 1 {
			return Window{}, fmt.Errorf("groups is %d; wanted 1 or more", w.Groups)
		}
	}
	var err error
	fill := func(name string, def, count, least int) []int {
		v := n.Ints(name)
		if len(v) == 0 {
			v = make([]int, count)
			for i := range v {
				v[i] = def
			}
		}
		if len(v) != count && err == nil {
			err = fmt.Errorf("%s %v: wanted %d entries", name, v, count)
		}
		for _, e := range v {
			if e < least && err == nil {
				err = fmt.Errorf("%s %v: wanted %d or more", name, v, least)
			}
		}
		return v
	}
	w.Stride = fill("strides", 1, r, 1)
	w.Dilation = []int{1, 1}[:r]
	if n.Op.Attr("dilation") != nil {
		w.Dilation = fill("dilation", 1, r, 1)
	}
	pad := fill("padding", 0, 2*r, 0)
	if err != nil {
		return Window{}, err
	}
	w.Before, w.After = pad[:r], pad[r:]
	for i, k := range w.Kernel {
		if k < 1 {
			return Window{}, fmt.Errorf("kernel %v: wanted 1 or more", w.Kernel)
		}
		span := (k-1)*w.Dilation[i] + 1
		out := w.In[i] + w.Before[i] + w.After[i] - span
		if out < 0 {
			return Window{}, fmt.Errorf("kernel spans %d on axis %d where the padded input has %d", span, i+1, w.In[i]+w.Before[i]+w.After[i])
		}
		w.Out = append(w.Out, out/w.Stride[i]+1)
	}
	return w, nil
}

// Taps is the number of kernel positions.
func (w Window) Taps() int {
	t := 1
	for _, k := range w.Kernel {
		t *= k
	}
	return t
}

// D2 gives the geometry as two spatial axes: a 1-D window becomes one row.
func (w Window) D2() Window {
	if len(w.In) == 2 {
		return w
	}
	one := func(v []int, first int) []int { return []int{first, v[0]} }
	return Window{
		In: one(w.In, 1), Out: one(w.Out, 1), Kernel: one(w.Kernel, 1), Stride: one(w.Stride, 1),
		Dilation: one(w.Dilation, 1), Before: one(w.Before, 0), After: one(w.After, 0), Groups: w.Groups,
	}
}

// outShape is [N, spatial out…, c].
func (w Window) outShape(n, c int) Shape {
	s := Shape{n}
	s = append(s, w.Out...)
	return append(s, c)
}
