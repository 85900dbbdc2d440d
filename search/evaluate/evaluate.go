package evaluate

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/train"
)

// Config is what an Evaluator works with.
type Config struct {
	Space *arch.Space // it is adapted to the data's input and classes
	Data  *Set
	Train train.Config // of a full training; a proposal's budget is a share of its steps
	// TuneLR is the learning rate of networks that inherit weights; 0: Train's.
	TuneLR float64
	// Noise disturbs copied weights after the proof that the function stayed, by
	// this many standard deviations: equal copies would learn the same for ever.
	Noise   float64
	Weights search.Store   // nil: trained weights are not kept, and none inherited
	Teacher *train.Teacher // nil: the labels alone
	Threads int
	// Edited hears of every edit of a trial: the greatest change of an output
	// since the parent, and the parent's greatest output. It may be called by
	// several goroutines.
	Edited func(t *search.Trial, edit string, delta, maxOut float64)
	// Epoch hears of every epoch of a trial's training, by several goroutines too.
	Epoch func(t *search.Trial, done, of int)
}

// Evaluator trains the networks of a space. It may be used by several
// goroutines.
type Evaluator struct {
	Config
	proof []*ir.Tensor // inputs of a batch on which functions are compared
}

// proofBatch is how many samples functions are compared on, and batch norms
// measured.
const proofBatch = 64

// New checks that the space's networks take the data, and can be trained so.
func New(c Config) (*Evaluator, error) {
	s, err := c.Space.Adapted(c.Data.Input, c.Data.Classes)
	if err != nil {
		return nil, err
	}
	c.Space = s
	e := &Evaluator{Config: c}
	n := min(proofBatch, c.Data.Train.Len())
	in := ir.NewTensor(ir.F32, append([]int{n}, c.Data.Input...)...)
	row := in.Len() / n
	for i := range n {
		x, err := c.Data.Train.Sample(i)
		if err != nil {
			return nil, err
		}
		copy(in.F32()[i*row:(i+1)*row], x.Tensors[""].F32())
	}
	e.proof = []*ir.Tensor{in}
	return e, e.rehearse(context.Background())
}

// rehearsed is how many networks may fail for reasons of their own before what
// they are trained with is to blame.
const rehearsed = 3

