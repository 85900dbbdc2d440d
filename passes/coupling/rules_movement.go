package coupling

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

func labelConcatenate(a *Analysis, n *ir.Node) {
	at, _ := ir.NormAxis(n.Int("axis"), len(n.Out().Type.Shape))
	out := copyAxes(a.of(n.Inputs[0]))
	var joined axis
	for i, v := range n.Inputs {
		x := a.of(v)
		for k := range out {
			if k != at && i > 0 {
				out[k] = a.tie(out[k], x[k])
			}
		}
		part := x[at]
		if part.ids == nil {
			joined.why = part.why
			part = a.fresh(v.Type.Shape[at])
			a.fix(part, joined.why)
		}
		joined.ids = append(joined.ids, part.ids...)
	}
	if n.Out().Type.Shape[at] < 0 {
		joined.ids = nil
	}
	out[at] = joined
	a.axes[n.Out()] = out
}

// fitConcatenate checks that the result's order is that of the parts.
func fitConcatenate(r *rewriting, n *ir.Node) error {
	at, _ := ir.NormAxis(n.Int("axis"), len(n.Out().Type.Shape))
	parts := n.Inputs
	return r.inRow(n.Out(), parts, at)
}

// inRow checks that whole's order on an axis is that of the parts in a row.
func (r *rewriting) inRow(whole *ir.Value, parts []*ir.Value, at int) error {
	want := r.order(whole, at)
	all, off, changed := []slot{}, int32(0), want != nil
	for _, v := range parts {
		o := r.order(v, at)
		changed = changed || o != nil
		if d := v.Type.Shape[at]; o == nil && d >= 0 {
			o = identity(d)
		}
		for _, s := range o {
			all = append(all, slot{s.pos + off, s.copy})
		}
		off += int32(max(0, v.Type.Shape[at]))
	}
	if !changed {
		return nil
	}
	if want == nil {
		want = identity(whole.Type.Shape[at])
	}
	if !slices.Equal(all, want) {
		return fmt.Errorf("its parts would mix")
	}
	return nil
}

func labelSplit(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	at, _ := ir.NormAxis(n.Int("axis"), len(x))
	from := 0
	for i, k := range n.Ints("sizes") {
		out := copyAxes(x)
		if x[at].ids != nil {
			out[at].ids = x[at].ids[from : from+k : from+k]
		}
		from += k
		a.axes[n.Outputs[i]] = out
	}
}

func fitSplit(r *rewriting, n *ir.Node) error {
	at, _ := ir.NormAxis(n.Int("axis"), len(n.Inputs[0].Type.Shape))
	if err := r.inRow(n.Inputs[0], n.Outputs, at); err != nil || r.order(n.Inputs[0], at) == nil {
		return err
	}
	var sizes []int
	for _, v := range n.Outputs {
		sizes = append(sizes, r.extent(v, at))
	}
	r.setAttr(n, "sizes", sizes)
	return nil
}

func labelSlice(a *Analysis, n *ir.Node) {
	out := copyAxes(a.of(n.Inputs[0]))
	for i, x := range out {
		start, _, stride, extent, err := ir.SliceAxis(n, i)
		if err != nil || x.ids == nil {
			continue
		}
		ids := make([]atom, extent)
		for k := range ids {
			ids[k] = x.ids[start+k*stride]
		}
		out[i] = axis{ids: ids}
	}
	a.axes[n.Out()] = out
}

// fitSlice finds where what is left of the piece lies in what is left of the
// operand.
func fitSlice(r *rewriting, n *ir.Node) error {
	x := n.Inputs[0]
	start, limit, stride := slices.Clone(n.Ints("start")), n.Dims("limit").Clone(), slices.Clone(n.Ints("stride"))
	changed := false
	for i, d := range x.Type.Shape {
		in, out := r.order(x, i), r.order(n.Out(), i)
		if in == nil && out == nil || d < 0 {
			continue
		}
		changed = true
		if in == nil {
			in = identity(d)
		}
		if out == nil {
			out = identity(n.Out().Type.Shape[i])
		}
		first, _, step, _, err := ir.SliceAxis(n, i)
		if err != nil {
			return err
		}
		at := make([]int, len(out)) // of the result's elements in the operand
		for k, s := range out {
			at[k] = slices.Index(in, slot{int32(first) + s.pos*int32(step), s.copy})
		}
		if slices.Contains(at, -1) || len(at) == 0 {
			return fmt.Errorf("nothing would be left of its piece")
		}
		by := 1
		if len(at) > 1 {
			by = at[1] - at[0]
		}
		for k := 1; k < len(at); k++ {
			if at[k]-at[k-1] != by {
				return fmt.Errorf("what it picks would not lie in even steps")
			}
		}
		start[i], limit[i] = at[0], at[len(at)-1]+1
		if by < 0 {
			limit[i] = at[len(at)-1]
		}
		if len(stride) == 0 {
			stride = slices.Repeat([]int{1}, len(x.Type.Shape))
		}
		stride[i] = by
	}
	if changed {
		r.setAttr(n, "start", start)
		r.setAttr(n, "limit", limit)
		if slices.ContainsFunc(stride, func(s int) bool { return s != 1 }) {
			r.setAttr(n, "stride", stride)
		}
	}
	return nil
}

