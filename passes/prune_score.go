package passes

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// Criteria are the ways to rank units. Of weights: l2, the sum of squares of what
// makes and reads a unit, relative to the mean of those that are left. Of weights with the batch
// norms behind them folded in: l1, the same of absolute values; lamp, its share of all that is as large; fpgm, its
// distance from the other units; bn-scale, |scale| of its batch norms. Of data:
// activation, the mean |x|; taylor, what the loss would change by to first
// order; hessian, to second order, by the curvature's diagonal. random is the
// baseline.
var Criteria = []string{"l1", "l2", "lamp", "fpgm", "bn-scale", "activation", "taylor", "hessian", "random"}

// relative are the criteria of sizes, which compare units within a group alone:
// between groups a size counts beside the mean of those that are left, anew for
// each unit that goes, as in Fang et al. 2023 (DepGraph) where a network is pruned
// in many small steps.
var relative = []string{"l1", "l2", "fpgm", "activation"}

func (o *PruneOptions) scores(ctx context.Context, g *ir.Graph, an *coupling.Analysis) (map[coupling.Unit]float64, error) {
	switch o.Criterion {
	case "l1":
		return bySize(weightsOf(g, an, true), math.Abs), nil
	case "l2":
		// As they are trained: what is left is trained on with its batch norms.
		return bySize(weightsOf(g, an, false), func(v float64) float64 { return v * v }), nil
	case "lamp":
		return lamp(weightsOf(g, an, true), an), nil
	case "fpgm":
		return geometricMedian(weightsOf(g, an, true)), nil
	case "bn-scale":
		return bnScale(an)
	case "activation":
		return o.activation(ctx, g, an)
	case "taylor", "hessian":
		return o.ofLoss(ctx, g, an)
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x7072))
	score := map[coupling.Unit]float64{}
	for _, x := range an.Groups() {
		for _, u := range x.Units {
			score[u] = r.Float64()
		}
	}
	return score, nil
}

// member is weights of a layer along one axis, with their numbers.
type member struct {
	coupling.Member
	w []float64
}

// weightsOf lists the weights of layers, folded ones with the factors of batch
// norms that follow them alone.
func weightsOf(g *ir.Graph, an *coupling.Analysis, folded bool) []member {
	uses := g.Uses()
	known := map[*ir.Value][]float64{}
	var out []member
	for _, m := range an.Constants() {
		if !layerWeights(m) {
			continue
		}
		w, ok := known[m.Value]
		if !ok {
			w = make([]float64, m.Value.Const.Len())
			for i := range w {
				w[i] = m.Value.Const.At(i)
			}
			if b := normAfter(uses, m.Node); folded && b != nil && len(uses[m.Value]) == 1 {
				scale, variance := b.Inputs[1].Const, b.Inputs[4].Const
				for i := range w {
					c := i % scale.Len()
					w[i] *= scale.At(c) / math.Sqrt(variance.At(c)+b.Float("epsilon"))
				}
			}
			known[m.Value] = w
		}
		out = append(out, member{m, w})
	}
	return out
}

// normAfter is the batch norm that alone reads a layer's result.
func normAfter(uses map[*ir.Value][]ir.Use, n *ir.Node) *ir.Node {
	u := uses[n.Out()]
	if len(u) != 1 || u[0].Node == nil || u[0].Node.Op.Name != "batch_norm_inference" || u[0].Index != 0 {
		return nil
	}
	b := u[0].Node
	s := n.Out().Type.Shape
	for _, v := range b.Inputs[1:] {
		if !v.IsConst() || v.Const.Len() != s[len(s)-1] {
			return nil
		}
	}
	if w := n.In(1); w == nil || w.Type.Shape[len(w.Type.Shape)-1] != s[len(s)-1] {
		return nil
	}
	return b
}

// perUnit sums f over the elements of a constant, by the unit of their position
// on an axis.
func perUnit(m coupling.Member, f func(i int) float64) map[coupling.Unit]float64 {
	out := map[coupling.Unit]float64{}
	inner, extent, n := m.Value.Type.Shape[m.Axis+1:].Elems(), len(m.Units), m.Value.Const.Len()
	for k, u := range m.Units {
		s := 0.0
		for i := k * inner; i < n; i += extent * inner {
			for j := i; j < i+inner; j++ {
				s += f(j)
			}
		}
		out[u] += s
	}
	return out
}

// layerWeights says whether a member is weights of a layer: a bias says little of
// what a channel does.
func layerWeights(m coupling.Member) bool {
	return len(m.Value.Type.Shape) >= 2 && m.Node.Op.Class == ir.Contraction && m.Value.Const.DType.IsFloat()
}

// bySize averages the sizes of a unit's weights, each relative to the mean of
// its layer, so that layers of different scale can be ranked together.
func bySize(ms []member, f func(float64) float64) map[coupling.Unit]float64 {
	sum, count := map[coupling.Unit]float64{}, map[coupling.Unit]float64{}
	for _, m := range ms {
		per := perUnit(m.Member, func(i int) float64 { return f(m.w[i]) })
		mean := 0.0
		for _, v := range per {
			mean += v / float64(len(per))
		}
		for u, v := range per {
			if mean > 0 {
				sum[u] += v / mean
			}
			count[u]++
		}
	}
	for u := range sum {
		sum[u] /= count[u]
	}
	return sum
}

