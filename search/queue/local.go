package queue

import (
	"context"
	"maps"
	"sync"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// perform does a job in this process.
func perform(ctx context.Context, o *task.Opened, j job) (search.Outcome, error) {
	if j.Kind == evaluates {
		return o.Trains.Evaluate(ctx, j.Trial)
	}
	ms, err := o.Millis(ctx, j.Trial.Genotype)
	return search.Outcome{Metrics: map[string]float64{"ms": ms}}, err
}

// Local evaluates trials in this process, by the jobs that workers do. One
// network at a time is measured.
func Local(o *task.Opened) search.Evaluator {
	var measuring sync.Mutex
	return search.EvaluatorFunc(func(ctx context.Context, t *search.Trial) (search.Outcome, error) {
		out, err := perform(ctx, o, job{Kind: evaluates, Trial: t})
		if err != nil || out.Fault != "" || !o.Measure {
			return out, err
		}
		measuring.Lock()
		defer measuring.Unlock()
		m, err := perform(ctx, o, job{Kind: measures, Trial: t})
		maps.Copy(out.Metrics, m.Metrics)
		return out, err
	})
}
