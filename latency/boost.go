package latency

import (
	"cmp"
	"slices"
)

// boosted is a sum of regression trees, each fitted to what the ones before
// left over (Friedman 2001), with squared loss. It is deterministic.
type boosted struct {
	trees []tree
	cuts  [][]float64 // bin borders of each feature
}

// tree is a binary tree in heap order: node i's children are 2i+1 and 2i+2.
type tree struct {
	feature []int // −1: a leaf
	bin     []uint8
	value   []float64
}

const (
	boostTrees = 160
	boostRate  = 0.08
	boostDepth = 4
	boostLeaf  = 3 // rows a leaf has at least
	boostBins  = 48
	boostRidge = 1 // rows that pull a leaf to 0
)

// boost fits y by x, a row of features for each.
func boost(x [][]float64, y []float64) *boosted {
	b := &boosted{}
	if len(x) < 2*boostLeaf {
		return b
	}
	features := len(x[0])
	b.cuts = make([][]float64, features)
	for f := range features {
		var v []float64
		for i := range x {
			v = append(v, x[i][f])
		}
		slices.Sort(v)
		v = slices.Compact(v)
		for c := 1; c < boostBins && len(v) > 1; c++ {
			at := c * len(v) / boostBins
			if len(v) <= boostBins {
				at = c
			}
			if at < 1 || at >= len(v) {
				continue
			}
			cut := (v[at-1] + v[at]) / 2
			if n := len(b.cuts[f]); n == 0 || b.cuts[f][n-1] < cut {
				b.cuts[f] = append(b.cuts[f], cut)
			}
		}
	}
	bins := make([][]uint8, len(x))
	for i := range x {
		bins[i] = b.binned(x[i])
	}
	left := slices.Clone(y)
	rows := make([]int, len(x))
	for range boostTrees {
		for i := range rows {
			rows[i] = i
		}
		size := 1<<(boostDepth+1) - 1
		t := tree{feature: make([]int, size), bin: make([]uint8, size), value: make([]float64, size)}
		b.grow(&t, 0, 0, rows, bins, left)
		b.trees = append(b.trees, t)
		for i := range left {
			left[i] -= t.predict(bins[i])
		}
	}
	return b
}

func (b *boosted) binned(x []float64) []uint8 {
	out := make([]uint8, len(x))
	for f, v := range x {
		n, _ := slices.BinarySearchFunc(b.cuts[f], v, func(cut, v float64) int { return cmp.Compare(cut, v) })
		out[f] = uint8(n)
	}
	return out
}

// grow splits the rows of a node where that explains most; a split sends bins
// up to its own to the left.
func (b *boosted) grow(t *tree, node, depth int, rows []int, bins [][]uint8, y []float64) {
	sum := 0.0
	for _, i := range rows {
		sum += y[i]
	}
	t.feature[node] = -1
	t.value[node] = boostRate * sum / (float64(len(rows)) + boostRidge)
	if depth == boostDepth || len(rows) < 2*boostLeaf {
		return
	}
	gain := func(s float64, n int) float64 { return s * s / (float64(n) + boostRidge) }
	best, feature, bin := gain(sum, len(rows))+1e-9, -1, uint8(0)
	for f := range b.cuts {
		if len(b.cuts[f]) == 0 {
			continue
		}
		var total [boostBins + 1]float64
		var count [boostBins + 1]int
		for _, i := range rows {
			total[bins[i][f]] += y[i]
			count[bins[i][f]]++
		}
		s, n := 0.0, 0
		for c := range b.cuts[f] {
			s, n = s+total[c], n+count[c]
			if n < boostLeaf || len(rows)-n < boostLeaf {
				continue
			}
			if g := gain(s, n) + gain(sum-s, len(rows)-n); g > best {
				best, feature, bin = g, f, uint8(c)
			}
		}
	}
	if feature < 0 {
		return
	}
	at := 0 // rows of the left side first
	for i, r := range rows {
		if bins[r][feature] <= bin {
			rows[i], rows[at] = rows[at], r
			at++
		}
	}
	t.feature[node], t.bin[node] = feature, bin
	b.grow(t, 2*node+1, depth+1, rows[:at], bins, y)
	b.grow(t, 2*node+2, depth+1, rows[at:], bins, y)
}

func (t *tree) predict(bins []uint8) float64 {
	node := 0
	for t.feature[node] >= 0 {
		if bins[t.feature[node]] <= t.bin[node] {
			node = 2*node + 1
		} else {
			node = 2*node + 2
		}
	}
	return t.value[node]
}

// predict gives the sum of the trees for one row of features.
func (b *boosted) predict(x []float64) float64 {
	if len(b.trees) == 0 {
		return 0
	}
	bins := b.binned(x)
	sum := 0.0
	for i := range b.trees {
		sum += b.trees[i].predict(bins)
	}
	return sum
}
