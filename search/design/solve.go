package design

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

// Result is a solved design.
type Result struct {
	Design
	Exact  bool    `json:"exact"`  // no network of the space scores higher
	Bound  float64 `json:"bound"`  // no network of the space scores higher than this
	Tried  int     `json:"labels"` // partial networks looked at
	Method string  `json:"method"`
}

// Program is a space made ready to be solved.
type Program struct {
	space *arch.Space
	walk  *nasc.SpaceBlocks
	chain *latency.Chain
	slots [][]move // by state·Size + index
	least [][]cost // what is at least to come, by slot and state
	res   []int    // the resolutions of levels, falling
	peak  map[int]float64
	fixed cost // of every network
	s     Settings

	progress func(stage string, done, total int)
}

// cost is what limits bound.
type cost struct {
	macs, params int64
	ms           float64
}

func (c cost) plus(o cost) cost { return cost{c.macs + o.macs, c.params + o.params, c.ms + o.ms} }

func (c cost) within(l Limits) bool {
	return (l.MACs == 0 || c.macs <= l.MACs) && (l.Params == 0 || c.params <= l.Params) && (l.MS == 0 || c.ms <= l.MS)
}

// move is a block, or none, in one place of a network.
type move struct {
	next int32 // -1: not in any network
	blockOf
	cost
}

// Modelled refuses a space with blocks of which DeepMAD says nothing.
func Modelled(space *arch.Space) error {
	for _, g := range space.Samples(32, 1) {
		if _, _, err := blocksOf(space, g); err != nil {
			return err
		}
	}
	return nil
}

// NewProgram reads the space's blocks. chain gives their times; nil where no
// limit is on them. progress, where it is not nil, hears of this and of Solve.
func NewProgram(ctx context.Context, space *arch.Space, chain *latency.Chain, s Settings, progress func(stage string, done, total int)) (*Program, error) {
	if progress == nil {
		progress = func(string, int, int) {}
	}
	if err := Modelled(space); err != nil { // before the whole space is walked through
		return nil, err
	}
	walk, err := nasc.Blocks(ctx, space, func(done, total int) { progress("find the blocks", done, total) })
	if err != nil {
		return nil, err
	}
	p := &Program{space: space, walk: walk, chain: chain, peak: map[int]float64{}, s: s, progress: progress}
	known := map[string]blockOf{}
	for i := range walk.Slots {
		slot := &walk.Slots[i]
		moves := make([]move, len(slot.Block))
		for k, key := range slot.Block {
			moves[k].next = slot.Next[k]
			if key == "" {
				continue
			}
			b, ok := known[key]
			if !ok {
				// The blocks of a network that has this one, all at once.
				bs, stages, err := blocksOf(space, walk.Witness[key])
				if err != nil {
					return nil, err
				}
				for x, st := range stages {
					known[nasc.BlockKey(st)] = bs[x]
				}
				b = known[key]
			}
			moves[k].blockOf = b
			moves[k].cost = cost{macs: b.macs, params: b.params}
			if chain != nil {
				moves[k].ms = chain.Slots[i].Cost[k]
			}
			if b.layers > 0 {
				p.peak[b.res] = max(p.peak[b.res], levelFactor(b.res, b.out))
			}
		}
		p.slots = append(p.slots, moves)
	}
	if chain != nil {
		p.fixed.ms = chain.Base
	}
	for r := range p.peak {
		p.res = append(p.res, r)
	}
	slices.SortFunc(p.res, func(a, b int) int { return cmp.Compare(b, a) })
	p.least = make([][]cost, len(p.slots)+1)
	for i := len(p.slots) - 1; i >= 0; i-- {
		p.least[i] = make([]cost, walk.Slots[i].States())
		for st := range p.least[i] {
			p.least[i][st] = cost{math.MaxInt64 / 4, math.MaxInt64 / 4, math.MaxFloat64 / 4}
			p.moves(i, int32(st), func(m *move, _ int) {
				c := m.cost.plus(p.ahead(i+1, m.next))
				l := &p.least[i][st]
				l.macs, l.params, l.ms = min(l.macs, c.macs), min(l.params, c.params), min(l.ms, c.ms)
			})
		}
	}
	return p, nil
}

// moves calls f for what may stand in a slot.
func (p *Program) moves(slot int, state int32, f func(m *move, index int)) {
	size := int(p.walk.Slots[slot].Size)
	for k := range size {
		if m := &p.slots[slot][int(state)*size+k]; m.next >= 0 {
			f(m, k)
		}
	}
}

func (p *Program) ahead(slot int, state int32) cost {
	if slot == len(p.slots) {
		return cost{}
	}
	return p.least[slot][state]
}

