package gomlx

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/backendtest"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// targets are those that can run here; NASC_REQUIRE_XLA makes XLA's absence a
// failure.
func targets(t *testing.T) []backends.Target {
	ts := []backends.Target{Go()}
	switch err := XLA().Available(); {
	case err == nil:
		ts = append(ts, XLA())
	case os.Getenv("NASC_REQUIRE_XLA") != "":
		t.Fatal(err)
	default:
		t.Logf("without xla-cpu: %v", err)
	}
	return ts
}

// jumps are the ops that turn a difference in the last bit into a large one;
// graphs with them are compared op by op only.
var jumps = []string{"floor", "ceil", "round_nearest_even", "sign", "compare", "arg_max", "convert", "remainder", "is_nan", "select"}

// comparable says whether a random graph can be held to a tolerance.
func comparable(g *ir.Graph) bool {
	return !slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		return !Supports(n.Op.Name) || slices.Contains(jumps, n.Op.Name)
	})
}

// config: other orders of summation and other exponentials, relative to the
// largest value of a tensor.
var config = backendtest.Config{Rel: 2e-4}

func TestRandomGraphs(t *testing.T) {
	for _, target := range targets(t) {
		t.Run(target.Name(), func(t *testing.T) {
			covered, n := map[string]bool{}, 0
			for seed := range uint64(300) {
				g := graphgen.New(graphgen.Config{Seed: seed, Nodes: 5})
				if !comparable(g) {
					continue
				}
				for _, node := range g.Nodes {
					covered[node.Op.Name] = true
				}
				n++
				backendtest.Compare(t, target, config, g, graphgen.Inputs(g, seed))
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
				if n == 24 {
					break
				}
			}
			if n < 24 || len(covered) < 20 {
				t.Errorf("only %d graphs with %d ops were compared", n, len(covered))
			}
		})
	}
}

