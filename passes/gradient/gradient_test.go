package gradient

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// TestTable: an op has a product here when the op table says so.
func TestTable(t *testing.T) {
	for _, name := range ir.OpNames() {
		if want := ir.LookupOp(name).Grad == ir.Differentiable; Has(name) != want {
			t.Errorf("op %s: differentiable is %v in the op table, a gradient is here: %v", name, want, Has(name))
		}
	}
	for name := range products {
		if ir.LookupOp(name) == nil {
			t.Errorf("a gradient of %s, which is no op", name)
		}
	}
}

// f is an input of an op's example: floats of a shape, moved and scaled.
type f struct {
	shape       []int
	mean, width float64
}

func in(shape ...int) f { return f{shape: shape, width: 1} }

// above draws from the interval mean ± width.
func around(mean, width float64, shape ...int) f { return f{shape, mean, width} }

type example struct {
	op    string
	attrs ir.Attrs
	in    []any // f, *ir.Tensor (a constant) or nil (absent)
}

func examples() []example {
	var out []example
	add := func(op string, attrs ir.Attrs, in ...any) { out = append(out, example{op, attrs, in}) }
	for name := range unary {
		switch name {
		case "clamp":
			add(name, ir.Attrs{"min": -0.5, "max": 0.75}, in(3, 5))
		case "prelu":
			add(name, nil, in(2, 3, 4), in(4))
		case "convert":
			add(name, ir.Attrs{"dtype": "f64"}, in(2, 3))
		case "log", "sqrt", "rsqrt", "reciprocal":
			add(name, nil, around(2, 1, 3, 5))
		default:
			add(name, nil, in(3, 7))
		}
	}
	add("gelu", ir.Attrs{"approximate": "tanh"}, in(3, 7))
	for name := range binary {
		switch name {
		case "select":
			p := ir.From([]bool{true, false, true}, 3)
			add(name, nil, p, in(2, 1, 3), in(4, 1))
		case "power":
			add(name, nil, around(2, 1, 2, 3), in(3))
		case "divide", "remainder":
			add(name, nil, around(0, 5, 4, 3), around(2, 1, 3))
		default:
			add(name, nil, in(2, 3, 4), in(3, 1))
			add(name, nil, in(4), in(2, 3, 4))
		}
	}
	conv := func(a ir.Attrs, x, w []int, bias any) { add("convolution", a, in(x...), in(w...), bias) }
	conv(ir.Attrs{"padding": []int{1, 1, 1, 1}}, []int{2, 5, 4, 3}, []int{3, 3, 3, 5}, in(5))
	conv(ir.Attrs{"padding": []int{1, 0, 2, 1}, "strides": []int{2, 3}, "activation": "relu"}, []int{2, 7, 8, 4}, []int{3, 2, 2, 6}, nil)
	out[len(out)-1].attrs["groups"] = 2
	conv(ir.Attrs{"dilation": []int{2, 1}, "activation": "clamp", "act_min": -1.0, "act_max": 2.0}, []int{1, 7, 5, 2}, []int{3, 3, 2, 3}, in(3))
	conv(ir.Attrs{"groups": 4, "strides": []int{2, 2}, "padding": []int{1, 1, 1, 1}}, []int{2, 6, 6, 4}, []int{3, 3, 1, 4}, in(4))
	conv(ir.Attrs{"strides": []int{2}}, []int{2, 8, 3}, []int{3, 3, 2}, in(2)) // the last column is not read
	conv(ir.Attrs{"groups": 3, "padding": []int{1, 1}}, []int{2, 6, 3}, []int{3, 1, 6}, nil)
	transposed := func(a ir.Attrs, x, w []int) {
		add("convolution_transpose", a, in(x...), in(w...), in(w[len(w)-1]*max(1, groupsOf(a))))
	}
	transposed(ir.Attrs{}, []int{2, 3, 4, 3}, []int{3, 2, 3, 4})
	transposed(ir.Attrs{"strides": []int{2, 3}, "padding": []int{1, 0, 1, 1}, "output_padding": []int{1, 2}}, []int{1, 4, 3, 2}, []int{3, 3, 2, 2})
	transposed(ir.Attrs{"strides": []int{2, 2}, "output_padding": []int{3, 2}}, []int{1, 3, 3, 2}, []int{2, 2, 2, 2})
	transposed(ir.Attrs{"groups": 2, "dilation": []int{1, 2}}, []int{1, 3, 3, 4}, []int{2, 2, 4, 3})
	add("convolution_weight_grad", ir.Attrs{"kernel": []int{3, 2}, "strides": []int{2, 1}, "padding": []int{1, 0, 1, 1}}, in(2, 5, 4, 2), in(2, 3, 4, 3))
	add("dot", ir.Attrs{"activation": "relu"}, in(2, 3, 4), in(4, 5), in(5))
	for i := range 4 {
		x, y := in(2, 3, 4), in(4, 5)
		if i&1 != 0 {
			x = in(2, 4, 3)
		}
		if i&2 != 0 {
			y = in(5, 4)
		}
		add("dot_general", ir.Attrs{"transpose_a": i&1 != 0, "transpose_b": i&2 != 0}, x, y)
		x.shape = x.shape[1:]
		y.shape = append([]int{3}, y.shape...)
		add("dot_general", ir.Attrs{"transpose_a": i&1 != 0, "transpose_b": i&2 != 0}, x, y)
	}
	add("attention", ir.Attrs{"scale": 0.5}, in(2, 3, 4), in(2, 5, 4), in(2, 5, 3), in(1, 5))
	for _, op := range []string{"softmax", "log_softmax"} {
		add(op, nil, in(3, 5))
		add(op, ir.Attrs{"axis": 1}, in(2, 4, 3))
	}
	add("batch_norm_inference", nil, in(2, 3, 4), in(4), in(4), in(4), around(1, 0.5, 4))
	add("batch_norm_training", ir.Attrs{"epsilon": 0.01}, in(3, 2, 2, 4), in(4), in(4))
	add("layer_norm", nil, in(2, 3, 4), in(4), in(4))
	add("layer_norm", ir.Attrs{"axis": 1}, in(2, 3, 4), nil, in(3, 4))
	add("rms_norm", nil, in(2, 3, 4), in(4))
	add("group_norm", ir.Attrs{"groups": 2}, in(2, 3, 2, 4), in(4), in(4))
	add("instance_norm", nil, in(2, 3, 2, 4), in(4), nil)
	for _, op := range []string{"reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"} {
		add(op, ir.Attrs{"axes": []int{1}, "keep_dims": false}, in(2, 3, 4))
		add(op, ir.Attrs{"axes": []int{0, 2}}, in(2, 3, 2))
	}
	add("max_pool", ir.Attrs{"kernel": []int{3, 2}, "strides": []int{2, 1}, "padding": []int{1, 0, 1, 1}}, in(2, 6, 5, 3))
	add("average_pool", ir.Attrs{"kernel": []int{3, 2}, "strides": []int{2, 1}, "padding": []int{1, 0, 1, 1}}, in(2, 6, 5, 3))
	add("average_pool", ir.Attrs{"kernel": []int{3}, "count_include_pad": true, "padding": []int{1, 1}}, in(2, 6, 3))
	add("concatenate", ir.Attrs{"axis": 1}, in(2, 3, 2), in(2, 1, 2), in(2, 2, 2))
	add("split", ir.Attrs{"axis": 1, "sizes": []int{2, 1, 3}}, in(2, 6))
	add("slice", ir.Attrs{"start": []int{0, 1, 4}, "limit": ir.Shape{2, 3, 0}, "stride": []int{1, 1, -2}}, in(2, 4, 5))
	add("slice", ir.Attrs{"start": []int{1, 1}, "limit": ir.Shape{4, 6}, "stride": []int{1, 3}}, in(4, 7))
	add("pad", ir.Attrs{"low": []int{1, -1}, "high": []int{0, 2}, "value": 3.0}, in(3, 4))
	add("pad", ir.Attrs{"low": []int{1, 2}, "high": []int{1, 0}, "mode": "edge"}, in(3, 4))
	add("pad", ir.Attrs{"low": []int{1, 2}, "high": []int{1, 0}, "mode": "reflect"}, in(3, 4))
	add("reshape", ir.Attrs{"shape": ir.Shape{3, 8}}, in(2, 3, 4))
	add("transpose", ir.Attrs{"permutation": []int{2, 0, 1}}, in(2, 3, 4))
	add("broadcast", ir.Attrs{"shape": ir.Shape{2, 3, 4}}, in(3, 1))
	add("gather", ir.Attrs{"axis": 1}, in(2, 4, 3), ir.From([]int64{3, 0, -1, 3}, 2, 2))
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		add("resize", ir.Attrs{"size": []int{5, 3}, "mode": mode}, in(2, 3, 4, 2))
	}
	add("resize", ir.Attrs{"size": []int{7}, "mode": "linear", "coordinates": "align_corners"}, in(1, 3, 2))
	for _, kind := range []string{"channel", "product"} {
		add("requantize_factor", ir.Attrs{"kind": kind}, around(2, 1, 1), around(2, 1, 3), around(2, 1, 1))
	}
	add("requantize_factor", ir.Attrs{"kind": "mean", "count": 5}, around(2, 1, 1), nil, around(2, 1, 1))
	add("requantize_factor", ir.Attrs{"kind": "channel"}, nil, nil, around(2, 1, 3))
	add("requantize_factor", ir.Attrs{"kind": "add"}, around(2, 0.5, 1), around(4, 0.5, 1), around(2, 1, 1))
	return out
}

