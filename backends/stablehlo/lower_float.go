package stablehlo

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var floatOps = map[string]lowering{
	"convolution":           lowerConv,
	"convolution_transpose": lowerConvTranspose,
	"dot":                   one(lowerDot),
	"dot_general":           lowerDotGeneral,
	"attention":             one(lowerAttention),

	"add": binary("add"), "subtract": binary("subtract"), "multiply": binary("multiply"), "divide": binary("divide"),
	"maximum": binary("maximum"), "minimum": binary("minimum"), "power": binary("power"), "remainder": binary("remainder"),
	"and": binary("and"), "or": binary("or"), "xor": binary("xor"),
	"compare": one(lowerCompare), "select": one(lowerSelect),

	"negate": unary("negate"), "abs": unary("abs"), "sign": unary("sign"), "exponential": unary("exponential"), "log": unary("log"),
	"sqrt": unary("sqrt"), "rsqrt": unary("rsqrt"), "sine": unary("sine"), "cosine": unary("cosine"), "tanh": unary("tanh"),
	"logistic": unary("logistic"), "floor": unary("floor"), "ceil": unary("ceil"), "round_nearest_even": unary("round_nearest_even"), "not": unary("not"),
	"erf":        one(func(w *writer, n *ir.Node) val { return w.erf(w.in(n, 0)) }),
	"reciprocal": one(func(w *writer, n *ir.Node) val { x := w.in(n, 0); return w.same("divide", w.like(x, 1), x) }),
	"relu":       one(func(w *writer, n *ir.Node) val { x := w.in(n, 0); return w.same("maximum", x, w.like(x, 0)) }),
	"clamp": one(func(w *writer, n *ir.Node) val {
		return w.clamp(w.in(n, 0), n.Float("min"), n.Float("max"))
	}),
	"leaky_relu": one(func(w *writer, n *ir.Node) val {
		x := w.in(n, 0)
		return w.where(w.geZero(x), x, w.same("multiply", x, w.like(x, n.Float("alpha"))))
	}),
	"prelu": one(func(w *writer, n *ir.Node) val {
		x := w.in(n, 0)
		return w.where(w.geZero(x), x, w.same("multiply", x, w.stretch(w.in(n, 1), x.s)))
	}),
	"hard_sigmoid": one(func(w *writer, n *ir.Node) val {
		x := w.in(n, 0)
		return w.clamp(w.same("add", w.same("multiply", x, w.like(x, n.Float("alpha"))), w.like(x, n.Float("beta"))), 0, 1)
	}),
	"hard_swish": one(func(w *writer, n *ir.Node) val {
		x := w.in(n, 0)
		return w.same("multiply", x, w.clamp(w.same("add", w.same("multiply", x, w.like(x, 1.0/6)), w.like(x, 0.5)), 0, 1))
	}),
	"silu": one(func(w *writer, n *ir.Node) val { x := w.in(n, 0); return w.same("multiply", x, w.same("logistic", x)) }),
	"gelu": one(lowerGelu),
	"elu":  one(func(w *writer, n *ir.Node) val { return w.elu(w.in(n, 0), n.Float("alpha")) }),
	"selu": one(func(w *writer, n *ir.Node) val {
		e := w.elu(w.in(n, 0), n.Float("alpha"))
		return w.same("multiply", e, w.like(e, n.Float("scale")))
	}),
	"softplus": one(func(w *writer, n *ir.Node) val { return w.softplus(w.in(n, 0)) }),
	"mish": one(func(w *writer, n *ir.Node) val {
		x := w.in(n, 0)
		return w.same("multiply", x, w.same("tanh", w.softplus(x)))
	}),
	"is_nan":  one(func(w *writer, n *ir.Node) val { x := w.in(n, 0); return w.compare("NE", x, x) }),
	"convert": one(func(w *writer, n *ir.Node) val { return w.convert(w.in(n, 0), n.Outputs[0].Type.DType) }),

	"softmax":              one(func(w *writer, n *ir.Node) val { return w.softmax(w.in(n, 0), n.Int("axis")) }),
	"log_softmax":          one(lowerLogSoftmax),
	"layer_norm":           one(func(w *writer, n *ir.Node) val { return lowerLayerNorm(w, n, true) }),
	"rms_norm":             one(func(w *writer, n *ir.Node) val { return lowerLayerNorm(w, n, false) }),
	"batch_norm_inference": one(lowerBatchNorm),
	"instance_norm":        one(func(w *writer, n *ir.Node) val { return lowerGroupNorm(w, n, w.in(n, 0).s[len(w.in(n, 0).s)-1]) }),
	"group_norm":           one(func(w *writer, n *ir.Node) val { return lowerGroupNorm(w, n, n.Int("groups")) }),

	"max_pool": lowerMaxPool, "average_pool": lowerAveragePool,
	"reduce_sum": reduced("add", 0), "reduce_mean": reduced("add", 0), "reduce_prod": reduced("multiply", 1),
	"reduce_max": reduced("maximum", math.Inf(-1)), "reduce_min": reduced("minimum", math.Inf(1)),
}

