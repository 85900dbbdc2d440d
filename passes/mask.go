package passes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// mask sets the least weights of convolutions and dense layers to zero.
//
//	%y = dot %x @w   with @w [[1],[9],[2],[8]]   →   [[0],[9],[0],[8]]
//
// pattern=2:4 keeps the 2 largest of each 4 that a result sums over; share=0.8
// sets so many of all weights to zero, those that matter least beside the larger
// ones of their layer (LAMP: Lee et al. 2021). It changes the function. A file
// holds what is left and a bit for each weight; no kernel skips zeros, so that
// it saves bytes and no time.
func mask(g *ir.Graph, a Args) (bool, error) {
	pattern, byPattern := a["pattern"]
	_, byShare := a["share"]
	if byPattern == byShare {
		return false, &diag.Error{Place: "mask", Found: fmt.Sprintf("%d of pattern= and share=", len(a)), Wanted: "one: pattern=2:4, or share=0.8 of the weights to be zero"}
	}
	var layers []*ir.Value
	for _, n := range g.Nodes {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" || !a.takes(n) {
			continue
		}
		if w := n.Inputs[1]; w.IsConst() && w.Type.DType.IsFloat() && !slices.Contains(layers, w) {
			layers = append(layers, w)
		}
	}
	if byPattern {
		keep, of, err := parsePattern(pattern)
		if err != nil {
			return false, err
		}
		return zeros(layers, func(w *ir.Tensor) []int { return outsidePattern(w, keep, of) }), nil
	}
	share, err := a.number("share", 0, 0)
	if err != nil {
		return false, err
	}
	if share >= 1 {
		return false, &diag.Error{Place: "share=" + a["share"], Found: "all weights", Wanted: "less than 1"}
	}
	return leastOf(layers, share), nil
}

func parsePattern(s string) (keep, of int, err error) {
	n, m, ok := strings.Cut(s, ":")
	keep, e1 := strconv.Atoi(n)
	of, e2 := strconv.Atoi(m)
	if !ok || e1 != nil || e2 != nil || keep < 1 || keep >= of || of > 1<<10 {
		return 0, 0, &diag.Error{Place: "pattern=" + s, Found: "no such pattern", Wanted: "N:M, such as 2:4: the N largest of each M stay"}
	}
	return keep, of, nil
}

// zeros replaces weights by copies with zeros at the places that of gives.
func zeros(layers []*ir.Value, of func(w *ir.Tensor) []int) bool {
	changed := false
	for _, w := range layers {
		c := w.Const.Clone()
		some := false
		for _, i := range of(c) {
			if c.At(i) != 0 {
				c.Set(i, 0)
				some = true
			}
		}
		if some {
			w.Const, changed = c, true
		}
	}
	return changed
}

// outsidePattern lists the elements that are not among the largest of their run
// along what a result sums over; a run that is cut short at the end keeps as
// many.
func outsidePattern(w *ir.Tensor, keep, of int) []int {
	cout := w.Shape[len(w.Shape)-1]
	rows := w.Len() / max(1, cout)
	var out []int
	run := make([]int, 0, of)
	for c := range cout {
		for at := 0; at < rows; at += of {
			run = run[:0]
			for r := at; r < min(at+of, rows); r++ {
				run = append(run, r*cout+c)
			}
			slices.SortStableFunc(run, func(i, j int) int { return cmp.Compare(math.Abs(w.At(j)), math.Abs(w.At(i))) })
			out = append(out, run[min(keep, len(run)):]...)
		}
	}
	return out
}

// leastOf sets the given share of all weights to zero, ranked by LAMP.
func leastOf(layers []*ir.Value, share float64) bool {
	type weight struct {
		score float64
		layer int
		at    int
	}
	var all []weight
	for l, w := range layers {
		order := make([]int, w.Const.Len())
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(math.Abs(w.Const.At(j)), math.Abs(w.Const.At(i))) })
		sum := 0.0
		for _, i := range order {
			v := w.Const.At(i)
			sum += v * v
			s := 0.0
			if sum > 0 {
				s = v * v / sum
			}
			all = append(all, weight{s, l, i})
		}
	}
	slices.SortStableFunc(all, func(x, y weight) int { return cmp.Compare(x.score, y.score) })
	at := make([][]int, len(layers))
	for _, w := range all[:int(share*float64(len(all)))] {
		at[w.layer] = append(at[w.layer], w.at)
	}
	k := -1
	return zeros(layers, func(*ir.Tensor) []int { k++; return at[k] })
}
