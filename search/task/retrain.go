package task

import (
	"context"
	"maps"

	"github.com/nasc-dev/nasc/search"
)

// FinalTraining is what a network was trained beyond its trial, before it was
// compiled.
type FinalTraining struct {
	Epochs int     `json:"epochs"`
	How    string  `json:"how"`    // KeptAsFound, TrainedOn or FromScratch: the best by validation accuracy
	Before float64 `json:"before"` // validation accuracy, f32
	After  float64 `json:"after"`
	Int8   float64 `json:"compiled_before"` // validation accuracy of what the trial left, compiled
}

// What a final training may come to.
const (
	KeptAsFound = "kept as found"
	TrainedOn   = "trained on"
	FromScratch = "from scratch"
)

// Retrain trains a trial's network on, and where it had inherited its weights
// from scratch too, and gives the best by validation accuracy: a trial with the
// number, genotype and metrics of t. A training that fails leaves t.
func (o *Opened) Retrain(ctx context.Context, t *search.Trial, epochs int) (*search.Trial, *FinalTraining, error) {
	f := &FinalTraining{Epochs: epochs, How: KeptAsFound, Before: t.Metrics["accuracy"], After: t.Metrics["accuracy"]}
	share := float64(epochs) / float64(o.Train.Epochs)
	ways := []string{TrainedOn}
	if t.Parent != 0 {
		ways = append(ways, FromScratch)
	}
	best := t
	for i, how := range ways {
		x := &search.Trial{ID: t.ID, Seed: search.TrialSeed(t.Seed, int64(i+1)), Proposal: search.Proposal{Genotype: t.Genotype, Budget: share, Note: search.LastNote}}
		if how == TrainedOn {
			x.Parent, x.ParentTrial = t.ID, t
		}
		out, err := o.Trains.Evaluate(ctx, x)
		if err != nil {
			return nil, nil, err
		}
		if out.Clean(); out.Fault != "" || !(out.Metrics["accuracy"] > f.After) {
			continue
		}
		y := *t
		y.Outcome = out
		y.Metrics = maps.Clone(t.Metrics)
		maps.Copy(y.Metrics, out.Metrics)
		best, f.How, f.After = &y, how, out.Metrics["accuracy"]
	}
	return best, f, nil
}
