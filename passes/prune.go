package passes

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// PruneOptions steer Prune.
type PruneOptions struct {
	// Cost is what is to become less: MACs, parameters, bytes, milliseconds. It
	// is called for every candidate.
	Cost func(ctx context.Context, g *ir.Graph) (float64, error)
	// Target is what Cost may be at most.
	Target float64
	// Criterion ranks the units (see Criteria); Scope says among which: global,
	// local (each group gives the same share), alike (groups of one size).
	Criterion, Scope string
	// Round makes widths multiples of it, where they can be; 0 and 1: any.
	Round int
	// Keep is the least share of every group that stays; 0 is 0.1.
	Keep float64
	Seed uint64
	// Samples are inputs at a batch of 1: for the criteria activation and taylor,
	// and for the means that removed channels leave behind. Real says that they
	// are data, not noise: then the mean of every removed channel goes into the
	// next bias, otherwise only what is constant.
	Samples [][]*ir.Tensor
	Labels  []int // classes, where known (taylor)
	Real    bool
	// Blocks removes that many residual blocks first, those whose removal
	// changes the outputs least.
	Blocks   int
	Progress func(stage string, done, total int)
}

// Pruned is what Prune did.
type Pruned struct {
	Groups  []PrunedGroup `json:"groups"`
	Blocks  []string      `json:"blocks,omitempty"`
	Refused []Refusal     `json:"refused,omitempty"`
	// Absorbed is how many removed channels left a mean in a bias.
	Absorbed int     `json:"absorbed"`
	Before   float64 `json:"cost_before"`
	After    float64 `json:"cost_after"`
	Share    float64 `json:"share"` // of the ranked units that went
}

// PrunedGroup is what became of one group.
type PrunedGroup struct {
	Layers string `json:"layers"`
	Was    int    `json:"was"`
	Is     int    `json:"is"`
	Each   int    `json:"channels_each"` // channels of one unit
}

// group is a coupling.Group that can shrink.
type group struct {
	*coupling.Group
	name  string
	each  int // channels of one unit in its first producer
	order []coupling.Unit
	score map[coupling.Unit]float64
}

// Prune gives a smaller copy of a float graph: units of channels are removed,
// the least important first, until the cost is at most the target. What cannot
// be removed is listed with the reason.
func Prune(ctx context.Context, g *ir.Graph, o PruneOptions) (*ir.Graph, *Pruned, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	rep := &Pruned{}
	before, err := o.Cost(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	rep.Before = before
	g = g.Clone()
	if o.Blocks > 0 {
		if rep.Blocks, err = dropBlocks(ctx, g, o); err != nil {
			return nil, nil, err
		}
	}
	an := coupling.Analyze(g)
	score, err := o.scores(ctx, g, an)
	if err != nil {
		return nil, nil, err
	}
	groups := o.groups(an, score, rep)
	if i := slices.IndexFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Class == ir.Quantized }); len(groups) == 0 && i >= 0 {
		return nil, nil, &diag.Error{Place: g.Nodes[i].Op.Name + " " + g.Nodes[i].Label(), Found: "a quantized network", Wanted: "a float one", Fix: "prune first, then compile"}
	}
	best, bestRep, err := o.search(ctx, g, an, groups)
	if err != nil {
		return nil, nil, err
	}
	plan := o.plan(an, groups, best)
	left, err := o.leftBehind(ctx, g, an, plan)
	if err != nil {
		return nil, nil, err
	}
	if _, err := an.Rewrite(plan); err != nil {
		return nil, nil, err
	}
	rep.Absorbed = left.absorb(g)
	g.RemoveDead()
	g.TidyNames()
	if err := g.Verify(); err != nil {
		return nil, nil, diag.At("prune left a bad graph", err)
	}
	for _, x := range groups {
		is := 0
		for _, u := range x.Units {
			if k, ok := plan.Copies[u]; !ok || k > 0 {
				is++
			}
		}
		rep.Groups = append(rep.Groups, PrunedGroup{x.name, len(x.Units), is, x.each})
	}
	rep.After, rep.Share = bestRep, best
	return g, rep, nil
}

