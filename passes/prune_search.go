package passes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// finder looks for the widths that cost what they may.
type finder struct {
	*PruneOptions
	g      *ir.Graph
	an     *coupling.Analysis
	groups []*group
	order  [][]*group // in which they lose units, where not all lose the same share
}

// of is the cost where each group keeps so many units.
func (f *finder) of(ctx context.Context, keep []int) (float64, error) {
	c, err := f.narrowed(keep)
	if err != nil {
		return 0, err
	}
	return f.Cost(ctx, c)
}

// narrowed is a copy where each group keeps so many units.
func (f *finder) narrowed(keep []int) (*ir.Graph, error) {
	c := f.g.Clone()
	if _, err := coupling.Analyze(c).Rewrite(f.plan(keep)); err != nil {
		return nil, err
	}
	c.RemoveDead()
	return c, nil
}

// unreachable says that the target cannot be met.
func (o *PruneOptions) unreachable(least, whole float64) error {
	text := func(v float64) string { return strings.TrimSpace(fmt.Sprintf("%.5g %s", v, o.Unit)) }
	return &diag.Error{
		Place: "prune", Found: fmt.Sprintf("%s where all that can go is gone, of %s", text(least), text(whole)),
		Wanted: text(o.Target), Fix: "a higher target, or a smaller --keep",
	}
}

// full is every group as it is.
func (f *finder) full() []int {
	keep := make([]int, len(f.groups))
	for i, x := range f.groups {
		keep[i] = len(x.Units)
	}
	return keep
}

// find gives how many units each group keeps, and what that costs: the least
// share of the ranked units goes at which the cost meets the target, and what
// the target still has room for comes back.
func (f *finder) find(ctx context.Context) (keep []int, cost float64, err error) {
	keep = f.full()
	if cost, err = f.Cost(ctx, f.g); err != nil || cost <= f.Target {
		return keep, cost, err
	}
	whole := cost
	if f.Weigh != nil && f.Scope == "global" {
		return f.byJumps(ctx, whole)
	}
	if err := f.slopes(ctx, cost); err != nil {
		return nil, 0, err
	}
	if f.Scope != "local" {
		f.order = f.sequences()
	}
	lo, hi := 0.0, 1.0
	least := f.widths(hi)
	if cost, err = f.of(ctx, least); err != nil {
		return nil, 0, err
	}
	if cost > f.Target {
		return nil, 0, f.unreachable(cost, whole)
	}
	keep = least
	const rounds = 12
	for i := range rounds {
		f.Progress("prune", i+1, rounds)
		mid := (lo + hi) / 2
		w := f.widths(mid)
		c, err := f.of(ctx, w)
		if err != nil {
			return nil, 0, err
		}
		if c <= f.Target {
			hi, keep, cost = mid, w, c
		} else {
			lo = mid
		}
	}
	return f.refill(ctx, keep, cost)
}

// slopes measures what a unit of each group costs, as the mean over half of it.
func (f *finder) slopes(ctx context.Context, whole float64) error {
	if !f.PerCost {
		return nil
	}
	for i, x := range f.groups {
		f.Progress("cost of channels", i+1, len(f.groups))
		keep := f.full()
		n := keep[i]
		keep[i] = x.rounded(max(x.least, (n+1)/2))
		if keep[i] == n {
			continue
		}
		c, err := f.of(ctx, keep)
		if err != nil {
			return err
		}
		// What costs nothing to keep is ranked as if it cost a little.
		x.cost = max((whole-c)/float64(n-keep[i]), 1e-6*whole/float64(n))
	}
	return nil
}

// worth ranks the unit of a group that goes next, where so many are left, among
// those of other groups.
func (x *group) worth(left int) float64 {
	next := x.order[len(x.order)-left:]
	w := x.score[next[0]] / x.cost
	if !x.relative {
		return w
	}
	mean := 0.0
	for _, u := range next {
		mean += x.score[u] / float64(left)
	}
	if mean > 0 {
		w /= mean
	}
	return w
}

// sequence is the order in which groups lose units, one at a time, until each
// has the least it may have.
func sequence(groups []*group) []*group {
	left := make([]int, len(groups))
	worth := make([]float64, len(groups))
	for i, x := range groups {
		left[i] = len(x.Units)
		worth[i] = x.worth(left[i])
	}
	var out []*group
	for {
		low := -1
		for i, x := range groups {
			if left[i] > x.least && (low < 0 || worth[i] < worth[low]) {
				low = i
			}
		}
		if low < 0 {
			return out
		}
		x := groups[low]
		out = append(out, x)
		left[low]--
		worth[low] = x.worth(left[low])
	}
}

// sequences are those of the groups that are ranked together.
func (f *finder) sequences() [][]*group {
	var classes []string
	of := map[string][]*group{}
	for _, x := range f.groups {
		class := ""
		if f.Scope == "alike" {
			class = fmt.Sprintf("%s %d %v", x.Producers[0].Op.Name, len(x.Units), len(x.Producers))
		}
		if of[class] == nil {
			classes = append(classes, class)
		}
		of[class] = append(of[class], x)
	}
	var out [][]*group
	for _, c := range classes {
		out = append(out, sequence(of[c]))
	}
	return out
}

// widths removes the given share of what can go.
func (f *finder) widths(share float64) []int {
	removed := map[*group]int{}
	if f.Scope == "local" {
		for _, x := range f.groups {
			removed[x] = int(share * float64(len(x.Units)))
		}
	}
	for _, s := range f.order {
		for _, x := range s[:int(share*float64(len(s)))] {
			removed[x]++
		}
	}
	keep := make([]int, len(f.groups))
	for i, x := range f.groups {
		keep[i] = x.rounded(max(len(x.Units)-removed[x], x.least))
	}
	return keep
}

// refill gives back what the target has room for, the most worth first.
func (f *finder) refill(ctx context.Context, keep []int, cost float64) ([]int, float64, error) {
	if f.Scope == "local" { // the same share of all
		return keep, cost, nil
	}
	tight := make([]bool, len(keep))
	tries := len(keep) + 12
	for k := range tries {
		f.Progress("widen again", k+1, tries)
		best, most := -1, 0.0
		for i, x := range f.groups {
			n := len(x.Units)
			if tight[i] || keep[i] >= n {
				continue
			}
			if w := x.worth(keep[i] + 1); best < 0 || w > most {
				best, most = i, w
			}
		}
		if best < 0 {
			break
		}
		wider := slices.Clone(keep)
		wider[best] = f.groups[best].rounded(keep[best] + 1)
		c, err := f.of(ctx, wider)
		if err != nil {
			return nil, 0, err
		}
		if c > f.Target {
			tight[best] = true
			continue
		}
		keep, cost = wider, c
	}
	return keep, cost, nil
}

// plan removes what the groups do not keep, but for what must stay so that
// something is left of every axis.
func (f *finder) plan(keep []int) coupling.Plan {
	p := coupling.Plan{Copies: map[coupling.Unit]int{}}
	for i, x := range f.groups {
		gone := map[coupling.Unit]bool{}
		for _, u := range x.order[:len(x.Units)-keep[i]] {
			gone[u] = true
		}
		for _, u := range f.an.LeastKept(gone, x.score) {
			delete(gone, u)
		}
		for u := range gone {
			p.Copies[u] = 0
		}
	}
	return p
}

// rounded makes the width a multiple of the step by keeping more.
func (x *group) rounded(keep int) int {
	if x.step < 2 {
		return min(keep, len(x.Units))
	}
	step := x.step / gcd(x.step, x.each) // units
	return min(len(x.Units), (keep+step-1)/step*step)
}