func groupsOf(a ir.Attrs) int {
	g, _ := a["groups"].(int)
	return g
}

// TestOps compares each op's gradient with finite differences in float64.
func TestOps(t *testing.T) {
	seen := map[string]bool{"fake_quantize": true} // a staircase: see TestStraightThrough
	for i, e := range examples() {
		seen[e.op] = true
		r := rand.New(rand.NewPCG(uint64(i), 7))
		b := ir.NewBuilder(e.op)
		var args []*ir.Value
		var values []*ir.Tensor
		for _, p := range e.in {
			switch p := p.(type) {
			case nil:
				args = append(args, nil)
			case *ir.Tensor:
				args = append(args, b.Const("c", p))
			case f:
				x := ir.NewTensor(ir.F64, p.shape...)
				for k := range ir.Of[float64](x) {
					x.Set(k, p.mean+p.width*(2*r.Float64()-1))
				}
				args = append(args, b.Input("x", ir.T(ir.F32, p.shape...)))
				values = append(values, x)
			}
		}
		g, err := b.Graph(b.Multi(e.op, "", e.attrs, args...)...)
		if err != nil {
			t.Fatalf("%s %v: %v", e.op, e.attrs, err)
		}
		if e.op == "batch_norm_training" {
			g.Outputs = g.Outputs[:1] // the others are not differentiated
		}
		if bad, checked := compare(t, g, values, r, 1e-6); bad || checked < len(values) {
			t.Errorf("%s %v failed (%d of %d directions were smooth)", e.op, e.attrs, checked, 3*len(values))
		}
	}
	for name := range products {
		if !seen[name] {
			t.Errorf("%s has no example", name)
		}
	}
}

