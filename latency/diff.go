package latency

import (
	"cmp"
	"math"
	"slices"
)

// Diff compares two tables' rows of the same kernels: B against A.
type Diff struct {
	Both    int       `json:"both"` // kernels in both tables
	OnlyA   int       `json:"only_a"`
	OnlyB   int       `json:"only_b"`
	Median  float64   `json:"median_ratio"`      // of B's time to A's
	Typical float64   `json:"median_difference"` // median of |ratio − 1|
	Within3 float64   `json:"within_3pct"`
	Noisy   int       `json:"noisy"` // in both, measured without quiet in one of them
	Facts   []string  `json:"facts"` // of the header that differ
	Rows    []DiffRow `json:"rows"`  // those that differ most first
}

// DiffRow is one kernel in both tables, times in µs.
type DiffRow struct {
	Key   string  `json:"key"`
	A     float64 `json:"a_us"`
	B     float64 `json:"b_us"`
	Ratio float64 `json:"ratio"`
	Noisy bool    `json:"noisy"`
}

// Compare compares the kernels that both tables have measured.
func (t *Table) Compare(b *Table) *Diff {
	d := &Diff{Rows: []DiffRow{}, Facts: []string{}}
	var ratios, off []float64
	mine, theirs := t.learned().rows, b.learned().rows
	noisy, others := t.Unquiet(), b.Unquiet()
	for i, r := range t.Rows {
		k, ok := b.index[r.Key]
		if !ok {
			d.OnlyA++
			continue
		}
		x, y := mine[i].t, theirs[k].t
		if x <= 0 || y <= 0 {
			continue
		}
		row := DiffRow{Key: r.Key, A: x, B: y, Ratio: y / x, Noisy: noisy[i] || others[k]}
		d.Both++
		if row.Noisy {
			d.Noisy++
		}
		if e := math.Abs(row.Ratio - 1); e <= 0.03 {
			d.Within3++
		}
		ratios, off = append(ratios, row.Ratio), append(off, math.Abs(row.Ratio-1))
		d.Rows = append(d.Rows, row)
	}
	for _, r := range b.Rows {
		if _, ok := t.Find(r.Key); !ok {
			d.OnlyB++
		}
	}
	for _, f := range t.Facts {
		if v := b.Fact(f.Name); v != f.Value {
			d.Facts = append(d.Facts, f.Name+": "+f.Value+" | "+v)
		}
	}
	if d.Both > 0 {
		d.Median, d.Typical, d.Within3 = median(ratios), median(off), d.Within3/float64(d.Both)
	}
	slices.SortFunc(d.Rows, func(a, b DiffRow) int {
		return cmp.Or(-cmp.Compare(math.Abs(math.Log(a.Ratio)), math.Abs(math.Log(b.Ratio))), cmp.Compare(a.Key, b.Key))
	})
	return d
}
