package cpu

import (
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/ir"
)

// beside is the work of several groups that read one value, as one step: threads
// are called together once, and share all units.
type beside struct {
	works []work
	ends  []int // units up to the end of each work
	cost  float64
}

func (b *beside) Name() string {
	names := make([]string, len(b.works))
	for i, w := range b.works {
		names[i] = w.Name()
	}
	if !slices.ContainsFunc(names, func(n string) bool { return n != names[0] }) {
		return names[0]
	}
	return strings.Join(names, "|")
}

func (b *beside) Tiles() int        { return b.ends[len(b.ends)-1] }
func (b *beside) TileCost() float64 { return b.cost }

func (b *beside) ScratchBytes() int {
	n := 0
	for _, w := range b.works {
		n = max(n, w.ScratchBytes())
	}
	return n
}

// Run runs units [lo, hi) of all works. The call's arguments are kept aside.
func (b *beside) Run(lo, hi int, c *call) {
	kept := c.args
	first := 0
	for i, w := range b.works {
		end := b.ends[i]
		if l, h := max(lo, first), min(hi, end); l < h {
			c.args.Y, c.held = c.ops[1+i], 0 // they share the scratch memory
			w.Run(l-first, h-first, c)
		}
		first = end
	}
	c.args = kept
}

func (b *beside) WeightBytes() int {
	n := 0
	for _, w := range b.works {
		if w, ok := weightyOf(w); ok {
			n += w.WeightBytes()
		}
	}
	return n
}

func (b *beside) MoveWeights(dst []byte) {
	for _, w := range b.works {
		if w, ok := weightyOf(w); ok && w.WeightBytes() > 0 {
			n := w.WeightBytes()
			w.MoveWeights(dst[:n:n])
			dst = dst[n:]
		}
	}
}

// ReadNext is of the last work: the others' next is not known before they run.
func (b *beside) ReadNext(next []byte) {
	if w, ok := weightyOf(b.works[len(b.works)-1]); ok {
		w.ReadNext(next)
	}
}

// putBeside makes one group of dense layers that read the same value and nothing
// else, at the place of the first: queries, keys and values of an attention.
func (c *compiler) putBeside() {
	at := map[*ir.Value]*group{}
	var out []*group
	for _, g := range c.groups {
		if !besideable(g) {
			out = append(out, g)
			continue
		}
		first := at[g.in[0]]
		if first == nil {
			at[g.in[0]] = g
			out = append(out, g)
			continue
		}
		b, ok := first.work.(*beside)
		if !ok {
			b = &beside{works: []work{first.work}, ends: []int{first.work.Tiles()}}
			b.cost = tileCost(first.work)
			first.work = b
		}
		units := b.Tiles()
		b.works, b.ends = append(b.works, g.work), append(b.ends, units+g.work.Tiles())
		b.cost = (b.cost*float64(units) + tileCost(g.work)*float64(g.work.Tiles())) / float64(b.Tiles())
		first.nodes, first.out = append(slices.Clone(first.nodes), g.nodes...), append(slices.Clone(first.out), g.out...)
	}
	c.groups = out
}

func besideable(g *group) bool {
	_, ok := g.work.(int8Work)
	return ok && len(g.in) == 1 && len(g.out) == 1 && g.nodes[0].Op.Name == "q_dot" && !g.alias && g.dst == nil && g.check == nil && !g.rest
}

func tileCost(w work) float64 {
	if k, ok := w.(interface{ TileCost() float64 }); ok {
		return k.TileCost()
	}
	return 0
}
