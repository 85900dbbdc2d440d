package arch

import "slices"

// Slots lists every repetition of every stage that a network of the space may
// have, in the order in which networks have them: for each the genes that
// decide whether it is there and what it is.
func (s *Space) Slots() [][]int {
	var out [][]int
	slots(s.parts, nil, func(genes []int) { out = append(out, once(genes)) })
	return out
}

// RootGenes are the genes outside of stages.
func (s *Space) RootGenes() []int {
	var out []int
	for _, f := range s.root {
		out = allGenes(f.val, out)
	}
	return once(out)
}

// once keeps the first of equal numbers.
func once(genes []int) []int {
	var out []int
	for _, g := range genes {
		if !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// Present lists the slots that a network has.
func (s *Space) Present(g Genotype) []int {
	var out []int
	n := 0
	present(s.parts, g, true, &n, &out)
	return out
}

func slots(ps []part, outer []int, add func([]int)) {
	for i := range ps {
		p := &ps[i]
		outer := p.when.genes(slices.Clone(outer))
		if p.alts != nil {
			within := append(slices.Clone(outer), p.pick)
			for _, alt := range p.alts {
				slots(alt, within, add)
			}
			continue
		}
		genes := allGenes(p.shared, allGenes(p.repeat, slices.Clone(outer)))
		for r := range p.most {
			one := slices.Clone(genes)
			if r < len(p.each) {
				one = allGenes(fields(p.each[r]), one)
			}
			add(one)
		}
	}
}

func present(ps []part, g Genotype, here bool, n *int, out *[]int) {
	for i := range ps {
		p := &ps[i]
		here := here && p.when.holds(g)
		if p.alts != nil {
			for k, alt := range p.alts {
				present(alt, g, here && g[p.pick] == k, n, out)
			}
			continue
		}
		times := p.times(g)
		for r := range p.most {
			if here && r < times {
				*out = append(*out, *n)
			}
			*n++
		}
	}
}

// BlockAt is what a network has in a slot, as Stage.Params of the built network
// says it; here is false where the slot is empty.
func (s *Space) BlockAt(g Genotype, slot int) (params string, here bool) {
	n := 0
	return blockAt(s.parts, g, true, &n, slot)
}

func blockAt(ps []part, g Genotype, here bool, n *int, slot int) (string, bool) {
	for i := range ps {
		p := &ps[i]
		if p.alts != nil {
			for k, alt := range p.alts {
				params, is := blockAt(alt, g, here && p.when.holds(g) && g[p.pick] == k, n, slot)
				if *n > slot {
					return params, is
				}
			}
			continue
		}
		if *n += p.most; *n <= slot {
			continue
		}
		r := slot - (*n - p.most)
		switch {
		case !here || !p.when.holds(g) || r >= p.times(g):
			return "", false
		case p.alone:
			return paramsText(p.table(g, r), 0), true
		}
		return paramsText(p.table(g, r), r), true
	}
	return "", false
}

// allGenes appends every gene of a tree, whether active or not, and those that
// its conditions ask.
func allGenes(n node, out []int) []int {
	switch n := n.(type) {
	case array:
		for _, e := range n {
			out = allGenes(e, out)
		}
	case fields:
		for _, e := range n {
			out = allGenes(e.val, out)
		}
	case shared:
		out = append(out, n.gene)
	case *choice:
		out = append(n.when.genes(out), n.gene)
		for _, o := range n.options {
			out = allGenes(o, out)
		}
	}
	return out
}

// Canonical sets the genes that decide nothing to 0.
func (s *Space) Canonical(g Genotype) Genotype {
	out := make(Genotype, len(g))
	s.Active(out, func(i int) { out[i] = g[i] })
	return out
}
