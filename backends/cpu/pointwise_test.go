package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// eager is the engine with pointwise groups of tensors of any size.
type eager struct{ target }

func (eager) Compile(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	return compile(g, o, false, 1)
}

// lazy is the engine without them.
type lazy struct{ target }

func (lazy) Compile(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	return compile(g, o, false, 1<<62)
}

func eagerly(t *testing.T, g *ir.Graph) *program {
	t.Helper()
	e, err := eager{}.Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e.(*program)
}

// What becomes one step, and what must not.
func TestPointwisePlans(t *testing.T) {
	for _, c := range []struct{ name, text, ops string }{
		{"the slope of gelu", `
const @a: f32[] = [0.7071]
graph @g(%x: f32[37,24], %d: f32[37,24]) {
  %m = multiply %x @a
  %e = erf %m
  %s = add %e @a
  %q = multiply %x %x
  %n = multiply %q @a
  %p = exponential %n
  %z = multiply %x %p
  %w = add %s %z
  %y = multiply %d %w
  return %y
}`, "multiply+erf+add+multiply+multiply+exponential+multiply+add+multiply"},
		{"the gradient of softmax", `
graph @g(%x: f32[7,5,9], %d: f32[7,5,9]) {
  %s = softmax %x
  %m = multiply %s %d
  %r = reduce_sum %m axes=[2] keep_dims=true
  %b = subtract %d %r
  %y = multiply %s %b
  return %y, %s
}`, "softmax+multiply+reduce_sum+subtract+multiply"},
		{"what stands between comes after", `
const @w: f32[24,24] = normal(1,1)
graph @g(%x: f32[40,24], %f: f32[24]) {
  %t = tanh %x
  %d = dot %t @w
  %a = multiply %d %f
  %s = reduce_sum %a axes=[0]
  %b = exponential %a
  %y = add %b %x
  return %y, %s
}`, "tanh dot multiply+exponential+add reduce_sum"},
		{"where that takes more memory", `
graph @g(%x: f32[40,24], %f: f32[24]) {
  %a = multiply %x %f
  %s = reduce_sum %a axes=[0]
  %b = exponential %a
  %y = add %b %x
  return %y, %s
}`, "multiply reduce_sum exponential add"},
		{"a member that reads what stands between", `
graph @g(%x: f32[40,24], %f: f32[24]) {
  %a = tanh %x
  %s = reduce_sum %a axes=[0]
  %y = multiply %a %s
  %z = relu %a
  return %y, %z
}`, "tanh reduce_sum multiply relu"},
		{"a way through another kernel", `
const @w: f32[24,24] = normal(1,1)
graph @g(%x: f32[40,24]) {
  %a = tanh %x
  %d = dot %a @w
  %e = exponential %a
  %y = divide %d %e
  return %y
}`, "tanh dot exponential+divide"},
		{"rows of several tensors", `
graph @g(%x: f32[3,5,8], %b: f32[1,5,8]) {
  %a = tanh %x
  %y = add %a %b
  return %y
}`, "tanh add"},
		{"one row", `
graph @g(%x: f32[1,800]) {
  %a = tanh %x
  %y = exponential %a
  return %y
}`, "tanh exponential"},
		{"a batch norm and its gradient", `
graph @g(%x: f32[600,24], %s: f32[24], %b: f32[24], %d: f32[600,24]) {
  %n, %m, %v = batch_norm_training %x %s %b
  %r = clamp %n min=0 max=1
  %c = clamp_grad %n %d min=0 max=1
  %dx, %ds, %db = batch_norm_grad %x %s %m %v %c
  return %r, %dx, %ds, %db
}`, "batch_norm_training batch_norm_training batch_norm_training batch_norm_training+clamp+clamp_grad+batch_norm_grad batch_norm_grad batch_norm_grad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := parse(t, c.text)
			if got := ops(eagerly(t, g)); got != c.ops {
				t.Errorf("the plan is %q; wanted %q", got, c.ops)
			}
			eachLevel(t, g)
			if p := plan(t, g); strings.Contains(fmt.Sprint(p.Steps()), "pointwise_") {
				t.Error("small tensors make a pointwise group")
			}
		})
	}
}

func eachLevel(t *testing.T, g *ir.Graph) {
	t.Helper()
	for _, l := range isa.Available() {
		for _, threads := range []int{1, 2} {
			o := backends.Options{ISA: l.String(), Threads: threads}
			backendtest.Compare(t, eager{F32().(target)}, backendtest.Config{Options: o}, g, graphgen.Inputs(g, 1))
		}
	}
}

