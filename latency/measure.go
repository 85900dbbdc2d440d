package latency

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
)

// quantile interpolates in sorted x.
func quantile(x []float64, q float64) float64 {
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}

// median of x, which need not be sorted; NaN of none.
func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Clone(x)
	slices.Sort(x)
	return quantile(x, 0.5)
}

// medianInterval is the 95 % confidence interval of the median of sorted x, by
// ranks: no distribution is assumed.
func medianInterval(x []float64) (lo, hi float64) {
	n := float64(len(x))
	d := 0.98 * math.Sqrt(n)
	i, k := int(math.Floor(n/2-d)), int(math.Ceil(n/2+d))
	return x[max(i, 0)], x[min(k, len(x)-1)]
}

// clock is what reading the time costs and how fine it is: a timed step holds
// one reading.
type clock struct {
	cost time.Duration
	tick float64 // µs
}

func newClock() clock {
	var d []float64
	least := math.Inf(1)
	last := time.Now()
	for range 2000 {
		now := time.Now()
		t := float64(now.Sub(last).Nanoseconds())
		last = now
		d = append(d, t)
		if t > 0 {
			least = min(least, t)
		}
	}
	cost := median(d)
	tick := 0.001
	if cost == 0 { // readings within one tick
		tick = least / 1000
	}
	return clock{cost: time.Duration(cost), tick: tick}
}

// anchor is a kernel of fixed work for each thread, timed between rounds: it
// shows when the clock drifts or a neighbour takes the machine, one core of it at
// least.
type anchor struct {
	p    backends.Planned
	in   []*ir.Tensor
	out  []*ir.Tensor
	took []time.Duration
	past []float64 // sorted
	// known is its time in quiet as others saw it; 0: not known.
	known float64
}

func newAnchor(t backends.Target, o backends.Options) (*anchor, error) {
	b := ir.NewBuilder("anchor")
	w := ir.NewTensor(ir.F32, 256, 256)
	for i := range w.F32() {
		w.F32()[i] = float32(i%7) / 8
	}
	rows := 32 * max(1, o.Threads)
	x := b.Input("x", ir.T(ir.F32, rows, 256))
	g, err := b.Graph(b.Op("dot", nil, x, b.Const("w", w)))
	if err != nil {
		return nil, err
	}
	p, err := planned(g, Options{Target: t, Compile: backends.Options{Threads: max(1, o.Threads), ISA: o.ISA}})
	if err != nil {
		return nil, err
	}
	a := &anchor{p: p, in: []*ir.Tensor{ir.NewTensor(ir.F32, rows, 256)}, out: backends.NewOutputs(g), took: make([]time.Duration, len(p.Steps()))}
	for start, n := time.Now(), 0; n < 20 || time.Since(start) < warmTime; n++ {
		if _, err := a.time(context.Background()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// time is the median of a few runs in µs.
func (a *anchor) time(ctx context.Context) (float64, error) {
	var x [5]float64
	for i := range x {
		clear(a.took)
		if err := a.p.RunTimed(ctx, a.in, a.out, a.took); err != nil {
			return 0, err
		}
		x[i] = float64(a.took[0].Nanoseconds()) / 1000
	}
	slices.Sort(x[:])
	at, _ := slices.BinarySearch(a.past, x[2])
	a.past = slices.Insert(a.past, at, x[2])
	return x[2], nil
}

// usual is the anchor's time in quiet: the middle of the times up to limit. To
// the lowest rows are not brought: no run of a network meets the machine at its
// best clock alone.
func (a *anchor) usual() float64 {
	if a.sawNone() {
		return a.known
	}
	n, _ := slices.BinarySearch(a.past, a.limit())
	return quantile(a.past[:max(n, 1)], 0.5)
}

// limit is the anchor's time up to which the machine is taken to be quiet. The
// clock goes up and down by some percent with what the whole host does; a
// neighbour on the other half of the core takes a fifth at least.
func (a *anchor) limit() float64 {
	if a.sawNone() {
		return quietFactor * a.known
	}
	return quietFactor * a.low()
}

// low is the anchor's time in quiet at the best clock: the lowest, but for a few.
func (a *anchor) low() float64 {
	return a.past[min(max(lowest, len(a.past)/50), len(a.past)-1)]
}

// sawNone says that this process has seen no quiet yet.
func (a *anchor) sawNone() bool {
	return a.known > 0 && a.low() > quietFactor*a.known && a.low() < otherFactor*a.known
}

// lowest is how many times are below those that count as low, at least.
const lowest = 2

// otherFactor is how much slower than known the anchor is only on another
// machine, or at another clock: what is known says nothing then.
const otherFactor = 2

// wait looks until the machine is quiet, for a while: a neighbour on the other
// half of a core comes and goes within milliseconds. look is the last one.
func (a *anchor) wait(ctx context.Context, look float64) (float64, error) {
	for start := time.Now(); look > a.limit() && time.Since(start) < waitTime; {
		time.Sleep(waitStep)
		var err error
		if look, err = a.time(ctx); err != nil {
			return 0, err
		}
	}
	return look, nil
}

// waitTime is how long a look waits for quiet, and waitStep between two.
const waitTime, waitStep = 30 * time.Millisecond, 200 * time.Microsecond

func (a *anchor) close() { _ = a.p.Close() }
