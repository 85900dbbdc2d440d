package task

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/shrink"
)

// OpenTeacher puts a trained network into the store, in the form that is
// trained, and makes its students what is searched.
func (t *Task) OpenTeacher(ctx context.Context, m *nasc.Model, pre *nascfile.Preprocess, store search.Store) error {
	switch {
	case m.Random:
		return &diag.Error{Place: m.Path, Found: "a network without trained weights", Wanted: "a trained one, which teaches", Fix: "nasc train " + m.Path + " --data DATA -o trained.nasc"}
	case m.Compiled || nasc.Quantized(m.Graph()):
		return &diag.Error{Place: m.Path, Found: "a compiled or quantized network", Wanted: "a float one: students keep its weights and are trained", Fix: "take the model that it was compiled from"}
	case len(m.Module.Graphs) != 1:
		return &diag.Error{Place: m.Path, Found: "several sets of shapes", Wanted: "a model with one"}
	}
	if y := m.Graph().Outputs; len(y) != 1 || len(y[0].Type.Shape) != 2 || y[0].Type.DType != ir.F32 {
		return &diag.Error{Place: m.Path, Found: fmt.Sprintf("%d outputs, the first %s", len(y), y[0].Type), Wanted: "one, f32[N,classes]: a network that classifies"}
	}
	g, err := nasc.Trainable(ctx, m)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	man := &nascfile.Manifest{Producer: "nasc compress", Source: filepath.Base(m.Path), Preprocess: pre}
	if err := nascfile.Encode(&b, &ir.Module{Graphs: []*ir.Graph{g}}, man); err != nil {
		return err
	}
	t.Teacher, t.File = true, m.Path
	t.Digest, err = store.Put(b.Bytes())
	return err
}

// Students reads a teacher from the store.
func Students(store search.Store, digest string) (*shrink.Space, *nascfile.Preprocess, error) {
	b, err := store.Get(digest)
	if err != nil {
		return nil, nil, err
	}
	f, err := nascfile.Decode("teacher "+digest, b)
	if err != nil {
		return nil, nil, err
	}
	s, err := shrink.New(f.Module.Graphs[0])
	if err != nil {
		return nil, nil, err
	}
	s.Source = f.Manifest.Source
	return s, f.Manifest.Preprocess, nil
}

func (o *Opened) openTeacher(store search.Store) error {
	s, pre, err := Students(store, o.Digest)
	if err != nil {
		return diag.At(o.File, err)
	}
	if o.Data, err = evaluate.LoadFor(s.Teacher, pre, o.Task.Data, o.Val, o.Share, o.Seed); err != nil {
		return err
	}
	e, err := evaluate.NewShrinker(s, evaluate.Config{Data: o.Data, Train: o.Train, Weights: store, Threads: max(1, o.Workers)})
	if err != nil {
		return err
	}
	o.Students, o.Space, o.Cheap, o.Trains = s, s, evaluate.Students(s), e
	return nil
}

// Last proposes the best student's own training with what is left of the
// budget: the time that left gives, or share of the multiplications of all
// trainings where left is nil or what trainings take is not known here.
func (o *Opened) Last(share float64, left func() time.Duration) func([]*search.Trial) (search.Proposal, error) {
	return func(told []*search.Trial) (search.Proposal, error) {
		b := search.Best(told)
		e, ok := o.Trains.(*evaluate.Shrinker)
		if b == nil || len(b.Curve) == 0 || !(share > 0) || !ok {
			return search.Proposal{}, search.ErrDone // the teacher is the best: no student is there
		}
		cost := 0.0
		for _, t := range told {
			if t.CopyOf == 0 && t.Note != search.LastNote {
				cost += t.Metrics["train_macs"]
			}
		}
		cost *= share / (1 - share)
		if left != nil {
			if c := e.Affords(left()); c > 0 {
				cost = c
			}
		}
		epochs := math.Max(1, math.Round(cost/e.EpochMACs(b.Metrics["macs"])))
		return search.Proposal{Genotype: b.Genotype, Parent: b.ID, Budget: epochs / float64(o.Train.Epochs)}, nil
	}
}

// Watch hears of each epoch of trainings in this process.
func (o *Opened) Watch(epoch func(t *search.Trial, done, of int)) {
	switch e := o.Trains.(type) {
	case *evaluate.Shrinker:
		e.Epoch = epoch
	case *evaluate.Evaluator:
		e.Epoch = epoch
	}
}