// rehearse makes a network's training ready as a trial would, so that settings
// and data that none can be trained with are refused before the first.
func (e *Evaluator) rehearse(ctx context.Context) error {
	var first error
	for _, g := range e.Space.Samples(rehearsed, 1) {
		net, _, err := morph.Build(ctx, e.Space, g)
		if err != nil {
			continue
		}
		n, err := train.New(net)
		if err != nil {
			continue
		}
		j, err := e.job(&search.Trial{Seed: 1}, n, 0)
		if err == nil {
			err = j.Check(ctx)
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// fault is an error that is the network's, not the study's.
type fault struct{ error }

// Evaluate trains the trial's network.
func (e *Evaluator) Evaluate(ctx context.Context, t *search.Trial) (search.Outcome, error) {
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

func (e *Evaluator) evaluate(ctx context.Context, t *search.Trial, o *search.Outcome) error {
	net, _, err := morph.Build(ctx, e.Space, t.Genotype)
	if err != nil {
		return fault{err}
	}
	if t.Parent != 0 {
		if err := e.inherit(ctx, t, net, o); err != nil {
			return err
		}
	}
	n, err := train.New(net)
	if err != nil {
		return fault{err}
	}
	if t.Parent == 0 {
		n.Init(t.Seed)
	}
	rate := 0.0
	if t.Parent != 0 {
		rate = e.TuneLR
	}
	g, err := e.train(ctx, t, n, rate, o)
	if err != nil {
		return err
	}
	return e.keep(g, "network "+t.Genotype.String()+" of the space "+e.Space.Name, o)
}

// job is the training of a trial's network; rate, where it is not 0, takes the
// place of the configuration's.
func (e *Evaluator) job(t *search.Trial, n *train.Network, rate float64) (*train.Job, error) {
	j := &train.Job{Config: e.Train, Network: n, Teacher: e.Teacher, Preprocess: e.Data.Preprocess, Threads: e.Threads}
	j.Seed = t.Seed
	per := max(1, e.Data.Train.Len()/max(1, j.Batch))
	if t.Budget > 0 {
		j.Steps = max(1, int(math.Round(t.Budget*float64(j.Epochs*per))))
		j.Epochs = (j.Steps + per - 1) / per
	}
	if rate > 0 {
		j.LR = rate
	}
	if t.Parent != 0 && j.Warmup == 0 { // Adam's first steps are as long as its rate, whatever the gradient
		j.Warmup = 0.5
	}
	whole := float64(j.Epochs)
	if j.Steps > 0 {
		whole = min(whole, float64(j.Steps)/float64(per))
	}
	if t.Parent != 0 {
		j.Warmup = min(j.Warmup, whole/4) // what is short must fall, too
	}
	j.Warmup = min(j.Warmup, whole)
	inputs := n.Inference(nil).Inputs
	var err error
	source := e.Data.Train
	if t.Note == search.LastNote {
		source = e.Data.all()[0]
	}
	if j.Data, err = data.NewFeed(source, inputs, nil); err != nil {
		return nil, err
	}
	if j.Valid, err = data.NewFeed(e.Data.Valid, inputs, nil); err != nil {
		return nil, diag.At("--val", err)
	}
	return j, nil
}

// train trains a network and gives it.
func (e *Evaluator) train(ctx context.Context, t *search.Trial, n *train.Network, rate float64, o *search.Outcome) (*ir.Graph, error) {
	j, err := e.job(t, n, rate)
	if err != nil {
		return nil, fault{err}
	}
	if e.Epoch != nil {
		j.Report = func(k int, _ train.Epoch) { e.Epoch(t, k, j.Epochs) }
	}
	r, err := j.Run(ctx)
	if err != nil {
		return nil, fault{err}
	}
	last := r.Epochs[len(r.Epochs)-1]
	for _, p := range r.Epochs {
		o.Curve = append(o.Curve, p.VTop1)
	}
	o.Steps = int64(r.Steps)
	o.Metrics["accuracy"], o.Metrics["loss"] = last.VTop1, last.VLoss
	e.count(r.Graph, o)
	sample := stepMACs * o.Metrics["macs"]
	if e.Teacher != nil && !e.Teacher.Remembers(j.Config) {
		sample += float64(e.Teacher.Graph.MACs()) // its answer
	}
	o.Metrics["train_macs"] = float64(r.Steps) * float64(j.Batch) * sample
	return r.Graph, nil
}

func (e *Evaluator) count(g *ir.Graph, o *search.Outcome) {
	macs, params := Count(g)
	o.Metrics["macs"], o.Metrics["params"] = float64(macs), float64(params)
}

// keep puts a trained network into the store.
func (e *Evaluator) keep(g *ir.Graph, source string, o *search.Outcome) error {
	if e.Weights == nil {
		return nil
	}
	file, err := e.encode(source, g)
	if err != nil {
		return err
	}
	o.Weights, err = e.Weights.Put(file)
	return err
}

// stepMACs is what a sample costs in training, in forward passes: the gradient
// for the activations and that for the weights take one each.
const stepMACs = 3

// Count gives the multiply-accumulates of a sample, and how many numbers are
// trained.
func Count(g *ir.Graph) (macs, params int64) {
	stats := map[*ir.Value]bool{}
	for _, n := range g.Nodes {
		if n.Op.Name == "batch_norm_inference" {
			stats[n.Inputs[3]], stats[n.Inputs[4]] = true, true
		}
	}
	for _, v := range g.Constants() {
		if !stats[v] && v.Type.DType == ir.F32 && len(v.Type.Shape) > 0 {
			params += int64(v.Const.Len())
		}
	}
	return g.MACs(), params
}

// Cheap gives the metrics of a space's networks that need no training, for
// search.Setup.
func Cheap(s *arch.Space) func(search.Genotype) (map[string]float64, error) {
	return func(g search.Genotype) (map[string]float64, error) {
		text, err := s.Instance(g)
		if err != nil {
			return nil, err
		}
		net, _, err := arch.Trace("network "+g.String(), []byte(text))
		if err != nil {
			return nil, err
		}
		macs, params := Count(net)
		return map[string]float64{"macs": float64(macs), "params": float64(params)}, nil
	}
}

// encode writes a trained network as a .nasc file, which compiles like any
// source.
func (e *Evaluator) encode(source string, g *ir.Graph) ([]byte, error) {
	var b bytes.Buffer
	m := &ir.Module{Graphs: []*ir.Graph{g}}
	man := &nascfile.Manifest{
		Producer: "nasc search", Source: source, Preprocess: e.Data.Preprocess,
	}
	err := nascfile.Encode(&b, m, man)
	return b.Bytes(), err
}

// Network gives a trial's trained network.
func (e *Evaluator) Network(t *search.Trial) (*ir.Graph, error) {
	if e.Weights == nil || t.Weights == "" {
		return nil, &diag.Error{Place: fmt.Sprintf("trial %d", t.ID), Found: "no weights", Wanted: "those that its training left"}
	}
	b, err := e.Weights.Get(t.Weights)
	if err != nil {
		return nil, err
	}
	f, err := nascfile.Decode("weights "+t.Weights, b)
	if err != nil {
		return nil, err
	}
	return f.Module.Graphs[0], nil
}
