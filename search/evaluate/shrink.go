package evaluate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/train"
)

// Shrinker evaluates the networks that a teacher becomes: each keeps the weights
// that stay, and learns from the teacher's logits. Its Config has no space. Only
// trainings that go on use its augmentation: in the others, which are short, the
// teacher is asked about each sample once.
type Shrinker struct {
	Evaluator
	Space *shrink.Space
	mu    sync.Mutex
	score *nasc.Score // the teacher's, when it is known
	macs  float64     // of trainings in this process
	took  time.Duration
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
	if e.Weights == nil {
		return nil, fmt.Errorf("BUG: students without a place for their weights")
	}
	if c.Teacher == nil {
		e.Teacher = &train.Teacher{Graph: s.Teacher, Preprocess: c.Data.Preprocess, Keep: true}
	}
	return e, nil
}

// Evaluate trains a student; the teacher itself is scored as it is.
func (e *Shrinker) Evaluate(ctx context.Context, t *search.Trial) (search.Outcome, error) {
	o := search.Outcome{Metrics: map[string]float64{}}
	start := time.Now()
	err := e.evaluate(ctx, t, &o)
	switch f, ok := err.(fault); {
	case ctx.Err() != nil:
		return o, ctx.Err()
	case ok:
		o.Fault = f.Error()
		return o, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.macs += o.Metrics["train_macs"]
	e.took += time.Since(start)
	return o, err
}

// Affords is how many multiplications of training a time pays, as trainings in
// this process went; 0 where there were none.
func (e *Shrinker) Affords(d time.Duration) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.took <= 0 {
		return 0
	}
	return e.macs * float64(d) / float64(e.took)
}

func (e *Shrinker) evaluate(ctx context.Context, t *search.Trial, o *search.Outcome) error {
	var net *ir.Graph
	var err error
	switch {
	case t.Parent != 0 && t.ParentTrial == nil:
		return fmt.Errorf("BUG: trial %d comes without its parent %d", t.ID, t.Parent)
	case t.Parent != 0: // its training goes on
		if net, err = e.Network(t.ParentTrial); err != nil {
			return err
		}
	default:
		if net, err = e.Space.Network(ctx, t.Genotype); err != nil {
			return fault{err}
		}
	}
	source := "network " + t.Genotype.String() + " of the space " + e.Space.Name()
	base, err := e.base(ctx)
	if err != nil {
		return fault{err}
	}
	if t.Parent == 0 && len(e.Space.Edits(t.Genotype)) == 0 { // the teacher
		o.Metrics["accuracy"], o.Metrics["loss"] = base.Top1, base.Loss
		e.count(net, o)
		e.reward(base, o)
		o.Metrics["train_macs"] = o.Metrics["macs"] * float64(e.Data.Train.Len()) // its answers
		return e.keep(net, source, o)
	}
	n, err := train.New(net)
	if err != nil {
		return fault{err}
	}
	c := e.Evaluator
	if t.Parent == 0 {
		c.Train.Augment = train.Augment{}
	}
	g, err := c.train(ctx, t, n, 0, o)
	if err != nil {
		return err
	}
	e.reward(base, o)
	return e.keep(g, source, o)
}

// EpochMACs is what an epoch of a training that goes on takes.
func (e *Shrinker) EpochMACs(macs float64) float64 {
	sample := stepMACs * macs
	if !e.Teacher.Remembers(e.Train) {
		sample += float64(e.Space.Teacher.MACs())
	}
	return sample * float64(e.Data.Train.Len()/e.Train.Batch*e.Train.Batch)
}

// base scores the teacher on the data that students are judged by, once.
func (e *Shrinker) base(ctx context.Context) (*nasc.Score, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.score != nil {
		return e.score, nil
	}
	feed, err := data.NewFeed(e.Data.Valid, e.Space.Teacher.Inputs, nil)
	if err != nil {
		return nil, err
	}
	s, err := nasc.Evaluate(ctx, e.Space.Teacher, "cpu-f32", feed, false, nil)
	if err == nil && !(s.Top1 > 0) {
		err = &diag.Error{Place: "teacher", Found: "no right answer on the validation data", Wanted: "a trained network, and its data"}
	}
	if err == nil {
		e.score = s
	}
	return s, err
}

func (e *Shrinker) reward(base *nasc.Score, o *search.Outcome) {
	_, params := Count(e.Space.Teacher)
	o.Metrics["reward"] = shrink.Reward(o.Metrics["accuracy"]/base.Top1, o.Metrics["params"]/float64(params))
}

// Students gives what is known of a teacher's students without training them.
func Students(s *shrink.Space) func(search.Genotype) (map[string]float64, error) {
	return func(g search.Genotype) (map[string]float64, error) {
		net, err := s.Network(context.Background(), g)
		if err != nil {
			return nil, err
		}
		macs, params := Count(net)
		return map[string]float64{"macs": float64(macs), "params": float64(params)}, nil
	}
}
