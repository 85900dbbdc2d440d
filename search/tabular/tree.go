package tabular

import (
	"fmt"
	"math/big"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

type gene = arch.Gene

// tree is the space of a table: the choices in order, of which a network may
// leave out some, as the rows say.
type tree struct {
	name  string
	genes []gene
	root  *branch
	count int
}

// branch is where a choice is taken, or, inactive, passed over.
type branch struct {
	active bool
	next   []*branch // by option; one where it is inactive; nil after the last choice
}

// newTree makes the space of a table's rows. active says for each row which
// choices decide something in it; nil: all in all.
func newTree(t *Table, genes []gene, active [][]bool) (*tree, error) {
	if len(t.Rows) == 0 {
		return nil, &diag.Error{Place: t.File, Found: "no rows", Wanted: "a network a row"}
	}
	s := &tree{name: t.Name, genes: genes, root: &branch{}, count: len(t.Rows)}
	for n, r := range t.Rows {
		at := s.root
		for i := range genes {
			on := active == nil || active[n][i]
			if at.next == nil {
				at.active, at.next = on, make([]*branch, 1)
				if on {
					at.next = make([]*branch, len(genes[i].Options))
				}
			}
			if at.active != on {
				return nil, &diag.Error{
					Place: t.File, Found: fmt.Sprintf("%s: %s is %s, and not so in another network with the same choices before it", r.Name, genes[i].Name, map[bool]string{true: "set", false: "empty"}[on]),
					Wanted: "a choice that is there depends on earlier ones only",
				}
			}
			v := r.Genotype[i]
			if at.next[v] == nil {
				at.next[v] = &branch{}
			}
			at = at.next[v]
		}
	}
	return s, s.whole(t.File, s.root, nil)
}

// whole finds a network that the space has and the table does not.
func (s *tree) whole(file string, b *branch, before []int) error {
	if len(before) == len(s.genes) {
		return nil
	}
	for v, n := range b.next {
		if n == nil {
			return &diag.Error{
				Place: file, Found: fmt.Sprintf("no network with %s = %s after %v", s.genes[len(before)].Name, s.genes[len(before)].Options[v], search.Genotype(before)),
				Wanted: "all networks of the space", Fix: "the table is cut short: make or fetch it again",
			}
		}
		if err := s.whole(file, n, append(before[:len(before):len(before)], v)); err != nil {
			return err
		}
	}
	return nil
}

func (s *tree) Name() string { return s.name }

func (s *tree) Genes() []gene { return s.genes }

func (s *tree) Count() *big.Int { return big.NewInt(int64(s.count)) }

// Active calls f for the choices that are there.
func (s *tree) Active(g search.Genotype, f func(gene int)) {
	b := s.root
	for i := range s.genes {
		v := 0
		if b.active {
			f(i)
			v = g[i]
		}
		b = b.next[v]
	}
}

// Check says why a genotype is no network of the table.
func (s *tree) Check(g search.Genotype) error {
	if len(g) != len(s.genes) {
		return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d numbers", len(g)), Wanted: fmt.Sprintf("%d: one a choice of %s", len(s.genes), s.name)}
	}
	b := s.root
	for i, v := range g {
		if v < 0 || v >= len(b.next) {
			return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d of %s", v, s.genes[i].Name), Wanted: fmt.Sprintf("0 to %d", len(b.next)-1)}
		}
		b = b.next[v]
	}
	return nil
}
