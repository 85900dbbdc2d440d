package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Finalist is one of the best trials, compiled for the target and measured on
// this device.
type Finalist struct {
	Trial     int64              `json:"trial"`
	Genotype  string             `json:"genotype"`
	Target    string             `json:"target"`
	Predicted map[string]float64 `json:"predicted"` // the trial's metrics
	MS        float64            `json:"ms"`        // measured
	Accuracy  float64            `json:"accuracy"`  // of the compiled model on the validation data
	Bytes     int64              `json:"bytes"`
	Within    bool               `json:"within"` // it keeps the limits as measured
	Final     *FinalTraining     `json:"final,omitempty"`
	Out       string             `json:"out,omitempty"`
}

const (
	finalTime  = time.Second // of a finalist's measurement
	calibNames = "a part of the training data"
	validNames = "the validation data"
	calibMost  = 500 // samples
)

// Final compiles a trial's trained network and measures it. It writes no file.
func (o *Opened) Final(ctx context.Context, weights search.DirStore, t *search.Trial, goal search.Goal, progress func(stage string, done, total int)) (*Finalist, *nasc.Result, error) {
	if t.Weights == "" {
		return nil, nil, &diag.Error{Place: fmt.Sprintf("trial %d", t.ID), Found: "no weights", Wanted: "a trained network"}
	}
	if _, err := weights.Get(t.Weights); err != nil {
		return nil, nil, err
	}
	path, err := weights.Path(t.Weights)
	if err != nil {
		return nil, nil, err
	}
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	r, err := nasc.Compile(ctx, m, nasc.CompileOptions{
		Target: o.Target, Calib: calibNames, Eval: validNames, Seed: 1, Threads: max(1, o.Threads), Progress: progress,
		Sources: map[string]data.Source{calibNames: spread{o.Data.Train, min(calibMost, o.Data.Train.Len())}, validNames: o.Data.Valid},
	})
	if err != nil {
		return nil, nil, err
	}
	e, g, err := nasc.Start(r.Module.Graphs[0], o.Target, 1, max(1, o.Threads))
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	measured, err := nasc.MeasureNet(ctx, e, g, max(1, o.Threads), finalTime)
	if err != nil {
		return nil, nil, err
	}
	f := &Finalist{
		Trial: t.ID, Genotype: t.Genotype.String(), Target: o.Target, Predicted: t.Metrics,
		MS: measured.Median, Accuracy: r.Top1, Bytes: r.Bytes,
	}
	f.Within = goal.Violation(f.measured()) == 0
	return f, r, nil
}

// measured are the trial's metrics with what was measured in their place.
func (f *Finalist) measured() map[string]float64 {
	m := map[string]float64{"ms": f.MS, "accuracy": f.Accuracy, "bytes": float64(f.Bytes)}
	for k, v := range f.Predicted {
		if _, has := m[k]; !has {
			m[k] = v
		}
	}
	return m
}

// spread are n samples of a source, evenly spread over it.
type spread struct {
	data.Source
	n int
}

func (s spread) Len() int { return s.n }
func (s spread) Sample(i int) (data.Sample, error) {
	return s.Source.Sample(i * s.Source.Len() / s.n)
}

// Finalists are the trials worth compiling, best first: the front where there
// are several objectives, else the best networks that keep the limits, each
// network once.
func Finalists(goal search.Goal, trials []*search.Trial, n int) []*search.Trial {
	var out []*search.Trial
	if len(goal.Objectives) > 1 {
		out = search.Front(trials)
	} else {
		seen := map[string]bool{}
		for _, t := range trials {
			if t.Feasible() && t.CopyOf == 0 && !seen[t.Weights] {
				seen[t.Weights] = true
				out = append(out, t)
			}
		}
	}
	sortBetter(out)
	return out[:min(n, len(out))]
}

func sortBetter(trials []*search.Trial) {
	slices.SortStableFunc(trials, func(a, b *search.Trial) int {
		switch {
		case a.Better(b):
			return -1
		case b.Better(a):
			return 1
		}
		return 0
	})
}
