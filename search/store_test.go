package search_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/search"
)

// What is put comes back; what was changed, is missing or is no digest does not.
func TestDirStore(t *testing.T) {
	dir := t.TempDir()
	s := search.DirStore(filepath.Join(dir, "s.db.weights"))
	digest, err := s.Add(strings.NewReader("weights"))
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.File(digest)
	if err != nil || !s.Has(digest) {
		t.Fatal(err)
	}
	if want := filepath.Join(string(s), digest[:2], digest[2:]+".nasc"); path != want {
		t.Errorf("%s, wanted %s", path, want)
	}
	if again, err := s.Put(path); err != nil || again != digest {
		t.Errorf("%s, %v", again, err)
	}
	if left, _ := filepath.Glob(filepath.Join(string(s), ".partial-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("weighty"), 0o644); err != nil {
		t.Fatal(err)
	}
	for digest, want := range map[string]string{
		digest:                  "the file was changed",
		strings.Repeat("0", 64): "no such file",
		"../../etc/passwd":      "in hexadecimal",
	} {
		if _, err := s.File(digest); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", digest, err)
		}
	}
}
