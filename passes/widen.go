package passes

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// widen copies channels (Net2Wider): those that make them are copied, those
// that sum over them share their weight.
//
//	%a = dot %x @w           with @w [4,8] and @v [8,3]
//	%y = dot %a @v       →   with @w [4,12] and @v [12,3]
//
// factor (2 by default) times the channels come out, or to of them; what moves
// together (the channels of a group, an attention head, all operands of an
// addition) is copied together. Safe within rounding: the shares of a copied
// channel are powers of two that sum to 1. What cannot be copied is refused:
// channels of outputs, under a softmax, unevenly under a layer norm.
func widen(g *ir.Graph, a Args) (*Grown, error) {
	factor, err := a.number("factor", 2, 1)
	if err != nil {
		return nil, err
	}
	to, err := a.whole("to", 0, 1)
	if err != nil {
		return nil, err
	}
	an := coupling.Analyze(g)
	grown := &Grown{}
	plan := coupling.Plan{Copies: map[coupling.Unit]int{}}
	for _, group := range an.Groups() {
		if !slices.ContainsFunc(group.Producers, a.takes) {
			continue
		}
		label := group.Producers[0].Label()
		if i := slices.IndexFunc(group.Producers, a.takes); i > 0 {
			label = group.Producers[i].Label()
		}
		copies, why := copiesOf(group, factor, to)
		if why == "" {
			if err := an.Check(coupling.Plan{Copies: copies}); err != nil {
				why = err.Error()
			}
		}
		if why != "" {
			grown.Refused = append(grown.Refused, Refusal{label, why})
			continue
		}
		for u, k := range copies {
			plan.Copies[u] = k
		}
		grown.Places = append(grown.Places, label)
	}
	if len(grown.Places) == 0 {
		return grown, grown.named(a)
	}
	if grown.Copied, err = an.Rewrite(plan); err != nil {
		return nil, &diag.Error{Err: err, Fix: "name the places one by one with node="}
	}
	return grown, nil
}

// copiesOf spreads the copies that a factor or a number of units asks for over
// a group, or says why there can be none.
func copiesOf(g *coupling.Group, factor float64, to int) (map[coupling.Unit]int, string) {
	n := len(g.Units)
	switch {
	case g.Fixed != "":
		return nil, g.Fixed
	case g.Single != "":
		return nil, g.Single
	case n == 0:
		return nil, "it makes no channels"
	}
	want := int(math.Round(float64(n) * factor))
	if to > 0 {
		// to counts channels of the producer; a unit may be several of them.
		shape := g.Producers[0].Out().Type.Shape
		each := max(1, shape[len(shape)-1]/n)
		if to%each != 0 {
			return nil, fmt.Sprintf("channels come %d at a time", each)
		}
		want = to / each
	}
	if want <= n {
		return nil, fmt.Sprintf("%d of its %d units would not be more", want, n)
	}
	if g.Even != "" && want%n != 0 {
		return nil, g.Even
	}
	copies := make(map[coupling.Unit]int, n)
	for i, u := range g.Units {
		copies[u] = (i+1)*want/n - i*want/n
	}
	return copies, ""
}

// deviation is the standard deviation of a tensor's elements.
func deviation(t *ir.Tensor) float64 {
	var sum, squares float64
	n := float64(max(1, t.Len()))
	for i := range t.Len() {
		v := t.At(i)
		sum += v
		squares += v * v
	}
	return math.Sqrt(max(0, squares/n-sum/n*sum/n))
}
