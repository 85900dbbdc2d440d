package graphgen

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/nasc-dev/nasc/ir"
)

// Structure is a way in which networks tie channels together.
type Structure struct {
	Name string
	make func(g *gen, x *ir.Value) *ir.Value
}

// Structures are what Network builds networks of, each adding to a picture
// [N,H,W,C] and giving one, or of tokens [N,T,D].
var Structures = []Structure{
	{"plain", plainBlock},
	{"batch-norm", bnBlock},
	{"residual", residualBlock},
	{"padded-shortcut", paddedShortcut},
	{"dense-concat", denseConcat},
	{"depthwise", invertedBlock},
	{"grouped", groupedBlock},
	{"shuffle", shuffleBlock},
	{"split-concat", splitConcat},
	{"squeeze-excite", seBlock},
	{"group-norm", groupNormBlock},
	{"branches", branchBlock},
	{"transposed", transposedBlock},
	{"upsample", upsampleBlock},
	{"attention", encoderBlock},
	{"fused-qkv", fusedEncoder},
	{"mixer", mixerBlock},
	{"recurrent", recurrentBlock},
	{"flatten", flattenBlock},
}

// Network draws a network of blocks with known structure, and says which. Its
// one output are the values of a dense layer, nothing inside is an output.
func Network(seed uint64) (*ir.Graph, []string) {
	g := &gen{Rand: rand.New(rand.NewPCG(seed, 0x6e6574)), b: ir.NewBuilder("net" + strconv.FormatUint(seed, 10))}
	side := 4 + 2*g.IntN(3)
	x := g.b.Input("x", ir.T(ir.F32, ir.Batch, side, side, 1+g.IntN(4)))
	x = g.convAct(x, 3, 1, 4*(1+g.IntN(3)), 1)
	var names []string
	for range 1 + g.IntN(3) {
		s := Structures[g.IntN(len(Structures))]
		x = s.make(g, x)
		names = append(names, s.Name)
	}
	if r := len(x.Type.Shape); r > 2 {
		var axes []int
		for i := 1; i < r-1; i++ {
			axes = append(axes, i)
		}
		x = g.op("reduce_mean", ir.Attrs{"axes": axes, "keep_dims": false}, x)
	}
	c := last(x)
	x = g.op("dot", nil, x, g.weights(c, c, 3+g.IntN(5)))
	graph, err := g.b.Graph(x)
	if err != nil {
		panic("BUG: graphgen network " + strconv.FormatUint(seed, 10) + ": " + err.Error())
	}
	return graph, names
}

func last(x *ir.Value) int { return x.Type.Shape[len(x.Type.Shape)-1] }

// op adds a node with one result.
func (g *gen) op(op string, a ir.Attrs, in ...*ir.Value) *ir.Value {
	v := g.b.Named(op, "v"+strconv.Itoa(len(g.b.G.Nodes)), a, in...)
	if err := g.b.Err(); err != nil {
		panic("BUG: graphgen: " + err.Error())
	}
	return v
}

// picture brings tokens back to a picture of one row.
func (g *gen) picture(x *ir.Value) *ir.Value {
	s := x.Type.Shape
	switch len(s) {
	case 2:
		return g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], 1, 1, s[1]}}, x)
	case 3:
		return g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], 1, s[1], s[2]}}, x)
	}
	return x
}

// tokens makes a sequence of a picture.
func (g *gen) tokens(x *ir.Value) *ir.Value {
	x = g.picture(x)
	s := x.Type.Shape
	return g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1] * s[2], s[3]}}, x)
}

func (g *gen) rawConv(x *ir.Value, kernel, stride, out, groups int) *ir.Value {
	x = g.picture(x)
	c, p := last(x), kernel/2
	return g.op("convolution", ir.Attrs{"strides": []int{stride, stride}, "padding": []int{p, p, p, p}, "groups": groups},
		x, g.weights(kernel*kernel*c/groups, kernel, kernel, c/groups, out), g.maybe(g.weights(4, out)))
}

