package coupling

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// Every op of the table has a rule, or is a barrier with a reason.
func TestEveryOpHasARule(t *testing.T) {
	for _, name := range ir.OpNames() {
		switch r := rules[name]; {
		case r == nil:
			t.Errorf("%s has no row", name)
		case (r.label == nil) == (r.barrier == ""):
			t.Errorf("%s needs either a rule or a reason", name)
		}
	}
	for name := range rules {
		if ir.LookupOp(name) == nil {
			t.Errorf("%s is no op", name)
		}
	}
}

// TestGroups prints the groups of graphs: producers, units, and what forbids.
func TestGroups(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			g, err := ir.ParseGraph(path, d.Input, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := Analyze(g)
			var b strings.Builder
			for _, g := range a.Groups() {
				var names []string
				for _, n := range g.Producers {
					names = append(names, n.Label())
				}
				fmt.Fprintf(&b, "%s: %d units", strings.Join(names, " "), len(g.Units))
				for _, why := range []string{g.Fixed, g.Single, g.Even} {
					if why != "" {
						fmt.Fprintf(&b, "; %s", why)
					}
				}
				b.WriteByte('\n')
			}
			if b.Len() == 0 {
				return "none\n"
			}
			return b.String()
		})
	})
}

// What may be removed can be removed, alone and together: the graph verifies,
// and is smaller.
func TestRemoval(t *testing.T) {
	removed := 0
	for seed := range uint64(300) {
		g, names := graphgen.Network(seed)
		if seed%3 == 2 {
			g, names = graphgen.New(graphgen.Config{Seed: seed}), nil
		}
		a := Analyze(g)
		plan := Plan{Copies: map[Unit]int{}}
		for _, group := range a.Groups() {
			if group.Fixed != "" || len(group.Units) < 2 {
				continue
			}
			one := map[Unit]int{group.Units[0]: 0, group.Units[len(group.Units)/2]: 0}
			if err := a.Check(Plan{Copies: one}); err != nil {
				continue
			}
			for u := range one {
				plan.Copies[u] = 0
			}
		}
		if len(plan.Copies) == 0 {
			continue
		}
		was := g.Params()
		if err := a.Check(plan); err != nil {
			t.Logf("seed %d %v: %v", seed, names, err)
			continue
		}
		if _, err := a.Rewrite(plan); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
			continue
		}
		if err := g.Verify(); err != nil {
			t.Errorf("seed %d %v: %v", seed, names, err)
		}
		if g.Params() >= was {
			t.Errorf("seed %d %v: %d parameters of %d are left", seed, names, g.Params(), was)
		}
		removed++
	}
	if removed < 150 {
		t.Errorf("only %d networks had something to remove", removed)
	}
}

// A plan that cannot be carried out leaves the graph as it was.
func TestRefusedPlanChangesNothing(t *testing.T) {
	g, _ := graphgen.Network(1)
	a := Analyze(g)
	was := g.Body()
	groups := a.Groups()
	plan := Plan{Copies: map[Unit]int{}}
	for _, u := range groups[0].Units {
		plan.Copies[u] = 0
	}
	if _, err := a.Rewrite(plan); err == nil {
		t.Error("all channels of a group were removed")
	}
	if g.Body() != was {
		t.Error("the graph has changed")
	}
}

func TestShares(t *testing.T) {
	for n := 1; n < 40; n++ {
		sum := 0.0
		for _, s := range Shares(n) {
			sum += s
		}
		if sum != 1 || len(Shares(n)) != n {
			t.Errorf("%d shares sum to %v: %v", n, sum, Shares(n))
		}
	}
}
