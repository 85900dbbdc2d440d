package gomlx

import (
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/nasc-dev/nasc/ir"
)

var reductions = map[string]lowering{
	"softmax":              fn(func(x *node, n *ir.Node) *node { return softmax(x, axisOf(x, n)) }),
	"log_softmax":          fn(logSoftmax),
	"layer_norm":           one(func(l *lowerer, n *ir.Node) *node { return l.layerNorm(n, true) }),
	"rms_norm":             one(func(l *lowerer, n *ir.Node) *node { return l.layerNorm(n, false) }),
	"batch_norm_inference": one(lowerBatchNorm),
	"batch_norm_training":  lowerBatchNormTraining,
	"group_norm":           one(func(l *lowerer, n *ir.Node) *node { return l.groupNorm(n, n.Int("groups")) }),
	"instance_norm": one(func(l *lowerer, n *ir.Node) *node {
		s := n.Inputs[0].Type.Shape
		return l.groupNorm(n, s[len(s)-1])
	}),
	"max_pool": lowerMaxPool, "average_pool": lowerAveragePool,
	"reduce_sum": reduced(graph.ReduceSum), "reduce_mean": reduced(graph.ReduceMean), "reduce_max": reduced(graph.ReduceMax),
	"reduce_min": reduced(graph.ReduceMin), "reduce_prod": reduced(graph.ReduceMultiply),
	"arg_max": one(lowerArgMax),
}

func axisOf(x *node, n *ir.Node) int {
	a := n.Int("axis")
	if a < 0 {
		a += x.Rank()
	}
	return a
}

// kept folds axes and stretches the result back over them.
func kept(f func(x *node, axes ...int) *node, x *node, axes ...int) *node {
	s := slices.Clone(x.Shape().Dimensions)
	for _, a := range axes {
		s[a] = 1
	}
	return graph.BroadcastToDims(graph.Reshape(f(x, axes...), s...), x.Shape().Dimensions...)
}

func softmax(x *node, axis int) *node {
	e := graph.Exp(graph.Sub(x, kept(graph.ReduceMax, x, axis)))
	return graph.Div(e, kept(graph.ReduceSum, e, axis))
}

func logSoftmax(x *node, n *ir.Node) *node {
	a := axisOf(x, n)
	d := graph.Sub(x, kept(graph.ReduceMax, x, a))
	return graph.Sub(d, graph.Log(kept(graph.ReduceSum, graph.Exp(d), a)))
}

// standard gives (x − mean)/√(var + epsilon) over axes, or x/√(mean x² + epsilon).
func standard(x *node, axes []int, epsilon float64, centre bool) *node {
	if centre {
		x = graph.Sub(x, kept(graph.ReduceMean, x, axes...))
	}
	v := kept(graph.ReduceMean, graph.Mul(x, x), axes...)
	return graph.Mul(x, rsqrt(shifted(v, epsilon)))
}

// affine multiplies by operand 1 and adds operand 2, where present.
func (l *lowerer) affine(n *ir.Node, y *node) *node {
	s := y.Shape().Dimensions
	if w := l.in(n, 1); w != nil {
		y = graph.Mul(y, stretch(w, s))
	}
	if b := l.in(n, 2); b != nil {
		y = graph.Add(y, stretch(b, s))
	}
	return y
}

func (l *lowerer) layerNorm(n *ir.Node, centre bool) *node {
	x := l.in(n, 0)
	var axes []int
	for a := axisOf(x, n); a < x.Rank(); a++ {
		axes = append(axes, a)
	}
	return l.affine(n, standard(x, axes, n.Float("epsilon"), centre))
}

func (l *lowerer) groupNorm(n *ir.Node, groups int) *node {
	x := l.in(n, 0)
	s := n.Inputs[0].Type.Shape
	c := s[len(s)-1]
	y := graph.Reshape(x, s[0], s[1:len(s)-1].Elems(), groups, c/groups)
	y = standard(y, []int{1, 3}, n.Float("epsilon"), true)
	return l.affine(n, graph.Reshape(y, dims(s)...))
}

func lowerBatchNorm(l *lowerer, n *ir.Node) *node {
	x, v := l.in(n, 0), l.in(n, 4)
	scale := graph.Mul(l.in(n, 1), rsqrt(shifted(v, n.Float("epsilon"))))
	y := graph.Mul(graph.Sub(x, channels(l.in(n, 3), x)), channels(scale, x))
	return graph.Add(y, channels(l.in(n, 2), x))
}

