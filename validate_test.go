package nasc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/latency"
)

// A validation that is stopped keeps what it measured, the next one measures the
// rest, and nothing is left behind in the end.
func TestValidationGoesOn(t *testing.T) {
	s, err := arch.LoadSpace("zoo/spaces/plain-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "v.partial")
	measured, most := map[string]int{}, 7
	stop := errors.New("stopped")
	n := 0
	o := ValidateOptions{
		Table: quickTable(t, s, "cpu-f32", 3), Spaces: []*arch.Space{s}, N: 3, Seed: 9, Target: "cpu-f32", Threads: 1, Batch: 1, Rounds: 2, Log: log,
		Measure: func(_ context.Context, files []string) (out []*Measured, err error) {
			if n+len(files) > most {
				return nil, stop
			}
			for _, file := range files {
				n++
				measured[filepath.Base(file)]++
				out = append(out, &Measured{Median: float64(n), Runs: 20})
			}
			return out, nil
		},
		Progress: func(int, int) {},
	}
	if _, err := Validate(t.Context(), o); !errors.Is(err, stop) {
		t.Fatalf("found %v", err)
	}
	// A last line that a kill cut short is measured again.
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, data[:len(data)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	most = 100
	v, err := Validate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n != 3*2*2+1 || len(v.Networks) != 3 {
		t.Errorf("%d measurements of %d networks in all; one of 12 was to be made twice", n, len(v.Networks))
	}
	// Rounds take turns: the first network's are the first, fourth, eighth (the
	// seventh makes good a lost one) and eleventh measurements.
	if first := v.Networks[0]; first.Measured != (1+8)/2.0 || first.Again != (4+11)/2.0 {
		t.Errorf("the first network took %v, and again %v", first.Measured, first.Again)
	}
	for _, left := range []string{log, log + ".networks"} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", left, err)
		}
	}
}

// Rounds may be measured call by call; what was measured once judges another
// table, too.
func TestValidationByRounds(t *testing.T) {
	s, err := arch.LoadSpace("zoo/spaces/plain-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	log, calls := filepath.Join(t.TempDir(), "v.partial"), 0
	o := ValidateOptions{
		Table: quickTable(t, s, "cpu-f32", 3), Spaces: []*arch.Space{s}, N: 3, Seed: 9, Target: "cpu-f32", Threads: 1, Batch: 1, Rounds: 1, Log: log,
		Measure: func(_ context.Context, files []string) (out []*Measured, err error) {
			calls++
			for i, file := range files {
				if _, err := os.Stat(file); err != nil {
					t.Error(err)
				}
				out = append(out, &Measured{Median: float64(10*calls + i), Runs: 20})
			}
			return out, nil
		},
		Progress: func(int, int) {},
	}
	for until := 1; until <= 2; until++ {
		o.Until = until
		if _, err := Validate(t.Context(), o); err != nil || calls != until {
			t.Fatalf("%d processes until round %d, %v", calls, until, err)
		}
	}
	o.Until = 0
	v, err := Validate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range v.Networks {
		if n.Measured != float64(10+i) || n.Again != float64(20+i) || n.Predicted <= 0 {
			t.Errorf("network %d: %+v", i, n)
		}
	}
	o.Known = v.Networks[1:]
	w, err := Validate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if calls != 2 || len(w.Networks) != 2 || w.Networks[0].Name != v.Networks[1].Name || w.Networks[0].Measured != 11 || w.Networks[0].Predicted != v.Networks[1].Predicted {
		t.Errorf("%d processes, and %+v", calls, w.Networks)
	}
}

// Two models of one name (zoo's and a folder's) share a file, which goes once.
func TestValidationOfNamesakes(t *testing.T) {
	s, err := arch.LoadSpace("zoo/spaces/plain-cnn.toml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := SpaceNet{s, s.Samples(1, 9)[0]}.Graph(t.Context(), "cpu-f32", 1)
	if err != nil {
		t.Fatal(err)
	}
	o := ValidateOptions{
		Table: quickTable(t, s, "cpu-f32", 3), Models: []latency.Work{w, w}, Target: "cpu-f32", Threads: 1, Batch: 1, Rounds: 1,
		Measure: func(_ context.Context, files []string) (out []*Measured, err error) {
			for range files {
				out = append(out, &Measured{Median: 1, Runs: 20})
			}
			return out, nil
		},
		Progress: func(int, int) {},
	}
	v, err := Validate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Networks) != 2 || v.Networks[1].Measured != 1 {
		t.Errorf("found %+v", v.Networks)
	}
}
