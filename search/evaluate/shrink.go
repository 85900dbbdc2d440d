package evaluate

import (
	"context"
	"fmt"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/train"
)

// Shrinker evaluates the networks that a teacher becomes: each keeps the weights
// that stay, and learns from the teacher's logits. Its Config has no space.
type Shrinker struct {
	Evaluator
	Space *shrink.Space
}

// NewShrinker checks that the teacher takes the data.
func NewShrinker(s *shrink.Space, c Config) (*Shrinker, error) {
	e := &Shrinker{Evaluator: Evaluator{Config: c}, Space: s}
	y := s.Teacher.Outputs[0].Type.Shape
	if n := y[len(y)-1]; n < c.Data.Classes {
		return nil, &diag.Error{Place: "--data", Found: fmt.Sprintf("%d classes", c.Data.Classes), Wanted: fmt.Sprintf("at most the teacher's %d", n)}
	}
	if _, err := data.NewFeed(c.Data.Train, s.Teacher.Inputs, nil); err != nil {
		return nil, diag.At("--data", err)
	}
	if c.Teacher == nil {
		e.Teacher = &train.Teacher{Graph: s.Teacher, Preprocess: c.Data.Preprocess}
	}
	return e, nil
}

// Evaluate trains a student; the teacher itself is scored as it is.
func (e *Shrinker) Evaluate(ctx context.Context, t *search.Trial) (search.Outcome, error) {
	o := search.Outcome{Metrics: map[string]float64{}}
	err := e.evaluate(ctx, t, &o)
	switch f, ok := err.(fault); {
	case ctx.Err() != nil:
		return o, ctx.Err()
	case ok:
		o.Fault = f.Error()
		return o, nil
	}
	return o, err
}

func (e *Shrinker) evaluate(ctx context.Context, t *search.Trial, o *search.Outcome) error {
	net, edits := e.Space.Teacher.Clone(), e.Space.Edits(t.Genotype)
	if t.Parent != 0 { // its training goes on
		if t.ParentTrial == nil {
			return fmt.Errorf("BUG: trial %d comes without its parent %d", t.ID, t.Parent)
		}
		var err error
		if net, err = e.Network(t.ParentTrial); err != nil {
			return err
		}
		edits = nil
	}
	for _, edit := range edits {
		if _, err := morph.Edit(ctx, net, edit); err != nil {
			return fault{err}
		}
	}
	source := "network " + t.Genotype.String() + " of the space " + e.Space.Name()
	if t.Parent == 0 && len(edits) == 0 { // the teacher
		feed, err := data.NewFeed(e.Data.Valid, net.Inputs, nil)
		if err != nil {
			return fault{err}
		}
		s, err := nasc.Evaluate(ctx, net, "cpu-f32", feed, false, nil)
		if err != nil {
			return fault{err}
		}
		o.Metrics["accuracy"], o.Metrics["loss"] = s.Top1, s.Loss
		e.count(net, o)
		return e.keep(net, source, o)
	}
	n, err := train.New(net)
	if err != nil {
		return fault{err}
	}
	g, err := e.train(ctx, t, n, 0, o)
	if err != nil {
		return err
	}
	return e.keep(g, source, o)
}