func lowerBatchNormTraining(l *lowerer, n *ir.Node) ([]*node, error) {
	x := l.in(n, 0)
	var rows []int
	for a := range x.Rank() - 1 {
		rows = append(rows, a)
	}
	mean := graph.ReduceMean(x, rows...)
	d := graph.Sub(x, channels(mean, x))
	variance := graph.ReduceMean(graph.Mul(d, d), rows...)
	y := graph.Mul(d, channels(graph.Mul(l.in(n, 1), rsqrt(shifted(variance, n.Float("epsilon")))), x))
	return []*node{graph.Add(y, channels(l.in(n, 2), x)), mean, variance}, nil
}

func reduced(f func(x *node, axes ...int) *node) lowering {
	return func(l *lowerer, n *ir.Node) ([]*node, error) {
		axes, err := ir.ReduceAxes(n)
		if err != nil {
			return nil, err
		}
		x := l.in(n, 0)
		if len(axes) > 0 { // gomlx takes no axes for all of them
			x = f(x, axes...)
		}
		return []*node{graph.Reshape(x, dims(n.Outputs[0].Type.Shape)...)}, nil
	}
}

func lowerArgMax(l *lowerer, n *ir.Node) *node {
	x, t := l.in(n, 0), n.Outputs[0].Type
	return graph.Reshape(graph.ConvertDType(graph.ArgMax(graph.StopGradient(x), axisOf(x, n)), dtypeOf[t.DType]), dims(t.Shape)...)
}

// padSpatial surrounds the spatial axes with a number, as a window asks.
func (l *lowerer) padSpatial(x *node, win ir.Window, v float64) *node {
	axes, any := make([]compute.PadAxis, x.Rank()), false
	for i := range win.In {
		axes[i+1] = compute.PadAxis{Start: win.Before[i], End: win.After[i]}
		any = any || win.Before[i] > 0 || win.After[i] > 0
	}
	if !any {
		return x
	}
	return l.pad(x, v, axes)
}

// pooled folds the windows of x, padded with init.
func (l *lowerer) pooled(x *node, win ir.Window, init float64, kind compute.ReduceOpType, fold func(a, b *node) *node) *node {
	if l.slices || l.diff {
		var acc *node
		taps(l.padSpatial(x, win, init), win, func(_ int, part *node) {
			if acc == nil {
				acc = part
			} else {
				acc = fold(acc, part)
			}
		})
		return acc
	}
	wrap := func(v []int) []int { return append(append([]int{1}, v...), 1) }
	pads := make([][2]int, x.Rank())
	for i := range win.In {
		pads[i+1] = [2]int{win.Before[i], win.After[i]}
	}
	return graph.BackendReduceWindow(x, kind, wrap(win.Kernel), wrap(win.Stride), nil, wrap(win.Dilation), pads)
}

func lowerMaxPool(l *lowerer, n *ir.Node) ([]*node, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	x := l.in(n, 0)
	least := math.Inf(-1)
	if d := n.Inputs[0].Type.DType; !d.IsFloat() {
		lo, _ := d.Range()
		least = float64(lo)
	}
	return []*node{l.pooled(x, win, least, compute.ReduceOpMax, graph.Max)}, nil
}

func lowerAveragePool(l *lowerer, n *ir.Node) ([]*node, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	y := l.pooled(l.in(n, 0), win, 0, compute.ReduceOpSum, graph.Add)
	inv := make([]float32, ir.Shape(win.Out).Elems())
	for i := range inv {
		inv[i] = float32(1 / float64(countAt(win, i, n.Bool("count_include_pad"))))
	}
	s := append(append([]int{1}, win.Out...), 1)
	f := graph.ConvertDType(graph.Reshape(graph.Const(y.Graph(), inv), s...), y.DType())
	return []*node{graph.Mul(y, stretch(f, y.Shape().Dimensions))}, nil
}

// countAt is the number of input elements in the window of output position i.
func countAt(win ir.Window, i int, includePad bool) int {
	c := 1
	for a := len(win.Out) - 1; a >= 0; a-- {
		lo, hi := 0, win.In[a]
		if includePad {
			lo, hi = -win.Before[a], win.In[a]+win.After[a]
		}
		inside := 0
		for k := range win.Kernel[a] {
			if p := i%win.Out[a]*win.Stride[a] - win.Before[a] + k*win.Dilation[a]; p >= lo && p < hi {
				inside++
			}
		}
		i /= win.Out[a]
		c *= inside
	}
	return max(c, 1)
}
