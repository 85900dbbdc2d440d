package gomlx

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/ir"
)

var contractions = map[string]lowering{
	"convolution":           lowerConv,
	"convolution_transpose": lowerConvTranspose,
	"dot":                   one(lowerDot),
	"dot_general":           lowerDotGeneral,
	"attention":             one(lowerAttention),
}

// finished adds the bias and applies the activation attribute.
func (l *lowerer) finished(n *ir.Node, y *node) *node {
	if b := l.in(n, 2); b != nil {
		y = graph.Add(y, channels(b, y))
	}
	if n.Op.Attr("activation") == nil {
		return y
	}
	switch n.Str("activation") {
	case "relu":
		y = graph.Max(y, like(y, 0))
	case "clamp":
		y = clamp(y, n.Float("act_min"), n.Float("act_max"))
	}
	return y
}

func lowerConv(l *lowerer, n *ir.Node) ([]*node, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	x, k := l.in(n, 0), l.in(n, 1)
	return []*node{l.finished(n, l.conv(x, k, win))}, nil
}

// conv is a convolution of NHWC with HWIO.
func (l *lowerer) conv(x, k *node, win ir.Window) *node {
	ks := k.Shape().Dimensions
	r := len(win.In)
	if win.Groups > 1 && ks[r] == 1 && ks[r+1] == win.Groups {
		return depthwise(l.padSpatial(x, win, 0), k, win)
	}
	if l.slices || l.diff && !plainWindow(win) {
		return l.convBySlices(l.padSpatial(x, win, 0), k, win)
	}
	axes := compute.ConvolveAxesConfig{InputBatch: 0, InputChannels: r + 1, KernelInputChannels: r, KernelOutputChannels: r + 1, OutputBatch: 0, OutputChannels: r + 1}
	pads := make([][2]int, r)
	for i := range r {
		axes.InputSpatial = append(axes.InputSpatial, i+1)
		axes.KernelSpatial = append(axes.KernelSpatial, i)
		axes.OutputSpatial = append(axes.OutputSpatial, i+1)
		pads[i] = [2]int{win.Before[i], win.After[i]}
	}
	return graph.ConvGeneral(x, k, axes, win.Stride, pads, nil, win.Dilation, win.Groups, 1)
}

// taps calls f with the input positions of each tap of a window over a padded
// tensor: the slice of x that the tap multiplies, and the tap's index.
func taps(x *node, win ir.Window, f func(i int, part *node)) {
	r := len(win.In)
	for i := range win.Taps() {
		axes := make([]graph.SliceAxisSpec, r+2)
		axes[0], axes[r+1] = graph.AxisRange(), graph.AxisRange()
		q := i
		for a := r - 1; a >= 0; a-- {
			at := q % win.Kernel[a] * win.Dilation[a]
			q /= win.Kernel[a]
			axes[a+1] = graph.AxisRange(at, at+(win.Out[a]-1)*win.Stride[a]+1).Stride(win.Stride[a])
		}
		f(i, graph.Slice(x, axes...))
	}
}

// depthwise is a sum of shifted products: XLA fuses them, and its grouped
// convolution is far slower.
func depthwise(x, k *node, win ir.Window) *node {
	c := win.Groups
	rows := graph.Reshape(k, win.Taps(), c)
	var acc *node
	taps(x, win, func(i int, part *node) {
		p := graph.Mul(part, channels(graph.Reshape(graph.Slice(rows, graph.AxisElem(i), graph.AxisRange()), c), part))
		if acc == nil {
			acc = p
		} else {
			acc = graph.Add(acc, p)
		}
	})
	return acc
}

// convBySlices is the product of gathered windows with the weights: gomlx's Go
// backend multiplies matrices a hundred times faster than it convolves.
func (l *lowerer) convBySlices(x, k *node, win ir.Window) *node {
	var parts []*node
	taps(x, win, func(_ int, part *node) { parts = append(parts, part) })
	ks, r := k.Shape().Dimensions, len(win.In)
	cin, cout := ks[r], ks[r+1]/win.Groups
	out := append(slices.Clone(parts[0].Shape().Dimensions[:r+1]), ks[r+1])
	rows := ir.Shape(out[:r+1]).Elems()
	k = graph.Reshape(k, win.Taps()*cin, ks[r+1])
	var groups []*node
	for g := range win.Groups {
		mine := parts
		if win.Groups > 1 {
			mine = nil
			for _, p := range parts {
				mine = append(mine, graph.SliceAxis(p, r+1, graph.AxisRange(g*cin, (g+1)*cin)))
			}
		}
		cols := mine[0]
		if len(mine) > 1 {
			cols = graph.Concatenate(mine, -1)
		}
		w := k
		if win.Groups > 1 {
			w = graph.SliceAxis(k, 1, graph.AxisRange(g*cout, (g+1)*cout))
		}
		groups = append(groups, graph.DotProduct(graph.Reshape(cols, rows, win.Taps()*cin), w))
	}
	y := groups[0]
	if len(groups) > 1 {
		y = graph.Concatenate(groups, -1)
	}
	return graph.Reshape(y, out...)
}

