package strategy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/design"
)

func TestDeepMAD(t *testing.T) {
	a, err := arch.LoadSpace("../../zoo/spaces/m2k-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	sp := search.ArchSpace{Space: a}
	macs, err := search.FindMetric("macs")
	if err != nil {
		t.Fatal(err)
	}
	g := goal(t, "accuracy", 0)
	g.Limits = []search.Limit{{Metric: macs, Bound: 8e5}}
	x, err := Find("deepmad", search.Setup{Space: sp, Goal: g})
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.Ask(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got, err := design.Evaluate(a, p.Genotype, design.Default)
	if err != nil {
		t.Fatal(err)
	}
	for o := range a.All() { // 960 networks
		d, err := design.Evaluate(a, o, design.Default)
		if err != nil {
			t.Fatal(err)
		}
		if d.Feasible(design.Limits{MACs: 8e5}, design.Default) && d.Score > got.Score {
			t.Fatalf("%v scores %v, %v was proposed with %v", o, d.Score, p.Genotype, got.Score)
		}
	}
	if _, err := x.Ask(context.Background()); !errors.Is(err, search.ErrDone) {
		t.Errorf("a second network: %v", err)
	}
	for text, s := range map[string]search.Setup{
		"no limit":               {Space: sp, Goal: goal(t, "accuracy", 0)},
		"a limit on ms":          {Space: sp, Goal: goal(t, "accuracy", 0.1)},
		"chains of convolutions": {Space: vit(t), Goal: g},
		"an architecture file":   {Space: struct{ search.Space }{sp}, Goal: g},
	} {
		if _, err := Find("deepmad", s); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("wanted %q: %v", text, err)
		}
	}
}

func vit(t *testing.T) search.Space {
	a, err := arch.LoadSpace("../../zoo/spaces/vit.toml")
	if err != nil {
		t.Fatal(err)
	}
	return search.ArchSpace{Space: a}
}
