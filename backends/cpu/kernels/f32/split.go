package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// SplitSpec is a matrix product by parts: each value is the sum of three bfloat16
// (8 significant bits each, so 24 in all, as float32 has), and six of the nine
// products of parts, those of 2⁻²⁴ of the whole and more, are summed in float32 on
// tile registers: the way of oneMKL's mode float_to_bf16x3 (Henry, Tang and
// Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype For
// Higher-Precision Computations, 2019). The error is that of float32's own sums,
// but the bits are not those of one FMA chain. What is below 2⁻¹²⁶, of values,
// parts and products, counts as 0. Rows of results that are not finite are computed
// again as a chain.
//
// With WithBias, which needs Packed, a bias is added. With Packed X2 is what
// PackSplit wrote. With Sums above 1 the sum is cut into so many parts, each a result
// of its own, without activation: Y is [Sums,M,N].
type SplitSpec struct {
	DotGeneralSpec
	Packed, WithBias bool
	Sums             int
}

// splitFuncs are the micro-kernels of products by parts.
type splitFuncs struct {
	lines  func(*splitLines)
	turn   func(p *byte, n int)
	finite func(x *float32, n int) bool
	// tile[r-1] computes r registers of rows.
	tile [tileSplitRows]func(*splitTile)
}

// splitLines is the argument block of what splits values. For each step it goes
// through lines, and in a line through tiles: 16 values at src and 16 more second
// bytes on, of which the masks take some and make the others 0; value i of both
// becomes pair i. A line of pairs is 64 bytes in each of the parts, which lie
// splitPart bytes apart at dst. The next tile is 64 bytes on in src.
type splitLines struct {
	dst, src uintptr
	count    uintptr
	step     uintptr // bytes between lines of src
	second   uintptr
	steps    uintptr
	srcStep  uintptr // bytes between steps of src; those of dst are splitStep apart
	mask1    uint64
	mask2    uint64
	tiles    uintptr
	tileStep uintptr // bytes between tiles of dst
}

// splitTile is the argument block of a product of parts: rows of up to two tile
// registers times groups registers of columns, one after the other. Split rows and
// columns lie in steps of 32 k.
type splitTile struct {
	a, aTile uintptr // rows, bytes to those of the second register
	b, bTile uintptr
	y, ldy   uintptr
	steps    uintptr
	groups   uintptr
	config   *isa.TileConfig
	init     uint64
	bias     uintptr
}

// What the sums of a splitTile begin with.
const (
	splitZero = iota
	splitSums // those in y
	splitBias
)

const (
	// splitK is the k of a step, splitSide the rows or columns of a register,
	// splitPair the rows of two.
	splitK, splitSide, splitPair = 32, 16, 32
	// tileSplitRows is how many registers of rows a kernel takes at most.
	tileSplitRows = splitPair / splitSide
	// splitPart are the bytes of a part of a step, splitStep those of the three.
	splitPart, splitStep = 1024, 3072
	// splitCall is how many steps a call makes at most: the rows stay in the first
	// level cache.
	splitCall = 4
	// splitWide is how many registers of columns a call makes, and a unit has, at
	// most; splitLong how many steps are split in a call.
	splitWide, splitLong = 96, 256
	// splitBlock is how many bytes of split rows and columns are gone through
	// again and again: they stay in the second level cache.
	splitBlock, splitBand = 600 << 10, 8
	// splitReuse is how often each value must be used at least, so that splitting
	// it is worth while.
	splitReuse = 96
	// splitSumsMost bounds the results that are kept several times.
	splitSumsMost = 256 << 10
)

// SplitPays says whether a level has products by parts, and whether they are
// faster than chains for a product of such extents.
func SplitPays(m, k, n int, l isa.Level) bool {
	return vectorSplit(l) != nil && m >= splitReuse && n >= splitReuse && k >= 2*splitK
}

// SplitSums gives the parts into which a product's sum should be cut: a long one over
// operands that lie across, so that each thread reads a part of both.
func SplitSums(s DotGeneralSpec) int {
	if !s.TransposeA || s.TransposeB || product(s.BatchA)*product(s.BatchB) != 1 || s.M*s.N > splitSumsMost {
		return 1
	}
	return max(1, min(wantUnits/2, s.K/(32*splitK)))
}