func labelPad(a *Analysis, n *ir.Node) {
	out := copyAxes(a.of(n.Inputs[0]))
	lo, hi := n.Ints("low"), n.Ints("high")
	for i, x := range out {
		if lo[i] == 0 && hi[i] == 0 || x.ids == nil {
			continue
		}
		if lo[i] < 0 || hi[i] < 0 || n.Str("mode") != "constant" {
			a.fix(x, named(n, "cuts or mirrors it"))
			out[i] = axis{why: named(n, "cuts or mirrors it")}
			continue
		}
		l, h := a.fresh(lo[i]), a.fresh(hi[i])
		out[i] = axis{ids: slices.Concat(l.ids, x.ids, h.ids)}
	}
	a.axes[n.Out()] = out
}

// fitPad counts what is left of the channels added.
func fitPad(r *rewriting, n *ir.Node) error {
	lo, hi := slices.Clone(n.Ints("low")), slices.Clone(n.Ints("high"))
	changed := false
	for i, d := range n.Inputs[0].Type.Shape {
		out := r.order(n.Out(), i)
		in := r.order(n.Inputs[0], i)
		if out == nil && in == nil || lo[i] == 0 && hi[i] == 0 {
			continue
		}
		if in == nil {
			in = identity(d)
		}
		if out == nil {
			out = identity(n.Out().Type.Shape[i])
		}
		l := 0
		for l < len(out) && int(out[l].pos) < lo[i] {
			l++
		}
		h := len(out) - l - len(in)
		if h < 0 {
			return fmt.Errorf("what it adds would mix with the channels")
		}
		for k, s := range out[l:] {
			if k < len(in) != (int(s.pos) < lo[i]+d) || k < len(in) && (int(s.pos)-lo[i] != int(in[k].pos) || s.copy != in[k].copy) {
				return fmt.Errorf("what it adds would mix with the channels")
			}
		}
		lo[i], hi[i], changed = l, h, true
	}
	if changed {
		r.setAttr(n, "low", lo)
		r.setAttr(n, "high", hi)
	}
	return nil
}

func labelTranspose(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	out := make([]axis, len(x))
	for i, p := range n.Ints("permutation") {
		out[i] = x[p]
	}
	a.axes[n.Out()] = out
}

func labelBroadcast(a *Analysis, n *ir.Node) {
	x, shape := n.Inputs[0], n.Out().Type.Shape
	out := a.broadcast(n, shape, x)
	for i := range out {
		j := i - len(shape) + len(x.Type.Shape)
		if j < 0 || x.Type.Shape[j] != shape[i] {
			out[i] = a.fresh(shape[i])
		}
	}
	a.axes[n.Out()] = out
}

func fitBroadcast(r *rewriting, n *ir.Node) error {
	shape, changed := n.Dims("shape").Clone(), false
	off := len(n.Out().Type.Shape) - len(shape)
	for i := range shape {
		if r.order(n.Out(), i+off) != nil && shape[i] != 1 {
			shape[i], changed = r.extent(n.Out(), i+off), true
		}
	}
	if changed {
		r.setAttr(n, "shape", shape)
	}
	return nil
}

func labelGather(a *Analysis, n *ir.Node) {
	x, idx := a.of(n.Inputs[0]), n.Inputs[1]
	at, _ := ir.NormAxis(n.Int("axis"), len(x))
	for _, i := range a.of(idx) {
		a.fix(i, named(n, "picks by it"))
	}
	var mid []axis
	if idx.IsConst() && len(idx.Type.Shape) == 1 && x[at].ids != nil {
		ids := make([]atom, idx.Const.Len())
		for i := range ids {
			ids[i] = x[at].ids[index(idx, i, n.Inputs[0].Type.Shape[at])]
		}
		mid = []axis{{ids: ids}}
	} else {
		a.fix(x[at], named(n, "picks by position"))
		for range idx.Type.Shape {
			mid = append(mid, axis{why: named(n, "picks by position")})
		}
	}
	a.axes[n.Out()] = slices.Concat(x[:at], mid, x[at+1:])
	if n.Inputs[0].IsConst() && at != len(x)-1 {
		a.made(n, x[len(x)-1])
	}
}

func index(idx *ir.Value, i, extent int) int {
	k := idx.Const.Int(i)
	if k < 0 {
		k += extent
	}
	return min(max(k, 0), extent-1)
}

// fitGather finds the positions anew.
func fitGather(r *rewriting, n *ir.Node) error {
	x, idx := n.Inputs[0], n.Inputs[1]
	at, _ := ir.NormAxis(n.Int("axis"), len(x.Type.Shape))
	if !idx.IsConst() || len(idx.Type.Shape) != 1 {
		return nil
	}
	in, out := r.order(x, at), r.order(n.Out(), at)
	if in == nil && out == nil {
		return nil
	}
	if in == nil {
		in = identity(x.Type.Shape[at])
	}
	if out == nil {
		out = identity(idx.Const.Len())
	}
	where := map[slot]int{}
	for i, s := range in {
		where[s] = i
	}
	t := ir.NewTensor(idx.Const.DType, len(out))
	for i, s := range out {
		k, ok := where[slot{int32(index(idx, int(s.pos), x.Type.Shape[at])), s.copy}]
		if !ok {
			return fmt.Errorf("a channel that it picks would be gone")
		}
		t.Set(i, float64(k))
	}
	r.setInput(n, 1, t)
	return nil
}