// label is a partial network, up to a slot.
type label struct {
	key    key
	score  float64 // of the levels that are over
	width  float64 // sum of the layers' half logs
	cost   cost
	parent *label
	index  int32 // of the last slot's choice, or of the root's
	upper  float64
}

// key is what partial networks must have in common for one to make another
// needless.
type key struct {
	state         int32
	res, out      int // of the last block with layers
	layers        int
	depthwise     bool
	stage         string // whose repetitions are being counted
	depth         int
	n, sum, squar int
}

func (k *key) closeStage() {
	if k.depth > 0 {
		k.n, k.sum, k.squar = k.n+1, k.sum+k.depth, k.squar+k.depth*k.depth
		k.depth = 0
	}
}

// step puts a block after a partial network; ok is false where it is narrower.
func (l *label) step(m *move) (out label, ok bool) {
	out = label{key: l.key, score: l.score, width: l.width, cost: l.cost.plus(m.cost), parent: l}
	k := &out.key
	k.state = m.next
	if m.stage != "" && m.stage != k.stage {
		k.closeStage()
		k.stage = m.stage
	}
	if m.stage != "" {
		k.depth++
	}
	if m.layers == 0 {
		return out, true
	}
	if m.out < k.out {
		return out, false
	}
	if m.res != k.res && k.res != 0 {
		out.score += levelFactor(k.res, k.out) * l.width
	}
	k.res, k.out = m.res, m.out
	k.layers += m.layers
	k.depthwise = k.depthwise || m.depthwise
	out.width += m.width
	return out, true
}

// total is a whole network's score.
func (p *Program) total(l *label) float64 {
	k := l.key
	k.closeStage()
	return l.score + p.s.Last*levelFactor(k.res, k.out)*l.width - p.s.Beta*uneven(k.n, k.sum, k.squar)
}

// Caps on the partial networks kept at once: the first run is quick and gives a
// network to beat, the second is meant to keep all that may beat it.
const (
	quickCap = 2_000
	exactCap = 40_000
)

// Solve finds the network with the highest score within the limits.
func (p *Program) Solve(ctx context.Context, l Limits) (*Result, error) {
	b := p.newBounds(l)
	best, tried, _, err := p.run(ctx, l, b, nil, quickCap)
	if err != nil {
		return nil, err
	}
	exact, more, dropped, err := p.run(ctx, l, b, best, exactCap)
	if err != nil {
		return nil, err
	}
	if exact != nil && (best == nil || p.before(exact, best)) {
		best = exact
	}
	if best == nil {
		return nil, p.impossible(l)
	}
	g := p.genotype(best)
	d, err := Evaluate(p.space, g, p.s)
	if err != nil {
		return nil, err
	}
	if s := p.total(best); math.Abs(d.Score-s) > 1e-9*math.Abs(s) || d.MACs != best.cost.macs || d.Params != best.cost.params {
		return nil, fmt.Errorf("BUG: network %v scores %v (%d MACs, %d params) by blocks and %v (%d, %d) as a whole", g, s, best.cost.macs, best.cost.params, d.Score, d.MACs, d.Params)
	}
	d.MS = best.cost.ms
	if p.chain != nil {
		if ms, ok := p.chain.Predict(g); !ok || math.Abs(ms-d.MS) > 1e-9*ms {
			return nil, fmt.Errorf("BUG: network %v takes %v ms by blocks and %v by the chain", g, d.MS, ms)
		}
	}
	r := &Result{Design: *d, Exact: dropped <= d.Score, Bound: max(d.Score, dropped), Tried: tried + more, Method: "deepmad"}
	return r, nil
}

// before orders whole networks: by score, then cheaper ones, then by genotype,
// so that one is the best.
func (p *Program) before(a, b *label) bool {
	if c := cmp.Compare(p.total(b), p.total(a)); c != 0 {
		return c < 0
	}
	if c := cmp.Or(cmp.Compare(a.cost.macs, b.cost.macs), cmp.Compare(a.cost.params, b.cost.params), cmp.Compare(a.cost.ms, b.cost.ms)); c != 0 {
		return c < 0
	}
	return slices.Compare(p.genotype(a), p.genotype(b)) < 0
}

func (p *Program) genotype(l *label) arch.Genotype {
	g := make(arch.Genotype, len(p.space.Genes))
	set := func(c latency.Choice, k int32) {
		for i, gene := range c.Genes {
			n := c.Size
			if i+1 < len(c.Mult) {
				n = c.Mult[i+1]
			}
			g[gene] = int(k % n / c.Mult[i])
		}
	}
	for i := len(p.slots) - 1; i >= 0; i-- {
		set(p.walk.Slots[i].Choice, l.index)
		l = l.parent
	}
	set(p.walk.Root, l.index)
	return p.space.Canonical(g)
}

