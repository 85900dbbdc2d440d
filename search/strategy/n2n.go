package strategy

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/search/strategy/controller"
)

// n2n compresses a trained network (Ashok et al. 2018): the teacher is scored;
// then a policy removes layers, episode by episode, and learns by REINFORCE from
// size and accuracy of the students; then a second one takes channels away from
// the best of them.
type n2n struct {
	space    *shrink.Space
	goal     search.Goal
	u        func() float64
	policies *controller.Shrinker
	rollouts int
	removal  int     // episodes of the first policy
	shrinks  int     // of the second; 0: without end
	share    float64 // of a full training that a student gets

	teacher  *search.Trial
	baseline float64
	seen     bool // the baseline is of an episode
	episode  int  // of this policy, from 1
	epoch    int  // of both
	best     *search.Trial
	bestR    float64         // its reward without penalty: those of different epochs do not compare
	from     search.Genotype // what the second policy narrows
	now      []*rollout      // of this episode
	queue    []*rollout      // not asked for
	open     []*rollout      // asked for, in order; nil is the teacher
	begun    bool
}

// rollout is a network of an episode.
type rollout struct {
	keep     []bool
	share    []int
	genotype search.Genotype
	valid    bool
	reward   float64
}

// timedRemoval is the episodes of the first policy where the budget is a time.
const timedRemoval = 10

// invalid is the reward of a network that cannot be.
const invalid = -1

var n2nOptions = []Option{
	{"rollouts", "5", "networks in an episode"},
	{"removal", "-1", "episodes in which layers are removed; -1: a third of the budget's, 10 where the budget is a time"},
	{"shrinkage", "0", "episodes in which layers become narrower, after those; 0: until the budget is used"},
	{"rate", "0.003", "learning rate of the policy that removes"},
	{"entropy", "0.01", "weight of that policy's entropy: it must not settle on keeping all"},
	{"share-rate", "0.01", "learning rate of the policy that narrows"},
	{"share", "1", "of a full training that a student gets"},
	{"policy", "", "file of policies to begin with, which another search left"},
}

func newN2N(s search.Setup) (search.Strategy, error) {
	x := &n2n{goal: s.Goal, u: uniform(s.Seed)}
	c := controller.ShrinkerConfig{Features: shrink.Features, Shares: len(shrink.Shares), Seed: s.Seed}
	if err := settings(s, []ranged{
		{"rollouts", 1, 1000, &x.rollouts},
		{"removal", -1, 1e6, &x.removal},
		{"shrinkage", 0, 1e6, &x.shrinks},
		{"rate", 0, 1, &c.Rate},
		{"entropy", 0, 10, &c.Entropy},
		{"share-rate", 0, 1, &c.ShareLR},
		{"share", 0.001, 1, &x.share},
	}); err != nil {
		return nil, err
	}
	if x.removal < 0 {
		if x.removal = timedRemoval; s.Budget > 0 {
			x.removal = s.Budget / x.rollouts / 3
		}
	}
	var learned []byte
	if path := s.Options["policy"]; path != "" {
		var err error
		if learned, err = os.ReadFile(path); err != nil {
			return nil, diag.At("option policy", err)
		}
	}
	var ok bool
	if x.space, ok = s.Space.(*shrink.Space); !ok {
		return nil, &diag.Error{Place: "space " + s.Space.Name(), Found: "a space without a teacher", Wanted: "the students of a trained network", Fix: "nasc compress MODEL --strategy n2n"}
	}
	c.Rollouts, c.Length = x.rollouts, len(x.space.Layers)
	var err error
	if x.policies, err = controller.NewShrinker(c); err != nil || learned == nil {
		return x, err
	}
	if err := x.policies.Load(learned); err != nil {
		return nil, diag.At(s.Options["policy"], err)
	}
	return x, nil
}

// Policies gives the weights of both, for option policy of another search.
func (x *n2n) Policies() ([]byte, error) { return x.policies.Save() }

// mostInvalid bounds the episodes in a row in which no network can be.
const mostInvalid = 200

// Ask proposes the teacher, then students.
func (x *n2n) Ask(context.Context) (search.Proposal, error) {
	if !x.begun {
		x.begun = true
		x.open = append(x.open, nil)
		return search.Proposal{Genotype: make(search.Genotype, len(x.space.Genes())), Note: "teacher"}, nil
	}
	for tries := 0; len(x.queue) == 0; tries++ {
		if len(x.open) > 0 {
			return search.Proposal{}, search.ErrWait
		}
		if x.removing() && x.episode == x.removal {
			x.turn()
		}
		if !x.removing() && x.shrinks > 0 && x.episode == x.shrinks || tries == mostInvalid {
			return search.Proposal{}, search.ErrDone
		}
		if err := x.draw(); err != nil {
			return search.Proposal{}, err
		}
		if len(x.queue) == 0 { // none of them can be: that is learned too
			if err := x.learn(); err != nil {
				return search.Proposal{}, err
			}
		}
	}
	r := x.queue[0]
	x.queue, x.open = x.queue[1:], append(x.open, r)
	kind := "narrowing"
	if r.keep != nil {
		kind = "removal"
	}
	return search.Proposal{Genotype: r.genotype, Budget: x.share, Note: fmt.Sprintf("%s %d", kind, x.episode)}, nil
}

