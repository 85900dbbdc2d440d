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
	// Target is what Cost may be at most; Unit is what both are in.
	Target float64
	Unit   string
	// Criterion ranks the units (see Criteria); Scope says among which: global,
	// local (each group gives the same share), alike (groups of one size).
	Criterion, Scope string
	// PerCost ranks by score per cost: what a unit is worth beside what it costs.
	PerCost bool
	// Round makes widths multiples of it, where they can be; 0 and 1: any.
	Round int
	// Weigh, where units are ranked globally, gives the costs of networks beside
	// each other: groups then lose units in jumps, those first that save the most
	// of it for what they are worth. It is for costs that do not fall with every
	// unit; what Cost says in the end is the target's.
	Weigh func(ctx context.Context, gs []*ir.Graph) ([]float64, error)
	// Keep is the least share of every group that stays; 0 is 0.1.
	Keep float64
	// Inner leaves channels that a sum of two layers joins as they are: in a
	// residual network only the insides of its blocks become narrower.
	Inner bool
	Seed  uint64
	// Samples are inputs at a batch of 1: for criteria of data, for the means that
	// removed channels leave behind, and for Correct. Real says that they are
	// data, not noise: then the mean of every removed channel goes into the next
	// bias, otherwise only what is constant.
	Samples [][]*ir.Tensor
	Labels  []int // classes, where known (taylor)
	Real    bool
	// Correct fits every layer, in order, to what it gave before, by least
	// squares on the samples; no labels are needed.
	Correct bool
	// Blocks removes that many residual blocks first, those whose removal
	// changes the outputs least.
	Blocks int
	// LowRank removes no channels: it makes layers of two thin ones.
	LowRank  bool
	Run      Runner // nil: the interpreter
	Progress func(stage string, done, total int)
}

// Pruned is what Prune did.
type Pruned struct {
	Groups  []PrunedGroup `json:"groups"`
	Ranks   []LayerRank   `json:"ranks,omitempty"` // of LowRank
	Blocks  []string      `json:"blocks,omitempty"`
	Refused []Refusal     `json:"refused,omitempty"`
	// Absorbed is how many removed channels left a mean in a bias.
	Absorbed int `json:"absorbed"`
	// Corrected is how many layers were fitted.
	Corrected int     `json:"corrected,omitempty"`
	Before    float64 `json:"cost_before"`
	After     float64 `json:"cost_after"`
	Share     float64 `json:"share"` // of the ranked units that went
	biases    float64 // what new biases cost
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
	each  int             // channels of one unit in its first producer
	order []coupling.Unit // the first goes first
	score map[coupling.Unit]float64
	step  int     // of the width in channels; 0: any
	least int     // units that stay
	cost  float64 // of a unit
	// relative is where scores compare units within the group alone.
	relative bool
}

// Prune gives a smaller copy of a float graph: units of channels are removed,
// the least important first, until the cost is at most the target. What cannot
// be removed is listed with the reason.
func Prune(ctx context.Context, g *ir.Graph, o PruneOptions) (*ir.Graph, *Pruned, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	limit := o.Target
	small, rep, err := o.once(ctx, g)
	// New biases cost bytes and parameters: where they are too many, room is made
	// for them.
	if err == nil && rep.After > limit {
		o.Target = limit - rep.biases
		small, rep, err = o.once(ctx, g)
	}
	return small, rep, err
}

