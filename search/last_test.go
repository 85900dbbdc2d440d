package search_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/search"
)

// memory is a journal of one process.
type memory struct{ rows []search.Record }

func (m *memory) Trials() []search.Record { return slices.Clone(m.rows) }
func (m *memory) Used() time.Duration     { return 0 }
func (m *memory) Asked(t *search.Trial) error {
	m.rows = append(m.rows, search.Record{Trial: &search.Trial{ID: t.ID, Seed: t.Seed, Proposal: t.Proposal, CopyOf: t.CopyOf}})
	return nil
}

func (m *memory) Finished(t *search.Trial, _ time.Duration) error {
	m.rows[t.ID-1].Trial.Outcome, m.rows[t.ID-1].Done = t.Outcome, true
	return nil
}

// The last trial comes after the budget, the strategy does not hear of it, and a
// study that was stopped in it, or that gets a larger budget, goes on.
func TestLoopLast(t *testing.T) {
	m := &memory{}
	var asked, told []int64
	run := func(budget int) []*search.Trial {
		t.Helper()
		d := &drifting{space: space(t), r: rand.New(rand.NewPCG(1, 2))}
		l := &search.Loop{
			Space: d.space, Goal: goal(t), Strategy: d, Seed: 7, Window: 3, Budget: budget, Journal: m,
			Evaluator: search.EvaluatorFunc(func(_ context.Context, t *search.Trial) (search.Outcome, error) {
				if t.Note == search.LastNote {
					asked = append(asked, t.ID)
				}
				return quality(t.Genotype), nil
			}),
			Last: func(trials []*search.Trial) (search.Proposal, error) {
				b := search.Best(trials)
				told = append(told, int64(len(trials)))
				return search.Proposal{Genotype: b.Genotype, Parent: b.ID, Budget: 4}, nil
			},
		}
		trials, err := l.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(d.calls, func(c string) bool { return c == "tell 11" && budget == 10 }) || d.asked != int64(budget) {
			t.Errorf("budget %d: the strategy was asked %d times: %v", budget, d.asked, d.calls)
		}
		return trials
	}
	first := run(10)
	if len(first) != 11 || first[10].Note != search.LastNote || first[10].ParentTrial != search.Best(first[:10]) || first[10].Proposal.Budget != 4 {
		t.Fatalf("%d trials, the last %+v", len(first), first[len(first)-1])
	}
	if again := run(10); len(again) != 11 || len(asked) != 1 {
		t.Errorf("a finished study gave %d trials, evaluated %v", len(again), asked)
	}
	m.rows[10].Done, m.rows[10].Trial.Outcome = false, search.Outcome{} // killed in its last training
	if again := run(10); len(again) != 11 || len(asked) != 2 {
		t.Errorf("a study killed at the end gave %d trials, evaluated %v", len(again), asked)
	}
	more := run(25)
	if len(more) != 27 || more[10].Note != search.LastNote || more[26].Note != search.LastNote || !slices.Equal(asked, []int64{11, 11, 27}) || !slices.Equal(told, []int64{10, 26}) {
		t.Errorf("a larger budget gave %d trials, last ones %v, asked after %v", len(more), asked, told)
	}
	if again := run(25); len(again) != 27 || len(asked) != 3 {
		t.Errorf("twice: %d trials, %v", len(again), asked)
	}
}
