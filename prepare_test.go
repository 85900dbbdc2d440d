package nasc

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
)

// quickTable profiles a few networks of a space, roughly.
func quickTable(t testing.TB, space *arch.Space, target string, nets int) *latency.Table {
	t.Helper()
	src, err := NewSpaceSource(t.Context(), []*arch.Space{space}, target, 1, 1, nets)
	if err != nil {
		t.Fatal(err)
	}
	tg, _, err := Target(target)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "t.csv")
	for range 10 { // on a busy machine one budget is not enough
		r, err := latency.Profile(t.Context(), path, src, latency.Options{
			Target: tg, Compile: backends.Options{Threads: 1}, Facts: latency.Fingerprint(Version(), target, "", 1, 1), CI: 0.5, Budget: 2 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Networks >= src.Len() {
			break
		}
	}
	table, err := latency.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// conditional is a space whose later choices depend on earlier ones.
const conditional = `input = [8, 8, 3]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [8, 16] }
repeat = { choose = [1, 2] }
[[stage]]
block = "conv"
name = "b"
when = { "a.channels" = 16 }
channels = { choose = [8, 24] }
kernel = { choose = [3, 5], when = { "a.repeat" = 2 } }
[[stage]]
block = "pool"
[[stage]]
block = "dense"
out = 10
`

// The chain of a prepared space predicts what the whole way does.
func TestPreparedEqualsWhole(t *testing.T) {
	for _, c := range []struct {
		name, text, file, target string
		checks, nets             int
	}{
		{name: "mobilenetv3", file: "zoo/spaces/mobilenetv3.toml", target: "cpu-int8", checks: 6},
		{name: "vit", file: "zoo/spaces/vit.toml", target: "cpu-f32", checks: 3},
		{name: "vit", file: "zoo/spaces/vit.toml", target: "cpu-int8", checks: 3},
		{name: "resnet", file: "zoo/spaces/resnet.toml", target: "cpu-f32", checks: 3},
		{name: "plain-cnn", file: "zoo/spaces/plain-cnn.toml", target: "cpu-int8", checks: 10},
		{name: "conditions", text: conditional, target: "cpu-int8", checks: 20, nets: 8},
	} {
		t.Run(fmt.Sprint(c.name, " ", c.target), func(t *testing.T) {
			if testing.Short() && c.name != "plain-cnn" {
				t.Skip("compiles many networks")
			}
			s, err := arch.ParseSpace(c.name, []byte(c.text))
			if c.text == "" {
				s, err = arch.LoadSpace(c.file)
			}
			if err != nil {
				t.Fatal(err)
			}
			table := quickTable(t, s, c.target, max(3, c.nets))
			begun := time.Now()
			chain, err := PrepareSpace(t.Context(), s, table, PrepareOptions{Target: c.target, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("prepared in %v", time.Since(begun))
			p := &preparation{SpaceBlocks: &SpaceBlocks{Space: s}, table: table, o: PrepareOptions{Target: c.target, Threads: 1, Batch: 1}}
			for _, g := range s.Samples(c.checks, 4321) {
				want, err := p.whole(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				if got, ok := chain.Predict(g); !ok || math.Abs(got/want.Total-1) > 1e-9 {
					t.Errorf("%v: %v by blocks, %v as a whole", g, got, want.Total)
				}
			}
		})
	}
}

// BenchmarkChain predicts networks of 20 blocks.
func BenchmarkChain(b *testing.B) {
	s, err := arch.LoadSpace("zoo/spaces/mobilenetv3.toml")
	if err != nil {
		b.Fatal(err)
	}
	table := quickTable(b, s, "cpu-f32", 1)
	chain, err := PrepareSpace(b.Context(), s, table, PrepareOptions{Target: "cpu-f32", Seed: 1, Checks: 1})
	if err != nil {
		b.Fatal(err)
	}
	gs := s.Samples(1000, 1)
	b.ResetTimer()
	for i := range b.N {
		if _, ok := chain.Predict(gs[i%len(gs)]); !ok {
			b.Fatal("a network of the space is none")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "predictions/s")
}