func (o *PruneOptions) check() error {
	if !slices.Contains(Criteria, o.Criterion) {
		return &diag.Error{Place: "--criterion", Found: o.Criterion, Wanted: strings.Join(Criteria, ", ")}
	}
	if !slices.Contains(Scopes, o.Scope) {
		return &diag.Error{Place: "--scope", Found: o.Scope, Wanted: strings.Join(Scopes, ", ")}
	}
	if o.Keep == 0 {
		o.Keep = 0.1
	}
	if !(o.Keep > 0 && o.Keep <= 1) {
		return &diag.Error{Place: "--keep", Found: fmt.Sprint(o.Keep), Wanted: "a share, more than 0 and at most 1"}
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	return nil
}

// Scopes are the sets of units that are ranked together.
var Scopes = []string{"global", "local", "alike"}

// groups lists what can shrink, and in the report what cannot.
func (o *PruneOptions) groups(an *coupling.Analysis, score map[coupling.Unit]float64, rep *Pruned) []*group {
	var out []*group
	for _, g := range an.Groups() {
		names := make([]string, len(g.Producers))
		for i, n := range g.Producers {
			names[i] = n.Label()
		}
		name := strings.Join(names, " ")
		if len(names) > 4 {
			name = strings.Join(names[:4], " ") + fmt.Sprintf(" and %d more", len(names)-4)
		}
		why := g.Fixed
		if why == "" && len(g.Units) < 2 {
			why = "it is one unit"
		}
		if why != "" {
			rep.Refused = append(rep.Refused, Refusal{name, why})
			continue
		}
		// Each unit alone must be removable: what is not shows here, by name.
		if err := an.Check(coupling.Plan{Copies: map[coupling.Unit]int{g.Units[0]: 0}}); err != nil {
			if err = an.Check(coupling.Plan{Copies: map[coupling.Unit]int{g.Units[len(g.Units)-1]: 0}}); err != nil {
				rep.Refused = append(rep.Refused, Refusal{name, err.Error()})
				continue
			}
		}
		s := g.Producers[0].Out().Type.Shape
		x := &group{Group: g, name: name, each: max(1, s[len(s)-1]/len(g.Units)), score: score, order: slices.Clone(g.Units)}
		slices.SortStableFunc(x.order, func(a, b coupling.Unit) int { return cmp.Compare(score[a], score[b]) })
		out = append(out, x)
	}
	return out
}

// search finds the least share to remove at which the cost meets the target.
func (o *PruneOptions) search(ctx context.Context, g *ir.Graph, an *coupling.Analysis, groups []*group) (share, cost float64, err error) {
	try := func(share float64) (float64, error) {
		c := g.Clone()
		can := coupling.Analyze(c)
		if _, err := can.Rewrite(o.plan(an, groups, share)); err != nil {
			return 0, err
		}
		return o.Cost(ctx, c)
	}
	if cost, err = o.Cost(ctx, g); err != nil || cost <= o.Target {
		return 0, cost, err
	}
	lo, hi := 0.0, 1.0
	most, err := try(hi)
	if err != nil {
		return 0, 0, err
	}
	if most > o.Target {
		return 0, 0, &diag.Error{
			Place: "prune", Found: fmt.Sprintf("%.4g where all that can go is gone, of %.4g", most, cost),
			Wanted: fmt.Sprintf("%.4g", o.Target), Fix: "a higher target, or a smaller --keep",
		}
	}
	cost = most
	const rounds = 12
	for i := range rounds {
		o.Progress("prune", i+1, rounds)
		mid := (lo + hi) / 2
		c, err := try(mid)
		if err != nil {
			return 0, 0, err
		}
		if c <= o.Target {
			hi, cost = mid, c
		} else {
			lo = mid
		}
	}
	return hi, cost, nil
}

// plan removes the given share of the ranked units.
func (o *PruneOptions) plan(an *coupling.Analysis, groups []*group, share float64) coupling.Plan {
	p := coupling.Plan{Copies: map[coupling.Unit]int{}}
	removed := map[*group]int{}
	switch o.Scope {
	case "local":
		for _, x := range groups {
			removed[x] = int(share * float64(len(x.Units)))
		}
	default:
		classes := map[string][]*group{}
		for _, x := range groups {
			class := ""
			if o.Scope == "alike" {
				class = fmt.Sprintf("%s %d %v", x.Producers[0].Op.Name, len(x.Units), len(x.Producers))
			}
			classes[class] = append(classes[class], x)
		}
		for _, list := range classes {
			type ranked struct {
				x     *group
				score float64
			}
			var all []ranked
			for _, x := range list {
				for _, u := range x.order {
					all = append(all, ranked{x, x.score[u]})
				}
			}
			slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.score, b.score) })
			for _, r := range all[:int(share*float64(len(all)))] {
				removed[r.x]++
			}
		}
	}
	for _, x := range groups {
		n := len(x.Units)
		keep := max(n-removed[x], 1, int(math.Ceil(o.Keep*float64(n))))
		keep = x.rounded(min(keep, n), o.Round)
		gone := map[coupling.Unit]bool{}
		for _, u := range x.order[:n-keep] {
			gone[u] = true
		}
		for _, u := range an.LeastKept(gone, x.score) {
			delete(gone, u)
		}
		for u := range gone {
			p.Copies[u] = 0
		}
	}
	return p
}

// rounded makes the width a multiple of round by keeping more.
func (x *group) rounded(keep, round int) int {
	if round < 2 {
		return keep
	}
	step := round / gcd(round, x.each) // units
	return min(len(x.Units), (keep+step-1)/step*step)
}
