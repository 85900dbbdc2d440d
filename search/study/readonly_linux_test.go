package study_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nasc-dev/nasc/search/study"
)

// A study in a folder that cannot be written to can be read, also one that was
// killed, and nothing but reading is done to it.
func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	s := open(t, path, meta())
	if _, err := loop(t, s, 8); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	killed := filepath.Join(dir, "killed.db")
	for _, with := range []string{"", "-wal"} { // as kill -9 leaves it
		b, err := os.ReadFile(path + with)
		if err == nil {
			err = os.WriteFile(killed+with, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	want := trialsOf(t, path)
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	if os.Geteuid() == 0 { // who may write anywhere: this thread takes another's rights for files
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Skip(err)
		}
		defer runtime.UnlockOSThread()
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(dir, "x")); err == nil {
		f.Close()
		t.Skip("the folder can be written to all the same")
	}
	for _, p := range []string{path, killed} {
		s, err := study.Read(t.Context(), p)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := text(s.Done()); !slices.Equal(got, want) {
			t.Errorf("%s has %d trials", p, len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := study.Open(t.Context(), path, meta(), func() {}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("%d files, then %d", len(before), len(after))
	}
}