// lamp is Lee et al. 2021 on units: the square of a unit over the sum of the
// squares of the units of its group that are not smaller.
func lamp(ms []member, an *coupling.Analysis) map[coupling.Unit]float64 {
	square := map[coupling.Unit]float64{}
	for _, m := range ms {
		if !m.Sums {
			for u, v := range perUnit(m.Member, func(i int) float64 { return m.w[i] * m.w[i] }) {
				square[u] += v
			}
		}
	}
	score := map[coupling.Unit]float64{}
	for _, x := range an.Groups() {
		sorted := slices.Clone(x.Units)
		slices.SortStableFunc(sorted, func(a, b coupling.Unit) int { return cmp.Compare(square[b], square[a]) })
		sum := 0.0
		for _, u := range sorted {
			if sum += square[u]; sum > 0 {
				score[u] = square[u] / sum
			}
		}
	}
	return score
}

// fpgmSize bounds the elements of each unit that distances are measured on.
const fpgmSize = 256

// geometricMedian is He et al. 2019: units near to all others can be spared.
func geometricMedian(ms []member) map[coupling.Unit]float64 {
	score, count := map[coupling.Unit]float64{}, map[coupling.Unit]float64{}
	for _, m := range ms {
		if m.Sums {
			continue
		}
		rows := map[coupling.Unit][]float64{}
		var units []coupling.Unit
		total := m.Value.Const.Len() / max(1, len(m.Units))
		every := max(1, total/fpgmSize)
		seen := map[coupling.Unit]int{}
		inner, extent := m.Value.Type.Shape[m.Axis+1:].Elems(), len(m.Units)
		for i := range m.w {
			u := m.Units[i/inner%extent]
			if seen[u]%every == 0 {
				if rows[u] == nil {
					units = append(units, u)
				}
				rows[u] = append(rows[u], m.w[i])
			}
			seen[u]++
		}
		far := make([]float64, len(units))
		for i, u := range units {
			for j := i + 1; j < len(units); j++ {
				s, a, b := 0.0, rows[u], rows[units[j]]
				for k := range min(len(a), len(b)) {
					s += (a[k] - b[k]) * (a[k] - b[k])
				}
				far[i] += math.Sqrt(s)
				far[j] += math.Sqrt(s)
			}
		}
		mean := 0.0
		for _, f := range far {
			mean += f / float64(len(far))
		}
		for i, u := range units {
			if mean > 0 {
				score[u] += far[i] / mean
			}
			count[u]++
		}
	}
	for u := range score {
		score[u] /= count[u]
	}
	return score
}

// bnScale is Liu et al. 2017: the factors of batch norms.
func bnScale(an *coupling.Analysis) (map[coupling.Unit]float64, error) {
	score, count := map[coupling.Unit]float64{}, map[coupling.Unit]float64{}
	for _, m := range an.Constants() {
		if m.Node.Op.Name != "batch_norm_inference" || m.Value != m.Node.Inputs[1] {
			continue
		}
		for u, v := range perUnit(m, func(i int) float64 { return math.Abs(m.Value.Const.At(i)) }) {
			score[u] += v
			count[u]++
		}
	}
	if len(score) == 0 {
		return nil, &diag.Error{Place: "--criterion", Found: "bn-scale, and a network without batch norms", Wanted: "one whose batch norms are not folded yet", Fix: "prune the model as it was trained, or take another criterion"}
	}
	for u := range score {
		score[u] /= count[u]
	}
	for _, x := range an.Groups() { // units without one stay
		for _, u := range x.Units {
			if count[u] == 0 {
				score[u] = math.Inf(1)
			}
		}
	}
	return score, nil
}

// activation is the mean |x| of a unit's channels where they are read, relative
// to the mean of the layer.
func (o *PruneOptions) activation(ctx context.Context, g *ir.Graph, an *coupling.Analysis) (map[coupling.Unit]float64, error) {
	stats := &statistics{g: g, in: o.Samples, of: map[string]moments{}, run: o.Run, only: summed(an)}
	if err := stats.measure(ctx); err != nil {
		return nil, err
	}
	score, count := map[coupling.Unit]float64{}, map[coupling.Unit]float64{}
	for _, m := range an.Constants() {
		x := m.Node.Inputs[0]
		if !m.Sums || !layerWeights(m) || x.IsConst() {
			continue
		}
		mo := stats.of[x.Name]
		units := an.Of(x, len(x.Type.Shape)-1)
		if mo.mean == nil || len(units) != len(mo.mean) {
			continue
		}
		per, mean := map[coupling.Unit]float64{}, 0.0
		for i, u := range units {
			v := math.Sqrt(mo.mean[i]*mo.mean[i] + mo.variance[i])
			per[u] += v
			mean += v
		}
		for u, v := range per {
			if mean > 0 {
				score[u] += v / mean * float64(len(per))
			}
			count[u]++
		}
	}
	for u := range score {
		score[u] /= count[u]
	}
	return score, nil
}

// summed lists the values whose channels layers with weights sum over.
func summed(an *coupling.Analysis) []*ir.Value {
	var out []*ir.Value
	for _, m := range an.Constants() {
		if x := m.Node.Inputs[0]; m.Sums && layerWeights(m) && !x.IsConst() && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
