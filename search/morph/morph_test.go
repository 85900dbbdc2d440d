package morph

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

func space(t *testing.T, name string) *arch.Space {
	t.Helper()
	b, err := os.ReadFile("../../zoo/spaces/" + name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := arch.ParseSpace(name, b)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.Adapted([]int{8, 8, 1}, 10); err != nil {
		t.Fatal(err)
	}
	return s
}

func gene(t *testing.T, s *arch.Space, name string) int {
	t.Helper()
	i := slices.IndexFunc(s.Genes, func(g arch.Gene) bool { return g.Name == name })
	if i < 0 {
		t.Fatalf("no gene %s", name)
	}
	return i
}

// holds carries a growth's edits out on its first network and compares what
// comes out with it.
func holds(t *testing.T, s *arch.Space, from arch.Genotype, m *Growth) {
	t.Helper()
	ctx := context.Background()
	first, _, err := Build(ctx, s, from)
	if err != nil {
		t.Fatal(err)
	}
	work := first.Clone()
	for _, e := range m.Edits {
		if keeps, err := Edit(ctx, work, e); err != nil || !keeps {
			t.Fatalf("%s: keeps %v: %v", e, keeps, err)
		}
	}
	net, _, err := Build(ctx, s, m.Genotype)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Fit(ctx, work, net); err != nil {
		t.Fatalf("%v: %v", m.Edits, err)
	}
	if gap, err := passes.Gap(ctx, first, net, nil, 1); err != nil || !(gap <= passes.KeptTolerance) {
		t.Errorf("%v: |Δ| %g, %v", m.Edits, gap, err)
	}
}

func TestGrowPlain(t *testing.T) {
	ctx := context.Background()
	s := space(t, "plain-cnn")
	g := make(arch.Genotype, len(s.Genes))
	g[gene(t, s, "hidden")] = 1 // a hidden dense layer
	g[gene(t, s, "block1.0.kernel")] = 1
	m, err := Start(ctx, s, g)
	if err != nil {
		t.Fatal(err)
	}
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	step(m.Widen(ctx, gene(t, s, "block1.channels"), 1))
	five := func(int, int) int { return 2 }
	step(m.Deepen(ctx, gene(t, s, "block2.repeat"), 1, 0, five))
	step(m.Deepen(ctx, gene(t, s, "block2.repeat"), 3, 0, func(int, int) int { return 1 })) // two more in front of that one
	step(m.Widen(ctx, gene(t, s, "block2.channels"), 2))
	step(m.Widen(ctx, gene(t, s, "hidden.out"), 2))
	holds(t, s, g, m)
	var kernels []string
	for i := range 4 {
		k := gene(t, s, "block2."+string(rune('0'+i))+".kernel")
		kernels = append(kernels, s.Genes[k].Options[m.Genotype[k]])
	}
	if got := strings.Join(kernels, " "); got != "1 3 3 5" {
		t.Errorf("kernels %s", got)
	}
	was := slices.Clone(m.Genotype)
	if err := m.Deepen(ctx, gene(t, s, "block1.repeat"), 0, 0, nil); err == nil {
		t.Error("fewer layers are taken")
	}
	if err := m.Widen(ctx, gene(t, s, "block2.channels"), 0); err == nil {
		t.Error("narrower layers are taken")
	}
	if !slices.Equal(was, m.Genotype) || len(m.Edits) != 5 {
		t.Errorf("a refused step left %v, %v", m.Genotype, m.Edits)
	}
}

func TestGrowDense(t *testing.T) {
	ctx := context.Background()
	s := space(t, "densenet")
	g := make(arch.Genotype, len(s.Genes))
	m, err := Start(ctx, s, g)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{
		func() error { return m.Widen(ctx, gene(t, s, "block1.growth"), 1) },
		func() error { return m.Deepen(ctx, gene(t, s, "block2.repeat"), 1, 1, nil) },
		func() error { return m.Widen(ctx, gene(t, s, "transition1.share"), 1) },
		func() error { return m.Widen(ctx, gene(t, s, "stem.channels"), 1) },
		func() error { return m.Deepen(ctx, gene(t, s, "block1.repeat"), 1, 3, nil) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, s, g, m)
}

// Any walk of random steps keeps the function and stays in the space.
func TestRandomWalks(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"plain-cnn", "densenet"} {
		s := space(t, name)
		for seed := range uint64(3) {
			r := rand.New(rand.NewPCG(seed, 1))
			g := make(arch.Genotype, len(s.Genes))
			if name == "plain-cnn" {
				g[gene(t, s, "hidden")] = r.IntN(3)
			}
			m, err := Start(ctx, s, g)
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				i := r.IntN(len(s.Genes))
				v := m.Genotype[i] + 1
				if v >= len(s.Genes[i].Options) {
					continue
				}
				switch _, key, _ := strings.Cut(s.Genes[i].Name, "."); key {
				case "channels", "growth", "out", "share":
					err = m.Widen(ctx, i, v)
				case "repeat":
					err = m.Deepen(ctx, i, v, r.IntN(RepetitionsOf(s, i).Times(m.Genotype)), func(gene, _ int) int { return r.IntN(len(s.Genes[gene].Options)) })
				default:
					continue
				}
				if err != nil && s.Genes[i].Name != "hidden.out" { // not there in two of three
					t.Fatal(err)
				}
			}
			holds(t, s, g, m)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	ctx := context.Background()
	s := space(t, "plain-cnn")
	g := make(arch.Genotype, len(s.Genes))
	build := func(g arch.Genotype) *ir.Graph {
		net, _, err := Build(ctx, s, g)
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	wide := slices.Clone(g)
	wide[gene(t, s, "block1.channels")] = 1
	if _, err := Fit(ctx, build(g), build(wide)); err == nil || !strings.Contains(err.Error(), "another network than the genotype's") {
		t.Error(err)
	}
	if _, err := Edit(ctx, build(g), "widen(node=block1.0,to=16)"); err == nil {
		t.Error("an edit that changes nothing is taken")
	}
}
