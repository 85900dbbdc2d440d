package design

import "math"

// bounds say how much a partial network can still score. Lagrangian: a network
// within the limits loses nothing when what it costs beyond them is charged and
// what it saves is paid for, at any prices.
type bounds struct {
	p      *Program
	limits Limits
	prices []prices
	after  map[int]float64 // by resolution: greatest weighted sum of the level factors from there on
}

// prices are for one unit of each cost, and what the slots to come can then
// gain, by slot and state.
type prices struct {
	macs, params, ms float64
	gain             [][]float64
}

func (p *Program) newBounds(l Limits) *bounds {
	b := &bounds{p: p, limits: l, after: map[int]float64{}}
	for i, r := range p.res {
		best, sum := math.Inf(-1), 0.0
		for _, last := range p.res[i:] {
			best = max(best, sum+p.s.Last*p.peak[last])
			sum += p.peak[last]
		}
		b.after[r] = best
	}
	b.add(0, 0, 0)
	// The prices that give the lowest bound on the whole, found one at a time.
	var at [3]float64
	low := b.root(b.price(0, 0, 0))
	for round := range 12 {
		for k, on := range []float64{float64(l.MACs), float64(l.Params), l.MS} {
			if on == 0 {
				continue
			}
			unit := low / on
			factor := math.Pow(2, 2-float64(round)/2)
			for _, try := range []float64{at[k] + unit*0.02, at[k] * factor, at[k] / factor, 0} {
				c := at
				c[k] = try
				x := b.price(c[0], c[1], c[2])
				if v := b.root(x); v < low-1e-9 {
					low, at = v, c
				}
			}
		}
	}
	for _, f := range []float64{0.5, 1, 2} { // partial networks have other prices than the whole
		b.add(at[0]*f, at[1]*f, at[2]*f)
	}
	for k := range at {
		c := [3]float64{}
		c[k] = at[k] * 1.5
		b.add(c[0], c[1], c[2])
	}
	return b
}

func (b *bounds) add(macs, params, ms float64) {
	for _, x := range b.prices {
		if x.macs == macs && x.params == params && x.ms == ms {
			return
		}
	}
	b.prices = append(b.prices, b.price(macs, params, ms))
}

func (b *bounds) price(macs, params, ms float64) prices {
	p := b.p
	x := prices{macs: macs, params: params, ms: ms, gain: make([][]float64, len(p.slots)+1)}
	for i := len(p.slots) - 1; i >= 0; i-- {
		x.gain[i] = make([]float64, p.walk.Slots[i].States())
		for st := range x.gain[i] {
			best := math.Inf(-1)
			p.moves(i, int32(st), func(m *move, _ int) {
				v := -x.charge(m.cost)
				if m.layers > 0 {
					v += m.width * b.after[m.res]
				}
				if i+1 < len(p.slots) {
					v += x.gain[i+1][m.next]
				}
				best = max(best, v)
			})
			x.gain[i][st] = best
		}
	}
	return x
}

func (x *prices) charge(c cost) float64 {
	return x.macs*float64(c.macs) + x.params*float64(c.params) + x.ms*c.ms
}

func (x *prices) budget(l Limits) float64 {
	return x.macs*float64(l.MACs) + x.params*float64(l.Params) + x.ms*l.MS
}

// root bounds the score of any network.
func (b *bounds) root(x prices) float64 {
	best := math.Inf(-1)
	for _, st := range b.p.walk.First {
		if st >= 0 && len(b.p.slots) > 0 {
			best = max(best, x.gain[0][st])
		}
	}
	return best + x.budget(b.limits) - x.charge(b.p.fixed) - b.p.s.Beta
}

// upper bounds the score of any network that begins with l, whose next slot is
// given.
func (b *bounds) upper(l *label, slot int) float64 {
	low := math.Inf(1)
	for i := range b.prices {
		x := &b.prices[i]
		v := x.budget(b.limits) - x.charge(l.cost)
		if slot < len(b.p.slots) {
			v += x.gain[slot][l.key.state]
		}
		low = min(low, v)
	}
	v := low + l.score - b.p.s.Beta
	if l.key.res != 0 {
		v += l.width * b.after[l.key.res]
	}
	return v + 1e-9*math.Abs(v)
}
