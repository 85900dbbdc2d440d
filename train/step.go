package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// step runs one batch and updates parameters and statistics.
func (j *Job) step(ctx context.Context, b batch, rate float64) error {
	switch {
	case j.teach == nil:
	case j.Teacher.Remembers(j.Config):
		if err := j.Teacher.recall(ctx, j, b.from); err != nil {
			return err
		}
	default:
		if err := j.teach.Run(ctx, b.in[:j.train.s.data], j.answers); err != nil {
			return err
		}
	}
	in := slices.Concat(b.in, j.answers, j.params)
	if err := j.exe.Run(ctx, in, j.out); err != nil {
		return err
	}
	loss := float64(j.out[0].F32()[0])
	if !finite(loss) {
		return j.broken(ctx, b, in, fmt.Sprintf("a loss of %v", loss))
	}
	j.keepZeros(j.grads)
	norm := clip(j.grads, j.Clip)
	if !finite(norm) {
		return j.broken(ctx, b, in, "a gradient that is not finite")
	}
	j.noise(b.step)
	y := j.out[1]
	c := j.Network.Classes
	for i, l := range b.labels {
		row := y.F32()[i*c : (i+1)*c]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		if best == l {
			j.state.Sums.Right++
		}
	}
	j.state.Sums.Loss += loss
	j.state.Sums.Seen += len(b.labels)
	j.state.Sums.Steps++
	for i, p := range j.trained {
		j.update(i, b.step+1, rate)
		j.keepZero(i, p.Value)
		if j.EMA > 0 {
			// A short memory at first: the first weights are random.
			d := float32(min(j.EMA, float64(1+b.step)/float64(10+b.step)))
			for k, v := range p.Value {
				j.ema[i][k] = float32(d*j.ema[i][k]) + float32((1-d)*v)
			}
		}
	}
	if !j.Options.FreezeNorm {
		j.statistics()
	}
	return nil
}

// statistics moves the running mean and (unbiased) variance towards the
// batch's.
func (j *Job) statistics() {
	d := float32(j.NormDecay)
	for i, n := range j.Network.norms {
		m, v := j.out[2+2*i].F32(), j.out[3+2*i].F32()
		f := float32(1)
		if k := j.train.s.normRows(i); k > 1 {
			f = float32(float64(k) / float64(k-1))
		}
		for c := range m {
			n.mean[c] += float32(d * (m[c] - n.mean[c]))
			n.variance[c] += float32(d * (float32(v[c]*f) - n.variance[c]))
		}
	}
}

// normRows is how many values a channel of norm i has in a batch.
func (s *step) normRows(i int) int {
	x := s.graph.Outputs[2+2*i].Def.Inputs[0].Type.Shape
	return x[:len(x)-1].Elems()
}

// noise adds to the gradients what GradNoise asks for.
func (j *Job) noise(step int) {
	if j.GradNoise == 0 {
		return
	}
	std := math.Sqrt(j.GradNoise / math.Pow(1+float64(step), 0.55))
	r := rand.New(rand.NewPCG(j.Seed, uint64(step)<<8|4))
	for _, g := range j.grads {
		for i := range g {
			g[i] += float32(std * r.NormFloat64())
		}
	}
}

func finite(v float64) bool { return v-v == 0 }

// broken finds the layer in which a number that is not finite appears first,
// by the interpreter, or the sample that brings it.
func (j *Job) broken(ctx context.Context, b batch, in []*ir.Tensor, found string) error {
	g, step := j.train.s.graph, b.step
	for k, v := range g.Inputs[:j.train.s.data] {
		if x := in[k]; x.DType == ir.F32 {
			if i := slices.IndexFunc(x.F32(), func(v float32) bool { return v-v != 0 }); i >= 0 {
				return &diag.Error{
					Place: "step " + strconv.Itoa(step+1), Found: fmt.Sprintf("%s; sample %d of --data brings an infinite number into input %s", found, b.from[i*j.Batch/x.Len()], v.Name),
					Wanted: "finite numbers", Fix: "mend the data, or leave the sample out",
				}
			}
		}
	}
	layer := ""
	output := computes(g, g.Outputs[1])
	stop := errors.New("found")
	_, err := eval.Run(ctx, g, in, eval.Options{Each: func(n *ir.Node, _, out []*ir.Tensor) error {
		for _, t := range out {
			if t.DType == ir.F32 && slices.ContainsFunc(t.F32(), func(v float32) bool { return v-v != 0 }) {
				layer = n.Op.Name + " " + strconv.Quote(n.Label())
				if !output[n] && !slices.ContainsFunc(j.Network.graph.Nodes, func(k *ir.Node) bool { return k.Label() == n.Label() }) {
					layer = "the loss, all layers' results are finite"
				}
				return stop
			}
		}
		return nil
	}})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	e := &diag.Error{Place: "step " + strconv.Itoa(step+1), Found: found, Wanted: "finite numbers", Fix: "a lower --lr, --warmup or --clip", Unmet: true}
	if layer != "" {
		e.Found += "; the first value that is not finite comes out of " + layer
	} else {
		e.Found += "; it arises in the gradient, all values forward are finite"
	}
	return e
}

// computes are the nodes that v comes from.
func computes(g *ir.Graph, v *ir.Value) map[*ir.Node]bool {
	need, out := map[*ir.Value]bool{v: true}, map[*ir.Node]bool{}
	for _, n := range slices.Backward(g.Nodes) {
		if slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return need[v] }) {
			out[n] = true
			for _, x := range n.Inputs {
				need[x] = true
			}
		}
	}
	return out
}
