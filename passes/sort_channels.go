package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// sortChannels puts the channels with the greatest weights first, so that the
// first k of them are the k to keep.
//
//	@w [4,3] columns of |sum| 1, 5, 2   →   @w columns of |sum| 5, 2, 1
//
// Weights that make channels, those that sum over them and all between are
// permuted alike. Safe within rounding: sums come in another order.
func sortChannels(g *ir.Graph, a Args) (*Grown, error) {
	an := coupling.Analyze(g)
	grown := &Grown{}
	plan := coupling.Plan{Place: map[coupling.Unit]coupling.Unit{}}
	score := magnitudes(an)
	for _, group := range an.Groups() {
		i := slices.IndexFunc(group.Producers, a.takes)
		if i < 0 || len(group.Units) < 2 {
			continue
		}
		label, why := group.Producers[i].Label(), group.Fixed
		sorted := slices.Clone(group.Units)
		slices.SortStableFunc(sorted, func(x, y coupling.Unit) int {
			switch {
			case score[x] > score[y]:
				return -1
			case score[x] < score[y]:
				return 1
			}
			return 0
		})
		if why == "" && slices.Equal(sorted, group.Units) {
			continue // they are
		}
		place := map[coupling.Unit]coupling.Unit{}
		for k, u := range group.Units {
			place[u] = sorted[k]
		}
		if why == "" {
			if err := an.Check(coupling.Plan{Place: place}); err != nil {
				why = err.Error()
			}
		}
		if why != "" {
			grown.Refused = append(grown.Refused, Refusal{label, why})
			continue
		}
		for u, v := range place {
			plan.Place[u] = v
		}
		grown.Places = append(grown.Places, label)
	}
	if len(grown.Places) == 0 {
		if _, ok := a["node"]; ok && len(grown.Refused) == 0 {
			return grown, nil // in order already
		}
		return grown, grown.named(a)
	}
	if _, err := an.Rewrite(plan); err != nil {
		return nil, &diag.Error{Err: err, Fix: "name the places one by one with node="}
	}
	return grown, nil
}

// magnitudes sums |w| of the weights that make each unit.
func magnitudes(an *coupling.Analysis) map[coupling.Unit]float64 {
	score := map[coupling.Unit]float64{}
	for _, m := range an.Constants() {
		if m.Sums || len(m.Value.Type.Shape) < 2 || !m.Value.Const.DType.IsFloat() {
			continue
		}
		inner, extent := m.Value.Type.Shape[m.Axis+1:].Elems(), len(m.Units)
		for i := range m.Value.Const.Len() {
			v := m.Value.Const.At(i)
			score[m.Units[i/inner%extent]] += max(v, -v)
		}
	}
	return score
}
