package passes

import (
	"context"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// statistics measures mean and variance per channel of values of a graph, on
// the inputs given or on seeded random ones.
type statistics struct {
	g  *ir.Graph
	in [][]*ir.Tensor
	of map[string]moments
	// only, where run is set, are the values to measure, and run does it.
	only []*ir.Value
	run  Runner
}

const statisticSamples = 8

// at gives the moments of the value of this name along its last axis.
func (s *statistics) at(name string) (moments, error) {
	if len(s.of) == 0 {
		if err := s.measure(context.Background()); err != nil {
			return moments{}, err
		}
	}
	return s.of[name], nil
}

// measure runs the graph once over the inputs and keeps the sums.
func (s *statistics) measure(ctx context.Context) error {
	batch := 1
	if len(s.in) == 0 {
		batch = statisticSamples
	}
	g, err := ir.Specialize(s.g, batch)
	if err != nil {
		return err
	}
	in := s.in
	if len(in) == 0 {
		in = [][]*ir.Tensor{RandomInputs(g, 2)}
	}
	counts := map[string]float64{}
	add := func(name string, t *ir.Tensor) {
		if len(t.Shape) == 0 || !t.DType.IsFloat() {
			return
		}
		c := t.Shape[len(t.Shape)-1]
		m := s.of[name]
		if m.mean == nil {
			m = moments{make([]float64, c), make([]float64, c)}
			s.of[name] = m
		}
		for k := range t.Len() {
			v := t.At(k)
			m.mean[k%c] += v
			m.variance[k%c] += v * v
		}
		counts[name] += float64(t.Len() / max(1, c))
	}
	if s.run != nil {
		err = s.watched(ctx, batch, in, add)
	} else {
		err = s.interpreted(ctx, g, in, add)
	}
	if err != nil {
		return err
	}
	for name, m := range s.of {
		for i := range m.mean {
			m.mean[i] /= max(1, counts[name])
			m.variance[i] = max(0, m.variance[i]/max(1, counts[name])-m.mean[i]*m.mean[i])
		}
	}
	return nil
}

func (s *statistics) interpreted(ctx context.Context, g *ir.Graph, in [][]*ir.Tensor, add func(string, *ir.Tensor)) error {
	for _, x := range in {
		_, err := eval.Run(ctx, g, x, eval.Options{Each: func(n *ir.Node, _, out []*ir.Tensor) error {
			for i, t := range out {
				add(n.Outputs[i].Name, t)
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *statistics) watched(ctx context.Context, batch int, in [][]*ir.Tensor, add func(string, *ir.Tensor)) error {
	if len(s.only) == 0 {
		return nil
	}
	g, err := ir.Specialize(watchGraph(s.g, s.only), batch)
	if err != nil {
		return err
	}
	run, free, err := s.run(g)
	if err != nil {
		return err
	}
	if free != nil {
		defer free()
	}
	for _, x := range in {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := run(x)
		if err != nil {
			return err
		}
		for i, v := range s.only {
			add(v.Name, out[i])
		}
	}
	return nil
}