func binary(name string) lowering {
	return one(func(w *writer, n *ir.Node) val {
		s := n.Outputs[0].Type.Shape
		a, b := w.stretch(w.in(n, 0), s), w.stretch(w.in(n, 1), s)
		return w.same(name, a, b)
	})
}

func unary(name string) lowering {
	return one(func(w *writer, n *ir.Node) val { return w.same(name, w.in(n, 0)) })
}

// like fills a's shape with one number.
func (w *writer) like(a val, v float64) val { return w.fill(a.d, v, a.s) }

func (w *writer) compare(dir string, a, b val) val {
	return w.op("stablehlo.compare", ir.Bool, a.s, "comparison_direction = #stablehlo<comparison_direction "+dir+">", "", a, b)
}

func (w *writer) geZero(x val) val { return w.compare("GE", x, w.like(x, 0)) }

func (w *writer) where(p, a, b val) val { return w.op("stablehlo.select", a.d, a.s, "", "", p, a, b) }

func (w *writer) clamp(x val, lo, hi float64) val {
	return w.op("stablehlo.clamp", x.d, x.s, "", "", w.like(x, lo), x, w.like(x, hi))
}

// erf is not in StableHLO itself; its dialect for clients (CHLO) has it, and
// XLA takes both.
func (w *writer) erf(x val) val { return w.op("chlo.erf", x.d, x.s, "", "", x) }

func (w *writer) elu(x val, alpha float64) val {
	e := w.same("multiply", w.same("exponential_minus_one", x), w.like(x, alpha))
	return w.where(w.geZero(x), x, e)
}

// softplus is max(x,0) + log1p(e^−|x|).
func (w *writer) softplus(x val) val {
	t := w.same("log_plus_one", w.same("exponential", w.same("negate", w.same("abs", x))))
	return w.same("add", w.same("maximum", x, w.like(x, 0)), t)
}

func lowerGelu(w *writer, n *ir.Node) val {
	x := w.in(n, 0)
	half := w.same("multiply", x, w.like(x, 0.5))
	var t val
	if n.Str("approximate") == "tanh" {
		x3 := w.same("multiply", w.same("multiply", x, x), x)
		inner := w.same("add", x, w.same("multiply", x3, w.like(x, 0.044715)))
		t = w.same("tanh", w.same("multiply", inner, w.like(x, math.Sqrt(2/math.Pi))))
	} else {
		t = w.erf(w.same("multiply", x, w.like(x, math.Sqrt(0.5))))
	}
	return w.same("multiply", half, w.same("add", t, w.like(x, 1)))
}

func lowerCompare(w *writer, n *ir.Node) val {
	s := n.Outputs[0].Type.Shape
	return w.compare(n.Str("direction"), w.stretch(w.in(n, 0), s), w.stretch(w.in(n, 1), s))
}

func lowerSelect(w *writer, n *ir.Node) val {
	s := n.Outputs[0].Type.Shape
	return w.where(w.stretch(w.in(n, 0), s), w.stretch(w.in(n, 1), s), w.stretch(w.in(n, 2), s))
}

// activated adds bias and applies the activation attribute.
func (w *writer) activated(n *ir.Node, y val) val {
	if n.In(2) != nil {
		y = w.same("add", y, w.channels(w.in(n, 2), y.s))
	}
	if n.Op.Attr("activation") == nil {
		return y
	}
	switch n.Str("activation") {
	case "relu":
		return w.same("maximum", y, w.like(y, 0))
	case "clamp":
		return w.clamp(y, n.Float("act_min"), n.Float("act_max"))
	}
	return y
}

