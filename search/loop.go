package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Loop asks a strategy, has trials evaluated and tells what came of them. At
// most Window trials are asked for and not yet told; the strategy is asked
// whenever there are fewer, and told in the order of asking. So the calls that
// a strategy sees depend on the window and the outcomes, never on which trial
// finished first, and a journal's trials replay them.
type Loop struct {
	Space     Space
	Goal      Goal
	Strategy  Strategy
	Evaluator Evaluator
	Journal   Journal // nil keeps nothing
	Seed      uint64
	Window    int           // 0: 1
	Jobs      int           // trials evaluated at once; 0: Window
	Budget    int           // trials in all, the journal's among them; 0: any number
	Time      time.Duration // wall time in all; 0: any. What runs then is finished
	Told      func(*Trial)  // called after each trial that was told; nil: not
	// Last proposes one more trial when nothing else is left to ask for, such as
	// the winner's own training; nil: none. ErrDone declines. The strategy does not
	// hear of it. The journal marks it by its note, so that a study goes on after it
	// as before it.
	Last func(told []*Trial) (Proposal, error)
}

// LastNote marks the trial of Loop.Last.
const LastNote = "last"

// mostKnown bounds how many networks in a row may be known ones where the
// budget is a time, which they do not use up.
const mostKnown = 1000

// running is a trial that is asked for and not yet told.
type running struct {
	trial *Trial
	done  chan error // nil: the outcome is there
	last  bool       // not the strategy's
}

// run is the state of one Run.
type run struct {
	*Loop
	journal Journal
	kept    []Record // of the journal
	trials  []*Trial // asked for; those before told are told
	pending []running
	told    int
	first   map[string]*Trial // the trial of a network that others copy
	known   int               // proposals in a row that were copies
	lasts   int               // trials of Last
	ended   bool              // the latest trial is one
	jobs    chan struct{}     // one token a trial under evaluation
	start   time.Time
}

// Run goes on until the budget is used or the strategy is done, and gives the
// trials told. They are given with an error too.
func (l *Loop) Run(ctx context.Context) ([]*Trial, error) {
	r := &run{Loop: l, journal: l.Journal, first: map[string]*Trial{}, start: time.Now()}
	if r.journal == nil {
		r.journal = noJournal{}
	}
	r.kept = r.journal.Trials()
	window := max(l.Window, 1)
	r.jobs = make(chan struct{}, max(1, min(window, orElse(l.Jobs, window))))
	ctx, cancel := context.WithCancel(ctx)
	err := r.loop(ctx, window)
	cancel()
	for _, p := range r.pending { // evaluations end before Run does
		if p.done != nil {
			<-p.done
		}
	}
	return r.trials[:r.told], err
}

func orElse(v, otherwise int) int {
	if v > 0 {
		return v
	}
	return otherwise
}

func (r *run) loop(ctx context.Context, window int) error {
	done := false // the strategy has nothing more
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		marked := r.marked()
		if !done && !marked && len(r.pending) < window && r.more() {
			switch p, err := r.Strategy.Ask(ctx); {
			case err == nil:
				r.ended = false
				if err := r.asked(ctx, p, false); err != nil {
					return err
				}
				continue
			case errors.Is(err, ErrDone):
				if n := len(r.trials); n < len(r.kept) {
					return r.other(n, "nothing more")
				}
				done = true
			case !errors.Is(err, ErrWait):
				return err
			case len(r.pending) == 0:
				return errors.New("BUG: the strategy waits, and all its trials are told")
			}
		}
		if len(r.pending) == 0 {
			p, err := r.last(marked)
			switch {
			case errors.Is(err, ErrDone):
				return nil
			case err == nil:
				err = r.asked(ctx, p, true)
			}
			if err != nil {
				return err
			}
		}
		if err := r.tell(ctx); err != nil {
			return err
		}
	}
}

// marked says whether the journal's next trial is one of Last.
func (r *run) marked() bool {
	n := len(r.trials)
	return r.Last != nil && n < len(r.kept) && r.kept[n].Trial.Note == LastNote
}

// last gives the proposal of Last, as the journal has it where it does.
func (r *run) last(marked bool) (Proposal, error) {
	if marked {
		return r.kept[len(r.trials)].Trial.Proposal, nil
	}
	if r.Last == nil || r.ended {
		return Proposal{}, ErrDone
	}
	p, err := r.Last(r.trials[:r.told])
	p.Note = LastNote
	return p, err
}

