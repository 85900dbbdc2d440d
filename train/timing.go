package train

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
)

// Timing runs the steps of a training on random pictures, one at a time, to
// measure them.
type Timing struct {
	j     *Job
	order []int
	n     int
}

// NewTiming prepares a network's training; close it after use.
func NewTiming(ctx context.Context, n *Network, c Config, b Backend, threads int) (*Timing, error) {
	in := n.graph.Inputs
	j := &Job{Config: c, Network: n, Backend: b, Threads: threads}
	j.Data = &data.Feed{Source: noise{in, n.Classes, 2 * c.Batch}, Inputs: in}
	if err := j.prepare(ctx); err != nil {
		j.close()
		return nil, err
	}
	return &Timing{j: j, order: j.train.order(0)}, nil
}

// Step runs one step, from a batch that lies ready to updated weights, and
// gives its time.
func (t *Timing) Step(ctx context.Context) (time.Duration, error) {
	b := t.j.train.draw(t.n, t.order)
	if b.err != nil {
		return 0, b.err
	}
	t.n++
	start := time.Now()
	err := t.j.step(ctx, b, t.j.LR)
	return time.Since(start), err
}

// PerOp runs the graph of a step and adds each of its steps' times to took
// (nil: as many zeros), which only a planned backend can.
func (t *Timing) PerOp(ctx context.Context, took []time.Duration) ([]backends.Step, []time.Duration, error) {
	p, ok := t.j.exe.(backends.Planned)
	if !ok {
		return nil, nil, errors.New("this backend has no steps of its own")
	}
	if took == nil {
		took = make([]time.Duration, len(p.Steps()))
	}
	b := t.j.train.draw(t.n, t.order)
	if b.err != nil {
		return nil, nil, b.err
	}
	return p.Steps(), took, p.RunTimed(ctx, append(b.in, t.j.params...), t.j.out, took)
}

// Close frees what the steps hold.
func (t *Timing) Close() { t.j.close() }

// noise is a source of random samples.
type noise struct {
	in         []*ir.Value
	classes, n int
}

func (s noise) Len() int { return s.n }

func (s noise) Sample(i int) (data.Sample, error) {
	r := rand.New(rand.NewPCG(uint64(i), 11))
	out := data.Sample{Tensors: map[string]*ir.Tensor{}, Label: i % s.classes}
	for _, v := range s.in {
		t := ir.NewTensor(v.Type.DType, v.Type.Shape.With(1)...)
		for k := range t.Len() {
			if v.Type.DType.IsFloat() {
				t.Set(k, r.NormFloat64())
			} else {
				t.Set(k, float64(r.IntN(2)))
			}
		}
		out.Tensors[v.Name] = t
	}
	return out, nil
}

// Params counts the trained numbers.
func (t *Timing) Params() int64 {
	var n int64
	for _, p := range t.j.trained {
		n += int64(len(p.Value))
	}
	return n
}
