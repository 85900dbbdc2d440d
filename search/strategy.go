package search

import (
	"context"
	"errors"
)

// Strategy proposes networks and learns from what came of them. It does not
// evaluate, keep files or look at the clock. All its randomness comes from
// Setup.Seed, so that the same outcomes lead to the same proposals.
type Strategy interface {
	// Ask gives the next proposal. ErrWait: something asked for must be told
	// first; ErrDone: there is nothing left to propose.
	Ask(ctx context.Context) (Proposal, error)
	// Tell gives it a finished trial. Trials come in the order of asking.
	Tell(ctx context.Context, t *Trial) error
}

// Errors of Ask that are no faults.
var (
	ErrWait = errors.New("the strategy waits for an outcome")
	ErrDone = errors.New("the strategy has nothing left to propose")
)

// Setup is what a strategy starts from.
type Setup struct {
	Space  Space
	Goal   Goal
	Budget int // trials in all; 0 where the budget is a time
	Seed   uint64
	// Options are the strategy's own settings, by name; it refuses others.
	Options map[string]string
	// Cheap gives a network's metrics that need no training (ms, macs, params,
	// bytes), from tables and counting; nil where there are none. Strategies may
	// ask it to keep limits before they propose.
	Cheap func(Genotype) (map[string]float64, error)
}

// Evaluator turns a proposal into an outcome. An error ends the study (a full
// disk); a network that cannot be evaluated is an Outcome with Fault.
type Evaluator interface {
	Evaluate(ctx context.Context, t *Trial) (Outcome, error)
}

// EvaluatorFunc is an Evaluator of one function.
type EvaluatorFunc func(ctx context.Context, t *Trial) (Outcome, error)

// Evaluate calls f.
func (f EvaluatorFunc) Evaluate(ctx context.Context, t *Trial) (Outcome, error) { return f(ctx, t) }
