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
	Paper     string // what it follows
	Options   []Option
	New       func(search.Setup) (search.Strategy, error)
}

// Option is a setting of a strategy.
type Option struct{ Name, Default, Doc string }

// Table lists the strategies.
var Table = []Row{
	{Name: "random", Doc: "each network drawn anew, none twice while there are others", Paper: "Li & Talwalkar 2019", New: newRandom},
	{
		Name: "regularized-evolution", Doc: "the best of a sample is mutated, the oldest dies", Paper: "Real et al. 2019", New: newEvolution,
		Options: []Option{{"population", "50", "networks that are alive"}, {"sample", "10", "of which the best is the parent"}},
	},
	{Name: "local-search", Doc: "to a better neighbour until there is none, then elsewhere again", Paper: "White et al. 2021", New: newLocal},
}

// Find makes a strategy by name; options that it does not have are refused.
func Find(name string, s search.Setup) (search.Strategy, error) {
	var names []string
	for _, r := range Table {
		names = append(names, r.Name)
		if r.Name != name {
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(s.Options)) {
			if !slices.ContainsFunc(r.Options, func(o Option) bool { return o.Name == k }) {
				var has []string
				for _, o := range r.Options {
					has = append(has, o.Name)
				}
				return nil, &diag.Error{Place: "strategy " + name, Found: fmt.Sprintf("option %q", k), Wanted: "one of: " + strings.Join(has, ", ")}
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
	return nil, &diag.Error{Place: "--strategy", Found: fmt.Sprintf("%q", name), Wanted: "one of " + strings.Join(names, ", ")}
}

// number reads a strategy's option.
func number(s search.Setup, name string, lo, hi float64) (float64, error) {
	v, err := strconv.ParseFloat(s.Options[name], 64)
	if err != nil || v < lo || v > hi || v != v {
		return 0, &diag.Error{Place: "option " + name, Found: fmt.Sprintf("%q", s.Options[name]), Wanted: fmt.Sprintf("a number from %v to %v", lo, hi)}
	}
	return v, nil
}
