package latency

import (
	"hash/fnv"
	"math"
	"slices"
	"sync"
)

// model predicts kernels that a table lacks from those that it has: one model
// a family, each fitted when it is first asked.
type model struct {
	mu       sync.Mutex
	families map[string]*family
	rows     []settled // of Table.Rows
	net      correction
	within   *within // of tables by blocks
}

// family is the rows of one kind of work and what was learned from them. Times
// are natural logarithms of microseconds.
type family struct {
	points []*point
	bySig  map[string][]*point
	fitted bool
	roofs  map[string]roof // by kernel; "" for all
	trees  *boosted
	use    [2]blend      // by whether rows of the same signature lie around
	off    [2][2]float64 // 5 % and 95 % of what held-out rows were off by
}

// point is a row as the models see it.
type point struct {
	*kernelKey
	macs, bytes float64
	y           float64
}

// blend is how much of the trees' and of the neighbours' residual is taken.
type blend struct{ trees, near float64 }

var blends = []blend{{0, 0}, {1, 0}, {0.5, 0}, {0, 1}, {0.5, 0.5}, {0.25, 0.75}, {0.75, 0.25}}

// roof is the time that work and traffic take: a + b·MACs + c·bytes, in µs.
type roof [3]float64

func (r roof) log(p *point) float64 {
	return math.Log(max(r[0]+r[1]*p.macs+r[2]*p.bytes, 1e-3))
}

// newModel takes the rows apart; nothing is fitted yet.
func newModel(t *Table) *model {
	t = t.steady()
	m := &model{families: map[string]*family{}, rows: t.settle()}
	if t.byBlocks() {
		m.within = newWithin(t, m.rows)
	}
	for i, r := range t.Rows {
		p, err := newPoint(r.Key, r.MACs, r.Bytes)
		if err != nil || m.rows[i].t <= 0 {
			continue
		}
		p.y = math.Log(m.rows[i].t)
		f := m.families[p.family]
		if f == nil {
			f = &family{bySig: map[string][]*point{}}
			m.families[p.family] = f
		}
		f.points = append(f.points, p)
		f.bySig[p.sig] = append(f.bySig[p.sig], p)
	}
	if w := m.within; w != nil {
		m.net = correction{a: w.fixed, b: 1, off: drift(t.Nets), nets: len(w.nets)} // the rest is the blocks' own
	} else {
		m.net = newCorrection(t, m.rows)
	}
	return m
}

func newPoint(key string, macs, bytes int64) (*point, error) {
	k, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	k.measure(macs, bytes)
	return &point{kernelKey: k, macs: float64(macs), bytes: float64(bytes)}, nil
}

// estimate is a kernel's predicted time in µs; between says that rows of the
// same signature lie around it, settled that several networks measured it.
type estimate struct {
	t, lo, hi        float64
	between, settled bool
}

// estimate predicts a kernel; ok is false where the table has none of its kind.
func (m *model) estimate(p *point) (e estimate, ok bool) {
	m.mu.Lock()
	f := m.families[p.family]
	if f != nil && !f.fitted {
		f.fit()
	}
	m.mu.Unlock()
	if f == nil {
		return e, false
	}
	near, around := f.near(p, nil)
	k := 0
	if around {
		k = 1
	}
	y := f.value(p, f.roofs, f.trees, near, f.use[k])
	return estimate{t: math.Exp(y), lo: math.Exp(y + f.off[k][0]), hi: math.Exp(y + f.off[k][1]), between: around}, true
}

// value is the roof and the blended residuals.
func (f *family) value(p *point, roofs map[string]roof, trees *boosted, near float64, b blend) float64 {
	base := roofOf(roofs, p)
	y := base
	if b.trees > 0 {
		y += b.trees * trees.predict(withBase(p, base))
	}
	if b.near > 0 && !math.IsNaN(near) {
		y += b.near * near
	} else if b.near > 0 { // no neighbours: the trees alone
		y += b.near * trees.predict(withBase(p, base))
	}
	return y
}

func roofOf(roofs map[string]roof, p *point) float64 {
	if r, ok := roofs[p.kernel]; ok {
		return r.log(p)
	}
	return roofs[""].log(p)
}

func withBase(p *point, base float64) []float64 { return append(slices.Clone(p.features), base) }

