package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// when is a condition on earlier choices, all of which must have one of the
// options that it names. A choice that decides nothing counts as its first
// option. None always holds.
type when []condition

type condition struct {
	gene int
	is   []bool // by option
}

func (w when) holds(g []int) bool {
	for _, c := range w {
		if !c.is[max(g[c.gene], 0)] {
			return false
		}
	}
	return true
}

// genes appends the choices that it asks.
func (w when) genes(out []int) []int {
	for _, c := range w {
		out = append(out, c.gene)
	}
	return out
}

// maxCombinations bounds the options of all choices that conditions ask,
// multiplied: counting goes through them.
const maxCombinations = 1 << 12

// when reads { "stage.key" = value or [values], … } beside a choose or in a
// stage.
func (r *spaceReader) when(key string, m map[string]any) when {
	v, ok := m["when"]
	if !ok {
		return nil
	}
	t, ok := v.(map[string]any)
	if !ok || len(t) == 0 {
		r.fail(key, &diag.Error{Found: fmt.Sprintf("when = %v", short(v)), Wanted: `when = { "stage.key" = [values] }: an earlier choice and what it must be`})
		return nil
	}
	var out when
	for _, name := range sortedKeys(t) {
		gene := slices.IndexFunc(r.s.Genes, func(g Gene) bool { return g.Name == name })
		if gene < 0 {
			var names []string
			for _, g := range r.s.Genes {
				names = append(names, g.Name)
			}
			r.fail(key, &diag.Error{Found: fmt.Sprintf("when %q", name), Wanted: "an earlier choice: " + strings.Join(names, ", ")})
			continue
		}
		options := r.s.Genes[gene].Options
		c := condition{gene, make([]bool, len(options))}
		list, ok := t[name].([]any)
		if !ok {
			list = []any{t[name]}
		}
		// An option that is a list itself is written in a list of one.
		for _, o := range list {
			k := slices.Index(options, short(o))
			if k < 0 {
				r.fail(key, &diag.Error{Found: fmt.Sprintf("when %q = %s", name, short(o)), Wanted: "one of " + strings.Join(options, ", ")})
				continue
			}
			c.is[k] = true
		}
		out = append(out, c)
	}
	return out
}

// asked lists the choices that conditions and shared depths ask, in order.
func (s *Space) asked() []int {
	var out []int
	var inNode func(n node)
	inNode = func(n node) {
		switch n := n.(type) {
		case array:
			for _, e := range n {
				inNode(e)
			}
		case fields:
			for _, e := range n {
				inNode(e.val)
			}
		case *choice:
			out = n.when.genes(out)
			for _, o := range n.options {
				inNode(o)
			}
		}
	}
	var inParts func(ps []part)
	inParts = func(ps []part) {
		for i := range ps {
			p := &ps[i]
			out = p.when.genes(out)
			for _, a := range p.alts {
				inParts(a)
			}
			inNode(p.repeat)
			if n, ok := p.repeat.(shared); ok { // what else the stage chooses depends on it
				out = append(out, n.gene)
			}
			inNode(p.shared)
			for _, e := range p.each {
				inNode(fields(e))
			}
		}
	}
	for _, f := range s.root {
		inNode(f.val)
	}
	inParts(s.parts)
	slices.Sort(out)
	return slices.Compact(out)
}

// combinations is how many combinations of options the asked choices have, as
// far as that can be told in an int.
func (s *Space) combinations() int {
	n := 1
	for _, gene := range s.asked() {
		if n *= len(s.Genes[gene].Options); n > maxCombinations {
			return n
		}
	}
	return n
}