// act draws an activation, rather ReLU.
func (g *gen) act(x *ir.Value) *ir.Value {
	switch g.IntN(6) {
	case 0:
		return g.op("clamp", ir.Attrs{"min": 0.0, "max": 6.0}, x)
	case 1:
		return g.op(pick(g, []string{"silu", "hard_swish", "gelu", "tanh", "leaky_relu", "logistic"}), nil, x)
	}
	return g.op("relu", nil, x)
}

func (g *gen) convAct(x *ir.Value, kernel, stride, out, groups int) *ir.Value {
	if g.IntN(3) == 0 {
		y := g.rawConv(x, kernel, stride, out, groups)
		y.Def.SetAttr("activation", "relu")
		return y
	}
	return g.act(g.rawConv(x, kernel, stride, out, groups))
}

func (g *gen) width() int { return 2 * (1 + g.IntN(6)) }

func plainBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.convAct(x, pick(g, []int{1, 3, 3, 5}), 1+g.IntN(2), g.width(), 1)
	if s := x.Type.Shape; s[1] > 2 && s[2] > 2 && g.IntN(2) == 0 {
		x = g.op(pick(g, []string{"max_pool", "average_pool"}), ir.Attrs{"kernel": []int{2, 2}, "strides": []int{1, 1}}, x)
	}
	return x
}

func (g *gen) norm(x *ir.Value) *ir.Value {
	c := last(x)
	return g.op("batch_norm_inference", nil, x, g.positive(c), g.weights(4, c), g.weights(4, c), g.positive(c))
}

func bnBlock(g *gen, x *ir.Value) *ir.Value {
	return g.act(g.norm(g.rawConv(x, 3, 1, g.width(), 1)))
}

func residualBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.picture(x)
	c := last(x)
	for range 1 + g.IntN(2) {
		y := g.rawConv(g.convAct(x, 3, 1, g.width(), 1), 3, 1, c, 1)
		if g.IntN(2) == 0 {
			y = g.norm(y)
		}
		x = g.act(g.op("add", nil, y, x))
	}
	return x
}

// paddedShortcut is the ResNet of CIFAR: the shortcut skips pixels and gets
// channels of zeros.
func paddedShortcut(g *gen, x *ir.Value) *ir.Value {
	x = g.picture(x)
	s, c := x.Type.Shape, last(x)
	y := g.rawConv(g.convAct(x, 3, 2, 2*c, 1), 3, 1, 2*c, 1)
	z := g.op("slice", ir.Attrs{"start": []int{0, 0, 0, 0}, "limit": s.Clone(), "stride": []int{1, 2, 2, 1}}, x)
	z = g.op("pad", ir.Attrs{"low": []int{0, 0, 0, c / 2}, "high": []int{0, 0, 0, c - c/2}}, z)
	return g.act(g.op("add", nil, y, z))
}

func denseConcat(g *gen, x *ir.Value) *ir.Value {
	x = g.picture(x)
	k := g.width()
	for range 2 {
		y := g.convAct(g.act(g.norm(x)), 3, 1, k, 1)
		x = g.op("concatenate", ir.Attrs{"axis": 3}, x, y)
	}
	return g.convAct(x, 1, 1, g.width(), 1)
}

func invertedBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.picture(x)
	c := last(x)
	y := g.convAct(x, 1, 1, 2*c, 1)
	m := 1 + g.IntN(2)
	y = g.convAct(y, 3, 1, 2*c*m, 2*c)
	y = g.rawConv(y, 1, 1, c, 1)
	return g.op("add", nil, y, x)
}

func groupedBlock(g *gen, x *ir.Value) *ir.Value {
	groups := 2 + g.IntN(2)
	y := g.convAct(x, 1, 1, groups*2, 1)
	y = g.convAct(y, 3, 1, groups*(1+g.IntN(3)), groups)
	return g.convAct(y, 1, 1, g.width(), 1)
}

// shuffled permutes channels of g groups.
func (g *gen) shuffled(x *ir.Value, groups int) *ir.Value {
	s, c := x.Type.Shape, last(x)
	y := g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1], s[2], groups, c / groups}}, x)
	y = g.op("transpose", ir.Attrs{"permutation": []int{0, 1, 2, 4, 3}}, y)
	return g.op("reshape", ir.Attrs{"shape": s.Clone()}, y)
}

