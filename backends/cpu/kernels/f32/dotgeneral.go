package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// DotGeneralSpec is a batched matrix product of two activations: X [BatchA,M,K]
// ([BatchA,K,M] with TransposeA) times X2 [BatchB,K,N] ([BatchB,N,K] with
// TransposeB). The batch axes broadcast as in numpy. One FMA chain an output,
// in the order of k; + 0; activation.
type DotGeneralSpec struct {
	BatchA, BatchB         []int
	M, K, N                int
	TransposeA, TransposeB bool
	Act                    Act
}

// DotGeneral prepares a batched matrix product.
func DotGeneral(s DotGeneralSpec, l isa.Level) (Kernel, error) {
	batch, err := BinarySpec{Op: "dot_general", A: s.BatchA, B: s.BatchB}.Shape()
	if err != nil {
		return nil, err
	}
	if s.M < 1 || s.K < 1 || s.N < 1 {
		return nil, specError("dot_general", fmt.Sprintf("%dx%dx%d", s.M, s.K, s.N), "1 or more everywhere")
	}
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	d := &dotGeneral{DotGeneralSpec: s, set: gemmFor(l), ep: ep, axes: mergeAxes(s.BatchA, s.BatchB, batch)}
	d.flags = d.ep.inTile(d.set)
	d.blocks = d.set.columns(s.N)
	d.zeros = alignedFloats(d.set.cols())
	kstep := 4
	if s.TransposeA {
		kstep = s.M * 4
	}
	d.chunks = chunks([]int64{0}, s.K, kstep)
	n := ceilDiv(s.M, d.set.rows())
	for i := range n {
		d.starts = append(d.starts, cut(s.M, n, i))
	}
	d.starts = append(d.starts, s.M)
	// Full vectors are loaded: rows that end within one are packed too.
	d.packs = s.TransposeB || s.N%d.set.lanes != 0
	batches := product(batch)
	d.deep = s.TransposeA && len(d.chunks) > 1 && d.set.transpose8 != nil
	want := wantUnits / max(batches, 1)
	if d.deep {
		want = ceilDiv(want, 2)
	}
	d.cutUnits(want)
	d.cutBands()
	k := &op{
		name:  fmt.Sprintf("dot_general_f32_%d_%dx%dx%d_%s%s", batches, s.M, s.K, s.N, d.set.name, ep.suffix()),
		tiles: batches * d.rowParts * d.colParts, run: d.run,
	}
	if d.packs {
		k.scratch = align64(s.K * ceilDiv(s.N, d.set.lanes) * d.set.lanes * 4)
	}
	if d.deep {
		d.turned = k.scratch / 4
		k.scratch += align64(min(s.M, d.band*d.set.rows()) * d.pitch * 4)
	}
	return k, nil
}

type dotGeneral struct {
	DotGeneralSpec
	set    *gemmSet
	ep     epilogue
	flags  uint64 // of the epilogue
	axes   []axis // of the batch
	blocks []block
	chunks []chunk
	starts []int // first row of each tile, and M
	zeros  []float32
	// A unit is a part of the rows and a part of the columns.
	rowParts, colParts int
	band               int   // tiles of rows that share a block of B
	runs               []int // chunks [runs[i], runs[i+1]) are done for all bands before the next
	packs              bool  // B goes through the scratch memory
	// A long sum over the rows of A, as in the gradient of weights: a chunk of a
	// band of A's columns is turned into rows of pitch floats in the scratch memory.
	deep          bool
	turned, pitch int // where they begin, in floats
}

// runBytes is how much of B the bands of a unit share: it should stay in the
// second level cache.
const runBytes = 768 << 10

// cutUnits chooses parts of the rows and of the columns that make as many units
// as are wanted and read the least: each reads its rows of A and its columns of
// B. Where B is packed, which each unit does, there are parts of the rows alone.
func (d *dotGeneral) cutUnits(want int) {
	tiles := len(d.starts) - 1
	d.rowParts, d.colParts = max(1, min(tiles/2, want)), 1
	if d.packs {
		return
	}
	least := d.M/d.rowParts + d.N
	for rows := 1; rows < d.rowParts; rows++ {
		cols := ceilDiv(want, rows)
		if reads := d.M/rows + d.N/cols; cols <= len(d.blocks) && reads < least {
			least, d.rowParts, d.colParts = reads, rows, cols
		}
	}
}

