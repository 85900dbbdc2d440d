package search

import (
	"maps"
	"math"
	"slices"
)

// Proposal is what a strategy wants tried.
type Proposal struct {
	Genotype Genotype `json:"genotype"`
	// Parent is the trial whose weights the network starts from, 0 for none.
	// Where Edits is empty and the parent has the same genotype, its training
	// goes on (successive halving).
	Parent int64 `json:"parent,omitempty"`
	// Edits are passes ("widen(...)", "deepen(...)", "drop-block(...)", …) that
	// make the network out of the parent's, in the syntax of nasc opt --passes.
	Edits []string `json:"edits,omitempty"`
	// Budget is the share of a full training that this trial gets, 0 to 1; 0 is
	// a full one. A last training (Loop.Last) may be several.
	Budget float64 `json:"budget,omitempty"`
	// Note is the strategy's own remark for the journal, such as an episode.
	Note string `json:"note,omitempty"`
}

// Outcome is what an Evaluator found.
type Outcome struct {
	Metrics map[string]float64 `json:"metrics"`
	Curve   []float64          `json:"curve,omitempty"`   // validation accuracy after each epoch
	Weights string             `json:"weights,omitempty"` // digest of the trained file in the study's store
	Steps   int64              `json:"steps,omitempty"`   // training steps taken
	// Delta and MaxOut are the greatest change of an output when inherited weights
	// were transformed, before training, and the greatest output.
	Delta  float64 `json:"delta,omitempty"`
	MaxOut float64 `json:"max_out,omitempty"`
	Fault  string  `json:"fault,omitempty"` // why the network could not be evaluated
}

// Clean takes out what is no number, such as the loss of a training that
// diverged: a metric that is missing is the worst, and JSON has no NaN.
func (o *Outcome) Clean() {
	odd := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	maps.DeleteFunc(o.Metrics, func(_ string, v float64) bool { return odd(v) })
	for i, v := range o.Curve {
		if odd(v) {
			o.Curve[i] = 0
		}
	}
	for _, v := range []*float64{&o.Delta, &o.MaxOut} {
		if odd(*v) {
			*v = math.MaxFloat64
		}
	}
}

// Trial is a proposal and what came of it.
type Trial struct {
	ID   int64  `json:"id"` // 1, 2, … in the order of asking
	Seed uint64 `json:"seed"`
	Proposal
	Outcome
	CopyOf int64 `json:"copy_of,omitempty"` // the trial of the same network whose outcome this is
	// ParentTrial is the trial that Parent names, with its outcome, nil for none.
	ParentTrial *Trial `json:"-"`
	// Values are the objectives, all to be maximized; Violation is by how much
	// the limits are broken, 0 where they hold. A fault has -Inf and a
	// violation of +Inf.
	Values    []float64 `json:"-"`
	Violation float64   `json:"-"`
}

// Judge sets Values and Violation from the outcome.
func (t *Trial) Judge(g Goal) {
	t.Values, t.Violation = g.Values(t.Metrics), g.Violation(t.Metrics)
	if t.Fault != "" {
		for i := range t.Values {
			t.Values[i] = math.Inf(-1)
		}
		t.Violation = math.Inf(1)
	}
}

// TrialSeed is the seed of a study's trial: below 2^53, so that JSON and every
// reader of the journal keep it.
func TrialSeed(study uint64, id int64) uint64 {
	x := study ^ uint64(id)*0x9e3779b97f4a7c15 // splitmix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) >> 11
}

// Feasible says that the network could be evaluated and keeps the limits.
func (t *Trial) Feasible() bool { return t.Fault == "" && t.Violation == 0 }

// Better orders trials by the first objective: feasible ones before others,
// then by value; among infeasible ones by violation.
func (t *Trial) Better(o *Trial) bool {
	switch tf, of := t.Feasible(), o.Feasible(); {
	case tf != of:
		return tf
	case !tf:
		return t.Violation < o.Violation
	}
	return t.Values[0] > o.Values[0]
}

// Best is the best trial by the first objective, the earliest of equal ones;
// nil where no network could be evaluated.
func Best(trials []*Trial) *Trial {
	var best *Trial
	for _, t := range trials {
		if t.Fault == "" && (best == nil || t.Better(best)) {
			best = t
		}
	}
	return best
}

// Front lists the feasible trials that no other dominates, one of equal ones,
// in order.
func Front(trials []*Trial) []*Trial {
	var front []*Trial
	for _, t := range trials {
		if !t.Feasible() || slices.ContainsFunc(front, func(f *Trial) bool {
			return slices.Equal(f.Values, t.Values) || Dominates(f.Values, t.Values)
		}) {
			continue
		}
		front = slices.DeleteFunc(front, func(f *Trial) bool { return Dominates(t.Values, f.Values) })
		front = append(front, t)
	}
	return front
}
