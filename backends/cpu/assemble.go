package cpu

import (
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/move"
	"github.com/nasc-dev/nasc/ir"
)

// assembler decides where every value lies.
type assembler struct {
	c    *compiler
	home map[*ir.Value]view
	bufs []*buffer
	last map[*ir.Value]int    // step that reads a value last; len(groups) for outputs
	into map[*ir.Value]*group // values computed in their place of a concatenation
}

// assemble turns groups into steps over placed memory.
func (c *compiler) assemble(threads int) *program {
	a, tail := c.place()
	p := &program{inputs: c.g.Inputs, outputs: c.g.Outputs, level: c.level, threads: threads}
	for i, g := range c.groups {
		if !g.alias && !g.skip {
			p.steps = append(p.steps, a.step(i, g))
		}
	}
	p.steps = append(p.steps, tail...)
	settleWeights(p.steps)
	p.arena = placeBuffers(a.bufs, p.threads)
	for i := range p.steps {
		if w := p.steps[i].work; w != nil {
			p.scratch = max(p.scratch, align(w.ScratchBytes()))
		}
	}
	return p
}

// arenaBytes says what assemble's program will need for values.
func (c *compiler) arenaBytes(threads int) int {
	a, _ := c.place()
	return placeBuffers(a.bufs, threads)
}

// place gives every value its buffer, and the steps that copy some to the outputs.
func (c *compiler) place() (a *assembler, tail []step) {
	a = &assembler{c: c, home: map[*ir.Value]view{}, last: map[*ir.Value]int{}, into: map[*ir.Value]*group{}}
	for i, g := range c.groups {
		for _, v := range g.in {
			if v != nil {
				a.last[v] = i
			}
		}
		if g.dst != nil {
			a.last[g.dst] = max(a.last[g.dst], i)
		}
	}
	for _, v := range c.g.Outputs {
		a.last[v] = len(c.groups)
	}
	a.spreadLast()
	a.joinConcats()
	for i, v := range c.g.Inputs {
		b := a.newBuffer(int(v.Type.Bytes()), 0)
		b.where, b.io = inInput, i
		a.put(v, view{b, 0, b.size})
	}
	for i, g := range c.groups {
		a.placeResults(i, g)
	}
	return a, a.placeOutputs()
}

// spreadLast makes a value live as long as the values that are views of it.
func (a *assembler) spreadLast() {
	for i := len(a.c.groups) - 1; i >= 0; i-- {
		g := a.c.groups[i]
		if !g.alias {
			continue
		}
		for _, v := range g.out {
			a.last[g.in[0]] = max(a.last[g.in[0]], a.last[v])
		}
	}
}

// joinConcats finds parts of concatenations that lie in one piece in the result
// and can be computed there, which saves copying them.
func (a *assembler) joinConcats() {
	made := map[*ir.Value]*group{}
	for _, g := range a.c.groups {
		g.skip = false
		if g.dst == nil && !g.alias {
			for _, v := range g.out {
				made[v] = g
			}
		}
	}
	for _, g := range a.c.groups {
		if g.dst == nil || g.recipe.Func != "Copy" {
			continue
		}
		v := g.in[0]
		if made[v] == nil || a.into[v] != nil || a.last[v] == len(a.c.groups) {
			continue
		}
		a.into[v], g.skip = g, true
	}
}

func (a *assembler) newBuffer(size, first int) *buffer {
	b := &buffer{size: size, first: first, last: first}
	a.bufs = append(a.bufs, b)
	return b
}

func (a *assembler) put(v *ir.Value, w view) {
	a.home[v] = w
	w.buf.last = max(w.buf.last, a.last[v])
}

// at gives where a value lies; constants get their buffer here.
func (a *assembler) at(v *ir.Value) view {
	if w, ok := a.home[v]; ok {
		return w
	}
	t := a.c.constant(v)
	if t == nil {
		panic("BUG: " + v.String() + " is read before it is computed")
	}
	b := &buffer{where: inConst, data: rawBytes(t)}
	b.size = len(b.data)
	w := view{b, 0, b.size}
	a.home[v] = w
	return w
}