// run goes through the slots and keeps, of the partial networks that come to
// the same state, those that no other makes needless and that may still beat
// best. dropped bounds the score of any that the cap threw away.
func (p *Program) run(ctx context.Context, l Limits, b *bounds, best *label, most int) (*label, int, float64, error) {
	stage := "solve exactly"
	if most == quickCap {
		stage = "solve roughly"
	}
	floor := math.Inf(-1)
	if best != nil {
		floor = p.total(best)
	}
	var now []*label
	for k, st := range p.walk.First {
		if st >= 0 {
			now = append(now, &label{key: key{state: st}, cost: p.fixed, index: int32(k)})
		}
	}
	dropped, tried := math.Inf(-1), 0
	for i := range p.slots {
		groups := map[key][]*label{}
		var order []key // maps have none
		for k, from := range now {
			p.progress(stage, 1000*i+1000*k/len(now), 1000*len(p.slots))
			if err := ctx.Err(); err != nil {
				return nil, 0, 0, err
			}
			p.moves(i, from.key.state, func(m *move, index int) {
				to, ok := from.step(m)
				if !ok || !to.cost.plus(p.ahead(i+1, m.next)).within(l) {
					return
				}
				tried++
				to.index = int32(index)
				if to.upper = b.upper(&to, i+1); to.upper < floor {
					return
				}
				if groups[to.key] == nil {
					order = append(order, to.key)
				}
				groups[to.key] = append(groups[to.key], &to)
			})
		}
		now = now[:0]
		for _, k := range order {
			now = append(now, pareto(groups[k])...)
		}
		if len(now) > most {
			slices.SortFunc(now, func(a, b *label) int {
				return cmp.Or(cmp.Compare(b.upper, a.upper), cmp.Compare(a.cost.macs, b.cost.macs), cmp.Compare(a.cost.params, b.cost.params))
			})
			dropped = max(dropped, now[most].upper)
			now = now[:most]
		}
	}
	var top *label
	for _, x := range now {
		if rho(x.key.layers, x.width) <= rhoFor(p.s, x.key.depthwise) && x.key.layers > 0 && (top == nil || p.before(x, top)) {
			top = x
		}
	}
	return top, tried, dropped, nil
}

// compared is how many of a group each partial network is compared with. Those
// that make others needless come first; keeping more than need be is no fault.
const compared = 256

// pareto leaves out partial networks that another one makes needless: it has no
// lower score and width and costs no more.
func pareto(ls []*label) []*label {
	slices.SortFunc(ls, func(a, b *label) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.width, a.width), cmp.Compare(a.cost.macs, b.cost.macs), cmp.Compare(a.cost.params, b.cost.params), cmp.Compare(a.cost.ms, b.cost.ms), cmp.Compare(a.index, b.index))
	})
	var out []*label
	for _, x := range ls {
		if !slices.ContainsFunc(out[:min(len(out), compared)], func(o *label) bool {
			return o.score >= x.score && o.width >= x.width && o.cost.macs <= x.cost.macs && o.cost.params <= x.cost.params && o.cost.ms <= x.cost.ms
		}) {
			out = append(out, x)
		}
	}
	return out
}

// impossible says which limits no network keeps.
func (p *Program) impossible(l Limits) error {
	var least cost
	first := true
	for _, st := range p.walk.First {
		if st < 0 {
			continue
		}
		c := p.fixed.plus(p.ahead(0, st))
		if first {
			least, first = c, false
		}
		least.macs, least.params, least.ms = min(least.macs, c.macs), min(least.params, c.params), min(least.ms, c.ms)
	}
	var found, wanted []string
	for _, x := range []struct {
		name  string
		limit string
		least string
		over  bool
	}{
		{"--max-macs", fmt.Sprint(l.MACs), fmt.Sprint(least.macs), l.MACs > 0 && least.macs > l.MACs},
		{"--max-params", fmt.Sprint(l.Params), fmt.Sprint(least.params), l.Params > 0 && least.params > l.Params},
		{"--max-ms", fmt.Sprint(l.MS), fmt.Sprintf("%.4g", least.ms), l.MS > 0 && least.ms > l.MS},
	} {
		if x.over {
			found, wanted = append(found, x.name+" "+x.limit), append(wanted, "at least "+x.least)
		}
	}
	if found != nil {
		return &diag.Error{Place: "space " + p.space.Name, Found: strings.Join(found, ", "), Wanted: strings.Join(wanted, ", ") + ": the smallest network takes that"}
	}
	return &diag.Error{Place: "space " + p.space.Name, Found: fmt.Sprintf("no network that keeps all limits at once, rises in width from block to block and has a depth of at most %v of its mean width", rhoFor(p.s, true)), Wanted: "wider limits", Fix: "--rho allows deeper networks"}
}
