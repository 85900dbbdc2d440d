package ir_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// evalLast runs a graph of one node on tensors given by input name.
func evalLast(t *testing.T, text string, in ...*ir.Tensor) []*ir.Tensor {
	t.Helper()
	g, err := ir.ParseGraph("test.ir", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := g.Nodes[len(g.Nodes)-1]
	args := make([]*ir.Tensor, max(len(n.Op.In), len(n.Inputs)))
	at := 0
	for i, v := range n.Inputs {
		switch {
		case v == nil:
		case v.Const != nil:
			args[i] = v.Const
		default:
			args[i] = in[at]
			at++
		}
	}
	out, err := n.Op.Eval(n, args)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRequant(t *testing.T) {
	u8 := ir.Out{DType: ir.U8, Scale: 1, Zero: 10, QMin: 0, QMax: 255}
	for _, c := range []struct {
		acc  int32
		m    float32
		o    ir.Out
		want int32
	}{
		{5, 0.5, u8, 12},              // 2.5 rounds to the even 2
		{7, 0.5, u8, 14},              // 3.5 rounds to the even 4
		{-5, 0.5, u8, 8},              // −2.5 rounds to −2
		{-25, 1, u8, 0},               // below
		{300, 1, u8, 255},             // above
		{math.MaxInt32, 255, u8, 255}, // far above: clamped before it is converted
		{math.MinInt32, 255, u8, 0},
		{20, 1, ir.Out{DType: ir.S8, Zero: -10, QMin: -10, QMax: 5}, 5},
		{-20, 1, ir.Out{DType: ir.S8, Zero: -10, QMin: -10, QMax: 5}, -10},
		{1<<24 + 1, 1.0 / (1 << 18), u8, 10 + 64}, // the sum itself rounds to float32
	} {
		if got := ir.Requant(c.acc, c.m, c.o); got != c.want {
			t.Errorf("Requant(%d, %v, %+v) = %d, want %d", c.acc, c.m, c.o, got, c.want)
		}
	}
}

func TestQuantizeEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	y := evalLast(t, `graph @main(%x: f32[7]) {
  %y = uniform_quantize %x out_scale=0.5 out_zero=100
  return %y
}`, ir.From([]float32{0, nan, inf, -inf, 0.25, 0.75, -0.25}, 7))
	want := []uint8{100, 100, 255, 0, 100, 102, 100} // halves go to even
	if got := y[0].U8(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// The quantized convolution against sums written out per output, in int64.
func TestQConvolutionByHand(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for range 40 {
		c, k, g := 1+rng.IntN(4), 1+rng.IntN(4), 1+rng.IntN(3)
		h, w := 3+rng.IntN(5), 3+rng.IntN(5)
		kh, kw := 1+rng.IntN(3), 1+rng.IntN(3)
		sh, sw, dh := 1+rng.IntN(2), 1+rng.IntN(2), 1
		if kh < 3 {
			dh = 1 + rng.IntN(2)
		}
		pt, pl, pb, pr := rng.IntN(2), rng.IntN(2), rng.IntN(2), rng.IntN(2)
		zx := rng.IntN(256)
		text := fmt.Sprintf(`const @w: s8[%d,%d,%d,%d]<1:0> = randint(%d,-127,127)
const @b: i32[%d] = randint(1,-5000,5000)
const @m: f32[%d] = splat 0.003
graph @main(%%x: u8[1,%d,%d,%d]<0.1:%d>) {
  %%y = q_convolution %%x @w @b @m groups=%d strides=[%d,%d] dilation=[%d,1] padding=[%d,%d,%d,%d] out_scale=0.7 out_zero=30 qmin=30 qmax=201
  return %%y
}`, kh, kw, c, g*k, rng.IntN(1000), g*k, g*k, h, w, g*c, zx, g, sh, sw, dh, pt, pl, pb, pr)
		graph, err := ir.ParseGraph("t", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := graph.Nodes[0]
		wt, bias := n.Inputs[1].Const.S8(), n.Inputs[2].Const.I32()
		x := ir.NewTensor(ir.U8, 1, h, w, g*c)
		for i := range x.U8() {
			x.U8()[i] = uint8(rng.IntN(256))
		}
		got := evalLast(t, text, x)[0]
		oh, ow := got.Shape[1], got.Shape[2]
		for i := range got.Len() {
			co, ox, oy := i%(g*k), i/(g*k)%ow, i/(g*k)/ow
			sum := int64(bias[co])
			for ky := range kh {
				for kx := range kw {
					iy, ix := oy*sh-pt+ky*dh, ox*sw-pl+kx
					for ci := range c {
						q := zx // padding stands for zero
						if iy >= 0 && iy < h && ix >= 0 && ix < w {
							q = int(x.U8()[(iy*w+ix)*g*c+co/k*c+ci])
						}
						sum += int64(q-zx) * int64(wt[((ky*kw+kx)*c+ci)*g*k+co])
					}
				}
			}
			v := math.RoundToEven(float64(float32(float32(sum) * 0.003)))
			want := 30 + min(max(v, 0), 171)
			if got.At(i) != want {
				t.Fatalf("%s\noutput %d of %dx%d: found %v, want %v", text, i, oh, ow, got.At(i), want)
			}
		}
	}
}

// Residual addition differs from the real sum by at most half a step plus what
// 15-bit factors lose.
func TestQAddIsClose(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	a, b := ir.NewTensor(ir.U8, 256), ir.NewTensor(ir.U8, 256)
	for i := range 256 {
		a.U8()[i], b.U8()[i] = uint8(i), uint8(rng.IntN(256))
	}
	y := evalLast(t, `graph @main(%a: u8[256]<0.02:3>, %b: u8[256]<0.0317:77>) {
  %y = q_add %a %b out_scale=0.05 out_zero=60
  return %y
}`, a, b)[0]
	for i := range 256 {
		real := (a.At(i)-3)*0.02 + (b.At(i)-77)*0.0317
		want := min(max(real/0.05+60, 0), 255)
		if d := math.Abs(y.At(i) - want); d > 0.5+0.02 {
			t.Errorf("element %d: found %v, the real sum is %.3f", i, y.At(i), want)
		}
	}
}

func TestQSoftmaxSumsToOne(t *testing.T) {
	table := make([]int32, 256)
	for i := range table {
		table[i] = int32(math.RoundToEven(math.Exp(-float64(i)*0.05) * 65536))
	}
	x := ir.From([]uint8{200, 180, 10, 200, 255}, 1, 5)
	g, err := ir.ParseGraph("t", `graph @main(%x: u8[1,5]<0.05:0>, %t: i32[256]) {
  %y = q_softmax %x %t out_dtype="f32"
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Nodes[0].Op.Eval(g.Nodes[0], []*ir.Tensor{x, ir.From(table, 256)})
	if err != nil {
		t.Fatal(err)
	}
	sum, want := 0.0, 0.0
	for i := range 5 {
		want += math.Exp((x.At(i) - 255) * 0.05)
		sum += out[0].At(i)
	}
	if math.Abs(sum-1) > 1e-5 {
		t.Errorf("probabilities sum to %v", sum)
	}
	if p := math.Exp((200-255)*0.05) / want; math.Abs(out[0].At(0)-p) > 1e-4 {
		t.Errorf("p[0] = %v, want %v", out[0].At(0), p)
	}
}

func TestShapeErrorsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`graph @g(%x: f32[N,8,8,3], %w: f32[3,3,8,4]) {
  %y = convolution %x %w
  return %y
}`: "input has 3 channels; weight [3,3,8,4] with groups=1 wants 8",
		`graph @g(%x: f32[2,3], %w: f32[4,3]) {
  %y = dot %x %w
  return %y
}`: "input has 3 features, weight [4,3] wants 4; transpose the weight?",
		`graph @g(%x: f32[2,3], %y: f32[4]) {
  %z = add %x %y
  return %z
}`: "shapes [2,3] and [4] do not broadcast",
		`graph @g(%x: f32[N,3]) {
  %z = reshape %x shape=[3,4]
  return %z
}`: "f32[N,3] does not reshape to [3,4]",
		`graph @g(%x: f32[N,3]) {
  %z = relu %y
  return %z
}`: "y",
		`graph @g(%x: f32[N,3]) {
  %z = relux %x
  return %z
}`: "relux",
	} {
		_, err := ir.ParseGraph("bad.ir", text, nil)
		if err == nil || !containsAll(err.Error(), "bad.ir", want) {
			t.Errorf("%s\nfound error %v, want one with %q", text, err, want)
		}
	}
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