func lowerConv(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	t := n.Outputs[0].Type
	x, k := w.in(n, 0), w.in(n, 1)
	if depthwise(win, k) {
		y := w.shifted(w.padSpatial(x, win, 0), k, win, t.DType, t.Shape)
		return []val{w.activated(n, y)}, nil
	}
	y := w.conv(x, k, t.DType, win, t.Shape, ones(len(win.In)), win.Before, win.After)
	return []val{w.activated(n, y)}, nil
}

// depthwise says whether each channel has its own filter and gives one result.
func depthwise(win ir.Window, k val) bool {
	return win.Groups > 1 && k.s[len(k.s)-2] == 1 && k.s[len(k.s)-1] == win.Groups
}

// padSpatial pads a tensor as its window asks.
func (w *writer) padSpatial(x val, win ir.Window, v float64) val {
	low, high := make([]int, len(x.s)), make([]int, len(x.s))
	copy(low[1:], win.Before)
	copy(high[1:], win.After)
	return w.pad(x, low, high, w.scalar(x.d, v))
}

// shifted writes a depthwise convolution of a padded tensor as a sum of
// shifted products, which XLA fuses; its grouped convolution is far slower.
func (w *writer) shifted(x, k val, win ir.Window, d ir.DType, out ir.Shape) val {
	r := len(win.In)
	c := out[len(out)-1]
	x, k = w.convert(x, d), w.convert(k, d)
	var acc val
	for tap := range win.Taps() {
		pos := []int{tap / win.Kernel[r-1], tap % win.Kernel[r-1]}[2-r:]
		start, limit, stride := make([]int, r+2), slices.Clone(x.s), ones(r+2)
		for i := range r {
			start[i+1] = pos[i] * win.Dilation[i]
			limit[i+1] = start[i+1] + (out[i+1]-1)*win.Stride[i] + 1
			stride[i+1] = win.Stride[i]
		}
		kStart, kLimit := make([]int, r+2), slices.Clone(k.s)
		for i := range r {
			kStart[i], kLimit[i] = pos[i], pos[i]+1
		}
		row := w.reshape(w.slice(k, kStart, kLimit, ones(r+2)), ir.Shape{c})
		p := w.same("multiply", w.slice(x, start, limit, stride), w.channels(row, out))
		if tap == 0 {
			acc = p
		} else {
			acc = w.same("add", acc, p)
		}
	}
	return acc
}

// lowerConvTranspose writes a convolution over the input dilated by the
// strides with the kernel turned around.
func lowerConvTranspose(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	t := n.Outputs[0].Type
	return []val{w.activated(n, w.convTranspose(w.in(n, 0), w.in(n, 1), t.DType, win, t.Shape))}, nil
}

func (w *writer) convTranspose(x, k val, d ir.DType, win ir.Window, out ir.Shape) val {
	r := len(win.In)
	spatial := make([]int, r)
	low, high := make([]int, r), make([]int, r)
	for i := range r {
		spatial[i] = i
		span := (win.Kernel[i] - 1) * win.Dilation[i]
		low[i] = span - win.Before[i]
		high[i] = win.Out[i] + span - low[i] - ((win.In[i]-1)*win.Stride[i] + 1)
	}
	k = w.op("stablehlo.reverse", k.d, k.s, "dimensions = "+i64s(spatial), "", k)
	if g := win.Groups; g > 1 { // [k…,Cin,Cout/g] becomes [k…,Cin/g,Cout]
		cin, cg := k.s[r], k.s[r+1]
		s := append(ir.Shape(win.Kernel).Clone(), g, cin/g, cg)
		perm := append(slices.Clone(spatial), r+1, r, r+2)
		k = w.reshape(w.transpose(w.reshape(k, s), perm), append(ir.Shape(win.Kernel).Clone(), cin/g, g*cg))
	}
	dilated := win.Stride
	win.Stride = ones(r)
	return w.conv(x, k, d, win, out, dilated, low, high)
}

