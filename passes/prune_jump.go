package passes

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// Time does not fall with every channel: a register holds 16 or 64 of them, and
// a small layer takes as long as a smaller one. Where the cost is the time of a
// device, groups therefore lose channels in jumps to the widths that pay, as in
// HALP (Shen et al. 2022, Structural Pruning via Latency-Saliency Knapsack): what
// each group saves at some widths is asked for, and the jumps that lose the least
// worth for what they save come first.

// jumpWidths is about how many narrower widths of a group are looked at.
const jumpWidths = 8

// jump takes a group from a width to a narrower one.
type jump struct {
	group, from, to int
	price           float64 // worth lost by cost saved
}

// narrower lists the widths of a group that are looked at, the widest first:
// multiples of the step or of a power of two, as registers are.
func (x *group) narrower() []int {
	n := len(x.Units)
	unit := max(1, 1<<bits.Len(uint((n*x.each-1)/jumpWidths))/x.each)
	if x.step > 1 {
		unit = x.step / gcd(x.step, x.each)
		for n/unit > jumpWidths {
			unit *= 2
		}
	}
	var out []int
	for keep := (n - 1) / unit * unit; keep >= x.least; keep -= unit {
		out = append(out, keep)
	}
	return out
}

// option is a width of a group: what it saves and loses beside all of it.
type option struct {
	keep        int
	saved, lost float64
}

// hull gives the jumps from option to option along which each saves the most for
// what it loses; the first option is the whole group.
func hull(group int, options []option) []jump {
	var out []jump
	at := options[0]
	for {
		next, best := at, 0.0
		for _, o := range options {
			if o.saved <= at.saved || o.keep >= at.keep {
				continue
			}
			price := (o.lost - at.lost) / (o.saved - at.saved)
			if next.keep == at.keep || price < best || price == best && o.keep > next.keep {
				next, best = o, price
			}
		}
		if next.keep == at.keep {
			return out
		}
		out = append(out, jump{group, at.keep, next.keep, best})
		at = next
	}
}

// jumps gives those of all groups, the cheapest first.
func (f *finder) jumps(ctx context.Context) ([]jump, error) {
	var out []jump
	for i, x := range f.groups {
		f.Progress("what widths save", i+1, len(f.groups))
		graphs := []*ir.Graph{f.g}
		widths := x.narrower()
		for _, w := range widths {
			keep := f.full()
			keep[i] = w
			g, err := f.narrowed(keep)
			if err != nil {
				return nil, err
			}
			graphs = append(graphs, g)
		}
		if len(widths) == 0 {
			continue
		}
		costs, err := f.Weigh(ctx, graphs)
		if err != nil {
			return nil, err
		}
		options := []option{{keep: len(x.Units)}}
		lost, left := 0.0, len(x.Units)
		for k, w := range widths {
			for ; left > w; left-- {
				lost += x.worth(left)
			}
			options = append(options, option{w, costs[0] - costs[k+1], lost})
		}
		out = append(out, hull(i, options)...)
	}
	slices.SortStableFunc(out, func(a, b jump) int { return cmp.Compare(a.price, b.price) })
	return out, nil
}

// byJumps takes as few jumps as meet the target, then takes back what it has
// room for, the dearest first.
func (f *finder) byJumps(ctx context.Context, whole float64) (keep []int, cost float64, err error) {
	jumps, err := f.jumps(ctx)
	if err != nil {
		return nil, 0, err
	}
	after := func(taken []jump) []int {
		keep := f.full()
		for _, j := range taken {
			keep[j.group] = min(keep[j.group], j.to)
		}
		return keep
	}
	keep = after(jumps)
	if cost, err = f.of(ctx, keep); err != nil {
		return nil, 0, err
	}
	if cost > f.Target {
		return nil, 0, f.unreachable(cost, whole)
	}
	lo, hi := 0, len(jumps)
	for done := 1; hi-lo > 1; done++ {
		f.Progress("prune", done, done+bits.Len(uint(hi-lo-1)))
		mid := (lo + hi) / 2
		w := after(jumps[:mid])
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
	taken := slices.Clone(jumps[:hi])
	for i := len(taken) - 2; i >= 0 && len(jumps[:hi])-i <= jumpWidths; i-- {
		f.Progress("widen again", hi-1-i, min(hi-1, jumpWidths))
		fewer := slices.Delete(slices.Clone(taken), i, i+1)
		w := after(fewer)
		if slices.Equal(w, keep) { // a later jump of the group goes as far
			continue
		}
		c, err := f.of(ctx, w)
		if err != nil {
			return nil, 0, err
		}
		if c <= f.Target {
			taken, keep, cost = fewer, w, c
		}
	}
	return keep, cost, nil
}