// compare holds the gradient of Σ r·output, for random r, along three random
// directions of each input against central differences in float64. Directions
// in which two step widths disagree cross a kink and are not counted.
func compare(t *testing.T, g *ir.Graph, x []*ir.Tensor, r *rand.Rand, tolerance float64) (bad bool, checked int) {
	t.Helper()
	d := g.Clone()
	seeds := map[*ir.Value]*ir.Value{}
	weights := map[int]*ir.Tensor{}
	for i, v := range d.Outputs {
		if !v.Type.DType.IsFloat() {
			continue
		}
		w := ir.NewTensor(v.Type.DType, v.Type.Shape...)
		for k := range w.Len() {
			w.Set(k, float64(float32(r.NormFloat64())))
		}
		weights[i] = w
		if s := seeds[v]; s != nil {
			t.Fatalf("output %v is there twice", v)
		}
		seeds[v] = d.Const("seed", w)
	}
	grads, err := Append(d, seeds, d.Inputs)
	if err != nil {
		t.Fatalf("%v\n%s", err, g)
	}
	d.Outputs = grads
	if err := d.Verify(); err != nil {
		t.Fatalf("%v\n%s", err, d)
	}
	run := func(g *ir.Graph, x []*ir.Tensor) []*ir.Tensor {
		res, err := eval.Run(context.Background(), g, x, eval.Options{Double: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, g)
		}
		return res.Outputs
	}
	loss := func(x []*ir.Tensor) float64 {
		var s float64
		for i, y := range run(g, x) {
			if w := weights[i]; w != nil {
				for k := range y.Len() {
					s += y.At(k) * w.At(k)
				}
			}
		}
		return s
	}
	dx := run(d, x)
	for i := range x {
		for range 3 {
			dir := make([]float64, x[i].Len())
			for k := range dir {
				dir[k] = r.NormFloat64()
			}
			step := func(h float64) float64 {
				moved := append([]*ir.Tensor{}, x...)
				moved[i] = x[i].Clone()
				for k, v := range dir {
					moved[i].Set(k, x[i].At(k)+h*v)
				}
				return loss(moved)
			}
			diff := func(h float64) float64 { return (step(h) - step(-h)) / (2 * h) }
			var want, size float64
			for k, v := range dir {
				want += v * dx[i].At(k)
				size += math.Abs(v * dx[i].At(k))
			}
			a, b := diff(1e-5), diff(1e-6)
			limit := tolerance * max(1e-3, size, math.Abs(a))
			if math.IsNaN(a) || math.Abs(a-b) > limit {
				continue
			}
			checked++
			if !(math.Abs(want-b) <= 3*limit) {
				t.Errorf("input %d: the gradient says %v, differences %v", i, want, b)
				bad = true
			}
		}
	}
	return bad, checked
}

