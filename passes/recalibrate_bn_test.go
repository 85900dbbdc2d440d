package passes

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// TestRecalibrate: the statistics are mean and unbiased variance over all
// samples, also where they do not fit one batch; the second norm sees what the
// first one makes of them.
func TestRecalibrate(t *testing.T) {
	b := ir.NewBuilder("g")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 2, 1))
	one := func(v float32) *ir.Value { return b.Const("c", ir.From([]float32{v}, 1)) }
	y := b.Op("batch_norm_inference", ir.Attrs{"epsilon": 1e-6}, x, one(3), one(-1), one(0), one(1))
	g, err := b.Graph(b.Op("batch_norm_inference", ir.Attrs{"epsilon": 1e-6}, y, one(1), one(0), one(0), one(1)))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var samples [][]*ir.Tensor
	var all []float64
	for range 2 * recalibrateRows {
		v := ir.NewTensor(ir.F32, 1, 2, 1)
		for i := range 2 {
			v.F32()[i] = float32(5 + 2*r.NormFloat64())
			all = append(all, float64(v.F32()[i]))
		}
		samples = append(samples, []*ir.Tensor{v})
	}
	var mean, variance float64
	for _, v := range all {
		mean += v / float64(len(all))
	}
	for _, v := range all {
		variance += (v - mean) * (v - mean) / float64(len(all)-1)
	}
	list, err := Parse("recalibrate-bn")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), g, list, Options{Inputs: samples}); err != nil {
		t.Fatal(err)
	}
	near := func(what string, got float32, want, tolerance float64) {
		if math.Abs(float64(got)-want) > tolerance {
			t.Errorf("%s is %v, wanted %v", what, got, want)
		}
	}
	first, second := g.Nodes[0], g.Nodes[1]
	near("mean", first.In(3).Const.F32()[0], mean, 1e-4)
	near("variance", first.In(4).Const.F32()[0], variance, 1e-3)
	near("second mean", second.In(3).Const.F32()[0], -1, 1e-4) // each batch is normalized by itself
	near("second variance", second.In(4).Const.F32()[0], 9, 0.05)
}
