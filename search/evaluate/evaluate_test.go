package evaluate

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/train"
)

func evaluator(t *testing.T, space string, c Config) *Evaluator {
	t.Helper()
	b, err := os.ReadFile("../../zoo/spaces/" + space + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Space, err = arch.ParseSpace(space, b); err != nil {
		t.Fatal(err)
	}
	if c.Data, err = Load("digits[0:600]", "", 0.2, 1); err != nil {
		t.Fatal(err)
	}
	c.Train = train.Default()
	c.Train.Epochs = 4
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func run(t *testing.T, e *Evaluator, trial *search.Trial) *search.Trial {
	t.Helper()
	o, err := e.Evaluate(context.Background(), trial)
	if err != nil {
		t.Fatal(err)
	}
	trial.Outcome = o
	return trial
}

func option(t *testing.T, s *arch.Space, g arch.Genotype, name, option string) {
	t.Helper()
	for i, x := range s.Genes {
		if x.Name == name {
			if g[i] = slices.Index(x.Options, option); g[i] < 0 {
				t.Fatalf("%s has no %s", name, option)
			}
			return
		}
	}
	t.Fatalf("no gene %s", name)
}

// A network grows: its function stays until it is trained, in a plain network
// and in a DenseNet, and training goes on from there.
func TestInherits(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct{ space, wide, deep string }{
		{"plain-cnn", "block2.channels", "block1.repeat"},
		{"densenet", "block1.growth", "block2.repeat"},
	} {
		t.Run(c.space, func(t *testing.T) {
			edits := 0
			e := evaluator(t, c.space, Config{Weights: &Memory{}, Noise: 0.01, Edited: func(_ *search.Trial, _ string, d, top float64) {
				edits++
				if !(d <= 1e-5*max(1, top)) {
					t.Errorf("|Δ| %g of %g", d, top)
				}
			}})
			g := make(arch.Genotype, len(e.Space.Genes))
			if c.space == "plain-cnn" {
				option(t, e.Space, g, "block1.0.kernel", "3")
			}
			parent := run(t, e, &search.Trial{ID: 1, Seed: 5, Proposal: search.Proposal{Genotype: g}})
			if parent.Fault != "" || parent.Weights == "" || parent.Steps != 4*(480/64) || len(parent.Curve) != 4 {
				t.Fatalf("%+v", parent.Outcome)
			}
			m, err := morph.Start(ctx, e.Space, g)
			if err != nil {
				t.Fatal(err)
			}
			at := func(name string) int {
				return slices.IndexFunc(e.Space.Genes, func(x arch.Gene) bool { return x.Name == name })
			}
			if err := m.Widen(ctx, at(c.wide), 1); err != nil {
				t.Fatal(err)
			}
			if err := m.Deepen(ctx, at(c.deep), 1, 0, nil); err != nil {
				t.Fatal(err)
			}
			child := &search.Trial{ID: 2, Seed: 6, ParentTrial: parent, Proposal: search.Proposal{Genotype: m.Genotype, Parent: 1, Edits: m.Edits, Budget: 0.5}}
			run(t, e, child)
			if child.Fault != "" || edits != 2 || child.Steps != 2*(480/64) || child.MaxOut == 0 {
				t.Fatalf("%d edits, %+v", edits, child.Outcome)
			}
			if child.Metrics["params"] <= parent.Metrics["params"] || child.Metrics["macs"] <= parent.Metrics["macs"] {
				t.Errorf("%v grew to %v", parent.Metrics, child.Metrics)
			}
			// The same again gives the same bits.
			again := run(t, e, &search.Trial{ID: 2, Seed: 6, ParentTrial: parent, Proposal: child.Proposal})
			if again.Weights != child.Weights {
				t.Error("a second evaluation differs")
			}
			// Halving: the same network goes on.
			on := run(t, e, &search.Trial{ID: 3, Seed: 7, ParentTrial: child, Proposal: search.Proposal{Genotype: m.Genotype, Parent: 2, Budget: 0.25}})
			if on.Fault != "" || on.Metrics["loss"] > child.Metrics["loss"]+0.5 {
				t.Errorf("from %v to %+v", child.Metrics, on.Outcome)
			}
		})
	}
}

// A budget below an epoch is so many steps.
func TestBudgetInSteps(t *testing.T) {
	e := evaluator(t, "plain-cnn", Config{Weights: &Memory{}})
	g := make(arch.Genotype, len(e.Space.Genes))
	per := e.Data.Train.Len() / e.Train.Batch
	start := run(t, e, &search.Trial{ID: 1, Seed: 1, Proposal: search.Proposal{Genotype: g, Budget: 3 / float64(4*per)}})
	next := run(t, e, &search.Trial{ID: 2, Seed: 2, ParentTrial: start, Proposal: search.Proposal{Genotype: g, Parent: 1, Budget: 1 / float64(4*per)}})
	if per < 4 || start.Steps != 3 || next.Steps != 1 || len(start.Curve) != 1 {
		t.Errorf("%d and %d steps, %d in an epoch, curve %v", start.Steps, next.Steps, per, start.Curve)
	}
	if want := 3 * float64(e.Train.Batch) * stepMACs * start.Metrics["macs"]; start.Metrics["train_macs"] != want {
		t.Errorf("cost %g, wanted %g", start.Metrics["train_macs"], want)
	}
}

func TestFaults(t *testing.T) {
	e := evaluator(t, "plain-cnn", Config{Weights: &Memory{}})
	g := make(arch.Genotype, len(e.Space.Genes))
	parent := run(t, e, &search.Trial{ID: 1, Seed: 5, Proposal: search.Proposal{Genotype: g, Budget: 0.25}})
	wide := slices.Clone(g)
	option(t, e.Space, wide, "block1.channels", "32")
	for _, c := range []struct {
		p    search.Proposal
		want string
	}{
		{search.Proposal{Genotype: wide, Parent: 1}, "no edits"},
		{search.Proposal{Genotype: wide, Parent: 1, Edits: []string{"widen(node=block1.0,to=48)"}}, "another network than the genotype's"},
		{search.Proposal{Genotype: wide, Parent: 1, Edits: []string{"widen(node=block9,to=48)"}}, "no node of this name"},
		{search.Proposal{Genotype: wide, Parent: 1, Edits: []string{"wyden"}}, "wyden"},
	} {
		o := run(t, e, &search.Trial{ID: 2, Seed: 6, ParentTrial: parent, Proposal: c.p})
		if !strings.Contains(o.Fault, c.want) {
			t.Errorf("%v: fault %q, wanted %q", c.p.Edits, o.Fault, c.want)
		}
	}
	lost := *parent
	lost.Weights = strings.Repeat("0", 64)
	if _, err := e.Evaluate(context.Background(), &search.Trial{ID: 2, ParentTrial: &lost, Proposal: search.Proposal{Genotype: g, Parent: 1}}); err == nil || !strings.Contains(err.Error(), "nothing of that name") {
		t.Errorf("lost weights: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Evaluate(ctx, &search.Trial{ID: 2, Proposal: search.Proposal{Genotype: g}}); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheap(t *testing.T) {
	e := evaluator(t, "plain-cnn", Config{})
	g := e.Space.Sample(3)
	m, err := Cheap(e.Space)(g)
	if err != nil {
		t.Fatal(err)
	}
	net, _, err := morph.Build(context.Background(), e.Space, g)
	if err != nil {
		t.Fatal(err)
	}
	macs, params := Count(net)
	if m["macs"] != float64(macs) || m["params"] != float64(params) || macs == 0 {
		t.Errorf("%v, counted %d and %d", m, macs, params)
	}
}

func TestSplit(t *testing.T) {
	s, err := Load("digits", "", 0.25, 3)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.Train.Len(), s.Valid.Len(); a+b != 1797 || math.Abs(float64(b)-1797.0/4) > 5 || s.Classes != 10 || !slices.Equal(s.Input, []int{8, 8, 1}) {
		t.Errorf("%d and %d of %v, %d classes", a, b, s.Input, s.Classes)
	}
	count := make([]int, 10)
	for i := range s.Valid.Len() {
		x, err := s.Valid.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		count[x.Label]++
	}
	if slices.Min(count) < 42 || slices.Max(count) > 47 {
		t.Errorf("classes %v", count)
	}
	if _, err := Load("digits", "", 0, 3); err == nil {
		t.Error("a share of 0 is taken")
	}
}

func TestMemory(t *testing.T) {
	m := &Memory{}
	a, err := m.Put([]byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := m.Put([]byte("one")); err != nil || a != b {
		t.Errorf("%s, then %s, %v", a, b, err)
	}
	if f, err := m.Get(a); err != nil || string(f) != "one" {
		t.Errorf("%q, %v", f, err)
	}
	if _, err := m.Get("b" + a[1:]); err == nil {
		t.Error("a file that was never put")
	}
}

// Trials see the samples that are left to them, last trainings see all; what
// the data is called stays the same.
func TestShortened(t *testing.T) {
	e := evaluator(t, "plain-cnn", Config{Weights: &Memory{}})
	was, err := e.Data.Digest()
	if err != nil {
		t.Fatal(err)
	}
	all := e.Data.Train.Len()
	e.Data.Shorten(all+1, 1)
	if e.Data.Full != nil {
		t.Error("more samples than there are shorten the data")
	}
	e.Data.Shorten(130, 1)
	if e.Data.Judge != nil {
		t.Error("120 samples to judge by were made fewer for 130 to train on")
	}
	if now, err := e.Data.Digest(); err != nil || now != was || e.Data.Train.Len() != 130 {
		t.Errorf("%d samples, digest %s, %v; wanted 130 and %s", e.Data.Train.Len(), now, err, was)
	}
	g := make(arch.Genotype, len(e.Space.Genes))
	first := run(t, e, &search.Trial{ID: 1, Seed: 1, Proposal: search.Proposal{Genotype: g}})
	last := run(t, e, &search.Trial{ID: 2, Seed: 1, ParentTrial: first, Proposal: search.Proposal{Genotype: g, Parent: 1, Note: search.LastNote}})
	per := int64(e.Train.Epochs)
	if short, whole := int64(130/e.Train.Batch)*per, int64(all/e.Train.Batch)*per; first.Steps != short || last.Steps != whole || short >= whole {
		t.Errorf("%d and %d steps, wanted %d and %d", first.Steps, last.Steps, short, whole)
	}
}