func (o PruneOptions) once(ctx context.Context, g *ir.Graph) (*ir.Graph, *Pruned, error) {
	rep := &Pruned{}
	before, err := o.Cost(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	rep.Before = before
	whole := g
	g = g.Clone()
	if o.Blocks > 0 {
		if rep.Blocks, err = dropBlocks(ctx, g, o); err != nil {
			return nil, nil, err
		}
	}
	if o.LowRank {
		small, err := o.lowRank(ctx, g, rep)
		return small, rep, err
	}
	an := coupling.Analyze(g)
	score, err := o.scores(ctx, g, an)
	if err != nil {
		return nil, nil, err
	}
	groups := o.groups(g, an, score, rep)
	if len(groups) == 0 {
		if err := wantFloat(g); err != nil {
			return nil, nil, err
		}
	}
	f := &finder{PruneOptions: &o, g: g, an: an, groups: groups}
	keep, cost, err := f.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	plan := f.plan(keep)
	left, err := o.leftBehind(ctx, g, an, plan)
	if err != nil {
		return nil, nil, err
	}
	fit := o.lessons(whole, g, an, plan)
	if _, err := an.Rewrite(plan); err != nil {
		return nil, nil, err
	}
	size := g.ConstBytes()
	left.absorb(g)
	rep.Absorbed = left.channels(groups)
	g.RemoveDead()
	if err := g.Verify(); err != nil {
		return nil, nil, diag.At("prune left a bad graph", err)
	}
	if rep.Corrected, err = fit.run(ctx, g); err != nil {
		return nil, nil, err
	}
	g.TidyNames()
	if g.ConstBytes() > size {
		planned := cost
		if cost, err = o.Cost(ctx, g); err != nil {
			return nil, nil, err
		}
		rep.biases = cost - planned
	}
	gone, all := 0, 0
	for _, x := range groups {
		is := 0
		for _, u := range x.Units {
			if k, ok := plan.Copies[u]; !ok || k > 0 {
				is++
			}
		}
		gone, all = gone+len(x.Units)-is, all+len(x.Units)
		rep.Groups = append(rep.Groups, PrunedGroup{x.name, len(x.Units), is, x.each})
	}
	rep.After, rep.Share = cost, float64(gone)/float64(max(1, all))
	return g, rep, nil
}

// wantFloat refuses a quantized network.
func wantFloat(g *ir.Graph) error {
	i := slices.IndexFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Class == ir.Quantized })
	if i < 0 {
		return nil
	}
	return &diag.Error{Place: g.Nodes[i].Op.Name + " " + g.Nodes[i].Label(), Found: "a quantized network", Wanted: "a float one", Fix: "prune first, then compile"}
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
	if o.Run == nil {
		o.Run = interpreter
	}
	if o.LowRank && (o.Correct || o.Inner) {
		return &diag.Error{Place: "--low-rank", Found: "--correct or --inner, which are for channels that go", Wanted: "one without the other"}
	}
	if o.Correct && !o.Real {
		return &diag.Error{Place: "--correct", Found: "no data", Wanted: "--data: layers are fitted to what it makes of them"}
	}
	return nil
}

// Scopes are the sets of units that are ranked together.
var Scopes = []string{"global", "local", "alike"}

// groups lists what can shrink, and in the report what cannot.
func (o *PruneOptions) groups(net *ir.Graph, an *coupling.Analysis, score map[coupling.Unit]float64, rep *Pruned) []*group {
	var out []*group
	joined := o.joined(net, an)
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
		if why == "" && slices.ContainsFunc(g.Units, func(u coupling.Unit) bool { return joined[u] }) {
			why = "a sum joins it: not an inner channel"
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
		n := len(g.Units)
		x := &group{Group: g, name: name, each: max(1, s[len(s)-1]/n), score: score, order: slices.Clone(g.Units), step: o.Round, cost: 1, relative: slices.Contains(relative, o.Criterion)}
		x.least = min(n, max(1, int(math.Ceil(o.Keep*float64(n)))))
		slices.SortStableFunc(x.order, func(a, b coupling.Unit) int { return cmp.Compare(score[a], score[b]) })
		out = append(out, x)
	}
	return out
}

// joined gives the units that a sum of two values joins, where they stay.
func (o *PruneOptions) joined(g *ir.Graph, an *coupling.Analysis) map[coupling.Unit]bool {
	out := map[coupling.Unit]bool{}
	for _, n := range g.Nodes {
		if !o.Inner || n.Op.Name != "add" || slices.ContainsFunc(n.Inputs, func(v *ir.Value) bool { return v.Const != nil }) {
			continue
		}
		for at := range n.Out().Type.Shape {
			for _, u := range an.Of(n.Out(), at) {
				out[u] = true
			}
		}
	}
	return out
}