func lowerDot(w *writer, n *ir.Node) val {
	x, k, t := w.in(n, 0), w.in(n, 1), n.Outputs[0].Type
	return w.activated(n, w.reshape(w.matmul(w.rows(x), k, t.DType, 1, 0, ir.Shape{x.s.Elems() / k.s[0], k.s[1]}), t.Shape))
}

// rows flattens all axes but the last.
func (w *writer) rows(x val) val {
	k := x.s[len(x.s)-1]
	return w.reshape(x, ir.Shape{x.s.Elems() / max(1, k), k})
}

func lowerDotGeneral(w *writer, n *ir.Node) ([]val, error) {
	return w.batched(n, w.in(n, 0), w.in(n, 1), n.Outputs[0].Type.DType)
}

// batched writes a matrix product whose leading axes broadcast.
func (w *writer) batched(n *ir.Node, a, b val, d ir.DType) ([]val, error) {
	lead, _, _, _, err := ir.MatMulDims(n)
	if err != nil {
		return nil, err
	}
	full := func(v val) val {
		return w.stretch(v, append(lead.Clone(), v.s[len(v.s)-2:]...))
	}
	ca, cb := len(lead)+1, len(lead)
	if n.Bool("transpose_a") {
		ca = len(lead)
	}
	if n.Bool("transpose_b") {
		cb = len(lead) + 1
	}
	return []val{w.matmul(full(a), full(b), d, ca, cb, n.Outputs[0].Type.Shape)}, nil
}

func lowerAttention(w *writer, n *ir.Node) val {
	q, k, v := w.in(n, 0), w.in(n, 1), w.in(n, 2)
	r := len(q.s)
	s := append(q.s[:r-1].Clone(), k.s[r-2])
	y := w.matmul(q, k, q.d, r-1, r-1, s)
	y = w.same("multiply", y, w.like(y, n.Float("scale")))
	if n.In(3) != nil {
		y = w.same("add", y, w.stretch(w.in(n, 3), s))
	}
	return w.matmul(w.softmax(y, -1), v, q.d, r-1, r-2, n.Outputs[0].Type.Shape)
}

// kept folds axes and stretches the result back over them.
func (w *writer) kept(x val, op string, init float64, axes []int) val {
	y := w.reduce(x, op, init, axes)
	var dims []int
	for i := range x.s {
		if !slices.Contains(axes, i) {
			dims = append(dims, i)
		}
	}
	return w.broadcast(y, x.s, dims)
}

func axisOf(x val, axis int) int {
	if axis < 0 {
		return axis + len(x.s)
	}
	return axis
}

func (w *writer) softmax(x val, axis int) val {
	a := []int{axisOf(x, axis)}
	e := w.same("exponential", w.same("subtract", x, w.kept(x, "maximum", math.Inf(-1), a)))
	return w.same("divide", e, w.kept(e, "add", 0, a))
}

func lowerLogSoftmax(w *writer, n *ir.Node) val {
	x := w.in(n, 0)
	a := []int{axisOf(x, n.Int("axis"))}
	d := w.same("subtract", x, w.kept(x, "maximum", math.Inf(-1), a))
	return w.same("subtract", d, w.same("log", w.kept(w.same("exponential", d), "add", 0, a)))
}

// standard gives (x − mean)/√(var + epsilon) over axes, or x/√(mean x² + epsilon).
func (w *writer) standard(x val, axes []int, epsilon float64, centre bool) val {
	count := 1
	for _, a := range axes {
		count *= x.s[a]
	}
	mean := func(v val) val {
		return w.same("multiply", w.kept(v, "add", 0, axes), w.like(v, 1/float64(count)))
	}
	if centre {
		x = w.same("subtract", x, mean(x))
	}
	v := w.same("add", mean(w.same("multiply", x, x)), w.like(x, epsilon))
	return w.same("multiply", x, w.same("rsqrt", v))
}

func lowerLayerNorm(w *writer, n *ir.Node, centre bool) val {
	x := w.in(n, 0)
	var axes []int
	for a := axisOf(x, n.Int("axis")); a < len(x.s); a++ {
		axes = append(axes, a)
	}
	y := w.standard(x, axes, n.Float("epsilon"), centre)
	if n.In(1) != nil {
		y = w.same("multiply", y, w.stretch(w.in(n, 1), y.s))
	}
	if n.In(2) != nil {
		y = w.same("add", y, w.stretch(w.in(n, 2), y.s))
	}
	return y
}

