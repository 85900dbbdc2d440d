package latency

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// alone is a program that is timed by itself: a block of a network, or all of it.
type alone struct {
	run   func(context.Context) error
	close func() error
	samples
}

// newAlone compiles a block. Its inputs stay where the program works and so do
// its results, where the target can: in a network nothing hands them over.
func (m *measure) newAlone(g *ir.Graph) (*alone, error) {
	e, err := m.o.Target.Compile(g, m.o.Compile)
	if err != nil {
		return nil, err
	}
	in := passes.RandomInputs(g, 1)
	if p, ok := e.(backends.Placed); ok {
		run, release, err := p.Place(in)
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		return &alone{
			run:   func(ctx context.Context) error { return run(ctx, nil) },
			close: func() error { release(); return e.Close() },
		}, nil
	}
	out := backends.NewOutputs(g)
	return &alone{run: func(ctx context.Context) error { return e.Run(ctx, in, out) }, close: e.Close}, nil
}

// visit times runs between looks at the anchor. Times are kept as multiples of
// the anchor's: the machine's speed changes within seconds, and a block is
// measured in other seconds than the network that has it.
func (a *alone) visit(ctx context.Context, m *measure, least int, d time.Duration) error {
	if err := a.run(ctx); err != nil { // the caches are another program's
		return err
	}
	before, err := m.anchor.time(ctx)
	if err != nil {
		return err
	}
	for begun, n := time.Now(), 0; n < least || time.Since(begun) < d && n < maxRuns; {
		var round []map[string]float64
		for group := time.Now(); len(round) == 0 || time.Since(group) < lookTime && n < maxRuns; n++ {
			t, err := oneRun(ctx, a.run, m.o.Compile.Threads)
			if err != nil {
				return err
			}
			round = append(round, map[string]float64{wholeRun: t})
		}
		after, err := m.anchor.time(ctx)
		if err != nil {
			return err
		}
		quiet := max(before, after) <= m.anchor.limit() && !m.crowd.crowded()
		for _, r := range round {
			r[wholeRun] /= (before + after) / 2
		}
		a.add(0, round, wholeRun, quiet, 1)
		a.anchors = append(a.anchors, before, after)
		before = after
	}
	return nil
}

// lookTime is how long short runs are timed between two looks at the anchor.
const lookTime = 2 * time.Millisecond

// row is the samples' at the middle of the anchor's times, which is kept beside
// it, less what a run takes that does nothing.
func (a *alone) row(key string, empty float64) Row {
	r := a.samples.row(wholeRun, clock{})
	r.Key = key
	for _, t := range []*float64{&r.Median, &r.P10, &r.P90} {
		*t = max(*t-empty, *t/10) * r.Anchor // no block takes less than a tenth of its run alone
	}
	return r
}

// oneRun is what a run takes in µs. One thread's run takes no longer than the
// process computes: what is more the system gave to others.
func oneRun(ctx context.Context, run func(context.Context) error, threads int) (float64, error) {
	cpu, known := ProcessTime()
	start := time.Now()
	err := run(ctx)
	d := time.Since(start)
	if now, ok := ProcessTime(); ok && known && threads <= 1 {
		d = min(d, now-cpu)
	}
	return float64(d.Nanoseconds()) / 1000, err
}

// emptyRun is what a run of a program takes that does nothing, as a multiple of
// the anchor's time.
func (m *measure) emptyRun(ctx context.Context) (float64, error) {
	b := ir.NewBuilder("empty")
	g, err := b.Graph(b.Op("relu", nil, b.Input("x", ir.T(ir.F32, 64))))
	if err != nil {
		return 0, err
	}
	a, err := m.newAlone(g)
	if err != nil {
		return 0, err
	}
	for range isolatedVisits {
		if err := a.visit(ctx, m, minRuns, blockTime/isolatedVisits); err != nil {
			return 0, errors.Join(err, a.close())
		}
	}
	return median(slices.Concat(a.parts[0].quiet, a.parts[0].noisy)), a.close()
}

// isolatedNet is a network of a target that shows no steps, with the blocks that
// the table lacks.
type isolatedNet struct {
	*measure
	net    pendingNet
	blocks []*alone
	keys   []string // of the blocks
	whole  *alone
}

