package coupling

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// shuffle is a reshape, a transpose and a reshape that permute the channels of
// one axis: result position i is operand position from[i].
type shuffle struct {
	x       *ir.Value // the operand
	axis    int
	cut, tr *ir.Node
	from    []int
	groups  int
}

// findShuffles recognizes channel shuffles: [C] to [g,m], transposed to [m,g],
// to [C] again, the values between read by nobody else.
func (a *Analysis) findShuffles() {
	a.shuffles, a.inside = map[*ir.Node]*shuffle{}, map[*ir.Node]bool{}
	for _, n := range a.g.Nodes {
		if s := a.shuffleAt(n); s != nil {
			a.shuffles[n] = s
			a.inside[s.cut], a.inside[s.tr] = true, true
		}
	}
}

func (a *Analysis) shuffleAt(n *ir.Node) *shuffle {
	if n.Op.Name != "reshape" {
		return nil
	}
	tr := n.Inputs[0].Def
	if tr == nil || tr.Op.Name != "transpose" || len(a.uses[tr.Out()]) != 1 {
		return nil
	}
	cut := tr.Inputs[0].Def
	if cut == nil || cut.Op.Name != "reshape" || len(a.uses[cut.Out()]) != 1 {
		return nil
	}
	x, mid, y := cut.Inputs[0], cut.Out().Type.Shape, n.Out().Type.Shape
	r := len(x.Type.Shape)
	if !y.Equal(x.Type.Shape) || len(mid) != r+1 {
		return nil
	}
	for at := range r {
		if x.Type.Shape[at] < 2 || !mid[:at].Equal(y[:at]) || !mid[at+2:].Equal(y[at+1:]) || mid[at] < 2 || mid[at+1] < 2 {
			continue
		}
		want := make([]int, r+1)
		for i := range want {
			want[i] = i
		}
		want[at], want[at+1] = at+1, at
		if !slices.Equal(tr.Ints("permutation"), want) {
			continue
		}
		g, m := mid[at], mid[at+1]
		s := &shuffle{x: x, axis: at, cut: cut, tr: tr, groups: g}
		for i := range g * m {
			s.from = append(s.from, i%g*m+i/g)
		}
		return s
	}
	return nil
}

func (a *Analysis) labelShuffled(n *ir.Node) {
	s := a.shuffles[n]
	if s == nil {
		a.axes[n.Out()] = fixedAxes(n.Out(), named(n, "is part of a shuffle"))
		return
	}
	out := copyAxes(a.of(s.x))
	if x := out[s.axis]; x.ids != nil {
		ids := make([]atom, len(x.ids))
		for i, p := range s.from {
			ids[i] = x.ids[p]
		}
		out[s.axis] = axis{ids: ids}
	}
	a.axes[n.Out()] = out
}

// fitShuffled keeps a shuffle where what is left is one, and picks channels by
// position otherwise. It is done at the reshape that ends the shuffle.
func (r *rewriting) fitShuffled(n *ir.Node) error {
	s := r.a.shuffles[n]
	if s == nil {
		return nil
	}
	in, out := r.order(s.x, s.axis), r.order(n.Out(), s.axis)
	shape := n.Dims("shape").Clone()
	mid := s.cut.Dims("shape").Clone()
	moved := false
	for i := range shape { // other axes may have changed as well
		if r.order(n.Out(), i) != nil && i != s.axis {
			moved = true
			shape[i] = r.extent(n.Out(), i)
			k := i
			if i > s.axis {
				k++
			}
			mid[k] = shape[i]
		}
	}
	if in == nil && out == nil {
		if moved {
			r.setAttr(s.cut, "shape", mid)
			r.setAttr(n, "shape", shape)
		}
		return nil
	}
	extent := s.x.Type.Shape[s.axis]
	if in == nil {
		in = identity(extent)
	}
	if out == nil {
		out = identity(extent)
	}
	where := map[slot]int{}
	for i, t := range in {
		where[t] = i
	}
	from := make([]int, len(out))
	for i, t := range out {
		from[i] = where[slot{int32(s.from[t.pos]), t.copy}]
	}
	if g := s.groups; len(from)%g == 0 {
		m, same := len(from)/g, true
		for i, p := range from {
			same = same && p == i%g*m+i/g
		}
		if same {
			shape[s.axis], mid[s.axis], mid[s.axis+1] = len(from), g, m
			r.setAttr(s.cut, "shape", mid)
			r.setAttr(n, "shape", shape)
			return nil
		}
	}
	t := ir.NewTensor(ir.I64, len(from))
	for i, p := range from {
		t.I64()[i] = int64(p)
	}
	r.gathers[n] = gathered{s.x, s.axis, t}
	return nil
}