// near is the residual against the roof of the rows of the same signature, the
// nearest in size counting most; around says that the size lies within theirs.
// Points that skip marks are left out.
func (f *family) near(p *point, skip func(*point) bool) (residual float64, around bool) {
	type neighbour struct{ d, r float64 }
	var ns []neighbour
	below, above := make([]bool, len(p.extents)), make([]bool, len(p.extents))
	for _, q := range f.bySig[p.sig] {
		if q == p || skip != nil && skip(q) {
			continue
		}
		d := 0.0
		for i, e := range p.extents {
			l := math.Log2(e / q.extents[i])
			d += l * l
			below[i], above[i] = below[i] || l >= 0, above[i] || l <= 0
		}
		ns = append(ns, neighbour{d, q.y - roofOf(f.roofs, q)})
	}
	if len(ns) == 0 {
		return math.NaN(), false
	}
	slices.SortFunc(ns, func(a, b neighbour) int {
		switch {
		case a.d < b.d:
			return -1
		case a.d > b.d:
			return 1
		}
		return 0
	})
	sum, weight := 0.0, 0.0
	for _, n := range ns[:min(len(ns), 4)] {
		w := 1 / (n.d + 0.01)
		sum, weight = sum+w*n.r, weight+w
	}
	around = ns[0].d <= 4 && !slices.Contains(below, false) && !slices.Contains(above, false)
	return sum / weight, around
}

// fitRoofs fits a roof to the points of each kernel, relative errors counting,
// of those whose coefficients are none below zero.
func fitRoofs(points []*point) map[string]roof {
	by := map[string][]*point{"": points}
	for _, p := range points {
		by[p.kernel] = append(by[p.kernel], p)
	}
	out := map[string]roof{}
	for k, ps := range by {
		if k != "" && len(ps) < 4 {
			continue
		}
		best, r := math.Inf(1), roof{}
		for subset := 1; subset < 8; subset++ {
			var x [][]float64
			var y, w []float64
			for _, p := range ps {
				t := math.Exp(p.y)
				row := []float64{}
				for j, v := range []float64{1, p.macs, p.bytes} {
					if subset>>j&1 == 1 {
						row = append(row, v/t)
					}
				}
				x, y, w = append(x, row), append(y, 1), append(w, 1)
			}
			n := len(x[0])
			beta := ridge(x, y, w, make([]float64, n), make([]float64, n))
			var c roof
			at, bad := 0, false
			for j := range c {
				if subset>>j&1 == 1 {
					c[j] = beta[at]
					bad = bad || !(c[j] >= 0)
					at++
				}
			}
			if bad {
				continue
			}
			e := 0.0
			for _, p := range ps {
				d := c.log(p) - p.y
				e += d * d
			}
			if e < best {
				best, r = e, c
			}
		}
		out[k] = r
	}
	return out
}

const folds = 5

// fit learns the family: the roofs, the trees on what they leave over, and from
// rows held out how to blend and how far off to expect to be.
func (f *family) fit() {
	f.fitted = true
	fold := func(p *point) int {
		h := fnv.New32a()
		h.Write([]byte(p.sig))
		for _, e := range p.extents {
			h.Write([]byte{byte(e), byte(int(e) >> 8)})
		}
		return int(h.Sum32()>>3) % folds
	}
	type held struct {
		p     *point
		roofs map[string]roof
		trees *boosted
		near  float64
		k     int
	}
	var hs []held
	if len(f.points) >= 2*folds {
		for i := range folds {
			var train []*point
			for _, p := range f.points {
				if fold(p) != i {
					train = append(train, p)
				}
			}
			if len(train) == 0 || len(train) == len(f.points) {
				continue
			}
			f.roofs = fitRoofs(train)
			trees := fitTrees(train, f.roofs)
			for _, p := range f.points {
				if fold(p) != i {
					continue
				}
				h := held{p: p, roofs: f.roofs, trees: trees}
				around := false
				h.near, around = f.near(p, func(q *point) bool { return fold(q) == i })
				if around {
					h.k = 1
				}
				hs = append(hs, h)
			}
		}
	}
	f.roofs = fitRoofs(f.points)
	f.trees = fitTrees(f.points, f.roofs)
	for k := range f.use {
		var mine []held
		for _, h := range hs {
			if h.k == k {
				mine = append(mine, h)
			}
		}
		if len(mine) < folds { // too few to tell: all of them
			mine = hs
		}
		f.use[k] = blend{0.5, 0.5}
		best := math.Inf(1)
		var off []float64
		for _, b := range blends {
			var es []float64
			sum := 0.0
			for _, h := range mine {
				e := h.p.y - f.value(h.p, h.roofs, h.trees, h.near, b)
				es = append(es, e)
				sum += math.Abs(e)
			}
			if sum < best*0.999 {
				best, off, f.use[k] = sum, es, b
			}
		}
		f.off[k] = offBy(off)
	}
}

