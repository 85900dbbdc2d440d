package gradient

import (
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var contractions = map[string]product{
	"convolution":             convolution,
	"convolution_transpose":   convolutionTranspose,
	"convolution_weight_grad": convolutionWeightGrad,
	"dot":                     dot,
	"dot_general":             dotGeneral,
	"attention":               attention,
}

// activated takes the activation attribute back: dy where it let values pass.
func (b *builder) activated(n *ir.Node, dy *ir.Value) *ir.Value {
	switch n.Str("activation") {
	case "relu":
		return b.clampGrad(n.Outputs[0], dy, 0, math.Inf(1))
	case "clamp":
		return b.clampGrad(n.Outputs[0], dy, n.Float("act_min"), n.Float("act_max"))
	}
	return dy
}

// biasGrad sums over all axes but the last.
func (b *builder) biasGrad(n *ir.Node, dy *ir.Value) *ir.Value {
	if !b.wants(n, 2) {
		return nil
	}
	return b.sum(dy, leading(len(dy.Type.Shape)), false)
}

// swapped exchanges a weight's last two axes.
func (b *builder) swapped(w *ir.Value) *ir.Value {
	p := leading(len(w.Type.Shape) + 1)
	r := len(p)
	p[r-2], p[r-1] = p[r-1], p[r-2]
	return b.transpose(w, p...)
}

// window are the attributes that a convolution hands to its gradients.
func window(n *ir.Node) ir.Attrs {
	a := ir.Attrs{}
	for _, k := range []string{"strides", "padding", "dilation"} {
		a[k] = slices.Clone(n.Ints(k))
	}
	a["groups"] = n.Int("groups")
	return a
}

func spatial(s ir.Shape) []int { return slices.Clone([]int(s[1 : len(s)-1])) }

// inputGrad is the gradient of a convolution's input of shape x: a transposed
// convolution of dy whose output_padding covers what the strides left over.
func (b *builder) inputGrad(n *ir.Node, win ir.Window, x ir.Shape, dy, w *ir.Value) *ir.Value {
	a := window(n)
	var extra []int
	for i, in := range spatial(x) {
		reached := (win.Out[i]-1)*win.Stride[i] + (win.Kernel[i]-1)*win.Dilation[i] + 1 - win.Before[i] - win.After[i]
		extra = append(extra, in-reached)
	}
	a["output_padding"] = extra
	return b.op("convolution_transpose", a, dy, b.swapped(w))
}

func convolution(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	dy := b.activated(n, dys[0])
	x, w := n.Inputs[0], n.Inputs[1]
	win, err := ir.WindowOf(n)
	if err != nil {
		panic(failure{err})
	}
	out := []*ir.Value{nil, nil, b.biasGrad(n, dy)}
	if b.wants(n, 0) {
		out[0] = b.inputGrad(n, win, x.Type.Shape, dy, w)
	}
	if b.wants(n, 1) {
		a := window(n)
		a["kernel"] = win.Kernel
		out[1] = b.op("convolution_weight_grad", a, x, dy)
	}
	return out
}

// convolutionTranspose: the transpose of the transpose is the convolution.
func convolutionTranspose(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	dy := dys[0]
	x, w := n.Inputs[0], n.Inputs[1]
	out := []*ir.Value{nil, nil, b.biasGrad(n, dy)}
	win, err := ir.TransposedWindowOf(n)
	if err != nil {
		panic(failure{err})
	}
	// What the output padding added at the ends is read by no tap of the
	// convolution where it is as long as a stride.
	cut := dy
	over := false
	keep := dy.Type.Shape.Clone()
	for i := range win.In {
		fits := (win.Out[i]+win.Before[i]+win.After[i]-(win.Kernel[i]-1)*win.Dilation[i]-1)/win.Stride[i] + 1
		if fits > win.In[i] {
			keep[i+1] -= (fits - win.In[i]) * win.Stride[i]
			over = true
		}
	}
	if over {
		cut = b.op("slice", ir.Attrs{"start": make([]int, len(keep)), "limit": keep}, dy)
	}
	if b.wants(n, 0) {
		out[0] = b.op("convolution", window(n), cut, b.swapped(w))
	}
	if b.wants(n, 1) {
		a := window(n)
		a["kernel"] = win.Kernel
		out[1] = b.swapped(b.op("convolution_weight_grad", a, cut, x))
	}
	return out
}

// convolutionWeightGrad is bilinear in x and dy, as the convolution is.
func convolutionWeightGrad(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	x, dy, dw := n.Inputs[0], n.Inputs[1], dys[0]
	win, err := ir.WindowOf(n)
	if err != nil {
		panic(failure{err})
	}
	out := make([]*ir.Value, 2)
	if b.wants(n, 0) {
		out[0] = b.inputGrad(n, win, x.Type.Shape, dy, dw)
	}
	if b.wants(n, 1) {
		out[1] = b.op("convolution", window(n), x, dw)
	}
	return out
}

func dot(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	dy := b.activated(n, dys[0])
	x, w := n.Inputs[0], n.Inputs[1]
	out := []*ir.Value{nil, nil, b.biasGrad(n, dy)}
	rows := func(v *ir.Value) *ir.Value {
		s := v.Type.Shape
		return b.reshape(v, ir.Shape{s[:len(s)-1].Elems(), s[len(s)-1]})
	}
	if b.wants(n, 0) {
		out[0] = b.reshape(b.op("dot_general", ir.Attrs{"transpose_b": true}, rows(dy), w), x.Type.Shape)
	}
	if b.wants(n, 1) {
		out[1] = b.op("dot_general", ir.Attrs{"transpose_a": true}, rows(x), rows(dy))
	}
	return out
}

func (b *builder) matmul(x, y *ir.Value, tx, ty bool) *ir.Value {
	return b.op("dot_general", ir.Attrs{"transpose_a": tx, "transpose_b": ty}, x, y)
}

func dotGeneral(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	x, y, dy := n.Inputs[0], n.Inputs[1], dys[0]
	ta, tb := n.Bool("transpose_a"), n.Bool("transpose_b")
	out := make([]*ir.Value, 2)
	if b.wants(n, 0) { // dy·yᵀ, or its transpose y·dyᵀ
		d := b.matmul(dy, y, false, !tb)
		if ta {
			d = b.matmul(y, dy, tb, true)
		}
		out[0] = b.unstretch(d, x.Type.Shape)
	}
	if b.wants(n, 1) {
		d := b.matmul(x, dy, !ta, false)
		if tb {
			d = b.matmul(dy, x, true, ta)
		}
		out[1] = b.unstretch(d, y.Type.Shape)
	}
	return out
}

// attention computes its weights again.
func attention(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	q, k, v, mask, dy := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.In(3), dys[0]
	s := b.scale(b.matmul(q, k, false, true), n.Float("scale"))
	if mask != nil {
		s = b.add(s, mask)
	}
	p := b.op("softmax", nil, s)
	out := make([]*ir.Value, 4)
	if b.wants(n, 2) {
		out[2] = b.matmul(p, dy, true, false)
	}
	if !b.wants(n, 0) && !b.wants(n, 1) && !b.wants(n, 3) {
		return out
	}
	ds := b.softmaxGrad(p, b.matmul(dy, v, false, true), len(p.Type.Shape)-1)
	if b.wants(n, 3) {
		out[3] = b.unstretch(ds, mask.Type.Shape)
	}
	ds = b.scale(ds, n.Float("scale"))
	if b.wants(n, 0) {
		out[0] = b.matmul(ds, k, false, false)
	}
	if b.wants(n, 1) {
		out[1] = b.matmul(ds, q, true, false)
	}
	return out
}
