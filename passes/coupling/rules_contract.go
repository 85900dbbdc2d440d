package coupling

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

// spatial fixes all axes of an operand but the last.
func (a *Analysis) spatial(n *ir.Node, v *ir.Value) {
	ax := a.of(v)
	for _, x := range ax[:max(0, len(ax)-1)] {
		a.fix(x, named(n, "slides over it"))
	}
}

// made notes that n's weights make the channels x.
func (a *Analysis) made(n *ir.Node, x axis) {
	a.producers = append(a.producers, producer{n, x.ids, x.why})
}

// summed ties the two sides of a sum over channels; copies can share weights
// where one side is a constant.
func (a *Analysis) summed(n *ir.Node, x axis, w *ir.Value, wx axis) {
	a.tie(x, wx)
	if !w.IsConst() {
		a.once(x, named(n, "sums products of computed values over it: copies would count twice"))
	}
}

// lastOnly gives axes of which only the last may change.
func lastOnly(v *ir.Value, last axis, why string) []axis {
	ax := fixedAxes(v, why)
	ax[len(ax)-1] = last
	return ax
}

func labelConv(a *Analysis, n *ir.Node) {
	x, w, wv := a.of(n.Inputs[0]), a.of(n.Inputs[1]), n.Inputs[1]
	a.spatial(n, n.Inputs[0])
	r := len(w)
	for _, k := range w[:r-2] {
		a.fix(k, "it is a tap of a kernel")
	}
	out := w[r-1]
	if b := n.In(2); b != nil {
		out = a.tie(out, a.of(b)[0])
	}
	if groups := n.Int("groups"); groups == 1 {
		a.summed(n, x[len(x)-1], wv, w[r-2])
	} else {
		a.fix(w[r-2], "it lies within a group")
		a.grouped(n, x[len(x)-1], out, groups)
		if out.ids != nil && x[len(x)-1].ids == nil {
			out = axis{why: x[len(x)-1].why}
		}
	}
	a.axes[n.Out()] = lastOnly(n.Out(), out, named(n, "slides over it"))
	a.made(n, out)
}

// grouped makes each group of channels one unit, with its results.
func (a *Analysis) grouped(_ *ir.Node, in, out axis, groups int) {
	if in.ids == nil {
		a.fix(out, in.why)
	}
	if out.ids == nil {
		a.fix(in, out.why)
	}
	for g := range groups {
		var first atom = -1
		for _, x := range []axis{in, out} {
			k := len(x.ids) / groups
			for _, id := range x.ids[g*k : (g+1)*k] {
				if first < 0 {
					first = id
				}
				a.together(first, id)
			}
		}
	}
}

func convContracts(n *ir.Node) []place {
	if n.Int("groups") != 1 {
		return nil
	}
	return []place{{1, len(n.Inputs[1].Type.Shape) - 2}}
}

// fitConv counts the groups that are there now.
func fitConv(r *rewriting, n *ir.Node) error {
	groups := n.Int("groups")
	if groups == 1 {
		return nil
	}
	in, out := r.last(n.Inputs[0]), r.last(n.Out())
	if in == nil && out == nil {
		return nil
	}
	g1, err := blocks(in, n.Inputs[0].Type.Shape[len(n.Inputs[0].Type.Shape)-1], groups)
	if err != nil {
		return err
	}
	g2, err := blocks(out, n.Out().Type.Shape[len(n.Out().Type.Shape)-1], groups)
	if err != nil {
		return err
	}
	if len(g1) != len(g2) {
		return fmt.Errorf("its %d groups of operands meet %d of results", len(g1), len(g2))
	}
	for i := range g1 {
		if g1[i] != g2[i] {
			return fmt.Errorf("its groups of operands and of results come in different orders")
		}
	}
	r.setAttr(n, "groups", len(g1))
	return nil
}

// blocks reads an order as one of whole groups and gives the group and copy of
// each.
func blocks(order []slot, extent, groups int) ([]slot, error) {
	k := extent / groups
	if order == nil {
		order = identity(extent)
	}
	if len(order)%k != 0 {
		return nil, fmt.Errorf("its groups would have different sizes")
	}
	var out []slot
	for i := 0; i < len(order); i += k {
		first := order[i]
		for j := range k {
			if s := order[i+j]; s.pos/int32(k) != first.pos/int32(k) || s.copy != first.copy {
				return nil, fmt.Errorf("its groups would not stay whole")
			}
		}
		out = append(out, slot{first.pos / int32(k), first.copy})
	}
	return out, nil
}

func labelConvTranspose(a *Analysis, n *ir.Node) {
	x, w := a.of(n.Inputs[0]), a.of(n.Inputs[1])
	a.spatial(n, n.Inputs[0])
	r := len(w)
	for _, k := range w[:r-2] {
		a.fix(k, "it is a tap of a kernel")
	}
	out := w[r-1]
	if groups := n.Int("groups"); groups == 1 {
		a.summed(n, x[len(x)-1], n.Inputs[1], w[r-2])
	} else {
		a.fix(out, "it lies within a group")
		s := n.Out().Type.Shape
		out = a.fresh(s[len(s)-1])
		in := a.tie(x[len(x)-1], w[r-2])
		a.grouped(n, in, out, groups)
		if in.ids == nil {
			out = axis{why: in.why}
		}
	}
	if b := n.In(2); b != nil {
		out = a.tie(out, a.of(b)[0])
	}
	a.axes[n.Out()] = lastOnly(n.Out(), out, named(n, "slides over it"))
	a.made(n, out)
}

