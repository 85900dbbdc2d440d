package nasc

import (
	"encoding/json"
	"math"
	"testing"

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
