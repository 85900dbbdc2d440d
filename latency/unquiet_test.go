package latency

import (
	"math"
	"testing"
)

// A row that only loud networks tell of, or these, too, says that it is noisy,
// and a comparison tells the others apart.
func TestUnquiet(t *testing.T) {
	// Of kernels 0, 1 and 2: networks with quiet alone, with too little of it, without.
	table := func(t0, t1, t2 float64) *Table {
		out := &Table{}
		for _, key := range []string{"conv", "dot", "add"} {
			out.addKernel(Row{Key: key, Median: 1, Runs: 9})
		}
		for i := range 3 {
			out.Nets = append(out.Nets,
				Net{Row: Row{Anchor: 27, Median: 9}, Name: "quiet", Uses: []Use{{Row: 0, N: 1, Time: t0}}},
				Net{Row: Row{Anchor: 38, Median: 9}, Name: "loud", Uses: []Use{{Row: 1, N: 1, Time: 2 * t1}, {Row: 2, N: 1, Time: t2}}})
			if i == 0 {
				out.Nets[0].Uses = append(out.Nets[0].Uses, Use{Row: 1, N: 1, Time: t1})
			}
		}
		return out
	}
	a, b := table(10, 10, 10), table(10.2, 12, 14)
	if got := a.Unquiet(); got[0] || !got[1] || !got[2] {
		t.Errorf("noisy rows: %v, wanted the last two", got)
	}
	d := a.Compare(b)
	if d.Both != 3 || d.Noisy != 2 || d.Quiet.Rows != 1 || math.Abs(d.Quiet.Median-1.02) > 1e-9 || math.Abs(d.Quiet.Typical-0.02) > 1e-9 || d.Quiet.Within3 != 1 {
		t.Errorf("%+v", d)
	}
	if math.Abs(d.Median-1.2) > 1e-9 || math.Abs(d.Within3-1.0/3) > 1e-9 {
		t.Errorf("of all rows ×%g, %g within 3 %%", d.Median, d.Within3)
	}
	none := (&Table{}).Compare(b)
	if none.Both != 0 || none.Quiet.Rows != 0 || none.Median != 0 || none.Quiet.Median != 0 {
		t.Errorf("of nothing %+v", none)
	}
}
