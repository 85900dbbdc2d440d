package latency

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// handover is what a run of a program takes that computes nothing: to start it,
// and by byte to hand over what it reads and writes.
type handover struct{ fixed, byByte float64 } // µs

// newHandover times programs that do next to nothing with their input.
func newHandover(ctx context.Context, o Options) (handover, error) {
	var x [][]float64
	var y, w []float64
	for _, n := range []int{64, 1 << 14, 1 << 17, 1 << 20} {
		b := ir.NewBuilder("handover")
		g, err := b.Graph(b.Op("relu", nil, b.Input("x", ir.T(ir.F32, n))))
		if err != nil {
			return handover{}, err
		}
		t, err := timeAlone(ctx, g, o, 30*time.Millisecond)
		if err != nil {
			return handover{}, err
		}
		m := median(t)
		x, y, w = append(x, []float64{1 / m, float64(8*n) / m}), append(y, 1), append(w, 1)
	}
	b := ridge(x, y, w, []float64{0, 0}, []float64{0, 0})
	return handover{max(b[0], 0), max(b[1], 0)}, nil
}

// of is the part of a block's time alone that it does not take in a network.
func (h handover) of(s backends.Step) float64 {
	return h.fixed + h.byByte*float64(typesBytes(s.In)+typesBytes(s.Out))
}

// timeAlone times a graph's runs in µs, after a fifth of the time to warm up,
// until their median is known well enough or the time is over.
func timeAlone(ctx context.Context, g *ir.Graph, o Options, d time.Duration) ([]float64, error) {
	e, err := o.Target.Compile(g, o.Compile)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	in, out := passes.RandomInputs(g, 1), backends.NewOutputs(g)
	var x []float64
	for begun, n := time.Now(), 0; n < minRuns+2 || time.Since(begun) < d; n++ {
		start := time.Now()
		if err := e.Run(ctx, in, out); err != nil {
			return nil, err
		}
		if n >= 2 && (time.Since(begun) > d/5 || n > minRuns) || len(x) > 0 {
			x = append(x, float64(time.Since(start).Nanoseconds())/1000)
		}
		if len(x) >= minRuns && (time.Since(begun) > 4*d || len(x)%8 == 0 && narrow(x, o.CI)) {
			break
		}
	}
	return x, nil
}

// narrow says that the median of x is known well enough.
func narrow(x []float64, ci float64) bool {
	x = slices.Sorted(slices.Values(x))
	lo, hi := medianInterval(x)
	return hi-lo <= 2*ci*quantile(x, 0.5)
}

// isolatedNet is a network of a target that shows no steps.
type isolatedNet struct {
	*measure
	net  pendingNet
	e    backends.Executable
	in   []*ir.Tensor
	out  []*ir.Tensor
	have samples // of whole runs
}

// beginIsolated times the blocks of a network that the table lacks alone, and
// makes the whole ready.
func (m *measure) beginIsolated(ctx context.Context, w Work) (*isolatedNet, error) {
	steps, err := Steps(nil, w.Graph, m.o.Target.Name())
	if err != nil {
		return nil, diag.At(w.Name, err)
	}
	n := &isolatedNet{measure: m, net: pendingNet{name: w.Name}}
	var fresh []backends.Step
	at := map[string]int{}
	for _, s := range steps {
		k := Key(s)
		if i, ok := at[k]; ok {
			n.net.kernels[i].N++
		} else {
			at[k] = len(n.net.kernels)
			n.net.kernels = append(n.net.kernels, pendingUse{k, Use{N: 1}})
			if _, known := m.j.table.Find(k); !known {
				fresh = append(fresh, s)
			}
		}
		n.have.macs, n.have.bytes = n.have.macs+s.MACs, n.have.bytes+s.Bytes
	}
	for _, s := range fresh {
		g, err := blockGraph(s)
		if err != nil {
			return nil, diag.At(w.Name+": "+s.Label, err)
		}
		r, err := m.alone(ctx, g, blockTime, s)
		if err != nil {
			return nil, diag.At(w.Name+": "+s.Label, err)
		}
		off := m.handover.of(s)
		r.Key = Key(s)
		// No block takes less than a tenth of its run alone.
		r.Median, r.P10, r.P90 = max(r.Median-off, r.Median/10), max(r.P10-off, r.P10/10), max(r.P90-off, r.P90/10)
		if err := m.hold.kernel(r); err != nil {
			return nil, err
		}
	}
	if n.e, err = m.o.Target.Compile(w.Graph, m.o.Compile); err != nil {
		return nil, diag.At(w.Name, err)
	}
	n.in, n.out = w.In, backends.NewOutputs(w.Graph)
	return n, nil
}

// blockTime is for a block alone, unless it takes longer to run often enough.
const blockTime = 25 * time.Millisecond

// visit measures whole runs; the last visit goes on until the interval wanted is
// met or the limit is over.
func (n *isolatedNet) visit(ctx context.Context, limit time.Duration, visits int, last bool) error {
	least := (minRuns + visits - 1) / visits
	if err := n.e.Run(ctx, n.in, n.out); err != nil { // the caches are another network's
		return err
	}
	for begun := time.Now(); ; {
		before, err := n.anchor.time(ctx)
		if err != nil {
			return err
		}
		var round []map[string]float64
		for started, k := time.Now(), 0; k < least || time.Since(started) < roundTime; k++ {
			start := time.Now()
			if err := n.e.Run(ctx, n.in, n.out); err != nil {
				return err
			}
			round = append(round, map[string]float64{wholeRun: float64(time.Since(start).Nanoseconds()) / 1000})
		}
		after, err := n.anchor.time(ctx)
		if err != nil {
			return err
		}
		usual := n.anchor.usual()
		quiet := max(before, after) <= quietFactor*usual && !n.crowd.crowded()
		n.have.add(round, wholeRun, quiet, usual/((before+after)/2))
		n.have.anchors = append(n.have.anchors, before, after)
		over := time.Since(begun) >= min(limit, mostWhole)/time.Duration(visits)
		if !last {
			if over || limit == netBudget {
				return nil
			}
			continue
		}
		if r := n.have.row(wholeRun, n.clock); r.Runs >= minRuns && (over || !r.Noisy && r.Interval <= n.o.CI) {
			n.net.row = r
			return n.hold.network(n.net)
		}
	}
}

