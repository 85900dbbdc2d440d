package strategy

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/nasc-dev/nasc/search"
)

// bayesRF proposes where a random forest expects the most improvement: trees
// split the options of a choice into two sets, so names need no order. Where the
// trees disagree, it is unsure.
type bayesRF struct {
	*pool
	enc     *encoder
	initial int
	trees   int
	n       int
	known   []*search.Trial
	x       [][]int
	told    int
	forest  forest
	best    float64
	regrow  int // trials told when the next forest is grown
}

// rfMost is the number of trials that a forest learns from: beyond it, the best
// and the latest.
const rfMost = 1000

func newRF(s search.Setup) (search.Strategy, error) {
	initial, err := number(s, "initial", 1, 1e6)
	if err != nil {
		return nil, err
	}
	trees, err := number(s, "trees", 2, 1e4)
	if err != nil {
		return nil, err
	}
	return &bayesRF{pool: newPool(s, "bayesian-rf"), enc: newEncoder(s.Space), initial: int(initial), trees: int(trees)}, nil
}

func (b *bayesRF) Ask(context.Context) (search.Proposal, error) {
	var draw func() search.Genotype
	if b.n++; b.n > b.initial && len(b.known) > 1 {
		if b.told >= b.regrow { // a forest of many trials learns little from one more
			b.regrow = b.told + 1 + b.told/100
			y := scores(b.known)
			b.forest, b.best = growForest(b.enc, b.x, y, b.trees, b.r), floats.Max(y)
		}
		draw = inOrder(b.promising(b.forest, b.enc, b.known, b.best))
	}
	g, err := b.pick(draw)
	return search.Proposal{Genotype: g}, err
}

func (b *bayesRF) Tell(_ context.Context, t *search.Trial) error {
	b.told++
	b.known, b.x = append(b.known, t), append(b.x, b.enc.encode(t.Genotype))
	if len(b.known) <= rfMost {
		return nil
	}
	latest := len(b.known) - rfMost/2
	order := make([]int, latest)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compareTrials(b.known[j], b.known[i]) })
	order = order[:rfMost/4]
	slices.Sort(order)
	var known []*search.Trial
	var x [][]int
	for _, i := range order {
		known, x = append(known, b.known[i]), append(x, b.x[i])
	}
	b.known, b.x = append(known, b.known[latest:]...), append(x, b.x[latest:]...)
	return nil
}

// forest is an average of regression trees.
type forest []*split

// split is a node of a tree: where the option of a choice is among some, the
// left side.
type split struct {
	gene           int
	left           []bool // by option, the last for absent
	yes, no        *split
	mean, variance float64 // of a leaf
}

const leafPoints = 3 // a node of fewer is not split

func growForest(e *encoder, x [][]int, y []float64, trees int, r *rand.Rand) forest {
	f := make(forest, trees)
	tree := &treeGrower{e: e, x: x, y: y, r: r, tried: max(1, len(e.options)*5/6)}
	for t := range f {
		rows := make([]int, len(x)) // as many as there are, with repetitions
		for i := range rows {
			rows[i] = r.IntN(len(x))
		}
		f[t] = tree.grow(rows)
	}
	return f
}

func (f forest) predict(x []int) (mean, std float64) {
	var sum, square, within float64
	for _, s := range f {
		for s.yes != nil {
			if s.side(x) {
				s = s.yes
			} else {
				s = s.no
			}
		}
		sum += s.mean
		square += s.mean * s.mean
		within += s.variance
	}
	n := float64(len(f))
	mean = sum / n
	return mean, math.Sqrt(max(square/n-mean*mean, 0) + within/n)
}

func (s *split) side(x []int) bool { return s.left[slot(x[s.gene], len(s.left))] }

// slot is an option's place in lists that have one more for absent.
func slot(v, n int) int {
	if v == absent {
		return n - 1
	}
	return v
}

type treeGrower struct {
	e     *encoder
	x     [][]int
	y     []float64
	r     *rand.Rand
	tried int // choices tried at a node

	genes, order []int // scratch
	sums, counts []float64
}

func (t *treeGrower) grow(rows []int) *split {
	var sum, square float64
	for _, i := range rows {
		sum += t.y[i]
		square += t.y[i] * t.y[i]
	}
	n := float64(len(rows))
	leaf := &split{mean: sum / n, variance: max(square/n-sum/n*sum/n, 0.01)}
	if len(rows) < leafPoints || square/n-sum/n*sum/n < 1e-9 {
		return leaf
	}
	bestGain, best := 1e-9, (*split)(nil)
	if t.genes == nil {
		t.genes = t.r.Perm(len(t.e.options))
		most := slices.Max(append([]int{0}, t.e.options...)) + 1
		t.sums, t.counts = make([]float64, most), make([]float64, most)
	}
	t.r.Shuffle(len(t.genes), func(i, j int) { t.genes[i], t.genes[j] = t.genes[j], t.genes[i] })
	for at, gene := range t.genes {
		if at >= t.tried && best != nil {
			break
		}
		options := t.e.options[gene] + 1
		sums, counts := t.sums[:options], t.counts[:options]
		clear(sums)
		clear(counts)
		for _, i := range rows {
			v := slot(t.x[i][gene], options)
			sums[v] += t.y[i]
			counts[v]++
		}
		order := t.order[:0] // options that occur, by mean: the best two sets are a cut of these
		for v := range options {
			if counts[v] > 0 {
				order = append(order, v)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sums[a]/counts[a], sums[b]/counts[b]) })
		t.order = order
		var ls, lc float64
		cutAt := -1
		for cut, v := range order[:max(0, len(order)-1)] {
			ls, lc = ls+sums[v], lc+counts[v]
			gain := ls*ls/lc + (sum-ls)*(sum-ls)/(n-lc) - sum*sum/n
			if gain > bestGain {
				bestGain, cutAt = gain, cut
			}
		}
		if cutAt < 0 {
			continue
		}
		best = &split{gene: gene, left: make([]bool, options)}
		for o := range best.left { // options that do not occur go to either side
			best.left[o] = t.r.IntN(2) == 0
		}
		for i, o := range order {
			best.left[o] = i <= cutAt
		}
	}
	if best == nil {
		return leaf
	}
	yes := 0
	for i := range rows {
		if best.side(t.x[rows[i]]) {
			rows[i], rows[yes] = rows[yes], rows[i]
			yes++
		}
	}
	best.yes, best.no = t.grow(rows[:yes]), t.grow(rows[yes:])
	return best
}
