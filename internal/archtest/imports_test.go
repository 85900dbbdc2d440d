// Package archtest checks that imports point one way (see ARCHITECTURE.md).
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/nasc-dev/nasc"

// levels orders the packages: one may import what stands in an earlier row,
// and in its own row only where both names begin alike (a package and its
// parts). The longest match of a package's path decides its row.
var levels = [][]string{
	{"internal/diag"},
	{"internal/fmath", "internal/memory", "internal/onnxpb", "internal/xlaplugin", "backends/cpu/kernels/isa"},
	{"backends/cpu/kernels"},
	{"ir"},
	{"internal/safetensors", "internal/npy"},
	{"ir/eval", "quant", "internal/nascfile", "internal/graphgen", "internal/difftest", "backends", "zoo"},
	{"backends/gomlx", "backends/reference", "backends/backendtest", "passes"},
	{"backends/cpu", "backends/stablehlo"},
	{"runtime", "latency", "export", "frontend", "internal/data"},
	{"train"},
	{""},
	{"search"},
	{"cli"},
	{"cmd", "bench", "internal/archtest"},
}

// outside lists, for modules that only some packages may import, the packages.
var outside = map[string][]string{
	"github.com/gomlx/":           {"backends/gomlx", "backends/stablehlo", "train", "search", "zoo/digits/train"},
	"github.com/mmcloughlin/avo/": {"backends/cpu/kernels"},
	"github.com/spf13/cobra":      {"cli"},
	"modernc.org/sqlite":          {"search/study"},
	"github.com/nats-io/":         {"search/queue"},
}

type pkg struct {
	ImportPath, Dir                    string
	Imports, TestImports, XTestImports []string
	Standard                           bool
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,Standard"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func under(path, name string) bool { return path == name || strings.HasPrefix(path, name+"/") }

// level finds a package's row and the name that put it there.
func level(path string) (row int, name string) {
	row = -1
	for i, names := range levels {
		for _, n := range names {
			if under(path, n) && (row < 0 || len(n) > len(name)) || n == path {
				row, name = i, n
			}
		}
	}
	return row, name
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		row, name := level(from)
		if row < 0 {
			t.Errorf("%s has no row in levels: add it where it belongs", from)
			continue
		}
		for _, imp := range p.Imports {
			rest, ours := strings.CutPrefix(imp, module)
			if !ours {
				for prefix, who := range outside {
					if !strings.HasPrefix(imp, prefix) {
						continue
					}
					ok := false
					for _, w := range who {
						ok = ok || under(from, w)
					}
					if !ok {
						t.Errorf("%s imports %s, which only %v may", from, imp, who)
					}
				}
				continue
			}
			to := strings.TrimPrefix(rest, "/")
			toRow, toName := level(to)
			if toRow > row || toRow == row && name != toName {
				t.Errorf("%s (row %d, %q) imports %s (row %d, %q): imports point to earlier rows", from, row, name, to, toRow, toName)
			}
		}
	}
}

// A service that embeds the runtime gets the standard library, x/sys and cpuid.
func TestRuntimeIsSmall(t *testing.T) {
	for _, p := range list(t, "-deps", "./runtime") {
		switch {
		case p.Standard, strings.HasPrefix(p.ImportPath, module), strings.HasPrefix(p.ImportPath, "golang.org/x/sys/"), strings.HasPrefix(p.ImportPath, "github.com/klauspost/cpuid/"),
			strings.HasPrefix(p.ImportPath, "vendor/"):
		default:
			t.Errorf("package runtime pulls in %s", p.ImportPath)
		}
	}
}
