package graphgen

import (
	"math"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/ir"
)

// Net is the shape of a well-known network with seeded random weights, in
// float or quantized, for measuring engines: the numbers mean nothing.
type Net struct {
	Name  string
	Build func(quantized bool) (*ir.Graph, error)
}

// Nets lists the networks. Inputs are images [1,3,224,224], as ONNX has them.
func Nets() []Net {
	return []Net{{"resnet18", resNet18}, {"resnet50", resNet50}, {"mobilenetv2", mobileNetV2}}
}

// net builds convolutional networks layer by layer.
type net struct {
	b *ir.Builder
	r *rand.Rand
	q bool
}

// activations all have one scale and zero point: of no meaning, but in range.
const netScale = 0.05

func newNet(name string, quantized bool) (*net, *ir.Value, *ir.Value) {
	n := &net{b: ir.NewBuilder(name), r: rand.New(rand.NewPCG(1, 2)), q: quantized}
	in := n.b.Input("x", ir.T(ir.F32, 1, 3, 224, 224))
	x := n.b.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 3, 1}}, in)
	if quantized {
		x = n.b.Op("uniform_quantize", n.out(false), x)
	}
	return n, in, x
}

func (n *net) out(relu bool) ir.Attrs {
	o := ir.Out{DType: ir.U8, Scale: netScale, Zero: 128, QMax: 255}
	if relu {
		o.Zero = 0
	}
	return ir.Attrs{}.SetOut(o)
}

func (n *net) scale(x *ir.Value) float64 { return float64(x.Type.Quant.Scale[0]) }

// conv is a convolution with "same" padding; act is "", "relu" or "relu6".
func (n *net) conv(x *ir.Value, k, stride, out, groups int, act string) *ir.Value {
	c := x.Type.Shape[3]
	p := (k - 1) / 2
	a := ir.Attrs{"strides": []int{stride, stride}, "padding": []int{p, p, p, p}, "groups": groups}
	fan := k * k * c / groups
	if n.q {
		return n.contract("q_convolution", a, x, fan, act != "", k, k, c/groups, out)
	}
	switch act {
	case "relu":
		a["activation"] = "relu"
	case "relu6":
		a["activation"], a["act_max"] = "clamp", 6.0
	}
	return n.b.Op("convolution", a, x, n.floats(fan, k, k, c/groups, out), n.floats(100, out))
}

func (n *net) floats(fan int, shape ...int) *ir.Value {
	t := ir.NewTensor(ir.F32, shape...)
	s := math.Sqrt(2 / float64(fan))
	for i := range t.F32() {
		t.F32()[i] = float32(n.r.NormFloat64() * s)
	}
	return n.b.Const("w", t)
}

func (n *net) contract(op string, a ir.Attrs, x *ir.Value, fan int, relu bool, shape ...int) *ir.Value {
	w := ir.NewTensor(ir.S8, shape...)
	for i := range w.S8() {
		w.S8()[i] = int8(n.r.IntN(255) - 127)
	}
	out := shape[len(shape)-1]
	sw := math.Sqrt(2/float64(fan)) / 73
	q := &ir.Quant{Axis: len(shape) - 1, Zero: []int32{0}}
	bias, mult := ir.NewTensor(ir.I32, out), ir.NewTensor(ir.F32, out)
	for i := range out {
		q.Scale = append(q.Scale, float32(sw))
		bias.I32()[i] = int32(n.r.NormFloat64() * 1000)
		mult.F32()[i] = float32(n.scale(x) * sw / netScale)
	}
	for k, v := range n.out(relu) {
		a[k] = v
	}
	return n.b.Op(op, a, x, n.b.QConst("w", w, q), n.b.Const("b", bias), n.b.Const("m", mult))
}

func (n *net) add(x, y *ir.Value, relu bool) *ir.Value {
	if n.q {
		return n.b.Op("q_add", n.out(relu), x, y)
	}
	v := n.b.Op("add", nil, x, y)
	if relu {
		v = n.b.Op("relu", nil, v)
	}
	return v
}

// head is the global mean and the classifier, with f32 results.
func (n *net) head(x *ir.Value, classes int) (*ir.Graph, error) {
	s := x.Type.Shape
	if !n.q {
		x = n.b.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}, "keep_dims": false}, x)
		return n.b.Graph(n.b.Op("dot", nil, x, n.floats(s[3], s[3], classes), n.floats(100, classes)))
	}
	a := n.out(true)
	a["axes"], a["keep_dims"] = []int{1, 2}, false
	x = n.b.Op("q_reduce_mean", a, x)
	x = n.contract("q_dot", ir.Attrs{}, x, s[3], false, s[3], classes)
	return n.b.Graph(n.b.Op("uniform_dequantize", nil, x))
}

func (n *net) stem(x *ir.Value) *ir.Value {
	x = n.conv(x, 7, 2, 64, 1, "relu")
	return n.b.Op("max_pool", ir.Attrs{"kernel": []int{3, 3}, "strides": []int{2, 2}, "padding": []int{1, 1, 1, 1}}, x)
}

// resNet18 is He et al. 2015 with basic blocks: 1.82 billion MACs.
func resNet18(quantized bool) (*ir.Graph, error) {
	n, _, x := newNet("resnet18", quantized)
	x = n.stem(x)
	for stage, c := range []int{64, 128, 256, 512} {
		for block := range 2 {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			y := n.conv(x, 3, stride, c, 1, "relu")
			y = n.conv(y, 3, 1, c, 1, "")
			if stride > 1 {
				x = n.conv(x, 1, stride, c, 1, "")
			}
			x = n.add(y, x, true)
		}
	}
	return n.head(x, 1000)
}

// resNet50 has bottleneck blocks with the stride on the 3×3: 4.1 billion MACs.
func resNet50(quantized bool) (*ir.Graph, error) {
	n, _, x := newNet("resnet50", quantized)
	x = n.stem(x)
	for stage, blocks := range []int{3, 4, 6, 3} {
		c := 64 << stage
		for block := range blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			y := n.conv(x, 1, 1, c, 1, "relu")
			y = n.conv(y, 3, stride, c, 1, "relu")
			y = n.conv(y, 1, 1, 4*c, 1, "")
			if block == 0 {
				x = n.conv(x, 1, stride, 4*c, 1, "")
			}
			x = n.add(y, x, true)
		}
	}
	return n.head(x, 1000)
}

// mobileNetV2 is Sandler et al. 2018, width 1: 300 million MACs.
func mobileNetV2(quantized bool) (*ir.Graph, error) {
	n, _, x := newNet("mobilenetv2", quantized)
	x = n.conv(x, 3, 2, 32, 1, "relu6")
	for _, r := range []struct{ t, c, n, s int }{{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}} {
		for i := range r.n {
			stride := r.s
			if i > 0 {
				stride = 1
			}
			c := x.Type.Shape[3]
			y := x
			if r.t > 1 {
				y = n.conv(y, 1, 1, c*r.t, 1, "relu6")
			}
			y = n.conv(y, 3, stride, c*r.t, c*r.t, "relu6")
			y = n.conv(y, 1, 1, r.c, 1, "")
			if stride == 1 && c == r.c {
				y = n.add(y, x, false)
			}
			x = y
		}
	}
	return n.head(n.conv(x, 1, 1, 1280, 1, "relu6"), 1000)
}