// TestOps compares one op at a time: those that jump, and geometries that the
// random graphs seldom have.
func TestOps(t *testing.T) {
	for _, text := range []string{
		`graph @main(%x: f32[2,5]) { %y = floor %x; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = ceil %x; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = round_nearest_even %x; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = sign %x; return %y }`,
		`graph @main(%x: f32[2,5], %z: f32[5]) { %y = compare %x %z direction="LT"; return %y }`,
		`graph @main(%x: f32[2,5], %z: f32[5]) { %c = compare %x %z direction="GE"; %y = select %c %x %z; return %y }`,
		`graph @main(%x: f32[2,5], %z: f32[2,1]) { %y = remainder %x %z; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = arg_max %x axis=1 keep_dims=false; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = convert %x dtype="i32"; return %y }`,
		`graph @main(%x: f32[2,5]) { %y = is_nan %x; return %y }`,
		`graph @main(%x: f32[2,9]) { %y = slice %x start=[0,8] limit=[2,1] stride=[1,-2]; return %y }`,
		`graph @main(%x: f32[2,5,3]) { %y = pad %x low=[0,2,1] high=[0,1,0] mode="reflect"; return %y }`,
		`graph @main(%x: f32[2,5,3]) { %y = pad %x low=[0,2,1] high=[0,1,0] mode="edge"; return %y }`,
		`graph @main(%x: f32[1,5,7,3]) { %y = resize %x size=[11,4] mode="linear"; return %y }`,
		`graph @main(%x: f32[1,5,7,3]) { %y = resize %x size=[11,4] mode="cubic"; return %y }`,
		`graph @main(%x: f32[1,5,7,3]) { %y = resize %x size=[11,14] mode="nearest"; return %y }`,
		`graph @main(%x: f32[2,3,4]) { %i = iota shape=[2,2] axis=1; %y = gather %x %i axis=1; return %y }`,
		`graph @main(%x: f32[1,6,6,4], %w: f32[3,3,4,2]) { %y = convolution_transpose %x %w strides=[2,2] padding=[1,1,1,1] output_padding=[1,0] groups=2; return %y }`,
		`graph @main(%x: f32[1,6,6,4], %w: f32[3,3,2,6]) { %y = convolution %x %w strides=[2,1] padding=[1,0,1,2] groups=2; return %y }`,
		`graph @main(%x: f32[1,6,6,4], %w: f32[3,2,1,4]) { %y = convolution %x %w dilation=[1,2] padding=[1,0,1,2] groups=4; return %y }`,
		`graph @main(%x: f32[1,9,4], %w: f32[3,4,5]) { %y = convolution %x %w padding=[1,1]; return %y }`,
		`graph @main(%x: f32[1,6,7,4]) { %y = average_pool %x kernel=[3,2] strides=[2,2] padding=[1,1,1,0]; return %y }`,
		`graph @main(%x: f32[1,6,7,4]) { %y = average_pool %x kernel=[3,2] strides=[2,2] padding=[1,1,1,0] count_include_pad=true; return %y }`,
		`graph @main(%x: f32[1,6,7,4]) { %y = max_pool %x kernel=[3,2] strides=[2,2] padding=[1,1,1,0]; return %y }`,
		`graph @main(%x: f32[2,6,4]) { %y = group_norm %x groups=2; return %y }`,
		`const @l: i32[2] = [5,3]; graph @main(%x: f32[5,2,3], %w: f32[2,16,3], %r: f32[2,16,4], %b: f32[2,32], %h: f32[2,2,4], %k: f32[2,2,4], %p: f32[2,12]) { %y, %hn, %cn = lstm %x %w %r %b @l %h %k %p hidden_size=4 direction="bidirectional"; return %y, %hn, %cn }`,
		`graph @main(%x: f32[5,2,3], %w: f32[1,16,3], %r: f32[1,16,4]) { %y, %hn, %cn = lstm %x %w %r hidden_size=4 direction="reverse"; return %y, %hn, %cn }`,
		`const @l: i32[2] = [0,4]; graph @main(%x: f32[5,2,3], %w: f32[2,12,3], %r: f32[2,12,4], %b: f32[2,24]) { %y, %hn = gru %x %w %r %b @l hidden_size=4 direction="bidirectional"; return %y, %hn }`,
		`graph @main(%x: f32[5,2,3], %w: f32[1,12,3], %r: f32[1,12,4], %b: f32[1,24]) { %y, %hn = gru %x %w %r %b hidden_size=4 linear_before_reset=true; return %y, %hn }`,
	} {
		g, err := ir.ParseGraph("ops.ir", strings.NewReplacer("; ", "\n", "{ ", "{\n", " }", "\n}\n").Replace(text), nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, target := range targets(t) {
			t.Run(target.Name()+"/"+g.Nodes[len(g.Nodes)-1].Op.Name, func(t *testing.T) {
				backendtest.Compare(t, target, config, g, graphgen.Inputs(g, 1))
			})
		}
	}
}

func TestRefused(t *testing.T) {
	g, err := ir.ParseGraph("q.ir", "graph @main(%x: f32[2,5]) {\n%q, %s, %z = dynamic_quantize_linear %x\nreturn %q\n}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Go().Compile(g, backends.Options{}); err == nil || !strings.Contains(err.Error(), "cpu-int8") {
		t.Errorf("a quantized graph: %v", err)
	}
	if _, err := Go().Compile(g, backends.Options{ISA: "avx2"}); err == nil {
		t.Error("an ISA is taken")
	}
}

// TestConcurrent runs one program from several goroutines.
func TestConcurrent(t *testing.T) {
	g := graphgen.New(graphgen.Config{Seed: 3, Nodes: 4})
	for seed := uint64(3); !comparable(g); seed++ {
		g = graphgen.New(graphgen.Config{Seed: seed, Nodes: 4})
	}
	for _, target := range targets(t) {
		e, err := target.Compile(g, backends.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range uint64(4) {
			wg.Go(func() {
				in := graphgen.Inputs(g, i)
				first, again := backends.NewOutputs(g), backends.NewOutputs(g)
				for _, out := range [][]*ir.Tensor{first, again} {
					if err := e.Run(context.Background(), in, out); err != nil {
						t.Error(err)
					}
				}
				want := backendtest.Reference(t, g, in)
				for k := range first {
					if err := difftest.Bits(first[k], again[k]); err != nil {
						t.Errorf("%s: a second run differs: %v", target.Name(), err)
					}
					if err := difftest.Close(first[k], want[k], config.Rel, 1e-6); first[k].DType.IsFloat() && err != nil {
						t.Errorf("%s: %v", target.Name(), err)
					}
				}
			})
		}
		wg.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPlace runs on inputs that are placed once: with and without results they
// stay what they are.
func TestPlace(t *testing.T) {
	g, err := ir.ParseGraph("p.ir", "const @w: f32[5,3] = normal(1, 0.5)\ngraph @main(%x: f32[2,5], %z: f32[2,3]) {\n%d = dot %x @w\n%y = add %d %z\nreturn %y\n}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets(t) {
		e, err := target.Compile(g, backends.Options{})
		if err != nil {
			t.Fatal(err)
		}
		in := graphgen.Inputs(g, 1)
		want, got := backends.NewOutputs(g), backends.NewOutputs(g)
		if err := e.Run(t.Context(), in, want); err != nil {
			t.Fatal(err)
		}
		p := e.(backends.Placed)
		run, release, err := p.Place(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range [][]*ir.Tensor{nil, nil, got} {
			if err := run(t.Context(), out); err != nil {
				t.Fatalf("%s: %v", target.Name(), err)
			}
		}
		if err := difftest.Bits(got[0], want[0]); err != nil {
			t.Errorf("%s: placed inputs give another result: %v", target.Name(), err)
		}
		if err := run(t.Context(), []*ir.Tensor{ir.NewTensor(ir.F32, 3, 2)}); err == nil {
			t.Errorf("%s: an output of another shape is taken", target.Name())
		}
		release()
		if _, _, err := p.Place(in[:1]); err == nil {
			t.Errorf("%s: an input is missing, and is not missed", target.Name())
		}
		if err := e.Run(t.Context(), in, got); err != nil {
			t.Errorf("%s: after placed inputs were released: %v", target.Name(), err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFirstRuns starts a program's first runs together, with many weights to move
// to the backend.
func TestFirstRuns(t *testing.T) {
	var consts, body strings.Builder
	for i := range 60 {
		fmt.Fprintf(&consts, "const @w%d: f32[64,64] = normal(%d, 0.1)\n", i, i)
		fmt.Fprintf(&body, "%%v%d = add %%v%d @w%d\n", i+1, i, i)
	}
	g, err := ir.ParseGraph("f.ir", consts.String()+"graph @main(%v0: f32[64,64]) {\n"+body.String()+"return %v60\n}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets(t) {
		for range 4 {
			e, err := target.Compile(g, backends.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := e.Run(context.Background(), graphgen.Inputs(g, 1), backends.NewOutputs(g)); err != nil {
						t.Errorf("%s: %v", target.Name(), err)
					}
				})
			}
			wg.Wait()
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// BenchmarkNets is the networks of the engine's own benchmark.
func BenchmarkNets(b *testing.B) {
	for _, target := range []backends.Target{Go(), XLA()} {
		if err := target.Available(); err != nil {
			b.Logf("without %s: %v", target.Name(), err)
			continue
		}
		for _, net := range graphgen.Nets() {
			b.Run(target.Name()+"/"+net.Name, func(b *testing.B) {
				g, err := net.Build(false)
				if err != nil {
					b.Fatal(err)
				}
				e, err := target.Compile(g, backends.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				in, out := graphgen.Inputs(g, 1), backends.NewOutputs(g)
				for b.Loop() {
					if err := e.Run(context.Background(), in, out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestRunChecks(t *testing.T) {
	g, err := ir.ParseGraph("r.ir", "graph @main(%x: f32[2,5]) {\n%y = relu %x\nreturn %y\n}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Go().Compile(g, backends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Run(context.Background(), []*ir.Tensor{ir.NewTensor(ir.F32, 5, 2)}, backends.NewOutputs(g)); err == nil {
		t.Error("an input of another shape is taken")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx, graphgen.Inputs(g, 1), backends.NewOutputs(g)); err == nil {
		t.Error("a cancelled run goes on")
	}
}
