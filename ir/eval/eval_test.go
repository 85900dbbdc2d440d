package eval_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

const net = `const @w: f32[3,3,3,8] = normal(1,0.2)
const @b: f32[8] = [0.1,0.2,-0.3,0.4,0,0.5,-0.6,0.7]
const @dw: f32[3,3,1,8] = normal(2,0.3)
const @s: f32[8] = normal(5,1)
const @d: f32[8,10] = normal(3,0.4)
graph @main(%x: f32[2,9,9,3]) {
  %c = convolution %x @w @b padding=[1,1,1,1] strides=[2,2] activation="relu"
  %e = convolution %c @dw groups=8 padding=[1,1,1,1]
  %h = hard_swish %e
  %r = add %h %c
  %n = layer_norm %r @s @b
  %g = gelu %n
  %m = reduce_mean %g axes=[1,2] keep_dims=false
  %y = dot %m @d
  %p = softmax %y
  return %p
}`

// f32 and f64 must agree to float32's precision: two implementations of every
// op on the way.
func TestSingleAgainstDouble(t *testing.T) {
	g, err := ir.ParseGraph("net.ir", net, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	x := ir.NewTensor(ir.F32, 2, 9, 9, 3)
	for i := range x.F32() {
		x.F32()[i] = float32(rng.NormFloat64())
	}
	watch := make([]*ir.Value, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		watch = append(watch, n.Out())
	}
	one, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{Watch: watch})
	if err != nil {
		t.Fatal(err)
	}
	two, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{Watch: watch, Double: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range watch {
		a, b := one.Watched[i], two.Watched[i]
		if a.DType != ir.F32 || b.DType != ir.F64 {
			t.Fatalf("%v: found %v and %v", v, a.DType, b.DType)
		}
		for k := range a.Len() {
			if d := math.Abs(a.At(k) - b.At(k)); d > 2e-5*math.Max(1, math.Abs(b.At(k))) {
				t.Fatalf("%v %s, element %d: f32 %v, f64 %v", v, v.Def.Op.Name, k, a.At(k), b.At(k))
			}
		}
	}
	sum := 0.0
	for k := range 10 {
		sum += two.Outputs[0].At(k)
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("probabilities sum to %v", sum)
	}
}

func TestWrongInputIsRefused(t *testing.T) {
	g, err := ir.ParseGraph("net.ir", net, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = eval.Run(context.Background(), g, []*ir.Tensor{ir.NewTensor(ir.F32, 1, 9, 9, 3)}, eval.Options{})
	if err == nil || err.Error() != `input "x": f32[1,9,9,3]; wanted f32[2,9,9,3]` {
		t.Errorf("found %v", err)
	}
}

// Each sees every node once, in order, with its operands; what it returns stops
// the run.
func TestEachSeesEveryNode(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @k: f32[2] = [1,2]
graph @main(%x: f32[3,2]) {
  %a = add %x @k
  %b, %c = split %a axis=1 sizes=[1,1]
  %y = subtract %c %b
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := ir.From([]float32{0, 0, 1, 5, 2, 2}, 3, 2)
	var seen []string
	r, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{Each: func(n *ir.Node, in, out []*ir.Tensor) error {
		seen = append(seen, n.Op.Name)
		if len(out) != len(n.Outputs) || in[0] == nil {
			t.Errorf("%s: %d results, operands %v", n.Op.Name, len(out), in)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(seen, r.Outputs[0].F32()); got != "[add split subtract] [1 5 1]" {
		t.Errorf("found %s", got)
	}
	stop := errors.New("enough")
	if _, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{Each: func(*ir.Node, []*ir.Tensor, []*ir.Tensor) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("found %v, wanted the hook's error", err)
	}
}

// In f64 mode quantized ops keep their float32 steps: the integers are the same.
func TestDoubleKeepsIntegers(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: s8[2,2]<axis=1> scale=[0.5,0.25] zero=[0] = [1,-2,3,4]
const @m: f32[2] = [0.31,0.77]
graph @main(%x: f32[2,2]) {
  %q = uniform_quantize %x out_scale=0.1 out_zero=7
  %d = q_dot %q @w _ @m out_scale=0.3 out_zero=9
  %y = uniform_dequantize %d
  return %d, %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := ir.From([]float32{0.35, -0.15, 2.25, 1.05}, 2, 2)
	one, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := eval.Run(context.Background(), g, []*ir.Tensor{x}, eval.Options{Double: true})
	if err != nil {
		t.Fatal(err)
	}
	if !ir.SameData(one.Outputs[0], two.Outputs[0]) || two.Outputs[1].DType != ir.F64 {
		t.Errorf("f32 gives %v, f64 %v of %v", one.Outputs[0].Data, two.Outputs[0].Data, two.Outputs[1].DType)
	}
}

func TestCancelledRunStops(t *testing.T) {
	g, err := ir.ParseGraph("net.ir", net, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := eval.Run(ctx, g, []*ir.Tensor{ir.NewTensor(ir.F32, 2, 9, 9, 3)}, eval.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}
