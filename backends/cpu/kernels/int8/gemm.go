package int8

import (
	"bytes"
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

	// Kernels that fuse write 8-bit results instead of sums where pack is set; those on
	// 512 bits what finish says.
	pack  unsafe.Pointer // *packing
	mult  unsafe.Pointer
	y     uintptr // moves on with the rows, in the end behind the tensor
	yStep uintptr
	mask  uint64 // columns that are written
	// residual, where it is not 0, says that results are added to bytes that lie
	// delta bytes from y.
	residual uint64
	delta    uintptr

	// Of kernels on tile registers: what these hold, and how far the rows of one
	// register are from those of the next in x and in sums, and a tile's from the
	// next tile's in x, in bytes. After lineTiles tiles x moves on by lineSkip, too.
	config              *isa.TileConfig
	tall, sumTall, move uintptr
	lineTiles           int
	lineSkip            int
	lineLeft            int
	runNow, runsLeft    uintptr // these three the kernel's own
	xNow                uintptr // no pointer: in the end it is behind the tensor

	// What is prefetched, moving on, and by how much at each step; 0: nothing. On
	// tile registers whole cache lines up to aheadEnd.
	ahead, aheadStep, aheadEnd uintptr

	// Of kernels that go through a list: the next tile, and how far x moves at each step.
	list     unsafe.Pointer // *listedTile
	stepMove uintptr

	// Of kernels on 512 bits: what is added to each row's sums, int32s, moving on; 0:
	// nothing.
	rowAdd uintptr

	finish finishing
	table  unsafe.Pointer // *[256]uint8, for packLookedUp

	plain uint64 // not 0: packing needs no clamps, flips and zero points

	// On tile registers: the bytes of a step where it is the only one of its run
	// and less than 64, and the configuration made for it.
	narrow int
	own    isa.TileConfig
}

// listedTile is a tile of two registers up, of which any rows are results: where
// the registers' rows lie in x, and for each result where its sums and its bytes
// are, from sums and from y on.
type listedTile struct {
	x    int // of the first register
	tall int // from there to the second's
	rows int // results
	at   [2 * tileRows]struct{ sums, y int32 }
}

// packing is what packing results needs beside the factors: a vector each of
// zero points, least and greatest results as u8, the bytes that turn them into
// stored ones, and the places of 4-byte pieces; for a residual the bounds of
// the first result less its zero point, what turns stored bytes into u8, their
// zero point, both factors in one word and the last factor.
type packing struct {
	zero              [32]int16
	least, most, flip [64]uint8
	order             [16]uint32
	leastQ, mostQ     [32]int16
	flipX2            [64]uint8
	zeroX2            [32]int16
	pair              [16]uint32
	mult2             [16]float32
	start             [16]int32 // what zeroX2 takes from sums
}

func newPacking(a *finishArgs, residual bool) *packing {
	p := new(packing)
	zero := a.zero
	if residual {
		zero = a.zero2
	}
	for i := range p.zero {
		p.zero[i] = int16(zero)
		p.leastQ[i], p.mostQ[i], p.zeroX2[i] = int16(a.leastQ), int16(a.mostQ), int16(a.zeroX2)
	}
	fill(p.flipX2[:], uint8(a.flip))
	fill(p.least[:], uint8(a.least))
	fill(p.most[:], uint8(a.most))
	fill(p.flip[:], uint8(a.yFlip))
	p.order = pieces
	for i := range p.pair {
		p.pair[i], p.mult2[i], p.start[i] = a.pair, a.mult2, -a.zeroX2*int32(a.pair>>16)
	}
	return p
}

// format is how a kernel wants weights: [run][k/quad] groups of [column][quad].
type format uint8

const (
	bytesFormat  format = iota // int8, x is u8
	wordsFormat                // int16, x is int16 with the zero point taken away
	pairsFormat                // two columns in a 64-bit word, x is int16
	signedFormat               // as bytesFormat; the kernel takes 128 from x
	rowsFormat                 // as wordsFormat, but [quad][column]
)

// elem is the size of an element of x.
func (f format) elem() int {
	if f == bytesFormat || f == signedFormat {
		return 1
	}
	return 2
}

// taken is what the kernel takes from x.
func (f format) taken() int32 {
	if f == signedFormat {
		return 128
	}
	return 0
}

// gemmKernel is a row of the table of matrix micro-kernels.
type gemmKernel struct {
	kernel
	cols   int // columns of a block
	rows   int // most rows of a tile
	quad   int // elements of x that one step takes
	format format
	fuses  bool                // writes 8-bit results, too
	more   bool                // and float32 and what is looked up
	short  bool                // has forms of its own for what needs no clamps
	run    [](func(*gemmArgs)) // by rows−1
	// linesOf, where a kernel has it, computes some of up to count short lines at
	// once and says how many.
	linesOf func(g *gemmArgs, sums unsafe.Pointer, l lines, count int) int
	// listed, where a kernel has it, computes the tiles of a list: without a
	// residual and with one. What copy puts side by side it reads.
	listed *tileFuncs
	copy   func(*pictureArgs)
	// pair, where a kernel has it, puts two rows of x side by side.
	pair func(*rowPairArgs)
}

