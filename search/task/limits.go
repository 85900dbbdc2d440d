package task

import (
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
)

// Feasible refuses limits that no network of the space keeps, as far as what is
// known without training says. The least found of the metric is in the error.
func (o *Opened) Feasible(goal search.Goal) error {
	for _, l := range goal.Limits {
		if l.Metric.Maximize {
			continue
		}
		least, err := o.least(l.Metric.Name)
		if err != nil {
			return err
		}
		if least > l.Bound {
			return &diag.Error{
				Place: fmt.Sprintf("--max-%s %g", l.Metric.Name, l.Bound), Found: fmt.Sprintf("a limit that no network keeps: the least found is %.4g%s", least, unit(l.Metric)),
				Wanted: fmt.Sprintf("%.4g or more", ceil(least)), Fix: "raise the limit, or take a space with smaller networks",
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

// least finds the smallest value of a metric, +Inf becoming 0 where it is not
// known before training.
func (o *Opened) least(metric string) (float64, error) {
	value := func(g search.Genotype) (float64, bool) {
		m, err := o.Cheap(g)
		v, ok := m[metric]
		return v, err == nil && ok // a network that cannot be built is none that keeps the limit
	}
	best, known := math.Inf(1), false
	if o.Students != nil {
		if v, ok := value(o.Students.Smallest()); ok {
			return v, nil
		}
		return 0, nil
	}
	if n := o.Space.Count(); o.Table != nil || n.IsInt64() && n.Int64() <= exhaustive {
		each(o.Space, func(g search.Genotype) {
			if v, ok := value(g); ok {
				best, known = min(best, v), true
			}
		})
	} else {
		type drawn struct {
			g search.Genotype
			v float64
		}
		var from []drawn
		r := rand.New(rand.NewPCG(o.Seed, 0x6c65617374))
		for range limitDraws {
			g := search.Draw(o.Space, r)
			if v, ok := value(g); ok {
				from = append(from, drawn{g, v})
			}
		}
		slices.SortStableFunc(from, func(a, b drawn) int {
			if a.v < b.v {
				return -1
			} else if a.v > b.v {
				return 1
			}
			return 0
		})
		for _, d := range from[:min(limitRuns, len(from))] {
			g, v := d.g, d.v
			for better := true; better; {
				better = false
				for _, i := range search.ActiveGenes(o.Space, g) {
					for k := range o.Space.Genes()[i].Options {
						next := slices.Clone(g)
						next[i] = k
						next = search.Canonical(o.Space, next)
						if w, ok := value(next); ok && w < v {
							g, v, better = next, w, true
						}
					}
					if better {
						break // other genes may be active now
					}
				}
			}
			best, known = min(best, v), true
		}
	}
	if !known {
		return 0, nil
	}
	return best, nil
}

// each goes through all networks of a space.
func each(s search.Space, f func(search.Genotype)) {
	genes := s.Genes()
	g := make(search.Genotype, len(genes))
	for {
		f(slices.Clone(g))
		active := search.ActiveGenes(s, g)
		at := len(active) - 1
		for at >= 0 && g[active[at]]+1 == len(genes[active[at]].Options) {
			at--
		}
		if at < 0 {
			return
		}
		g[active[at]]++
		for i := range g {
			if !slices.Contains(active[:at+1], i) {
				g[i] = 0
			}
		}
	}
}
