package passes

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// recalibrateRows is how many samples run at a time.
const recalibrateRows = 64

// recalibrateBN measures the statistics of batch norms anew on data, as a
// training step does: each norm normalizes by the batch before it, and what
// the network keeps are mean and variance over all samples.
//
//	%y = batch_norm_inference %x @s @b @mean @var  →  … @mean' @var'
//
// It changes the function: for the better where weights were changed after the
// statistics were taken (pruning, averaging of weights).
func recalibrateBN(g *ir.Graph, samples [][]*ir.Tensor, run Runner) (changed bool, err error) {
	var norms []*ir.Node
	for _, n := range g.Nodes {
		if n.Op.Name == "batch_norm_inference" {
			if !n.In(3).IsConst() || !n.In(4).IsConst() {
				return false, &diag.Error{Place: n.Label(), Found: "a batch norm with computed statistics", Wanted: "constants"}
			}
			norms = append(norms, n)
		}
	}
	if len(norms) == 0 {
		return false, nil
	}
	size := min(recalibrateRows, len(samples))
	if g.Static() {
		size = g.Inputs[0].Type.Shape[0]
	}
	if len(samples) < 2 || len(samples) < size {
		return false, &diag.Error{Place: "recalibrate-bn", Found: fmt.Sprintf("%d samples", len(samples)), Wanted: fmt.Sprintf("%d or more", max(2, size))}
	}
	s, err := ir.Specialize(g, size)
	if err != nil {
		return false, err
	}
	stats, err := TrainingNorms(s)
	if err != nil {
		return false, err
	}
	s.Outputs = stats
	s.RemoveDead()
	f, free, err := run(s)
	if err != nil {
		return false, err
	}
	if free != nil {
		defer free()
	}
	// Over all samples: the mean of the means, and the mean of the variances
	// with the variance of the means.
	sum := make([][]float64, len(stats))
	square := make([][]float64, len(stats))
	batches := 0
	for first := 0; first+size <= len(samples); first += size {
		out, err := f(joined(s.Inputs, samples[first:first+size]))
		if err != nil {
			return false, err
		}
		batches++
		for i, t := range out {
			if sum[i] == nil {
				sum[i], square[i] = make([]float64, t.Len()), make([]float64, t.Len())
			}
			for c, v := range t.F32() {
				sum[i][c] += float64(v)
				square[i][c] += float64(v) * float64(v)
			}
		}
	}
	k := float64(batches)
	for i, n := range norms {
		mean, variance := n.In(3).Const.Clone(), n.In(4).Const.Clone()
		x := stats[2*i].Def.Inputs[0].Type.Shape
		rows := k * float64(x[:len(x)-1].Elems())
		for c := range mean.F32() {
			m := sum[2*i][c] / k
			v := sum[2*i+1][c]/k + max(0, square[2*i][c]/k-m*m)
			mean.F32()[c], variance.F32()[c] = float32(m), float32(v*rows/max(1, rows-1))
		}
		changed = changed || !ir.SameData(mean, n.In(3).Const) || !ir.SameData(variance, n.In(4).Const)
		n.Inputs[3] = g.Const(n.In(3).Name, mean)
		n.Inputs[4] = g.Const(n.In(4).Name, variance)
	}
	return changed, nil
}

// joined makes one batch of samples.
func joined(inputs []*ir.Value, samples [][]*ir.Tensor) []*ir.Tensor {
	out := make([]*ir.Tensor, len(inputs))
	for k, v := range inputs {
		out[k] = ir.NewTensor(v.Type.DType, v.Type.Shape...)
		row := out[k].RawBytes()
		for i, s := range samples {
			copy(row[i*len(row)/len(samples):], s[k].RawBytes())
		}
	}
	return out
}

// TrainingNorms gives batch norms their training form and returns the mean and
// variance of each, in order.
func TrainingNorms(g *ir.Graph) ([]*ir.Value, error) {
	var stats []*ir.Value
	for _, d := range slices.Clone(g.Nodes) {
		if d.Op.Name != "batch_norm_inference" {
			continue
		}
		t, err := g.AddNamed("batch_norm_training", d.Outputs[0].Name, ir.Attrs{"epsilon": d.Float("epsilon")}, d.Inputs[0], d.Inputs[1], d.Inputs[2])
		if err != nil {
			return nil, err
		}
		t.Name = d.Name
		g.ReplaceUses(d.Outputs[0], t.Outputs[0])
		stats = append(stats, t.Outputs[1], t.Outputs[2])
	}
	return stats, g.Sort()
}
