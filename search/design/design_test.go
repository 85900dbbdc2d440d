package design

import (
	"context"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

func load(t *testing.T, name string) *arch.Space {
	t.Helper()
	s, err := arch.LoadSpace("../../zoo/spaces/" + name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, text string) *arch.Space {
	t.Helper()
	s, err := arch.ParseSpace("small.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// grids are small enough to look at each network.
var grids = map[string]string{
	"plain": `input = [16, 16, 3]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [8, 16, 24] }
repeat = { choose = [1, 2, 3] }
kernel = { choose = [1, 3], each = true }
[[stage]]
block = "max_pool"
[[stage]]
block = "conv"
name = "b"
channels = { choose = [8, 16, 32] }
repeat = { choose = [1, 2, 3] }
kernel = { choose = [3, 5] }
[[stage]]
block = "pool"
[[stage]]
block = "dense"
out = 10
`,
	"residual": `input = [16, 16, 3]
[[stage]]
block = "conv"
name = "stem"
channels = { choose = [8, 16] }
stride = 2
[[stage]]
name = "a"
choose = [
  [{ block = "basic", name = "a", repeat = { choose = [1, 2] }, channels = { choose = [16, 24] } }],
  [{ block = "bottleneck", name = "a", repeat = { choose = [1, 2, 3] }, channels = { choose = [8, 12] }, expansion = { choose = [2, 4] } }],
]
[[stage]]
block = "inverted"
name = "b"
repeat = { choose = [1, 2] }
channels = { choose = [16, 32] }
kernel = { choose = [3, 5], each = true }
expand = { choose = [2, 4], each = true }
stride = 2
se = 0.25
[[stage]]
block = "flatten"
[[stage]]
block = "dense"
out = 10
`,
}

// The solver finds what looking at every network finds, under no limits, loose
// ones and tight ones.
func TestEqualsBruteForce(t *testing.T) {
	for name, text := range grids {
		t.Run(name, func(t *testing.T) {
			space := parse(t, text)
			chain := times(t, space)
			p, err := NewProgram(t.Context(), space, chain, Default, nil)
			if err != nil {
				t.Fatal(err)
			}
			var all []*Design
			for g := range space.All() {
				d, err := Evaluate(space, g, Default)
				if err != nil {
					t.Fatal(err)
				}
				d.MS, _ = chain.Predict(g)
				all = append(all, d)
			}
			r := rand.New(rand.NewPCG(1, 2))
			limits := []Limits{{}}
			for range 20 {
				a, b := all[r.IntN(len(all))], all[r.IntN(len(all))]
				limits = append(limits, Limits{MACs: a.MACs}, Limits{Params: a.Params}, Limits{MACs: a.MACs, Params: b.Params}, Limits{MS: a.MS}, Limits{MS: a.MS, Params: b.Params})
			}
			for _, l := range limits {
				var best *Design
				for _, d := range all {
					if d.Feasible(l, Default) && (best == nil || d.Score > best.Score) {
						best = d
					}
				}
				got, err := p.Solve(context.Background(), l)
				if best == nil {
					if err == nil {
						t.Errorf("%+v: found %v, there is none", l, got.Genotype)
					}
					continue
				}
				if err != nil {
					t.Errorf("%+v: %v, there is %v", l, err, best.Genotype)
					continue
				}
				if math.Abs(got.Score-best.Score) > 1e-9*best.Score || !got.Exact || !got.Feasible(l, Default) {
					t.Errorf("%+v: %v scores %v (exact %v), best of all %v scores %v", l, got.Genotype, got.Score, got.Exact, best.Genotype, best.Score)
				}
			}
			t.Logf("%d networks, %d limits", len(all), len(limits))
		})
	}
}

// times makes up a time for each block, which has little to do with its MACs.
func times(t *testing.T, space *arch.Space) *latency.Chain {
	t.Helper()
	w, err := nasc.Blocks(t.Context(), space, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &latency.Chain{Base: 0.5, Root: w.Root, First: w.First}
	for _, s := range w.Slots {
		slot := latency.Slot{Choice: s.Choice, Next: s.Next}
		for _, key := range s.Block {
			ms := 0.0
			if key != "" {
				ms = 1 + float64(crc32.ChecksumIEEE([]byte(key))%1000)/500
			}
			slot.Cost = append(slot.Cost, ms)
		}
		c.Slots = append(c.Slots, slot)
	}
	return c
}

// A network worked out by hand: 3x3 from 3 to 8 at 8x8, twice 3x3 with 8
// channels, pooled, one 5x5 from 8 to 16 at 4x4.
func TestScoreByHand(t *testing.T) {
	space := parse(t, `input = [8, 8, 3]
[[stage]]
block = "conv"
name = "a"
channels = 8
repeat = { choose = [2, 3] }
[[stage]]
block = "max_pool"
[[stage]]
block = "conv"
name = "b"
channels = 16
kernel = 5
repeat = { choose = [1, 2] }
`)
	d, err := Evaluate(space, arch.Genotype{1, 0}, Default)
	if err != nil {
		t.Fatal(err)
	}
	ln := math.Log
	first := (ln(3*9) + 2*ln(8*9)) / 2
	second := first + ln(8*25)/2
	want := ln(8*8*8)*first + 8*ln(4*4*16)*second - 10*math.Exp(1) // depths 3 and 1: variance 1
	if math.Abs(d.Score-want) > 1e-9 {
		t.Errorf("score %v, wanted %v", d.Score, want)
	}
	if r := 4 / math.Exp(second*2/4); math.Abs(d.Rho-r) > 1e-12 {
		t.Errorf("rho %v, wanted %v", d.Rho, r)
	}
	if macs := int64(64*(27*8+2*72*8) + 16*200*16); d.MACs != macs {
		t.Errorf("%d MACs, wanted %d", d.MACs, macs)
	}
}

// Costs are those of inspect, and limits hold, on the spaces of the zoo.
func TestZooSpaces(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
	}{
		{"resnet", Limits{MACs: 2e9, Params: 12e6}},
		{"plain-cnn", Limits{MACs: 40e6, Params: 1e6}},
		{"m2k-cnn", Limits{MACs: 1e6}},
		{"mobilenetv3", Limits{MACs: 220e6, Params: 5.4e6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			space := load(t, c.name)
			p, err := NewProgram(t.Context(), space, nil, Default, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Solve(context.Background(), c.limits)
			if err != nil {
				t.Fatal(err)
			}
			text, err := space.Instance(r.Genotype)
			if err != nil {
				t.Fatal(err)
			}
			g, _, err := arch.Parse("x.toml", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := passes.Canonicalize(context.Background(), g, passes.Options{}); err != nil {
				t.Fatal(err)
			}
			if g.MACs() != r.MACs || g.Params() != r.Params {
				t.Errorf("%d MACs, %d parameters; the network has %d, %d", r.MACs, r.Params, g.MACs(), g.Params())
			}
			if r.MACs > c.limits.MACs || c.limits.Params > 0 && r.Params > c.limits.Params {
				t.Errorf("%d MACs, %d parameters of %+v", r.MACs, r.Params, c.limits)
			}
			if r.Bound < r.Score || r.Bound > 1.05*r.Score {
				t.Errorf("score %v, bound %v", r.Score, r.Bound)
			}
			for _, x := range space.Samples(200, 5) {
				d, err := Evaluate(space, x, Default)
				if err != nil {
					t.Fatal(err)
				}
				if d.Feasible(c.limits, Default) && d.Score > r.Bound {
					t.Errorf("%v scores %v, above the bound %v", x, d.Score, r.Bound)
				}
			}
			t.Logf("%+v", *r)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, name := range []string{"vit", "densenet"} {
		if _, err := NewProgram(t.Context(), load(t, name), nil, Default, nil); err == nil || !strings.Contains(err.Error(), "chains of convolutions") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := NewProgram(t.Context(), load(t, "m2k-cnn"), nil, Default, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Solve(context.Background(), Limits{MACs: 10}); err == nil || !strings.Contains(err.Error(), "the smallest network takes that") {
		t.Error(err)
	}
}
