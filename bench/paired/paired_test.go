package paired

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

type row struct {
	Seed  int
	Score float64
}

func key(r row) string { return string(rune('a' + r.Seed)) }

func TestRunsGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.jsonl")
	r, err := Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := r.Add(row{i, 0.5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range 4 { // the last line torn at several places
		if err := os.WriteFile(path, b[:len(b)-cut*7], 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err = Open(path, key); err != nil {
			t.Fatal(err)
		}
		_, two := r.Get("b")
		_, three := r.Get("c")
		if !two || three != (cut == 0) {
			t.Errorf("cut %d: %v", cut, r.done)
		}
		if err := errors.Join(r.Add(row{2, 1}), r.Close()); err != nil {
			t.Fatal(err)
		}
		if r, err = Open(path, key); err != nil || len(r.done) != 3 {
			t.Fatalf("cut %d: %v, %v", cut, r, err)
		}
		_ = r.Close()
	}
	if err := os.WriteFile(path, []byte("nonsense\n{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, key); err == nil {
		t.Error("a spoiled file is taken")
	}
}

func TestEach(t *testing.T) {
	var sum atomic.Int64
	if err := Each(context.Background(), 100, 7, func(_ context.Context, i int) error { sum.Add(int64(i)); return nil }); err != nil || sum.Load() != 4950 {
		t.Errorf("%v, %d", err, sum.Load())
	}
	want := errors.New("no")
	if err := Each(context.Background(), 100, 7, func(_ context.Context, i int) error {
		if i == 3 {
			return want
		}
		return nil
	}); err != want {
		t.Error(err)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		d    []float64
		pass bool
	}{
		{[]float64{1, 2, 1, 2, 0.1}, true},
		{[]float64{1, 1, 1, 1, -0.1}, true},  // the interval
		{[]float64{1, 5, 1, 9, -0.1}, false}, // four of five
		{[]float64{1, 1}, false},             // too few
		{[]float64{-1, -1, -1, -2, -1}, false},
	} {
		if v := Judge(c.d); v.Pass != c.pass {
			t.Errorf("%v: %v", c.d, v)
		}
	}
	// 1, 2, 3, 4, 5: sd 1.5811, half width 2.7764·1.5811/√5
	if v := Judge([]float64{1, 2, 3, 4, 5}); math.Abs(v.Low-(3-1.9632)) > 1e-3 || v.Right != 5 {
		t.Errorf("%+v", v)
	}
}

// Two processes at work on one file would write over each other's lines.
func TestRunsAreOnesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.jsonl")
	r, err := Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, key); err == nil {
		t.Error("a second one was opened beside the first")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = Open(path, key); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}
