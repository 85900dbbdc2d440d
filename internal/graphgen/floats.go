package graphgen

import (
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// floatRows are the draws of a float graph, each adding a node or nothing.
var floatRows = []func(*gen){
	drawConv, drawConv, drawConv, drawDepthwise, drawConvTranspose,
	drawDot, drawDotGeneral, drawAttention,
	drawUnary, drawUnary, drawUnary, drawBinary, drawBinary, drawBinary,
	drawPool, drawReduce, drawSoftmax, drawNorm, drawBatchNorm, drawChannelNorm,
	drawSelect, drawWhole, drawDynamic, drawRecurrent, drawRecurrent,
	drawConcat, drawSlice, drawPad, drawReshape, drawTranspose, drawBroadcast, drawGather, drawSplit, drawResize,
}

func (g *gen) activation(a ir.Attrs) ir.Attrs {
	switch g.IntN(5) {
	case 0:
		a["activation"] = "relu"
	case 1:
		a["activation"], a["act_min"], a["act_max"] = "clamp", -0.5, 1.5
	}
	return a
}

func drawConv(g *gen) {
	x := g.image()
	k, s, p, d, ok := g.geometry(x.Type.Shape, false)
	if !ok {
		return
	}
	c := x.Type.Shape[3]
	groups := 1
	if g.IntN(4) == 0 && c%2 == 0 {
		groups = 2
	}
	out := groups * g.channels()
	a := g.activation(ir.Attrs{"strides": s, "padding": p, "dilation": d, "groups": groups})
	if groups == 1 && k[0]*k[1] == 9 && k[0] == k[1] && s[0]*s[1]*d[0]*d[1] == 1 {
		a["winograd"] = 2 * g.IntN(3)
	}
	g.add("convolution", a,
		x, g.weights(k[0]*k[1]*c/groups, k[0], k[1], c/groups, out), g.maybe(g.weights(1, out)))
}

func drawDepthwise(g *gen) {
	x := g.image()
	k, s, p, d, ok := g.geometry(x.Type.Shape, false)
	c := x.Type.Shape[3]
	if !ok {
		return
	}
	out := c * (1 + g.IntN(5)/4)
	g.add("convolution", g.activation(ir.Attrs{"strides": s, "padding": p, "dilation": d, "groups": c}),
		x, g.weights(k[0]*k[1], k[0], k[1], 1, out), g.maybe(g.weights(1, out)))
}

func drawConvTranspose(g *gen) {
	x := g.image()
	if x.Type.Shape.Elems() > 2048 {
		return
	}
	c, out := x.Type.Shape[3], g.channels()
	k := []int{1 + g.IntN(3), 1 + g.IntN(3)}
	s := []int{1 + g.IntN(2), 1 + g.IntN(2)}
	g.add("convolution_transpose", ir.Attrs{"strides": s}, x, g.weights(k[0]*k[1]*c, k[0], k[1], c, out), g.maybe(g.weights(1, out)))
}

func drawDot(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) == 0 {
		return
	}
	k, n := s[len(s)-1], 1+g.IntN(40)
	g.add("dot", g.activation(ir.Attrs{}), x, g.weights(k, k, n), g.maybe(g.weights(1, n)))
}

func drawDotGeneral(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) < 2 || s[len(s)-2] > 64 {
		return
	}
	if g.IntN(3) == 0 {
		k, n := s[len(s)-1], 1+g.IntN(20)
		g.add("dot_general", nil, x, g.weights(k, k, n))
		return
	}
	g.add("dot_general", ir.Attrs{"transpose_b": true}, x, x)
}

func drawAttention(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) < 2 || s.Elems() > 4096 {
		return
	}
	g.add("attention", ir.Attrs{"scale": 1 / math.Sqrt(float64(s[len(s)-1]))}, x, x, x)
}

func drawUnary(g *gen) {
	op := pick(g, []string{
		"negate", "abs", "sign", "exponential", "tanh", "logistic", "erf", "floor", "ceil", "round_nearest_even", "sine", "cosine",
		"relu", "relu", "clamp", "leaky_relu", "hard_sigmoid", "hard_swish", "silu", "gelu", "elu", "selu", "softplus", "mish",
	})
	x := g.x()
	a := ir.Attrs{}
	switch op {
	case "exponential":
		x = g.add("clamp", ir.Attrs{"min": -8.0, "max": 3.0}, x)
	case "clamp":
		a["min"], a["max"] = -0.75, float64(g.IntN(3))+0.5
	case "leaky_relu":
		a["alpha"] = 0.1
	case "gelu":
		if g.IntN(2) == 0 {
			a["approximate"] = "tanh"
		}
	}
	g.add(op, a, x)
}

