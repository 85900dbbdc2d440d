package ir

import (
	"runtime"
	"sync"
)

// real is the element type of float evaluation: float32, or float64 in the
// interpreter's double mode.
type real interface{ float32 | float64 }

// rowMajor gives the step in elements of each axis of a dense tensor.
func rowMajor(s Shape) []int {
	st := make([]int, len(s))
	step := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = step
		step *= s[i]
	}
	return st
}

// walk calls f(i, j) for every element i of shape in row-major order, with j =
// base + Σ index·strides.
func walk(shape Shape, strides []int, base int, f func(i, j int)) {
	n := shape.Elems()
	if n == 0 {
		return
	}
	idx := make([]int, len(shape))
	j := base
	for i := 0; ; i++ {
		f(i, j)
		if i == n-1 {
			return
		}
		for a := len(shape) - 1; a >= 0; a-- {
			idx[a]++
			j += strides[a]
			if idx[a] < shape[a] {
				break
			}
			idx[a] = 0
			j -= strides[a] * shape[a]
		}
	}
}

// stretched gives the steps of part's axes as seen from full: 0 where numpy's
// rule repeats.
func stretched(full, part Shape) []int {
	st, own := make([]int, len(full)), rowMajor(part)
	off := len(full) - len(part)
	for i := range part {
		if part[i] != 1 {
			st[off+i] = own[i]
		}
	}
	return st
}

// expanded copies t to a larger shape by numpy's rule; t itself when it fits.
func expanded(t *Tensor, shape Shape) *Tensor {
	if t.Shape.Equal(shape) {
		return t
	}
	return moveTo(NewTensor(t.DType, shape...), t, shape, stretched(shape, t.Shape), 0, nil)
}

// moveTo writes src's element base + Σ index·strides to each place of a block
// of the given shape in dst. at maps the block's flat index to dst's; nil: the
// block is all of dst.
func moveTo(dst, src *Tensor, shape Shape, strides []int, base int, at func(i int) int) *Tensor {
	switch d := dst.Data.(type) {
	case []float32:
		moveElems(d, Of[float32](src), shape, strides, base, at)
	case []float64:
		moveElems(d, Of[float64](src), shape, strides, base, at)
	case []uint16:
		moveElems(d, Of[uint16](src), shape, strides, base, at)
	case []int64:
		moveElems(d, Of[int64](src), shape, strides, base, at)
	case []int32:
		moveElems(d, Of[int32](src), shape, strides, base, at)
	case []uint8:
		moveElems(d, Of[uint8](src), shape, strides, base, at)
	case []int8:
		moveElems(d, Of[int8](src), shape, strides, base, at)
	case []bool:
		moveElems(d, Of[bool](src), shape, strides, base, at)
	}
	return dst
}

func moveElems[E Elem](dst, src []E, shape Shape, strides []int, base int, at func(i int) int) {
	if at == nil {
		walk(shape, strides, base, func(i, j int) { dst[i] = src[j] })
		return
	}
	walk(shape, strides, base, func(i, j int) { dst[at(i)] = src[j] })
}

// parallel runs f over [0,n) in pieces on all cores. Every index belongs to one
// piece, so that results do not depend on the cutting.
func parallel(n int, f func(lo, hi int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(n*w/workers, n*(w+1)/workers) })
	}
	wg.Wait()
}

// reals gives a tensor's elements in the wanted float type.
func reals[T real](t *Tensor) []T {
	if t == nil {
		return nil
	}
	if d, ok := t.Data.([]T); ok {
		return d
	}
	var zero T
	d := F32
	if _, ok := any(zero).(float64); ok {
		d = F64
	}
	return t.Converted(d).Data.([]T)
}

// evalReal picks the float32 or the float64 form by the first operand.
func evalReal(n *Node, in []*Tensor, f32 func(*Node, []*Tensor) ([]*Tensor, error), f64 func(*Node, []*Tensor) ([]*Tensor, error)) ([]*Tensor, error) {
	if in[0].DType == F64 {
		return f64(n, in)
	}
	return f32(n, in)
}
