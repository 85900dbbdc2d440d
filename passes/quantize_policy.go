package passes

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// quantizeWithin keeps the fewest layers in f32 with which the score drops at
// most opt.MaxDrop: it measures what each layer alone costs, orders layers by
// that, and finds the shortest prefix of that order that meets the limit.
func quantizeWithin(g *ir.Graph, opt QuantizeOptions) (*ir.Graph, *QuantReport, error) {
	floatScore, err := opt.Evaluate(g)
	if err != nil {
		return nil, nil, err
	}
	try := func(o QuantizeOptions, keep []string) (*ir.Graph, *QuantReport, error) {
		o.Policy.Layers = maps.Clone(opt.Policy.Layers)
		if o.Policy.Layers == nil {
			o.Policy.Layers = map[string]string{}
		}
		for _, name := range keep {
			o.Policy.Layers[name] = "f32"
		}
		q, r, err := quantizeOnce(g, o)
		if err != nil {
			return nil, nil, err
		}
		if r.Score, err = opt.Evaluate(q); err != nil {
			return nil, nil, err
		}
		r.FloatScore = floatScore
		return q, r, nil
	}
	best, report, err := try(opt, nil)
	if err != nil || floatScore-report.Score <= opt.MaxDrop {
		return best, report, err
	}
	var names []string
	for _, l := range report.Layers {
		if l.Int8 {
			names = append(names, l.Name)
		}
	}
	// The table is measured with plain rounding, so that many layers can be
	// tried: what a layer costs in int8 shows all the same.
	fast := opt
	fast.Rounding, fast.NoCorrection = Nearest, true
	_, base, err := try(fast, nil)
	if err != nil {
		return nil, nil, err
	}
	var table []Sensitivity
	sqnr := map[string]float64{}
	for _, l := range base.Layers {
		sqnr[l.Name] = l.SQNR
	}
	for i, name := range names {
		_, r, err := try(fast, []string{name})
		if err != nil {
			return nil, nil, err
		}
		table = append(table, Sensitivity{Name: name, Drop: r.Score - base.Score, SQNR: sqnr[name]})
		opt.Progress("sensitivity", i+1, len(names))
	}
	slices.SortStableFunc(table, func(a, b Sensitivity) int {
		switch {
		case a.Drop != b.Drop:
			return sign(b.Drop - a.Drop)
		case a.SQNR != b.SQNR:
			return sign(a.SQNR - b.SQNR)
		}
		return 0
	})
	keep := func(k int) []string {
		out := make([]string, k)
		for i := range out {
			out[i] = table[i].Name
		}
		return out
	}
	// Bisection: more layers in f32 never hurt but for noise, so the result is
	// checked as it is, not assumed.
	lo, hi := 0, len(table) // lo fails; hi may meet the limit
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		q, r, err := try(opt, keep(mid))
		if err != nil {
			return nil, nil, err
		}
		if floatScore-r.Score <= opt.MaxDrop {
			hi, best, report = mid, q, r
		} else {
			lo = mid
		}
	}
	if hi == len(table) {
		if best, report, err = try(opt, keep(hi)); err != nil {
			return nil, nil, err
		}
	}
	report.Sensitivity = table
	report.Notes = append(report.Notes, fmt.Sprintf("%d layers stay f32 to keep the drop within %g", hi, opt.MaxDrop))
	return best, report, nil
}

func sign(f float64) int {
	switch {
	case f > 0 || math.IsNaN(f):
		return 1
	case f < 0:
		return -1
	}
	return 0
}
