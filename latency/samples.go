package latency

import (
	"math"
	"slices"
	"time"
)

// samples of one key in µs: a run's mean over the key's steps, piece by piece.
type samples struct {
	parts       []part
	anchors     []float64 // beside the quiet ones; of blocks beside all
	busy        []float64 // beside the others
	macs, bytes int64
	done        bool
}

// part is the samples of one piece, and its share in the key's time.
type part struct {
	weight       float64 // 0: the piece has no such step
	quiet, noisy []float64
}

// add takes the key's samples of a round of a piece. Small drifts of the clock
// are corrected by the anchor's; those of a busy round are kept apart.
func (s *samples) add(piece int, round []map[string]float64, key string, quiet bool, drift float64) {
	if s.parts == nil {
		s.parts = []part{{weight: 1}}
	}
	p := &s.parts[piece]
	for _, one := range round {
		t, ok := one[key]
		switch {
		case !ok:
		case quiet && len(p.quiet) < maxRuns:
			p.quiet = append(p.quiet, t*min(max(drift, 1/quietFactor), quietFactor))
		case !quiet && len(p.noisy) < maxRuns:
			p.noisy = append(p.noisy, t)
		}
	}
}

// look keeps what the anchor took beside samples.
func (s *samples) look(quiet bool, anchors ...float64) {
	if quiet {
		s.anchors = append(s.anchors, anchors...)
	} else {
		s.busy = append(s.busy, anchors...)
	}
}

// full says that no more quiet samples are kept.
func (s *samples) full() bool {
	for i := range s.parts {
		if p := &s.parts[i]; p.weight > 0 && len(p.quiet) < maxRuns {
			return false
		}
	}
	return true
}

// row sums up the samples: of each piece the quiet ones where there are enough,
// else all. Quantiles are the sums of the pieces'.
func (s *samples) row(key string, c clock) Row {
	r := Row{Key: key, MACs: s.macs, Bytes: s.bytes, Time: time.Now(), Runs: math.MaxInt}
	off := 0.0
	for i := range s.parts {
		p := &s.parts[i]
		if p.weight == 0 {
			continue
		}
		x := slices.Clone(p.quiet)
		if len(x) < minRuns {
			x, r.Noisy = append(x, p.noisy...), true
		}
		if r.Runs = min(r.Runs, len(x)); len(x) == 0 {
			break
		}
		slices.Sort(x)
		r.Median += p.weight * quantile(x, 0.5)
		r.P10 += p.weight * quantile(x, 0.1)
		r.P90 += p.weight * quantile(x, 0.9)
		q1, q3 := quantile(x, 0.25), quantile(x, 0.75)
		for _, t := range x {
			if t > q3+3*(q3-q1) {
				r.Outliers++
			}
		}
		lo, hi := medianInterval(x)
		off = math.Hypot(off, p.weight*max((hi-lo)/2, c.tick/4)) // no better than a tick of the clock
	}
	if r.Runs == math.MaxInt || r.Runs == 0 {
		return Row{Key: key, MACs: s.macs, Bytes: s.bytes, Time: r.Time, Noisy: true}
	}
	a := slices.Clone(s.anchors)
	if r.Noisy {
		a = append(a, s.busy...)
	}
	slices.Sort(a)
	r.Anchor = quantile(a, 0.5)
	r.Interval = 1
	if r.Median > 0 {
		r.Interval = off / r.Median
	}
	return r
}