// beginIsolated makes a network ready, and each block that is in no network
// before it.
func (m *measure) beginIsolated(w Work) (_ *isolatedNet, err error) {
	steps, err := Steps(nil, w.Graph, m.o.Target.Name())
	if err != nil {
		return nil, diag.At(w.Name, err)
	}
	n := &isolatedNet{measure: m, net: pendingNet{name: w.Name}, whole: &alone{close: func() error { return nil }}}
	defer func() {
		if err != nil {
			err = errors.Join(diag.At(w.Name, err), n.close())
		}
	}()
	at := map[string]int{}
	for _, s := range steps {
		n.whole.macs, n.whole.bytes = n.whole.macs+s.MACs, n.whole.bytes+s.Bytes
		k := Key(s)
		if i, ok := at[k]; ok {
			n.net.kernels[i].N++
			continue
		}
		at[k] = len(n.net.kernels)
		n.net.kernels = append(n.net.kernels, pendingUse{k, Use{N: 1}})
		if _, known := m.j.table.Find(k); known || m.begun[k] {
			continue
		}
		g, err := blockGraph(s)
		if err != nil {
			return nil, diag.At(s.Label, err)
		}
		b, err := m.newAlone(g)
		if err != nil {
			return nil, diag.At(s.Label, err)
		}
		b.macs, b.bytes = s.MACs, s.Bytes
		n.blocks, n.keys = append(n.blocks, b), append(n.keys, k)
	}
	e, err := m.o.Target.Compile(w.Graph, m.o.Compile)
	if err != nil {
		return nil, err
	}
	out := backends.NewOutputs(w.Graph)
	n.whole.run, n.whole.close = func(ctx context.Context) error { return e.Run(ctx, w.In, out) }, e.Close
	for _, k := range n.keys {
		m.begun[k] = true // by the networks of this turn
	}
	return n, nil
}

// blockTime is for a block alone, unless it takes longer to run often enough.
const blockTime = 25 * time.Millisecond

// visit measures the blocks and whole runs; the last visit hands on the rows.
func (n *isolatedNet) visit(ctx context.Context, limit time.Duration, visits int, last bool) error {
	least := (minRuns + visits - 1) / visits
	for _, b := range n.blocks {
		if err := b.visit(ctx, n.measure, least, blockTime/time.Duration(visits)); err != nil {
			return err
		}
	}
	for begun := time.Now(); ; {
		if err := n.whole.visit(ctx, n.measure, least, roundTime); err != nil {
			return err
		}
		if time.Since(begun) < min(max(limit, leastWhole), mostWhole)/time.Duration(visits) {
			continue
		}
		if !last {
			return nil
		}
		if n.net.row = n.whole.row(wholeRun, 0); n.net.row.Runs >= minRuns {
			break
		}
	}
	for i, b := range n.blocks {
		if err := n.hold.kernel(b.row(n.keys[i], n.empty)); err != nil {
			return err
		}
	}
	return n.hold.network(n.net)
}

// salvage hands on the blocks that were measured enough.
func (n *isolatedNet) salvage() error {
	for i, b := range n.blocks {
		if r := b.row(n.keys[i], n.empty); r.Runs >= minRuns {
			if err := n.hold.kernel(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *isolatedNet) close() (err error) {
	for _, b := range append(n.blocks, n.whole) {
		err = errors.Join(err, b.close())
	}
	return err
}

func (n *isolatedNet) size() int64 { return n.whole.bytes }

func (n *isolatedNet) needs() time.Duration {
	return leastWhole + time.Duration(len(n.blocks))*blockTime
}

// leastWhole and mostWhole are the time for a network as a whole: to compile it
// takes longer.
const leastWhole, mostWhole = 500 * time.Millisecond, time.Second

// isolatedTurn is how many networks of a target that is measured by blocks are
// measured together, and isolatedVisits how often each is visited: what was
// compiled in a turn is lost to a kill, and the machine's speed changes within
// seconds.
const isolatedTurn, isolatedVisits = 6, 10

// isolated says that a target's networks are measured so.
func isolated(t backends.Target) bool { return slices.Contains(ByBlocks, t.Name()) }

// steady is the table as if all of it had been measured at one speed of the
// machine, the middle of those that the networks met: times of blocks and of
// networks that have them are brought there by the anchor's beside them.
func (t *Table) steady() *Table {
	middle := t.Pace()
	if !t.byBlocks() || middle == 0 {
		return t
	}
	bring := func(r *Row) {
		if r.Anchor > 0 { // not of a row that was carried over
			f := middle / r.Anchor
			r.Median, r.P10, r.P90 = r.Median*f, r.P10*f, r.P90*f
		}
	}
	out := &Table{Facts: t.Facts, Rows: slices.Clone(t.Rows), Nets: slices.Clone(t.Nets)}
	for i := range out.Rows {
		bring(&out.Rows[i])
	}
	for i := range out.Nets {
		bring(&out.Nets[i].Row)
	}
	return out
}

// byBlocks says that the table's rows were measured alone.
func (t *Table) byBlocks() bool { return slices.Contains(ByBlocks, t.Fact("target")) }
