package latency

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Work is one network whose kernels are wanted.
type Work struct {
	Name  string
	Graph *ir.Graph    // static
	In    []*ir.Tensor // what it is run on
}

// Options of a profile.
type Options struct {
	Target  backends.Target
	Compile backends.Options
	Facts   []Fact        // of Fingerprint
	CI      float64       // interval wanted of each median [0.03]
	Budget  time.Duration // of the whole profile [none]
	// Progress says how many kernels have their row.
	Progress func(done, total int)
}

// Result says what a profile did.
type Result struct {
	Rows     int `json:"rows"`     // in the table now
	Measured int `json:"measured"` // by this run
	Noisy    int `json:"noisy"`    // of the table's: measured without quiet
	Wide     int `json:"wide"`     // of this run's: the interval wanted was not met
}

// Limits of measuring one network.
const (
	minRuns     = 11                     // for a median with an interval
	maxRuns     = 3000                   // samples kept of a kernel
	modelBudget = 10 * time.Second       // where no budget is given
	roundTime   = 20 * time.Millisecond  // between two looks at the anchor
	warmTime    = 100 * time.Millisecond // before the first sample
	quietFactor = 1.10                   // of the fastest anchor: above it the machine is busy
)

// Profile measures the kernels of the networks that the table at path lacks.
// It goes on from path.partial or path; when ctx ends, what was measured stays
// in path.partial.
func Profile(ctx context.Context, path string, work []Work, o Options) (res *Result, err error) {
	if o.CI == 0 {
		o.CI = 0.03
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	wanted, err := wantedKeys(work, o)
	if err != nil {
		return nil, err
	}
	j, err := openJournal(path, o.Facts)
	if err != nil {
		return nil, err
	}
	res = &Result{}
	anchor, err := newAnchor(o.Target, o.Compile)
	if err != nil {
		_ = j.f.Close()
		return nil, err
	}
	defer anchor.close()
	total, begun := 0, time.Now()
	all := map[string]bool{}
	for _, ks := range wanted {
		for _, k := range ks {
			all[k] = true
		}
	}
	total = len(all)
	missing := func(ks []string) (out []string) {
		for _, k := range ks {
			if _, ok := j.table.Find(k); !ok {
				out = append(out, k)
			}
		}
		return out
	}
	for i, w := range work {
		todo := missing(wanted[i])
		if len(todo) == 0 {
			continue
		}
		limit := modelBudget
		if o.Budget > 0 {
			left := 0
			for _, ks := range wanted[i:] {
				left += len(missing(ks))
			}
			limit = (o.Budget - time.Since(begun)) * time.Duration(len(todo)) / time.Duration(max(left, 1))
		}
		m := &measure{o: o, anchor: anchor, want: todo, res: res, emit: func(r Row) error {
			res.Measured++
			if err := j.append(r); err != nil {
				return err
			}
			o.Progress(total-len(missing(keysOf(all))), total)
			return nil
		}}
		if err := m.run(ctx, w, limit); err != nil {
			_ = j.f.Close() // what is written stays for the next run
			return nil, err
		}
	}
	for _, r := range j.table.Rows {
		if r.Noisy {
			res.Noisy++
		}
	}
	res.Rows = len(j.table.Rows)
	return res, j.finish()
}

func keysOf(m map[string]bool) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

// planned compiles a network for a target whose plan can be timed.
func planned(g *ir.Graph, o Options) (backends.Planned, error) {
	e, err := o.Target.Compile(g, o.Compile)
	if err != nil {
		return nil, err
	}
	p, ok := e.(backends.Planned)
	if !ok {
		_ = e.Close()
		return nil, &diag.Error{Place: "target " + o.Target.Name(), Found: "it shows no steps of its own", Wanted: "cpu-int8 or cpu-f32"}
	}
	return p, nil
}

// wantedKeys lists each network's keys, each once.
func wantedKeys(work []Work, o Options) ([][]string, error) {
	out := make([][]string, len(work))
	for i, w := range work {
		p, err := planned(w.Graph, o)
		if err != nil {
			return nil, diag.At(w.Name, err)
		}
		for _, s := range p.Steps() {
			if k := Key(s); !slices.Contains(out[i], k) {
				out[i] = append(out[i], k)
			}
		}
		if err := p.Close(); err != nil {
			return nil, diag.At(w.Name, err)
		}
	}
	return out, nil
}

// measure times the steps of one network until each wanted key has its row.
type measure struct {
	o      Options
	anchor *anchor
	want   []string
	res    *Result
	emit   func(Row) error
}

// samples of one key in µs: a run's mean over the key's steps.
type samples struct {
	quiet, noisy []float64
	anchors      []float64
	done         bool
}

func (m *measure) run(ctx context.Context, w Work, limit time.Duration) error {
	p, err := planned(w.Graph, m.o)
	if err != nil {
		return diag.At(w.Name, err)
	}
	defer p.Close()
	steps := p.Steps()
	byKey := map[string][]int{}
	for i, s := range steps {
		k := Key(s)
		byKey[k] = append(byKey[k], i)
	}
	have := map[string]*samples{}
	for _, k := range m.want {
		have[k] = &samples{}
	}
	out, took := backends.NewOutputs(w.Graph), make([]time.Duration, len(steps))
	runs := func(d time.Duration, take func()) error {
		for start, first := time.Now(), true; first || time.Since(start) < d; first = false {
			clear(took)
			if err := p.RunTimed(ctx, w.In, out, took); err != nil {
				return err
			}
			take()
		}
		return nil
	}
	if err := runs(warmTime, func() {}); err != nil {
		return err
	}
	open := len(have)
	for begun := time.Now(); open > 0; {
		before, err := m.anchor.time(ctx)
		if err != nil {
			return err
		}
		var round []map[string]float64
		if err := runs(roundTime, func() {
			one := make(map[string]float64, len(have))
			for k := range have {
				sum := time.Duration(0)
				for _, i := range byKey[k] {
					sum += took[i]
				}
				one[k] = float64(sum.Nanoseconds()) / 1000 / float64(len(byKey[k]))
			}
			round = append(round, one)
		}); err != nil {
			return err
		}
		after, err := m.anchor.time(ctx)
		if err != nil {
			return err
		}
		quiet := max(before, after) <= quietFactor*m.anchor.best
		over := time.Since(begun) >= limit
		for _, k := range m.want {
			s := have[k]
			if s.done {
				continue
			}
			for _, one := range round {
				if quiet && len(s.quiet) < maxRuns {
					s.quiet = append(s.quiet, one[k])
				} else if !quiet && len(s.noisy) < maxRuns {
					s.noisy = append(s.noisy, one[k])
				}
			}
			s.anchors = append(s.anchors, before, after)
			r := s.row(k)
			if r.Noisy && !over || r.Runs < minRuns || !over && r.Interval > m.o.CI && len(s.quiet) < maxRuns {
				continue
			}
			if r.Interval > m.o.CI {
				m.res.Wide++
			}
			if err := m.emit(r); err != nil {
				return err
			}
			s.done = true
			open--
		}
	}
	return nil
}

// row sums up the samples: the quiet ones where there are enough, else all.
func (s *samples) row(key string) Row {
	x, noisy := slices.Clone(s.quiet), false
	if len(x) < minRuns {
		x, noisy = append(x, s.noisy...), true
	}
	r := Row{Key: key, Runs: len(x), Noisy: noisy, Time: time.Now()}
	if len(x) == 0 {
		return r
	}
	slices.Sort(x)
	a := slices.Clone(s.anchors)
	slices.Sort(a)
	r.Median, r.P10, r.P90, r.Anchor = quantile(x, 0.5), quantile(x, 0.1), quantile(x, 0.9), quantile(a, 0.5)
	lo, hi := medianInterval(x)
	r.Interval = 1
	if r.Median > 0 {
		r.Interval = (hi - lo) / 2 / r.Median
	}
	return r
}

// quantile interpolates in sorted x.
func quantile(x []float64, q float64) float64 {
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}

// medianInterval is the 95 % confidence interval of the median of sorted x, by
// ranks: no distribution is assumed.
func medianInterval(x []float64) (lo, hi float64) {
	n := float64(len(x))
	d := 0.98 * math.Sqrt(n)
	i, k := int(math.Floor(n/2-d)), int(math.Ceil(n/2+d))
	return x[max(i, 0)], x[min(k, len(x)-1)]
}

// anchor is a kernel of fixed work, timed between rounds: it shows when the
// clock drifts or a neighbour takes the machine.
type anchor struct {
	p    backends.Planned
	in   []*ir.Tensor
	out  []*ir.Tensor
	took []time.Duration
	best float64
}

func newAnchor(t backends.Target, o backends.Options) (*anchor, error) {
	b := ir.NewBuilder("anchor")
	w := ir.NewTensor(ir.F32, 256, 256)
	for i := range w.F32() {
		w.F32()[i] = float32(i%7) / 8
	}
	x := b.Input("x", ir.T(ir.F32, 32, 256))
	g, err := b.Graph(b.Op("dot", nil, x, b.Const("w", w)))
	if err != nil {
		return nil, err
	}
	p, err := planned(g, Options{Target: t, Compile: backends.Options{Threads: 1, ISA: o.ISA}})
	if err != nil {
		return nil, err
	}
	a := &anchor{p: p, in: []*ir.Tensor{ir.NewTensor(ir.F32, 32, 256)}, out: backends.NewOutputs(g), took: make([]time.Duration, len(p.Steps())), best: math.Inf(1)}
	for range 20 {
		if _, err := a.time(context.Background()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// time is the median of a few runs in µs.
func (a *anchor) time(ctx context.Context) (float64, error) {
	var x []float64
	for range 5 {
		clear(a.took)
		if err := a.p.RunTimed(ctx, a.in, a.out, a.took); err != nil {
			return 0, err
		}
		x = append(x, float64(a.took[0].Nanoseconds())/1000)
	}
	slices.Sort(x)
	a.best = min(a.best, x[2])
	return x[2], nil
}

func (a *anchor) close() { _ = a.p.Close() }
