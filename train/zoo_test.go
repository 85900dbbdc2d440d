package train

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo"
)

// drawn is a source of random inputs for a network, each sample with a class of
// its own.
type drawn struct {
	inputs []*ir.Value
	n      int
}

func (d drawn) Len() int { return d.n }

func (d drawn) Sample(i int) (data.Sample, error) {
	r := rand.New(rand.NewPCG(uint64(i), 9))
	s := data.Sample{Tensors: map[string]*ir.Tensor{}, Label: i}
	for _, v := range d.inputs {
		x := ir.NewTensor(v.Type.DType, v.Type.Shape.With(1)...)
		for k := range x.Len() {
			switch {
			case v.Type.DType.IsFloat():
				x.Set(k, r.NormFloat64())
			case strings.Contains(v.Name, "mask"):
				x.Set(k, 1)
			default:
				x.Set(k, float64(r.IntN(100)))
			}
		}
		s.Tensors[v.Name] = x
	}
	return s, nil
}

// smaller is a network of the zoo on pictures of 64×64 where it takes larger
// ones, or on 16 tokens: the same layers, in a test's time.
func smaller(t *testing.T, name string) *ir.Graph {
	t.Helper()
	b, err := zoo.FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, s := range [][2]string{
		{`(?m)^input = \[224, 224, 3\]`, "input = [64, 64, 3]"},
		{`(?m)^input = \[128\]`, "input = [16]"},
		{`(?m)^(height|width|resize) = (224|256)$`, "$1 = 64"},
	} {
		text = regexp.MustCompile(s[0]).ReplaceAllString(text, s[1])
	}
	m, _, err := arch.Parse(name, []byte(text), zoo.FS.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// steps trains a network of the zoo on four samples for a few steps and gives
// the losses.
func steps(t *testing.T, g *ir.Graph, target string, count int) []float64 {
	t.Helper()
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	n.Init(1)
	c := Default()
	c.Epochs, c.Batch, c.Optimizer, c.LR, c.Schedule, c.Target = count, 4, "sgd", 1e-3, "constant", target
	c.Clip = 1 // gradients of drawn weights behind fifty batch norms are large: unclipped, steps would show rounding
	c.Hyper.Momentum, c.Hyper.Nesterov = 0, false
	f, err := data.NewFeed(drawn{n.graph.Inputs, 4}, n.graph.Inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := &Job{Config: c, Network: n, Data: f, Threads: 2}
	if j.Backend, err = Backends(target); err != nil {
		t.Fatal(err)
	}
	r, err := j.Run(context.Background())
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	var out []float64
	for _, e := range r.Epochs { // of one step each
		out = append(out, e.Loss)
	}
	return out
}

// TestZooSteps: every network of the zoo learns four samples on the engine, and
// where there is XLA its losses are the same on both ways, step by step: those of
// small networks, and with NASC_EXHAUSTIVE=1 of all, which XLA compiles for minutes.
func TestZooSteps(t *testing.T) {
	files, err := filepath.Glob("../zoo/*.toml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d networks, %v", len(files), err)
	}
	xla := gomlx.XLA().Available() == nil && !testing.Short()
	for _, f := range files {
		name := filepath.Base(f)
		t.Run(strings.TrimSuffix(name, ".toml"), func(t *testing.T) {
			g := smaller(t, name)
			const count = 4
			own := steps(t, g, "cpu-f32", count)
			for _, l := range own {
				if math.IsNaN(l) || math.IsInf(l, 0) || l <= 0 {
					t.Fatalf("losses %v", own)
				}
			}
			if own[count-1] >= own[0] {
				t.Errorf("losses %v: nothing is learned", own)
			}
			if !xla || g.Params() > 3e6 && os.Getenv("NASC_EXHAUSTIVE") == "" {
				return
			}
			other := steps(t, g, "xla-cpu", count)
			for i, l := range own {
				if d := math.Abs(other[i] - l); d > 1e-2*l {
					t.Errorf("step %d: loss %v on the engine, %v on XLA", i+1, l, other[i])
				}
			}
			t.Logf("losses %.5f, on XLA %.5f", own, other)
		})
	}
}
