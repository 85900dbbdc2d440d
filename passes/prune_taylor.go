package passes

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
	"github.com/nasc-dev/nasc/passes/gradient"
)

// ofLoss ranks by what the loss L would change by, the cross-entropy.
//
// taylor is Molchanov et al. 2019: the square of Σ w·∂L/∂w over a unit's
// weights, L at the sample's class. Where that is not known the class is drawn
// from the network's own answer, which makes the mean square the curvature of L
// along the unit (the Fisher information: Theis et al. 2018).
//
// hessian is ½ Σ w²·∂²L/∂w² (LeCun et al. 1990), with the diagonal of the
// Gauss-Newton part of the Hessian: the mean square of gradients at classes
// drawn from the network's answer.
func (o *PruneOptions) ofLoss(ctx context.Context, g *ir.Graph, an *coupling.Analysis) (map[coupling.Unit]float64, error) {
	if len(o.Samples) == 0 {
		return nil, &diag.Error{Place: "--criterion", Found: o.Criterion + " without data", Wanted: "--data: the gradient is that of its loss"}
	}
	s, m := g.CloneMap()
	one, err := specializeIn(s)
	if err != nil {
		return nil, err
	}
	if len(one.Outputs) != 1 || !one.Outputs[0].Type.DType.IsFloat() {
		return nil, &diag.Error{Place: "--criterion", Found: o.Criterion + " on a network of several outputs", Wanted: "one output, of classes"}
	}
	y := one.Outputs[0]
	if y.Def != nil && y.Def.Op.Name == "softmax" { // the loss takes its logarithm
		y = y.Def.Inputs[0]
		one.Outputs[0] = y
		one.RemoveDead()
	}
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
		return nil, diag.At("--criterion "+o.Criterion, err)
	}
	forward := one.Clone()
	forward.Inputs = forward.Inputs[:len(forward.Inputs)-1]
	forward.RemoveDead()
	one.Outputs = grads
	one.RemoveDead()
	answer, free, err := o.Run(forward)
	if err != nil {
		return nil, err
	}
	if free != nil {
		defer free()
	}
	slopes, free, err := o.Run(one)
	if err != nil {
		return nil, err
	}
	if free != nil {
		defer free()
	}
	score := map[coupling.Unit]float64{}
	rng := rand.New(rand.NewPCG(o.Seed, 0x6c6f7373))
	for i, in := range o.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o.Progress(o.Criterion, i+1, len(o.Samples))
		out, err := answer(in)
		if err != nil {
			return nil, err
		}
		label := -1
		if o.Criterion == "taylor" && i < len(o.Labels) {
			label = o.Labels[i]
		}
		if out, err = slopes(append(in[:len(in):len(in)], lossSlope(out[0], label, rng.Float64()))); err != nil {
			return nil, err
		}
		total := map[coupling.Unit]float64{}
		for _, k := range members {
			d, w := out[known[k.Value]], k.Value.Const
			f := func(j int) float64 { return w.At(j) * d.At(j) }
			if o.Criterion == "hessian" {
				f = func(j int) float64 { return w.At(j) * d.At(j) * w.At(j) * d.At(j) / 2 }
			}
			for u, v := range perUnit(k, f) {
				total[u] += v
			}
		}
		for u, v := range total {
			if o.Criterion == "taylor" {
				v *= v
			}
			score[u] += v / float64(len(o.Samples))
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
// less 1 at the class, which draw picks from the softmax where it is not known.
func lossSlope(y *ir.Tensor, label int, draw float64) *ir.Tensor {
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
	drawn := -1
	for i := range y.Len() {
		p := math.Exp(y.At(i)-y.At(top)) / sum
		d.Set(i, p)
		if draw -= p; draw < 0 && drawn < 0 {
			drawn = i
		}
	}
	if label < 0 || label >= y.Len() {
		if label = drawn; label < 0 { // rounding
			label = top
		}
	}
	d.Set(label, d.At(label)-1)
	return d
}
