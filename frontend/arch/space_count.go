package arch

import "math/big"

// Count is the number of networks, exactly: a sum over options and a product
// over what is chosen side by side. The choices that conditions ask are fixed to
// each combination of their options in turn, under which the rest is free of
// conditions.
func (s *Space) Count() *big.Int {
	c := &counter{fixed: make([]int, len(s.Genes))}
	for i := range c.fixed {
		c.fixed[i] = free
	}
	asked := s.asked()
	for _, gene := range asked {
		c.fixed[gene] = 0
	}
	sum := new(big.Int)
	for {
		n := big.NewInt(1)
		for _, gene := range s.named {
			if c.fixed[gene] == free {
				n.Mul(n, big.NewInt(int64(len(s.Genes[gene].Options))))
			}
		}
		for _, f := range s.root {
			n.Mul(n, c.node(f.val))
		}
		sum.Add(sum, n.Mul(n, c.parts(s.parts)))
		at := len(asked) - 1
		for at >= 0 && c.fixed[asked[at]]+1 == len(s.Genes[asked[at]].Options) {
			c.fixed[asked[at]] = 0
			at--
		}
		if at < 0 {
			return sum
		}
		c.fixed[asked[at]]++
	}
}

// counter counts the networks that have the fixed options.
type counter struct{ fixed []int }

const free = -1

// gone counts what a network does not have: one, where none of its choices is
// fixed to something else than 0, which such choices are.
func (c *counter) gone(genes []int) *big.Int {
	for _, g := range genes {
		if c.fixed[g] > 0 {
			return new(big.Int)
		}
	}
	return big.NewInt(1)
}

// options sums over a choice: with says what its option k leads to, without
// which choices it has not then.
func (c *counter) options(gene, n int, with func(k int) *big.Int, without func(k int) []int) *big.Int {
	sum := new(big.Int)
	for k := range n {
		if f := c.fixed[gene]; f != free && f != k {
			continue
		}
		one := c.gone(without(k))
		if one.Sign() > 0 {
			sum.Add(sum, one.Mul(one, with(k)))
		}
	}
	return sum
}

func (c *counter) node(n node) *big.Int {
	one := big.NewInt(1)
	switch n := n.(type) {
	case array:
		for _, e := range n {
			one.Mul(one, c.node(e))
		}
	case fields:
		for _, f := range n {
			one.Mul(one, c.node(f.val))
		}
	case *choice:
		if !n.when.holds(c.fixed) {
			return c.gone(ownGenes(n, nil))
		}
		return c.options(n.gene, len(n.options), func(k int) *big.Int { return c.node(n.options[k]) }, func(k int) (out []int) {
			for i, o := range n.options {
				if i != k {
					out = ownGenes(o, out)
				}
			}
			return out
		})
	}
	return one
}

func (c *counter) parts(ps []part) *big.Int {
	n := big.NewInt(1)
	for i := range ps {
		n.Mul(n, c.part(&ps[i]))
	}
	return n
}

func (c *counter) part(p *part) *big.Int {
	if !p.when.holds(c.fixed) {
		return c.gone(p.ownGenes(nil))
	}
	if p.alts != nil {
		return c.options(p.pick, len(p.alts), func(k int) *big.Int { return c.parts(p.alts[k]) }, func(k int) (out []int) {
			for i, a := range p.alts {
				for j := range a {
					if i != k {
						out = a[j].ownGenes(out)
					}
				}
			}
			return out
		})
	}
	times := func(n int) *big.Int { // a stage that is left out has nothing else to choose
		one := big.NewInt(1)
		if n == 0 {
			one = c.gone(ownGenes(p.shared, nil))
		} else {
			one.Set(c.node(p.shared))
		}
		for i, e := range p.each {
			if i < n {
				one.Mul(one, c.node(fields(e)))
			} else {
				one.Mul(one, c.gone(ownGenes(fields(e), nil)))
			}
		}
		return one
	}
	switch r := p.repeat.(type) {
	case leaf:
		return times(int(r.v.(int64)))
	case shared:
		return times(int(r.options[c.fixed[r.gene]].(leaf).v.(int64)))
	case *choice:
		if !r.when.holds(c.fixed) {
			one := c.gone([]int{r.gene})
			return one.Mul(one, times(int(r.options[0].(leaf).v.(int64))))
		}
		return c.options(r.gene, len(r.options), func(k int) *big.Int { return times(int(r.options[k].(leaf).v.(int64))) }, func(int) []int { return nil })
	}
	return times(1)
}

// ownGenes appends the choices within a part.
func (p *part) ownGenes(out []int) []int {
	if p.alts != nil {
		out = append(out, p.pick)
		for _, a := range p.alts {
			for i := range a {
				out = a[i].ownGenes(out)
			}
		}
		return out
	}
	out = ownGenes(p.shared, ownGenes(p.repeat, out))
	for _, e := range p.each {
		out = ownGenes(fields(e), out)
	}
	return out
}

// ownGenes appends every choice of a tree, whether active or not.
func ownGenes(n node, out []int) []int {
	switch n := n.(type) {
	case array:
		for _, e := range n {
			out = ownGenes(e, out)
		}
	case fields:
		for _, e := range n {
			out = ownGenes(e.val, out)
		}
	case *choice:
		out = append(out, n.gene)
		for _, o := range n.options {
			out = ownGenes(o, out)
		}
	}
	return out
}
