package latency

import (
	"math"
	"slices"
)

// within is what was learned of how long blocks take in networks, whose whole
// times tell: alone a block meets its weights in a nearer cache, and its
// compiler fuses less. The factors of blocks are taken to be normal, those of a
// family alike and those of all a little (a Gaussian process over the networks).
type within struct {
	nets  []blockNet
	inv   [][]float64 // of the covariance of their relative errors
	alone []float64   // rows' times as they were measured, in µs
	fixed float64     // what a run takes beside its blocks, in µs
	z     float64     // half a 90 % interval, in standard deviations
}

// What is known of blocks in networks before one is measured, as standard
// deviations: of a run's fixed cost and of a block's, in µs, of the factor of
// all blocks, of a family's and of a block's own, of a measured network.
const (
	blockFixed, blockEach           = 100.0, 5.0
	blockAll, blockFamily, blockOwn = 0.1, 0.1, 0.2
	blockNoise                      = 0.03
	fewZ                            = 2.0 // where few networks tell what predictions are off by
)

// blockNet is a network of blocks: shares of its time by row and by family, all
// of them, and what is counted, for each µs of it.
type blockNet struct {
	rows        []rowShare // sorted
	families    []familyShare
	all         float64
	runs, steps float64 // one run, and its blocks
}

type rowShare struct {
	row   int
	share float64
}

type familyShare struct {
	family string
	share  float64
}

// blockUse is a kernel of a network: its row, −1 for none, what it takes alone,
// and how often it is there.
type blockUse struct {
	row    int
	family string
	us     float64
	n      int
}

func newBlockNet(time float64, uses []blockUse) blockNet {
	w := blockNet{runs: 1 / time}
	by := map[string]float64{}
	var order []string
	for _, u := range uses {
		v := u.us * float64(u.n) / time
		w.all, w.steps = w.all+v, w.steps+float64(u.n)/time
		if u.row >= 0 {
			w.rows = append(w.rows, rowShare{u.row, v})
		}
		if _, ok := by[u.family]; !ok {
			order = append(order, u.family)
		}
		by[u.family] += v
	}
	slices.SortFunc(w.rows, func(a, b rowShare) int { return a.row - b.row })
	slices.Sort(order)
	for _, f := range order {
		w.families = append(w.families, familyShare{f, by[f]})
	}
	return w
}

// cov is the covariance of two networks' relative errors.
func (x *blockNet) cov(y *blockNet) float64 {
	c := blockFixed*blockFixed*x.runs*y.runs + blockEach*blockEach*x.steps*y.steps + blockAll*blockAll*x.all*y.all
	for i, j := 0, 0; i < len(x.rows) && j < len(y.rows); {
		switch a, b := x.rows[i], y.rows[j]; {
		case a.row < b.row:
			i++
		case a.row > b.row:
			j++
		default:
			c += blockOwn * blockOwn * a.share * b.share
			i++ // a network has each row once
			j++
		}
	}
	for i, j := 0, 0; i < len(x.families) && j < len(y.families); {
		switch a, b := x.families[i], y.families[j]; {
		case a.family < b.family:
			i++
		case a.family > b.family:
			j++
		default:
			c += blockFamily * blockFamily * a.share * b.share
			i++
			j++
		}
	}
	return c
}

// newWithin learns from the table's networks, and brings the rows to what they
// take in networks; nil where there are none.
func newWithin(t *Table, rows []settled) *within {
	w := &within{z: fewZ}
	family := make([]string, len(rows))
	for i, r := range t.Rows {
		family[i] = KeyFamily(r.Key)
		w.alone = append(w.alone, rows[i].t)
	}
	for _, n := range t.Nets {
		if n.Median <= 0 || n.Runs < minRuns {
			continue
		}
		var uses []blockUse
		for _, u := range n.Uses {
			uses = append(uses, blockUse{u.Row, family[u.Row], rows[u.Row].t, u.N})
		}
		w.nets = append(w.nets, newBlockNet(n.Median, uses))
	}
	n := len(w.nets)
	if n == 0 {
		return nil
	}
	a := make([][]float64, n) // with the unit matrix beside it, which becomes the inverse
	for i := range w.nets {
		a[i] = make([]float64, 2*n)
		for j := range w.nets {
			a[i][j] = w.nets[i].cov(&w.nets[j])
		}
		a[i][i] += blockNoise * blockNoise
		a[i][n+i] = 1
	}
	invert(a)
	alpha := make([]float64, n)
	var z []float64
	for i := range a {
		w.inv = append(w.inv, a[i][n:])
		for j := range w.nets {
			alpha[i] += w.inv[i][j] * (1 - w.nets[j].all)
		}
		// By the others the network is off by alpha/inv, with a variance of 1/inv.
		z = append(z, math.Abs(alpha[i])/math.Sqrt(w.inv[i][i]))
	}
	if n >= folds {
		w.z = conformal(z, 0.9)
	}
	// What is expected of each term, given the networks.
	step, all := 0.0, 0.0
	families, own := map[string]float64{}, make([]float64, len(rows))
	for i, x := range w.nets {
		w.fixed += blockFixed * blockFixed * alpha[i] * x.runs
		step += blockEach * blockEach * alpha[i] * x.steps
		all += blockAll * blockAll * alpha[i] * x.all
		for _, f := range x.families {
			families[f.family] += blockFamily * blockFamily * alpha[i] * f.share
		}
		for _, r := range x.rows {
			own[r.row] += blockOwn * blockOwn * alpha[i] * r.share
		}
	}
	for k := range rows {
		rows[k].t = max(rows[k].t*(1+all+families[family[k]]+own[k])+step, rows[k].t/10)
	}
	return w
}

// off is half the 90 % interval, logarithmic, of a network that is predicted to
// take so many µs: wider the less the networks that were measured are like it.
// unknown is the variance of its blocks that have no row, relative.
func (w *within) off(time float64, uses []blockUse, unknown float64) float64 {
	for i, u := range uses {
		if u.row >= 0 {
			uses[i].us = w.alone[u.row]
		}
	}
	x := newBlockNet(time, uses)
	k := make([]float64, len(w.nets))
	for i := range w.nets {
		k[i] = x.cov(&w.nets[i])
	}
	v := x.cov(&x) + unknown + blockNoise*blockNoise
	for i := range k {
		for j := range k {
			v -= k[i] * w.inv[i][j] * k[j]
		}
	}
	return w.z * math.Sqrt(max(v, blockNoise*blockNoise))
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
