package coupling

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// block is a run of operand axes that a reshape turns into a run of result
// axes.
type block struct{ in, in2, out, out2 int }

// reshapeBlocks cuts a reshape into the smallest blocks; nil where an extent is
// 0.
func reshapeBlocks(in, out ir.Shape) []block {
	if slices.Contains(in, 0) || slices.Contains(out, 0) {
		return nil
	}
	size := func(d int) int { return max(d, -d) }
	var bs []block
	i, j := 0, 0
	for i < len(in) || j < len(out) {
		b := block{i, i, j, j}
		p, q := 1, 1
		for first := true; first || p != q; first = false {
			switch {
			case p <= q && b.in2 < len(in):
				p *= size(in[b.in2])
				b.in2++
				if p == 1 && q == 1 && b.out2 < len(out) {
					q *= size(out[b.out2])
					b.out2++
				} else if p != 1 && q == 1 && b.out2 == b.out && b.out2 < len(out) {
					q *= size(out[b.out2])
					b.out2++
				}
			case b.out2 < len(out):
				q *= size(out[b.out2])
				b.out2++
			default:
				p *= size(in[b.in2])
				b.in2++
			}
		}
		bs = append(bs, b)
		i, j = b.in2, b.out2
	}
	return bs
}

func labelReshape(a *Analysis, n *ir.Node) {
	if a.inside[n] || a.shuffles[n] != nil {
		a.labelShuffled(n)
		return
	}
	x := a.of(n.Inputs[0])
	in, shape := n.Inputs[0].Type.Shape, n.Out().Type.Shape
	out := make([]axis, len(shape))
	bs := reshapeBlocks(in, shape)
	if bs == nil {
		a.barrier(n, "moves nothing")
		return
	}
	for _, b := range bs {
		if b.in2-b.in == 1 && b.out2-b.out == 1 {
			out[b.out] = x[b.in]
			continue
		}
		flat := a.merge(n, x[b.in:b.in2], in[b.in:b.in2])
		a.cut(n, flat, out[b.out:b.out2], shape[b.out:b.out2], b)
	}
	a.axes[n.Out()] = out
}

// merge gives the axis that several in row-major order become. One of them may
// change.
func (a *Analysis) merge(n *ir.Node, x []axis, shape ir.Shape) axis {
	if len(x) == 1 {
		return x[0]
	}
	alive := -1
	why := ""
	for i := range x {
		switch {
		case shape[i] < 0:
			why = named(n, "merges it with the batch")
		case x[i].ids == nil:
			if why == "" {
				why = x[i].why
			}
		case shape[i] == 1: // not one to merge by, unless it is alone
		case alive >= 0:
			a.fix(x[i], named(n, "merges it with another axis"))
		default:
			alive = i
		}
	}
	for i := range x { // a lone channel
		if alive < 0 && x[i].ids != nil {
			alive = i
		}
	}
	for i := range x {
		if i != alive && x[i].ids != nil {
			a.fix(x[i], named(n, "merges it with another axis"))
		}
	}
	if alive < 0 {
		return axis{why: why}
	}
	for _, d := range shape {
		if d < 0 {
			a.fix(x[alive], why)
			return axis{why: why}
		}
	}
	outer, extent, inner := shape[:alive].Elems(), shape[alive], shape[alive+1:].Elems()
	ids := make([]atom, 0, outer*extent*inner)
	one := x[alive].ids
	if inner > 1 {
		one = a.fresh(extent * inner).ids
		for i, id := range one {
			a.together(x[alive].ids[i/inner], id)
		}
	}
	for range outer {
		ids = append(ids, one...)
	}
	return axis{ids: ids}
}

