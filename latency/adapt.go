package latency

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Carried says what an adapted table holds.
type Carried struct {
	Shared  int `json:"shared"`  // kernels that both tables have measured
	Carried int `json:"carried"` // rows predicted from the other device's
}

// leastShared is how many kernels two tables must have measured before the
// others are carried over.
const leastShared = 8

// Adapt carries the rows of this table that the table at path, of another
// device, has not measured over to it: times change from one device to the
// other as those of the kernels that both have measured do, family by family
// and with size. Carried rows have 0 runs, and an interval from what the shared
// ones are off by. Kernels that only the other device runs are left to its own
// rows' models.
func (t *Table) Adapt(ctx context.Context, path string, facts []Fact) (*Carried, error) {
	j, err := openJournal(ctx, path, facts, nil)
	if err != nil {
		return nil, err
	}
	res := &Carried{}
	type pair struct {
		family string
		x, y   float64 // log of this table's time, log of the ratio
	}
	var pairs []pair
	mine, theirs := t.steady().settle(), j.table.steady().settle()
	for i, r := range t.Rows {
		k, ok := j.table.index[r.Key]
		if ok && mine[i].t > 0 && theirs[k].t > 0 && r.Runs > 0 && j.table.Rows[k].Runs > 0 {
			pairs = append(pairs, pair{KeyFamily(r.Key), math.Log(mine[i].t), math.Log(theirs[k].t / mine[i].t)})
		}
	}
	res.Shared = len(pairs)
	if len(pairs) < leastShared {
		return res, j.finish()
	}
	fit := func(keep func(pair) bool, prior []float64) (beta []float64, n int) {
		var x [][]float64
		var y, w []float64
		for _, p := range pairs {
			if keep(p) {
				x, y, w = append(x, []float64{1, p.x}), append(y, p.y), append(w, 1)
			}
		}
		return ridge(x, y, w, prior, []float64{2, 20}), len(x)
	}
	least, most := pairs[0].x, pairs[0].x
	for _, p := range pairs {
		least, most = min(least, p.x), max(most, p.x)
	}
	all, _ := fit(func(pair) bool { return true }, []float64{0, 0})
	by := map[string][]float64{}
	off := map[string][2]float64{}
	var pooled []float64
	for _, p := range pairs {
		if by[p.family] == nil {
			by[p.family], _ = fit(func(o pair) bool { return o.family == p.family }, all)
		}
		pooled = append(pooled, p.y-by[p.family][0]-by[p.family][1]*p.x)
	}
	for f, b := range by {
		var es []float64
		for _, p := range pairs {
			if p.family == f {
				es = append(es, p.y-b[0]-b[1]*p.x)
			}
		}
		if off[f] = offBy(es); len(es) < 2*folds {
			off[f] = offBy(slices.Clone(pooled))
		}
	}
	for i, r := range t.Rows {
		if _, ok := j.table.Find(r.Key); ok || mine[i].t <= 0 || r.Runs == 0 {
			continue
		}
		f := KeyFamily(r.Key)
		b, ok := by[f]
		o := off[f]
		if !ok {
			b, o = all, offBy(slices.Clone(pooled))
		}
		y := math.Log(mine[i].t)
		y += b[0] + b[1]*min(max(y, least), most) // no further than was seen
		m := math.Exp(y)
		row := Row{Key: r.Key, Median: m, P10: m * math.Exp(o[0]), P90: m * math.Exp(o[1]), Interval: min(0.99, (math.Exp(o[1])-math.Exp(o[0]))/2), MACs: r.MACs, Bytes: r.Bytes, Time: time.Now()}
		if err := j.append(row); err != nil {
			return nil, errors.Join(err, j.stop())
		}
		res.Carried++
	}
	return res, j.finish()
}

// Scale fits networks' measured times on a new device to what another device's
// table says of their families, and predicts others: T = Σ αᶠ·Sᶠ + a, with few
// samples held near one common factor. Sums and times are in ms.
type Scale struct {
	families []string
	beta     []float64
}

// What is known of a new device before its samples: their times' noise, and how
// far families' factors and a run's fixed part are from the common factor and
// from none, as shares of that and of a network.
const (
	sampleNoise = 0.03
	scaleOff    = 1.0
)

// FitScale learns from networks' sums by family and their measured times.
func FitScale(sums []map[string]float64, measured []float64) (*Scale, error) {
	if len(sums) == 0 || len(sums) != len(measured) {
		return nil, &diag.Error{Place: "samples", Found: "no measured networks", Wanted: "one or more"}
	}
	s := &Scale{}
	for _, m := range sums {
		for f := range m {
			if !slices.Contains(s.families, f) {
				s.families = append(s.families, f)
			}
		}
	}
	slices.Sort(s.families)
	var factors []float64
	for i, m := range sums {
		total := 0.0
		for _, v := range m {
			total += v
		}
		if total > 0 && measured[i] > 0 {
			factors = append(factors, measured[i]/total)
		}
	}
	if len(factors) == 0 {
		return nil, &diag.Error{Place: "samples", Found: "networks of no time", Wanted: "times above zero"}
	}
	common, usual := median(factors), median(measured)
	lambda := func(sd float64) float64 { return sampleNoise * sampleNoise / (sd * sd) }
	prior, lambdas := []float64{0}, []float64{lambda(scaleOff * usual)}
	var x [][]float64
	var y, w []float64
	for range s.families {
		prior, lambdas = append(prior, common), append(lambdas, lambda(scaleOff*common))
	}
	for i, m := range sums {
		row := []float64{1 / measured[i]}
		for _, f := range s.families {
			row = append(row, m[f]/measured[i])
		}
		x, y, w = append(x, row), append(y, 1), append(w, 1)
	}
	s.beta = ridge(x, y, w, prior, lambdas)
	return s, nil
}

// ChooseSamples picks k of the networks to measure on a new device: those whose
// sums by family tell most about every family's factor together (each makes the
// determinant of the information largest).
func ChooseSamples(sums []map[string]float64, k int) []int {
	mean := map[string]float64{}
	for _, m := range sums {
		for f, v := range m {
			mean[f] += v / float64(len(sums))
		}
	}
	families := slices.Sorted(maps.Keys(mean))
	rows := make([][]float64, len(sums))
	for i, m := range sums {
		rows[i] = []float64{1}
		for _, f := range families {
			rows[i] = append(rows[i], m[f]/max(mean[f], 1e-12))
		}
	}
	n := len(families) + 1
	inverse := make([][]float64, n) // of the information
	for i := range inverse {
		inverse[i] = make([]float64, n)
		inverse[i][i] = 1e3
	}
	times := func(x []float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			for j, v := range x {
				out[i] += inverse[i][j] * v
			}
		}
		return out
	}
	var chosen []int
	for len(chosen) < min(k, len(sums)) {
		best, most := -1, 0.0
		for i, x := range rows {
			gain := 0.0
			for j, v := range times(x) {
				gain += v * x[j]
			}
			if gain > most && !slices.Contains(chosen, i) {
				best, most = i, gain
			}
		}
		if best < 0 {
			break
		}
		chosen = append(chosen, best)
		v := times(rows[best])
		for i := range inverse { // Sherman and Morrison
			for j := range inverse[i] {
				inverse[i][j] -= v[i] * v[j] / (1 + most)
			}
		}
	}
	return chosen
}

// Predict gives a network's time on the new device in ms.
func (s *Scale) Predict(sums map[string]float64) float64 {
	t := s.beta[0]
	for i, f := range s.families {
		t += s.beta[i+1] * sums[f]
	}
	return t
}