// placeResults gives the group's results memory: a view of the operand's, the
// operand's own where that may be overwritten, or new.
func (a *assembler) placeResults(i int, g *group) {
	if g.dst != nil {
		a.whole(g.dst, i)
		return
	}
	for k, v := range g.out {
		size := int(v.Type.Bytes())
		if part := a.into[v]; part != nil {
			w := a.whole(part.dst, i)
			a.put(v, view{w.buf, w.off + part.part.off, size})
			continue
		}
		if g.alias {
			w := a.at(g.in[0])
			a.put(v, view{w.buf, w.off + g.aliasAt[k], size})
			continue
		}
		if w, ok := a.reuse(i, g, k, size); ok {
			a.put(v, w)
			continue
		}
		a.put(v, view{a.newBuffer(size, i), 0, size})
	}
}

// whole gives the memory of a value that several groups write, made at the
// first of them.
func (a *assembler) whole(v *ir.Value, i int) view {
	if w, ok := a.home[v]; ok {
		return w
	}
	size := int(v.Type.Bytes())
	a.put(v, view{a.newBuffer(size, i), 0, size})
	return a.home[v]
}

// reuse finds an operand whose memory nobody reads after step i for a result.
func (a *assembler) reuse(i int, g *group, result, size int) (view, bool) {
	in := g.inPlace
	switch {
	case g.inPlaces != nil:
		in = g.inPlaces[result]
	case result > 0:
		return view{}, false
	}
	for _, k := range in {
		v := g.in[k]
		if a.c.constant(v) != nil {
			continue
		}
		w := a.at(v)
		if w.buf.where != inArena || w.buf.size != size || !w.whole() || w.buf.last > i || a.readTwice(g, k) {
			continue
		}
		return w, true
	}
	return view{}, false
}

// readTwice says that another operand of the group lies in operand k's buffer:
// a convolution whose residual is its own input must not write over it.
func (a *assembler) readTwice(g *group, k int) bool {
	for j, v := range g.in {
		if j != k && v != nil && a.c.constant(v) == nil && a.at(v).buf == a.at(g.in[k]).buf {
			return true
		}
	}
	return false
}

// placeOutputs lets graph outputs be computed in the caller's tensors where
// they have a buffer of their own, and returns steps that copy the others.
func (a *assembler) placeOutputs() []step {
	var tail []step
	end := len(a.c.groups)
	for i, v := range a.c.g.Outputs {
		w := a.at(v)
		if w.buf.where == inArena && w.whole() {
			w.buf.where, w.buf.io = inOutput, i
			continue
		}
		w.buf.last = max(w.buf.last, end)
		size := int(v.Type.Bytes())
		out := view{&buffer{where: inOutput, io: i, size: size}, 0, size}
		g := &group{}
		if err := g.setMove(a.c.level, move.CopySpec{Bytes: size}); err != nil {
			panic("BUG: " + err.Error())
		}
		tail = append(tail, step{
			info: backends.Step{Label: v.Name, Op: "copy", Kernel: g.work.Name(), Bytes: 2 * int64(size), In: []ir.Type{v.Type}, Out: []ir.Type{v.Type}}, recipe: g.recipe,
			work: g.work, tiles: g.work.Tiles(), in: []operand{{w, v.Type}}, out: []operand{{out, v.Type}},
		})
	}
	return tail
}

func (a *assembler) step(i int, g *group) step {
	s := step{info: g.info(), work: g.work, recipe: g.recipe}
	for _, v := range g.in {
		if v == nil {
			s.in = append(s.in, operand{})
			continue
		}
		s.in = append(s.in, operand{a.at(v), v.Type})
	}
	if g.dst != nil {
		w := a.at(g.dst)
		s.out = []operand{{view{w.buf, w.off + g.part.off, g.part.len}, g.dst.Type}}
	} else {
		for _, v := range g.out {
			s.out = append(s.out, operand{a.at(v), v.Type})
		}
	}
	s.info.In, s.info.Out = types(s.in), types(s.out)
	if g.eval != nil {
		s.eval = newFallback(g.eval, s.in, s.out)
		return s
	}
	s.check = g.check
	s.tiles = g.work.Tiles()
	s.ns = a.cost(g, s.info)
	s.share = s.tiles > 1 && s.ns > shareAbove
	return s
}

func types(os []operand) []ir.Type {
	ts := make([]ir.Type, len(os))
	for i, o := range os {
		ts[i] = o.typ
	}
	return ts
}

// cost guesses a step's time on one thread in ns.
func (a *assembler) cost(g *group, info backends.Step) float64 {
	if k, ok := g.work.(interface{ TileCost() float64 }); ok {
		return k.TileCost() * float64(g.work.Tiles())
	}
	return float64(info.MACs)/macsPerNS(a.c.level) + float64(info.Bytes)/bytesPerNS
}
