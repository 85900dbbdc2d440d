package runtime

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

var update = flag.Bool("update", false, "write testdata anew")

// tiny is the model of testdata: a quantized convolution and a classifier for
// pictures of 8×8 pixels, any number of them at once.
func tiny(t *testing.T) *ir.Module {
	t.Helper()
	g, err := ir.ParseGraph("tiny", `
const @w: s8[3,3,1,4]<axis=3> scale=[0.01,0.01,0.01,0.01] zero=[0] = randint(1,-127,127)
const @b: i32[4] = [100,-50,0,7]
const @m: f32[4] = [0.002,0.002,0.003,0.001]
const @v: s8[256,3]<axis=1> scale=[0.01,0.01,0.01] zero=[0] = randint(2,-127,127)
const @n: f32[3] = [0.0001,0.0001,0.0001]
graph @tiny(%picture: f32[N,8,8,1]) {
  %q = uniform_quantize %picture out_scale=0.01 out_zero=128
  %c = q_convolution %q @w @b @m padding=[1,1,1,1] strides=[1,1] out_scale=0.05 out_zero=0
  %p = max_pool %c kernel=[1,1] strides=[1,1]
  %f = reshape %p shape=[N,256]
  %scores = q_dot %f @v _ @n out_dtype="f32"
  return %scores
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

func TestTestdataIsCurrent(t *testing.T) {
	var b bytes.Buffer
	man := &nascfile.Manifest{Producer: "nasc", Target: "cpu-int8", Labels: []string{"cat", "dog", "bird"}}
	if err := nascfile.Encode(&b, tiny(t), man); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/tiny.nasc", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("testdata/tiny.nasc")
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("testdata/tiny.nasc is not what this code writes (%v): go test ./runtime -update", err)
	}
}

func picture(seed uint64, n int) *Tensor {
	return graphgen.Tensor(rand.New(rand.NewPCG(seed, 1)), ir.T(ir.F32, n, 8, 8, 1))
}

func reference(t *testing.T, in *Tensor) *Tensor {
	t.Helper()
	g, err := ir.Specialize(tiny(t).Graphs[0], in.Shape[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := eval.Run(context.Background(), g, []*Tensor{in}, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Outputs[0]
}

func TestRunMatchesReference(t *testing.T) {
	for _, opts := range [][]Option{nil, {Threads(2)}, {Target("cpu-f32")}, {Target("cpu-int8@portable"), BatchSize(3)}} {
		m, err := LoadFS(os.DirFS("testdata"), "tiny.nasc", opts...)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 3, 1, 5} {
			in := picture(uint64(n), n)
			out, err := m.NewOutputs([]*Tensor{in})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Run(context.Background(), []*Tensor{in}, out); err != nil {
				t.Fatal(err)
			}
			if err := difftest.Bits(out[0], reference(t, in)); err != nil {
				t.Errorf("batch %d: %v", n, err)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Run(context.Background(), []*Tensor{picture(1, 1)}, []*Tensor{ir.NewTensor(ir.F32, 1, 3)}); err == nil {
			t.Error("a closed model runs")
		}
	}
}

// Many goroutines share one model, some cancel; every answer is right.
func TestConcurrentUse(t *testing.T) {
	m, err := Load("testdata/tiny.nasc", Threads(2))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var wg sync.WaitGroup
	for k := range 8 {
		want := reference(t, picture(uint64(k), 1+k%3))
		wg.Go(func() {
			in := []*Tensor{picture(uint64(k), 1+k%3)}
			out, err := m.NewOutputs(in)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 3 {
					go cancel()
				}
				err := m.Run(ctx, in, out)
				cancel()
				if errors.Is(err, context.Canceled) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if err := difftest.Bits(out[0], want); err != nil {
					t.Errorf("goroutine %d: %v", k, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRunAllocatesNothing(t *testing.T) {
	m, err := Load("testdata/tiny.nasc")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in, ctx := []*Tensor{picture(1, 1)}, context.Background()
	out, err := m.NewOutputs(in)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := m.Run(ctx, in, out); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
}

func TestRefusals(t *testing.T) {
	m, err := Load("testdata/tiny.nasc")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()
	if err := m.Run(ctx, []*Tensor{ir.NewTensor(ir.F32, 1, 9, 9, 1)}, nil); err == nil || !strings.Contains(err.Error(), "f32[1,9,9,1]; wanted picture f32[N,8,8,1]") {
		t.Errorf("another shape: %v", err)
	}
	if err := m.Run(ctx, []*Tensor{picture(1, 1)}, []*Tensor{ir.NewTensor(ir.F32, 2, 3)}); err == nil || !strings.Contains(err.Error(), "wanted f32[1,3]") {
		t.Errorf("an output of another shape: %v", err)
	}
	short := From(make([]float32, 10), 1, 8, 8, 1)
	if err := m.Run(ctx, []*Tensor{short}, []*Tensor{ir.NewTensor(ir.F32, 1, 3)}); err == nil || !strings.Contains(err.Error(), "data has 10 elements; wanted 64") {
		t.Errorf("data that do not fit their shape: %v", err)
	}
	if _, err := Load("testdata/none.nasc"); err == nil || !strings.Contains(err.Error(), "none.nasc") {
		t.Errorf("a missing file: %v", err)
	}
	for _, target := range []string{"xla-cpu", "cpu-int8@sse2"} {
		if _, err := Load("testdata/tiny.nasc", Target(target)); err == nil {
			t.Errorf("target %s is not refused", target)
		}
	}
	in := m.Inputs()
	if len(in) != 1 || in[0].Name != "picture" || in[0].Shape[0] != Batch || in[0].Type != ir.F32 {
		t.Errorf("inputs %+v", in)
	}
	if out := m.Outputs(); len(out) != 1 || out[0].Name != "scores" {
		t.Errorf("outputs %+v", out)
	}
}

// A file with several sets of shapes runs each and names all in a refusal.
func TestSeveralShapes(t *testing.T) {
	var gs []*ir.Graph
	for _, n := range []int{16, 32} {
		b := ir.NewBuilder("len" + ir.Shape{n}.String())
		x := b.Input("x", ir.T(ir.F32, 1, n))
		g, err := b.Graph(b.Op("relu", nil, x))
		if err != nil {
			t.Fatal(err)
		}
		gs = append(gs, g)
	}
	m, err := FromModule(&ir.Module{Graphs: gs})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, n := range []int{16, 32, 16} {
		in := []*Tensor{ir.NewTensor(ir.F32, 1, n)}
		out, err := m.NewOutputs(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(context.Background(), in, out); err != nil {
			t.Error(err)
		}
		if p, err := m.Plan(in); err != nil || len(p.Steps()) != 1 {
			t.Errorf("plan: %v", err)
		}
	}
	_, err = m.NewOutputs([]*Tensor{ir.NewTensor(ir.F32, 1, 20)})
	if err == nil || !strings.Contains(err.Error(), "x f32[1,16]; or x f32[1,32]") {
		t.Errorf("a third shape: %v", err)
	}
}
