package passes

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// How much a pass changes the function is told where that is asked for: on the
// inputs given, and a pass that leaves no numbers is refused.
func TestDifference(t *testing.T) {
	text := `const @w: f32[1,2] = [1,3]
graph @main(%x: f32[N,1]) {
  %y = dot %x @w
  return %y
}
`
	for _, c := range []struct {
		name string
		run  func(g *ir.Graph, a Args) (bool, error)
		x    float32
		want float64
	}{
		{"halved", func(g *ir.Graph, _ Args) (bool, error) { g.Nodes[0].Inputs[1].Const.F32()[1] = 1.5; return true, nil }, 2, 0.5},
		{"no number", func(g *ir.Graph, _ Args) (bool, error) {
			g.Nodes[0].Inputs[1].Const.F32()[0] = float32(math.NaN())
			return true, nil
		}, 2, math.NaN()},
		{"nothing", func(*ir.Graph, Args) (bool, error) { return false, nil }, 2, -1},
	} {
		g, err := ir.ParseGraph("x", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		pass := Pass{Name: c.name, Promise: Changes, Run: func(g *ir.Graph, a Args) (bool, error) {
			w := g.Nodes[0].Inputs[1]
			own := ir.From(append([]float32{}, w.Const.F32()...), w.Const.Shape...)
			w.Const = own
			return c.run(g, a)
		}}
		x := ir.From([]float32{c.x}, 1, 1)
		steps, err := Run(context.Background(), g, []Pass{pass}, Options{Difference: true, Inputs: [][]*ir.Tensor{{x}}})
		if c.want != c.want {
			if err == nil || !strings.Contains(err.Error(), "pass no number: outputs that are NaN or infinite") {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err != nil || steps[0].MaxAbs != c.want {
			t.Errorf("%s: %v, %v; wanted %v", c.name, steps, err, c.want)
		}
		// What is promised to stay is no number either.
		if c.name == "no number" {
			pass.Promise = Close
			if g, err = ir.ParseGraph("x", text, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := Run(context.Background(), g, []Pass{pass}, Options{VerifyEach: true}); err == nil {
				t.Errorf("a pass that makes NaN of numbers was taken for close")
			}
		}
	}
}