// cutBands chooses how much of A and of B is gone through again and again.
func (d *dotGeneral) cutBands() {
	longest, bytes := 0, 0
	cols := ceilDiv(d.N, d.colParts) * 4
	for i := range d.chunks {
		ch := &d.chunks[i]
		longest = max(longest, ch.n)
		if bytes += ch.n * cols; i == 0 || bytes > runBytes {
			d.runs, bytes = append(d.runs, i), ch.n*cols
		}
	}
	d.runs = append(d.runs, len(d.chunks))
	d.band = max(1, bandBytes/(longest*d.set.rows()*4))
	d.pitch = (longest+7)&^7 + 16 // no power of two: rows would share sets of the cache
}

func (d *dotGeneral) run(lo, hi int, a *Args) {
	x, x2, y := floats(a.X), floats(a.X2), floats(a.Y)
	packed := -1
	for u := lo; u < hi; u++ {
		batch, part, col := u/d.colParts/d.rowParts, u/d.colParts%d.rowParts, u%d.colParts
		ia, ib := operands(d.axes, batch)
		b := x2[ib*d.K*d.N:][:d.K*d.N]
		if d.packs {
			if packed != batch {
				d.pack(floats(a.Scratch), b)
				packed = batch
			}
			b = floats(a.Scratch)
		}
		t0, t1 := cut(len(d.starts)-1, d.rowParts, part), cut(len(d.starts)-1, d.rowParts, part+1)
		b0, b1 := cut(len(d.blocks), d.colParts, col), cut(len(d.blocks), d.colParts, col+1)
		d.unit(t0, t1, d.blocks[b0:b1], x[ia*d.M*d.K:], b, y[batch*d.M*d.N:], floats(a.Scratch)[d.turned:])
	}
	runtime.KeepAlive(a)
}

func (d *dotGeneral) pack(dst, b []float32) {
	packActivation(d.set, d.blocks, dst, b, d.K, d.N, d.TransposeB)
}

// packActivation writes the columns of B [k,n], or of its transpose [n,k], as
// blocks [k][vecs*lanes]. What lies beyond the last column becomes 0: it only
// reaches columns that are not stored, but products of leftovers that are subnormal
// would take a hundred times as long.
func packActivation(g *gemmSet, blocks []block, dst, b []float32, k, n int, transposed bool) {
	for i := range blocks {
		bl := &blocks[i]
		w := bl.vecs * g.lanes
		out := dst[bl.col*k:]
		if bl.cols < w {
			for j := range k {
				clear(out[j*w+bl.cols : (j+1)*w])
			}
		}
		if !transposed {
			for j := range k {
				copy(out[j*w:][:bl.cols], b[j*n+bl.col:])
			}
			continue
		}
		c := 0
		if g.transpose8 != nil && k >= 8 {
			for ; c+8 <= bl.cols; c += 8 {
				g.transpose8(&out[c], &b[(bl.col+c)*k], w*4, k*4, k/8)
				for r := c; r < c+8; r++ {
					for j := k &^ 7; j < k; j++ {
						out[j*w+r] = b[(bl.col+r)*k+j]
					}
				}
			}
		}
		for ; c < bl.cols; c++ {
			for j, v := range b[(bl.col+c)*k:][:k] {
				out[j*w+c] = v
			}
		}
	}
}

