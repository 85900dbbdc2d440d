package stablehlo

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

var movementOps = map[string]lowering{
	"concatenate": one(lowerConcatenate),
	"slice":       lowerSlice,
	"pad":         lowerPad,
	"reshape":     one(func(w *writer, n *ir.Node) val { return w.reshape(w.in(n, 0), n.Outputs[0].Type.Shape) }),
	"transpose":   one(func(w *writer, n *ir.Node) val { return w.transpose(w.in(n, 0), n.Ints("permutation")) }),
	"broadcast":   one(func(w *writer, n *ir.Node) val { return w.stretch(w.in(n, 0), n.Outputs[0].Type.Shape) }),
	"gather":      one(lowerGather),
	"split":       lowerSplit,
	"resize":      lowerResize,
	"iota": one(func(w *writer, n *ir.Node) val {
		t := n.Outputs[0].Type
		return w.op("stablehlo.iota", t.DType, t.Shape, fmt.Sprintf("iota_dimension = %d : i64", n.Int("axis")), "")
	}),
}

func lowerConcatenate(w *writer, n *ir.Node) val {
	t := n.Outputs[0].Type
	in := make([]val, len(n.Inputs))
	for i := range in {
		in[i] = w.in(n, i)
	}
	return w.op("stablehlo.concatenate", t.DType, t.Shape, fmt.Sprintf("dimension = %d : i64", axisOf(in[0], n.Int("axis"))), "", in...)
}

func lowerSlice(w *writer, n *ir.Node) ([]val, error) {
	x := w.in(n, 0)
	r := len(x.s)
	start, limit, stride := make([]int, r), make([]int, r), make([]int, r)
	var turned []int
	for a := range r {
		s, l, st, extent, err := ir.SliceAxis(n, a)
		if err != nil {
			return nil, err
		}
		if st < 0 { // walk the same elements upwards, then turn the axis around
			turned = append(turned, a)
			last := s + (extent-1)*st
			s, l, st = last, s+1, -st
			if extent == 0 {
				s, l = 0, 0
			}
		}
		start[a], limit[a], stride[a] = s, l, st
	}
	y := w.slice(x, start, limit, stride)
	if turned != nil {
		y = w.op("stablehlo.reverse", y.d, y.s, "dimensions = "+i64s(turned), "", y)
	}
	return []val{y}, nil
}

func lowerPad(w *writer, n *ir.Node) ([]val, error) {
	x := w.in(n, 0)
	v := n.Float("value")
	if q := n.Inputs[0].Type.Quant; q != nil {
		if len(q.Zero) != 1 {
			return nil, fmt.Errorf("pads a tensor with a zero point per channel")
		}
		v = float64(q.Zero[0])
	}
	low, high := n.Ints("low"), n.Ints("high")
	if n.Str("mode") == "constant" {
		return []val{w.pad(x, low, high, w.scalar(x.d, v))}, nil
	}
	for a := range x.s { // edge and reflect: the elements wanted, by index
		if low[a] == 0 && high[a] == 0 {
			continue
		}
		d := x.s[a]
		idx := make([]int32, d+low[a]+high[a])
		for i := range idx {
			p := i - low[a]
			if n.Str("mode") == "edge" {
				p = min(max(p, 0), d-1)
			} else if p < 0 {
				p = -p
			} else if p >= d {
				p = 2*(d-1) - p
			}
			idx[i] = int32(p)
		}
		x = w.take(x, w.constant(ir.From(idx, len(idx))), a)
	}
	return []val{x}, nil
}

func lowerGather(w *writer, n *ir.Node) val {
	x, idx := w.in(n, 0), w.in(n, 1)
	a := axisOf(x, n.Int("axis"))
	neg := w.compare("LT", idx, w.like(idx, 0))
	return w.take(x, w.where(neg, w.same("add", idx, w.like(idx, float64(x.s[a]))), idx), a)
}

func lowerSplit(w *writer, n *ir.Node) ([]val, error) {
	x := w.in(n, 0)
	a := axisOf(x, n.Int("axis"))
	var out []val
	at := 0
	for _, k := range n.Ints("sizes") {
		start, limit := make([]int, len(x.s)), slices.Clone(x.s)
		start[a], limit[a] = at, at+k
		at += k
		out = append(out, w.slice(x, start, limit, ones(len(x.s))))
	}
	return out, nil
}

func lowerResize(w *writer, n *ir.Node) ([]val, error) {
	x := w.in(n, 0)
	switch n.Str("mode") {
	case "nearest":
		for a, size := range n.Ints("size") {
			idx := make([]int32, size)
			for i := range idx {
				idx[i] = int32(ir.NearestIndex(n, a, i, n.Inputs[0].Type.Shape[a+1], size))
			}
			x = w.take(x, w.constant(ir.From(idx, size)), a+1)
		}
		return []val{x}, nil
	case "linear":
		for a, size := range n.Ints("size") {
			lo, hi, frac := make([]int32, size), make([]int32, size), ir.NewTensor(x.d, size)
			in := n.Inputs[0].Type.Shape[a+1]
			for i := range size {
				p := min(max(ir.ResizePosition(n, a, i, in, size), 0), float64(in-1))
				lo[i] = int32(p)
				hi[i] = min(lo[i]+1, int32(in-1))
				frac.Set(i, p-float64(lo[i]))
			}
			l, h := w.take(x, w.constant(ir.From(lo, size)), a+1), w.take(x, w.constant(ir.From(hi, size)), a+1)
			f := w.broadcast(w.constant(frac), l.s, []int{a + 1})
			x = w.same("add", l, w.same("multiply", w.same("subtract", h, l), f))
		}
		return []val{x}, nil
	}
	return nil, fmt.Errorf("resize mode %s has no StableHLO form in nasc", n.Str("mode"))
}
