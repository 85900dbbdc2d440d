package strategy

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
	"github.com/nasc-dev/nasc/search/strategy/controller"
)

// eas grows networks (Efficient Architecture Search, Cai et al. 2018): the
// smallest one is trained; then, episode by episode, a policy draws networks
// that are wider and deeper, each of which inherits its weights, and learns by
// REINFORCE from their accuracies. The best grown one so far is where later
// episodes begin.
type eas struct {
	*ground
	u             func() float64
	policy        policy
	nets          int
	wider, deeper int     // steps a network takes
	stage         int     // episodes before the best network is the next start
	share         float64 // of a full training
	clip          float64 // highest accuracy that counts
	start, best   *search.Trial
	baseline      float64
	episodes      int
	queue         []*grown // not asked for yet
	open          []*grown // asked for, in order
	told          []*grown // of this episode
	begun         bool
}

// grown is a network of an episode.
type grown struct {
	proposal search.Proposal
	wide     []controller.WideStep
	deep     []controller.DeepStep
	reward   float64
}

// growthOptions are those of strategies that grow networks.
var growthOptions = []Option{
	{"nets", "10", "networks in an episode"},
	{"wider", "4", "steps that make layers wider"},
	{"deeper", "5", "steps that make a block deeper"},
	{"stage", "3", "episodes before the best network becomes the start; 0: never"},
	{"share", "1", "of a full training that a grown network gets"},
	{"clip", "0.995", "highest accuracy that counts: the reward goes to infinity"},
}

func newEAS(s search.Setup) (search.Strategy, error) {
	return newGrowing(s, func(x *eas) (policy, error) {
		rate, err := number(s, "rate", 0, 1)
		if err != nil {
			return nil, err
		}
		entropy, err := number(s, "entropy", 0, 1)
		if err != nil {
			return nil, err
		}
		length, depth, words := x.size()
		return controller.NewGrower(controller.GrowerConfig{
			Vocabulary: words, Length: length, Blocks: max(1, len(x.blocks)), Depth: depth, Kinds: x.kinds,
			Nets: x.nets, Wide: x.wider, Deep: x.deeper, Rate: rate, Entropy: entropy, Seed: s.Seed,
		})
	})
}

// newRandomGrowth takes the same steps by chance: what eas has to beat.
func newRandomGrowth(s search.Setup) (search.Strategy, error) {
	return newGrowing(s, func(x *eas) (policy, error) { return chance{x.kinds}, nil })
}

func newGrowing(s search.Setup, make func(*eas) (policy, error)) (search.Strategy, error) {
	w, err := newGround(s)
	if err != nil {
		return nil, err
	}
	x := &eas{ground: w, u: uniform(s.Seed)}
	if err := settings(s, []ranged{
		{"nets", 1, 1000, &x.nets},
		{"wider", 0, 100, &x.wider},
		{"deeper", 0, 100, &x.deeper},
		{"stage", 0, 1e6, &x.stage},
		{"share", 0.001, 1, &x.share},
		{"clip", 0.5, 0.999999, &x.clip},
	}); err != nil {
		return nil, err
	}
	x.policy, err = make(x)
	return x, err
}

func (x *eas) Ask(ctx context.Context) (search.Proposal, error) {
	switch {
	case !x.begun:
		x.begun = true
		x.open = append(x.open, nil)
		return search.Proposal{Genotype: x.smallest(), Note: "start"}, nil
	case x.start == nil:
		return search.Proposal{}, search.ErrWait
	case len(x.queue) == 0 && len(x.open) > 0:
		return search.Proposal{}, search.ErrWait
	case len(x.queue) == 0:
		if err := x.episode(ctx); err != nil {
			return search.Proposal{}, err
		}
	}
	g := x.queue[0]
	x.queue, x.open = x.queue[1:], append(x.open, g)
	return g.proposal, nil
}

