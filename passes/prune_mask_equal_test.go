package passes

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// gated gives a copy of the network in which each of the units gives 0 where it
// is read by a layer: what removing it must amount to.
func gated(t *testing.T, g *ir.Graph, an *coupling.Analysis, gone map[coupling.Unit]bool) *ir.Graph {
	t.Helper()
	type cut struct {
		name string
		mask []float64
	}
	var cuts []cut
	for _, m := range an.Constants() {
		x := m.Node.Inputs[0]
		if !m.Sums || x == m.Value || x.IsConst() || slices.ContainsFunc(cuts, func(c cut) bool { return c.name == x.Name }) {
			continue
		}
		units := an.Of(x, len(x.Type.Shape)-1)
		mask := make([]float64, len(units))
		for i, u := range units {
			if !gone[u] {
				mask[i] = 1
			}
		}
		if len(mask) > 0 {
			cuts = append(cuts, cut{x.Name, mask})
		}
	}
	c := g.Clone()
	uses := c.Uses()
	for _, k := range cuts {
		var v *ir.Value
		for _, n := range c.Nodes {
			for _, o := range n.Outputs {
				if o.Name == k.name {
					v = o
				}
			}
		}
		if v == nil {
			continue
		}
		w := ir.NewTensor(v.Type.DType, len(k.mask))
		for i, f := range k.mask {
			w.Set(i, f)
		}
		y, err := c.Add("multiply", nil, v, c.Const(k.name+".gate", w))
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range uses[v] {
			if u.Node != nil && u.Index == 0 && slices.Contains([]string{"convolution", "convolution_transpose", "dot", "dot_general"}, u.Node.Op.Name) {
				u.Node.Inputs[0] = y
			}
		}
	}
	if err := c.Sort(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Removing units is the same as holding them at zero wherever a layer reads
// them, where nothing else reads them: no more is removed, and nothing else
// moves.
func TestPrunedIsMasked(t *testing.T) {
	compared := 0
	for seed := range uint64(200) {
		g, names := graphgen.Network(seed)
		// What is normalized, gated by others or attended is not held at zero by a gate.
		if slices.ContainsFunc(names, func(n string) bool {
			return slices.Contains([]string{"group-norm", "attention", "fused-qkv", "mixer", "recurrent"}, n)
		}) || strings.Contains(g.Body(), "layer_norm") {
			continue
		}
		an := coupling.Analyze(g)
		gone := map[coupling.Unit]bool{}
		for _, x := range an.Groups() {
			if x.Fixed != "" || len(x.Units) < 2 {
				continue
			}
			u := x.Units[int(seed)%len(x.Units)]
			if an.Check(coupling.Plan{Copies: map[coupling.Unit]int{u: 0}}) == nil {
				gone[u] = true
			}
		}
		for _, u := range an.LeastKept(gone, nil) {
			delete(gone, u)
		}
		if len(gone) == 0 {
			continue
		}
		masked := gated(t, g, an, gone)
		plan := coupling.Plan{Copies: map[coupling.Unit]int{}}
		for u := range gone {
			plan.Copies[u] = 0
		}
		p := g.Clone()
		if _, err := coupling.Analyze(p).Rewrite(plan); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
			continue
		}
		p.RemoveDead()
		if err := p.Verify(); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
			continue
		}
		if p.Params() >= g.Params() {
			t.Errorf("seed %d %v: %d parameters of %d", seed, names, p.Params(), g.Params())
		}
		e, err := Gap(context.Background(), masked, p, nil, seed)
		if err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
			continue
		}
		compared++
		if !(e <= 1e-5) || math.IsNaN(e) {
			t.Errorf("seed %d %v: |Δ| %g between the pruned and the masked network", seed, names, e)
		}
	}
	if compared < 60 {
		t.Errorf("only %d networks were compared", compared)
	}
}