// cut gives the axes that one becomes. One of them can change.
func (a *Analysis) cut(n *ir.Node, flat axis, out []axis, shape ir.Shape, b block) {
	for i := range out {
		out[i].why = flat.why
		if flat.ids != nil {
			out[i].why = named(n, "cuts the axis in pieces of one size")
		}
	}
	if len(out) == 1 {
		out[0] = flat
		return
	}
	if flat.ids == nil {
		return
	}
	t := a.aliveAxis(n, shape, b)
	if t < 0 {
		a.fix(flat, named(n, "cuts it in pieces of one size"))
		return
	}
	outer, extent, inner := shape[:t].Elems(), shape[t], shape[t+1:].Elems()
	if outer == 1 && inner == 1 {
		out[t] = flat
		return
	}
	ax := a.fresh(extent)
	for p, id := range flat.ids {
		k := ax.ids[p/inner%extent]
		a.together(k, id)
		if inner == 1 {
			a.same.join(k, id)
		}
	}
	_ = outer
	out[t] = ax
}

// aliveAxis picks which of several result axes can change: channels where a
// picture comes of it, heads where attention does. Of heads × values, that is
// the outer one; of query, key, value × heads × values, the middle.
func (a *Analysis) aliveAxis(n *ir.Node, shape ir.Shape, b block) int {
	var cand []int
	for i, d := range shape {
		if d > 1 {
			cand = append(cand, i)
		}
	}
	switch {
	case len(cand) == 0:
		return slices.IndexFunc(shape, func(d int) bool { return d == 1 })
	case len(cand) == 1:
		return cand[0]
	}
	if last := len(n.Out().Type.Shape); b.out2 == last && a.becomesPicture(n.Out(), 8) {
		return len(shape) - 1
	}
	if d := shape[cand[0]]; len(cand) > 2 && (d == 2 || d == 3) {
		return cand[1]
	}
	return cand[0]
}

// becomesPicture looks for a window over v's axes, a few ops on.
func (a *Analysis) becomesPicture(v *ir.Value, depth int) bool {
	if depth == 0 {
		return false
	}
	for _, u := range a.uses[v] {
		if u.Node == nil {
			continue
		}
		switch u.Node.Op.Name {
		case "convolution", "convolution_transpose", "max_pool", "average_pool", "batch_norm_inference", "resize":
			return true
		}
		if u.Node.Op.Class == ir.Unary || u.Node.Op.Class == ir.Binary || u.Node.Op.Name == "pad" {
			if a.becomesPicture(u.Node.Out(), depth-1) {
				return true
			}
		}
	}
	return false
}

// fitReshape writes the new shape and checks that elements stay in place.
func fitReshape(r *rewriting, n *ir.Node) error {
	if r.a.inside[n] || r.a.shuffles[n] != nil {
		return r.fitShuffled(n)
	}
	x, y := n.Inputs[0], n.Out()
	shape := n.Dims("shape").Clone()
	changed := false
	for _, b := range reshapeBlocks(x.Type.Shape, y.Type.Shape) {
		moved := false
		for i := b.in; i < b.in2; i++ {
			moved = moved || r.order(x, i) != nil
		}
		for i := b.out; i < b.out2; i++ {
			moved = moved || r.order(y, i) != nil
		}
		if !moved {
			continue
		}
		changed = true
		if !slices.Equal(r.flat(x, b.in, b.in2), r.flat(y, b.out, b.out2)) {
			return fmt.Errorf("its pieces would mix")
		}
		for i := b.out; i < b.out2; i++ {
			shape[i] = r.extent(y, i)
		}
	}
	if changed {
		r.setAttr(n, "shape", shape)
	}
	return nil
}

// flat lists the elements of some axes in row-major order as they will be, by
// the flat positions they had.
func (r *rewriting) flat(v *ir.Value, from, to int) []slot {
	all := []slot{{}}
	for i := from; i < to; i++ {
		d := v.Type.Shape[i]
		o := r.order(v, i)
		if o == nil {
			o = identity(max(d, -d))
		}
		next := make([]slot, 0, len(all)*len(o))
		for _, s := range all {
			for _, t := range o {
				next = append(next, slot{s.pos*int32(max(d, -d)) + t.pos, s.copy + t.copy})
			}
		}
		all = next
	}
	return all
}
