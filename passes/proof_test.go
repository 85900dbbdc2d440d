package passes

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// prove holds one run of a transform to what it keeps.
func prove(t *testing.T, g *ir.Graph, p Pass, a Args, seed uint64) *Proof {
	t.Helper()
	q, err := NewProver(context.Background(), g, seed)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := q.Prove(context.Background(), p, a)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", p.Name, a, err, g.Body())
	}
	if !(proof.F32 <= KeptTolerance) || !(proof.F64 <= KeptTolerance64) {
		t.Errorf("%s %v at %v: |Δ| %g in f32, %g in f64\n%s\n%s", p.Name, a, proof.Places, proof.F32, proof.F64, g.Body(), proof.After.Body())
	}
	return proof
}

// proofArgs are the forms in which each transform is proven besides its plain
// one.
var proofArgs = map[string][]Args{
	"widen":           {{"factor": "1.5"}, {"factor": "3"}},
	"deepen":          {{"kernel": "3"}},
	"widen-kernel":    {{"by": "2"}},
	"add-branch":      {{"copies": "4"}},
	"split":           {{"parts": "3"}, {"along": "in"}},
	"expand-branches": {{"dilation": "2"}},
	"merge":           {{}},
}

// Every transform keeps the function of networks of every structure and of
// graphs of any ops, in float32 and in float64. The whole proof, place by place,
// is `make transforms`.
func TestTransformsKeepTheFunction(t *testing.T) {
	count := 120
	if testing.Short() {
		count = 20
	}
	for _, p := range transforms {
		t.Run(p.Name, func(t *testing.T) {
			places := 0
			for seed := range uint64(count) {
				g, _ := graphgen.Network(seed)
				if p.Name == "merge" { // what split leaves
					if _, err := split(g, Args{}); err != nil {
						t.Fatal(err)
					}
				}
				for _, a := range append([]Args{{}}, proofArgs[p.Name]...) {
					places += len(prove(t, g, p, a, seed).Places)
				}
				places += len(prove(t, graphgen.New(graphgen.Config{Seed: seed, Batch: 2}), p, Args{}, seed).Places)
			}
			if places == 0 {
				t.Error("no network had a place for it")
			}
		})
	}
}

// Chains of transforms keep it too, and each other's places.
func TestChainsKeepTheFunction(t *testing.T) {
	for seed := range uint64(12) {
		g, names := graphgen.Network(seed)
		r := rand.New(rand.NewPCG(seed, 0x636861))
		b := g.Clone()
		var done []string
		for len(done) < 20 {
			p := transforms[r.IntN(len(transforms))]
			if p.Name == "raise-resolution" {
				continue
			}
			n := b.Nodes[r.IntN(len(b.Nodes))]
			a := Args{"node": n.Out().Name}
			c := b.Clone()
			grown, err := p.Grow(c, a)
			if err != nil || len(grown.Places) == 0 || c.Params() > 1<<17 {
				done = append(done, "")
				continue
			}
			c.RemoveDead()
			c.TidyNames()
			b = c
			done = append(done, p.Name+"@"+a["node"])
		}
		if err := b.Verify(); err != nil {
			t.Fatalf("%v after %v: %v", names, done, err)
		}
		e, err := Gap(context.Background(), g, b, nil, seed)
		if err != nil || !(e <= 1e-4) {
			t.Errorf("%v after %v: %g, %v", names, done, e, err)
		}
	}
}

// A transform asked for noise checks first and disturbs the copies afterwards.
func TestNoiseComesAfterTheCheck(t *testing.T) {
	g, _ := graphgen.Network(3)
	before := g.Clone()
	list, err := Parse("widen(factor=2,noise=0.01,seed=7)")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := Run(context.Background(), g, list, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !(steps[0].MaxAbs >= 0 && steps[0].MaxAbs <= KeptTolerance) {
		t.Errorf("checked: |Δ| %g", steps[0].MaxAbs)
	}
	if e, err := Gap(context.Background(), before, g, nil, 1); err != nil || !(e > KeptTolerance) {
		t.Errorf("with noise: |Δ| %g, %v; wanted some", e, err)
	}
	again := before.Clone()
	if _, err := Run(context.Background(), again, list, Options{}); err != nil {
		t.Fatal(err)
	}
	if e, err := Gap(context.Background(), g, again, nil, 1); err != nil || e != 0 {
		t.Errorf("the same seed gives another network: |Δ| %g, %v", e, err)
	}
}

// A transform that would change the function is caught.
func TestTransformIsChecked(t *testing.T) {
	g, _ := graphgen.Network(3)
	p := Pass{Name: "halve", Promise: Keeps, Grow: func(g *ir.Graph, _ Args) (*Grown, error) {
		i := slices.IndexFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Name == "dot" })
		w := g.Nodes[i].Inputs[1].Const.Clone()
		for k := range w.Len() {
			w.Set(k, w.At(k)/2)
		}
		g.Nodes[i].Inputs[1] = g.Const("half", w)
		return &Grown{Places: []string{"dot"}}, nil
	}}
	if _, err := Run(context.Background(), g, []Pass{p}, Options{}); err == nil {
		t.Error("half the weights passed for the same function")
	}
}