// episode draws the networks of the next one.
func (x *eas) episode(ctx context.Context) error {
	first, err := morph.Start(ctx, x.space, x.start.Genotype)
	if err != nil {
		return err
	}
	nets, steps := make([]*morph.Growth, x.nets), make([]*grown, x.nets)
	for i := range nets {
		m := *first
		nets[i], steps[i] = &m, &grown{}
	}
	for range x.wider {
		states, genes := make([]controller.WideState, x.nets), make([][]int, x.nets)
		for i, m := range nets {
			genes[i] = x.widest(m)
			states[i].Tokens = x.words(m)
			for _, g := range genes[i] {
				states[i].May = append(states[i].May, g >= 0)
			}
		}
		yes, err := x.policy.Widen(states, x.u)
		if err != nil {
			return err
		}
		for i, m := range nets {
			steps[i].wide = append(steps[i].wide, controller.WideStep{WideState: states[i], Yes: yes[i]})
			for k, y := range yes[i] {
				if !y || !x.wide[genes[i][k]] {
					continue
				}
				if err := x.widen(ctx, m, genes[i][k]); err != nil {
					return err
				}
			}
		}
	}
	for range x.deeper {
		var at []int
		var states []controller.DeepState
		for i, m := range nets {
			if l := x.layers(m); slices.Max(append(l, 0)) > 0 {
				at, states = append(at, i), append(states, controller.DeepState{Tokens: x.words(m), Layers: l})
			}
		}
		if len(at) == 0 {
			break
		}
		choices, err := x.policy.Deepen(states, x.u)
		if err != nil {
			return err
		}
		for k, i := range at {
			steps[i].deep = append(steps[i].deep, controller.DeepStep{DeepState: states[k], DeepChoice: choices[k]})
			if x.blocks[choices[k].Block].banned {
				continue // found out a moment ago
			}
			if err := x.deepen(ctx, nets[i], choices[k]); err != nil {
				return err
			}
		}
	}
	x.episodes++
	for i, m := range nets {
		steps[i].proposal = search.Proposal{
			Genotype: m.Genotype, Parent: x.start.ID, Edits: m.Edits, Budget: x.share,
			Note: fmt.Sprintf("episode %d", x.episodes),
		}
	}
	x.queue, x.told = steps, nil
	return nil
}

func (x *eas) Tell(_ context.Context, t *search.Trial) error {
	g := x.open[0]
	x.open = x.open[1:]
	// The start, trained for longer than what grows of it, would be the best for
	// ever, and nothing would grow beyond one episode's steps.
	if g != nil && t.Fault == "" && (x.best == nil || t.Better(x.best)) {
		x.best = t
	}
	if g == nil { // the start
		if t.Fault != "" {
			return fmt.Errorf("the network to grow from cannot be trained: %s", t.Fault)
		}
		x.start = t
		return nil
	}
	g.reward = x.reward(t)
	x.told = append(x.told, g)
	if len(x.queue)+len(x.open) > 0 {
		return nil
	}
	return x.learn()
}

// reward is tan(accuracy·π/2): near 1, a little more counts for much. Where the
// loss is the objective, the true class's probability e^−loss, its geometric mean
// over samples, takes the place of the accuracy: a few hundred samples tell
// networks apart by it that get as many of them right. Networks beyond a limit
// count for less.
func (x *eas) reward(t *search.Trial) float64 {
	if t.Fault != "" {
		return 0
	}
	a := t.Metrics["accuracy"]
	if x.setup.Goal.Objectives[0].Name == "loss" {
		loss, ok := t.Metrics["loss"]
		if a = 0; ok {
			a = math.Exp(-loss)
		}
	}
	a = min(a, x.clip) / (1 + t.Violation)
	return math.Tan(a * math.Pi / 2)
}

// baselineRate is how far the baseline goes towards an episode's mean. It is no
// decay: nearly all of it is the last episode, the one it is compared with
// included.
const baselineRate = 0.95

// learn ends an episode.
func (x *eas) learn() error {
	mean := 0.0
	for _, g := range x.told {
		mean += g.reward / float64(len(x.told))
	}
	if x.episodes == 1 {
		x.baseline = mean
	}
	x.baseline += baselineRate * (mean - x.baseline)
	var wide []controller.WideStep
	var deep []controller.DeepStep
	for _, g := range x.told {
		for _, s := range g.wide {
			s.Advantage = g.reward - x.baseline
			wide = append(wide, s)
		}
		for _, s := range g.deep {
			s.Advantage = g.reward - x.baseline
			deep = append(deep, s)
		}
	}
	if x.stage > 0 && x.episodes%x.stage == 0 && x.best != nil {
		x.start = x.best
	}
	return x.policy.Learn(wide, deep)
}
