package ir

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// block maps the flat index of a block to that of the tensor around it, whose
// steps are st, from base on. It must be called with 0, 1, 2, … in order.
func block(shape Shape, st []int, base int) func(int) int {
	idx := make([]int, len(shape))
	next := base
	return func(i int) int {
		at := next
		for a := len(shape) - 1; a >= 0; a-- {
			idx[a]++
			next += st[a]
			if idx[a] < shape[a] {
				break
			}
			idx[a] = 0
			next -= st[a] * shape[a]
		}
		return at
	}
}

func evalConcatenate(n *Node, in []*Tensor) ([]*Tensor, error) {
	axis, err := NormAxis(n.Int("axis"), len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	shape := in[0].Shape.Clone()
	shape[axis] = 0
	for _, t := range in {
		shape[axis] += t.Shape[axis]
	}
	out := NewTensor(in[0].DType, shape...)
	st := rowMajor(shape)
	at := 0
	for _, t := range in {
		moveTo(out, t, t.Shape, rowMajor(t.Shape), 0, block(t.Shape, st, at*st[axis]))
		at += t.Shape[axis]
	}
	return []*Tensor{out}, nil
}

func evalSlice(n *Node, in []*Tensor) ([]*Tensor, error) {
	st := rowMajor(in[0].Shape)
	shape, steps := make(Shape, len(st)), make([]int, len(st))
	base := 0
	for a := range st {
		start, _, stride, extent, err := SliceAxis(n, a)
		if err != nil {
			return nil, err
		}
		shape[a], steps[a] = extent, st[a]*stride
		base += start * st[a]
	}
	return []*Tensor{moveTo(NewTensor(in[0].DType, shape...), in[0], shape, steps, base, nil)}, nil
}

func evalPad(n *Node, in []*Tensor) ([]*Tensor, error) {
	x := in[0]
	low, high := n.Ints("low"), n.Ints("high")
	if n.Str("mode") != "constant" {
		for a := range x.Shape {
			x = padAxis(x, a, low[a], high[a], n.Str("mode") == "edge")
		}
		return []*Tensor{x}, nil
	}
	v := n.Float("value")
	if q := n.Inputs[0].Type.Quant; q != nil {
		if len(q.Zero) != 1 {
			return nil, fmt.Errorf("pads a tensor with a zero point per channel")
		}
		v = float64(q.Zero[0])
	}
	shape := x.Shape.Clone()
	for a := range shape {
		shape[a] += low[a] + high[a]
	}
	out := NewTensor(x.DType, shape...)
	if v != 0 {
		for i := range out.Len() {
			out.Set(i, v)
		}
	}
	// What is left of x after negative padding goes to its place.
	from, to := rowMajor(x.Shape), rowMajor(shape)
	kept := make(Shape, len(shape))
	src, dst := 0, 0
	for a := range shape {
		cut := max(-low[a], 0)
		kept[a] = max(0, x.Shape[a]-cut-max(-high[a], 0))
		src += cut * from[a]
		dst += max(low[a], 0) * to[a]
	}
	return []*Tensor{moveTo(out, x, kept, from, src, block(kept, to, dst))}, nil
}

// padAxis repeats the edge or reflects without it.
func padAxis(x *Tensor, axis, low, high int, edge bool) *Tensor {
	if low == 0 && high == 0 {
		return x
	}
	d := x.Shape[axis]
	idx := make([]int, d+low+high)
	for i := range idx {
		p := i - low
		switch {
		case edge:
			p = min(max(p, 0), d-1)
		case p < 0:
			p = -p
		case p >= d:
			p = 2*(d-1) - p
		}
		idx[i] = p
	}
	return take(x, axis, idx, Shape{len(idx)})
}

// take gathers along an axis; idx has the shape that replaces it.
func take(x *Tensor, axis int, idx []int, shape Shape) *Tensor {
	out := NewTensor(x.DType, slices.Concat(x.Shape[:axis], shape, x.Shape[axis+1:])...)
	inner := x.Shape[axis+1:].Elems()
	outer := x.Shape[:axis].Elems()
	row := Shape{inner}
	for o := range outer {
		for i, p := range idx {
			base := (o*len(idx) + i) * inner
			moveTo(out, x, row, []int{1}, (o*x.Shape[axis]+p)*inner, func(k int) int { return base + k })
		}
	}
	return out
}

func evalReshape(n *Node, in []*Tensor) ([]*Tensor, error) {
	return []*Tensor{in[0].Reshaped(n.Outputs[0].Type.Shape...)}, nil
}

func evalTranspose(n *Node, in []*Tensor) ([]*Tensor, error) {
	st := rowMajor(in[0].Shape)
	p := n.Ints("permutation")
	shape, steps := make(Shape, len(p)), make([]int, len(p))
	for i, a := range p {
		shape[i], steps[i] = in[0].Shape[a], st[a]
	}
	return []*Tensor{moveTo(NewTensor(in[0].DType, shape...), in[0], shape, steps, 0, nil)}, nil
}

func evalBroadcast(n *Node, in []*Tensor) ([]*Tensor, error) {
	return []*Tensor{expanded(in[0], n.Outputs[0].Type.Shape)}, nil
}

func evalGather(n *Node, in []*Tensor) ([]*Tensor, error) {
	axis, err := NormAxis(n.Int("axis"), len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	d := in[0].Shape[axis]
	idx := in[1].Ints()
	for i, p := range idx {
		if p < 0 {
			idx[i] = p + d
		}
		if idx[i] < 0 || idx[i] >= d {
			return nil, fmt.Errorf("index %d is outside axis %d of extent %d", p, axis, d)
		}
	}
	return []*Tensor{take(in[0], axis, idx, in[1].Shape)}, nil
}

func evalSplit(n *Node, in []*Tensor) ([]*Tensor, error) {
	axis, err := NormAxis(n.Int("axis"), len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	st := rowMajor(in[0].Shape)
	var out []*Tensor
	at := 0
	for _, k := range n.Ints("sizes") {
		shape := in[0].Shape.Clone()
		shape[axis] = k
		out = append(out, moveTo(NewTensor(in[0].DType, shape...), in[0], shape, st, at*st[axis], nil))
		at += k
	}
	return out, nil
}

func evalIota(n *Node, _ []*Tensor) ([]*Tensor, error) {
	t := n.Outputs[0].Type
	out := NewTensor(t.DType, t.Shape...)
	axis, err := NormAxis(n.Int("axis"), len(t.Shape))
	if err != nil {
		return nil, err
	}
	inner, d := t.Shape[axis+1:].Elems(), t.Shape[axis]
	for i := range out.Len() {
		out.Set(i, float64(i/inner%d))
	}
	return []*Tensor{out}, nil
}

// NearestIndex is the source index of output index i along a spatial axis of a
// nearest resize (ONNX Resize).
func NearestIndex(n *Node, axis, i, in, out int) int {
	p := ResizePosition(n, axis, i, in, out)
	var r float64
	switch n.Str("nearest_mode") {
	case "floor":
		r = math.Floor(p)
	case "ceil":
		r = math.Ceil(p)
	case "round_prefer_ceil":
		r = math.Floor(p + 0.5)
	default:
		r = math.Ceil(p - 0.5)
	}
	return int(min(max(r, 0), float64(in-1)))
}

func evalResize(n *Node, in []*Tensor) ([]*Tensor, error) {
	x := in[0]
	size := n.Ints("size")
	if n.Str("mode") == "nearest" {
		for a, out := range size {
			idx := make([]int, out)
			for i := range idx {
				idx[i] = NearestIndex(n, a, i, in[0].Shape[a+1], out)
			}
			x = take(x, a+1, idx, Shape{out})
		}
		return []*Tensor{x}, nil
	}
	// The last axis first: the definition interpolates within rows.
	for a := len(size) - 1; a >= 0; a-- {
		if x.DType == F64 {
			x = resizeAxis[float64](n, x, a)
		} else {
			x = resizeAxis[float32](n, x, a)
		}
	}
	return []*Tensor{x}, nil
}

// resizeAxis interpolates along one spatial axis: linear, FMA(f, b−a, a);
// cubic, a chain of FMAs over the four taps (Keys 1981).
func resizeAxis[T real](n *Node, t *Tensor, axis int) *Tensor {
	d, size := t.Shape[axis+1], n.Ints("size")[axis]
	shape := t.Shape.Clone()
	shape[axis+1] = size
	out := NewTensor(t.DType, shape...)
	x, y := reals[T](t), out.Data.([]T)
	outer, inner := shape[:axis+1].Elems(), shape[axis+2:].Elems()
	source := n.Inputs[0].Type.Shape[axis+1]
	for i := range size {
		p := ResizePosition(n, axis, i, source, size)
		cubic := n.Str("mode") == "cubic"
		if !cubic {
			p = min(max(p, 0), float64(d-1))
		}
		lo := int(math.Floor(p))
		f := p - float64(lo)
		taps, weights := []int{lo, min(lo+1, d-1)}, []T{0, T(f)}
		if cubic {
			taps = []int{lo - 1, lo, lo + 1, lo + 2}
			weights = cubicWeights[T](f, n.Float("cubic_a"))
			for k, q := range taps {
				taps[k] = min(max(q, 0), d-1)
			}
		}
		for o := range outer {
			dst := y[(o*size+i)*inner:][:inner]
			row := func(k int) []T { return x[(o*d+taps[k])*inner:][:inner] }
			if cubic {
				for k, w := range weights {
					axpy(dst, w, row(k))
				}
				continue
			}
			a, b := row(0), row(1)
			for j := range dst {
				dst[j] = fma(weights[1], b[j]-a[j], a[j])
			}
		}
	}
	return out
}

func fma[T real](x, y, z T) T {
	if v, ok := any(x).(float32); ok {
		return T(fmath.FMA32(v, float32(y), float32(z)))
	}
	return T(math.FMA(float64(x), float64(y), float64(z)))
}

func cubicWeights[T real](f, a float64) []T {
	near := func(t float64) float64 { return ((a+2)*t-(a+3))*t*t + 1 }
	far := func(t float64) float64 { return ((a*t-5*a)*t+8*a)*t - 4*a }
	return []T{T(far(1 + f)), T(near(f)), T(near(1 - f)), T(far(2 - f))}
}
