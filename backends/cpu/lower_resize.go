package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/ir"
)

func lowerQResize(c *compiler, g *group) error {
	n := g.nodes[0]
	signed, zero, err := perTensor(n.Inputs[0])
	if err != nil {
		return err
	}
	out, err := outOf(n)
	if err != nil {
		return err
	}
	taps := func(axis int) []q8.Tap {
		var ts []q8.Tap
		for _, t := range ir.LinearTaps(n, axis) {
			ts = append(ts, q8.Tap{Lo: t.Lo, Hi: t.Hi, W: t.W})
		}
		return ts
	}
	xs := n.Inputs[0].Type.Shape
	s := q8.ResizeSpec{N: xs[0], H: 1, OH: 1, C: xs[len(xs)-1], XSigned: signed, XZero: zero, Mult: ir.QResizeMult(n), Out: out}
	size := n.Ints("size")
	switch len(size) {
	case 1:
		s.W, s.OW, s.TapsW = xs[1], size[0], taps(0)
	case 2:
		s.H, s.OH, s.TapsH = xs[1], size[0], taps(0)
		s.W, s.OW, s.TapsW = xs[2], size[1], taps(1)
	default:
		return errNoKernel
	}
	return setInt8(c, g, "Resize", q8.Resize, s, n.Inputs[0])
}

// lowerResize takes nearest resizes of any type, by bytes, and linear ones of f32.
func lowerResize(c *compiler, g *group) error {
	n := g.nodes[0]
	xs, size := n.Inputs[0].Type.Shape, n.Ints("size")
	if len(size) > 2 || xs.Elems() == 0 {
		return errNoKernel
	}
	in, out := []int{1, xs[1]}, []int{1, size[0]}
	if len(size) == 2 {
		in, out = xs[1:3], size
	}
	axis := func(k int) int { return k - 2 + len(size) } // of the node's spatial axes
	if n.Str("mode") == "nearest" {
		s := q8.NearestSpec{N: xs[0], H: in[0], W: in[1], Bytes: xs[len(xs)-1] * n.Inputs[0].Type.DType.Size()}
		index := func(k int) []int {
			if axis(k) < 0 {
				return []int{0}
			}
			idx := make([]int, out[k])
			for i := range idx {
				idx[i] = ir.NearestIndex(n, axis(k), i, in[k], out[k])
			}
			return idx
		}
		s.RowOf, s.ColOf = index(0), index(1)
		return setInt8(c, g, "Nearest", q8.Nearest, s, n.Inputs[0])
	}
	if f32Only(n) != nil || n.Str("mode") != "linear" {
		return errNoKernel
	}
	taps := func(k int) []f32.Tap {
		if axis(k) < 0 {
			return []f32.Tap{{}}
		}
		ts := make([]f32.Tap, out[k])
		for i := range ts {
			p := ir.ResizePosition(n, axis(k), i, in[k], out[k])
			p = min(max(p, 0), float64(in[k]-1))
			lo := int(p)
			ts[i] = f32.Tap{Lo: lo, Hi: min(lo+1, in[k]-1), F: float32(p - float64(lo))}
		}
		return ts
	}
	return setF32(c, g, "Resize", f32.Resize, f32.ResizeSpec{
		N: xs[0], H: in[0], W: in[1], C: xs[len(xs)-1], Rows: taps(0), Cols: taps(1),
	}, n.Inputs[0])
}