// salvage has nothing to do: blocks are handed on when they are measured.
func (n *isolatedNet) salvage() error { return nil }

func (n *isolatedNet) close() error { return n.e.Close() }

func (n *isolatedNet) size() int64 { return n.have.bytes }

// alone measures runs of a graph between two looks at the anchor, again where
// the machine was busy.
func (m *measure) alone(ctx context.Context, g *ir.Graph, d time.Duration, s backends.Step) (Row, error) {
	c := &samples{macs: s.MACs, bytes: s.Bytes}
	begun := time.Now()
	for range 3 {
		before, err := m.anchor.time(ctx)
		if err != nil {
			return Row{}, err
		}
		x, err := timeAlone(ctx, g, m.o, d)
		if err != nil {
			return Row{}, err
		}
		after, err := m.anchor.time(ctx)
		if err != nil {
			return Row{}, err
		}
		usual := m.anchor.usual()
		quiet := max(before, after) <= quietFactor*usual && !m.crowd.crowded()
		round := make([]map[string]float64, len(x))
		for i, t := range x {
			round[i] = map[string]float64{"": t}
		}
		c.add(round, "", quiet, usual/((before+after)/2))
		c.anchors = append(c.anchors, before, after)
		if quiet || time.Since(begun) > 2*d {
			break
		}
	}
	return c.row(wholeRun, m.clock), nil
}

// mostWhole is the most time for a network as a whole.
const mostWhole = time.Second

// isolated says that a target's networks are measured so.
func isolated(t backends.Target) bool { return slices.Contains(ByBlocks, t.Name()) }

// inNetworks brings what blocks take alone to what they take in networks, whose
// whole times tell: alone a block meets its weights in a nearer cache, and its
// compiler fuses less. The factors of blocks are taken to be normal, those of a
// family alike (a Gaussian process over the networks). It gives what each
// network is off by, as the others predict it, logarithmic.
func inNetworks(t *Table, rows []settled) []float64 {
	family := make([]string, len(rows))
	for i, r := range t.Rows {
		family[i] = KeyFamily(r.Key)
	}
	type network struct {
		time  float64
		share map[int]float64    // of its time, by row
		of    map[string]float64 // and by family
	}
	var nets []network
	for _, n := range t.Nets {
		if n.Median <= 0 || n.Runs < minRuns {
			continue
		}
		w := network{n.Median, map[int]float64{}, map[string]float64{}}
		for _, u := range n.Uses {
			v := rows[u.Row].t * float64(u.N) / n.Median
			w.share[u.Row] += v
			w.of[family[u.Row]] += v
		}
		nets = append(nets, w)
	}
	n := len(nets)
	if n == 0 {
		return nil
	}
	// a holds the covariance of the networks' relative errors, and beside it the
	// unit matrix, which becomes the inverse.
	a, left := make([][]float64, n), make([]float64, n)
	for i, x := range nets {
		a[i] = make([]float64, 2*n)
		left[i] = 1
		for j, y := range nets {
			c := isolatedFixed * isolatedFixed / (x.time * y.time)
			for k, v := range x.share {
				c += isolatedOwn * isolatedOwn * v * y.share[k]
			}
			for f, v := range x.of {
				c += isolatedScale * isolatedScale * v * y.of[f]
			}
			a[i][j] = c
		}
		for _, v := range x.share {
			left[i] -= v
		}
		a[i][i] += isolatedNoise * isolatedNoise
		a[i][n+i] = 1
	}
	invert(a)
	alpha := make([]float64, n)
	var off []float64
	for i := range alpha {
		for j, v := range left {
			alpha[i] += a[i][n+j] * v
		}
		off = append(off, -math.Log(max(1-alpha[i]/a[i][n+i], 1e-3)))
	}
	for k := range rows {
		d := 0.0
		for i, x := range nets {
			d += alpha[i] * (isolatedOwn*isolatedOwn*x.share[k] + isolatedScale*isolatedScale*x.of[family[k]])
		}
		rows[k].t *= max(1+d, 0.1)
	}
	return off
}

// invert turns [A | 1] into [1 | A⁻¹]; A is positive definite.
func invert(a [][]float64) {
	for c := range a {
		p := a[c][c]
		for j := range a[c] {
			a[c][j] /= p
		}
		for r := range a {
			if f := a[r][c]; r != c && f != 0 {
				for j := range a[r] {
					a[r][j] -= f * a[c][j]
				}
			}
		}
	}
}

// What is known of blocks in networks before one is measured, as standard
// deviations: of a run's fixed cost in µs, of a family's factor and of a block's
// own, of a block's own fixed cost in µs, of a measured network.
const isolatedFixed, isolatedScale, isolatedOwn, isolatedStep, isolatedNoise = 300.0, 0.2, 0.1, 2.0, 0.03

// byBlocks says that the table's rows were measured alone.
func (t *Table) byBlocks() bool { return slices.Contains(ByBlocks, t.Fact("target")) }
