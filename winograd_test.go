package nasc

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

const winogradNet = `
const @a: f32[3,3,8,16] = normal(1,0.2)
const @b: f32[3,3,16,16] = normal(2,0.1)
const @c: f32[1,1,16,4] = normal(3,0.3)
graph @main(%x: f32[N,32,32,8]) {
  %1 = convolution %x @a activation="relu" padding=[1,1,1,1]
  %2 = convolution %1 @b padding=[1,1,1,1]
  %3 = add %1 %2
  %y = convolution %3 @c
  return %y
}
`

func modelOf(g *ir.Graph) *Model {
	return &Model{Path: "net", Module: &ir.Module{Graphs: []*ir.Graph{g}}, Manifest: &nascfile.Manifest{}}
}

// compile --winograd writes a file whose layers compute so on every target of
// nasc's own, to the same bits, near what they computed before.
func TestCompileWinograd(t *testing.T) {
	ctx := context.Background()
	g, err := ir.ParseGraph("net", winogradNet, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tune := range []bool{false, true} {
		m := modelOf(g.Clone())
		out := filepath.Join(t.TempDir(), "net.nasc")
		r, err := Compile(ctx, m, CompileOptions{Target: "cpu-f32", Winograd: true, Tune: tune, Out: out, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		v := r.Winograd
		if v == nil || v.Of != 2 || v.Layers > 2 || !tune && v.Layers == 0 {
			t.Fatalf("tune %v: %+v of two convolutions", tune, v)
		}
		if v.Layers > 0 && !(v.MaxDiff > 0 && v.MaxDiff < 1e-5) {
			t.Errorf("tune %v: outputs differ by %g", tune, v.MaxDiff)
		}
		back, err := Open(out, nil)
		if err != nil {
			t.Fatal(err)
		}
		layers := 0
		for _, n := range back.Graph().Nodes {
			if n.Op.Name == "convolution" && n.Int("winograd") != 0 {
				layers++
			}
		}
		if layers != v.Layers {
			t.Errorf("tune %v: the file has %d such layers, the result says %d", tune, layers, v.Layers)
		}
		f, err := RandomFeed(back.Graph(), 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := VerifyTargets(ctx, back.Graph(), []string{"reference", "cpu-f32", "cpu-f32@portable"}, f, func(string, int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if !row.BitEqual {
				t.Errorf("tune %v: %s differs from the interpreter by %g", tune, row.Target, row.MaxAbs)
			}
		}
		// On int8 it is the network's own layers that are quantized.
		q, err := Compile(ctx, back, CompileOptions{Target: "cpu-int8", Calib: "synthetic", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if q.MACShare != 1 {
			t.Errorf("int8 share %g of a file with such layers", q.MACShare)
		}
	}
}

func TestWinogradIsForOwnTargets(t *testing.T) {
	g, err := ir.ParseGraph("net", winogradNet, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compile(context.Background(), modelOf(g), CompileOptions{Target: "reference", Winograd: true})
	if err == nil || !strings.Contains(err.Error(), "--winograd") {
		t.Errorf("for the interpreter: %v", err)
	}
}
