package latency

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Work is one network whose kernels are wanted.
type Work struct {
	Name  string       // unique among the table's networks
	Graph *ir.Graph    // static
	In    []*ir.Tensor // what it is run on
}

// Source gives the networks of a profile one after another.
type Source interface {
	// Len is how many there are; it may grow less while they are taken.
	Len() int
	// At makes network i.
	At(i int) (Work, error)
	// Name tells network i's name without making it.
	Name(i int) string
}

// List is a source of networks that are at hand.
type List []Work

// Len is the number of networks.
func (l List) Len() int { return len(l) }

// At gives network i.
func (l List) At(i int) (Work, error) { return l[i], nil }

// Name is network i's.
func (l List) Name(i int) string { return l[i].Name }

// Options of a profile.
type Options struct {
	Target  backends.Target
	Compile backends.Options
	Facts   []Fact        // of Fingerprint
	CI      float64       // interval wanted of each median [0.03]
	Budget  time.Duration // of the whole profile [none]
	// Progress says how much is done, in thousandths.
	Progress func(done, total int)
}

// Result says what a profile did.
type Result struct {
	Rows     int `json:"rows"`     // in the table now
	Networks int `json:"networks"` // in the table now
	Measured int `json:"measured"` // rows by this run
	Noisy    int `json:"noisy"`    // of the table's: measured without quiet
	Wide     int `json:"wide"`     // of this run's: the interval wanted was not met
	Left     int `json:"left"`     // networks that the budget left out
	Outliers int `json:"outliers"` // of this run's samples
}

// Limits of measuring one network.
const (
	minRuns     = 11                     // for a median with an interval
	maxRuns     = 3000                   // samples kept of a kernel
	netBudget   = 10 * time.Second       // where no budget is given
	leastBudget = 150 * time.Millisecond // where one is: enough for a short network
	roundTime   = 20 * time.Millisecond  // between two looks at the anchor
	warmTime    = 50 * time.Millisecond  // before the first sample
	patience    = 2 * time.Second        // waited for quiet
	quietFactor = 1.10                   // of the anchor's usual time: above it the machine is busy
)

// Profile measures the kernels of the networks that the table at path lacks,
// and the networks as a whole. It goes on from path.partial or path; when ctx
// ends, what was measured stays in path.partial.
func Profile(ctx context.Context, path string, src Source, o Options) (res *Result, err error) {
	if o.CI == 0 {
		o.CI = 0.03
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	j, err := openJournal(path, o.Facts)
	if err != nil {
		return nil, err
	}
	res = &Result{}
	defer Pin(o.Compile.Threads)()
	crowd := newCrowd(runtime.NumCPU(), max(1, o.Compile.Threads))
	still := o.Target
	if isolated(still) { // whose own runs vary more than the clock does
		still = cpu.F32()
	}
	anchor, err := newAnchor(still, o.Compile)
	if err != nil {
		_ = j.f.Close()
		return nil, err
	}
	defer anchor.close()
	var hand *handover
	if isolated(o.Target) {
		h, err := newHandover(ctx, o)
		if err != nil {
			_ = j.f.Close()
			return nil, err
		}
		hand = &h
	}
	begun := time.Now()
	clock := newClock()
	hold := newPending(j, res, o.CI, src.Len())
	if isolated(o.Target) {
		hold.wait = 1 // alone a block is in no other network
	}
	for i := range src.Len() {
		if o.Budget > 0 && time.Since(begun) > o.Budget {
			res.Left = src.Len() - i
			break
		}
		if j.table.whole[src.Name(i)] {
			continue // with all its kernels
		}
		limit := netBudget
		started := time.Now()
		w, err := src.At(i)
		if err == nil {
			if o.Budget > 0 { // making the others will take as long as making this one
				left := time.Duration(src.Len() - i)
				limit = max(leastBudget, (o.Budget-time.Since(begun))/left-time.Since(started))
			}
			m := &measure{o: o, anchor: anchor, crowd: crowd, handover: hand, clock: clock, j: j, hold: hold, progress: func(part float64) {
				o.Progress(int(1000*(float64(i)+part)/float64(src.Len())), 1000)
			}}
			if isolated(o.Target) {
				err = m.runIsolated(ctx, w, limit)
			} else {
				err = m.run(ctx, w, limit)
			}
		}
		if err != nil {
			return nil, errors.Join(err, hold.flush(), j.f.Close()) // what is written stays for the next run
		}
	}
	o.Progress(1000, 1000)
	if err := hold.flush(); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	for _, r := range j.table.Rows {
		if r.Noisy {
			res.Noisy++
		}
	}
	res.Rows, res.Networks = len(j.table.Rows), len(j.table.Nets)
	return res, j.finish()
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
		return nil, &diag.Error{Place: "target " + o.Target.Name(), Found: "it shows no steps of its own", Wanted: "cpu-int8 or cpu-f32, or xla-cpu, which is taken by blocks"}
	}
	return p, nil
}

