package quant

import (
	"fmt"
	"math"
)

// histogramBins bounds an observer's memory: 4096 counters.
const histogramBins = 4096

// Observer watches a tensor over any number of batches in bounded memory:
// extremes, the moving average of the batches' extremes, and a histogram that
// widens. Bins are 2^exp wide and start at multiples of their width, so the
// histogram depends neither on the order of the batches nor on how observers
// are merged.
type Observer struct {
	Min, Max  float64 // of all finite values; 0, 0 before the first
	Count     int64   // finite values seen
	NonFinite int64   // NaN and infinite values seen

	avgMin, avgMax float64
	batches        int64

	exp  int   // bins are 2^exp wide
	base int64 // bins[i] counts values in [(base+i)·2^exp, (base+i+1)·2^exp)
	bins []int64
}

// averagingConstant is the weight of one batch in the moving average once a
// hundred have been seen; before that the average is the plain mean.
const averagingConstant = 0.01

// Add watches one batch.
func (o *Observer) Add(x []float32) {
	lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
	bad := int64(0)
	for _, v := range x {
		if v-v != 0 {
			bad++
			continue
		}
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	o.NonFinite += bad
	if lo > hi {
		return
	}
	o.widen(float64(lo), float64(hi))
	o.batches++
	c := max(averagingConstant, 1/float64(o.batches))
	o.avgMin += c * (float64(lo) - o.avgMin)
	o.avgMax += c * (float64(hi) - o.avgMax)
	o.Count += int64(len(x)) - bad
	inv := math.Ldexp(1, -o.exp)
	off := -float64(o.base)
	for _, v := range x {
		if v-v != 0 {
			continue
		}
		// The sum is in [0, bins): truncation is floor.
		o.bins[int(math.Floor(float64(v)*inv)+off)]++
	}
}

// widen makes the histogram cover [lo, hi] and updates the extremes.
func (o *Observer) widen(lo, hi float64) {
	if o.bins == nil {
		o.bins = make([]int64, histogramBins)
		o.Min, o.Max = lo, hi
		o.exp = -126
		if m := max(math.Abs(lo), math.Abs(hi)); m > 0 {
			_, e := math.Frexp(hi - lo)
			// Indices must stay exact integers of float64.
			_, em := math.Frexp(m)
			o.exp = max(e-14, em-40, -126)
		}
		for !o.fits(lo, hi) {
			o.exp++
		}
		o.base = o.start(lo, hi)
		return
	}
	o.Min, o.Max = min(o.Min, lo), max(o.Max, hi)
	exp := o.exp
	for !o.fits(o.Min, o.Max) {
		o.exp++
	}
	o.rebin(exp)
}

func (o *Observer) index(v float64) int64 { return int64(math.Floor(math.Ldexp(v, -o.exp))) }

// fits says whether the bins take the range, with indices that are exact: bins
// of what was all zeros at first are far too narrow for more.
func (o *Observer) fits(lo, hi float64) bool {
	a, b := math.Floor(math.Ldexp(lo, -o.exp)), math.Floor(math.Ldexp(hi, -o.exp))
	return b-a < histogramBins && max(-a, b) < 1<<52
}

// start centres the range in the bins, so that it may grow to both sides.
func (o *Observer) start(lo, hi float64) int64 {
	a, b := o.index(lo), o.index(hi)
	return a - (histogramBins-1-(b-a))/2
}

// rebin moves the counts from bins of 2^from to those of the present width.
func (o *Observer) rebin(from int) {
	base := o.start(o.Min, o.Max)
	shift := uint(o.exp - from)
	if shift == 0 && o.index(o.Min) >= o.base && o.index(o.Max) < o.base+histogramBins {
		return
	}
	bins := make([]int64, histogramBins)
	for i, c := range o.bins {
		if c != 0 {
			bins[((o.base+int64(i))>>shift)-base] += c
		}
	}
	o.bins, o.base = bins, base
}

// Merge adds what p has seen. The moving averages are weighted by the number
// of batches.
func (o *Observer) Merge(p *Observer) {
	o.NonFinite += p.NonFinite
	if p.bins == nil {
		return
	}
	if o.bins == nil {
		bad := o.NonFinite
		*o = *p
		o.NonFinite = bad
		o.bins = append([]int64(nil), p.bins...)
		return
	}
	q := *p
	exp := o.exp
	o.Min, o.Max = min(o.Min, q.Min), max(o.Max, q.Max)
	o.exp = max(o.exp, q.exp)
	for !o.fits(o.Min, o.Max) {
		o.exp++
	}
	o.rebin(exp)
	exp = q.exp
	q.Min, q.Max, q.exp = o.Min, o.Max, o.exp
	q.rebin(exp)
	for i, c := range q.bins {
		if c != 0 {
			o.bins[q.base+int64(i)-o.base] += c
		}
	}
	n := o.batches + q.batches
	o.avgMin += (q.avgMin - o.avgMin) * float64(q.batches) / float64(n)
	o.avgMax += (q.avgMax - o.avgMax) * float64(q.batches) / float64(n)
	o.batches = n
	o.Count += q.Count
}

// Each calls f with the centre and the count of every bin that is not empty,
// in rising order. Centres are moved inside [Min, Max].
func (o *Observer) Each(f func(x float64, count int64)) {
	w := math.Ldexp(1, o.exp)
	for i, c := range o.bins {
		if c != 0 {
			f(min(max((float64(o.base+int64(i))+0.5)*w, o.Min), o.Max), c)
		}
	}
}

// Method names a way to choose a tensor's range.
type Method string

// The calibration methods. All of them read the same Observer.
const (
	MinMax        Method = "minmax"     // the extremes
	MovingAverage Method = "average"    // the moving average of the batches' extremes
	Percentile    Method = "percentile" // 99.99 % of the values
	Entropy       Method = "entropy"    // least Kullback-Leibler divergence
	MSE           Method = "mse"        // least mean squared error
)

// Methods lists them for messages.
var Methods = []Method{MinMax, MovingAverage, Percentile, Entropy, MSE}

// ParseMethod checks a name.
func ParseMethod(s string) (Method, error) {
	for _, m := range Methods {
		if s == string(m) {
			return m, nil
		}
	}
	return "", fmt.Errorf("calibration method %q; wanted one of %q", s, Methods)
}

// percentileShare is the share of values that Percentile keeps.
const percentileShare = 0.9999

// Range chooses the interval of real numbers that the 8-bit numbers cover; it
// contains 0.
func (o *Observer) Range(m Method) (lo, hi float64) {
	if o.Count == 0 {
		return 0, 0
	}
	lo, hi = o.Min, o.Max
	switch m {
	case MovingAverage:
		lo, hi = o.avgMin, o.avgMax
	case Percentile:
		lo, hi = o.percentile(percentileShare)
	case Entropy:
		lo, hi = o.entropy()
	case MSE:
		return o.MSERange(nil)
	}
	return min(lo, 0), max(hi, 0)
}

// percentile cuts (1−share)/2 of the values from each end, or (1−share) from
// the one end where all values have one sign.
func (o *Observer) percentile(share float64) (lo, hi float64) {
	cut := (1 - share) * float64(o.Count)
	cutLo, cutHi := cut/2, cut/2
	if o.Min >= 0 {
		cutLo, cutHi = 0, cut
	} else if o.Max <= 0 {
		cutLo, cutHi = cut, 0
	}
	lo, hi = o.Min, o.Max
	var below float64
	foundLo := false
	total := float64(o.Count)
	o.Each(func(x float64, c int64) {
		if !foundLo && below+float64(c) > cutLo {
			lo, foundLo = x, true
			if cutLo == 0 {
				lo = o.Min
			}
		}
		if below < total-cutHi {
			hi = x
		}
		below += float64(c)
	})
	if cutHi == 0 {
		hi = o.Max
	}
	return lo, max(lo, hi)
}

// entropy tries cuts of the range, both ends shrunk alike, and takes the one
// where the clipped distribution and its 256-level form diverge least
// (Migacz, "8-bit inference with TensorRT", 2017).
func (o *Observer) entropy() (lo, hi float64) {
	type bin struct {
		x float64
		n float64
	}
	var bins []bin
	o.Each(func(x float64, c int64) { bins = append(bins, bin{x, float64(c)}) })
	fullLo, fullHi := min(o.Min, 0), max(o.Max, 0)
	if len(bins) < 2 {
		return fullLo, fullHi
	}
	best := math.Inf(1)
	lo, hi = fullLo, fullHi
	sums := make([]float64, 256)
	nonzero := make([]float64, 256)
	p := make([]float64, len(bins))
	for step := 100; step >= 20; step-- {
		r := float64(step) / 100
		a, b := fullLo*r, fullHi*r
		q := Affine(a, b, U8)
		clear(sums)
		clear(nonzero)
		first, last := -1, -1
		outLo, outHi := 0.0, 0.0
		for i, e := range bins {
			p[i] = 0
			switch {
			case e.x < a:
				outLo += e.n
			case e.x > b:
				outHi += e.n
			default:
				if first < 0 {
					first = i
				}
				last = i
				p[i] = e.n
				k := q.Quantize(e.x)
				sums[k] += e.n
				nonzero[k]++
			}
		}
		if first < 0 {
			break
		}
		p[first] += outLo
		p[last] += outHi
		inside := 0.0
		for _, s := range sums {
			inside += s
		}
		kl := 0.0
		for i := first; i <= last; i++ {
			if p[i] == 0 {
				continue
			}
			k := q.Quantize(bins[i].x)
			qi := sums[k] / nonzero[k] / inside
			pi := p[i] / float64(o.Count)
			kl += pi * math.Log(pi/qi)
		}
		if kl < best {
			best, lo, hi = kl, a, b
		}
	}
	return lo, hi
}

// MSERange gives the range of least mean squared error of f(x) after x has
// been quantized to 256 levels; f nil is the identity. A quantized tensor that
// only feeds a table of f is best quantized for f's sake.
func (o *Observer) MSERange(f Func) (lo, hi float64) {
	fullLo, fullHi := min(o.Min, 0), max(o.Max, 0)
	if o.Count == 0 || fullLo == fullHi {
		return fullLo, fullHi
	}
	if f == nil {
		f = Identity
	}
	var xs, ns []float64
	o.Each(func(x float64, c int64) { xs, ns = append(xs, x), append(ns, float64(c)) })
	ys := f(xs)
	cost := func(rl, rh float64) float64 {
		q := Affine(fullLo*rl, fullHi*rh, U8)
		level := f(q.levels())
		s := float64(q.Scale)
		e := 0.0
		for i, x := range xs {
			k := min(max(math.RoundToEven(x/s)+float64(q.Zero), 0), 255)
			d := ys[i] - level[int(k)]
			e += ns[i] * d * d
		}
		return e
	}
	rl, rh := 1.0, 1.0
	best := cost(1, 1)
	for round := 0; round < 3; round++ {
		changed := false
		for step := 100; step >= 5; step -= 2 {
			r := float64(step) / 100
			if fullHi > 0 {
				if c := cost(rl, r); c < best {
					best, rh, changed = c, r, true
				}
			}
			if fullLo < 0 {
				if c := cost(r, rh); c < best {
					best, rl, changed = c, r, true
				}
			}
			if fullLo < 0 && fullHi > 0 {
				if c := cost(r, r); c < best {
					best, rl, rh, changed = c, r, r, true
				}
			}
		}
		if !changed {
			break
		}
	}
	return fullLo * rl, fullHi * rh
}
