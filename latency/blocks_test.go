package latency

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/reference"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

func floats(seed uint64) Work {
	g := graphgen.New(graphgen.Config{Seed: seed, Batch: 1})
	return Work{Name: g.Name, Graph: g, In: graphgen.Inputs(g, 1)}
}

// Blocks hold each node once, and run one after another they compute what the
// graph does.
func TestBlocks(t *testing.T) {
	together := 0
	for seed := range uint64(40) {
		w := floats(seed)
		steps := blocks(w.Graph, "xla-cpu")
		values := map[*ir.Value]*ir.Tensor{}
		for i, v := range w.Graph.Inputs {
			values[v] = w.In[i]
		}
		want, err := eval.Run(t.Context(), w.Graph, w.In, eval.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for len(steps) > 0 { // a block whose operands are there
			at := slices.IndexFunc(steps, func(s backends.Step) bool {
				for _, n := range s.Nodes {
					for _, v := range n.Inputs {
						if v != nil && !v.IsConst() && values[v] == nil && !slices.Contains(s.Nodes, v.Def) {
							return false
						}
					}
				}
				return true
			})
			if at < 0 {
				t.Fatalf("seed %d: blocks wait for each other", seed)
			}
			s := steps[at]
			steps = slices.Delete(steps, at, at+1)
			n += len(s.Nodes)
			if len(s.Nodes) > 1 {
				together++
			}
			g, err := blockGraph(s)
			if err != nil {
				t.Fatal(err)
			}
			var in []*ir.Tensor
			seen := map[*ir.Value]bool{}
			for _, n := range s.Nodes {
				for _, v := range n.Inputs {
					if v != nil && !v.IsConst() && !seen[v] && !slices.Contains(s.Nodes, v.Def) {
						seen[v] = true
						in = append(in, values[v])
					}
				}
			}
			out, err := eval.Run(t.Context(), g, in, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range s.Nodes[len(s.Nodes)-1].Outputs {
				values[v] = out.Outputs[i]
			}
		}
		if n != len(w.Graph.Nodes) {
			t.Errorf("seed %d: blocks of %d nodes of %d", seed, n, len(w.Graph.Nodes))
		}
		for i, v := range w.Graph.Outputs {
			if got := values[v]; got == nil || !slices.Equal(got.RawBytes(), want.Outputs[i].RawBytes()) {
				t.Errorf("seed %d: output %d differs", seed, i)
			}
		}
	}
	if together == 0 {
		t.Error("no block has two nodes")
	}
}

// byBlocks is a target that is measured by blocks.
type byBlocks struct{ backends.Target }

func (byBlocks) Name() string { return ByBlocks[0] }

// A target without steps is profiled and predicted by blocks.
func TestProfileByBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	o := Options{Target: byBlocks{reference.Target()}, Facts: Fingerprint("test", ByBlocks[0], "", 1, 1), CI: 0.5, Budget: 2 * time.Minute}
	list := List{floats(1), floats(4)}
	res, err := Profile(context.Background(), path, list, o)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read(path)
	if err != nil || res.Networks != 2 || len(table.Nets) != 2 || res.Rows == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, w := range list {
		steps, err := Steps(nil, w.Graph, ByBlocks[0])
		if err != nil {
			t.Fatal(err)
		}
		p, err := table.PredictSteps(steps)
		if err != nil || p.Hits != len(steps) || !(p.Total > 0) || !(p.Lo <= p.Total && p.Total <= p.Hi) {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if _, err := Steps(nil, list[0].Graph, "reference"); err == nil {
		t.Error("the reference is taken by blocks")
	}
}
