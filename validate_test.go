package nasc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/graphgen"
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

// Where the machine was twice as slow as while the table was made, what was
// measured beside the anchor tells what the table's speed would have shown.
func TestValidationSteady(t *testing.T) {
	v := &Validation{Networks: []ValidNet{
		{Predicted: 10, Lo: 9, Hi: 11, Measured: 20, Again: 20, Paced: 0.5, PacedAgain: 0.52},
		{Predicted: 5, Lo: 4.9, Hi: 5.1, Measured: 11, Again: 11, Paced: 0.3, PacedAgain: 0.31},
		{Predicted: 30, Lo: 29, Hi: 32, Measured: 64, Again: 64, Paced: 1.55, PacedAgain: 1.5},
	}}
	v.sum(20)
	if v.Within10 != 0 || v.Steady == nil || v.Steady.N != 3 || v.Steady.Within10 != 2/3.0 || v.Steady.Within5 != 2/3.0 || v.Steady.Coverage != 2/3.0 || v.Steady.NoiseWithin5 != 1 {
		t.Errorf("%+v, steady %+v", v, v.Steady)
	}
	v = &Validation{Networks: []ValidNet{{Predicted: 1, Measured: 1}}}
	if v.sum(20); v.Steady != nil {
		t.Errorf("without an anchor: %+v", v.Steady)
	}
}

// Beside the times in quiet stand those of all runs.
func TestValidationAllRuns(t *testing.T) {
	v := &Validation{Networks: []ValidNet{
		{Predicted: 10, Lo: 9, Hi: 11, Measured: 10, Again: 10, All: 20, AllAgain: 21.5},
		{Predicted: 5, Lo: 4.9, Hi: 5.1, Measured: 5, Again: 5, All: 5, AllAgain: 5},
	}}
	v.sum(0)
	if a := v.AllRuns; v.Within5 != 1 || a == nil || a.N != 2 || a.Within10 != 0.5 || a.Coverage != 0.5 || a.NoiseWithin5 != 0.5 || a.NoiseWithin10 != 1 {
		t.Errorf("%+v, all runs %+v", v, v.AllRuns)
	}
}

// Processes that met quiet count before those that did not.
func TestRoundTimes(t *testing.T) {
	var r roundTimes
	r.add(&Measured{Median: 4})
	r.add(&Measured{Median: 6})
	if !r.busy() || r.median() != 5 {
		t.Errorf("%+v: %v", r, r.median())
	}
	r.add(&Measured{Median: 2, Quiet: 0.1})
	if r.busy() || r.median() != 2 {
		t.Errorf("%+v: %v", r, r.median())
	}
	if (&roundTimes{}).busy() {
		t.Error("nothing was measured")
	}
}

// Networks that show no steps are measured beside the anchor.
func TestMeasurePaced(t *testing.T) {
	g := graphgen.New(graphgen.Config{Seed: 1, Nodes: 4, Batch: 1})
	for _, c := range []struct {
		target string
		paced  bool
	}{{"reference", true}, {"cpu-f32", false}} {
		e, static, err := Start(g, c.target, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		ms, err := MeasureNets(t.Context(), []Runnable{{e, static}}, 1, time.Millisecond, 0)
		if err != nil {
			t.Fatal(err)
		}
		if m := ms[0]; !(m.Median > 0) || !(m.All > 0) || m.Quiet < 0 || m.Quiet > 1 || m.Quiet == 0 && m.Median != m.All || m.Runs == 0 || m.Paced > 0 != c.paced {
			t.Errorf("%s: %+v", c.target, m)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Networks of a target that is taken by blocks are predicted without its
// compiler, which may be missing.
func TestPlanWithoutCompiler(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "xla:"+filepath.Join(t.TempDir(), "none.so"))
	g := graphgen.New(graphgen.Config{Seed: 1, Nodes: 4, Batch: 1})
	steps, err := planSteps(g, "xla-cpu", 1, 1)
	if err != nil || len(steps) == 0 {
		t.Errorf("%d steps, %v", len(steps), err)
	}
}

// A validation that is refused before it measures leaves no log behind.
func TestEmptyMeasuredLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.partial")
	l, err := openMeasuredLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left: %v", err)
	}
}