func shuffleBlock(g *gen, x *ir.Value) *ir.Value {
	groups := 2 + g.IntN(2)
	y := g.convAct(x, 1, 1, groups*(2+g.IntN(3)), 1)
	y = g.shuffled(y, groups)
	if g.IntN(2) == 0 {
		y = g.convAct(y, 3, 1, last(y), last(y))
	}
	return g.convAct(y, 1, 1, g.width(), 1)
}

// splitConcat is the unit of ShuffleNetV2.
func splitConcat(g *gen, x *ir.Value) *ir.Value {
	c := 2 * g.width()
	x = g.convAct(x, 1, 1, c, 1)
	p := g.b.Multi("split", "v"+strconv.Itoa(len(g.b.G.Nodes)), ir.Attrs{"axis": 3, "sizes": []int{c / 2, c / 2}}, x)
	y := g.convAct(g.rawConv(g.convAct(p[1], 1, 1, c/2, 1), 3, 1, c/2, c/2), 1, 1, c/2, 1)
	x = g.op("concatenate", ir.Attrs{"axis": 3}, p[0], y)
	if g.IntN(2) == 0 {
		return g.shuffled(x, 2)
	}
	return x
}

func seBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.convAct(x, 3, 1, g.width(), 1)
	c := last(x)
	y := g.op("reduce_mean", ir.Attrs{"axes": []int{1, 2}}, x)
	y = g.convAct(y, 1, 1, 1+g.IntN(4), 1)
	y = g.op(pick(g, []string{"hard_sigmoid", "logistic"}), nil, g.rawConv(y, 1, 1, c, 1))
	return g.op("multiply", nil, x, y)
}

func groupNormBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.rawConv(x, 3, 1, 4*(1+g.IntN(2)), 1)
	c := last(x)
	if g.IntN(3) == 0 {
		return g.act(g.op("instance_norm", nil, x, g.positive(c), g.weights(4, c)))
	}
	return g.act(g.op("group_norm", ir.Attrs{"groups": pick(g, []int{1, 2, 4})}, x, g.positive(c), g.weights(4, c)))
}

// branchBlock adds parallel convolutions, as RepVGG in training.
func branchBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.picture(x)
	c := last(x)
	y := g.op("add", nil, g.norm(g.rawConv(x, 3, 1, c, 1)), g.norm(g.rawConv(x, 1, 1, c, 1)))
	if g.IntN(2) == 0 {
		y = g.op("add", nil, y, g.norm(x))
	} else {
		d := g.op("convolution", ir.Attrs{"padding": []int{2, 2, 2, 2}, "dilation": []int{2, 2}}, x, g.weights(9*c, 3, 3, c, c))
		y = g.op("add", nil, g.op("add", nil, y, d), x)
	}
	return g.act(y)
}

// transposedBlock is a convolution between transposes, as importers leave them.
func transposedBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.op("transpose", ir.Attrs{"permutation": []int{0, 3, 1, 2}}, g.convAct(x, 3, 1, g.width(), 1))
	x = g.op("relu", nil, x)
	return g.convAct(g.op("transpose", ir.Attrs{"permutation": []int{0, 2, 3, 1}}, x), 3, 1, g.width(), 1)
}

func upsampleBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.convAct(x, 3, 2, g.width(), 1)
	s, c := x.Type.Shape, last(x)
	if g.IntN(2) == 0 {
		return g.op("resize", ir.Attrs{"size": []int{2 * s[1], 2 * s[2]}, "mode": pick(g, []string{"nearest", "linear"})}, x)
	}
	out, groups := g.width(), 1
	if g.IntN(2) == 0 {
		groups = 2
	}
	return g.act(g.op("convolution_transpose", ir.Attrs{"strides": []int{2, 2}, "groups": groups}, x, g.weights(4*c, 2, 2, c, out/groups), g.weights(4, out)))
}

func (g *gen) dense(x *ir.Value, out int) *ir.Value {
	return g.op("dot", nil, x, g.weights(last(x), last(x), out), g.maybe(g.weights(4, out)))
}

func (g *gen) layerNorm(x *ir.Value) *ir.Value {
	return g.op("layer_norm", nil, x, g.positive(last(x)), g.weights(4, last(x)))
}