func convTransposeContracts(n *ir.Node) []place { return convContracts(n) }

func fitConvTranspose(r *rewriting, n *ir.Node) error { return fitConv(r, n) }

func labelDot(a *Analysis, n *ir.Node) {
	x, w := a.of(n.Inputs[0]), a.of(n.Inputs[1])
	a.summed(n, x[len(x)-1], n.Inputs[1], w[0])
	out := w[1]
	if b := n.In(2); b != nil {
		out = a.tie(out, a.of(b)[0])
	}
	ax := copyAxes(x)
	ax[len(ax)-1] = out
	a.axes[n.Out()] = ax
	a.made(n, out)
}

// matrix gives the positions of rows and columns among an operand's axes.
func matrix(v *ir.Value, transposed bool) (row, col int) {
	r := len(v.Type.Shape)
	if transposed {
		return r - 1, r - 2
	}
	return r - 2, r - 1
}

func labelDotGeneral(a *Analysis, n *ir.Node) {
	av, bv := n.Inputs[0], n.Inputs[1]
	x, y := a.of(av), a.of(bv)
	m, k1 := matrix(av, n.Bool("transpose_a"))
	k2, c := matrix(bv, n.Bool("transpose_b"))
	if av.IsConst() {
		a.summed(n, y[k2], av, x[k1])
	} else {
		a.summed(n, x[k1], bv, y[k2])
	}
	shape := n.Out().Type.Shape
	r := len(shape)
	lead := func(v *ir.Value, ax []axis) *ir.Value {
		l := len(v.Type.Shape) - 2
		s := &ir.Value{Type: ir.Type{Shape: v.Type.Shape[:l]}}
		a.axes[s] = ax[:l]
		return s
	}
	s, t := lead(av, x), lead(bv, y)
	out := a.broadcast(n, shape[:r-2], s, t)
	delete(a.axes, s)
	delete(a.axes, t)
	a.axes[n.Out()] = append(out, x[m], y[c])
	if bv.IsConst() {
		a.made(n, y[c])
	}
}

func dotGeneralContracts(n *ir.Node) []place {
	if n.Inputs[0].IsConst() {
		_, k := matrix(n.Inputs[0], n.Bool("transpose_a"))
		return []place{{0, k}}
	}
	k, _ := matrix(n.Inputs[1], n.Bool("transpose_b"))
	return []place{{1, k}}
}

func labelAttention(a *Analysis, n *ir.Node) {
	q, k, v := a.of(n.Inputs[0]), a.of(n.Inputs[1]), a.of(n.Inputs[2])
	r := len(q)
	a.once(a.tie(q[r-1], k[r-1]), named(n, "sums products of computed values over it: copies would count twice"))
	a.fix(a.tie(k[r-2], v[r-2]), named(n, "takes a softmax over it"))
	out := make([]axis, r)
	for i := range r - 2 {
		out[i] = a.tie(a.tie(q[i], k[i]), v[i])
	}
	out[r-2], out[r-1] = q[r-2], v[r-1]
	if m := n.In(3); m != nil {
		shape := n.Out().Type.Shape.Clone()
		shape[r-1] = n.Inputs[1].Type.Shape[r-2]
		s := &ir.Value{Type: ir.Type{Shape: shape}}
		a.axes[s] = append(copyAxes(out[:r-1]), axis{why: named(n, "takes a softmax over it")})
		a.broadcast(n, shape, s, m)
		delete(a.axes, s)
	}
	a.axes[n.Out()] = out
}

// Recurrent layers: the hidden units are one axis, repeated for each gate.
func labelRecurrent(a *Analysis, n *ir.Node) {
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		for i, x := range a.of(v) {
			if i < len(v.Type.Shape)-1 && v != n.Inputs[1] && v != n.Inputs[2] {
				a.fix(x, named(n, "runs over it"))
			}
		}
	}
	x, w, rr := a.of(n.Inputs[0]), a.of(n.Inputs[1]), a.of(n.Inputs[2])
	a.fix(w[0], named(n, "runs over it"))
	a.fix(rr[0], named(n, "runs over it"))
	a.summed(n, x[2], n.Inputs[1], w[2])
	h := n.Int("hidden_size")
	hidden := a.fresh(h)
	tiled := func(x axis) {
		if x.ids == nil {
			a.fix(hidden, x.why)
		}
		for i := range x.ids {
			a.together(hidden.ids[i%h], x.ids[i])
			a.same.join(hidden.ids[i%h], x.ids[i])
		}
	}
	tiled(w[1])
	tiled(rr[1])
	tiled(rr[2])
	if !n.Inputs[2].IsConst() {
		a.once(hidden, named(n, "sums products of computed values over it: copies would count twice"))
	}
	for i := 3; i < len(n.Inputs); i++ {
		if v := n.Inputs[i]; v != nil && n.Op.In[i].Name != "seq_lens" {
			ax := a.of(v)
			tiled(ax[len(ax)-1])
		}
	}
	for _, v := range n.Outputs {
		a.axes[v] = lastOnly(v, hidden, named(n, "runs over it"))
	}
	a.made(n, hidden)
}

func recurrentContracts(*ir.Node) []place { return []place{{1, 2}, {2, 2}} }

func fitRecurrent(r *rewriting, n *ir.Node) error {
	if h := r.last(n.Out()); h != nil {
		r.setAttr(n, "hidden_size", len(h))
	}
	return nil
}
