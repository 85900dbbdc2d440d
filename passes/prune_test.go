package passes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

func macs(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.MACs()), nil }

// No network crashes Prune: it comes down to the target, or says that it
// cannot.
func TestPruneAnyNetwork(t *testing.T) {
	done, short := 0, 0
	for seed := range uint64(150) {
		g, names := graphgen.Network(seed)
		if seed%3 == 2 {
			g, names = graphgen.New(graphgen.Config{Seed: seed}), nil
		}
		o := PruneOptions{
			Cost: macs, Target: 0.6 * float64(g.MACs()), Criterion: []string{"l1", "l2", "lamp", "fpgm", "random", "activation"}[seed%6],
			Scope: Scopes[seed/6%3], Round: []int{0, 2, 4}[seed%3], Inner: seed%5 == 0, Seed: seed,
		}
		if seed%4 == 1 {
			o.Weigh = each(macs)
		}
		was := g.Body()
		p, rep, err := Prune(context.Background(), g, o)
		if g.Body() != was {
			t.Fatalf("seed %d %v: the graph given was changed", seed, names)
		}
		switch {
		case err != nil && (strings.Contains(err.Error(), "where all that can go is gone") || strings.Contains(err.Error(), "a quantized network")):
			short++
		case err != nil:
			t.Errorf("seed %d %v: %v", seed, names, err)
		case float64(p.MACs()) > o.Target || rep.After != float64(p.MACs()):
			t.Errorf("seed %d %v: %d MACs, reported %g, wanted %g", seed, names, p.MACs(), rep.After, o.Target)
		default:
			done++
			s, err := ir.Specialize(p, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := runAll(context.Background(), interpreter, s, [][]*ir.Tensor{RandomInputs(s, 1)}); err != nil {
				t.Errorf("seed %d %v: %v", seed, names, err)
			}
		}
	}
	if done < 70 {
		t.Errorf("only %d networks were pruned, %d could not come down", done, short)
	}
}

// A channel that gives a constant can go and changes nothing: what it gave goes
// into the next bias.
func TestConstantGoesIntoTheBias(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: f32[2,3] = [1,0,3,4,0,6]
const @b: f32[3] = [0.5,2,-1]
const @v: f32[3,2] = [1,2,0.1,0.2,5,6]
graph @main(%x: f32[N,2]) {
  %a = dot %x @w @b
  %r = relu %a
  %y = dot %r @v
  %z = dot %r @v
  return %y, %z
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, rep, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: 13, Criterion: "l1", Scope: "global"})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Absorbed != 1 || rep.Groups[0].Is != 2 {
		t.Errorf("%d absorbed, group %+v; wanted the one channel of zeros", rep.Absorbed, rep.Groups[0])
	}
	if e, err := Gap(context.Background(), g, p, nil, 1); err != nil || e > 1e-6 {
		t.Errorf("|Δ| %g, %v", e, err)
	}
}

