package passes

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// FuzzCanonicalize runs every pass on whatever verifies: none may panic or
// leave a bad graph.
func FuzzCanonicalize(f *testing.F) {
	files, err := filepath.Glob("testdata/[a-z]*-*")
	if err != nil || len(files) == 0 {
		f.Fatal("no cases in testdata", err)
	}
	graph := regexp.MustCompile(`(?s)run [^\n]*\n(.*?)\n----\n`)
	for _, name := range append(files, "testdata/layout", "testdata/recognize") {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range graph.FindAllSubmatch(text, -1) {
			f.Add(string(m[1]))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ir.ParseGraph("fuzz", text, nil)
		if err != nil || g.ConstBytes() > 1<<20 {
			return
		}
		size := 0
		for _, n := range g.Nodes {
			for _, v := range n.Outputs {
				size += abs(v.Type.Shape.Elems())
			}
		}
		if size > 1<<18 { // folding it would take long, no more
			return
		}
		all := slices.DeleteFunc(slices.Clone(List), func(p Pass) bool { return p.Name == "mask" || p.Measure != nil }) // those that want an argument or data
		if _, err := Run(context.Background(), g, all, Options{}); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func abs(x int) int { return max(x, -x) }