// pickGemm gives the widest kernel of the best family that level l runs, if
// wide one that takes 16-bit operands.
func pickGemm(l isa.Level, wide bool) *gemmKernel {
	for i := range gemmKernels {
		if k := &gemmKernels[i]; l.Has(k.level) && (!wide || k.format.elem() != 1) {
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

// choices names the kernels of k's family whose blocks cut n columns differently;
// none where there is one.
func (k *gemmKernel) choices(n int) []string {
	widest := k.fit(n)
	var names []string
	for i := range gemmKernels {
		if o := &gemmKernels[i]; o.level == k.level && o.format == k.format && o.cols <= widest.cols {
			names = append(names, o.name)
		}
	}
	if len(names) < 2 {
		return nil
	}
	return names
}

// speed is a rough figure of multiply-adds in a nanosecond.
func (k *gemmKernel) speed() float64 {
	switch {
	case k.level == isa.Portable:
		return 4
	case k.format == rowsFormat:
		return 20
	case k.format.elem() != 1:
		return 90
	case k.level == isa.AMX:
		return 1500
	}
	return 2 * float64(k.cols) * 3
}

// units is how many units so many products are worth.
func (k *gemmKernel) units(macs int) int {
	return min(wantUnits, 1+int(float64(macs)/k.speed()/unitNS))
}

// stepBytes is the size of one packed step.
func (k *gemmKernel) stepBytes() int {
	switch k.format {
	case bytesFormat, signedFormat:
		return k.cols * k.quad
	case wordsFormat, rowsFormat:
		return 2 * k.cols * k.quad
	}
	return 4 * k.cols
}

// pack lays out the weights of one block: runs runs of length elements, each
// filled with zeros to whole steps. Column c of element i of all runs is
// w[i·stride+c], less zeros[c] where zeros is not nil.
func (k *gemmKernel) pack(dst []byte, w []int8, stride, runs, length, cols int, zeros []int32) {
	steps := ceilDiv(length, k.quad)
	quad, groups := k.quad, 1
	if k.format == bytesFormat { // groups of four, whatever a step takes
		quad, groups = 4, k.quad/4
	}
	size := k.stepBytes() / groups
	none := make([]int8, cols)
	for run := range runs {
		for group := range steps * groups {
			var r [4][]int8
			for j := range r {
				r[j] = none
				if i := group*quad + j; j < quad && i < length {
					r[j] = w[(run*length+i)*stride:][:cols]
				}
			}
			out := dst[(run*steps*groups+group)*size:][:size]
			switch k.format {
			case bytesFormat, signedFormat:
				o := view[uint32](base(out), cols)
				r0, r1, r2, r3 := r[0][:cols], r[1][:cols], r[2][:cols], r[3][:cols]
				for c := range o {
					o[c] = uint32(uint8(r0[c])) | uint32(uint8(r1[c]))<<8 | uint32(uint8(r2[c]))<<16 | uint32(uint8(r3[c]))<<24
				}
			case wordsFormat:
				o := view[[2]int16](base(out), cols)
				for c := range o {
					o[c] = [2]int16{int16(r[0][c]), int16(r[1][c])}
				}
				for c, z := range zeros[:min(len(zeros), cols)] {
					o[c][0] -= int16(z)
					o[c][1] -= int16(z)
				}
				if group*quad+1 >= length { // nothing but 0 behind the run
					for c := range o {
						o[c][1] = 0
					}
				}
			case rowsFormat:
				for j := range min(k.quad, length-group*quad) {
					o := view[int16](base(out[2*j*k.cols:]), cols)
					for c, v := range r[j] {
						o[c] = int16(v)
					}
					for c, z := range zeros[:min(len(zeros), cols)] {
						o[c] -= int16(z)
					}
				}
			case pairsFormat:
				o := view[int64](base(out), k.cols/2)
				for c, v := range r[0] {
					v := int64(v)
					if zeros != nil {
						v -= int64(zeros[c])
					}
					o[c/2] += v << (c & 1 * 32)
				}
			}
		}
	}
}

// sumColumns gives the sum of each column of packed weights: the kernel's
// product with ones.
func (k *gemmKernel) sumColumns(w []byte, sums []int32) {
	steps := len(w) / k.stepBytes()
	ones := bytes.Repeat([]byte{byte(1 + k.format.taken())}, steps*k.quad)
	g := gemmArgs{x: base(ones), runs: base(noOffset[:]), numRuns: 1, w: base(w), init: base(noSums[:]), sums: base(sums)}
	g.quads = steps
	k.rowsOf(&g, base(sums), 1)
}

const portableCols = 8

// gemmPortable multiplies two columns at once: the 64-bit product of x with
// w0 + w1·2^32 holds both 32-bit products, the upper one less the borrow of the
// lower. It is taken apart before the lower sum can leave 32 bits.
func gemmPortable(a *gemmArgs) {
	const flush = 8192
	runs := view[int64](a.runs, a.numRuns)
	init := view[int32](a.init, portableCols)
	for r := range a.tiles * a.rows {
		x0 := unsafe.Add(a.x, uintptr(r)*a.xStep)
		out := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), portableCols)
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
	}
}
