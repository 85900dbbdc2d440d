package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// How the least of a metric is looked for: all networks of small spaces;
// otherwise descent, one choice at a time, from the best of some drawn ones.
const (
	exhaustive = 20000
	limitDraws = 200
	limitRuns  = 3
	limitTries = 20000 // networks looked at, at most
	limitSteps = 16    // options of a choice that are tried, where there are more
)

// Feasible refuses limits that no network of the space keeps, as far as what is
// known without training says. The least found of the metric is in the error.
// progress hears of the networks looked at.
func (o *Opened) Feasible(ctx context.Context, goal search.Goal, progress func(done, total int)) error {
	for _, l := range goal.Limits {
		if l.Metric.Maximize {
			continue
		}
		x := &leastSearch{Opened: o, ctx: ctx, metric: l.Metric.Name, bound: l.Bound, progress: progress, best: math.Inf(1)}
		if err := x.run(); err != nil {
			return err
		}
		if x.known && !x.cut && x.best > l.Bound {
			return &diag.Error{
				Place: fmt.Sprintf("--max-%s %g", l.Metric.Name, l.Bound), Found: fmt.Sprintf("a limit that no network keeps: the least found is %.4g%s", x.best, unit(l.Metric)),
				Wanted: fmt.Sprintf("%.4g or more", ceil(x.best)), Fix: "raise the limit, or take a space with smaller networks",
			}
		}
	}
	return nil
}

func unit(m search.Metric) string {
	if m.Unit == "" {
		return ""
	}
	return " " + m.Unit
}

// ceil rounds up to four digits, so that the limit that is proposed can be kept.
func ceil(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v))-3)
	return math.Ceil(v/p) * p
}

// leastSearch looks for a network that keeps a limit, and ends at the first.
type leastSearch struct {
	*Opened
	ctx      context.Context
	metric   string
	bound    float64
	progress func(done, total int)

	best  float64
	known bool // some network's value is
	tries int
	most  int  // tries that there may be, for progress
	cut   bool // there were more networks than tries
}

var errEnough = errors.New("a network keeps the limit, or enough were looked at")

// value is a network's metric. A network that cannot be built is none that keeps
// the limit.
func (x *leastSearch) value(g search.Genotype) (float64, bool, error) {
	if err := x.ctx.Err(); err != nil {
		return 0, false, err
	}
	if x.tries == limitTries && x.most > limitTries {
		x.cut = true
		return 0, false, errEnough
	}
	x.tries++
	x.progress(min(x.tries, x.most), x.most)
	m, err := x.Cheap(g)
	v, ok := m[x.metric]
	if err != nil || !ok {
		return 0, false, nil
	}
	x.best, x.known = min(x.best, v), true
	if v <= x.bound {
		return v, true, errEnough
	}
	return v, true, nil
}

func (x *leastSearch) run() error {
	err := x.look()
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (x *leastSearch) look() error {
	if x.Students != nil {
		x.most = 1
		_, _, err := x.value(x.Students.Smallest())
		return err
	}
	if n := x.Space.Count(); x.Table != nil || n.IsInt64() && n.Int64() <= exhaustive {
		x.most = exhaustive
		if n.IsInt64() {
			x.most = min(x.most, int(n.Int64()))
		}
		return each(x.Space, func(g search.Genotype) error {
			_, _, err := x.value(g)
			return err
		})
	}
	return x.descend()
}

// descend takes the best of drawn networks and changes a choice at a time for
// as long as that makes it smaller.
func (x *leastSearch) descend() error {
	type drawn struct {
		g search.Genotype
		v float64
	}
	var from []drawn
	x.most = limitTries + 1
	r := rand.New(rand.NewPCG(x.Seed, 0x6c65617374))
	for range limitDraws {
		g := search.Draw(x.Space, r)
		v, ok, err := x.value(g)
		if err != nil {
			return err
		}
		if ok {
			from = append(from, drawn{g, v})
		}
	}
	slices.SortStableFunc(from, func(a, b drawn) int { return cmp.Compare(a.v, b.v) })
	genes := x.Space.Genes()
	for _, d := range from[:min(limitRuns, len(from))] {
		g, v := d.g, d.v
		for better := true; better; {
			better = false
			for i := range genes { // which of them are active changes on the way
				if !slices.Contains(search.ActiveGenes(x.Space, g), i) {
					continue
				}
				for _, k := range steps(len(genes[i].Options), g[i]) {
					next := slices.Clone(g)
					next[i] = k
					next = search.Canonical(x.Space, next)
					w, ok, err := x.value(next)
					if err != nil {
						return err
					}
					if ok && w < v {
						g, v, better = next, w, true
					}
				}
			}
		}
	}
	return nil
}

// steps are the options of n that are tried beside option at: all, or some over
// the whole range and the two next to it.
func steps(n, at int) []int {
	var out []int
	if n <= limitSteps {
		for k := range n {
			out = append(out, k)
		}
	} else {
		for k := range limitSteps - 2 {
			out = append(out, k*(n-1)/(limitSteps-3))
		}
		out = append(out, max(at-1, 0), min(at+1, n-1))
	}
	return slices.DeleteFunc(out, func(k int) bool { return k == at })
}

// each goes through all networks of a space.
func each(s search.Space, f func(search.Genotype) error) error {
	genes := s.Genes()
	g := make(search.Genotype, len(genes))
	for {
		if err := f(slices.Clone(g)); err != nil {
			return err
		}
		active := search.ActiveGenes(s, g)
		at := len(active) - 1
		for at >= 0 && g[active[at]]+1 == len(genes[active[at]].Options) {
			at--
		}
		if at < 0 {
			return nil
		}
		g[active[at]]++
		for i := range g {
			if !slices.Contains(active[:at+1], i) {
				g[i] = 0
			}
		}
	}
}
