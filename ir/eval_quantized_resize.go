package ir

import "fmt"

// LinearTap is one output position of a linear resize: its two sources and the
// weight of the second, of 2^11 in all.
type LinearTap struct {
	Lo, Hi int
	W      int32
}

// LinearTaps gives the taps of q_resize along one axis: the sampling position
// in float64, its fraction rounded half to even to 11 bits.
func LinearTaps(n *Node, axis int) []LinearTap {
	in, out := n.Inputs[0].Type.Shape[axis+1], n.Ints("size")[axis]
	taps := make([]LinearTap, out)
	for i := range taps {
		p := ResizePosition(n, axis, i, in, out)
		p = min(max(p, 0), float64(in-1))
		lo := int(p)
		taps[i] = LinearTap{Lo: lo, Hi: min(lo+1, in-1), W: int32(saturate((p-float64(lo))*2048, 0, 2048))}
	}
	return taps
}

// ResizePosition is the source position of output index i along a spatial
// axis, by the node's coordinates rule (ONNX Resize).
func ResizePosition(n *Node, axis, i, in, out int) float64 {
	scale := float64(out) / float64(in)
	if f := n.Floats("scales"); len(f) > 0 {
		scale = f[axis]
	}
	switch n.Str("coordinates") {
	case "asymmetric":
		return float64(i) / scale
	case "align_corners":
		if out == 1 {
			return 0
		}
		return float64(i) * float64(in-1) / float64(out-1)
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
	}
	return (float64(i)+0.5)/scale - 0.5
}

func evalQResize(n *Node, in []*Tensor) ([]*Tensor, error) {
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	x := centred(in[0], n.Inputs[0].Type.Quant)
	c, m := shape[len(shape)-1], QResizeMult(n)
	one := []LinearTap{{}}
	taps := [2][]LinearTap{one, one}
	scale := int32(1)
	h, w := 1, in[0].Shape[1]
	switch len(n.Ints("size")) {
	case 1:
		taps[1] = LinearTaps(n, 0)
	case 2:
		taps[0], taps[1] = LinearTaps(n, 0), LinearTaps(n, 1)
		h, w, scale = in[0].Shape[1], in[0].Shape[2], 2048
	default:
		return nil, fmt.Errorf("resizes %d spatial axes; wanted 1 or 2", len(n.Ints("size")))
	}
	at := 0
	for b := range shape[0] {
		for _, ty := range taps[0] {
			for _, tx := range taps[1] {
				for j := range c {
					px := func(y, xx int) int32 { return x[((b*h+y)*w+xx)*c+j] }
					top := px(ty.Lo, tx.Lo)*(2048-tx.W) + px(ty.Lo, tx.Hi)*tx.W
					acc := top
					if scale > 1 {
						bottom := px(ty.Hi, tx.Lo)*(2048-tx.W) + px(ty.Hi, tx.Hi)*tx.W
						acc = top*(2048-ty.W) + bottom*ty.W
					}
					s.set(at, acc, m)
					at++
				}
			}
		}
	}
	return []*Tensor{s.out}, nil
}
