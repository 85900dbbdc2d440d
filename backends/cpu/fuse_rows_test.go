package cpu

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

const rowConstants = `
const @s: f32[40] = splat 1.25
const @b: f32[40] = splat -0.5
const @f: f32[40] = splat 0.75
const @w: s8[40,70]<0.01:0> = splat 3
const @m: f32[70] = splat 0.001
`

// What stands around a layer norm is one step with it, with the reference's bits
// for any number of rows and threads; what others read is written, too.
func TestRowPlans(t *testing.T) {
	for _, c := range []struct{ name, text, ops string }{
		{"8 bits in and out", `
graph @g(%x: s8[2,37,40]<0.05:3>) {
  %f = uniform_dequantize %x
  %n = layer_norm %f @s @b
  %y = uniform_quantize %n out_scale=0.02 out_zero=128
  return %y
}`, "uniform_dequantize+layer_norm+uniform_quantize"},
		{"a residual that goes on", `
graph @g(%x: f32[601,40], %r: f32[601,40]) {
  %a = add %x %r
  %n = layer_norm %a @s @b
  %m = multiply %n @f
  %q = uniform_quantize %m out_scale=0.02 out_zero=128
  %y = add %n %x
  return %q, %y
}`, "add+layer_norm+multiply+uniform_quantize add"},
		{"a sum and its norm", `
graph @g(%x: f32[1,40], %r: f32[1,40]) {
  %a = add %x %r
  %y = layer_norm %a @s @b
  return %y
}`, "add+layer_norm"},
		{"the norm is wanted before it is quantized", `
graph @g(%x: f32[5,40]) {
  %n = layer_norm %x @s @b
  %t = tanh %n
  %q = uniform_quantize %n out_scale=0.02 out_zero=128
  return %q, %t
}`, "layer_norm tanh uniform_quantize"},
		{"a sum that others read", `
graph @g(%x: f32[5,40], %r: f32[5,40]) {
  %a = add %x %r
  %n = layer_norm %a @s @b
  %q = uniform_quantize %n out_scale=0.02 out_zero=128
  return %q, %a
}`, "add+layer_norm+uniform_quantize"},
		{"a sum and a norm that go on", `
graph @g(%x: f32[197,40], %r: f32[197,40]) {
  %a = add %x %r
  %n = layer_norm %a @s @b
  %q = uniform_quantize %n out_scale=0.02 out_zero=128
  %y = add %a %n
  return %q, %y
}`, "add+layer_norm+uniform_quantize add"},
		{"a sum that is wanted before", `
graph @g(%x: f32[5,40], %r: f32[5,40]) {
  %a = add %x %r
  %n = layer_norm %a @s @b
  %t = tanh %a
  %q = uniform_quantize %n out_scale=0.02 out_zero=128
  return %q, %t
}`, "add tanh layer_norm+uniform_quantize"},
		{"in the place of an operand", `
graph @g(%x: f32[77,40], %r: f32[77,40]) {
  %z = tanh %x
  %a = add %z %r
  %n = layer_norm %a @s @b
  %q = uniform_quantize %n out_scale=0.02 out_zero=0 qmin=0 qmax=255
  %t = tanh %a
  return %q, %t
}`, "tanh add+layer_norm+uniform_quantize tanh"},
		{"a clamp above the zero point", `
graph @g(%x: f32[77,40]) {
  %n = layer_norm %x @s @b
  %q = uniform_quantize %n out_scale=0.02 out_zero=100 qmin=110 qmax=200
  return %q
}`, "layer_norm+uniform_quantize"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := parse(t, rowConstants+c.text)
			if got := ops(plan(t, g)); got != c.ops {
				t.Errorf("the plan is %q; wanted %q", got, c.ops)
			}
			everyLevel(t, g)
		})
	}
}

// Dense layers of one value are one step.
func TestBeside(t *testing.T) {
	g := parse(t, rowConstants+`
graph @g(%x: u8[33,40]<0.05:3>, %z: u8[33,40]<0.05:3>) {
  %a = q_dot %x @w _ @m out_scale=0.02 out_zero=128
  %c = q_dot %z @w _ @m out_scale=0.02 out_zero=128
  %b = q_dot %x @w _ @m out_dtype="f32"
  return %a, %b, %c
}`)
	if got, want := ops(plan(t, g)), "q_dot+q_dot q_dot"; got != want {
		t.Errorf("the plan is %q; wanted %q", got, want)
	}
	everyLevel(t, g)
	one, err := Single(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	for _, s := range one.(*program).Program().Steps {
		if s.Func == "" {
			t.Errorf("step %s has no recipe", s.Label)
		}
	}
}

func everyLevel(t *testing.T, g *ir.Graph) {
	t.Helper()
	for _, l := range isa.Available() {
		for _, threads := range []int{1, 2} {
			backendtest.Compare(t, Int8(), backendtest.Config{Options: backends.Options{ISA: l.String(), Threads: threads}}, g, graphgen.Inputs(g, 1))
		}
	}
}

// A plan says which kernels its layers could run by, and runs by those it is given.
func TestKernelChoices(t *testing.T) {
	g := parse(t, rowConstants+`
graph @g(%x: u8[33,40]<0.05:3>) {
  %a = q_dot %x @w _ @m out_scale=0.02 out_zero=128 !"one"
  %b = q_dot %x @w _ @m out_dtype="f32" !"two"
  return %a, %b
}`)
	choices := plan(t, g).Choices()
	if l, err := isa.Best(); err != nil || !l.Has(isa.AVX2) {
		t.Skip("this CPU's kernels have one width")
	}
	if len(choices["one"]) < 2 || len(choices["two"]) < 2 {
		t.Fatalf("choices %v; wanted some for both layers", choices)
	}
	for _, name := range append(choices["two"], "of another machine") {
		backendtest.Compare(t, Int8(), backendtest.Config{Options: backends.Options{Kernels: map[string]string{"one": "?", "two": name}}}, g, graphgen.Inputs(g, 1))
	}
	last := choices["two"][len(choices["two"])-1]
	e, err := Int8().Compile(g, backends.Options{Kernels: map[string]string{"two": last}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if name := e.(*program).Steps()[0].Kernel; !strings.HasSuffix(name, last) {
		t.Errorf("the step runs by %s, not by %s", name, last)
	}
}
