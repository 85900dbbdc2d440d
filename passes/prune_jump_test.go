package passes

import (
	"context"
	"fmt"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestHull(t *testing.T) {
	// Times on stairs of 16: a width between two costs what the upper one does.
	stairs := []option{{keep: 64}}
	for keep := 56; keep > 0; keep -= 8 {
		stairs = append(stairs, option{keep, float64((64 - keep) / 16), float64(64 - keep)})
	}
	got := fmt.Sprint(hull(3, stairs))
	if want := "[{3 64 48 16} {3 48 32 16} {3 32 16 16}]"; got != want {
		t.Errorf("%s; wanted %s", got, want)
	}
	// Noise and what costs more when it is narrower are no reason to jump.
	if got := hull(0, []option{{keep: 8}, {6, -1, 2}, {4, 0, 4}, {2, -3, 6}}); got != nil {
		t.Errorf("%v for nothing", got)
	}
	// A dear step is skipped where a longer one pays better.
	got = fmt.Sprint(hull(0, []option{{keep: 8}, {6, 1, 10}, {4, 10, 12}}))
	if want := "[{0 8 4 1.2}]"; got != want {
		t.Errorf("%s; wanted %s", got, want)
	}
}

// stairCost is the MACs of convolutions and dense layers whose widths are rounded
// up to a register's.
func stairCost(register int) func(context.Context, *ir.Graph) (float64, error) {
	return func(_ context.Context, g *ir.Graph) (float64, error) {
		sum := 0.0
		for _, n := range g.Nodes {
			if n.Op.Name != "convolution" && n.Op.Name != "dot" {
				continue
			}
			x := n.Out().Type.Shape.With(1)
			w := x[len(x)-1]
			sum += float64(x.Elems()/w*((w+register-1)/register*register)) * float64(n.In(1).Type.Shape.Elems()/w)
		}
		return sum, nil
	}
}

func each(cost func(context.Context, *ir.Graph) (float64, error)) func(context.Context, []*ir.Graph) ([]float64, error) {
	return func(ctx context.Context, gs []*ir.Graph) ([]float64, error) {
		var out []float64
		for _, g := range gs {
			c, err := cost(ctx, g)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		return out, nil
	}
}

// Where cost falls in stairs, groups lose what saves something and nothing else.
func TestPruneByJumps(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @a: f32[3,3,1,16] = normal(1,1)
const @b: f32[3,3,16,64] = normal(2,1)
const @c: f32[3,3,64,64] = normal(3,1)
const @d: f32[64,4] = normal(4,1)
graph @main(%x: f32[N,12,12,1]) {
  %a = convolution %x @a padding=[1,1,1,1] activation="relu"
  %b = convolution %a @b padding=[1,1,1,1] activation="relu"
  %c = convolution %b @c padding=[1,1,1,1] activation="relu"
  %m = reduce_mean %c axes=[1,2] keep_dims=false
  %y = dot %m @d
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	cost := stairCost(16)
	whole, _ := cost(context.Background(), g)
	o := PruneOptions{Cost: cost, Target: 0.5 * whole, Criterion: "l2", Scope: "global"}
	widths := func() []int {
		p, rep, err := Prune(context.Background(), g, o)
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := cost(context.Background(), p); c > o.Target || c != rep.After {
			t.Errorf("costs %g, reported %g, wanted %g", c, rep.After, o.Target)
		}
		var out []int
		for _, x := range rep.Groups {
			out = append(out, x.Is)
		}
		return out
	}
	o.Weigh = each(cost)
	jumped := widths()
	for _, w := range jumped[1:] {
		if w%16 != 0 {
			t.Errorf("widths %v: %d saves no more than the next multiple of 16", jumped, w)
		}
	}
	o.Target = 1
	if _, _, err := Prune(context.Background(), g, o); err == nil {
		t.Error("came down to nothing")
	}
	// Widths that are asked for are kept to.
	o.Target, o.Round = 0.6*whole, 6
	for i, w := range widths() {
		if w%6 != 0 && w != []int{16, 64, 64}[i] {
			t.Errorf("width %d; wanted multiples of 6", w)
		}
	}
}
