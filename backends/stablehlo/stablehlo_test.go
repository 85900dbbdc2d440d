package stablehlo

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

func needXLA(t *testing.T) {
	t.Helper()
	if err := (Target{}).Available(); err != nil {
		if os.Getenv("NASC_REQUIRE_XLA") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// run evaluates every node with the op table and compares with XLA.
func compareWithTable(t *testing.T, text string) {
	t.Helper()
	g, err := ir.ParseGraph("test.ir", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	vals := map[*ir.Value]*ir.Tensor{}
	var in []*ir.Tensor
	for _, v := range g.Inputs {
		x := ir.NewTensor(v.Type.DType, v.Type.Shape...)
		for i := range x.Len() {
			switch {
			case v.Type.DType.IsFloat():
				x.Set(i, rng.NormFloat64())
			case v.Type.DType == ir.S8:
				x.Set(i, float64(rng.IntN(256)-128))
			default:
				x.Set(i, float64(rng.IntN(256)))
			}
		}
		vals[v] = x
		in = append(in, x)
	}
	for _, n := range g.Nodes {
		args := make([]*ir.Tensor, max(len(n.Op.In), len(n.Inputs)))
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			if args[i] = vals[v]; v.Const != nil {
				args[i] = v.Const
			}
		}
		out, err := n.Op.Eval(n, args)
		if err != nil {
			t.Fatalf("%s: %v", n.Op.Name, err)
		}
		for i, v := range n.Outputs {
			vals[v] = out[i]
		}
	}
	exe, err := Target{}.Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	got := backends.NewOutputs(g)
	if err := exe.Run(context.Background(), in, got); err != nil {
		t.Fatal(err)
	}
	for i, v := range g.Outputs {
		if !ir.SameData(got[i], vals[v]) {
			bad := 0
			for k := range got[i].Len() {
				if got[i].At(k) != vals[v].At(k) {
					if bad++; bad < 4 {
						t.Errorf("output %d, element %d: XLA %v, reference %v", i, k, got[i].At(k), vals[v].At(k))
					}
				}
			}
			t.Errorf("output %d (%v): %d of %d elements differ", i, v.Type, bad, got[i].Len())
		}
	}
}

func TestIntegerBits(t *testing.T) {
	needXLA(t)
	for name, text := range map[string]string{
		"convolution": `const @w: s8[3,3,5,7]<axis=3> scale=[1,1,1,1,1,1,1] zero=[0] = randint(3,-127,127)
const @b: i32[7] = [100,-200,3000,0,5,6,-7]
const @m: f32[7] = [0.001,0.002,0.0005,0.0011,0.0013,0.0007,0.003]
graph @main(%x: u8[2,9,8,5]<0.02:131>) {
  %y = q_convolution %x @w @b @m padding=[1,0,1,2] strides=[2,1] out_scale=0.05 out_zero=7 qmin=7 qmax=200
  return %y
}`,
		"depthwise": `const @w: s8[3,3,1,6]<axis=3> scale=[1,1,1,1,1,1] zero=[0] = randint(5,-127,127)
const @m: f32[6] = [0.001,0.002,0.0005,0.0011,0.0013,0.0007]
graph @main(%x: u8[1,9,8,6]<0.02:3>) {
  %y = q_convolution %x @w _ @m padding=[1,1,1,1] strides=[2,2] groups=6 out_scale=0.05 out_zero=128
  return %y
}`,
		"transposed": `const @w: s8[3,2,4,5]<axis=3> scale=[1,1,1,1,1] zero=[0] = randint(5,-127,127)
const @b: i32[5] = [1,2,-3000,4,5]
const @m: f32[5] = [0.001,0.002,0.0005,0.0011,0.0013]
graph @main(%x: u8[2,5,4,4]<0.02:3>) {
  %y = q_convolution_transpose %x @w @b @m padding=[1,0,0,1] strides=[2,2] output_padding=[1,0] out_scale=0.05 out_zero=128
  return %y
}`,
		"signed dot": `const @w: s8[13,6]<axis=1> scale=[1,1,1,1,1,1] zero=[0] = randint(6,-127,127)
const @b: i32[6] = [1,2,3,4,5,-6000]
const @m: f32[6] = [0.001,0.002,0.0005,0.0011,0.0013,0.0007]
graph @main(%x: s8[2,3,13]<0.02:-9>) {
  %y = q_dot %x @w @b @m out_dtype="f32"
  %z = q_dot %x @w @b @m out_dtype="s8" out_zero=-3
  return %y, %z
}`,
		"elementwise": `const @t: u8[256] = randint(9,0,255)
graph @main(%a: u8[2,4,4,6]<0.02:3>, %b: u8[2,4,4,6]<0.0317:77>, %s: u8[2,1,1,6]<0.004:0>) {
  %c = q_add %a %b out_scale=0.041 out_zero=50 qmin=50 qmax=255
  %d = q_multiply %c %s out_scale=0.02 out_zero=50
  %e = q_lookup %d @t out_scale=0.03 out_zero=9
  %f = q_average_pool %e kernel=[3,3] padding=[1,1,1,1] strides=[2,2] out_scale=0.03 out_zero=9
  %g = q_reduce_mean %e axes=[1,2] out_scale=0.02 out_zero=4
  %h = max_pool %e kernel=[2,2] strides=[2,2]
  %i = q_resize %h size=[5,7] mode="linear" out_scale=0.03 out_zero=9
  %j = resize %h size=[5,7]
  %k = concatenate %i %j axis=3
  %l = pad %k low=[0,1,0,0] high=[0,0,2,0]
  %m = slice %l start=[0,5,0,11] limit=[2,0,9,1] stride=[1,-2,2,-1]
  return %d, %f, %g, %m
}`,
		"attention": `const @e: i32[256] = randint(4,1,65536)
graph @main(%q: u8[2,5,8]<0.02:120>, %k: u8[2,7,8]<0.03:110>, %v: s8[2,7,8]<0.01:3>) {
  %s = q_dot_general %q %k transpose_b=true out_scale=0.1 out_zero=128
  %p = q_softmax %s @e out_scale=0.00392156862745098 out_zero=0
  %o = q_dot_general %p %v out_scale=0.02 out_zero=100
  return %p, %o
}`,
		"edges": `graph @main(%x: f32[3,40]) {
  %q = uniform_quantize %x out_scale=0.0123 out_zero=120
  %y = uniform_dequantize %q
  return %q, %y
}`,
	} {
		t.Run(name, func(t *testing.T) { compareWithTable(t, text) })
	}
}

func TestRefusesByName(t *testing.T) {
	g, err := ir.ParseGraph("t", `graph @main(%x: f32[4,2,3]) {
  %q, %s, %z = dynamic_quantize_linear %x !"dyn"
  return %q
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(g); err == nil || err.Error() != `dynamic_quantize_linear "dyn": the op has no StableHLO form in nasc` {
		t.Fatalf("found %v", err)
	}
}

// Every float op must at least be a module that XLA takes; its values are
// compared within a tolerance by the suite for targets.
func TestFloatModulesCompile(t *testing.T) {
	needXLA(t)
	const text = `const @w: f32[3,3,4,6] = normal(1,0.2)
const @dw: f32[3,3,1,6] = normal(2,0.2)
const @tw: f32[2,2,6,4] = normal(3,0.2)
const @s: f32[8] = normal(4,1)
const @d: f32[8,5] = normal(5,1)
graph @main(%x: f32[2,6,6,4], %t: f32[2,3,8], %i: i64[3]) {
  %a = convolution %x @w padding=[1,1,1,1] activation="clamp" act_max=6.0
  %b = convolution %a @dw groups=6 strides=[2,2] padding=[0,0,1,1]
  %c = convolution_transpose %b @tw strides=[2,2]
  %p = average_pool %c kernel=[3,3] padding=[1,1,1,1]
  %m = max_pool %p kernel=[2,2] strides=[2,2]
  %r = resize %m size=[5,5] mode="linear"
  %n = instance_norm %r
  %g = group_norm %n groups=2
  %e = erf %g
  %h = hard_swish %e
  %k = gelu %h
  %l = layer_norm %t @s @s
  %o = softmax %l
  %u = dot %o @d activation="relu"
  %v = attention %l %l %l scale=0.3
  %z = gather %u %i axis=1
  %y = mish %z
  %q = reduce_max %k axes=[1,2]
  return %q, %y, %v
}`
	g, err := ir.ParseGraph("float.ir", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := Target{}.Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := exe.Close(); err != nil {
		t.Fatal(err)
	}
}
