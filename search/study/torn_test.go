package study_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/search/study"
)

// everyByte is where files are cut: at each byte of the header and of the first
// rows, then at a prime distance, so that all offsets within a page come up.
func everyByte(n int) (cuts []int) {
	for at := 0; at < n; {
		cuts = append(cuts, at)
		if at < 128 {
			at++
		} else {
			at += 37
		}
	}
	return append(cuts, n-1)
}

// trialsOf reads a study's trials.
func trialsOf(t *testing.T, path string) []string {
	t.Helper()
	s, err := study.Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return text(s.Done())
}

// A journal that was cut anywhere is refused by name, with what to do; it is
// never a shorter study.
func TestCutJournal(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	s := open(t, whole, meta())
	if _, err := loop(t, s, 8); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := trialsOf(t, whole)
	file, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s.db")
	for _, n := range everyByte(len(file)) {
		if err := os.WriteFile(path, file[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := study.Read(t.Context(), path)
		if err == nil { // a page's last byte that was 0
			got := text(s.Done())
			s.Close()
			if !slices.Equal(got, want) {
				t.Fatalf("%d of %d bytes are read as %d trials", n, len(file), len(got))
			}
			continue
		}
		if !strings.HasPrefix(err.Error(), path) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if n == 0 {
			continue // such a file becomes a study
		}
		if !strings.Contains(err.Error(), "bring it back from a copy") {
			t.Fatalf("%d bytes: %v: nothing to do", n, err)
		}
		if s, err := study.Open(t.Context(), path, meta(), func() {}); err == nil {
			s.Close()
			t.Fatalf("%d of %d bytes go on", n, len(file))
		}
		if left, err := os.ReadFile(path); err != nil || !slices.Equal(left, file[:n]) {
			t.Fatalf("%d bytes: the file was changed (%v)", n, err)
		}
	}
}

// What a killed process left in SQLite's log and was cut there has the trials
// before the cut, and the study goes on from these to what it would have been.
func TestCutLog(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.db")
	s := open(t, live, meta())
	if _, err := loop(t, s, 8); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	var files [2][]byte // as they are while the study is open
	for i, with := range []string{"", "-wal"} {
		b, err := os.ReadFile(live + with)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = b
	}
	s.Close()
	want := trialsOf(t, live)
	path := filepath.Join(dir, "s.db")
	most := -1
	for _, n := range append(everyByte(len(files[1])), len(files[1])) {
		for i, b := range [][]byte{files[0], files[1][:n]} {
			if err := os.WriteFile(path+[]string{"", "-wal"}[i], b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(path + "-shm")
		s, err := study.Read(t.Context(), path)
		if err != nil {
			if most >= 0 || !strings.HasPrefix(err.Error(), path) { // before the study's own row
				t.Fatalf("%d of %d bytes: %v", n, len(files[1]), err)
			}
			continue
		}
		got := text(s.Done())
		s.Close()
		other := func(x string) bool { return !slices.Contains(want, x) } // outcomes come in any order
		if len(got) < most || slices.ContainsFunc(got, other) {
			t.Fatalf("%d of %d bytes give %d trials after %d\n%v\nwanted\n%v", n, len(files[1]), len(got), most, got, want)
		}
		most = len(got)
	}
	if most != len(want) {
		t.Errorf("%d trials of %d", most, len(want))
	}
	s = open(t, path, meta())
	defer s.Close()
	if got, err := loop(t, s, 1000); err != nil || len(got) != 40 {
		t.Errorf("%d trials, %v", len(got), err)
	}
}