func (x *n2n) removing() bool { return x.from == nil }

// turn goes over to the second policy, from the best network of the first.
func (x *n2n) turn() {
	x.from = make(search.Genotype, len(x.space.Genes()))
	if x.best != nil {
		copy(x.from, x.best.Genotype)
	}
	x.episode, x.seen = 0, false
}

// layers are what the present policy sees, which of the teacher's they are, and
// which may go.
func (x *n2n) layers() (features [][]float64, at []int, may []bool) {
	if x.removing() {
		for i := range x.space.Layers {
			at = append(at, i)
		}
	} else {
		at = x.space.Leaders(x.from)
	}
	for _, i := range at {
		features, may = append(features, x.space.Layers[i].Features), append(may, !x.space.Layers[i].Fixed)
	}
	return features, at, may
}

// draw makes the networks of the next episode.
func (x *n2n) draw() error {
	x.episode++
	x.epoch++
	x.now = nil
	features, at, may := x.layers()
	var keep [][]bool
	var share [][]int
	var err error
	if x.removing() {
		keep, err = x.policies.Keep(features, may, x.u)
	} else {
		share, err = x.policies.Share(features, x.u)
	}
	if err != nil {
		return err
	}
	for i := range x.rollouts {
		r := &rollout{genotype: make(search.Genotype, len(x.space.Genes())), valid: true}
		if x.removing() {
			r.keep = keep[i]
			for k, stays := range r.keep {
				if !stays {
					r.genotype[at[k]] = 1
				}
			}
			r.valid = x.space.Valid(r.genotype)
		} else {
			copy(r.genotype, x.from)
			r.share = share[i]
			for k, v := range r.share {
				r.genotype[len(x.space.Layers)+at[k]] = v
			}
		}
		r.reward = invalid
		x.now = append(x.now, r)
		if r.valid {
			x.queue = append(x.queue, r)
		}
	}
	return nil
}

// Tell learns when an episode is over.
func (x *n2n) Tell(_ context.Context, t *search.Trial) error {
	r := x.open[0]
	x.open = x.open[1:]
	if r == nil {
		if t.Fault != "" {
			return fmt.Errorf("the teacher cannot be scored: %s", t.Fault)
		}
		if !(t.Metrics["accuracy"] > 0) {
			return &diag.Error{Place: "teacher", Found: "no right answer on the validation data", Wanted: "a trained network, and its data"}
		}
		x.teacher = t
		return nil
	}
	r.reward = x.reward(t)
	if plain := x.plain(t); t.Fault == "" && (x.best == nil || plain > x.bestR) {
		x.best, x.bestR = t, plain
	}
	if len(x.open)+len(x.queue) > 0 {
		return nil
	}
	return x.learn()
}

// clampEpoch is where a broken limit counts wholly: the factor's power is even,
// and beyond it the penalty would go away again.
const clampEpoch = 15

// reward is shrink's; a network beyond a limit has less, and less and less.
func (x *n2n) reward(t *search.Trial) float64 {
	if t.Fault != "" {
		return invalid
	}
	r := x.plain(t)
	if t.Violation > 0 {
		e := constraint(x.epoch)
		r = e - 1 + e*r
	}
	return r
}

// plain is shrink's reward.
func (x *n2n) plain(t *search.Trial) float64 {
	return shrink.Reward(t.Metrics["accuracy"]/x.teacher.Metrics["accuracy"], t.Metrics["params"]/x.teacher.Metrics["params"])
}

// constraint is ε of an epoch, from 1 to 0.
func constraint(epoch int) float64 {
	e := 1 - float64(min(epoch, clampEpoch))/clampEpoch
	return min(1, max(0, e*e*e*e))
}

// baselineShare is how far the baseline goes towards an episode's mean.
const baselineShare = 0.5

// learn ends an episode.
func (x *n2n) learn() error {
	mean := 0.0
	for _, r := range x.now {
		mean += r.reward / float64(len(x.now))
	}
	if !x.seen {
		x.baseline, x.seen = mean, true
	}
	var gain []float64
	var keep [][]bool
	var share [][]int
	for _, r := range x.now {
		gain = append(gain, r.reward-x.baseline)
		keep, share = append(keep, r.keep), append(share, r.share)
	}
	x.baseline += baselineShare * (mean - x.baseline)
	features, _, may := x.layers()
	if !slices.ContainsFunc(gain, func(v float64) bool { return v != 0 }) {
		return nil // a step of Adam would move on by what it remembers
	}
	if x.removing() {
		return x.policies.LearnKeep(features, may, keep, gain)
	}
	return x.policies.LearnShare(features, share, gain)
}
