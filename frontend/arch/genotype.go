package arch

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Genotype is one network of a space: the option taken of each gene. Genes that
// decide nothing under the others are 0, so a network has one genotype.
type Genotype []int

// String writes the options with dots between them; DecodeGenotype reads that.
func (g Genotype) String() string {
	var b strings.Builder
	for i, v := range g {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.Itoa(v))
	}
	return b.String()
}

// DecodeGenotype reads what String wrote, for this space.
func (s *Space) DecodeGenotype(text string) (Genotype, error) {
	var g Genotype
	if text != "" {
		for i, f := range strings.Split(text, ".") {
			v, err := strconv.Atoi(f)
			if err != nil {
				return nil, &diag.Error{Place: "genotype", Found: fmt.Sprintf("%q at %d", f, i), Wanted: "whole numbers with dots between them"}
			}
			g = append(g, v)
		}
	}
	return g, s.Check(g)
}

// Check says why a genotype is none of this space.
func (s *Space) Check(g Genotype) error {
	if len(g) != len(s.Genes) {
		return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d numbers", len(g)), Wanted: fmt.Sprintf("%d: one a choice of %s", len(s.Genes), s.Name)}
	}
	for i, v := range g {
		if v < 0 || v >= len(s.Genes[i].Options) {
			return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d of %s", v, s.Genes[i].Name), Wanted: fmt.Sprintf("0 to %d", len(s.Genes[i].Options)-1)}
		}
	}
	active := make([]bool, len(g))
	s.Active(g, func(gene int) { active[gene] = true })
	for i, v := range g {
		if v != 0 && !active[i] {
			return &diag.Error{Place: "genotype", Found: fmt.Sprintf("%d of %s", v, s.Genes[i].Name), Wanted: "0: it decides nothing here"}
		}
	}
	return nil
}

// Active calls f for each gene that decides something, in the order of the
// file: whether one is active depends on earlier ones only. f may set its value.
func (s *Space) Active(g Genotype, f func(gene int)) {
	for _, gene := range s.named {
		f(gene)
	}
	for i := range s.root {
		visit(s.root[i].val, g, f)
	}
	visitParts(s.parts, g, f)
}

func visitParts(ps []part, g Genotype, f func(int)) {
	for i := range ps {
		p := &ps[i]
		if !p.when.holds(g) {
			continue
		}
		if p.alts != nil {
			f(p.pick)
			visitParts(p.alts[g[p.pick]], g, f)
			continue
		}
		visit(p.repeat, g, f)
		times := p.times(g)
		if times == 0 {
			continue
		}
		visit(p.shared, g, f)
		for r := range min(times, len(p.each)) {
			visit(fields(p.each[r]), g, f)
		}
	}
}

// times is how often a stage stands in a network.
func (p *part) times(g Genotype) int {
	if !p.when.holds(g) {
		return 0
	}
	if p.repeat == nil {
		return 1
	}
	return int(resolve(p.repeat, g).(int64))
}

// taken is the option that a network has: the first where the choice decides
// nothing.
func (c *choice) taken(g Genotype) int {
	if !c.when.holds(g) {
		return 0
	}
	return g[c.gene]
}

func visit(n node, g Genotype, f func(int)) {
	switch n := n.(type) {
	case array:
		for _, e := range n {
			visit(e, g, f)
		}
	case fields:
		for _, e := range n {
			visit(e.val, g, f)
		}
	case *choice:
		if n.when.holds(g) {
			f(n.gene)
			visit(n.options[g[n.gene]], g, f)
		}
	}
}

// Sample draws a network: each choice with equal chances, so that depths and
// widths are met equally often. One seed gives one network.
func (s *Space) Sample(seed uint64) Genotype {
	return s.draw(rand.New(rand.NewPCG(seed, 0x7370616365)))
}

func (s *Space) draw(r *rand.Rand) Genotype {
	g := make(Genotype, len(s.Genes))
	s.Active(g, func(i int) { g[i] = r.IntN(len(s.Genes[i].Options)) })
	return g
}

// Samples draws n networks, no two alike, or all where the space has fewer.
func (s *Space) Samples(n int, seed uint64) []Genotype {
	if c := s.Count(); c.IsInt64() && c.Int64() <= int64(n) {
		return slices.Collect(s.All())
	}
	r := rand.New(rand.NewPCG(seed, 0x73616d706c6573))
	seen := map[string]bool{}
	var out []Genotype
	for tries := 0; len(out) < n && tries < 1000*n; tries++ {
		g := s.draw(r)
		if k := g.String(); !seen[k] {
			seen[k] = true
			out = append(out, g)
		}
	}
	return out
}

// All goes through every network of a space; for small ones.
func (s *Space) All() iter.Seq[Genotype] {
	return func(yield func(Genotype) bool) {
		g := make(Genotype, len(s.Genes))
		for {
			if !yield(slices.Clone(g)) {
				return
			}
			var active []int
			s.Active(g, func(i int) { active = append(active, i) })
			at := len(active) - 1
			for at >= 0 && g[active[at]]+1 == len(s.Genes[active[at]].Options) {
				at--
			}
			if at < 0 {
				return
			}
			g[active[at]]++
			keep := map[int]bool{}
			for _, i := range active[:at+1] {
				keep[i] = true
			}
			for i := range g { // what came after starts again
				if !keep[i] {
					g[i] = 0
				}
			}
		}
	}
}
