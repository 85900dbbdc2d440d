package train

import (
	"context"
	"math"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// evaluate runs the network in the form that inference has, on the engine, and
// takes the loss by its name.
func (n *Network) evaluate(ctx context.Context, values [][]float32, s *samples, batch, threads int, loss string) (mean, top1 float64, err error) {
	return evaluate(ctx, n.Inference(values), s, batch, threads, loss)
}

// Evaluate measures the loss and top-1 of a float graph on labelled samples,
// batch of them at a time. The graph is not changed.
func Evaluate(ctx context.Context, g *ir.Graph, f *data.Feed, batch, threads int) (loss, top1 float64, err error) {
	n, err := New(g)
	if err != nil {
		return 0, 0, err
	}
	index := make([]int, f.Len())
	for i := range index {
		index[i] = i
	}
	s, err := newSamples("data", f, index, n.Classes)
	if err != nil {
		return 0, 0, err
	}
	if err := s.check(ctx); err != nil {
		return 0, 0, err
	}
	return evaluate(ctx, g.Clone(), s, max(1, batch), max(1, threads), "")
}

func evaluate(ctx context.Context, g *ir.Graph, s *samples, batch, threads int, lossName string) (loss, top1 float64, err error) {
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return 0, 0, err
	}
	right := 0
	total := len(s.index)
	for first := 0; first < total; {
		size := min(batch, total-first)
		static, err := ir.Specialize(g, size)
		if err != nil {
			return 0, 0, err
		}
		exe, err := cpu.F32().Compile(static, backends.Options{Threads: threads})
		if err != nil {
			return 0, 0, err
		}
		// All whole batches with one program, then the rest with another.
		out := backends.NewOutputs(static)
		for ; first+size <= total; first += size {
			in := make([]*ir.Tensor, len(static.Inputs))
			for k, v := range static.Inputs {
				in[k] = ir.NewTensor(v.Type.DType, v.Type.Shape...)
			}
			labels := make([]int, size)
			for i := range size {
				x, err := s.at(first + i)
				if err != nil {
					return 0, 0, err
				}
				labels[i] = x.label
				for k, t := range x.in {
					row := in[k].RawBytes()
					copy(row[i*len(row)/size:], t.RawBytes())
				}
			}
			if err := exe.Run(ctx, in, out); err != nil {
				return 0, 0, err
			}
			l, r := score(static, out[0].F32(), labels, lossName)
			loss, right = loss+l, right+r
		}
		if err := exe.Close(); err != nil {
			return 0, 0, err
		}
	}
	return loss / float64(total), float64(right) / float64(total), nil
}

// LeastShare is the least that counts as the share of the right class where a
// network ends with a softmax: its logarithm bounds the loss of a sample.
const LeastShare = 1e-7

// score sums the loss (the cross entropy, or mse) and counts right answers; y are
// logits, or probabilities where a softmax ends the graph.
func score(g *ir.Graph, y []float32, labels []int, lossName string) (loss float64, right int) {
	c := len(y) / len(labels)
	d := g.Outputs[0].Def
	soft := d != nil && d.Op.Name == "softmax"
	for i, l := range labels {
		row := y[i*c : (i+1)*c]
		best, sum := 0, 0.0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		for _, v := range row {
			sum += math.Exp(float64(v - row[best]))
		}
		switch {
		case lossName == "mse":
			for k, v := range row {
				d := float64(v)
				if k == l {
					d--
				}
				loss += d * d / float64(c)
			}
		case soft:
			loss -= math.Log(max(float64(row[l]), LeastShare))
		default:
			loss += math.Log(sum) - float64(row[l]-row[best])
		}
		if best == l {
			right++
		}
	}
	return loss, right
}
