package move

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// vectors names the kernels of this file.
const vectors = isa.NEON

// planeArgs and turnArgs are the argument blocks of the kernels; gen/neon has
// their offsets.
type (
	planeArgs struct {
		y, a, b, c *byte
		n          int
	}
	turnArgs struct {
		y, x      *byte
		ys, xs, n int
	}
)

// interleave3 gives the kernel for elements of a size, nil where there is none.
func interleave3(elem int, l isa.Level) planes {
	if !l.Has(isa.NEON) {
		return nil
	}
	switch elem {
	case 1:
		return func(y, x []byte, step, n int) int { return interleave(y, x, step, n&^15, 1) }
	case 4:
		return func(y, x []byte, step, n int) int { return interleave(y, x, step, n&^3, 4) }
	}
	return nil
}

// interleave calls the kernel by its name, so that its arguments stay on the
// stack; blocks likewise.
func interleave(y, x []byte, step, n, elem int) int {
	if n == 0 {
		return 0
	}
	at := func(b []byte, i int) *byte { return unsafe.SliceData(b[i:][:n*elem]) }
	p := planeArgs{y: unsafe.SliceData(y[:3*n*elem]), a: at(x, 0), b: at(x, step), c: at(x, 2*step), n: n}
	if elem == 1 {
		interleave3x1(&p)
	} else {
		interleave3x4(&p)
	}
	return n
}

// turner gives the kernel that transposes blocks of elements of a size, nil
// where there is none.
func turner(elem int, l isa.Level) turn {
	if !l.Has(isa.NEON) {
		return nil
	}
	switch elem {
	case 1:
		return func(y, x []byte, n, cols, sx, dy int) (int, int) { return blocks(8, 1, y, x, n, cols, sx, dy) }
	case 4:
		return func(y, x []byte, n, cols, sx, dy int) (int, int) { return blocks(4, 4, y, x, n, cols, sx, dy) }
	}
	return nil
}

func blocks(side, elem int, y, x []byte, n, cols, sx, dy int) (int, int) {
	n, cols = n/side*side, cols/side*side
	if n == 0 || cols == 0 {
		return 0, 0
	}
	_ = x[(cols-1)*sx+n*elem-1] // what the kernel will read and write
	_ = y[(n-1)*dy+cols*elem-1]
	for j := 0; j < cols; j += side {
		t := turnArgs{y: &y[j*elem], x: &x[j*sx], ys: dy, xs: sx, n: n}
		if elem == 1 {
			turn8x1(&t)
		} else {
			turn4x4(&t)
		}
	}
	return n, cols
}