// measure times the steps of one network until each kernel that the table
// lacks has its row, and its runs as a whole.
type measure struct {
	o        Options
	anchor   *anchor
	crowd    *crowd
	handover *handover // of targets that are measured by blocks
	clock    clock
	j        *journal
	hold     *pending
	progress func(part float64)
}

// wholeRun is the key of whole runs among the samples.
const wholeRun = ""

func (m *measure) run(ctx context.Context, w Work, limit time.Duration) error {
	p, err := planned(w.Graph, m.o)
	if err != nil {
		return diag.At(w.Name, err)
	}
	defer p.Close()
	steps := p.Steps()
	byKey, order := map[string][]int{}, []string{}
	have := map[string]*samples{wholeRun: {}}
	for i, s := range steps {
		k := Key(s)
		if byKey[k] == nil {
			order = append(order, k)
			have[k] = &samples{macs: s.MACs, bytes: s.Bytes}
		}
		byKey[k] = append(byKey[k], i)
		have[wholeRun].macs, have[wholeRun].bytes = have[wholeRun].macs+s.MACs, have[wholeRun].bytes+s.Bytes
	}
	var want []string
	for _, k := range order {
		if _, ok := m.j.table.Find(k); !ok {
			want = append(want, k)
		}
	}
	want = append(want, wholeRun) // the last: its row stands for those of all its kernels
	out, took := backends.NewOutputs(w.Graph), make([]time.Duration, len(steps))
	threads := m.o.Compile.Threads
	timed := func() (map[string]float64, error) {
		clear(took)
		if err := p.RunTimed(ctx, w.In, out, took); err != nil {
			return nil, err
		}
		one := make(map[string]float64, len(have))
		for _, k := range order {
			sum := time.Duration(0)
			for _, i := range byKey[k] {
				sum += max(took[i]-m.clock.cost, 0)
			}
			one[k] = float64(sum.Nanoseconds()) / 1000 / float64(len(byKey[k]))
		}
		return one, nil
	}
	whole := func() (map[string]float64, error) {
		cpu, _ := CPUTime()
		taken := Switches(threads)
		start := time.Now()
		err := p.Run(ctx, w.In, out)
		d := time.Since(start)
		if Switches(threads) != taken && threads <= 1 { // one thread's own time is what the run would have taken
			if now, ok := CPUTime(); ok {
				d = min(d, now-cpu)
			}
		}
		return map[string]float64{wholeRun: float64((d - m.clock.cost).Nanoseconds()) / 1000}, err
	}
	for start, n := time.Now(), 0; n < 2 || time.Since(start) < warmTime; n++ {
		if _, err := timed(); err != nil {
			return err
		}
	}
	open := len(want)
	lastQuiet := time.Now()
	for begun := time.Now(); open > 0; {
		before, err := m.anchor.time(ctx)
		if err != nil {
			return err
		}
		var round, broken []map[string]float64 // broken: the system gave the CPU to others meanwhile
		for start, n := time.Now(), 0; n < 2 || time.Since(start) < roundTime; n++ {
			f := timed
			if n%2 == 1 {
				f = whole
			}
			taken := Switches(threads)
			one, err := f()
			if err != nil {
				return err
			}
			if Switches(threads) == taken {
				round = append(round, one)
			} else {
				broken = append(broken, one)
			}
		}
		after, err := m.anchor.time(ctx)
		if err != nil {
			return err
		}
		usual := m.anchor.usual()
		quiet := max(before, after) <= quietFactor*usual && !m.crowd.crowded()
		if quiet {
			lastQuiet = time.Now()
		}
		over := time.Since(begun) >= limit || time.Since(lastQuiet) > patience // then with what there is
		for k, s := range have {
			s.add(round, k, quiet, usual/((before+after)/2))
			// One step of a broken run is longer, which a median bears; the run is.
			s.add(broken, k, quiet && k != wholeRun, usual/((before+after)/2))
			s.anchors = append(s.anchors, before, after)
		}
		for _, k := range want {
			s := have[k]
			if s.done {
				continue
			}
			r := s.row(k, m.clock)
			if r.Runs < minRuns || r.Noisy && !over || !over && r.Interval > m.o.CI && len(s.quiet) < maxRuns {
				continue
			}
			if k == wholeRun && open > 1 {
				continue
			}
			if k == wholeRun {
				err = m.network(r, w.Name, order, byKey, have)
			} else {
				err = m.hold.kernel(r)
			}
			if err != nil {
				return err
			}
			s.done = true
			open--
		}
		m.progress(max(float64(len(want)-open)/float64(len(want)), min(1, time.Since(begun).Seconds()/limit.Seconds())))
	}
	return nil
}

