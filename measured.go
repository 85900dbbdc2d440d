package nasc

import (
	"context"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// Measured is what one process measured of a network: the median of whole runs
// and of each step, in ms.
type Measured struct {
	Median float64   `json:"median_ms"`          // of the runs while the machine was quiet, as profiles take them; of long ones of their pieces
	All    float64   `json:"all_ms,omitempty"`   // of all runs, those beside a busy neighbour, too
	Quiet  float64   `json:"quiet"`              // the share of the runs, or pieces, that Median is of; 0: there were not enough, and it is of all
	Paced  float64   `json:"paced,omitempty"`    // of targets by blocks: ms for each µs that the anchor took beside it
	Runs   int       `json:"runs"`               // that All is of
	Broken int       `json:"broken"`             // more runs, not used: the system gave the CPU to others meanwhile
	Steps  []float64 `json:"steps_ms,omitempty"` // of targets that show them
}

// Runnable is a network that is ready to run.
type Runnable struct {
	Exec  backends.Executable
	Graph *ir.Graph
}

// MeasureNet runs a network for about the time given.
func MeasureNet(ctx context.Context, e backends.Executable, g *ir.Graph, threads int, d time.Duration) (*Measured, error) {
	m, err := MeasureNets(ctx, []Runnable{{e, g}}, threads, d, 0)
	if err != nil {
		return nil, err
	}
	return m[0], nil
}

// How networks are measured in turns.
const (
	// visits is how often a process comes back to each of its networks: a
	// neighbour's burst of work lasts about a second and spoils one visit, not the
	// middle of them.
	visits = 5
	// Of a visit: how long it warms up, and runs at least, unless they are long.
	visitWarm, visitRuns = 2 * time.Millisecond, 3
	// lookTime is how long short runs are timed between two looks at the anchor.
	lookTime = 2 * time.Millisecond
	// A visit waits for quiet, for so many times the time that it has.
	visitPatience = 6
	// stepTries is how often a run of timed steps is tried for quiet.
	stepTries = 3
)

// MeasureNets runs networks in turns, each for about the time d in all, and
// gives each the median of its visits' medians. An anchor is timed beside them:
// of those that show their steps the runs count that met the machine in quiet
// (latency.Pace), where there are enough. pace is what the anchor is known to
// take then, in µs; 0: not known.
func MeasureNets(ctx context.Context, list []Runnable, threads int, d time.Duration, pace float64) ([]*Measured, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	anchor, err := latency.NewPace(threads, pace)
	if err != nil {
		return nil, err
	}
	defer anchor.Close()
	nets := make([]*netTimer, len(list))
	for i, r := range list {
		nets[i] = newNetTimer(r, threads)
	}
	for range visits {
		for _, n := range nets {
			if err := n.visit(ctx, anchor, d/visits); err != nil {
				return nil, err
			}
		}
	}
	out := make([]*Measured, len(nets))
	for i, n := range nets {
		out[i] = n.measured()
	}
	return out, nil
}

// netTimer is a network that is being measured, visit by visit. Times in ms.
type netTimer struct {
	Runnable
	threads int
	in, out []*ir.Tensor
	plan    backends.Planned // nil: it shows no steps
	took    []time.Duration
	first   []int // steps with which pieces begin (latency.Pieces), once it has run
	steps   [][]float64
	// By visit: the medians of all runs, of the quiet ones where there are enough,
	// and of multiples of the anchor.
	all, quiet, paced  []float64
	pieces             [][]float64 // of long networks: of each piece's quiet times
	calm               []bool      // steps that met quiet
	runs, still, split int
	ran, met           int // pieces, and those that met quiet
}

func newNetTimer(r Runnable, threads int) *netTimer {
	n := &netTimer{Runnable: r, threads: threads}
	if p, ok := r.Exec.(backends.Planned); ok {
		n.plan = p
		n.took, n.steps = make([]time.Duration, len(p.Steps())), make([][]float64, len(p.Steps()))
	}
	return n
}

func (n *netTimer) warm(ctx context.Context) error {
	d, least := visitWarm, 1
	if n.in == nil {
		n.in, n.out = passes.RandomInputs(n.Graph, 1), backends.NewOutputs(n.Graph)
		d, least = 3*visitWarm, 2
	}
	for begun, k := time.Now(), 0; k < least || time.Since(begun) < d; k++ {
		if err := n.Exec.Run(ctx, n.in, n.out); err != nil {
			return err
		}
	}
	if n.plan != nil && n.first == nil {
		clear(n.took)
		if err := n.plan.RunTimed(ctx, n.in, n.out, n.took); err != nil {
			return err
		}
		n.first = latency.Pieces(n.took)
		n.pieces, n.calm = make([][]float64, len(n.first)), make([]bool, len(n.took))
	}
	return nil
}

// enough decides when a visit has seen enough.
type enough struct {
	begun time.Time
	d     time.Duration
	runs  int
}

func newEnough(d time.Duration) *enough { return &enough{time.Now(), d, visitRuns} }

// ran notes a run: of long ones fewer will do.
func (e *enough) ran(ms float64) {
	if run := time.Duration(ms * 1e6); run > e.d {
		e.runs = 1 + min(1, int(2*e.d/run))
	}
}

// seen says whether so many runs in quiet will do, or so many in all where quiet
// does not come.
func (e *enough) seen(quiet, all int) bool {
	past := time.Since(e.begun)
	return quiet >= e.runs && past >= e.d || all >= e.runs && past >= visitPatience*e.d
}

// visit runs the network for about d, and longer where the machine is not quiet.
func (n *netTimer) visit(ctx context.Context, anchor *latency.Pace, d time.Duration) error {
	if err := n.warm(ctx); err != nil {
		return err
	}
	if len(n.first) > 1 {
		return n.visitPieces(ctx, anchor, d)
	}
	var quiet, noisy, broken, paced []float64
	before, err := anchor.Now(ctx)
	if err != nil {
		return err
	}
	end := newEnough(d)
	for {
		if n.plan != nil {
			if before, err = anchor.Wait(ctx, before); err != nil {
				return err
			}
		}
		var group []float64
		for look := time.Now(); len(group) == 0 || time.Since(look) < lookTime && n.plan != nil; {
			ms, clean, err := n.run(ctx)
			if err != nil {
				return err
			}
			end.ran(ms)
			if !clean {
				broken = append(broken, ms)
				if len(group) == 0 {
					break
				}
				continue
			}
			group = append(group, ms)
		}
		after, err := anchor.Now(ctx)
		if err != nil {
			return err
		}
		for _, ms := range group {
			paced = append(paced, ms/((before+after)/2))
		}
		if n.plan != nil && anchor.Quiet(before, after) {
			quiet = append(quiet, group...)
		} else {
			noisy = append(noisy, group...)
		}
		before = after
		fit := len(quiet)
		if n.plan == nil {
			fit = len(noisy)
		}
		if end.seen(fit, len(quiet)+len(noisy)+len(broken)) {
			break
		}
	}
	n.split += len(broken)
	all := slices.Concat(quiet, noisy)
	if len(all) < end.runs {
		all = append(all, broken...)
		n.split -= len(broken)
	}
	n.all, n.runs, n.still = append(n.all, medianOf(all)), n.runs+len(all), n.still+len(quiet)
	if len(quiet) >= end.runs {
		n.quiet = append(n.quiet, medianOf(quiet))
	}
	if n.plan == nil {
		n.paced = append(n.paced, medianOf(paced))
		return nil
	}
	return n.timeSteps(ctx, anchor, before)
}

// timeSteps times the steps of one run, once more where that was not quiet.
func (n *netTimer) timeSteps(ctx context.Context, anchor *latency.Pace, before float64) error {
	for quiet, tries := false, 0; !quiet && tries < stepTries; tries++ {
		clear(n.took)
		if err := n.plan.RunTimed(ctx, n.in, n.out, n.took); err != nil {
			return err
		}
		after, err := anchor.Now(ctx)
		if err != nil {
			return err
		}
		quiet, before = anchor.Quiet(before, after), after
	}
	for k, t := range n.took {
		n.steps[k] = append(n.steps[k], float64(t.Nanoseconds())/1e6)
	}
	return nil
}

// run is one run in ms; clean says that the system gave the CPU to nobody else
// meanwhile. A run of one thread that was not takes its own time; what shows no
// steps computes on threads that are not this one, all of the process.
func (n *netTimer) run(ctx context.Context) (ms float64, clean bool, err error) {
	taken, own := latency.Switches(n.threads), latency.CPUTime
	if n.plan == nil {
		own = latency.ProcessTime
	}
	cpu, known := own()
	start := time.Now()
	err = n.Exec.Run(ctx, n.in, n.out)
	ms = float64(time.Since(start).Nanoseconds()) / 1e6
	clean = latency.Switches(n.threads) == taken
	if n.threads > 1 || clean && n.plan != nil || !known {
		return ms, clean, err
	}
	if now, ok := own(); ok {
		ms = min(ms, float64((now-cpu).Nanoseconds())/1e6)
	}
	return ms, clean || n.plan == nil, err
}

// visitPieces runs a long network for about d, in turns as a whole and in pieces,
// of which those count that met quiet.
func (n *netTimer) visitPieces(ctx context.Context, anchor *latency.Pace, d time.Duration) error {
	var all, broken []float64
	quiet := make([][]float64, len(n.first))
	look, err := anchor.Now(ctx)
	if err != nil {
		return err
	}
	end := newEnough(d)
	for k := 0; ; k++ {
		ms, clean, err := n.run(ctx)
		if err != nil {
			return err
		}
		end.ran(ms)
		if clean {
			all = append(all, ms)
		} else {
			broken = append(broken, ms)
		}
		took := n.took
		if k >= stepTries {
			took = nil
		}
		clear(took)
		pieces, err := anchor.RunPieces(ctx, n.plan, n.threads, n.in, n.out, took, n.first, look)
		if err != nil {
			return err
		}
		fewest := math.MaxInt
		for i, p := range pieces {
			n.ran++
			if p.Quiet && p.Clean {
				n.met++
				quiet[i] = append(quiet[i], float64(p.Took.Nanoseconds())/1e6)
			}
			fewest = min(fewest, len(quiet[i]))
			look = p.Anchor[1]
		}
		n.keepSteps(took, pieces)
		if end.seen(min(len(all), fewest), len(all)+len(broken)) {
			break
		}
	}
	n.split += len(broken)
	if len(all) < end.runs {
		all = append(all, broken...)
		n.split -= len(broken)
	}
	n.all, n.runs = append(n.all, medianOf(all)), n.runs+len(all)
	for i, q := range quiet {
		if len(q) > 0 {
			n.pieces[i] = append(n.pieces[i], medianOf(q))
		}
	}
	return nil
}

// keepSteps keeps the times of steps in pieces that met quiet; of a step that
// has met none, all.
func (n *netTimer) keepSteps(took []time.Duration, pieces []latency.Piece) {
	for i, p := range pieces {
		end := len(took)
		if i+1 < len(n.first) {
			end = min(end, n.first[i+1])
		}
		for k := n.first[i]; k < end; k++ {
			calm := p.Quiet && p.Clean
			if calm && !n.calm[k] {
				n.steps[k] = nil
			}
			if calm || !n.calm[k] {
				n.steps[k] = append(n.steps[k], float64(took[k].Nanoseconds())/1e6)
			}
			n.calm[k] = n.calm[k] || calm
		}
	}
}

// leastQuiet is how many visits must have met quiet for the network's time to be
// of them alone.
const leastQuiet = 2

func (n *netTimer) measured() *Measured {
	m := &Measured{All: medianOf(n.all), Paced: medianOf(n.paced), Runs: n.runs, Broken: n.split}
	m.Median = m.All
	if len(n.quiet) >= leastQuiet {
		m.Median, m.Quiet = medianOf(n.quiet), math.Round(1000*float64(n.still)/float64(n.runs))/1000
	}
	if sum, ok := n.sum(); ok {
		m.Median, m.Quiet = sum, math.Round(1000*float64(n.met)/float64(n.ran))/1000
	}
	for _, t := range n.steps {
		m.Steps = append(m.Steps, medianOf(t))
	}
	return m
}

// sum is what the pieces of a long network took in quiet, if each met it in enough visits.
func (n *netTimer) sum() (ms float64, ok bool) {
	for _, x := range n.pieces {
		if len(x) < leastQuiet {
			return 0, false
		}
		ms += medianOf(x)
	}
	return ms, len(n.pieces) > 1
}

func medianOf(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Clone(x)
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
