package search

import (
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/frontend/arch"
)

// Genotype is one network of a space: the option taken of each gene, 0 for
// genes that decide nothing under the others.
type Genotype = arch.Genotype

// Space is what is searched. *ArchSpace is one of architecture files; a
// tabular benchmark has its own.
type Space interface {
	Name() string
	Genes() []arch.Gene
	// Active calls f for each gene that decides something, in order; which come
	// later may depend on the value that f sets.
	Active(g Genotype, f func(gene int))
	// Check says why a genotype is none of the space.
	Check(g Genotype) error
	// Count is the number of networks.
	Count() *big.Int
}

// ArchSpace is a space of an architecture file with choices.
type ArchSpace struct{ *arch.Space }

// Name is the file's name key.
func (s ArchSpace) Name() string { return s.Space.Name }

// Genes are the choices.
func (s ArchSpace) Genes() []arch.Gene { return s.Space.Genes }

// Draw takes each active gene's option with equal chances.
func Draw(s Space, r *rand.Rand) Genotype {
	genes := s.Genes()
	g := make(Genotype, len(genes))
	s.Active(g, func(i int) { g[i] = r.IntN(len(genes[i].Options)) })
	return g
}

// Canonical sets the genes that decide nothing to 0, and brings the others
// into their range.
func Canonical(s Space, g Genotype) Genotype {
	genes := s.Genes()
	out := make(Genotype, len(g))
	s.Active(out, func(i int) { out[i] = min(max(g[i], 0), len(genes[i].Options)-1) })
	return out
}

// ActiveGenes lists the genes that decide something in a network.
func ActiveGenes(s Space, g Genotype) []int {
	var out []int
	s.Active(g, func(i int) { out = append(out, i) })
	return out
}

// Mutate gives an active gene with two options or more another option, all
// with equal chances. Genes that become active draw theirs; a space of one
// network gives that network.
func Mutate(s Space, g Genotype, r *rand.Rand) Genotype {
	genes := s.Genes()
	may := slices.DeleteFunc(ActiveGenes(s, g), func(i int) bool { return len(genes[i].Options) < 2 })
	if len(may) == 0 {
		return slices.Clone(g)
	}
	at := may[r.IntN(len(may))]
	v := r.IntN(len(genes[at].Options) - 1)
	if v >= g[at] {
		v++
	}
	return Replace(s, g, at, v, r)
}

// Replace sets one gene and draws those that become active by it.
func Replace(s Space, g Genotype, gene, v int, r *rand.Rand) Genotype {
	genes := s.Genes()
	was := map[int]bool{}
	for _, i := range ActiveGenes(s, g) {
		was[i] = true
	}
	out := make(Genotype, len(g))
	s.Active(out, func(i int) {
		switch {
		case i == gene:
			out[i] = v
		case was[i]:
			out[i] = g[i]
		default:
			out[i] = r.IntN(len(genes[i].Options))
		}
	})
	return out
}

// Cross takes each gene from one of two networks with equal chances.
func Cross(s Space, a, b Genotype, r *rand.Rand) Genotype {
	mix := make(Genotype, len(a))
	for i := range mix {
		mix[i] = a[i]
		if r.IntN(2) == 1 {
			mix[i] = b[i]
		}
	}
	return Canonical(s, mix)
}