// more says whether the budget has room for another trial. What the journal
// has is told in any case.
func (r *run) more() bool {
	n := len(r.trials)
	switch {
	case n < len(r.kept):
		return true
	case r.Budget > 0 && n-r.lasts >= r.Budget:
		return false
	case r.Time > 0:
		return r.journal.Used()+time.Since(r.start) < r.Time && r.known < mostKnown
	}
	return true
}

// asked makes a trial of a proposal and starts its evaluation, unless its
// outcome is known.
func (r *run) asked(ctx context.Context, p Proposal, last bool) error {
	n := len(r.trials)
	t := &Trial{ID: int64(n + 1), Seed: TrialSeed(r.Seed, int64(n+1)), Proposal: p}
	if err := r.Space.Check(p.Genotype); err != nil {
		return diag.At(fmt.Sprintf("trial %d as proposed", t.ID), err)
	}
	if p.Parent != 0 {
		if p.Parent < 0 || p.Parent > int64(r.told) {
			return fmt.Errorf("BUG: trial %d starts from trial %d, which is not told", t.ID, p.Parent)
		}
		t.ParentTrial = r.trials[p.Parent-1]
	}
	r.known++
	if p.Parent == 0 && len(p.Edits) == 0 {
		key := p.Genotype.String() + " " + strconv.FormatFloat(share(p.Budget), 'g', -1, 64)
		if o := r.first[key]; o != nil {
			t.CopyOf = o.ID
		} else {
			r.first[key] = t
			r.known = 0
		}
	} else {
		r.known = 0
	}
	run := running{trial: t, last: last}
	if last {
		r.lasts, r.ended = r.lasts+1, true
	}
	if n < len(r.kept) {
		k := r.kept[n]
		if !sameProposal(t, k.Trial) {
			return r.other(n, t.Genotype.String())
		}
		if k.Done {
			t.Outcome = k.Trial.Outcome
			r.trials, r.pending = append(r.trials, t), append(r.pending, run)
			return nil
		}
	} else if err := r.journal.Asked(t); err != nil {
		return err
	}
	r.trials = append(r.trials, t)
	if t.CopyOf == 0 {
		run.done = make(chan error, 1)
		go r.evaluate(ctx, t, run.done)
	}
	r.pending = append(r.pending, run)
	return nil
}

// share is the share of a full training: 0 stands for 1.
func share(b float64) float64 {
	if b == 0 {
		return 1
	}
	return b
}

func sameProposal(a, b *Trial) bool {
	return a.Seed == b.Seed && a.Parent == b.Parent && a.CopyOf == b.CopyOf && a.Budget == b.Budget &&
		slices.Equal(a.Genotype, b.Genotype) && slices.Equal(a.Edits, b.Edits)
}

// other is the error of a journal that the strategy does not replay.
func (r *run) other(n int, found string) error {
	return &diag.Error{
		Place: fmt.Sprintf("trial %d of the study", n+1), Found: found + " is what the strategy proposes now",
		Wanted: r.kept[n].Trial.Genotype.String() + ", as the journal has it",
		Fix:    "go on with the nasc version, strategy and options that began the study, or begin another",
	}
}

func (r *run) evaluate(ctx context.Context, t *Trial, done chan<- error) {
	select {
	case r.jobs <- struct{}{}:
	case <-ctx.Done():
		done <- ctx.Err()
		return
	}
	defer func() { <-r.jobs }()
	start := time.Now()
	o, err := r.Evaluator.Evaluate(ctx, t)
	if err == nil {
		o.Clean()
		t.Outcome = o
		err = r.journal.Finished(t, time.Since(start))
	}
	if err != nil && ctx.Err() == nil {
		err = diag.At(fmt.Sprintf("trial %d", t.ID), err)
	}
	done <- err
}

// tell waits for the next trial in order and tells it.
func (r *run) tell(ctx context.Context) error {
	p := r.pending[0]
	if p.done != nil {
		select {
		case err := <-p.done:
			r.pending[0].done = nil
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t := p.trial
	if t.CopyOf != 0 && (r.told >= len(r.kept) || !r.kept[r.told].Done) {
		t.Outcome = r.trials[t.CopyOf-1].Outcome
		if err := r.journal.Finished(t, 0); err != nil {
			return err
		}
	}
	t.Judge(r.Goal)
	if !p.last {
		if err := r.Strategy.Tell(ctx, t); err != nil {
			return err
		}
	}
	r.pending = r.pending[1:]
	r.told++
	if r.Told != nil {
		r.Told(t)
	}
	return nil
}