func fitTrees(points []*point, roofs map[string]roof) *boosted {
	var x [][]float64
	var y []float64
	for _, p := range points {
		base := roofOf(roofs, p)
		x, y = append(x, withBase(p, base)), append(y, p.y-base)
	}
	return boost(x, y)
}

// offBy gives the interval that holds 90 % of the errors; few errors are not
// trusted to show the large ones, and none tell nothing: a factor of two.
func offBy(e []float64) [2]float64 {
	if len(e) < folds {
		return [2]float64{-math.Ln2, math.Ln2}
	}
	slices.Sort(e)
	n := float64(len(e))
	wide := 1 + 4/n
	q := func(p float64) float64 { // the conformal rank: of n+1
		at := p*(n+1) - 1
		return quantile(e, min(max(at/(n-1), 0), 1))
	}
	return [2]float64{min(q(0.05), 0) * wide, max(q(0.95), 0) * wide}
}

// correction is what runs of whole networks take beside their kernels: T = a +
// b·sum + c·steps, in µs, learned from the table's networks.
type correction struct {
	a, b, c float64
	off     float64 // half the 90 % interval, logarithmic
	nets    int
}

// known says that enough networks showed what predictions are off by.
func (c correction) known() bool { return c.nets >= folds }

const (
	// What is known before a network is measured, as standard deviations: of a
	// run's fixed cost, of a kernel's in another place, of a step's.
	priorFixed, priorScale, priorStep = 5.0, 0.03, 0.1
	netNoise                          = 0.005
	// leastOff is the interval that no number of networks makes smaller: tables
	// are used at other times than they were measured.
	leastOff = 0.02
	// robustOff is the error of a network from which on it counts less.
	robustOff = 0.03
)

// drift is how far the anchor was from its middle while the networks were
// measured, but for one time in ten: their times were brought to the middle, and
// a network that is predicted meets the machine as it is then. The middle of a
// few networks in a row counts: what single looks differ by is the anchor's own.
func drift(nets []Net) float64 {
	var a, groups, off []float64
	for _, n := range nets {
		if n.Anchor > 0 {
			a = append(a, n.Anchor)
		}
	}
	for g := range slices.Chunk(a, driftNets) {
		groups = append(groups, median(g))
	}
	middle := median(a)
	for _, v := range groups {
		off = append(off, math.Abs(math.Log(v/middle)))
	}
	if len(off) == 0 {
		return 0
	}
	return conformal(off, 0.9)
}

// driftNets are some seconds' networks.
const driftNets = 8

func newCorrection(t *Table, rows []settled) correction {
	var x, others [][]float64 // others: with each kernel's time as the other networks tell it
	var y, w []float64
	quiet, still := 0, t.still()
	for _, s := range still {
		if s {
			quiet++
		}
	}
	for i, n := range t.Nets {
		sum, held, steps := 0.0, 0.0, 0
		for _, u := range n.Uses {
			sum += rows[u.Row].t * float64(u.N)
			held += rows[u.Row].without(i, t.Rows[u.Row].Median) * float64(u.N)
			steps += u.N
		}
		if n.Median > 0 && sum > 0 && n.Runs >= minRuns && (still[i] || quiet < folds) {
			x = append(x, []float64{1 / n.Median, sum / n.Median, float64(steps) / n.Median})
			others = append(others, []float64{1 / n.Median, held / n.Median, float64(steps) / n.Median})
			y, w = append(y, 1), append(w, 1)
		}
	}
	fit := func(x [][]float64, y, w []float64) []float64 {
		l := func(sd float64) float64 { return netNoise * netNoise / (sd * sd) }
		return ridge(x, y, w, []float64{0, 1, 0}, []float64{l(priorFixed), l(priorScale), l(priorStep)})
	}
	b := fit(x, y, w)
	for range 5 { // networks measured in a neighbour's burst count little
		for i := range w {
			e := math.Abs(b[0]*x[i][0] + b[1]*x[i][1] + b[2]*x[i][2] - 1)
			w[i] = 1 / max(1, e*e/(robustOff*robustOff))
		}
		b = fit(x, y, w)
	}
	c := correction{a: max(b[0], 0), b: b[1], c: b[2], off: math.Log(1.10), nets: len(x)}
	if !c.known() {
		return c
	}
	var off []float64
	for i, o := range others { // each by the others
		v := slices.Clone(w)
		v[i] = 0
		b := fit(x, y, v)
		off = append(off, math.Abs(math.Log(max(b[0]*o[0]+b[1]*o[1]+b[2]*o[2], 1e-9))))
	}
	c.off = max(leastOff, math.Hypot(conformal(off, 0.9), drift(t.quiet())))
	return c
}
