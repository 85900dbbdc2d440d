// Package strategy holds the search strategies: one file and one row each.
package strategy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Row is one strategy.
type Row struct {
	Name, Doc string
	Also      []string // other names that people know it by
	Paper     string   // what it follows
	Options   []Option
	Many      bool // takes several objectives
	Partial   bool // asks for shares of a training, and to go on with one
	Single    bool // proposes one network and ends: nothing is learned from trials
	Grows     bool // networks inherit their weights: needs networks that can be built, and training
	Planned   bool // Setup.Budget changes what it proposes
	// Compresses: its space is a trained network's students (search/shrink), which
	// nasc compress opens; Goal's first objective is the reward. One that is also a
	// Learner leaves what it learned.
	Compresses bool
	New        func(search.Setup) (search.Strategy, error)
}

// Learner is a strategy whose policy serves for other searches: an option names
// the file to begin with.
type Learner interface {
	search.Strategy
	Policies() ([]byte, error)
}

// Option is a setting of a strategy.
type Option struct{ Name, Default, Doc string }

// Table lists the strategies.
var Table = []Row{
	{Name: "random", Doc: "each network drawn anew, none twice while there are others", Paper: "Li & Talwalkar 2019", New: newRandom, Many: true},
	{Name: "local-search", Also: []string{"local"}, Doc: "to a better neighbour until there is none, then elsewhere again", Paper: "White et al. 2021", New: newLocal},
	{
		Name: "regularized-evolution", Also: []string{"evolution", "rea"}, Doc: "the best of a sample is mutated, the oldest dies", Paper: "Real et al. 2019", New: newEvolution,
		Options: []Option{{"population", "50", "networks that are alive"}, {"sample", "10", "of which the best is the parent"}},
	},
	{
		Name: "nsga2", Also: []string{"nsga-ii"}, Doc: "generations sorted by fronts and crowding: several objectives", Paper: "Deb et al. 2002", New: newNSGA2, Many: true, Planned: true,
		Options: []Option{
			{"population", "0", "networks in a generation; 0: a fortieth of the budget, 10 to 100"},
			{"mutation", "0.7", "choices changed in a child, on average"},
			{"crossover", "0.5", "share of children with two parents"},
		},
	},
	{
		Name: "bayesian-gp", Also: []string{"gp", "bayesian"}, Doc: "where a Gaussian process expects the most improvement", Paper: "Jones et al. 1998, Snoek et al. 2012", New: newGP,
		Options: []Option{{"initial", "10", "networks drawn at first"}},
	},
	{
		Name: "bayesian-rf", Also: []string{"rf", "smac"}, Doc: "where a random forest expects the most improvement", Paper: "Hutter et al. 2011 (SMAC)", New: newRF,
		Options: []Option{{"initial", "10", "networks drawn at first"}, {"trees", "30", "of the forest"}},
	},
	{
		Name: "tpe", Doc: "what is likely among the best and unlikely among the others", Paper: "Bergstra et al. 2011", New: newTPE,
		Options: []Option{
			{"initial", "10", "networks drawn at first"},
			{"gamma", "0.25", "share of trials that count as the best"},
			{"spread", "1.5", "choices in which a draw differs from its model, on average"},
			{"candidates", "64", "draws, of which the likeliest is proposed"},
		},
	},
	{
		Name: "mcts", Also: []string{"uct"}, Doc: "down the tree of choices by upper confidence bounds", Paper: "Kocsis & Szepesvári 2006; Negrinho & Gordon 2017", New: newMCTS,
		Options: []Option{
			{"explore", "0.5", "weight of the bounds' width"},
			{"temperature", "0.1", "of the draws below the walked part"},
			{"widen", "2", "options in play: this times the root of the visits"},
			{"power", "2", "of the reward, which is the share of worse networks"},
		},
	},
	{
		Name: "ant-colony", Also: []string{"aco"}, Doc: "along trails that good networks leave", Paper: "Stützle & Hoos 2000", New: newAnts,
		Options: []Option{
			{"ants", "10", "networks in a round"},
			{"evaporation", "0.2", "how fast trails fade"},
			{"floor", "0.05", "the faintest trail; the strongest is 1"},
		},
	},
	{
		Name: "hyperband", Doc: "many networks trained a little, the better ones on and on, in brackets", Paper: "Li et al. 2018", New: newHyperband, Partial: true,
		Options: rungOptions,
	},
	{
		Name: "asha", Doc: "as hyperband, but nothing waits for others", Paper: "Li et al. 2020", New: newASHA, Partial: true,
		Options: rungOptions,
	},
	{
		Name: "eas", Doc: "a recurrent policy makes networks wider and deeper; they inherit their weights", Paper: "Cai et al. 2018", New: newEAS, Grows: true,
		Options: append(slices.Clone(growthOptions), Option{"rate", "0.002", "learning rate of the policy"}, Option{"entropy", "1e-5", "weight of the policy's entropy"}),
	},
	{
		Name: "deepmad", Doc: "the one network with the most entropy within limits on macs and params; trains none to find it", Paper: "Shen et al. 2023", New: newDeepMAD, Single: true,
		Options: []Option{{"rho", "0", "greatest depth over mean width; 0: 0.5, or 2 with depthwise layers"}},
	},
	{Name: "n2n", Doc: "recurrent policies remove a trained network's layers, then their channels; students learn from it (nasc compress)", Paper: "Ashok et al. 2018", New: newN2N, Compresses: true, Options: n2nOptions},
	{Name: "random-growth", Doc: "the steps of eas, by chance", Paper: "Cai et al. 2018", New: newRandomGrowth, Grows: true, Options: growthOptions},
}

