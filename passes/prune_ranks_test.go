package passes

import (
	"context"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// lowRankNet has weights that are products of thin ones: a convolution of rank
// 3 of 24 and a dense layer of rank 4 of 16, between layers of full rank.
func lowRankNet(t *testing.T) *ir.Graph {
	t.Helper()
	g, err := ir.ParseGraph("t.ir", `const @a: f32[3,3,2,8] = normal(1,1)
const @p: f32[3,1,8,3] = normal(2,1)
const @q: f32[1,3,3,8] = normal(3,1)
const @u: f32[8,4] = normal(4,1)
const @v: f32[4,16] = normal(5,1)
const @z: f32[16,16] = normal(6,1)
graph @main(%x: f32[N,6,6,2]) {
  %h = convolution %x @a padding=[1,1,1,1] activation="relu"
  %i = convolution %h @p padding=[1,0,1,0]
  %k = convolution %i @q padding=[0,1,0,1] activation="relu"
  %m = reduce_mean %k axes=[1,2] keep_dims=false
  %n = dot %m @u
  %o = dot %n @v activation="relu"
  %y = dot %o @z
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	product := func(i, j int) *ir.Tensor { // of [K,1,Cin,r] and [1,K,r,Cout], and of matrices
		p, q := g.Nodes[i].Inputs[1].Const, g.Nodes[j].Inputs[1].Const
		n := len(p.Shape)
		rank, cin, cout := p.Shape[n-1], p.Shape[n-2], q.Shape[n-1]
		kh, kw, shape := 1, 1, []int{cin, cout}
		if n == 4 {
			kh, kw = p.Shape[0], q.Shape[1]
			shape = []int{kh, kw, cin, cout}
		}
		w := ir.NewTensor(ir.F32, shape...)
		for at := range w.Len() {
			o, c, x, y := at%cout, at/cout%cin, at/cout/cin%kw, at/cout/cin/kw
			for r := range rank {
				w.Set(at, w.At(at)+p.At((y*cin+c)*rank+r)*q.At((x*rank+r)*cout+o))
			}
		}
		return w
	}
	b := ir.NewBuilder("t")
	same := ir.Attrs{"padding": []int{1, 1, 1, 1}, "activation": "relu"}
	x := b.Op("convolution", same, b.Input("x", ir.T(ir.F32, ir.Batch, 6, 6, 2)), b.Const("a", g.Nodes[0].Inputs[1].Const))
	x = b.Op("convolution", same, x, b.Const("k", product(1, 2)))
	x = b.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}, "keep_dims": false}, x)
	x = b.Op("dot", ir.Attrs{"activation": "relu"}, x, b.Const("o", product(4, 5)))
	one, err := b.Graph(b.Op("dot", nil, x, b.Const("z", g.Nodes[6].Inputs[1].Const)))
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// What has less than full rank loses nothing where the target leaves room for
// it, and what must become smaller does.
func TestLowRank(t *testing.T) {
	g := lowRankNet(t)
	before := g.MACs()
	exact := before - 36*8*8*9 + 36*(8*3*3+3*3*8) - 8*16 + (8+16)*4
	for _, c := range []struct {
		target float64
		exact  bool
	}{{float64(exact), true}, {0.35 * float64(before), false}} {
		small, rep, err := Prune(context.Background(), g, PruneOptions{Cost: macs, Target: c.target, Criterion: "l2", Scope: "global", LowRank: true})
		if err != nil {
			t.Fatal(err)
		}
		if float64(small.MACs()) > c.target || rep.After != float64(small.MACs()) {
			t.Errorf("%d MACs, reported %g; the target is %g", small.MACs(), rep.After, c.target)
		}
		gap, err := Gap(context.Background(), g, small, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		if c.exact != (gap < 1e-3) {
			t.Errorf("target %g of %d MACs: |Δ| %g, ranks %v", c.target, before, gap, rep.Ranks)
		}
	}
	if g.MACs() != before {
		t.Errorf("the network itself was changed")
	}
}

// Ranks are multiples where that is asked for, and none is below the share kept.
func TestLowRankBounds(t *testing.T) {
	_, rep, err := Prune(context.Background(), lowRankNet(t), PruneOptions{Cost: macs, Target: 20000, Criterion: "l2", Scope: "global", LowRank: true, Round: 2, Keep: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	thin := 0
	for _, r := range rep.Ranks {
		if r.Rank == r.Of {
			continue
		}
		thin++
		if r.Rank%2 != 0 || float64(r.Rank) < 0.2*float64(r.Of) {
			t.Errorf("%s has rank %d of %d", r.Layer, r.Rank, r.Of)
		}
	}
	if thin == 0 {
		t.Errorf("no layer is thin: %v", rep.Ranks)
	}
}

func TestLowRankRefused(t *testing.T) {
	for _, c := range []struct {
		o    PruneOptions
		want string
	}{
		{PruneOptions{Target: 10}, "all that can go is gone"},
		{PruneOptions{Target: 20000, Inner: true}, "for channels that go"},
		{PruneOptions{Target: 20000, Correct: true, Real: true}, "for channels that go"},
	} {
		c.o.Cost, c.o.Criterion, c.o.Scope, c.o.LowRank = macs, "l2", "global", true
		if _, _, err := Prune(context.Background(), lowRankNet(t), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; wanted %q", err, c.want)
		}
	}
}
