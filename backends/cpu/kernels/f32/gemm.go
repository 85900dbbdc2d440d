package f32

import (
	"unsafe"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// tile is the argument block of a matrix micro-kernel, which computes
//
//	y[r][c] = act(sum over segments and k of a[r][seg][k] * w[k][c] + bias[c] + res[r][c])
//
// for rows r and up to vecs*lanes columns c, with one FMA chain per element in
// the order of k. The first ceil(rows/2) rows of A start at a and lie stride
// bytes apart, the others at b: one output row of an image, or two. Segment i
// begins off[i] bytes after the row's start and holds seg values kstep bytes
// apart. Addresses that may lie outside the tensor they are counted from (an
// empty second half, what is prefetched) are integers, which the garbage
// collector does not follow; Run keeps the tensors alive. gen/ knows this
// layout; TestTileLayout compares.
type tile struct {
	a, b   uintptr
	stride uintptr
	kstep  uintptr
	w      unsafe.Pointer
	ldw    uintptr // bytes from one k to the next in w
	off    unsafe.Pointer
	segs   uintptr
	seg    uintptr
	y, yb  uintptr
	ldy    uintptr // bytes between rows of y and res
	res    uintptr // 0: no residual
	resb   uintptr
	bias   unsafe.Pointer
	lo, hi float32
	mask   uint64 // columns of the last vector, one bit each
	flags  uint64
	next   uintptr // memory to prefetch, a line every gemmSet.fetch values of k
	rows   int     // read by the portable kernel only, as is cols
	cols   int
	// Bytes from one prefetch to the next.
	nextStep uintptr
}

// Flags of a tile: a long K is cut into several calls that keep the raw sums in y.
const (
	tileAccumulate = 1 << iota // start from y, not from 0
	tileRaw                    // store the sums, no bias, residual or activation
	tilePlain                  // no activation: lo and hi are infinite
	tileHardSwish              // fmath.HardSwish instead of lo and hi
)

// maxK bounds the k of one micro-kernel call, and so its duration (assembly
// cannot be preempted) and the weights that all strips of a band share: few
// enough that they stay near while the next are fetched.
const maxK = 512

// gemmSet is the micro-kernels of one instruction set: run[v-1][r-1] computes r
// rows of v vectors.
type gemmSet struct {
	name  string
	lanes int
	run   [][]func(*tile)
	// wide is the vectors of a block where nothing chooses another width.
	wide int
	// fetch is how many k there are to a prefetch; 0: nothing is fetched.
	fetch int
	// hardSwish: the kernels know tileHardSwish.
	hardSwish bool
	// transpose8 turns 8 rows of 8*blocks values into columns; nil: a loop does.
	transpose8 func(dst, src *float32, dstStep, srcStep, blocks int)
}

func (g *gemmSet) rows() int { return len(g.run[g.wide-1]) }
func (g *gemmSet) cols() int { return g.wide * g.lanes }

// portableGemm is the definition in Go.
var portableGemm = gemmSet{name: "portable", lanes: 16, wide: 1, hardSwish: true, run: [][]func(*tile){
	{gemmPortable, gemmPortable, gemmPortable, gemmPortable, gemmPortable, gemmPortable},
}}

func gemmPortable(t *tile) {
	var acc [16]float32
	half := (t.rows + 1) / 2
	for r := range t.rows {
		a, y, res, i := t.a, t.y, t.res, r
		if r >= half {
			a, y, res, i = t.b, t.yb, t.resb, r-half
		}
		a += uintptr(i) * t.stride
		out := unsafe.Slice(floatAt(y+uintptr(i)*t.ldy), t.cols)
		sum := acc[:t.cols]
		if t.flags&tileAccumulate != 0 {
			copy(sum, out)
		} else {
			clear(sum)
		}
		k := uintptr(0)
		for s := range t.segs {
			row := a + uintptr(*(*int64)(unsafe.Add(t.off, 8*s)))
			for i := range t.seg {
				x := *floatAt(row + i*t.kstep)
				fmath.Axpy(sum, x, unsafe.Slice((*float32)(unsafe.Add(t.w, k*t.ldw)), t.cols))
				k++
			}
		}
		if t.flags&tileRaw != 0 {
			copy(out, sum)
			continue
		}
		bias := unsafe.Slice((*float32)(t.bias), t.cols)
		for c, v := range sum {
			v += bias[c]
			if t.res != 0 {
				v += *floatAt(res + uintptr(i)*t.ldy + 4*uintptr(c))
			}
			out[c] = fmath.Clamp(v, t.lo, t.hi)
			if t.flags&tileHardSwish != 0 {
				out[c] = fmath.HardSwish(v)
			}
		}
	}
}

// block is up to cols() output columns with their packed weights [K][vecs*lanes].
type block struct {
	w, bias   []float32
	col, cols int // first column of the output, count
	vecs      int
	mask      uint64
	group     int
}

// stepCost estimates the cycles of one of k steps in a tile: what the core
// issues, two and a half a cycle where another thread shares it, never less than
// the four of a dependent FMA, nor than what it takes to bring weights that do
// not stay in the first level cache.
func (g *gemmSet) stepCost(rows, vecs, k int) float64 {
	cost := max(4, float64(rows*vecs+rows+vecs+2)/2.5)
	if vecs*g.lanes*4*min(k, maxK) > nearBytes {
		cost = max(cost, float64(vecs*g.lanes*4)/16)
	}
	return cost
}

// nearBytes is how many weights of a block stay in the first level cache.
const nearBytes = 32 << 10

// columns splits n columns into blocks of the usual width without weights.
func (g *gemmSet) columns(n int) []block { return g.columnsOf(n, g.wide) }

// columnsOf splits n columns into blocks of at most vecs vectors.
func (g *gemmSet) columnsOf(n, vecs int) []block {
	var bs []block
	for c, cols := 0, vecs*g.lanes; c < n; c += cols {
		m := min(n-c, cols)
		v := ceilDiv(m, g.lanes)
		bs = append(bs, block{col: c, cols: m, vecs: v, mask: 1<<(m-(v-1)*g.lanes) - 1})
	}
	return bs
}

// packBlocks fills blocks with their weights [k][vecs*lanes], all in one piece of
// memory, so that what follows a block is the next. row(b, k) begins with the
// weights of the block's columns; nil stands for zeros, as do missing columns. A
// bias of +0 stands for none and -0 becomes +0, so that a sum of -0 never reaches
// the output.
func packBlocks(bs []block, lanes, k int, row func(b *block, k int) []float32, bias []float32) {
	total := 0
	for i := range bs {
		total += k * bs[i].vecs * lanes
	}
	w := alignedFloats(total)
	for i := range bs {
		b := &bs[i]
		n := b.vecs * lanes
		b.w, w = w[:k*n:k*n], w[k*n:]
		b.bias = alignedFloats(n)
		for j := range k {
			copy(b.w[j*n:][:b.cols], row(b, j))
		}
		for c := range b.cols {
			if bias != nil {
				b.bias[c] = bias[b.col+c] + 0
			}
		}
	}
}

// chunk is a part of K that one micro-kernel call does.
type chunk struct {
	off   []int64
	seg   int
	k     int // index of its first k
	n     int // count of k
	flags uint64
}

// chunks cuts segments of equal length into calls of at most maxK values, about
// equal where a segment is cut.
func chunks(off []int64, seg, kstep int) []chunk {
	var cs []chunk
	if parts := ceilDiv(seg, maxK); parts > 1 {
		for i, o := range off {
			for p := range parts {
				s := cut(seg, parts, p)
				cs = append(cs, chunk{off: []int64{o + int64(s*kstep)}, seg: cut(seg, parts, p+1) - s, k: i*seg + s})
			}
		}
	} else {
		per := max(1, maxK/max(seg, 1))
		for i := 0; i < len(off); i += per {
			cs = append(cs, chunk{off: off[i:min(i+per, len(off))], seg: seg, k: i * seg})
		}
	}
	for i := range cs {
		cs[i].n = cs[i].seg * len(cs[i].off)
		if i > 0 {
			cs[i].flags |= tileAccumulate
		}
		if i < len(cs)-1 {
			cs[i].flags |= tileRaw
		}
	}
	return cs
}

// strip is one tile's rows: byte offsets into A and Y of its two halves.
type strip struct {
	a, b  int
	y, yb int
	rows  int
	first int // index of the first output row (of an image), for bands
}