func (g *gen) heads(x *ir.Value, heads int) *ir.Value {
	s, d := x.Type.Shape, last(x)
	x = g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1], heads, d / heads}}, x)
	return g.op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, x)
}

// attend is attention of queries, keys and values [N,h,T,d], joined again.
func (g *gen) attend(q, k, v *ir.Value) *ir.Value {
	s := q.Type.Shape
	var y *ir.Value
	scale := 1 / math.Sqrt(float64(s[3]))
	if g.IntN(2) == 0 {
		y = g.op("attention", ir.Attrs{"scale": scale}, q, k, v)
	} else {
		p := g.op("multiply", nil, g.op("dot_general", ir.Attrs{"transpose_b": true}, q, k), g.b.Const(g.name(), ir.Scalar(float32(scale))))
		y = g.op("dot_general", nil, g.op("softmax", nil, p), v)
	}
	y = g.op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, y)
	return g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[2], s[1] * s[3]}}, y)
}

func (g *gen) feedForward(x *ir.Value) *ir.Value {
	return g.op("add", nil, x, g.dense(g.act(g.dense(g.layerNorm(x), 2*g.width())), last(x)))
}

func encoderBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.tokens(x)
	heads, c := 1+g.IntN(3), last(x)
	d := heads * (1 + g.IntN(4))
	n := g.layerNorm(x)
	y := g.attend(g.heads(g.dense(n, d), heads), g.heads(g.dense(n, d), heads), g.heads(g.dense(n, d), heads))
	return g.feedForward(g.op("add", nil, x, g.dense(y, c)))
}

// fusedEncoder makes queries, keys and values by one dense layer.
func fusedEncoder(g *gen, x *ir.Value) *ir.Value {
	x = g.tokens(x)
	heads, c := 2+g.IntN(2), last(x)
	d := 1 + g.IntN(4)
	s := x.Type.Shape
	y := g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1], 3, heads, d}}, g.dense(g.layerNorm(x), 3*heads*d))
	y = g.op("transpose", ir.Attrs{"permutation": []int{2, 0, 3, 1, 4}}, y)
	var qkv []*ir.Value
	for i := range 3 {
		idx := ir.NewTensor(ir.I64)
		idx.I64()[0] = int64(i)
		qkv = append(qkv, g.op("gather", ir.Attrs{"axis": 0}, y, g.b.Const(g.name(), idx)))
	}
	return g.feedForward(g.op("add", nil, x, g.dense(g.attend(qkv[0], qkv[1], qkv[2]), c)))
}

func mixerBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.tokens(x)
	turn := func(x *ir.Value) *ir.Value { return g.op("transpose", ir.Attrs{"permutation": []int{0, 2, 1}}, x) }
	y := turn(g.layerNorm(x))
	y = g.dense(g.act(g.dense(y, g.width())), last(y))
	return g.feedForward(g.op("add", nil, x, turn(y)))
}

func recurrentBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.dense(g.tokens(x), g.width())
	s, c := x.Type.Shape, last(x)
	x = g.op("transpose", ir.Attrs{"permutation": []int{1, 0, 2}}, x)
	op, gates, h, dirs := "lstm", 4, 1+g.IntN(6), 1
	if g.IntN(2) == 0 {
		op, gates = "gru", 3
	}
	a := ir.Attrs{"hidden_size": h}
	if g.IntN(2) == 0 {
		a["direction"], dirs = "bidirectional", 2
	}
	v := g.b.Multi(op, "v"+strconv.Itoa(len(g.b.G.Nodes)), a, x, g.weights(c, dirs, gates*h, c), g.weights(h, dirs, gates*h, h), g.weights(4, dirs, 2*gates*h))
	y := g.op("transpose", ir.Attrs{"permutation": []int{2, 0, 1, 3}}, v[0])
	return g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1], dirs * h}}, y)
}

func flattenBlock(g *gen, x *ir.Value) *ir.Value {
	x = g.convAct(x, 3, 2, g.width(), 1)
	s := x.Type.Shape
	if g.IntN(2) == 0 {
		x = g.op("transpose", ir.Attrs{"permutation": []int{0, 3, 1, 2}}, x)
	}
	x = g.op("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1:].Elems()}}, x)
	return g.act(g.dense(x, 2*g.width()))
}
