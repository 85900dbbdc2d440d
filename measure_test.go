package nasc

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
)

// Comparisons that meet NaN and infinity still give figures that JSON has.
func TestDifference(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name     string
		ref, out []float32
		abs      float64
		equal    bool
		sqnr     float64
		top1     float64
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, 0, true, MaxSQNR, 1},
		{"off by one", []float32{0, 10}, []float32{1, 10}, 1, false, 20, 1},
		{"another class", []float32{3, 4}, []float32{3, 1}, 3, false, 10 * math.Log10(25.0/9), 0},
		{"the same NaN", []float32{nan, 2}, []float32{nan, 2}, 0, true, MaxSQNR, 1},
		{"NaN against a number", []float32{1, 2}, []float32{nan, 2}, math.MaxFloat64, false, -MaxSQNR, 0},
		{"infinity on both sides", []float32{inf, 2}, []float32{inf, 3}, 1, false, 10 * math.Log10(4), 1},
		{"infinity on one side", []float32{1, 2}, []float32{1, inf}, math.MaxFloat64, false, -MaxSQNR, 1},
		{"zero and minus zero", []float32{0, 1}, []float32{float32(math.Copysign(0, -1)), 1}, 0, false, MaxSQNR, 1},
	} {
		d := NewDifference()
		d.Add(ir.From(c.ref, 2), ir.From(c.out, 2))
		if d.MaxAbs != c.abs || d.BitEqual != c.equal || math.Abs(d.SQNR-c.sqnr) > 1e-9 || d.Top1 != c.top1 {
			t.Errorf("%s: %+v", c.name, d)
		}
		if _, err := json.Marshal(d); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A network that ends with a softmax has the loss of the one without, in f32 and,
// but for levels, in int8.
func TestLossOfShares(t *testing.T) {
	ctx := t.Context()
	m, err := Open("zoo/digits-cnn.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g := m.Graph().Clone()
	s, err := data.Open("digits[1200:1300]")
	if err != nil {
		t.Fatal(err)
	}
	feed, err := data.NewFeed(s, g.Inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	loss := func(g *ir.Graph, target string) float64 {
		t.Helper()
		c := &costs{o: &PruneOptions{Target: target, Seed: 1}}
		r, err := c.runnable(g)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Evaluate(ctx, r, target, feed, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.Loss
	}
	soft := g.Clone()
	y, err := soft.Add("softmax", ir.Attrs{"axis": 1}, soft.Outputs[0])
	if err != nil {
		t.Fatal(err)
	}
	soft.Outputs[0] = y
	if a, b := loss(g, "cpu-f32"), loss(soft, "cpu-f32"); math.Abs(a-b) > 1e-4 || a > 0.2 {
		t.Errorf("logits %v, shares %v", a, b)
	}
	if a, b := loss(g, "cpu-int8"), loss(soft, "cpu-int8"); math.Abs(a-b) > 0.05 {
		t.Errorf("int8: logits %v, shares %v", a, b)
	}
}

// What a run would be killed for is refused: inputs, outputs and the plan's
// memory count, and nothing does where the system does not say what is free.
func TestRoom(t *testing.T) {
	b := ir.NewBuilder("wide")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 1000))
	h := b.Op("relu", nil, b.Op("dot", nil, x, b.Const("w", ir.NewTensor(ir.F32, 1000, 500))))
	g, err := b.Graph(b.Op("dot", nil, h, b.Const("v", ir.NewTensor(ir.F32, 500, 10))))
	if err != nil {
		t.Fatal(err)
	}
	e, s, err := Start(g, "cpu-f32", 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	need := 8*4*(1000+10) + e.(backends.Planned).ArenaBytes()
	if need < 8*4*1510 {
		t.Errorf("%d bytes, of which the arena does not hold %d", need, 8*4*500)
	}
	for free, refused := range map[int64]bool{0: false, need: false, need - 1: true} {
		err := room(e, s, 8, free)
		if (err != nil) != refused {
			t.Errorf("%d bytes wanted, %d free: %v", need, free, err)
		}
		if refused && !strings.Contains(err.Error(), "memory: a run of 8 samples takes ") {
			t.Error(err)
		}
	}
}