// TestStraightThrough: the gradients of fake_quantize are those of the clamp in
// it, also those of its zero point and, by way of factors, of scales.
func TestStraightThrough(t *testing.T) {
	for i, c := range []struct {
		channels int
		floor    bool
	}{{1, false}, {3, false}, {1, true}, {3, true}} {
		r := rand.New(rand.NewPCG(uint64(i), 9))
		build := func(fake bool) *ir.Graph {
			b := ir.NewBuilder("g")
			x, s, z := b.Input("x", ir.T(ir.F32, 7, 3)), b.Input("s", ir.T(ir.F32, c.channels)), b.Input("z", ir.T(ir.F32, 1))
			f := b.Op("requantize_factor", ir.Attrs{"kind": "channel"}, nil, nil, s)
			var y *ir.Value
			if fake {
				y = b.Op("fake_quantize", ir.Attrs{"qmin": 0, "qmax": 9, "floor": c.floor}, x, f, z)
			} else {
				lo := b.Op("negate", nil, z)
				if c.floor {
					lo = b.Const("zero", ir.From([]float32{0}, 1))
				}
				hi := b.Op("subtract", nil, b.Const("nine", ir.From([]float32{9}, 1)), z)
				y = b.Op("minimum", nil, b.Op("maximum", nil, b.Op("multiply", nil, x, f), lo), hi)
			}
			y = b.Op("multiply", nil, y, s) // as what reads the levels does
			g, err := b.Graph(y)
			if err != nil {
				t.Fatal(err)
			}
			w := ir.NewTensor(ir.F32, 7, 3)
			for k := range w.F32() {
				w.F32()[k] = float32(k%5) - 1.75
			}
			grads, err := Append(g, map[*ir.Value]*ir.Value{y: g.Const("seed", w)}, g.Inputs)
			if err != nil {
				t.Fatal(err)
			}
			g.Outputs = grads
			return g
		}
		x := []*ir.Tensor{ir.NewTensor(ir.F64, 7, 3), ir.NewTensor(ir.F64, c.channels), ir.From([]float64{3}, 1)}
		for k := range x[0].Len() {
			x[0].Set(k, 8*r.NormFloat64())
		}
		for k := range c.channels {
			x[1].Set(k, 1+r.Float64())
		}
		var got [2][]*ir.Tensor
		for k := range got {
			res, err := eval.Run(context.Background(), build(k == 0), x, eval.Options{Double: true})
			if err != nil {
				t.Fatal(err)
			}
			got[k] = res.Outputs
		}
		for k, name := range []string{"x", "zero"} {
			k *= 2
			for e := range got[0][k].Len() {
				if a, b := got[0][k].At(e), got[1][k].At(e); math.Abs(a-b) > 1e-9*max(1, math.Abs(b)) {
					t.Errorf("%+v: d%s[%d] is %v, wanted %v", c, name, e, a, b)
				}
			}
		}
		// The clamp's own scale gradient is 0 inside, fake_quantize's is the
		// rounding error there (LSQ): they differ by Σ w·(round v − v).
		if got[0][1].At(0) == got[1][1].At(0) {
			t.Errorf("%+v: the scale's gradient does not see the rounding", c)
		}
		want := make([]float64, c.channels)
		for e := range 21 {
			s := x[1].At(e % c.channels)
			v := x[0].At(e) / s
			lo, hi := -3.0, 6.0
			if c.floor {
				lo = 0
			}
			w := float64(float32(e%5) - 1.75)
			if v > lo && v < hi {
				want[e%c.channels] += w * (math.RoundToEven(v) - v)
			} else {
				want[e%c.channels] += w * min(max(v, lo), hi)
			}
		}
		for k, v := range want {
			if g := got[0][1].At(k); math.Abs(g-v) > 1e-9 {
				t.Errorf("%+v: the scale's gradient is %v, by LSQ's formula %v", c, g, v)
			}
		}
	}
}

