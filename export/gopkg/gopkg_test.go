package gopkg

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

// The project's own files serve as the embedded sources.
func sources() fs.FS { return os.DirFS("../..") }

// run calls the go command in a written package, offline.
func run(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A quantized network with float islands becomes a package that passes its own
// golden test and builds for two systems without cgo.
func TestPackage(t *testing.T) {
	g := graphgen.New(graphgen.Config{Seed: 21, Quantized: true, Nodes: 40, Batch: 1})
	dir := filepath.Join(t.TempDir(), "new", "tiny-net")
	if err := Write(dir, g, sources()); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "vet", "./...")
	if out := run(t, dir, nil, "test", "."); !strings.Contains(out, "ok") {
		t.Error(out)
	}
	run(t, dir, []string{"NASC_ISA=portable"}, "test", "-count=1", ".")
	for _, arch := range []string{"amd64", "arm64"} {
		run(t, dir, []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0"}, "build", "-o", filepath.Join(t.TempDir(), arch), "./cmd/tinynet")
	}
	deps := run(t, dir, nil, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...")
	for _, p := range strings.Fields(deps) {
		if !strings.HasPrefix(p, "tinynet") && !strings.HasPrefix(p, "golang.org/x/sys/") {
			t.Errorf("the package pulls in %s", p)
		}
	}
	if err := Write(dir, g, sources()); err == nil || !strings.Contains(err.Error(), "it exists") {
		t.Errorf("a folder that exists: %v", err)
	}
}

// The same network gives the same files.
func TestRepeats(t *testing.T) {
	g := graphgen.New(graphgen.Config{Seed: 4, Batch: 1})
	a, err := Files("net", g, sources())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Files("net", g, sources())
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("%d files, then %d", len(a), len(b))
	}
	for name := range a {
		if string(a[name]) != string(b[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// What has no kernel is refused by name.
func TestRefusal(t *testing.T) {
	b := ir.NewBuilder("g")
	x := b.Input("x", ir.T(ir.F32, 1, 4, 4, 1))
	y := b.Named("resize", "grow", ir.Attrs{"size": []int{8, 8}, "mode": "cubic"}, x)
	g, err := b.Graph(y)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Files("net", g, sources()); err == nil || !strings.Contains(err.Error(), "grow") {
		t.Errorf("found %v", err)
	}
}

func TestNames(t *testing.T) {
	for dir, want := range map[string]string{"out/My-Net.v2": "mynetv2", "7": "net7", "func": "netfunc", "x/": "x"} {
		if got := packageName(dir); got != want {
			t.Errorf("%s: package %s, wanted %s", dir, got, want)
		}
	}
	got := fields([]*ir.Value{{Name: "input_ids"}, {Name: "input.ids"}, {Name: "/3"}, {Name: "x1"}})
	if want := []string{"InputIds", "InputIds2", "T3", "X1"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("fields %v, wanted %v", got, want)
	}
}
