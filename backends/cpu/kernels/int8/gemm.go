package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// gemmArgs is the argument block of a matrix micro-kernel, which computes
//
//	sums[r][c] = init[c] + Σ over runs and k of x[r][run][k] · w[run][k][c]
//
// for tiles times rows rows r and all columns of one block of channels. A row
// is an output pixel; its runs lie at the offsets runs from the row's start and
// hold quads groups of kernel.quad elements. gen/ knows this layout;
// TestLayouts compares.
type gemmArgs struct {
	x       unsafe.Pointer
	xStep   uintptr // bytes from row to row
	runs    unsafe.Pointer
	numRuns int
	quads   int
	w       unsafe.Pointer
	init    unsafe.Pointer // int32 for each column
	sums    unsafe.Pointer
	sumStep uintptr // bytes from row to row
	tiles   int
	rows    int // of a tile; read by kernels that take any
}

// format is how a kernel wants weights: [run][k/quad] groups of [column][quad].
type format uint8

const (
	bytesFormat format = iota // int8, x is u8
	wordsFormat               // int16, x is int16 with the zero point taken away
	pairsFormat               // two columns in a 64-bit word, x is int16
)

// elem is the size of an element of x.
func (f format) elem() int {
	if f == bytesFormat {
		return 1
	}
	return 2
}

// gemmKernel is a row of the table of matrix micro-kernels.
type gemmKernel struct {
	kernel
	cols   int // columns of a block
	rows   int // most rows of a tile
	quad   int // elements of x that one step takes
	format format
	run    [](func(*gemmArgs)) // by rows−1
}

// pickGemm gives the widest kernel of the best family that level l runs, if
// wide one that takes 16-bit operands.
func pickGemm(l isa.Level, wide bool) *gemmKernel {
	for i := range gemmKernels {
		if k := &gemmKernels[i]; l.Has(k.level) && (!wide || k.format != bytesFormat) {
			return k
		}
	}
	panic("BUG: no portable matrix kernel")
}

// fit gives the narrowest kernel of k's family with at least cols columns, or
// the widest.
func (k *gemmKernel) fit(cols int) *gemmKernel {
	best := k
	for i := range gemmKernels {
		if n := &gemmKernels[i]; n.level == k.level && n.format == k.format && n.cols >= cols && n.cols < best.cols {
			best = n
		}
	}
	return best
}

// speed is a rough figure of multiply-adds in a nanosecond.
func (k *gemmKernel) speed() float64 {
	switch {
	case k.level == isa.Portable:
		return 4
	case k.format != bytesFormat:
		return 90
	}
	return 2 * float64(k.cols) * 3
}

// stepBytes is the size of one packed step.
func (k *gemmKernel) stepBytes() int {
	switch k.format {
	case bytesFormat:
		return k.cols * k.quad
	case wordsFormat:
		return 2 * k.cols * k.quad
	}
	return 4 * k.cols
}

// pack lays out the weights of one block: runs runs of length elements, each
// filled with zeros to whole steps; at gives the weight of an element and column.
func (k *gemmKernel) pack(dst []byte, runs, length, cols int, at func(run, i, c int) int32) {
	steps := ceilDiv(length, k.quad)
	size := k.stepBytes()
	for run := range runs {
		for i := range length {
			step := dst[(run*steps+i/k.quad)*size:][:size]
			switch j := i % k.quad; k.format {
			case bytesFormat:
				for c := range cols {
					step[c*k.quad+j] = byte(at(run, i, c))
				}
			case wordsFormat:
				w := view[int16](base(step), size/2)
				for c := range cols {
					w[c*k.quad+j] = int16(at(run, i, c))
				}
			case pairsFormat:
				w := view[int64](base(step), size/8)
				for c := range cols {
					w[c/2] += int64(at(run, i, c)) << (c & 1 * 32)
				}
			}
		}
	}
}

const portableCols = 8

// gemmPortable multiplies two columns at once: the 64-bit product of x with
// w0 + w1·2^32 holds both 32-bit products, the upper one less the borrow of the
// lower. It is taken apart before the lower sum can leave 32 bits.
func gemmPortable(a *gemmArgs) {
	const flush = 8192
	x0 := a.x
	sums := a.sums
	runs := view[int64](a.runs, a.numRuns)
	init := view[int32](a.init, portableCols)
	for range a.tiles * a.rows {
		out := view[int32](sums, portableCols)
		copy(out, init)
		w := a.w
		for _, off := range runs {
			for k := 0; k < a.quads; k += flush {
				n := min(flush, a.quads-k)
				x := view[int16](unsafe.Add(x0, int(off)+2*k), n)
				ws := view[[4]int64](w, n)
				w = unsafe.Add(w, n*32)
				var s0, s1, s2, s3 int64
				for i, v := range x {
					p := &ws[i]
					v := int64(v)
					s0 += v * p[0]
					s1 += v * p[1]
					s2 += v * p[2]
					s3 += v * p[3]
				}
				for j, s := range [4]int64{s0, s1, s2, s3} {
					lo := int32(s)
					out[2*j] += lo
					out[2*j+1] += int32((s - int64(lo)) >> 32)
				}
			}
		}
		x0 = unsafe.Add(x0, a.xStep)
		sums = unsafe.Add(sums, a.sumStep)
	}
}