// Every criterion gives up first the channel that does nothing.
func TestCriteria(t *testing.T) {
	const text = `const @w: f32[1,1,2,3] = [1,0,3,4,0,6]
const @s: f32[3] = [1,0,1]
const @z: f32[3] = [0,0,0]
const @o: f32[3] = [1,1,1]
const @v: f32[3,2] = [1,2,0,0,5,6]
graph @main(%x: f32[N,2,2,2]) {
  %a = convolution %x @w
  %n = batch_norm_inference %a @s @z @z @o
  %r = relu %n
  %m = reduce_mean %r axes=[1,2] keep_dims=false
  %y = dot %m @v
  return %y
}`
	for _, c := range Criteria {
		if c == "random" || c == "fpgm" {
			continue
		}
		g, err := ir.ParseGraph("t.ir", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := ir.Specialize(g, 1)
		o := PruneOptions{Cost: macs, Target: float64(g.MACs()) - 1, Criterion: c, Scope: "global", Samples: [][]*ir.Tensor{RandomInputs(one, 1), RandomInputs(one, 2)}}
		p, _, err := Prune(context.Background(), g, o)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if e, err := Gap(context.Background(), g, p, nil, 3); err != nil || e > 1e-6 {
			t.Errorf("%s removed a channel that counts: |Δ| %g, %v", c, e, err)
		}
	}
	// fpgm: the channel that two others can stand for.
	g, err := ir.ParseGraph("t.ir", `const @w: f32[1,5] = [0,1,5,20,30]
const @v: f32[5,1] = [1,1,1,1,1]
graph @main(%x: f32[N,1]) {
  %a = dot %x @w
  %y = dot %a @v
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: 9, Criterion: "fpgm", Scope: "global"})
	if err != nil {
		t.Fatal(err)
	}
	w := p.Nodes[0].Inputs[1].Const.F32()
	if !slices.Equal(w, []float32{0, 1, 20, 30}) {
		t.Errorf("fpgm kept %v", w)
	}
}

// What a removed channel left behind goes into a new bias, which counts.
func TestNewBiasesCount(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: f32[2,6] = normal(1,1)
const @b: f32[6] = [9,8,7,6,5,4]
const @v: f32[6,4] = normal(2,1)
graph @main(%x: f32[N,2]) {
  %a = dot %x @w @b
  %r = relu %a
  %y = dot %r @v
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	params := func(_ context.Context, g *ir.Graph) (float64, error) { return float64(g.Params()), nil }
	one, _ := ir.Specialize(g, 1)
	for limit := 15.0; limit < 42; limit++ {
		p, rep, err := Prune(context.Background(), g, PruneOptions{
			Cost: params, Target: limit, Criterion: "l2", Scope: "global", Real: true, Samples: [][]*ir.Tensor{RandomInputs(one, 1), RandomInputs(one, 2)},
		})
		if err != nil {
			if !strings.Contains(err.Error(), "where all that can go is gone") {
				t.Error(err)
			}
			continue
		}
		if n := float64(p.Params()); n != rep.After || n > limit {
			t.Errorf("%g parameters, reported %g, wanted at most %g", n, rep.After, limit)
		}
	}
}

// Sizes count beside the mean of those that are left, so that a layer of uneven
// units loses its small ones in a row: each that goes leaves a higher mean. Scores
// of the loss are compared as they are, and what must stay stays.
func TestSequence(t *testing.T) {
	layer := func(name string, relative bool, least int, sizes ...float64) *group {
		x := &group{Group: &coupling.Group{}, name: name, score: map[coupling.Unit]float64{}, cost: 1, least: least, relative: relative}
		for i, s := range sizes {
			u := coupling.Unit(i)
			x.score[u] = s
			x.order, x.Units = append(x.order, u), append(x.Units, u)
		}
		return x
	}
	for _, c := range []struct {
		relative bool
		least    int
		want     string
	}{
		// a: 1/3.75, 2/4.67, 4/6; b: 3/3.75, 3/4, 4/4.5.
		{true, 1, "aaabbb"},
		{false, 1, "aabbab"},
		{true, 2, "aabb"},
	} {
		var got strings.Builder
		for _, x := range sequence([]*group{layer("a", c.relative, c.least, 1, 2, 4, 8), layer("b", c.relative, c.least, 3, 3, 4, 5)}) {
			got.WriteString(x.name)
		}
		if got.String() != c.want {
			t.Errorf("relative %v, at least %d: %s, wanted %s", c.relative, c.least, got.String(), c.want)
		}
	}
}

func TestPruneRefuses(t *testing.T) {
	g, _ := graphgen.Network(1)
	for want, o := range map[string]PruneOptions{
		"magic":              {Cost: macs, Target: 1, Criterion: "magic", Scope: "global"},
		"nearby":             {Cost: macs, Target: 1, Criterion: "l1", Scope: "nearby"},
		"gone":               {Cost: macs, Target: 1, Criterion: "l1", Scope: "global"},
		"taylor without":     {Cost: macs, Target: 1, Criterion: "taylor", Scope: "global"},
		"a share, more than": {Cost: macs, Target: 1, Criterion: "l1", Scope: "global", Keep: 2},
	} {
		if _, _, err := Prune(context.Background(), g, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, wanted %q", err, want)
		}
	}
	q := graphgen.New(graphgen.Config{Seed: 1, Quantized: true})
	if _, _, err := Prune(context.Background(), q, PruneOptions{Cost: macs, Criterion: "l1", Scope: "global"}); err == nil || !strings.Contains(err.Error(), "quantized") {
		t.Errorf("a quantized graph: %v", err)
	}
}

// Widths are multiples where a layer has room for them.
// What a residual sum joins stays, and the insides of the blocks go.
func TestPruneInner(t *testing.T) {
	nums := func(n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprint((i*7+3)%11-5))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	g, err := ir.ParseGraph("t.ir", `const @a: f32[4,4] = `+nums(16)+`
const @b: f32[4,6] = `+nums(24)+`
const @c: f32[6,4] = `+nums(24)+`
const @d: f32[4,2] = `+nums(8)+`
graph @main(%x: f32[N,4]) {
  %a = dot %x @a
  %b = dot %a @b
  %r = relu %b
  %c = dot %r @c
  %s = add %c %a
  %d = dot %s @d
  return %d
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := PruneOptions{Cost: macs, Target: 0.7 * float64(g.MACs()), Criterion: "l2", Scope: "global", Inner: true}
	p, rep, err := Prune(context.Background(), g, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Groups) != 1 || rep.Groups[0].Was != 6 || rep.Groups[0].Is >= 6 {
		t.Errorf("groups that could shrink: %+v, want one of 6 that did", rep.Groups)
	}
	if !slices.ContainsFunc(rep.Refused, func(r Refusal) bool { return strings.Contains(r.Reason, "a sum joins it") }) {
		t.Errorf("refused: %+v, want what the sum joins", rep.Refused)
	}
	for _, n := range p.Nodes {
		if n.Op.Name == "add" && n.Out().Type.Shape[1] != 4 {
			t.Errorf("the sum is %d wide, want 4", n.Out().Type.Shape[1])
		}
	}
}

func TestPruneRounds(t *testing.T) {
	b := ir.NewBuilder("t")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 8))
	w := func(k, n int) *ir.Value {
		t := ir.NewTensor(ir.F32, k, n)
		for i := range t.F32() {
			t.F32()[i] = float32(i*7919%13) - 6
		}
		return b.Const("w", t)
	}
	y := b.Op("dot", nil, b.Op("relu", nil, b.Op("dot", nil, x, w(8, 64))), w(64, 4))
	g, err := b.Graph(y)
	if err != nil {
		t.Fatal(err)
	}
	_, rep, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: 0.6 * float64(g.MACs()), Criterion: "l2", Scope: "global", Round: 16})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Groups[0].Is != 32 {
		t.Errorf("the width is %d; wanted 32, the multiple of 16 below", rep.Groups[0].Is)
	}
}

