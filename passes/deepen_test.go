package passes

import (
	"context"
	"math"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

// On data an added batch norm has the statistics of what it reads, so that
// training, which takes them from the batch, starts where the network was; its
// bias is a constant of its own, which can be trained.
func TestDeepenTakesStatisticsOfData(t *testing.T) {
	g, err := ir.ParseGraph("t.ir", `const @w: f32[3,3,1,4] = normal(1,1)
const @s: f32[4] = [1,2,0.5,1]
const @b: f32[4] = [0.5,-1,3,0]
const @m: f32[4] = [0,1,0,0]
const @v: f32[4] = [1,4,2,1]
const @f: f32[4,3] = normal(2,1)
graph @main(%x: f32[N,6,6,1]) {
  %c = convolution %x @w padding=[1,1,1,1]
  %n = batch_norm_inference %c @s @b @m @v
  %r = relu %n
  %p = reduce_mean %r axes=[1,2] keep_dims=false
  %y = dot %p @f
  return %y
}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := normals(t, g, 5)
	for _, x := range in {
		for i := range x[0].F32() {
			x[0].F32()[i] = 3*x[0].F32()[i] + 2
		}
	}
	list, err := Parse("deepen(node=c)")
	if err != nil {
		t.Fatal(err)
	}
	b := g.Clone()
	steps, err := Run(context.Background(), b, list, Options{Inputs: in})
	if err != nil || steps[0].MaxAbs > 1e-6 {
		t.Fatal(steps, err)
	}
	var norm *ir.Node
	for _, n := range b.Nodes {
		if n.Op.Name == "batch_norm_inference" {
			norm = n
		}
	}
	stats := &statistics{g: b, in: in, of: map[string]moments{}}
	m, err := stats.at(norm.Inputs[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	if norm.Inputs[2] == norm.Inputs[3] {
		t.Error("bias and mean are one constant")
	}
	for c := range 4 {
		mean, variance := norm.Inputs[3].Const.At(c), norm.Inputs[4].Const.At(c)
		if m.variance[c] < 1e-4 {
			continue
		}
		if math.Abs(mean-m.mean[c]) > 1e-4*math.Sqrt(m.variance[c]) || math.Abs(variance-m.variance[c]) > 0.01*m.variance[c] {
			t.Errorf("channel %d: mean %g, variance %g; its input has %g, %g", c, mean, variance, m.mean[c], m.variance[c])
		}
	}
}
