package gomlx

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/ir"
)

var movements = map[string]lowering{
	"reshape":   fn(func(x *node, n *ir.Node) *node { return graph.Reshape(x, dims(n.Outputs[0].Type.Shape)...) }),
	"transpose": fn(func(x *node, n *ir.Node) *node { return graph.TransposeAllAxes(x, n.Ints("permutation")...) }),
	"broadcast": fn(func(x *node, n *ir.Node) *node { return stretch(x, n.Outputs[0].Type.Shape) }),
	"concatenate": one(func(l *lowerer, n *ir.Node) *node {
		var parts []*node
		for i := range n.Inputs {
			parts = append(parts, l.in(n, i))
		}
		if len(parts) == 1 {
			return parts[0]
		}
		return graph.Concatenate(parts, n.Int("axis"))
	}),
	"slice":  lowerSlice,
	"pad":    lowerPad,
	"gather": one(lowerGather),
	"split":  lowerSplit,
	"resize": lowerResize,
	"iota": one(func(l *lowerer, n *ir.Node) *node {
		t := n.Outputs[0].Type
		a := n.Int("axis")
		if a < 0 {
			a += len(t.Shape)
		}
		return graph.Iota(l.p.graph, shapes.Make(dtypeOf[t.DType], t.Shape...), a)
	}),
}

func lowerSlice(l *lowerer, n *ir.Node) ([]*node, error) {
	x := l.in(n, 0)
	axes := make([]graph.SliceAxisSpec, x.Rank())
	var turned []int
	for i := range axes {
		start, _, stride, extent, err := ir.SliceAxis(n, i)
		if err != nil {
			return nil, err
		}
		if stride < 0 {
			turned = append(turned, i)
			start, stride = x.Shape().Dimensions[i]-1-start, -stride
		}
		axes[i] = graph.AxisRange(start, start+(extent-1)*stride+1).Stride(stride)
	}
	if len(turned) > 0 {
		x = l.reverse(x, turned...)
	}
	return []*node{graph.Slice(x, axes...)}, nil
}

func lowerPad(l *lowerer, n *ir.Node) ([]*node, error) {
	x := l.in(n, 0)
	low, high := n.Ints("low"), n.Ints("high")
	if n.Str("mode") == "constant" {
		axes, cuts := make([]compute.PadAxis, x.Rank()), make([]graph.SliceAxisSpec, x.Rank())
		for i := range axes { // negative padding cuts
			axes[i] = compute.PadAxis{Start: max(low[i], 0), End: max(high[i], 0)}
			cuts[i] = graph.AxisRange(max(-low[i], 0), max(-low[i], 0)+n.Outputs[0].Type.Shape[i])
		}
		x = l.pad(x, n.Float("value"), axes)
		return []*node{graph.Slice(x, cuts...)}, nil
	}
	for a := range low {
		d := x.Shape().Dimensions[a]
		var idx []int
		for i := -low[a]; i < d+high[a]; i++ {
			p := min(max(i, 0), d-1)
			if n.Str("mode") == "reflect" && d > 1 {
				p = ((i % (2*d - 2)) + 2*d - 2) % (2*d - 2)
				if p >= d {
					p = 2*d - 2 - p
				}
			}
			idx = append(idx, p)
		}
		if low[a] != 0 || high[a] != 0 {
			x = take(x, a, idx)
		}
	}
	return []*node{x}, nil
}

// take gives x at constant positions along an axis.
func take(x *node, axis int, idx []int) *node {
	at := make([]int32, len(idx))
	for i, v := range idx {
		at[i] = int32(v)
	}
	return gather(x, graph.Const(x.Graph(), at), axis)
}

// gather gives x at indices along an axis: x[:axis] + indices + x[axis+1:].
func gather(x, idx *node, axis int) *node {
	perm := []int{axis}
	for a := range x.Rank() {
		if a != axis {
			perm = append(perm, a)
		}
	}
	if axis > 0 {
		x = graph.TransposeAllAxes(x, perm...)
	}
	k := idx.Rank()
	y := graph.Gather(x, graph.InsertAxes(idx, -1))
	if axis == 0 {
		return y
	}
	// indices + x[:axis] + x[axis+1:] becomes x[:axis] + indices + x[axis+1:].
	var back []int
	for a := range axis {
		back = append(back, k+a)
	}
	for a := range k {
		back = append(back, a)
	}
	for a := k + axis; a < y.Rank(); a++ {
		back = append(back, a)
	}
	return graph.TransposeAllAxes(y, back...)
}

func lowerGather(l *lowerer, n *ir.Node) *node {
	x, idx := l.in(n, 0), l.in(n, 1)
	a := axisOf(x, n)
	idx = graph.Where(graph.LessThan(idx, like(idx, 0)), shifted(idx, float64(x.Shape().Dimensions[a])), idx)
	return gather(x, idx, a)
}

func lowerSplit(l *lowerer, n *ir.Node) ([]*node, error) {
	x := l.in(n, 0)
	a := axisOf(x, n)
	var out []*node
	at := 0
	for _, s := range n.Ints("sizes") {
		out = append(out, graph.SliceAxis(x, a, graph.AxisRange(at, at+s)))
		at += s
	}
	return out, nil
}

func lowerResize(l *lowerer, n *ir.Node) ([]*node, error) {
	x := l.in(n, 0)
	size := n.Ints("size")
	for a := len(size) - 1; a >= 0; a-- {
		in := n.Inputs[0].Type.Shape[a+1]
		if n.Str("mode") == "nearest" {
			idx := make([]int, size[a])
			for i := range idx {
				idx[i] = ir.NearestIndex(n, a, i, in, size[a])
			}
			x = take(x, a+1, idx)
			continue
		}
		positions, weights := resizeTaps(n, a, in, size[a])
		var y *node
		for k, idx := range positions {
			s := make([]int, x.Rank())
			for i := range s {
				s[i] = 1
			}
			s[a+1] = size[a]
			w := graph.ConvertDType(graph.Reshape(graph.Const(x.Graph(), weights[k]), s...), x.DType())
			part := take(x, a+1, idx)
			part = graph.Mul(part, stretch(w, part.Shape().Dimensions))
			if y == nil {
				y = part
			} else {
				y = graph.Add(y, part)
			}
		}
		x = y
	}
	return []*node{x}, nil
}

// resizeTaps gives, for each tap of a linear or cubic resize, the source
// position and weight of every output.
func resizeTaps(n *ir.Node, axis, in, out int) (positions [][]int, weights [][]float32) {
	taps := 2
	if n.Str("mode") == "cubic" {
		taps = 4
	}
	for range taps {
		positions, weights = append(positions, make([]int, out)), append(weights, make([]float32, out))
	}
	for i := range out {
		p := ir.ResizePosition(n, axis, i, in, out)
		if taps == 2 {
			p = min(max(p, 0), float64(in-1))
		}
		lo := math.Floor(p)
		f := p - lo
		w := []float64{1 - f, f}
		first := int(lo)
		if taps == 4 { // Keys 1981
			a := n.Float("cubic_a")
			far := func(t float64) float64 { return ((a*t-5*a)*t+8*a)*t - 4*a }
			near := func(t float64) float64 { return ((a+2)*t-(a+3))*t*t + 1 }
			w = []float64{far(1 + f), near(f), near(1 - f), far(2 - f)}
			first--
		}
		for k := range taps {
			positions[k][i] = min(max(first+k, 0), in-1)
			weights[k][i] = float32(w[k])
		}
	}
	return positions, weights
}
