package latency

import (
	"context"
	"errors"
	"runtime"
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
	// Len is how many there are.
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
	// Waiting is told once where another process measures into the table.
	Waiting func()
}

// Result says what a profile did.
type Result struct {
	Rows     int `json:"rows"`     // in the table now
	Networks int `json:"networks"` // in the table now
	Measured int `json:"measured"` // rows by this run
	Noisy    int `json:"noisy"`    // of the table's rows: measured without quiet alone
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
	roundTime   = 3 * time.Millisecond   // between two looks at the anchor
	warmTime    = 50 * time.Millisecond  // before the first sample
	patience    = 2 * time.Second        // waited for quiet
	quietFactor = 1.14                   // of the anchor's low time: above it the machine is busy
)

// Profile measures the kernels of the networks that the table at path lacks,
// and the networks as a whole. It goes on from path.partial or path; when ctx
// ends, what was measured stays in path.partial. One process at a time measures
// into a table: another one waits.
func Profile(ctx context.Context, path string, src Source, o Options) (res *Result, err error) {
	if o.CI == 0 {
		o.CI = 0.03
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	j, err := openJournal(ctx, path, o.Facts, o.Waiting)
	if err != nil {
		return nil, err
	}
	res = &Result{}
	crowd := newCrowd(runtime.NumCPU(), max(1, o.Compile.Threads))
	defer Pin(o.Compile.Threads)()
	still := o.Target
	if isolated(still) { // whose own runs vary more than the clock does
		still = cpu.F32()
	}
	anchor, err := newAnchor(still, o.Compile)
	if err != nil {
		return nil, errors.Join(err, j.stop())
	}
	defer anchor.close()
	anchor.known = j.table.Pace() // legs of a table are measured at one speed
	begun := time.Now()
	clock := newClock()
	hold := newPending(j, res, o.CI, src.Len())
	if isolated(o.Target) {
		hold.wait = 1 // alone a block is in no other network
	}
	m := &measure{o: o, anchor: anchor, crowd: crowd, clock: clock, j: j, hold: hold}
	if isolated(o.Target) {
		if m.empty, err = m.emptyRun(ctx); err != nil {
			return nil, errors.Join(err, j.stop())
		}
	}
	most := 0.0
	m.progress = func(done float64) {
		most = max(most, done/float64(src.Len())) // what is measured again was done once
		share := most
		if o.Budget > 0 { // which ends it, whatever is left
			share = max(share, time.Since(begun).Seconds()/o.Budget.Seconds())
		}
		o.Progress(int(1000*min(share, 1)), 1000)
	}
	if err := m.inTurns(ctx, src, begun); err != nil {
		return nil, errors.Join(err, hold.flush(), j.stop()) // what is written stays for the next run
	}
	o.Progress(1000, 1000)
	if err := hold.flush(); err != nil {
		return nil, errors.Join(err, j.stop())
	}
	for _, noisy := range j.table.compacted().Unquiet() {
		if noisy {
			res.Noisy++
		}
	}
	res.Rows, res.Networks = len(j.table.Rows), len(j.table.whole)
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

// measure times networks until each kernel that the table lacks has its row.
type measure struct {
	o        Options
	anchor   *anchor
	crowd    *crowd
	clock    clock
	j        *journal
	hold     *pending
	progress func(done float64) // networks
	again    bool               // the networks met no quiet before
	order    *order

	// Of targets that are measured by blocks:
	empty float64         // a run that does nothing, as a multiple of the anchor's time
	begun map[string]bool // keys of the blocks that networks of this turn measure
}

// wholeRun is the key of whole runs among the samples.
const wholeRun = ""

// A profile of many networks measures some together, in turns: a neighbour's
// burst of work that the anchor does not show lasts about a second, and spoils
// one visit to a network, not the middle of them. What is open of the networks
// of one turn is lost to a kill, so profiles of few take them one by one.
const (
	turnNets   = 24
	turnsFrom  = 8       // networks of a profile
	turnBytes  = 1 << 30 // that their runs touch
	turnVisits = 5
)

func (m *measure) inTurns(ctx context.Context, src Source, begun time.Time) error {
	left, err := m.all(ctx, src, begun)
	if err != nil {
		return err
	}
	m.hold.res.Left = left
	if left > 0 || isolated(m.o.Target) {
		return nil
	}
	if err := m.hold.flush(); err != nil {
		return err
	}
	m.again = true
	_, err = m.all(ctx, m.j.table.loud(src), begun)
	return err
}

// all measures the networks of a source until the budget ends; left is how many
// it leaves out.
func (m *measure) all(ctx context.Context, src Source, begun time.Time) (left int, err error) {
	m.order = newOrder(src, isolated(m.o.Target) && m.o.Budget > 0)
	for i := 0; i < src.Len(); {
		if m.o.Budget > 0 && time.Since(begun) > m.o.Budget {
			return src.Len() - i, nil
		}
		next, err := m.turn(ctx, src, i, begun)
		if err != nil {
			return 0, err
		}
		i = next
	}
	return 0, nil
}

// turn measures some networks from the given one on; next is the one after them.
func (m *measure) turn(ctx context.Context, src Source, first int, begun time.Time) (next int, err error) {
	most, visits := turnNets, turnVisits
	if isolated(m.o.Target) {
		most, visits = isolatedTurn, isolatedVisits
	}
	if src.Len() < turnsFrom {
		most, visits = 1, 1
	}
	m.begun = map[string]bool{}
	var turn []visited
	defer func() {
		for _, s := range turn {
			if err != nil {
				err = errors.Join(err, s.salvage())
			}
			err = errors.Join(err, s.close())
		}
	}()
	started, bytes, i := time.Now(), int64(0), first
	needs := time.Duration(0) // of those of the turn
	for ; i < src.Len() && len(turn) < most && bytes < turnBytes; i++ {
		if m.o.Budget > 0 && len(turn) > 0 && time.Since(begun)+needs > m.o.Budget {
			break
		}
		k := m.order.next()
		if m.j.table.whole[src.Name(k)] && !m.again || m.hold.has(src.Name(k)) {
			continue // with all its kernels
		}
		making := time.Now()
		w, err := src.At(k)
		if err != nil {
			return i, err
		}
		var s visited
		if isolated(m.o.Target) {
			s, err = m.beginIsolated(w)
		} else {
			s, err = m.begin(ctx, w)
		}
		if err != nil {
			return i, err
		}
		m.order.took(k, time.Since(making))
		if m.o.Budget > 0 && len(turn) > 0 && time.Since(begun)+needs+s.needs() > m.o.Budget { // too slow a network for what is left
			m.order.back(k)
			if err := s.close(); err != nil {
				return i, err
			}
			break
		}
		turn, bytes, needs = append(turn, s), bytes+s.size(), needs+s.needs()
		m.progress(float64(first) + 0.2*float64(len(turn)))
	}
	limit := netBudget
	if m.o.Budget > 0 && len(turn) > 0 { // the others will take as long to make
		left := time.Duration(src.Len() - first)
		limit = max(leastBudget, (m.o.Budget-started.Sub(begun))/left-time.Since(started)/time.Duration(len(turn)))
	}
	for v := range visits {
		for k, s := range turn {
			if err := s.visit(ctx, limit, visits, v == visits-1); err != nil {
				return i, err
			}
			m.progress(float64(first) + float64(i-first)*(0.2+0.8*float64(v*len(turn)+k+1)/float64(visits*len(turn))))
		}
	}
	return i, nil
}

// visited is a network that is being measured, visit by visit.
type visited interface {
	// visit measures for a share of the limit; the last one hands on the rows.
	visit(ctx context.Context, limit time.Duration, visits int, last bool) error
	// salvage hands on what was measured enough when the profile ends early.
	salvage() error
	close() error
	// size is the bytes that a run touches.
	size() int64
	// needs is the time that it is measured for at least.
	needs() time.Duration
}

// session is a network that is being measured.
type session struct {
	*measure
	name   string
	p      backends.Planned
	in     []*ir.Tensor
	out    []*ir.Tensor
	took   []time.Duration
	byKey  map[string][]int // steps
	order  []string         // of the keys
	have   map[string]*samples
	want   []string
	open   int
	rounds int
	run    time.Duration // the mean of those that warm up
	first  []int         // steps with which pieces begin
}

// begin makes a network ready.
func (m *measure) begin(ctx context.Context, w Work) (*session, error) {
	p, err := planned(w.Graph, m.o)
	if err != nil {
		return nil, diag.At(w.Name, err)
	}
	steps := p.Steps()
	s := &session{
		measure: m, name: w.Name, p: p, in: w.In, out: backends.NewOutputs(w.Graph), took: make([]time.Duration, len(steps)),
		byKey: map[string][]int{}, have: map[string]*samples{wholeRun: {}},
	}
	all := s.have[wholeRun]
	for i, step := range steps {
		k := Key(step)
		if s.byKey[k] == nil {
			s.order = append(s.order, k)
			s.have[k] = &samples{macs: step.MACs, bytes: step.Bytes}
		}
		s.byKey[k] = append(s.byKey[k], i)
		all.macs, all.bytes = all.macs+step.MACs, all.bytes+step.Bytes
	}
	for _, k := range s.order {
		if _, ok := m.j.table.Find(k); !ok {
			s.want = append(s.want, k)
		}
	}
	s.want = append(s.want, wholeRun) // the last: its row stands for those of all its kernels
	s.open = len(s.want)
	for start, n := time.Now(), 0; n < 2 || time.Since(start) < warmTime/2; n++ {
		if _, err := s.timed(ctx); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		s.run = time.Since(start) / time.Duration(n+1)
	}
	s.cut(Pieces(s.took))
	return s, nil
}

func (s *session) close() error { return s.p.Close() }
func (s *session) size() int64  { return s.have[wholeRun].bytes }

// needs counts the runs that visits take: as many whole ones as timed ones, one
// to warm up, and what looks at the anchor take.
func (s *session) needs() time.Duration {
	return max(leastBudget, (2*minRuns+3*turnVisits)*s.run)
}

// timed is a run whose steps are timed, in µs by key.
func (s *session) timed(ctx context.Context) (map[string]float64, error) {
	clear(s.took)
	if err := s.p.RunTimed(ctx, s.in, s.out, s.took); err != nil {
		return nil, err
	}
	return s.means(0, len(s.took)), nil
}

// whole is a run as a whole.
func (s *session) whole(ctx context.Context) (map[string]float64, error) {
	threads := s.o.Compile.Threads
	cpu, _ := CPUTime()
	taken := Switches(threads)
	start := time.Now()
	err := s.p.Run(ctx, s.in, s.out)
	d := time.Since(start)
	if Switches(threads) != taken && threads <= 1 { // one thread's own time is what the run would have taken
		if now, ok := CPUTime(); ok {
			d = min(d, now-cpu)
		}
	}
	return map[string]float64{wholeRun: float64((d - s.clock.cost).Nanoseconds()) / 1000}, err
}

// round is some runs between two looks at the anchor, after a look before; quiet
// says that neither the clock nor the neighbours were seen to change.
func (s *session) round(ctx context.Context, before float64) (after float64, runs int, quiet bool, err error) {
	if len(s.first) > 1 {
		return s.inPieces(ctx, before)
	}
	before, err = s.anchor.wait(ctx, before)
	if err != nil {
		return 0, 0, false, err
	}
	var round, broken []map[string]float64 // broken: the system gave the CPU to others meanwhile
	for start := time.Now(); runs == 0 || time.Since(start) < roundTime; runs++ {
		f := s.timed
		if (runs+s.rounds)%2 == 1 {
			f = s.whole
		}
		taken := Switches(s.o.Compile.Threads)
		one, err := f(ctx)
		if err != nil {
			return 0, 0, false, err
		}
		if Switches(s.o.Compile.Threads) == taken {
			round = append(round, one)
		} else {
			broken = append(broken, one)
		}
	}
	s.rounds++
	after, err = s.anchor.time(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	usual := s.anchor.usual()
	quiet = max(before, after) <= s.anchor.limit() && !s.crowd.crowded()
	for k, h := range s.have {
		h.add(0, round, k, quiet, usual/((before+after)/2))
		// One step of a broken run is longer, which a median bears; the run is.
		h.add(0, broken, k, quiet && k != wholeRun, usual/((before+after)/2))
		h.look(quiet, before, after)
	}
	return after, runs, quiet, nil
}

// visit measures for a share of the limit; the last visit goes on until each
// kernel that is wanted has its row.
func (s *session) visit(ctx context.Context, limit time.Duration, visits int, last bool) error {
	share := limit / time.Duration(visits)
	least := 2
	if visits > 1 { // enough in all, and as many in each
		least = (2*minRuns + visits - 1) / visits
		if _, err := s.timed(ctx); err != nil { // the caches are another network's
			return err
		}
	}
	look, err := s.anchor.time(ctx)
	if err != nil {
		return err
	}
	lastQuiet, runs := time.Now(), 0
	for begun := time.Now(); s.open > 0; {
		after, n, quiet, err := s.round(ctx, look)
		if err != nil {
			return err
		}
		look, runs = after, runs+n
		if quiet {
			lastQuiet = time.Now()
		}
		if runs < least {
			continue
		}
		over := time.Since(begun) >= share
		if !last {
			if over || limit == netBudget { // a round: the last visit takes what is needed
				return nil
			}
			continue
		}
		over = over || time.Since(lastQuiet) > patience // then with what there is
		for _, k := range s.want {
			h := s.have[k]
			if h.done {
				continue
			}
			r := h.row(k, s.clock)
			if r.Runs < minRuns || r.Noisy && !over || !over && r.Interval > s.o.CI && !h.full() {
				continue
			}
			if k == wholeRun && s.open > 1 {
				continue
			}
			if k == wholeRun {
				err = s.network(r, s.name, s.order, s.byKey, s.have)
			} else {
				err = s.hold.kernel(r)
			}
			if err != nil {
				return err
			}
			h.done = true
			s.open--
		}
	}
	return nil
}

// salvage hands on the kernels that were measured enough when the profile ends
// early.
func (s *session) salvage() error {
	for _, k := range s.want {
		if h := s.have[k]; k != wholeRun && !h.done {
			if r := h.row(k, s.clock); r.Runs >= minRuns && !r.Noisy {
				if err := s.hold.kernel(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// network hands on a network's row, and what each of its kernels took in it.
func (m *measure) network(r Row, name string, order []string, byKey map[string][]int, have map[string]*samples) error {
	if m.again && r.Noisy {
		return nil // the row that is there is as good
	}
	n := pendingNet{row: r, name: name}
	for _, k := range order {
		n.kernels = append(n.kernels, pendingUse{k, Use{N: len(byKey[k]), Time: have[k].row(k, m.clock).Median}})
	}
	return m.hold.network(n)
}
