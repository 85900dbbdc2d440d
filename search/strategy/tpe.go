package strategy

import (
	"context"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/search"
)

// tpe models where the best trials lie and where the others lie, and proposes
// what is likely among the best and unlikely among the others. A density is a
// sum of kernels, one a trial, over all choices together; a choice that is not
// there in a trial says nothing.
type tpe struct {
	*pool
	enc        *encoder
	initial    int
	share      float64 // of the trials that count as the best
	spread     float64 // choices in which a draw differs from its kernel's trial, on average
	candidates int
	n          int
	known      []*search.Trial
	x          [][]int
}

// tpeMost bounds the kernels of either density.
const tpeMost = 250

func newTPE(s search.Setup) (search.Strategy, error) {
	var v [4]float64
	for i, o := range []struct {
		name   string
		lo, hi float64
	}{{"initial", 1, 1e6}, {"gamma", 0.01, 0.9}, {"spread", 0.01, 100}, {"candidates", 1, 1e4}} {
		n, err := number(s, o.name, o.lo, o.hi)
		if err != nil {
			return nil, err
		}
		v[i] = n
	}
	return &tpe{pool: newPool(s, "tpe"), enc: newEncoder(s.Space), initial: int(v[0]), share: v[1], spread: v[2], candidates: int(v[3])}, nil
}

func (t *tpe) Ask(context.Context) (search.Proposal, error) {
	var draw func() search.Genotype
	if t.n++; t.n > t.initial && len(t.known) > 1 {
		draw = inOrder(t.likely())
	}
	g, err := t.pick(draw)
	return search.Proposal{Genotype: g}, err
}

func (t *tpe) Tell(_ context.Context, trial *search.Trial) error {
	t.known, t.x = append(t.known, trial), append(t.x, t.enc.encode(trial.Genotype))
	return nil
}

// likely draws from the density of the best and sorts by how much likelier a
// draw is there than among the others.
func (t *tpe) likely() []search.Genotype {
	order := make([]int, len(t.known))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compareTrials(t.known[j], t.known[i]) })
	cut := min(max(1, int(math.Ceil(t.share*float64(len(order))))), tpeMost, len(order)-1)
	var good, bad [][]int
	for _, i := range order[:cut] {
		good = append(good, t.x[i])
	}
	rest := order[cut:]
	slices.Sort(rest)
	for _, i := range rest[max(0, len(rest)-tpeMost):] {
		bad = append(bad, t.x[i])
	}
	type candidate struct {
		g     search.Genotype
		ratio float64
	}
	var all []candidate
	for range t.candidates {
		g := t.draw(good)
		if t.asked[g.String()] {
			continue
		}
		x := t.enc.encode(g)
		all = append(all, candidate{g, t.density(good, x) - t.density(bad, x)})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		switch {
		case a.ratio > b.ratio:
			return -1
		case a.ratio < b.ratio:
			return 1
		}
		return 0
	})
	out := make([]search.Genotype, len(all))
	for i, c := range all {
		out[i] = c.g
	}
	return out
}

// stay is the chance that a choice of a network with n of them is that of its
// kernel's trial.
func (t *tpe) stay(n int) float64 {
	return 1 - min(t.spread/math.Max(1, float64(n)), 0.9)
}

func (t *tpe) draw(kernels [][]int) search.Genotype {
	k := kernels[t.r.IntN(len(kernels))]
	n := 0
	for _, v := range k {
		if v != absent {
			n++
		}
	}
	stay := t.stay(n)
	g := make(search.Genotype, len(k))
	t.Space.Active(g, func(i int) {
		g[i] = k[i]
		if k[i] == absent || t.r.Float64() >= stay {
			g[i] = t.other(i, k[i])
		}
	})
	return g
}

// other draws an option: of names any, of rising numbers rather a near one.
func (t *tpe) other(gene, v int) int {
	n := t.enc.options[gene]
	if v == absent || t.enc.scale[gene] == nil {
		return t.r.IntN(n)
	}
	at := t.r.Float64()
	for o := range n {
		if at -= t.near(gene, v, o); at < 0 {
			return o
		}
	}
	return n - 1
}

// near is the chance of option o where other draws for v.
func (t *tpe) near(gene, v, o int) float64 {
	n := t.enc.options[gene]
	if v == absent || t.enc.scale[gene] == nil {
		return 1 / float64(n)
	}
	sum := 0.0
	for i := range n {
		sum += math.Exp2(-math.Abs(float64(i - v)))
	}
	return math.Exp2(-math.Abs(float64(o-v))) / sum
}

// density is the logarithm of that of the kernels at x, with one more kernel
// that is even everywhere.
func (t *tpe) density(kernels [][]int, x []int) float64 {
	n, even := 0, 1.0
	for i, v := range x {
		if v != absent {
			n++
			even /= float64(t.enc.options[i])
		}
	}
	stay, sum := t.stay(n), even
	for _, k := range kernels {
		p := 1.0
		for i, v := range x {
			if v == absent {
				continue
			}
			near := t.near(i, k[i], v)
			switch {
			case k[i] == absent:
				p *= near
			case v == k[i]:
				p *= stay + (1-stay)*near
			default:
				p *= (1 - stay) * near
			}
		}
		sum += p
	}
	return math.Log(sum / float64(len(kernels)+1))
}
