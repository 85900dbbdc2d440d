package passes

import (
	"context"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
	"github.com/nasc-dev/nasc/passes/coupling"
	"github.com/nasc-dev/nasc/passes/gradient"
)

// taylor is Molchanov et al. 2019: the square of Σ w·∂L/∂w over a unit's
// weights, L the cross-entropy with the sample's class, or where that is not
// known with the class that the network gives.
func (o *PruneOptions) taylor(ctx context.Context, g *ir.Graph, an *coupling.Analysis) (map[coupling.Unit]float64, error) {
	if len(o.Samples) == 0 {
		return nil, &diag.Error{Place: "--criterion", Found: "taylor without data", Wanted: "--data: the gradient is that of its loss"}
	}
	s, m := g.CloneMap()
	one, err := specializeIn(s)
	if err != nil {
		return nil, err
	}
	if len(one.Outputs) != 1 || !one.Outputs[0].Type.DType.IsFloat() {
		return nil, &diag.Error{Place: "--criterion", Found: "taylor on a network of several outputs", Wanted: "one output, of classes"}
	}
	y := one.Outputs[0]
	var members []coupling.Member
	var wrt []*ir.Value
	known := map[*ir.Value]int{}
	for _, k := range an.Constants() {
		if !layerWeights(k) || k.Sums {
			continue
		}
		members = append(members, k)
		if _, ok := known[k.Value]; !ok {
			known[k.Value] = len(wrt)
			wrt = append(wrt, m[k.Value])
		}
	}
	seed := one.Input("seed", y.Type)
	grads, err := gradient.Append(one, map[*ir.Value]*ir.Value{y: seed}, wrt)
	if err != nil {
		return nil, diag.At("--criterion taylor", err)
	}
	forward := one.Clone()
	forward.Inputs = forward.Inputs[:len(forward.Inputs)-1]
	forward.RemoveDead()
	one.Outputs = grads
	one.RemoveDead()
	score := map[coupling.Unit]float64{}
	for i, in := range o.Samples {
		o.Progress("taylor", i+1, len(o.Samples))
		r, err := eval.Run(ctx, forward, in, eval.Options{})
		if err != nil {
			return nil, err
		}
		label := -1
		if i < len(o.Labels) {
			label = o.Labels[i]
		}
		r, err = eval.Run(ctx, one, append(in[:len(in):len(in)], lossSlope(r.Outputs[0], label)), eval.Options{})
		if err != nil {
			return nil, err
		}
		total := map[coupling.Unit]float64{}
		for _, k := range members {
			d := r.Outputs[known[k.Value]]
			for u, v := range perUnit(k, func(j int, w float64) float64 { return w * d.At(j) }) {
				total[u] += v
			}
		}
		for u, v := range total {
			score[u] += v * v
		}
	}
	return score, nil
}

// specializeIn sets the batch to 1 in a graph that is the caller's own, so that
// its values keep their identity.
func specializeIn(g *ir.Graph) (*ir.Graph, error) {
	for _, v := range g.Inputs {
		v.Type.Shape = v.Type.Shape.With(1)
	}
	for _, n := range g.Nodes {
		for name, a := range n.Attrs {
			if s, ok := a.(ir.Shape); ok {
				n.Attrs[name] = s.With(1)
			}
		}
	}
	return g, g.InferAll()
}

// lossSlope is the derivative of the cross-entropy by the logits: the softmax
// less 1 at the class.
func lossSlope(y *ir.Tensor, label int) *ir.Tensor {
	d := ir.NewTensor(y.DType, y.Shape...)
	top := 0
	for i := range y.Len() {
		if y.At(i) > y.At(top) {
			top = i
		}
	}
	sum := 0.0
	for i := range y.Len() {
		sum += math.Exp(y.At(i) - y.At(top))
	}
	for i := range y.Len() {
		d.Set(i, math.Exp(y.At(i)-y.At(top))/sum)
	}
	if label < 0 || label >= y.Len() {
		label = top
	}
	d.Set(label, d.At(label)-1)
	return d
}
