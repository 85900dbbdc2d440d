package study_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
)

const spaceText = `input = [8, 8, 1]
[[stage]]
block = "conv"
name = "a"
channels = { choose = [2, 4, 6, 8] }
repeat = { choose = [1, 2, 3] }
kernel = { choose = [1, 3, 5], each = true }
`

func space(t *testing.T) search.Space {
	t.Helper()
	s, err := arch.ParseSpace("small.toml", []byte(spaceText))
	if err != nil {
		t.Fatal(err)
	}
	return search.ArchSpace{Space: s}
}

func meta() study.Meta {
	return study.Meta{
		Space: "small", SpaceText: spaceText, SpaceDigest: "abc", Strategy: "random", Objective: "accuracy,ms", Limits: map[string]float64{"ms": 3.5},
		Seed: 1 << 63, Window: 3, Budget: 40, Data: "none", Settings: map[string]string{"epochs": "3", study.DataDigest: "d0"}, Nasc: "test", Command: "nasc search",
	}
}

func open(t *testing.T, path string, m study.Meta) *study.Study {
	t.Helper()
	s, err := study.Open(t.Context(), path, m, func() { t.Error("somebody else has it") })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func outcome(t *search.Trial) search.Outcome {
	r := rand.New(rand.NewPCG(t.Seed, 0))
	o := search.Outcome{
		Metrics: map[string]float64{"accuracy": r.Float64(), "ms": 5 * r.Float64()}, Curve: []float64{r.Float64(), 1. / 3},
		Weights: strings.Repeat("ab", 32), Steps: 12, Delta: 1e-7, MaxOut: r.NormFloat64(),
	}
	if t.ID%7 == 0 {
		o = search.Outcome{Fault: "does not fit"}
	}
	return o
}

// loop goes on with a study, and evaluates at most so many trials.
func loop(t *testing.T, s *study.Study, most int) ([]*search.Trial, error) {
	t.Helper()
	goal, err := s.Meta.Goal()
	if err != nil {
		t.Fatal(err)
	}
	x, err := strategy.Find(s.Meta.Strategy, search.Setup{Space: space(t), Goal: goal, Seed: s.Meta.Seed, Budget: s.Meta.Budget})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	l := &search.Loop{
		Space: space(t), Goal: goal, Strategy: x, Journal: s, Seed: s.Meta.Seed, Window: s.Meta.Window, Jobs: 1, Budget: 40,
		Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
			if n++; n > most {
				return search.Outcome{}, errInterrupted
			}
			return outcome(t), nil
		}),
	}
	return l.Run(t.Context())
}

var errInterrupted = errors.New("interrupted")

func text(trials []*search.Trial) (out []string) {
	for _, x := range trials {
		out = append(out, fmt.Sprintf("%+v", *x))
	}
	return out
}

// A study that was interrupted many times has the trials of one that was not,
// each once, and reads back as it was written.
func TestStudyGoesOn(t *testing.T) {
	whole := open(t, filepath.Join(t.TempDir(), "whole.db"), meta())
	want, err := loop(t, whole, 1000)
	if err != nil || len(want) != 40 {
		t.Fatalf("%d trials, %v", len(want), err)
	}
	whole.Close()
	path := filepath.Join(t.TempDir(), "s.db")
	rounds := 0
	for done := false; !done; rounds++ {
		s := open(t, path, meta())
		got, err := loop(t, s, 6)
		if done = err == nil; done && !slices.Equal(text(got), text(want)) {
			t.Errorf("other trials:\n%v\nwanted\n%v", text(got), text(want))
		} else if !done && !errors.Is(err, errInterrupted) {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rounds < 5 {
		t.Errorf("%d rounds", rounds)
	}
	s, err := study.Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Done(); !slices.Equal(text(got), text(want)) {
		t.Errorf("read back:\n%v\nwanted\n%v", text(got), text(want))
	}
	if s.Meta.Seed != 1<<63 || s.Meta.Limits["ms"] != 3.5 || s.Meta.Settings["epochs"] != "3" {
		t.Errorf("%+v", s.Meta)
	}
}

// While one process has a study, another waits, and goes on when it may.
func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, meta())
	waits := make(chan bool, 1)
	got := make(chan error, 1)
	go func() {
		other, err := study.Open(context.Background(), path, meta(), func() { waits <- true })
		if err == nil {
			err = other.Close()
		}
		got <- err
	}()
	<-waits
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := study.Open(ctx, path, meta(), func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if r, err := study.Read(t.Context(), path); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	s.Close()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// What cannot go on is refused, with the reason, and stays as it was.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	s := open(t, path, meta())
	if _, err := loop(t, s, 1000); err != nil {
		t.Fatal(err)
	}
	s.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %s in the file", old)
		}
		return bytes.ReplaceAll(good, []byte(old), []byte(new))
	}
	newer := slices.Clone(good)
	newer[63] = 9 // user_version
	other := slices.Clone(good)
	other[68] = 1 // application_id
	for name, c := range map[string]struct {
		file []byte
		meta func(*study.Meta)
		want string
	}{
		"another space":    {good, func(m *study.Meta) { m.SpaceDigest = "xyz" }, "a study with space small (abc); wanted small (xyz)"},
		"another strategy": {good, func(m *study.Meta) { m.Strategy = "best" }, "a study with strategy random; wanted best"},
		"another seed":     {good, func(m *study.Meta) { m.Seed = 5 }, "a study with seed"},
		"other settings":   {good, func(m *study.Meta) { m.Settings["epochs"] = "7" }, "a study with settings epochs=3; wanted epochs=7, which"},
		"other limits":     {good, func(m *study.Meta) { m.Limits = map[string]float64{"ms": 0.5} }, "a study with limits ms=3.5; wanted ms=0.5, which"},
		"other data":       {changed(`"data-digest":"d0"`, `"data-digest":"d1"`), nil, "trials on samples whose SHA-256 is d1, and d0 under --data "},
		"newer":            {newer, nil, "a study of format 9; wanted 1 or older; use a newer nasc"},
		"no study":         {other, nil, "a SQLite file that is no study"},
		"a text":           {[]byte(strings.Repeat("# no study\n", 1000)), nil, "file is not a database"},
		"cut":              {good[:len(good)/2], nil, "malformed"},
		"a changed number": {changed(`{"accuracy":0.`, `{"accuracy":1.`), nil, "is damaged: its checksum is another"},
		"a changed curve":  {changed(`,0.3333333`, `,0.3333334`), nil, "is damaged: its checksum is another"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.db")
			if err := os.WriteFile(path, c.file, 0o644); err != nil {
				t.Fatal(err)
			}
			m := meta()
			if c.meta != nil {
				c.meta(&m)
			}
			s, err := study.Open(t.Context(), path, m, func() {})
			if err == nil {
				s.Close()
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("%v\nwanted %s", err, c.want)
			}
			if left, _ := os.ReadFile(path); !slices.Equal(left, c.file) {
				t.Error("the file was changed")
			}
		})
	}
}

// A strategy that proposes something else than the journal has is told off.
func TestOtherProposal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, meta())
	if _, err := loop(t, s, 5); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, path, meta())
	defer s.Close()
	s.Meta.Seed++ // as if another version drew otherwise
	if _, err := loop(t, s, 1000); err == nil || !strings.Contains(err.Error(), "trial 1 of the study") || !strings.Contains(err.Error(), "as the journal has it") {
		t.Errorf("%v", err)
	}
}

// An empty file and one whose making was interrupted become studies.
func TestBegun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, meta())
	if _, err := loop(t, s, 1000); err != nil {
		t.Error(err)
	}
	s.Close()
}