// partner gives a second operand that broadcasts with x.
func (g *gen) partner(x *ir.Value) *ir.Value {
	s := x.Type.Shape
	if g.IntN(2) == 0 {
		for range 10 {
			if v := g.x(); v.Type.Shape.Equal(s) {
				return v
			}
		}
	}
	switch g.IntN(4) {
	case 0:
		return g.positive()
	case 1:
		t := s.Clone()
		for i := range t {
			if g.IntN(2) == 0 {
				t[i] = 1
			}
		}
		return g.positive(t...)
	case 2:
		if len(s) > 0 {
			return g.positive(s[len(s)-1])
		}
	}
	return g.positive(s...)
}

func drawBinary(g *gen) {
	op := pick(g, []string{"add", "add", "add", "subtract", "multiply", "multiply", "maximum", "minimum", "divide"})
	x := g.x()
	y := g.partner(x)
	if op == "divide" {
		y = g.positive(x.Type.Shape...)
	}
	if op != "divide" && g.IntN(3) == 0 {
		x, y = y, x
	}
	g.add(op, nil, x, y)
}

func drawPool(g *gen) {
	x := g.image()
	k, s, p, d, ok := g.geometry(x.Type.Shape, true)
	if !ok {
		return
	}
	if g.IntN(2) == 0 {
		g.add("max_pool", ir.Attrs{"kernel": k, "strides": s, "padding": p, "dilation": d}, x)
		return
	}
	for i := range p { // without dilation a window may hold only padding
		if p[i] >= k[i%2] || x.Type.Shape[1+i%2]+p[i%2]+p[i%2+2] < k[i%2] {
			return
		}
	}
	g.add("average_pool", ir.Attrs{"kernel": k, "strides": s, "padding": p, "count_include_pad": g.IntN(2) == 0}, x)
}

// axes draws a non-empty set of axes.
func (g *gen) axes(rank int) []int {
	var a []int
	for i := range rank {
		if g.IntN(2) == 0 {
			a = append(a, i)
		}
	}
	if len(a) == 0 {
		a = []int{g.IntN(rank)}
	}
	return a
}

func drawReduce(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	a := g.axes(len(x.Type.Shape))
	if len(x.Type.Shape) == 4 && g.IntN(2) == 0 {
		a = []int{1, 2}
	}
	g.add(pick(g, []string{"reduce_sum", "reduce_mean", "reduce_mean", "reduce_max", "reduce_min"}), ir.Attrs{"axes": a, "keep_dims": g.IntN(2) == 0}, x)
}

func drawSoftmax(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	axis := -1
	if g.IntN(3) == 0 {
		axis = g.IntN(len(x.Type.Shape))
	}
	g.add(pick(g, []string{"softmax", "softmax", "log_softmax"}), ir.Attrs{"axis": axis}, x)
}

func drawNorm(g *gen) {
	x := g.x()
	s := x.Type.Shape
	if len(s) == 0 {
		return
	}
	axis := len(s) - 1 - g.IntN(min(len(s), 2))
	if g.IntN(3) == 0 {
		g.add("rms_norm", ir.Attrs{"axis": axis}, x, g.maybe(g.positive(s[axis:]...)))
		return
	}
	g.add("layer_norm", ir.Attrs{"axis": axis}, x, g.maybe(g.positive(s[axis:]...)), g.maybe(g.positive(s[axis:]...)))
}

func drawBatchNorm(g *gen) {
	x := g.image()
	c := x.Type.Shape[3]
	g.add("batch_norm_inference", nil, x, g.positive(c), g.weights(1, c), g.weights(1, c), g.positive(c))
}

func drawChannelNorm(g *gen) {
	x := g.image()
	c := x.Type.Shape[3]
	if g.IntN(2) == 0 {
		g.add("instance_norm", nil, x, g.maybe(g.positive(c)), g.maybe(g.positive(c)))
		return
	}
	groups := 1
	if c%2 == 0 {
		groups = 2
	}
	g.add("group_norm", ir.Attrs{"groups": groups}, x, g.positive(c), g.positive(c))
}

// siblings gives x and other values of the same type except on one axis.
func (g *gen) siblings(x *ir.Value, pool []*ir.Value, axis int) []*ir.Value {
	parts := []*ir.Value{x}
	for range 8 {
		v := pick(g, pool)
		s, t := x.Type.Shape, v.Type.Shape
		if len(t) != len(s) || v.Type.DType != x.Type.DType || !v.Type.Quant.Equal(x.Type.Quant) {
			continue
		}
		same := true
		for i := range s {
			same = same && (i == axis || s[i] == t[i])
		}
		if same && len(parts) < 4 {
			parts = append(parts, v)
		}
	}
	return parts
}

