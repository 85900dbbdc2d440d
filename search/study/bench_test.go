package study_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
)

// timed is a strategy whose calls are timed.
type timed struct {
	search.Strategy
	asked time.Duration
	took  []time.Duration // a trial's ask and tell
}

func (t *timed) Ask(ctx context.Context) (search.Proposal, error) {
	start := time.Now()
	p, err := t.Strategy.Ask(ctx)
	t.asked = time.Since(start)
	return p, err
}

func (t *timed) Tell(ctx context.Context, x *search.Trial) error {
	start := time.Now()
	err := t.Strategy.Tell(ctx, x)
	t.took = append(t.took, t.asked+time.Since(start))
	return err
}

// BenchmarkTrials journals 10,000 trials of evolution on plain-cnn, whose
// outcomes cost nothing. It gives the median of ask and tell over all trials and
// over the last 1,000.
func BenchmarkTrials(b *testing.B) {
	s, err := arch.LoadSpace("../../zoo/spaces/plain-cnn.toml")
	if err != nil {
		b.Fatal(err)
	}
	space := search.ArchSpace{Space: s}
	const trials = 10000
	for _, name := range []string{"random", "regularized-evolution", "nsga2"} {
		b.Run(name, func(b *testing.B) {
			var all, last []time.Duration
			for i := range b.N {
				m := meta()
				m.Strategy, m.Objective, m.Limits, m.Window = name, "accuracy", nil, 1
				if name == "nsga2" {
					m.Objective = "accuracy,ms"
				}
				j, err := study.Open(b.Context(), filepath.Join(b.TempDir(), fmt.Sprint(i, ".db")), m, func() {})
				if err != nil {
					b.Fatal(err)
				}
				goal, err := m.Goal()
				if err != nil {
					b.Fatal(err)
				}
				x, err := strategy.Find(name, search.Setup{Space: space, Goal: goal, Seed: uint64(i), Budget: trials})
				if err != nil {
					b.Fatal(err)
				}
				t := &timed{Strategy: x}
				l := &search.Loop{
					Space: space, Goal: goal, Strategy: t, Journal: j, Seed: uint64(i), Budget: trials,
					Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) { return outcome(t), nil }),
				}
				if done, err := l.Run(b.Context()); err != nil || len(done) != trials {
					b.Fatal(len(done), err)
				}
				all, last = append(all, t.took...), append(last, t.took[trials-1000:]...)
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/10000-trials")
			b.ReportMetric(median(all), "µs-ask+tell")
			b.ReportMetric(median(last), "µs-last-1000")
		})
	}
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e3
}
