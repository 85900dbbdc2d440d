package cpu

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/move"
	"github.com/nasc-dev/nasc/ir"
)

// moveWork runs a kernel of package move.
type moveWork struct{ move.Kernel }

func (w moveWork) Run(lo, hi int, c *call) { w.Kernel.Run(lo, hi, (*move.Args)(&c.args)) }

// setMove makes a mover the group's work, reading in.
func (g *group) setMove(l isa.Level, spec any, in ...*ir.Value) error {
	var k move.Kernel
	var err error
	r := Recipe{Package: "move", Spec: spec}
	switch s := spec.(type) {
	case move.StridedSpec:
		r.Func = "Strided"
		k, err = move.Strided(s, l)
	case move.CopySpec:
		r.Func = "Copy"
		k, err = move.Copy(s, l)
	case move.FillSpec:
		r.Func = "Fill"
		k, err = move.Fill(s, l)
	case move.TakeSpec:
		r.Func = "Take"
		k, err = move.Take(s, l)
	case move.GatherSpec:
		r.Func = "Gather"
		k, err = move.Gather(s, l)
	default:
		panic(fmt.Sprintf("BUG: no mover takes %T", spec))
	}
	if err != nil {
		return err
	}
	g.work, g.recipe, g.in = moveWork{k}, r, in
	if ch, ok := k.(move.Checker); ok {
		g.check = moveCheck{ch}
	}
	return nil
}

// strides gives the bytes between indices of each axis of a dense tensor.
func strides(s ir.Shape, elem int) []int {
	st := make([]int, len(s))
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = elem
		elem *= s[i]
	}
	return st
}

// asView makes the group a view of its operand.
func (g *group) asView(at ...int) error {
	g.in = g.nodes[0].Inputs[:1]
	g.alias, g.aliasAt = true, at
	return nil
}

func lowerReshape(_ *compiler, g *group) error { return g.asView(0) }

func lowerTranspose(c *compiler, g *group) error {
	n := g.nodes[0]
	return g.transpose(c, n.Inputs[0], n.Outputs[0], n.Ints("permutation"))
}

// transpose makes the group move x's axes; it is a view where only axes of one
// index change places.
func (g *group) transpose(c *compiler, in, out *ir.Value, p []int) error {
	x, y := in.Type, out.Type
	var moved []int // axes of more than one index, in the result's order
	for _, a := range p {
		if x.Shape[a] != 1 {
			moved = append(moved, a)
		}
	}
	if slices.IsSorted(moved) {
		g.in, g.alias, g.aliasAt = []*ir.Value{in}, true, []int{0}
		return nil
	}
	elem := x.DType.Size()
	from := strides(x.Shape, elem)
	src := make([]int, len(p))
	for i, a := range p {
		src[i] = from[a]
	}
	return g.setMove(c.level, move.StridedSpec{Elem: elem, Dims: y.Shape, Src: src, Dst: strides(y.Shape, elem)}, in)
}

func lowerBroadcast(c *compiler, g *group) error {
	n := g.nodes[0]
	x, y := n.Inputs[0].Type, n.Outputs[0].Type
	if x.Shape.Elems() == y.Shape.Elems() {
		return g.asView(0)
	}
	elem := x.DType.Size()
	from := strides(x.Shape, elem)
	src := make([]int, len(y.Shape))
	for i := range src {
		if k := i - len(y.Shape) + len(x.Shape); k >= 0 && x.Shape[k] != 1 {
			src[i] = from[k]
		}
	}
	return g.setMove(c.level, move.StridedSpec{Elem: elem, Dims: y.Shape, Src: src, Dst: strides(y.Shape, elem)}, n.Inputs...)
}

func lowerSlice(c *compiler, g *group) error {
	n := g.nodes[0]
	x, y := n.Inputs[0].Type, n.Outputs[0].Type
	elem := x.DType.Size()
	src := strides(x.Shape, elem)
	at, whole, cut := 0, true, false // whole: axes so far have one index in the result
	for i := range src {
		start, _, stride, extent, err := ir.SliceAxis(n, i)
		if err != nil {
			return err
		}
		at += start * src[i]
		if extent != x.Shape[i] && !whole || stride != 1 && extent > 1 {
			cut = true
		}
		if extent > 1 {
			whole = false
		}
		src[i] *= stride
	}
	if y.Shape.Elems() == 0 {
		return errNoKernel
	}
	if !cut {
		return g.asView(at)
	}
	return g.setMove(c.level, move.StridedSpec{Elem: elem, Dims: y.Shape, Src: src, Dst: strides(y.Shape, elem), SrcAt: at}, n.Inputs...)
}

// block gives a tensor as [outer, bytes of axis and what follows it].
func block(t ir.Type, axis int) (outer, row int) {
	return t.Shape[:axis].Elems(), t.Shape[axis:].Elems() * t.DType.Size()
}

func lowerSplit(c *compiler, g *group) error {
	n := g.nodes[0]
	x := n.Inputs[0].Type
	axis, err := ir.NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	outer, row := block(x, axis)
	at := 0
	var offsets []int
	for _, v := range n.Outputs {
		_, w := block(v.Type, axis)
		offsets = append(offsets, at)
		at += w
	}
	if outer == 1 {
		return g.asView(offsets...)
	}
	for i, v := range n.Outputs {
		_, w := block(v.Type, axis)
		if w == 0 {
			return errNoKernel
		}
		part := &group{nodes: g.nodes, out: []*ir.Value{v}}
		if err := part.setMove(c.level, move.StridedSpec{Elem: 1, Dims: []int{outer, w}, Src: []int{row, 1}, Dst: []int{w, 1}, SrcAt: offsets[i]}, n.Inputs...); err != nil {
			return err
		}
		g.expand = append(g.expand, part)
	}
	return nil
}

