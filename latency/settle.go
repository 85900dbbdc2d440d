package latency

import (
	"math"
	"slices"
)

// settled is what a kernel is taken to take: a row is what the first networks
// that have it showed; those that came later count as much.
type settled struct {
	t    float64   // µs
	off  float64   // half the 90 % interval of its time in another network, logarithmic
	nets []int     // of Table.Nets, that measured it
	seen []float64 // there, in µs
	// quiet is how many of them were measured in quiet.
	quiet int
}

// settle takes each kernel's time from all networks that have it.
func (t *Table) settle() []settled {
	out, still := make([]settled, len(t.Rows)), t.still()
	for _, noisy := range []bool{false, true} { // the noisy ones where there are no others
		for i, n := range t.Nets {
			for _, u := range n.Uses {
				if s := &out[u.Row]; u.Time > 0 && still[i] != noisy && (!noisy || s.quiet < enough) {
					s.nets, s.seen = append(s.nets, i), append(s.seen, u.Time)
					if !noisy {
						s.quiet++
					}
				}
			}
		}
	}
	for i := range out {
		s, r := &out[i], t.Rows[i]
		s.t = s.without(-1, r.Median)
		s.off = math.Log(1 + max(r.Interval, 0.01))
		if r.Noisy || r.Runs == 0 {
			s.off = max(s.off, spread(r.P10, r.Median), spread(r.Median, r.P90))
		}
		if len(s.seen) >= enough {
			var off []float64
			for _, x := range s.seen {
				off = append(off, math.Abs(math.Log(x/s.t)))
			}
			s.off = conformal(off, 0.9)
		}
	}
	return out
}

// without is the kernel's time as all networks but one tell it: their median,
// or the row's where they are few.
func (s *settled) without(net int, row float64) float64 {
	x := make([]float64, 0, len(s.seen))
	for i, v := range s.seen {
		if s.nets[i] != net {
			x = append(x, v)
		}
	}
	if len(x) < enough {
		return row
	}
	return median(x)
}

func spread(lo, hi float64) float64 {
	if lo <= 0 || hi <= 0 {
		return 0
	}
	return math.Log(hi / lo)
}

// conformal is the distance that the next error is within with probability p,
// by the ranks of those seen; beyond the last rank it grows with how few they
// are.
func conformal(off []float64, p float64) float64 {
	if len(off) == 0 {
		return math.Ln2
	}
	off = slices.Clone(off)
	slices.Sort(off)
	n := float64(len(off))
	at := math.Ceil(p*(n+1)) - 1
	if at <= n-1 {
		return off[int(at)]
	}
	return off[len(off)-1] * (1 + 2/n)
}

// Unquiet says of each row whether its time is, in part at least, that of
// networks that did not meet quiet: fewer that did than it takes have its kernel.
func (t *Table) Unquiet() []bool {
	out := make([]bool, len(t.Rows))
	for i, s := range t.settle() {
		out[i] = len(s.seen) > s.quiet || s.quiet == 0 && t.Rows[i].Noisy
	}
	return out
}
