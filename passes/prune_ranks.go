package passes

import (
	"context"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// LayerRank is what became of one layer: two thin ones with so many channels
// between them, of as many as lose nothing.
type LayerRank struct {
	Layer string `json:"layer"`
	Rank  int    `json:"rank"`
	Of    int    `json:"of"`
}

// lowRank makes layers of two thin ones until the cost is met: dense layers by
// their singular values, convolutions by those of a column and a row of their
// kernels (Jaderberg, Vedaldi and Zisserman 2014). All layers keep the same share
// of the sum of their squares, the greatest with which the target is met.
func (o *PruneOptions) lowRank(ctx context.Context, g *ir.Graph, rep *Pruned) (*ir.Graph, error) {
	rep.Groups = []PrunedGroup{}
	var err error
	if rep.After, err = o.Cost(ctx, g); err != nil || rep.After <= o.Target {
		return g, err
	}
	whole := rep.After
	layers := map[string]*singular{}
	for k, n := range g.Nodes {
		o.Progress("singular values", k+1, len(g.Nodes))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if separable(n) {
			if f := newSingular(n.Inputs[1].Const); f != nil {
				layers[n.Out().Name] = f
			}
		}
	}
	if len(layers) == 0 {
		if err := wantFloat(g); err != nil {
			return nil, err
		}
	}
	least, ranks, err := o.thin(g, layers, 0)
	if err != nil {
		return nil, err
	}
	cost, err := o.Cost(ctx, least)
	if err != nil {
		return nil, err
	}
	if cost > o.Target {
		return nil, o.unreachable(cost, whole)
	}
	small := least
	lo, hi := 0.0, 1.0
	const rounds = 14
	for i := range rounds {
		o.Progress("low rank", i+1, rounds)
		mid := (lo + hi) / 2
		c, r, err := o.thin(g, layers, mid)
		if err != nil {
			return nil, err
		}
		now, err := o.Cost(ctx, c)
		if err != nil {
			return nil, err
		}
		if now <= o.Target {
			lo, small, ranks, cost = mid, c, r, now
		} else {
			hi = mid
		}
	}
	gone, all := 0, 0
	for _, r := range ranks {
		gone, all = gone+r.Of-r.Rank, all+r.Of
	}
	rep.Ranks, rep.After, rep.Share = ranks, cost, float64(gone)/float64(max(1, all))
	small.TidyNames()
	return small, small.Verify()
}

// thin is a copy whose layers keep a share of the sum of their squares.
func (o *PruneOptions) thin(g *ir.Graph, layers map[string]*singular, energy float64) (*ir.Graph, []LayerRank, error) {
	c := g.Clone()
	done := map[*ir.Node]bool{}
	var ranks []LayerRank
	_, err := rewrite(c, Args{}, func(e *editor, n *ir.Node) (*ir.Value, error) {
		f := layers[n.Out().Name]
		if f == nil || done[n] {
			return nil, nil
		}
		done[n] = true
		r := max(f.rankFor(energy), int(math.Ceil(o.Keep*float64(len(f.s)))))
		if o.Round > 1 {
			r = (r + o.Round - 1) / o.Round * o.Round
		}
		label := n.Label()
		y, err := f.build(e, n, r)
		if err != nil || y == nil {
			ranks = append(ranks, LayerRank{label, len(f.s), len(f.s)})
			return nil, err
		}
		done[y.Def], done[y.Def.Inputs[0].Def] = true, true
		ranks = append(ranks, LayerRank{label, r, len(f.s)})
		return y, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return c, ranks, nil
}