// splitDot is a prepared product by parts.
type splitDot struct {
	SplitSpec
	f                  *splitFuncs
	then               func(y []float32)
	axes               []axis
	steps              int // of the sum
	left, right        splitOperand
	rowPairs, colTiles int // pairs of registers of rows, registers of columns
	rowParts, colParts int
	block              int // steps whose columns are split before they are used
	band               int // pairs of rows that are split before they are used
	scratchA           int // where rows lie, in bytes
	bias, raw          int // where they lie in packed columns, in floats
	configs            [2][2]*isa.TileConfig
}

// splitOperand is one side of a product in memory: [k, side] with across, [side, k]
// without.
type splitOperand struct {
	f       *splitFuncs
	side, k int
	across  bool
	pairs   bool // as columns: k goes down, not across
}

func newSplitDot(s SplitSpec, l isa.Level) (*splitDot, error) {
	f := vectorSplit(l)
	switch {
	case f == nil:
		return nil, specError("dot_general by parts", "level "+l.String(), "tile registers that multiply bfloat16")
	case s.M < 1 || s.K < 1 || s.N < 1:
		return nil, specError("dot_general", fmt.Sprintf("%dx%dx%d", s.M, s.K, s.N), "1 or more everywhere")
	case s.Packed && product(s.BatchA)*product(s.BatchB) != 1 || s.WithBias && !s.Packed:
		return nil, specError("dot_general by parts", "packed columns", "no batch, and a bias with packed columns only")
	}
	if s.Sums = max(1, s.Sums); s.Sums > ceilDiv(s.K, splitK) || s.Sums > 1 && (s.Packed || product(s.BatchA)*product(s.BatchB) != 1 || s.Act != Act{}) {
		return nil, specError("dot_general by parts", fmt.Sprintf("%d parts of the sum", s.Sums), "1, or up to a step each without batch, packed columns and activation")
	}
	batch, err := BinarySpec{Op: "dot_general", A: s.BatchA, B: s.BatchB}.Shape()
	if err != nil {
		return nil, err
	}
	then, err := s.Act.after(l)
	if err != nil {
		return nil, err
	}
	d := &splitDot{
		SplitSpec: s, f: f, then: then, axes: mergeAxes(s.BatchA, s.BatchB, batch), steps: ceilDiv(s.K, splitK),
		left:     splitOperand{f: f, side: s.M, k: s.K, across: s.TransposeA},
		right:    splitOperand{f: f, side: s.N, k: s.K, across: !s.TransposeB, pairs: true},
		rowPairs: ceilDiv(s.M, splitPair), colTiles: ceilDiv(s.N, splitSide),
	}
	d.bias = d.colTiles * d.steps * splitStep / 4
	d.raw = d.bias + d.colTiles*splitSide
	for r, rows := range []int{splitPair, (s.M-1)%splitPair + 1} {
		for c, cols := range []int{splitSide, (s.N-1)%splitSide + 1} {
			d.configs[r][c] = splitConfig(rows, cols)
		}
	}
	d.cutUnits(wantUnits / max(1, product(batch)))
	return d, nil
}

// splitConfig gives the registers of splitTile: sums in 0 and 1, rows in 2 and 3,
// columns in 4.
func splitConfig(rows, cols int) *isa.TileConfig {
	c := &isa.TileConfig{Palette: 1}
	set := func(tile, rows, bytes int) { c.Rows[tile], c.ColBytes[tile] = uint8(rows), uint16(bytes) }
	for i := range ceilDiv(rows, splitSide) {
		r := min(splitSide, rows-i*splitSide)
		set(i, r, 4*cols)
		set(2+i, r, 64)
	}
	set(4, splitSide, 4*cols)
	return c
}

