package move

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

//go:generate go run ./gen -out interleave_amd64.s -stubs interleave_amd64.go -pkg move

// vectors names the kernels of this file.
const vectors = isa.AVX2

// interleave3 gives the kernel for elements of a size, nil where there is none.
func interleave3(elem int, l isa.Level) planes {
	if !l.Has(isa.AVX2) {
		return nil
	}
	switch elem {
	case 1:
		return func(y, x []byte, step, n int) int { return run(interleave3x1, y, x, step, n&^15, 1) }
	case 4:
		return func(y, x []byte, step, n int) int { return run(interleave3x4, y, x, step, n&^7, 4) }
	}
	return nil
}

func run(f func(y, a, b, c *byte, n int), y, x []byte, step, n, elem int) int {
	if n == 0 {
		return 0
	}
	at := func(b []byte, i int) *byte { return unsafe.SliceData(b[i:][:n*elem]) }
	f(unsafe.SliceData(y[:3*n*elem]), at(x, 0), at(x, step), at(x, 2*step), n)
	return n
}

// turner gives the kernel that transposes blocks of elements of a size, nil
// where there is none.
func turner(elem int, l isa.Level) turn {
	if !l.Has(isa.AVX2) {
		return nil
	}
	switch elem {
	case 1:
		return func(y, x []byte, n, cols, sx, dy int) (int, int) { return blocks(turn8x1, 8, 1, y, x, n, cols, sx, dy) }
	case 4:
		return func(y, x []byte, n, cols, sx, dy int) (int, int) { return blocks(turn4x4, 4, 4, y, x, n, cols, sx, dy) }
	}
	return nil
}

func blocks(f func(y, x *byte, ys, xs, n int), side, elem int, y, x []byte, n, cols, sx, dy int) (int, int) {
	n, cols = n/side*side, cols/side*side
	if n == 0 || cols == 0 {
		return 0, 0
	}
	_ = x[(cols-1)*sx+n*elem-1] // what the kernel will read and write
	_ = y[(n-1)*dy+cols*elem-1]
	for j := 0; j < cols; j += side {
		f(&y[j*elem], &x[j*sx], dy, sx, n)
	}
	return n, cols
}