// unit computes tiles [t0, t1) of rows of some blocks of columns: chunks of the
// sum whose part of B stays near, for band after band of A.
func (d *dotGeneral) unit(t0, t1 int, blocks []block, x, b, y, turned []float32) {
	for i := range d.runs[1:] {
		for t := t0; t < t1; t += d.band {
			end := min(t+d.band, t1)
			for k := d.runs[i]; k < d.runs[i+1]; k++ {
				if d.deep {
					d.turn(turned, x, d.starts[t], d.starts[end], &d.chunks[k])
					d.tiles(t, end, blocks, &d.chunks[k], turned, b, y)
					continue
				}
				d.tiles(t, end, blocks, &d.chunks[k], x, b, y)
			}
		}
	}
	if d.ep.then == nil {
		return
	}
	if d.colParts == 1 {
		d.ep.then(y[d.starts[t0]*d.N : d.starts[t1]*d.N])
		return
	}
	last := &blocks[len(blocks)-1]
	for r := d.starts[t0]; r < d.starts[t1]; r++ {
		d.ep.then(y[r*d.N+blocks[0].col : r*d.N+last.col+last.cols])
	}
}

// turn writes columns [lo, hi) of a chunk's rows of A as rows.
func (d *dotGeneral) turn(dst, x []float32, lo, hi int, ch *chunk) {
	x = x[ch.k*d.M:][:ch.n*d.M]
	k, wide := 0, (hi-lo)&^7
	if wide > 0 {
		for ; k+8 <= ch.n; k += 8 {
			d.set.transpose8(&dst[k], &x[k*d.M+lo], d.pitch*4, d.M*4, wide/8)
			for m := lo + wide; m < hi; m++ {
				for i := k; i < k+8; i++ {
					dst[(m-lo)*d.pitch+i] = x[i*d.M+m]
				}
			}
		}
	}
	for ; k < ch.n; k++ {
		for m := lo; m < hi; m++ {
			dst[(m-lo)*d.pitch+k] = x[k*d.M+m]
		}
	}
}

// tiles adds a chunk of the sum.
func (d *dotGeneral) tiles(t0, t1 int, blocks []block, ch *chunk, x, b, y []float32) {
	t := tile{stride: uintptr(d.K * 4), kstep: 4, ldy: uintptr(d.N * 4), lo: d.ep.lo, hi: d.ep.hi, bias: unsafe.Pointer(&d.zeros[0])}
	row, first := d.K, 0
	t.off, t.segs, t.seg = unsafe.Pointer(&ch.off[0]), 1, uintptr(ch.seg)
	t.flags = ch.flags | d.flags
	switch {
	case d.deep:
		row, first = d.pitch, d.starts[t0]
		t.stride, t.off = uintptr(row*4), unsafe.Pointer(&d.chunks[0].off[0])
	case d.TransposeA:
		t.stride, t.kstep, row = 4, uintptr(d.M*4), 1
	}
	for i := range blocks {
		bl := &blocks[i]
		w := unsafe.Pointer(&b[bl.col])
		t.ldw = uintptr(d.N * 4)
		if d.packs {
			w = unsafe.Pointer(&b[bl.col*d.K])
			t.ldw = uintptr(bl.vecs * d.set.lanes * 4)
		}
		t.w = unsafe.Add(w, uintptr(ch.k)*t.ldw)
		t.next = uintptr(t.w)
		t.mask, t.cols = bl.mask, bl.cols
		for j := t0; j < t1; j++ {
			r, n := d.starts[j], d.starts[j+1]-d.starts[j]
			h := r + (n+1)/2
			t.rows = n
			t.a = uintptr(unsafe.Pointer(&x[(r-first)*row]))
			t.b = t.a + uintptr((h-r)*row*4)
			t.y = uintptr(unsafe.Pointer(&y[r*d.N+bl.col]))
			t.yb = t.y + uintptr((h-r)*d.N*4)
			if d.deep && !d.packs {
				d.fetch(&t, bl, ch.n, j-t0)
			}
			d.set.run[bl.vecs-1][n-1](hide(&t))
		}
	}
}

// fetch lets tile i of a block bring lines of the block's neighbour, whose rows
// lie too far apart for the processor to do so: half of the rows, one line of each.
func (d *dotGeneral) fetch(t *tile, bl *block, k, i int) {
	const line = 64
	t.next, t.nextStep = uintptr(t.w), 0
	if at := i / 2 * line; at < bl.vecs*d.set.lanes*4 {
		t.next += uintptr(bl.vecs*d.set.lanes*4+at) + uintptr(i%2*(k/2))*t.ldw
		t.nextStep = t.ldw
	}
}
