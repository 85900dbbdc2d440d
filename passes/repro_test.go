package passes

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

const twice = `graph @main(%x: f32[N,2]) {
  %p = relu %x
  %y = tanh %p
  return %y
}`

// A pass that breaks its promise is caught, named, and its graph kept.
func TestBrokenPromiseIsCaught(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", twice, nil)
	if err != nil {
		t.Fatal(err)
	}
	dropRelu := Pass{Name: "drop-relu", Promise: Exact, Run: func(g *ir.Graph, _ Args) (bool, error) {
		g.ReplaceUses(g.Nodes[0].Out(), g.Inputs[0])
		return true, nil
	}}
	dir := t.TempDir()
	_, err = Run(context.Background(), g, []Pass{dropRelu}, Options{VerifyEach: true, ReproDir: dir})
	path := filepath.Join(dir, "drop-relu.repro.nasc")
	if err == nil || !strings.Contains(err.Error(), "pass drop-relu") || !strings.Contains(err.Error(), "promised exact") || !strings.Contains(err.Error(), path) {
		t.Fatalf("found error %v", err)
	}
	f, err := nascfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Module.Graphs[0].OpCounts()["relu"]; got != 1 {
		t.Errorf("the kept graph has %d relus, wanted the one before the pass", got)
	}
}

// A pass that leaves operands of another type is caught by the verifier.
func TestBadGraphIsCaught(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", twice, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), g, []Pass{{Name: "retype", Promise: Exact, Run: func(g *ir.Graph, _ Args) (bool, error) {
		g.Nodes[0].Out().Type.Shape = ir.Shape{3}
		return true, nil
	}}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "pass retype: left a bad graph") {
		t.Errorf("found error %v", err)
	}
}

func TestDumpAndDisable(t *testing.T) {
	for _, c := range []struct {
		after, disable []string
		want           string
	}{
		{[]string{"remove-dead"}, nil, "# after remove-dead\n"},
		{[]string{"changed"}, nil, "# after fold-shapes\n"},
		{[]string{"changed"}, []string{"fold-shapes", "layout"}, ""},
	} {
		g, err := ir.ParseGraph("t.ir", `graph @main(%x: f32[N,2,3]) {
  %a = reshape %x shape=[N,6]
  %y = reshape %a shape=[N,3,2]
  return %y
}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := Canonicalize(context.Background(), g, Options{Dump: &b, DumpAfter: c.after, Disable: c.disable}); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("dump after %v without %v:\n%s", c.after, c.disable, got)
		}
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", twice, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Canonicalize(ctx, g, Options{ReproDir: os.DevNull}); err != context.Canceled {
		t.Errorf("found error %v", err)
	}
}