// Blocks that do nothing go first.
func TestDropBlocks(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: f32[2,2] = [1,2,3,4]
const @z: f32[2,2] = [0.001,0,0,0.001]
graph @main(%x: f32[N,2]) {
  %a = dot %x @w
  %b = dot %a @w
  %s = add %a %b
  %c = dot %s @z
  %t = add %c %s
  %y = dot %t @w
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, rep, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: 100, Criterion: "l2", Scope: "global", Blocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rep.Blocks, []string{"t"}) || p.MACs() != g.MACs()-4 {
		t.Errorf("dropped %v, %d MACs of %d are left", rep.Blocks, p.MACs(), g.MACs())
	}
}

// Factors of full rank lose nothing, of convolutions too.
func TestFactorizeIsExactAtFullRank(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @p: f32[3,1,4,2] = normal(1,1)
const @q: f32[1,3,2,8] = normal(2,1)
graph @main(%x: f32[N,6,5,4]) {
  %a = convolution %x @p strides=[2,1] padding=[1,0,1,0]
  %y = convolution %a @q strides=[1,2] padding=[0,2,0,1]
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The two as one kernel of rank 2.
	p, q := g.Nodes[0].Inputs[1].Const, g.Nodes[1].Inputs[1].Const
	k := ir.NewTensor(ir.F32, 3, 3, 4, 8)
	for i := range k.Len() {
		o, c, x, y := i%8, i/8%4, i/32%3, i/96
		for r := range 2 {
			k.Set(i, k.At(i)+p.At((y*4+c)*2+r)*q.At((x*2+r)*8+o))
		}
	}
	b := ir.NewBuilder("t")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 6, 5, 4))
	one, err := b.Graph(b.Op("convolution", ir.Attrs{"strides": []int{2, 2}, "padding": []int{1, 2, 1, 1}}, x, b.Const("k", k)))
	if err != nil {
		t.Fatal(err)
	}
	two := one.Clone()
	if ok, err := factorize(context.Background(), two, Args{"rank": "2"}, func(int, int) {}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if e, err := Gap(context.Background(), one, two, nil, 1); err != nil || e > 1e-5 {
		t.Errorf("|Δ| %g, %v", e, err)
	}
	if two.Params() >= one.Params() {
		t.Errorf("%d parameters of %d", two.Params(), one.Params())
	}
}
