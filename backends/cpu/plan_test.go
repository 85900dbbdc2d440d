package cpu

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// parse reads one graph in text form.
func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	m, err := ir.Parse("test", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Graphs[0]
}

func plan(t *testing.T, g *ir.Graph) *program {
	t.Helper()
	e, err := Int8().Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e.(*program)
}

func ops(p *program) string {
	var s []string
	for _, st := range p.Steps() {
		s = append(s, st.Op)
	}
	return strings.Join(s, " ")
}

const weights = `
const @w: f32[3,3,4,4] = splat 0.125
const @b: f32[4] = [1,2,3,4]
`

// What is fused, what is a view, and what is computed in place.
func TestPlans(t *testing.T) {
	for _, c := range []struct{ name, text, ops string }{
		{"conv+add+relu", weights + `
graph @g(%x: f32[1,6,6,4], %r: f32[1,6,6,4]) {
  %c = convolution %x @w @b padding=[1,1,1,1]
  %a = add %r %c
  %y = relu %a
  return %y
}`, "convolution+add+relu"},
		{"conv+hard_swish+scale+shift", weights + `
const @s: f32[1,1,1,1] = [1.25]
const @t: f32[1] = [-0.375]
graph @g(%x: f32[1,6,6,4]) {
  %c = convolution %x @w @b padding=[1,1,1,1]
  %h = hard_swish %c
  %m = multiply @s %h
  %y = add %m @t
  return %y
}`, "convolution+hard_swish+multiply+add"},
		{"relu, a shift alone", weights + `
const @t: f32[] = [0.375]
graph @g(%x: f32[1,6,6,4]) {
  %c = convolution %x @w @b strides=[2,2]
  %h = relu %c
  %y = add @t %h
  return %y
}`, "convolution+relu+add"},
		{"dense with a residual, silu, a scale alone", `
const @w: f32[4,20] = normal(1,1)
const @s: f32[] = [-0.75]
graph @g(%x: f32[3,4], %r: f32[3,20]) {
  %c = dot %x @w
  %d = add %c %r
  %h = silu %d
  %y = multiply %h @s
  return %y
}`, "dot+add+silu+multiply"},
		{"a factor for each channel stands alone, and so does what others read", weights + `
const @t: f32[] = [0.375]
graph @g(%x: f32[1,6,6,4]) {
  %c = convolution %x @w @b
  %h = tanh %c
  %m = multiply %h @b
  %d = convolution %x @w @b
  %e = relu %d
  %f = multiply %e @t
  %z = add %f %e
  return %m, %z
}`, "convolution+tanh multiply convolution+relu multiply add"},
		{"a sum that others read is not swallowed", weights + `
graph @g(%x: f32[1,6,6,4], %r: f32[1,6,6,4]) {
  %c = convolution %x @w @b padding=[1,1,1,1]
  %a = add %r %c
  %y = relu %a
  return %y, %c
}`, "convolution add+relu"},
		{"mask of scores", `
graph @g(%x: f32[2,3,5,7], %m: f32[2,1,1,7]) {
  %a = add %m %x
  %y = softmax %a
  return %y
}`, "add+softmax"},
		{"mask that is no row of all keys", `
graph @g(%x: f32[2,3,5,7], %m: f32[5,1]) {
  %a = add %x %m
  %y = softmax %a
  return %y
}`, "add softmax"},
		{"pad folded", weights + `
graph @g(%x: f32[1,6,6,4]) {
  %p = pad %x low=[0,1,1,0] high=[0,1,1,0]
  %y = convolution %p @w @b
  return %y
}`, "pad+convolution"},
		{"views cost nothing", `
graph @g(%x: f32[1,6,6,4]) {
  %a = relu %x
  %r = reshape %a shape=[6,24]
  %s = slice %r start=[2,0] limit=[4,24]
  %y = tanh %s
  return %y
}`, "relu tanh"},
		{"parts computed in their place", `
graph @g(%x: f32[1,6,6,4]) {
  %a = relu %x
  %b = tanh %x
  %y = concatenate %a %b axis=1
  return %y
}`, "relu tanh"},
		{"constants are computed at compile time", weights + `
graph @g(%x: f32[4]) {
  %c = add @b @b
  %y = multiply %x %c
  return %y
}`, "multiply"},
		{"an output again, by another name, is copied", `
graph @g(%x: f32[4]) {
  %a = relu %x
  %b = reshape %a shape=[4]
  return %a, %b
}`, "relu copy"},
		{"an input that is an output is copied", `
graph @g(%x: f32[4]) {
  return %x
}`, "copy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := parse(t, c.text)
			if got := ops(plan(t, g)); got != c.ops {
				t.Errorf("the plan is %q; wanted %q", got, c.ops)
			}
			backendtest.Compare(t, Int8(), backendtest.Config{}, g, graphgen.Inputs(g, 1))
		})
	}
}

// A convolution whose residual is its own input must not write over it.
func TestResidualOfOwnInput(t *testing.T) {
	g := parse(t, weights+`
graph @g(%x: f32[1,6,6,4]) {
  %z = tanh %x
  %c = convolution %z @w @b padding=[1,1,1,1]
  %a = add %z %c
  %y = relu %a
  return %y
}`)
	backendtest.Compare(t, F32(), backendtest.Config{}, g, graphgen.Inputs(g, 1))
}

// Once warm, a run allocates nothing, with one thread and with two.
func TestNoAllocation(t *testing.T) {
	for _, quantized := range []bool{false, true} {
		for _, threads := range []int{1, 2} {
			t.Run(fmt.Sprintf("quantized=%v/threads=%d", quantized, threads), func(t *testing.T) {
				net := graphgen.Nets()[2]
				g, err := net.Build(quantized)
				if err != nil {
					t.Fatal(err)
				}
				e, err := Int8().Compile(g, backends.Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				for _, s := range e.(backends.Planned).Steps() {
					if s.Fallback {
						t.Errorf("%s %s has no kernel", s.Op, s.Label)
					}
				}
				in, out := graphgen.Inputs(g, 1), backends.NewOutputs(g)
				ctx := context.Background()
				// Many runs: Go's scheduler allocates now and then when it
				// makes a thread for a helper.
				if n := testing.AllocsPerRun(50, func() {
					if err := e.Run(ctx, in, out); err != nil {
						t.Fatal(err)
					}
				}); n > 0 {
					t.Errorf("%v allocations a run", n)
				}
			})
		}
	}
}