// lowerConvTranspose convolves the input, spread out by the strides, with the
// kernel turned around.
func lowerConvTranspose(l *lowerer, n *ir.Node) ([]*node, error) {
	win, err := ir.TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	x, k := l.in(n, 0), l.in(n, 1)
	r := len(win.In)
	pads := make([]compute.PadAxis, r+2)
	cuts := make([]graph.SliceAxisSpec, r+2)
	for i := range cuts {
		cuts[i] = graph.AxisRange()
	}
	var spatial []int
	for i := range r {
		spatial = append(spatial, i)
		span := (win.Kernel[i] - 1) * win.Dilation[i]
		low := span - win.Before[i]
		extent := win.Out[i] + span
		spread := (win.In[i]-1)*win.Stride[i] + 1
		pads[i+1] = compute.PadAxis{Start: max(low, 0), End: max(extent-low-spread, 0), Interior: win.Stride[i] - 1}
		cuts[i+1] = graph.AxisRange(max(-low, 0), max(-low, 0)+extent)
	}
	x = graph.Slice(l.pad(x, 0, pads), cuts...)
	k = l.reverse(k, spatial...)
	if g := win.Groups; g > 1 { // [k…,Cin,Cout/g] becomes [k…,Cin/g,Cout]
		ks := k.Shape().Dimensions
		cin, cg := ks[r], ks[r+1]
		head := slices.Clone(ks[:r])
		k = graph.Reshape(k, append(slices.Clone(head), g, cin/g, cg)...)
		k = graph.Transpose(k, r, r+1)
		k = graph.Reshape(k, append(slices.Clone(head), cin/g, g*cg)...)
	}
	w := ir.Window{Kernel: win.Kernel, Out: win.Out, Dilation: win.Dilation, Groups: win.Groups}
	for i := range r {
		w.In = append(w.In, x.Shape().Dimensions[i+1])
		w.Stride = append(w.Stride, 1)
		w.Before, w.After = append(w.Before, 0), append(w.After, 0)
	}
	return []*node{l.finished(n, l.conv(x, k, w))}, nil
}

func lowerDot(l *lowerer, n *ir.Node) *node {
	x, k := l.in(n, 0), l.in(n, 1)
	ks := k.Shape().Dimensions
	y := graph.DotProduct(graph.Reshape(x, n.Inputs[0].Type.Shape.Elems()/ks[0], ks[0]), k)
	return l.finished(n, graph.Reshape(y, dims(n.Outputs[0].Type.Shape)...))
}

func lowerDotGeneral(l *lowerer, n *ir.Node) ([]*node, error) {
	lead, _, _, _, err := ir.MatMulDims(n)
	if err != nil {
		return nil, err
	}
	full := func(x *node) *node {
		d := x.Shape().Dimensions
		return stretch(x, append(lead.Clone(), d[len(d)-2:]...))
	}
	ca, cb := len(lead)+1, len(lead)
	if n.Bool("transpose_a") {
		ca = len(lead)
	}
	if n.Bool("transpose_b") {
		cb = len(lead) + 1
	}
	return []*node{matmul(full(l.in(n, 0)), full(l.in(n, 1)), ca, cb)}, nil
}

// matmul contracts axis ca of a with cb of b; all leading axes are batches.
func matmul(a, b *node, ca, cb int) *node {
	var batch []int
	for i := range a.Rank() - 2 {
		batch = append(batch, i)
	}
	return graph.DotGeneral(a, []int{ca}, batch, b, []int{cb}, batch)
}

func lowerAttention(l *lowerer, n *ir.Node) *node {
	q, k, v := l.in(n, 0), l.in(n, 1), l.in(n, 2)
	r := q.Rank()
	y := scaled(matmul(q, k, r-1, r-1), n.Float("scale"))
	if m := l.in(n, 3); m != nil {
		y = graph.Add(y, stretch(m, y.Shape().Dimensions))
	}
	return matmul(softmax(y, r-1), v, r-1, r-2)
}