var rungOptions = []Option{{"eta", "3", "of so many one goes on, with so many times the training"}, {"min-share", "0.1", "of a training that each network gets"}}

// Default is an option's default as a number, 0 where it is none.
func (r *Row) Default(option string) float64 {
	for _, o := range r.Options {
		if v, err := strconv.ParseFloat(o.Default, 64); o.Name == option && err == nil {
			return v
		}
	}
	return 0
}

// Lookup finds a row by one of its names.
func Lookup(name string) (*Row, error) {
	var names []string
	for i, r := range Table {
		if r.Name == name || slices.Contains(r.Also, name) {
			return &Table[i], nil
		}
		names = append(names, r.Name)
	}
	return nil, &diag.Error{Place: "--strategy", Found: fmt.Sprintf("%q", name), Wanted: "one of " + strings.Join(names, ", ")}
}

// Find makes a strategy by name; options that it does not have are refused.
func Find(name string, s search.Setup) (search.Strategy, error) {
	r, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(s.Options)) {
		if !slices.ContainsFunc(r.Options, func(o Option) bool { return o.Name == k }) {
			has := "none"
			for i, o := range r.Options {
				if i == 0 {
					has = "one of: " + o.Name
				} else {
					has += ", " + o.Name
				}
			}
			return nil, &diag.Error{Place: "strategy " + r.Name, Found: fmt.Sprintf("option %q", k), Wanted: has}
		}
	}
	if len(s.Goal.Objectives) > 1 && !r.Many {
		return nil, &diag.Error{
			Place: "strategy " + r.Name, Found: "several objectives", Wanted: "one",
			Fix: "take nsga2 or random, or one objective and limits for the others (--max-ms)",
		}
	}
	s.Options = maps.Clone(s.Options)
	if s.Options == nil {
		s.Options = map[string]string{}
	}
	for _, o := range r.Options {
		if _, ok := s.Options[o.Name]; !ok {
			s.Options[o.Name] = o.Default
		}
	}
	return r.New(s)
}

// number reads a strategy's option.
func number(s search.Setup, name string, lo, hi float64) (float64, error) {
	v, err := strconv.ParseFloat(s.Options[name], 64)
	if err != nil || v < lo || v > hi || v != v {
		return 0, &diag.Error{Place: "option " + name, Found: fmt.Sprintf("%q", s.Options[name]), Wanted: fmt.Sprintf("a number from %v to %v", lo, hi)}
	}
	return v, nil
}

// ranged is an option's range and where its value goes: an *int or a *float64.
type ranged struct {
	name   string
	lo, hi float64
	to     any
}

// settings reads a strategy's options.
func settings(s search.Setup, list []ranged) error {
	for _, o := range list {
		v, err := number(s, o.name, o.lo, o.hi)
		if err != nil {
			return err
		}
		switch p := o.to.(type) {
		case *int:
			*p = int(v)
		case *float64:
			*p = v
		}
	}
	return nil
}
