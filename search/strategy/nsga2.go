package strategy

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/search"
)

// nsga2 keeps a population and replaces it by the best of itself and as many
// children: by fronts, one after the other, and in the last that fits partly by
// who stands alone. A network that breaks a limit comes after all that do not.
type nsga2 struct {
	*pool
	size     int
	mutation float64 // genes changed in a child, on average; 0: one
	crossed  float64 // share of children that have two parents

	parents  []*individual
	children []*individual // told of this generation
	asked    int           // of this generation
}

type individual struct {
	*search.Trial
	rank     int
	crowding float64
}

func newNSGA2(s search.Setup) (search.Strategy, error) {
	size, err := number(s, "population", 0, 1e5)
	if err != nil {
		return nil, err
	}
	switch {
	case size == 0 && s.Budget == 0:
		size = 40
	case size == 0: // generations enough for what was learned to be used
		size = float64(min(max(10, s.Budget/40), 100))
	}
	size = max(size, 2)
	mutation, err := number(s, "mutation", 0, 1e3)
	if err != nil {
		return nil, err
	}
	crossed, err := number(s, "crossover", 0, 1)
	if err != nil {
		return nil, err
	}
	return &nsga2{pool: newPool(s, "nsga2"), size: int(size), mutation: mutation, crossed: crossed}, nil
}

func (x *nsga2) Ask(context.Context) (search.Proposal, error) {
	if x.asked == x.size {
		return search.Proposal{}, search.ErrWait // for the rest of the generation
	}
	var draw func() search.Genotype
	if x.parents != nil {
		draw = x.child
	}
	g, err := x.pick(draw)
	if err != nil {
		return search.Proposal{}, err
	}
	x.asked++
	return search.Proposal{Genotype: g}, nil
}

func (x *nsga2) Tell(_ context.Context, t *search.Trial) error {
	x.children = append(x.children, &individual{Trial: t})
	if len(x.children) < x.size {
		return nil
	}
	x.parents = survivors(append(x.parents, x.children...), x.size)
	x.children, x.asked = nil, 0
	return nil
}

// child has two parents, won in tournaments of two, and changed choices.
func (x *nsga2) child() search.Genotype {
	g := x.winner().Genotype
	if x.r.Float64() < x.crossed {
		g = search.Cross(x.Space, g, x.winner().Genotype, x.r)
	}
	genes := x.Space.Genes()
	active := search.ActiveGenes(x.Space, g)
	rate := x.mutation / math.Max(1, float64(len(active)))
	for _, i := range active {
		if len(genes[i].Options) > 1 && x.r.Float64() < rate && slices.Contains(search.ActiveGenes(x.Space, g), i) {
			v := x.r.IntN(len(genes[i].Options) - 1)
			if v >= g[i] {
				v++
			}
			g = search.Replace(x.Space, g, i, v, x.r)
		}
	}
	return g
}

func (x *nsga2) winner() *individual {
	a, b := x.parents[x.r.IntN(len(x.parents))], x.parents[x.r.IntN(len(x.parents))]
	if b.rank < a.rank || b.rank == a.rank && b.crowding > a.crowding {
		return b
	}
	return a
}

// survivors are the n best by rank, then by crowding.
func survivors(all []*individual, n int) []*individual {
	var out []*individual
	for rank, front := range fronts(all) {
		crowd(front)
		for _, p := range front {
			p.rank = rank
		}
		if len(out)+len(front) > n {
			slices.SortStableFunc(front, func(a, b *individual) int { return cmp.Compare(b.crowding, a.crowding) })
			front = front[:n-len(out)]
		}
		if out = append(out, front...); len(out) == n {
			break
		}
	}
	return out
}

// beats is domination under limits: feasible before not, the smaller violation
// among those that are not, else by the objectives.
func beats(a, b *search.Trial) bool {
	switch af, bf := a.Feasible(), b.Feasible(); {
	case af != bf:
		return af
	case !af:
		return a.Violation < b.Violation
	}
	return search.Dominates(a.Values, b.Values)
}

// fronts sorts by domination: the first front is dominated by none, each other
// only by those before it.
func fronts(all []*individual) [][]*individual {
	over := make([][]int, len(all)) // whom each beats
	by := make([]int, len(all))     // by how many each is beaten
	for i := range all {
		for j := range i {
			if beats(all[i].Trial, all[j].Trial) {
				over[i] = append(over[i], j)
				by[j]++
			} else if beats(all[j].Trial, all[i].Trial) {
				over[j] = append(over[j], i)
				by[i]++
			}
		}
	}
	var out [][]*individual
	var now []int
	for i, n := range by {
		if n == 0 {
			now = append(now, i)
		}
	}
	for len(now) > 0 {
		var front []*individual
		var next []int
		for _, i := range now {
			front = append(front, all[i])
			for _, j := range over[i] {
				if by[j]--; by[j] == 0 {
					next = append(next, j)
				}
			}
		}
		slices.Sort(next)
		out, now = append(out, front), next
	}
	return out
}

// crowd sets how far apart the neighbours of each member of a front are, summed
// over the objectives; the ends are farthest.
func crowd(front []*individual) {
	for _, p := range front {
		p.crowding = 0
	}
	by := slices.Clone(front)
	for m := range front[0].Values {
		slices.SortStableFunc(by, func(a, b *individual) int { return cmp.Compare(a.Values[m], b.Values[m]) })
		lo, hi := by[0].Values[m], by[len(by)-1].Values[m]
		by[0].crowding, by[len(by)-1].crowding = math.Inf(1), math.Inf(1)
		if !(hi > lo) || math.IsInf(lo, 0) {
			continue
		}
		for i := 1; i < len(by)-1; i++ {
			by[i].crowding += (by[i+1].Values[m] - by[i-1].Values[m]) / (hi - lo)
		}
	}
}
