package search

import "time"

// Journal keeps a study's trials. Its methods are called from several
// goroutines.
type Journal interface {
	// Trials are those kept so far, in the order of asking.
	Trials() []Record
	// Used is the wall time that earlier runs of the study took.
	Used() time.Duration
	// Asked keeps a proposal, before it is evaluated.
	Asked(t *Trial) error
	// Finished keeps the outcome of a trial that was asked for.
	Finished(t *Trial, took time.Duration) error
}

// Record is a journal's trial.
type Record struct {
	Trial *Trial
	Done  bool // there is an outcome
}

// noJournal forgets.
type noJournal struct{}

func (noJournal) Trials() []Record                     { return nil }
func (noJournal) Used() time.Duration                  { return 0 }
func (noJournal) Asked(*Trial) error                   { return nil }
func (noJournal) Finished(*Trial, time.Duration) error { return nil }
