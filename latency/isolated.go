package latency

import (
	"context"
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

// timeAlone times a graph's runs in µs, after a fifth of the time to warm up.
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
		if len(x) >= minRuns && n > minRuns && time.Since(begun) > 4*d { // long ones
			break
		}
	}
	return x, nil
}

// runIsolated measures a network of a target that shows no steps: each block
// that the table lacks alone, and the network as a whole.
func (m *measure) runIsolated(ctx context.Context, w Work, limit time.Duration) error {
	steps, err := Steps(nil, w.Graph, m.o.Target.Name())
	if err != nil {
		return diag.At(w.Name, err)
	}
	n := pendingNet{name: w.Name}
	var fresh []backends.Step
	all := backends.Step{}
	at := map[string]int{}
	for _, s := range steps {
		k := Key(s)
		if i, ok := at[k]; ok {
			n.kernels[i].N++
		} else {
			at[k] = len(n.kernels)
			n.kernels = append(n.kernels, pendingUse{k, Use{N: 1}})
			if _, known := m.j.table.Find(k); !known {
				fresh = append(fresh, s)
			}
		}
		all.MACs, all.Bytes = all.MACs+s.MACs, all.Bytes+s.Bytes
	}
	share := limit / time.Duration(len(fresh)+4)
	for i, s := range fresh {
		g, err := blockGraph(s)
		if err != nil {
			return diag.At(w.Name+": "+s.Label, err)
		}
		r, err := m.alone(ctx, g, share, s)
		if err != nil {
			return diag.At(w.Name+": "+s.Label, err)
		}
		off := m.handover.of(s)
		r.Key = Key(s)
		// No block takes less than a tenth of its run alone.
		r.Median, r.P10, r.P90 = max(r.Median-off, r.Median/10), max(r.P10-off, r.P10/10), max(r.P90-off, r.P90/10)
		if err := m.hold.kernel(r); err != nil {
			return err
		}
		m.progress(float64(i+1) / float64(len(fresh)+4))
	}
	n.row, err = m.alone(ctx, w.Graph, max(4*share, leastWhole), all)
	if err != nil {
		return diag.At(w.Name, err)
	}
	m.hold.nets = append(m.hold.nets, n)
	return m.hold.network()
}

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

// leastWhole is the least time for a network as a whole.
const leastWhole = 250 * time.Millisecond

// isolated says that a target's networks are measured so.
func isolated(t backends.Target) bool { return slices.Contains(ByBlocks, t.Name()) }

// scaleFamilies brings what blocks take alone to what they take in networks: a
// factor a family, learned from whole networks. Alone a block meets its weights
// in a nearer cache, and its compiler fuses less.
func scaleFamilies(t *Table, rows []settled) {
	var families []string
	of := make([]string, len(rows))
	for i, r := range t.Rows {
		of[i] = KeyFamily(r.Key)
		if !slices.Contains(families, of[i]) {
			families = append(families, of[i])
		}
	}
	slices.Sort(families)
	prior, lambda := []float64{0}, []float64{0}
	sd := func(v float64) float64 { return isolatedNoise * isolatedNoise / (v * v) }
	lambda[0] = sd(isolatedFixed)
	for range families {
		prior, lambda = append(prior, 1), append(lambda, sd(isolatedScale))
	}
	var x [][]float64
	var y, w []float64
	for _, n := range t.Nets {
		if n.Median <= 0 || n.Runs < minRuns {
			continue
		}
		row := make([]float64, 1+len(families))
		row[0] = 1 / n.Median
		for _, u := range n.Uses {
			row[1+slices.Index(families, of[u.Row])] += rows[u.Row].t * float64(u.N) / n.Median
		}
		x, y, w = append(x, row), append(y, 1), append(w, 1)
	}
	b := ridge(x, y, w, prior, lambda)
	for i := range rows {
		rows[i].t *= max(b[1+slices.Index(families, of[i])], 0.1)
	}
}

// What is known of blocks in a network before one is measured, as standard
// deviations: of a run's fixed cost in µs, of a family's factor, of a block's
// own fixed cost in µs.
const isolatedFixed, isolatedScale, isolatedStep, isolatedNoise = 1000.0, 0.3, 5.0, 0.02

// byBlocks says that the table's rows were measured alone.
func (t *Table) byBlocks() bool { return slices.Contains(ByBlocks, t.Fact("target")) }