// cutUnits chooses parts that make as many units as are wanted and split the least
// values: each splits its rows, and its columns where they are not packed.
func (d *splitDot) cutUnits(want int) {
	if d.rowPairs < 4*want {
		want = ceilDiv(want, 2)
	}
	d.rowParts, d.colParts = max(1, min(d.rowPairs, want)), 1
	switch {
	case d.Sums > 1:
		d.rowParts = 1
	case !d.Packed:
		cost := func(rows, cols int) int { return d.M*cols + d.N*rows }
		for rows := 1; rows < d.rowParts; rows++ {
			if cols := ceilDiv(want, rows); cols <= d.colTiles && cost(rows, cols) < cost(d.rowParts, d.colParts) {
				d.rowParts, d.colParts = rows, cols
			}
		}
	}
	if !d.Packed && d.Sums == 1 {
		d.colParts = max(d.colParts, ceilDiv(d.colTiles, splitWide))
	}
	// Rows that lie across are read whole.
	d.band = 1
	if d.TransposeA {
		d.band = min(ceilDiv(d.rowPairs, d.rowParts), splitBand)
	}
	tiles := 2 * d.band
	if !d.Packed {
		d.scratchA = ceilDiv(d.colTiles, d.colParts)
		tiles += d.scratchA
	}
	steps := ceilDiv(d.steps, d.Sums)
	d.block = min(steps, max(splitBlock/(tiles*splitStep), splitCall))
	if d.Packed {
		d.block = min(steps, 8*splitCall)
	}
	d.block = ceilDiv(steps, ceilDiv(steps, d.block))
	d.scratchA *= d.block * splitStep
}

// SplitDot prepares a product by parts.
func SplitDot(s SplitSpec, l isa.Level) (Kernel, error) {
	d, err := newSplitDot(s, l)
	if err != nil {
		return nil, err
	}
	batches := 1
	for _, a := range d.axes {
		batches *= a.n
	}
	name := fmt.Sprintf("dot_general_f32_%d_%dx%dx%d_bf16x3_amx", batches, s.M, s.K, s.N)
	if s.Act.Kind != "" && s.Act.Kind != "none" {
		name += "+" + s.Act.Kind
	}
	return &op{name: name, tiles: batches * d.Sums * d.rowParts * d.colParts, scratch: d.scratchA + 2*d.band*d.block*splitStep, run: d.run}, nil
}

// PackedFloats is the size of what PackSplit writes.
func (s SplitSpec) PackedFloats() int {
	cols := ceilDiv(s.N, splitSide)
	return cols*ceilDiv(s.K, splitK)*splitStep/4 + cols*splitSide + s.K*s.N
}

// PackSplit prepares the splitting of columns: X is the second matrix, X2 the bias
// where there is one, Y PackedFloats values.
func PackSplit(s SplitSpec, l isa.Level) (Kernel, error) {
	d, err := newSplitDot(s, l)
	if err != nil {
		return nil, err
	}
	tiles := d.colTiles
	return &op{name: fmt.Sprintf("split_f32_%dx%d", s.K, s.N), tiles: tiles, run: func(lo, hi int, a *Args) {
		w, y := floats(a.X), floats(a.Y)
		for i := lo; i < hi; i++ {
			for k0 := 0; k0 < d.steps; k0 += splitLong {
				d.right.split(uintptr(unsafe.Pointer(&y[(i*d.steps+k0)*splitStep/4])), w, i, 1, k0, min(splitLong, d.steps-k0))
			}
			bias := y[d.bias+i*splitSide:][:splitSide]
			clear(bias)
			if s.WithBias {
				copy(bias, floats(a.X2)[i*splitSide:min(s.N, (i+1)*splitSide)])
			}
			from, to := cut(s.K*s.N, tiles, i), cut(s.K*s.N, tiles, i+1)
			copy(y[d.raw+from:], w[from:to])
		}
		runtime.KeepAlive(a)
	}}, nil
}

func (d *splitDot) run(lo, hi int, a *Args) {
	x, x2, y := floats(a.X), floats(a.X2), floats(a.Y)
	for u := lo; u < hi; u++ {
		result, row, col := u/d.colParts/d.rowParts, u/d.colParts%d.rowParts, u%d.colParts
		batch, sum := result/d.Sums, result%d.Sums
		ia, ib := operands(d.axes, batch)
		b := x2
		if !d.Packed {
			b = x2[ib*d.K*d.N:][:d.K*d.N]
		}
		v := splitUnit{
			splitDot: d, x: x[ia*d.M*d.K:][:d.M*d.K], b: b, y: y[result*d.M*d.N:][:d.M*d.N], scratch: base(a.Scratch),
			row0: cut(d.rowPairs, d.rowParts, row), row1: cut(d.rowPairs, d.rowParts, row+1),
			col0: cut(d.colTiles, d.colParts, col), col1: cut(d.colTiles, d.colParts, col+1),
			step0: cut(d.steps, d.Sums, sum), step1: cut(d.steps, d.Sums, sum+1),
		}
		v.run()
	}
	runtime.KeepAlive(a)
}

