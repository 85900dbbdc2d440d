package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// recipe holds what one quantization measured and rounded, in the order in
// which it was asked for, so that the same steps on another graph of the same
// model give the same numbers without samples.
type recipe struct {
	policy    Policy
	tops      [][][]float64     // of each call of channelTops
	observers []*quant.Observer // of observe
	layers    []*layer
}

var errUnlike = &diag.Error{Place: "quantize", Found: "a graph that is built otherwise than the one quantized first", Wanted: "the same model with other input shapes", Fix: "compile a file for each set of shapes"}

// QuantizeLike quantizes another float graph of a model, for other input
// shapes, with the scales and rounded weights of an earlier Quantize, whose
// report and options it takes. No samples are read, and constants that both
// graphs hold come out equal under equal names, for Module.Dedup to share.
func QuantizeLike(g *ir.Graph, opt QuantizeOptions, earlier *QuantReport) (*ir.Graph, *QuantReport, error) {
	if earlier == nil || earlier.recipe == nil {
		panic("BUG: QuantizeLike without the report of Quantize")
	}
	opt.Policy = earlier.recipe.policy
	opt.Calib = SampleList{nil} // never read
	if err := opt.fill(g); err != nil {
		return nil, nil, err
	}
	z, err := newQuantizer(g, opt)
	if err != nil {
		return nil, nil, err
	}
	like := *earlier.recipe
	z.like, z.made = &like, earlier.recipe
	z.report.Samples = earlier.Samples
	return z.run()
}

// takeTops gives what the next call of channelTops measured.
func (r *recipe) takeTops(vs []*ir.Value) ([][]float64, error) {
	if len(r.tops) == 0 || len(r.tops[0]) != len(vs) {
		return nil, errUnlike
	}
	t := r.tops[0]
	r.tops = r.tops[1:]
	for i, v := range vs {
		if len(t[i]) != width(v) {
			return nil, errUnlike
		}
	}
	return t, nil
}

// takeLayers gives every layer the rounded weights of its like.
func (r *recipe) takeLayers(ls []*layer) error {
	if len(ls) != len(r.layers) {
		return errUnlike
	}
	for i, l := range ls {
		k := r.layers[i]
		if l.node.Op != k.node.Op || l.spec.K != k.spec.K || l.spec.N != k.spec.N || l.spec.Groups != k.spec.Groups || !slices.Equal(l.scale, k.scale) {
			return errUnlike
		}
		l.q, l.bias, l.sqnr = k.q, k.bias, k.sqnr
	}
	return nil
}
