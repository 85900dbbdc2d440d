package f32

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGenerated runs gen/ again: the committed assembly is what it writes.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	dir := t.TempDir()
	tool := filepath.Join(dir, "gen")
	if out, err := exec.Command("go", "build", "-o", tool, "./gen").CombinedOutput(); err != nil {
		t.Skipf("the generator does not build here: %v\n%s", err, out)
	}
	for _, family := range []string{"gemm", "depthwise", "dwrow", "unary", "binary", "rows", "grad", "fake", "split", "winograd", "gemm_neon", "depthwise_neon", "unary_neon", "rows_neon"} {
		arch := "_amd64"
		if strings.HasSuffix(family, "_neon") {
			arch = "_arm64"
		}
		s := family + arch + ".s"
		cmd := exec.Command(tool, "-family", family, "-out", s)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", family, err, out)
		}
		for _, f := range []string{s, family + arch + ".go"} {
			want, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			// The first line holds the command, with its paths.
			if !bytes.Equal(afterLine(got), afterLine(want)) {
				t.Errorf("%s is not what gen writes: run go generate", f)
			}
		}
	}
}

func afterLine(b []byte) []byte {
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	return rest
}
