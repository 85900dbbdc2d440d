package ir

import (
	"regexp"
	"slices"
	"strconv"
)

// Unique gives want, or want with a number, so that no value has the name yet.
func (g *Graph) Unique(want string) string { return unique(g.names, want) }

// UniqueConst does the same among constants.
func (g *Graph) UniqueConst(want string) string { return unique(g.consts, want) }

func unique(taken map[string]bool, want string) string {
	if want != "" && !taken[want] {
		return want
	}
	for i := len(taken); ; i++ {
		s := strconv.Itoa(i)
		if want != "" {
			s = want + "~" + s
		}
		if !taken[s] {
			return s
		}
	}
}

// Rename gives a value another name, numbered where it is taken.
func (g *Graph) Rename(v *Value, name string) {
	if v.Name == name {
		return
	}
	taken := g.names
	if v.Const != nil {
		taken = g.consts
	}
	delete(taken, v.Name)
	v.Name = unique(taken, name)
	taken[v.Name] = true
}

// addedNumbers are what unique puts into names; an importer's own names hold
// no ~ with a number after it, or lose it here.
var addedNumbers = regexp.MustCompile(`~\d+`)

// TidyNames drops the numbers that were added to names (as name~7) where the
// plain name has become free, and forgets the names of what is gone.
func (g *Graph) TidyNames() {
	g.names, g.consts = map[string]bool{}, map[string]bool{}
	all := slices.Clone(g.Inputs)
	for _, n := range g.Nodes {
		all = append(all, n.Outputs...)
	}
	constants := g.Constants()
	for _, v := range all {
		g.names[v.Name] = true
	}
	for _, v := range constants {
		g.consts[v.Name] = true
	}
	for _, v := range append(all, constants...) {
		base := addedNumbers.ReplaceAllString(v.Name, "")
		if base == v.Name {
			continue
		}
		taken := g.names
		if v.Const != nil {
			taken = g.consts
		}
		if base != "" && !taken[base] {
			g.Rename(v, base)
		}
	}
}
