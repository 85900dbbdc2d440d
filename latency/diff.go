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
	Noisy   int       `json:"noisy"` // in both, of which one of them has no time of quiet networks alone
	Quiet   QuietDiff `json:"quiet"` // of the others
	Facts   []string  `json:"facts"` // of the header that differ
	Rows    []DiffRow `json:"rows"`  // those that differ most first
}

// QuietDiff compares the rows that both tables could measure well.
type QuietDiff struct {
	Rows    int     `json:"rows"`
	Median  float64 `json:"median_ratio"` // 0 of no rows
	Typical float64 `json:"median_difference"`
	Within3 float64 `json:"within_3pct"`
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
	var all, quiet ratios
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
		all = append(all, row.Ratio)
		if row.Noisy {
			d.Noisy++
		} else {
			quiet = append(quiet, row.Ratio)
		}
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
	d.Median, d.Typical, d.Within3 = all.sum()
	d.Quiet.Rows = len(quiet)
	d.Quiet.Median, d.Quiet.Typical, d.Quiet.Within3 = quiet.sum()
	slices.SortFunc(d.Rows, func(a, b DiffRow) int {
		return cmp.Or(-cmp.Compare(math.Abs(math.Log(a.Ratio)), math.Abs(math.Log(b.Ratio))), cmp.Compare(a.Key, b.Key))
	})
	return d
}

// ratios are times of one table as multiples of another's.
type ratios []float64

// sum gives their median, the median of how far they are from 1, and the share
// that is within 3 %.
func (r ratios) sum() (middle, typical, within float64) {
	if len(r) == 0 {
		return 0, 0, 0
	}
	var off []float64
	for _, v := range r {
		e := math.Abs(v - 1)
		if off = append(off, e); e <= 0.03 {
			within += 1 / float64(len(r))
		}
	}
	return median(r), median(off), within
}