func lowerConcatenate(c *compiler, g *group) error {
	n := g.nodes[0]
	y := n.Outputs[0]
	axis, err := ir.NormAxis(n.Int("axis"), len(y.Type.Shape))
	if err != nil {
		return err
	}
	outer, row := block(y.Type, axis)
	at := 0
	for _, v := range n.Inputs {
		_, w := block(v.Type, axis)
		if w == 0 || outer == 0 {
			return errNoKernel
		}
		part := &group{nodes: g.nodes, dst: y, part: view{off: 0, len: int(y.Type.Bytes())}}
		if outer == 1 {
			part.part = view{off: at, len: w}
			err = part.setMove(c.level, move.CopySpec{Bytes: w}, v)
		} else {
			err = part.setMove(c.level, move.StridedSpec{Elem: 1, Dims: []int{outer, w}, Src: []int{w, 1}, Dst: []int{row, 1}, DstAt: at}, v)
		}
		if err != nil {
			return err
		}
		g.expand = append(g.expand, part)
		at += w
	}
	return nil
}

func lowerPad(c *compiler, g *group) error {
	n := g.nodes[0]
	x, y := n.Inputs[0].Type, n.Outputs[0]
	low, high := n.Ints("low"), n.Ints("high")
	if x.Shape.Elems() == 0 || y.Type.Shape.Elems() == 0 {
		return errNoKernel
	}
	if n.Str("mode") != "constant" {
		if slices.Min(low) < 0 || slices.Min(high) < 0 {
			return errNoKernel
		}
		return lowerPadByIndex(c, g)
	}
	value := ir.NewTensor(x.DType, 1)
	value.Set(0, n.Float("value"))
	if q := x.Quant; q != nil {
		if q.Axis >= 0 {
			return errNoKernel
		}
		value.Set(0, float64(q.Zero[0]))
	}
	elem := x.DType.Size()
	to := strides(y.Type.Shape, elem)
	from := strides(x.Shape, elem)
	kept := x.Shape.Clone() // what negative padding leaves of x
	srcAt, dstAt := 0, 0
	for i := range kept {
		cut := max(-low[i], 0)
		kept[i] -= cut + max(-high[i], 0)
		srcAt += cut * from[i]
		dstAt += max(low[i], 0) * to[i]
	}
	all := view{off: 0, len: int(y.Type.Bytes())}
	border := &group{nodes: g.nodes, dst: y, part: all}
	if err := border.setMove(c.level, move.FillSpec{Value: rawBytes(value)}); err != nil {
		return err
	}
	g.expand = []*group{border}
	if slices.Min(kept) < 1 {
		return nil
	}
	inner := &group{nodes: g.nodes, dst: y, part: all}
	if err := inner.setMove(c.level, move.StridedSpec{Elem: elem, Dims: kept, Src: from, Dst: to, SrcAt: srcAt, DstAt: dstAt}, n.Inputs...); err != nil {
		return err
	}
	g.expand = append(g.expand, inner)
	return nil
}

// lowerPadByIndex repeats edges or reflects, one axis after the other.
func lowerPadByIndex(c *compiler, g *group) error {
	n := g.nodes[0]
	low, high := n.Ints("low"), n.Ints("high")
	x := n.Inputs[0]
	var parts []*group
	for a, d := range n.Inputs[0].Type.Shape {
		if low[a]+high[a] == 0 {
			continue
		}
		idx := make([]int, d+low[a]+high[a])
		for i := range idx {
			k := i - low[a]
			if n.Str("mode") == "edge" {
				k = min(max(k, 0), d-1)
			} else if k = max(k, -k); k >= d {
				k = 2*(d-1) - k
			}
			idx[i] = k
		}
		t := x.Type
		t.Shape = t.Shape.Clone()
		t.Shape[a] = len(idx)
		y := &ir.Value{Name: n.Outputs[0].Name + ".part", Type: t}
		p := &group{nodes: g.nodes, out: []*ir.Value{y}}
		s := move.TakeSpec{Outer: t.Shape[:a].Elems(), Extent: d, Row: t.Shape[a+1:].Elems() * t.DType.Size(), Index: idx}
		if err := p.setMove(c.level, s, x); err != nil {
			return err
		}
		parts = append(parts, p)
		x = y
	}
	if len(parts) == 0 {
		return g.asView(0)
	}
	parts[len(parts)-1].out = n.Outputs
	g.expand = parts
	return nil
}

func lowerGather(c *compiler, g *group) error {
	n := g.nodes[0]
	x, idx := n.Inputs[0].Type, n.Inputs[1].Type
	axis, err := ir.NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	s := move.GatherSpec{
		Outer: x.Shape[:axis].Elems(), Extent: x.Shape[axis], Count: idx.Shape.Elems(),
		Row: x.Shape[axis+1:].Elems() * x.DType.Size(), Wide: idx.DType == ir.I64,
	}
	if s.Outer*s.Count*s.Row == 0 {
		return errNoKernel
	}
	return g.setMove(c.level, s, n.Inputs...)
}
