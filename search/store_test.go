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
	digest, err := s.Put([]byte("weights"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Get(digest); err != nil || string(b) != "weights" || !s.Has(digest) {
		t.Fatalf("%q, %v", b, err)
	}
	path := filepath.Join(string(s), digest[:2], digest[2:]+".nasc")
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if again, err := s.Put([]byte("weights")); err != nil || again != digest {
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
		if _, err := s.Get(digest); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", digest, err)
		}
	}
}