func drawConcat(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	axis := g.IntN(len(x.Type.Shape))
	g.add("concatenate", ir.Attrs{"axis": axis}, g.siblings(x, g.floats, axis)...)
}

func (g *gen) sliceAttrs(s ir.Shape) ir.Attrs {
	start, limit, stride := make([]int, len(s)), s.Clone(), make([]int, len(s))
	for i, d := range s {
		stride[i] = 1
		if g.IntN(2) == 0 {
			start[i] = g.IntN(d)
			limit[i] = start[i] + 1 + g.IntN(d-start[i])
			stride[i] = 1 + g.IntN(2)
		}
	}
	return ir.Attrs{"start": start, "limit": limit, "stride": stride}
}

func drawSlice(g *gen) {
	if x := g.x(); len(x.Type.Shape) > 0 {
		g.add("slice", g.sliceAttrs(x.Type.Shape), x)
	}
}

func padAttrs(g *gen, s ir.Shape) ir.Attrs {
	low, high := make([]int, len(s)), make([]int, len(s))
	for i := range s {
		if g.IntN(2) == 0 || len(s) == 4 && (i == 1 || i == 2) {
			low[i], high[i] = g.IntN(3), g.IntN(3)
		}
	}
	if len(s) == 4 && g.IntN(2) == 0 {
		low[0], low[3], high[0], high[3] = 0, 0, 0, 0
	}
	return ir.Attrs{"low": low, "high": high}
}

func drawPad(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	a := padAttrs(g, x.Type.Shape)
	if g.IntN(4) == 0 {
		a["value"] = 0.25
	}
	if g.IntN(6) == 0 { // cut instead
		for i, d := range x.Type.Shape {
			if d > 2 && g.IntN(2) == 0 {
				a["low"].([]int)[i], a["high"].([]int)[i] = -1, -g.IntN(2)
			}
		}
		g.add("pad", a, x)
		return
	}
	if g.IntN(6) == 0 && slices.Min(x.Type.Shape) > 2 {
		a["mode"] = pick(g, []string{"edge", "reflect"})
	}
	g.add("pad", a, x)
}

func drawReshape(g *gen) {
	x := g.x()
	s := x.Type.Shape
	switch {
	case len(s) == 4 && g.IntN(2) == 0:
		g.add("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1] * s[2], s[3]}}, x)
	case len(s) >= 2:
		g.add("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1:].Elems()}}, x)
	}
}

func drawTranspose(g *gen) {
	x := g.x()
	g.add("transpose", ir.Attrs{"permutation": g.Perm(len(x.Type.Shape))}, x)
}

func drawBroadcast(g *gen) {
	x := g.x()
	s := x.Type.Shape.Clone()
	for i := range s {
		if s[i] == 1 {
			s[i] = 1 + g.IntN(3)
		}
	}
	if g.IntN(3) == 0 && len(s) < 5 {
		s = append(ir.Shape{2}, s...)
	}
	if s.Elems() <= maxElems {
		g.add("broadcast", ir.Attrs{"shape": s}, x)
	}
}

func drawGather(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	axis := g.IntN(len(x.Type.Shape))
	d := x.Type.Shape[axis]
	idx := ir.NewTensor(ir.I64, 1+g.IntN(4))
	for i := range idx.I64() {
		idx.I64()[i] = int64(g.IntN(2*d) - d)
	}
	g.add("gather", ir.Attrs{"axis": axis}, x, g.b.Const(g.name(), idx))
}

func drawSplit(g *gen) {
	x := g.x()
	if len(x.Type.Shape) == 0 {
		return
	}
	axis := g.IntN(len(x.Type.Shape))
	d := x.Type.Shape[axis]
	if d < 2 {
		return
	}
	k := 1 + g.IntN(d-1)
	g.add("split", ir.Attrs{"axis": axis, "sizes": []int{k, d - k}}, x)
}

func drawResize(g *gen) {
	x := g.image()
	if x.Type.Shape.Elems() > 2048 {
		return
	}
	g.add("resize", ir.Attrs{
		"size": []int{1 + g.IntN(14), 1 + g.IntN(14)}, "mode": pick(g, []string{"nearest", "linear"}),
		"coordinates": pick(g, []string{"half_pixel", "asymmetric", "align_corners"}),
	}, x)
}
