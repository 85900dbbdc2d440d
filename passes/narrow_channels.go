package passes

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// narrowChannels removes channels, those with the least weights, with all that makes
// and reads them: share= of them stays (0.5 by default), or to= of the layer's.
//
//	%a = dot %x @w       with @w [4,8] and @v [8,3]
//	%y = dot %a @v   →   with @w [4,4] and @v [4,3]
//
// It changes the function. What moves together (a residual stream, the channels
// of a group) goes together. Channels of outputs stay.
func narrowChannels(g *ir.Graph, a Args) (bool, error) {
	share, err := a.number("share", 0.5, 0)
	if err != nil {
		return false, err
	}
	if share > 1 {
		return false, &diag.Error{Place: "share=" + a["share"], Found: "more than all", Wanted: "a share, at most 1"}
	}
	to, err := a.whole("to", 0, 1)
	if err != nil {
		return false, err
	}
	an := coupling.Analyze(g)
	o := PruneOptions{Criterion: "l1"}
	score, err := o.scores(context.Background(), g, an)
	if err != nil {
		return false, err
	}
	plan := coupling.Plan{Copies: map[coupling.Unit]int{}}
	gone := map[coupling.Unit]bool{}
	why := "no layer whose channels can go"
	for _, x := range an.Groups() {
		if !slices.ContainsFunc(x.Producers, a.takes) {
			continue
		}
		if x.Fixed != "" {
			why = x.Fixed
			continue
		}
		n := len(x.Units)
		keep := max(1, int(math.Round(share*float64(n))))
		if to > 0 {
			s := x.Producers[0].Out().Type.Shape
			keep = max(1, to/max(1, s[len(s)-1]/max(1, n)))
		}
		if keep >= n {
			why = strconv.Itoa(keep) + " of its " + strconv.Itoa(n) + " units would not be fewer"
			continue
		}
		units := slices.Clone(x.Units)
		slices.SortStableFunc(units, func(u, v coupling.Unit) int { return cmp.Compare(score[u], score[v]) })
		for _, u := range units[:n-keep] {
			gone[u] = true
		}
	}
	for _, u := range an.LeastKept(gone, score) {
		delete(gone, u)
	}
	for u := range gone {
		plan.Copies[u] = 0
	}
	if len(gone) == 0 {
		if node, ok := a["node"]; ok {
			return false, &diag.Error{Place: "node=" + node, Found: why, Wanted: "a layer with channels to remove"}
		}
		return false, nil
	}
	_, err = an.Rewrite(plan)
	return err == nil, err
}