// TestRandom does the same on random graphs, whose float constants are made
// inputs.
func TestRandom(t *testing.T) {
	checked, all, refused := 0, 0, 0
	for seed := range uint64(150) {
		g := graphgen.New(graphgen.Config{Seed: seed, Nodes: 6})
		r := rand.New(rand.NewPCG(seed, 8))
		var x []*ir.Tensor
		for _, v := range g.Inputs {
			in := graphgen.Tensor(r, v.Type).Converted(ir.F64)
			for k := range in.Len() { // its exact zeros are the kinks of many functions
				in.Set(k, in.At(k)+1e-2*r.NormFloat64())
			}
			x = append(x, in)
		}
		if size := cut(g, r, &x); size > 20000 {
			continue
		}
		trial := g.Clone()
		_, err := Append(trial, ones(trial), trial.Inputs)
		if err != nil {
			if !strings.Contains(err.Error(), "without a gradient") {
				t.Fatal(err)
			}
			refused++
			continue
		}
		bad, n := compare(t, g, x, r, 1e-4)
		if bad {
			t.Fatalf("seed %d\n%s", seed, g)
		}
		checked, all = checked+n, all+3*len(x)
	}
	t.Logf("%d of %d directions were smooth and agree; %d graphs hold an op without a gradient", checked, all, refused)
	if checked < all/2 {
		t.Errorf("only %d of %d directions could be compared", checked, all)
	}
}

// cut makes g's float constants inputs and drops repeated outputs; it gives the number of elements.
func cut(g *ir.Graph, r *rand.Rand, x *[]*ir.Tensor) int {
	seen := map[*ir.Value]bool{}
	for _, v := range g.Constants() {
		if v.Type.DType == ir.F32 {
			p := g.Input(v.Name, v.Type)
			*x = append(*x, v.Const.Converted(ir.F64))
			g.ReplaceUses(v, p)
		}
	}
	var outs []*ir.Value
	for _, v := range g.Outputs {
		if !seen[v] && v.Def != nil {
			outs = append(outs, v)
		}
		seen[v] = true
	}
	g.Outputs = outs
	n := 0
	for _, t := range *x {
		n += t.Len()
	}
	return n
}

func ones(g *ir.Graph) map[*ir.Value]*ir.Value {
	m := map[*ir.Value]*ir.Value{}
	for _, v := range g.Outputs {
		if v.Type.DType == ir.F32 {
			m[v] = g.Const("one", ir.NewTensor(ir.F32, v.Type.Shape...))
		}
	}
	return m
}