func lowerBatchNorm(w *writer, n *ir.Node) val {
	x := w.in(n, 0)
	v := w.in(n, 4)
	r := w.same("rsqrt", w.same("add", v, w.like(v, n.Float("epsilon"))))
	scale := w.same("multiply", w.in(n, 1), r)
	y := w.same("multiply", w.same("subtract", x, w.channels(w.in(n, 3), x.s)), w.channels(scale, x.s))
	return w.same("add", y, w.channels(w.in(n, 2), x.s))
}

func lowerGroupNorm(w *writer, n *ir.Node, groups int) val {
	x := w.in(n, 0)
	c := x.s[len(x.s)-1]
	space := x.s[1 : len(x.s)-1].Elems()
	y := w.reshape(x, ir.Shape{x.s[0], space, groups, c / groups})
	y = w.reshape(w.standard(y, []int{1, 3}, n.Float("epsilon"), true), x.s)
	if n.In(1) != nil {
		y = w.same("multiply", y, w.channels(w.in(n, 1), y.s))
	}
	if n.In(2) != nil {
		y = w.same("add", y, w.channels(w.in(n, 2), y.s))
	}
	return y
}

// full gives a pool's window over all axes: size, stride, dilation, padding.
func full(win ir.Window) (size, stride, dilation, low, high []int) {
	wrap := func(v []int, edge int) []int { return append(append([]int{edge}, v...), edge) }
	return wrap(win.Kernel, 1), wrap(win.Stride, 1), wrap(win.Dilation, 1), wrap(win.Before, 0), wrap(win.After, 0)
}

func lowerMaxPool(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	x := w.in(n, 0)
	least := math.Inf(-1)
	switch {
	case x.d.Is8Bit():
		lo, _ := x.d.Range()
		least = float64(lo)
	case !x.d.IsFloat():
		return nil, fmt.Errorf("operand is %v; wanted a float or 8-bit type", x.d)
	}
	size, stride, dilation, low, high := full(win)
	return []val{w.reduceWindow(x, "maximum", least, size, stride, dilation, low, high, n.Outputs[0].Type.Shape)}, nil
}

func lowerAveragePool(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	x := w.in(n, 0)
	size, stride, dilation, low, high := full(win)
	y := w.reduceWindow(x, "add", 0, size, stride, dilation, low, high, n.Outputs[0].Type.Shape)
	inv := ir.NewTensor(x.d, counts(win)...)
	for i := range inv.Len() {
		inv.Set(i, 1/float64(countAt(win, i, n.Bool("count_include_pad"))))
	}
	return []val{w.same("multiply", y, w.stretch(w.reshape(w.constant(inv), append(append(ir.Shape{1}, win.Out...), 1)), y.s))}, nil
}

// counts is the shape of a window count per output position.
func counts(win ir.Window) []int { return win.Out }

// countAt is the number of input elements in the window of output position i.
func countAt(win ir.Window, i int, includePad bool) int {
	if includePad {
		return win.Taps()
	}
	c := 1
	for a := len(win.Out) - 1; a >= 0; a-- {
		o := i % win.Out[a]
		i /= win.Out[a]
		inside := 0
		for k := range win.Kernel[a] {
			if p := o*win.Stride[a] - win.Before[a] + k*win.Dilation[a]; p >= 0 && p < win.In[a] {
				inside++
			}
		}
		c *= inside
	}
	return max(c, 1)
}

func reduced(op string, init float64) lowering {
	return func(w *writer, n *ir.Node) ([]val, error) {
		axes, err := ir.ReduceAxes(n)
		if err != nil {
			return nil, err
		}
		x := w.in(n, 0)
		if !x.d.IsFloat() && op != "add" && op != "multiply" {
			return nil, fmt.Errorf("operand is %v; wanted f32", x.d)
		}
		y := w.reduce(x, op, init, axes)
		if n.Op.Name == "reduce_mean" {
			if !x.d.IsFloat() {
				return nil, fmt.Errorf("operand is %v; wanted f32", x.d)
			}
			y = w.same("multiply", y, w.like(y, float64(y.s.Elems())/float64(x.s.Elems())))
		}
		return []val{w.reshape(y, n.Outputs[0].Type.Shape)}, nil
	}
}