// splitUnit is a part of a product: pairs of registers [row0, row1) of rows and
// registers [col0, col1) of columns, steps [step0, step1) of the sum.
type splitUnit struct {
	*splitDot
	x, b, y                []float32
	scratch                uintptr
	row0, row1, col0, col1 int
	step0, step1           int
}

func (u *splitUnit) run() {
	for k0 := u.step0; k0 < u.step1; k0 += u.block {
		n := min(u.block, u.step1-k0)
		b, bTile := u.scratch, uintptr(n*splitStep)
		if u.Packed {
			bTile = uintptr(u.steps * splitStep)
			b = uintptr(unsafe.Pointer(&u.b[0])) + uintptr(u.col0)*bTile + uintptr(k0*splitStep)
		} else {
			u.right.split(b, u.b, u.col0, u.col1-u.col0, k0, n)
		}
		aTile := uintptr(n * splitStep)
		for r := u.row0; r < u.row1; r++ {
			if (r-u.row0)%u.band == 0 {
				last := min(2*min(u.row1, r+u.band), ceilDiv(u.M, splitSide))
				u.left.split(u.scratch+uintptr(u.scratchA), u.x, 2*r, last-2*r, k0, n)
			}
			a := u.scratch + uintptr(u.scratchA) + uintptr(2*((r-u.row0)%u.band))*aTile
			rows := min(splitPair, u.M-r*splitPair)
			calls := ceilDiv(n, splitCall)
			for c := range calls {
				s0, s1 := cut(n, calls, c), cut(n, calls, c+1)
				t := splitTile{
					a: a + uintptr(s0*splitStep), aTile: aTile, b: b + uintptr(s0*splitStep), bTile: bTile,
					y: uintptr(unsafe.Pointer(&u.y[r*splitPair*u.N+u.col0*splitSide])), ldy: uintptr(4 * u.N), steps: uintptr(s1 - s0), init: splitSums,
				}
				if k0+s0 == u.step0 {
					t.init = splitZero
					if u.WithBias {
						t.init, t.bias = splitBias, uintptr(unsafe.Pointer(&u.b[u.bias+u.col0*splitSide]))
					}
				}
				u.tiles(&t, rows)
			}
			if k0+n == u.step1 {
				u.finish(r*splitPair, r*splitPair+rows)
			}
		}
	}
}

// tiles goes through the columns of a unit.
func (u *splitUnit) tiles(t *splitTile, rows int) {
	whole, low := min(u.col1, u.N/splitSide)-u.col0, 0
	if rows < splitPair {
		low = 1
	}
	run := u.f.tile[(rows-1)/splitSide]
	for c := 0; c < whole; c += splitWide {
		t.groups, t.config = uintptr(min(splitWide, whole-c)), u.configs[low][0]
		run(hide(t))
	}
	if whole < u.col1-u.col0 {
		t.groups, t.config = 1, u.configs[low][1]
		run(hide(t))
	}
}

// finish ends rows [r0, r1) of the unit's columns.
func (u *splitUnit) finish(r0, r1 int) {
	c0, c1 := u.col0*splitSide, min(u.col1*splitSide, u.N)
	if c1-c0 == u.N && u.then == nil && u.f.finite(&u.y[r0*u.N], (r1-r0)*u.N) {
		return
	}
	for r := r0; r < r1; r++ {
		y := u.y[r*u.N+c0 : r*u.N+c1]
		if !u.f.finite(&y[0], len(y)) {
			u.again(y, r, c0)
		}
		if u.then != nil {
			u.then(y)
		}
	}
}

// again computes columns from c0 on of a row as chains: infinities have no parts.
func (u *splitUnit) again(y []float32, row, c0 int) {
	b := u.b
	if u.Packed {
		b = b[u.raw:]
	}
	clear(y)
	for k := u.step0 * splitK; k < min(u.K, u.step1*splitK); k++ {
		x := u.x[u.left.at(row, k)]
		if u.right.across {
			fmath.Axpy(y, x, b[k*u.N+c0:])
			continue
		}
		for c := range y {
			y[c] = fmath.FMA32(x, b[(c0+c)*u.K+k], y[c])
		}
	}
	if u.WithBias {
		for c, v := range u.b[u.bias+c0:][:len(y)] {
			y[c] += v
		}
	}
}

