package strategy

import (
	"cmp"
	"slices"

	"github.com/nasc-dev/nasc/search"
)

// model predicts the score of a network.
type model interface {
	predict(x []int) (mean, std float64)
}

// Where a model is asked for the most promising network: around the best ones
// that are known, anywhere, and then uphill from the most promising of these.
const (
	aroundBest = 100
	anywhere   = 100
	climbs     = 3 // from how many
	steps      = 4 // at most, each
)

// promising gives networks by expected improvement over best, the highest
// first. known are told trials; those asked for are left out.
func (p *pool) promising(m model, e *encoder, known []*search.Trial, best float64) []search.Genotype {
	type candidate struct {
		g  search.Genotype
		ei float64
	}
	var all []candidate
	met := map[string]bool{}
	rate := func(g search.Genotype) (candidate, bool) {
		k := g.String()
		if met[k] || p.asked[k] {
			return candidate{}, false
		}
		met[k] = true
		if v, err := p.violation(g); err != nil || v > 0 { // pick meets the error again
			return candidate{}, false
		}
		mean, std := m.predict(e.encode(g))
		c := candidate{g, expectedImprovement(mean, std, best)}
		all = append(all, c)
		return c, true
	}
	elite := slices.Clone(known)
	slices.SortStableFunc(elite, func(a, b *search.Trial) int { return compareTrials(b, a) })
	elite = elite[:min(10, len(elite))]
	for i := range aroundBest {
		if len(elite) == 0 {
			break
		}
		g := elite[i%len(elite)].Genotype
		for range 1 + p.r.IntN(3) {
			g = search.Mutate(p.Space, g, p.r)
		}
		rate(g)
	}
	for range anywhere {
		rate(search.Draw(p.Space, p.r))
	}
	byEI := func(a, b candidate) int { return cmp.Compare(b.ei, a.ei) }
	slices.SortStableFunc(all, byEI)
	genes := p.Space.Genes()
	for _, c := range slices.Clone(all[:min(climbs, len(all))]) {
		for range steps {
			up := c
			for _, i := range search.ActiveGenes(p.Space, c.g) {
				if len(genes[i].Options) > 1 {
					v := p.r.IntN(len(genes[i].Options) - 1)
					if v >= c.g[i] {
						v++
					}
					if n, ok := rate(search.Replace(p.Space, c.g, i, v, p.r)); ok && n.ei > up.ei {
						up = n
					}
				}
			}
			if up.ei == c.ei {
				break
			}
			c = up
		}
	}
	slices.SortStableFunc(all, byEI)
	out := make([]search.Genotype, len(all))
	for i, c := range all {
		out[i] = c.g
	}
	return out
}

// inOrder draws from a list, then nothing.
func inOrder(list []search.Genotype) func() search.Genotype {
	return func() search.Genotype {
		if len(list) == 0 {
			return nil
		}
		g := list[0]
		list = list[1:]
		return g
	}
}