// network hands on a network's row, and what each of its kernels took in it.
func (m *measure) network(r Row, name string, order []string, byKey map[string][]int, have map[string]*samples) error {
	n := pendingNet{row: r, name: name}
	for _, k := range order {
		n.kernels = append(n.kernels, pendingUse{k, Use{N: len(byKey[k]), Time: have[k].row(k, m.clock).Median}})
	}
	m.hold.nets = append(m.hold.nets, n)
	return m.hold.network()
}

// samples of one key in µs: a run's mean over the key's steps.
type samples struct {
	quiet, noisy []float64
	anchors      []float64
	macs, bytes  int64
	done         bool
}

// add takes the key's samples of a round. Small drifts of the clock are
// corrected by the anchor's; those of a busy round are kept apart.
func (s *samples) add(round []map[string]float64, key string, quiet bool, drift float64) {
	for _, one := range round {
		t, ok := one[key]
		switch {
		case !ok:
		case quiet && len(s.quiet) < maxRuns:
			s.quiet = append(s.quiet, t*max(drift, 1/quietFactor))
		case !quiet && len(s.noisy) < maxRuns:
			s.noisy = append(s.noisy, t)
		}
	}
}

// row sums up the samples: the quiet ones where there are enough, else all.
func (s *samples) row(key string, c clock) Row {
	x, noisy := slices.Clone(s.quiet), false
	if len(x) < minRuns {
		x, noisy = append(x, s.noisy...), true
	}
	r := Row{Key: key, Runs: len(x), MACs: s.macs, Bytes: s.bytes, Noisy: noisy, Time: time.Now()}
	if len(x) == 0 {
		return r
	}
	slices.Sort(x)
	a := slices.Clone(s.anchors)
	slices.Sort(a)
	r.Median, r.P10, r.P90, r.Anchor = quantile(x, 0.5), quantile(x, 0.1), quantile(x, 0.9), quantile(a, 0.5)
	q1, q3 := quantile(x, 0.25), quantile(x, 0.75)
	for _, t := range x {
		if t > q3+3*(q3-q1) {
			r.Outliers++
		}
	}
	lo, hi := medianInterval(x)
	r.Interval = 1
	if r.Median > 0 { // no better than a tick of the clock
		r.Interval = max((hi-lo)/2, c.tick/4) / r.Median
	}
	return r
}