// at is where a value lies.
func (o *splitOperand) at(side, k int) int {
	if o.across {
		return k*o.side + side
	}
	return side*o.k + k
}

// split writes steps [k0, k0+n) of registers of rows or columns, one after the
// other.
func (o *splitOperand) split(dst uintptr, x []float32, tile, tiles, k0, n int) {
	last := tile + tiles
	if !o.across {
		for t := tile; t < last; t++ {
			o.lines(dst+uintptr((t-tile)*n*splitStep), x, t, k0, n)
		}
	} else {
		whole := min(last, o.side/splitSide) - tile
		if whole > 0 {
			o.pairLines(dst, x, tile, whole, k0, n, 1<<splitSide-1)
		}
		if whole < tiles {
			o.pairLines(dst+uintptr(whole*n*splitStep), x, tile+whole, 1, k0, n, 1<<(o.side%splitSide)-1)
		}
	}
	if o.across != o.pairs {
		o.f.turn((*byte)(unsafe.Pointer(floatAt(dst))), 3*n*tiles)
	}
	runtime.KeepAlive(x)
}

// lastStep is how many of n steps from k0 on are whole, and how many values a last
// one has.
func (o *splitOperand) lastStep(k0, n int) (whole, rest int) {
	whole = min(n, o.k/splitK-k0)
	return whole, min(o.k-(k0+whole)*splitK, (n-whole)*splitK)
}

// lines splits values that lie along their sums: a line each.
func (o *splitOperand) lines(dst uintptr, x []float32, tile, k0, n int) {
	first := tile * splitSide
	whole, rest := o.lastStep(k0, n)
	l := splitLines{step: uintptr(4 * o.k), second: 4 * splitSide, srcStep: 4 * splitK, count: uintptr(min(splitSide, o.side-first)), tiles: 1}
	if whole > 0 {
		l.dst, l.src, l.steps = dst, uintptr(unsafe.Pointer(&x[first*o.k+k0*splitK])), uintptr(whole)
		l.mask1, l.mask2 = 1<<splitSide-1, 1<<splitSide-1
		o.f.lines(hide(&l))
	}
	if rest > 0 {
		l.dst, l.src, l.steps = dst+uintptr(whole*splitStep), uintptr(unsafe.Pointer(&x[first*o.k+(k0+whole)*splitK])), 1
		l.mask1, l.mask2 = 1<<min(rest, splitSide)-1, 1<<max(0, rest-splitSide)-1
		o.f.lines(hide(&l))
	}
}

// pairLines splits values that lie across their sums: a line for each two.
func (o *splitOperand) pairLines(dst uintptr, x []float32, tile, tiles, k0, n int, mask uint64) {
	whole, rest := o.lastStep(k0, n)
	row := uintptr(4 * o.side)
	l := splitLines{step: row, second: splitSide * row, srcStep: splitK * row, tiles: uintptr(tiles), tileStep: uintptr(n * splitStep)}
	from := func(k int) uintptr { return uintptr(unsafe.Pointer(&x[k*o.side+tile*splitSide])) }
	if whole > 0 {
		l.dst, l.src, l.count, l.steps, l.mask1, l.mask2 = dst, from(k0*splitK), splitSide, uintptr(whole), mask, mask
		o.f.lines(hide(&l))
	}
	if rest == 0 {
		return
	}
	l.dst, l.src, l.steps = dst+uintptr(whole*splitStep), from((k0+whole)*splitK), 1
	two, one := max(0, rest-splitSide), min(rest, splitSide)
	for _, c := range []struct {
		lines        int
		mask1, mask2 uint64
	}{{two, mask, mask}, {one - two, mask, 0}, {splitSide - one, 0, 0}} {
		if c.lines > 0 {
			l.count, l.mask1, l.mask2 = uintptr(c.lines), c.mask1, c.mask2
			o.f.lines(hide(&l))
			l.dst += uintptr(64 * c.lines)
			l.src += uintptr(c.lines) * row
		}
	}
}