// Random graphs of elementwise functions, with reductions, norms and products among
// them, give the reference's bits, in no more memory than without pointwise groups.
func TestPointwiseRandomly(t *testing.T) {
	graphs := 100
	if testing.Short() {
		graphs = 10
	}
	groups := 0
	for seed := range uint64(graphs) {
		g := pointwiseGraph(t, seed)
		eachLevel(t, g)
		if t.Failed() {
			t.Fatalf("seed %d\n%s", seed, g)
		}
		for _, threads := range []int{1, 2} {
			o := backends.Options{Threads: threads}
			with, err := eager{}.Compile(g, o)
			if err != nil {
				t.Fatal(err)
			}
			without, err := lazy{}.Compile(g, o)
			if err != nil {
				t.Fatal(err)
			}
			p, q := with.(*program), without.(*program)
			if p.arena > q.arena+q.arena/arenaSlack {
				t.Errorf("seed %d: %d bytes of arena with pointwise groups, %d without\n%s", seed, p.arena, q.arena, g)
			}
			groups += strings.Count(fmt.Sprint(p.Steps()), "pointwise_")
			var a, b int64
			for _, s := range p.Steps() {
				a += s.MACs
			}
			for _, s := range q.Steps() {
				b += s.MACs
			}
			if a != b {
				t.Errorf("seed %d: %d multiply-accumulates, %d without", seed, a, b)
			}
			_, _ = with.Close(), without.Close()
		}
	}
	if groups < graphs {
		t.Errorf("%d pointwise groups in %d graphs", groups, graphs)
	}
}

// pointwiseGraph draws a graph.
func pointwiseGraph(t *testing.T, seed uint64) *ir.Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 77))
	shapes := []ir.Shape{{300, 24}, {13, 7, 65}, {2, 9, 8, 16}, {5, 1, 33}, {700, 3}, {3, 500}}
	s := shapes[r.IntN(len(shapes))]
	n := s[len(s)-1]
	column := append(append(ir.Shape{}, s[:len(s)-1]...), 1)
	b := ir.NewBuilder(fmt.Sprintf("pointwise%d", seed))
	full := []*ir.Value{b.Input("x", ir.T(ir.F32, s...)), b.Input("y", ir.T(ir.F32, s...))}
	columns := []*ir.Value{b.Input("c", ir.T(ir.F32, column...))}
	rows := []*ir.Value{b.Input("r", ir.T(ir.F32, n)), b.Input("o", ir.T(ir.F32, 1)), b.Input("l", ir.T(ir.F32, append(make(ir.Shape, 0), 1, n)...))}
	weights := b.Input("w", ir.T(ir.F32, n, n))
	pick := func(vs []*ir.Value) *ir.Value { return vs[max(0, len(vs)-1-r.IntN(4)-r.IntN(2)*r.IntN(len(vs)))] }
	binary := []string{"add", "subtract", "multiply", "maximum", "minimum", "divide"}
	unary := []string{"tanh", "exponential", "relu", "abs", "erf", "gelu", "logistic", "negate"}
	var out []*ir.Value
	for range 6 + r.IntN(14) {
		x := pick(full)
		var y *ir.Value
		switch r.IntN(18) {
		case 0, 1, 2, 3:
			y = b.Op(binary[r.IntN(len(binary))], nil, x, pick(full))
		case 4:
			y = b.Op(binary[r.IntN(len(binary))], nil, x, pick(rows))
		case 5:
			y = b.Op(binary[r.IntN(len(binary))], nil, pick(columns), x)
		case 6, 7, 8:
			y = b.Op(unary[r.IntN(len(unary))], nil, x)
		case 9:
			y = b.Op("clamp_grad", ir.Attrs{"min": -0.5, "max": 0.5}, x, pick(full))
		case 10:
			op := []string{"reduce_sum", "reduce_mean", "reduce_max"}[r.IntN(3)]
			columns = append(columns, b.Op(op, ir.Attrs{"axes": []int{len(s) - 1}, "keep_dims": true}, x))
			continue
		case 11:
			columns = append(columns, b.Op("tanh", nil, b.Op("add", nil, pick(columns), rows[1])))
			continue
		case 12:
			axes := make([]int, len(s)-1)
			for i := range axes {
				axes[i] = i
			}
			rows = append(rows, b.Op("reduce_sum", ir.Attrs{"axes": axes}, x))
			continue
		case 13:
			y = b.Op("softmax", nil, x)
		case 14:
			y = b.Op("layer_norm", nil, x, rows[0], rows[0])
		case 15:
			y = b.Op("dot", nil, x, weights)
		case 16:
			out = append(out, b.Op("concatenate", ir.Attrs{"axis": 0}, x, pick(full)))
			continue
		case 17:
			flat := ir.Shape{s[:len(s)-1].Elems(), n}
			y = b.Op("reshape", ir.Attrs{"shape": []int(s)}, b.Op("reshape", ir.Attrs{"shape": []int(flat)}, x))
		}
		full = append(full, y)
	}
	for i, v := range full[2:] {
		if r.IntN(5) == 0 || i == len(full)-3 {
			out = append(out, v)
		}
	}
	if v := columns[len(columns)-1]; v.Def != nil {
		out = append(out, v)
	}
	g, err := b.Graph(out...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestPointwiseDoesNotAllocate(t *testing.T) {
	for seed := range uint64(5) {
		g := pointwiseGraph(t, seed)
		p := eagerly(t, g)
		in, out := graphgen.Inputs(g, 1), backends.NewOutputs(g)
		ctx := context.Background()
		if n := testing.AllocsPerRun(50, func() {
			if err := p.Run(ctx, in, out); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("seed %d: %v allocations a run", seed, n)
		}
	}
}
