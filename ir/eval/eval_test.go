package eval_test

import (
	"context"
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
