package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

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
	// Where limits are to be kept together; descent finds some network sooner, or
	// stands still.
	togetherTries = 5000
	limitSteps    = 16 // options of a choice that are tried, where there are more
)

// Feasible refuses limits that no network of the space keeps, each alone or all
// together, as far as what is known without training says. The least found of the
// metric is in the error. Of a space that is too large to look at each network it
// warns where it finds none that keeps all limits. progress hears of the networks
// looked at.
func (o *Opened) Feasible(ctx context.Context, goal search.Goal, progress func(done, total int), warn func(text string)) error {
	together := search.Goal{}
	var from []search.Genotype
	for _, l := range goal.Limits {
		if l.Metric.Maximize {
			continue
		}
		x := &leastSearch{Opened: o, ctx: ctx, bound: l.Bound, progress: progress, best: math.Inf(1), tryMost: limitTries}
		x.value = func(m map[string]float64) (float64, bool) {
			v, ok := m[l.Metric.Name]
			return v, ok
		}
		if err := x.run(); err != nil {
			return err
		}
		if x.known && !x.cut && x.best > l.Bound {
			return &diag.Error{
				Place: fmt.Sprintf("--max-%s %g", l.Metric.Name, l.Bound), Found: fmt.Sprintf("a limit that no network keeps: the least found is %.4g%s", x.best, unit(l.Metric)),
				Wanted: fmt.Sprintf("%.4g or more", ceil(x.best)), Fix: "raise the limit, or take a space with smaller networks",
			}
		}
		if x.known {
			together.Limits, from = append(together.Limits, l), append(from, x.at)
		}
	}
	if len(together.Limits) < 2 || o.Students != nil { // the smallest student has the least of all
		return nil
	}
	return o.feasibleTogether(ctx, together, from, progress, warn)
}

// feasibleTogether looks for a network that keeps several limits at once, from
// networks that keep one of them on.
func (o *Opened) feasibleTogether(ctx context.Context, goal search.Goal, from []search.Genotype, progress func(done, total int), warn func(text string)) error {
	x := &leastSearch{Opened: o, ctx: ctx, progress: progress, best: math.Inf(1), from: from, tryMost: togetherTries}
	x.value = func(m map[string]float64) (float64, bool) {
		for _, l := range goal.Limits {
			if _, ok := m[l.Metric.Name]; !ok {
				return 0, false
			}
		}
		return goal.Violation(m), true
	}
	if err := x.run(); err != nil {
		return err
	}
	if !x.known || x.best == 0 {
		return nil
	}
	m, err := o.Cheap(x.at)
	if err != nil {
		return err
	}
	var limits, nearest []string
	for _, l := range goal.Limits {
		limits = append(limits, fmt.Sprintf("--max-%s %g", l.Metric.Name, l.Bound))
		text := strconv.FormatFloat(m[l.Metric.Name], 'g', -1, 64)
		if l.Metric.Name == "ms" {
			text = fmt.Sprintf("%.4g", m[l.Metric.Name])
		}
		nearest = append(nearest, text+cmp.Or(unit(l.Metric), " "+l.Metric.Name))
	}
	near := fmt.Sprintf("the nearest, %s, has %s", x.at, strings.Join(nearest, ", "))
	if !x.all {
		warn(fmt.Sprintf("%s: none of %d networks looked at keeps them together; %s", strings.Join(limits, ", "), x.tries, near))
		return nil
	}
	return &diag.Error{Place: strings.Join(limits, ", "), Found: "limits that no network keeps together, each alone some do: " + near, Wanted: "limits that one network keeps", Fix: "raise one of them, or take a space with smaller networks"}
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

// leastSearch looks for a network whose value is at most the bound, and ends at
// the first.
type leastSearch struct {
	*Opened
	ctx      context.Context
	value    func(metrics map[string]float64) (float64, bool)
	bound    float64
	from     []search.Genotype // to descend from, beside drawn ones
	tryMost  int
	progress func(done, total int)

	best  float64
	at    search.Genotype // whose value is best
	known bool            // some network's value is
	tries int
	most  int  // tries that there may be, for progress
	cut   bool // there were more networks than tries
	all   bool // each network of the space was looked at
}

var errEnough = errors.New("a network keeps the limit, or enough were looked at")

// look takes a network's value. A network that cannot be built is none that keeps
// the limit.
func (x *leastSearch) look(g search.Genotype) (float64, bool, error) {
	if err := x.ctx.Err(); err != nil {
		return 0, false, err
	}
	if x.tries == x.tryMost && x.most > x.tryMost {
		x.cut = true
		return 0, false, errEnough
	}
	x.tries++
	x.progress(min(x.tries, x.most), x.most)
	m, err := x.Cheap(g)
	if err != nil {
		return 0, false, nil
	}
	v, ok := x.value(m)
	if !ok {
		return 0, false, nil
	}
	if !x.known || v < x.best {
		x.best, x.at = v, slices.Clone(g)
	}
	x.known = true
	if v <= x.bound {
		return v, true, errEnough
	}
	return v, true, nil
}

func (x *leastSearch) run() error {
	err := x.through()
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (x *leastSearch) through() error {
	if x.Students != nil {
		x.most = 1
		_, _, err := x.look(x.Students.Smallest())
		return err
	}
	if n := x.Space.Count(); x.Table != nil || n.IsInt64() && n.Int64() <= exhaustive {
		x.most = exhaustive
		if n.IsInt64() {
			x.most = min(x.most, int(n.Int64()))
		}
		x.tryMost = x.most
		err := each(x.Space, func(g search.Genotype) error {
			_, _, err := x.look(g)
			return err
		})
		x.all = err == nil
		return err
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
	x.most = x.tryMost + 1
	r := rand.New(rand.NewPCG(x.Seed, 0x6c65617374))
	for range limitDraws {
		g := search.Draw(x.Space, r)
		v, ok, err := x.look(g)
		if err != nil {
			return err
		}
		if ok {
			from = append(from, drawn{g, v})
		}
	}
	slices.SortStableFunc(from, func(a, b drawn) int { return cmp.Compare(a.v, b.v) })
	from = from[:min(limitRuns, len(from))]
	for _, g := range x.from {
		v, ok, err := x.look(g)
		if err != nil {
			return err
		}
		if ok {
			from = append(from, drawn{g, v})
		}
	}
	genes := x.Space.Genes()
	for _, d := range from {
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
					w, ok, err := x.look(next)
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
