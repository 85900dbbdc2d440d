package int8

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// AttendSpec is an attention whose products are int8, for each of N samples and
// H heads: scores = float32(Σ(q−QZero)(k−KZero))·Score, plus mask, each rounded;
// weights = Weights of fmath.Softmax of a row of scores times Inv; result = Out of
// Σ(weight−Weights.Zero)(v−VZero) with Mult. q and the result are [N,T,H,D],
// k and v [N,S,H,D], v and the result with V instead of D. Masks is how many masks
// of S float32 there are: none, one, or one a sample.
type AttendSpec struct {
	N, H, T, S, D, V          int
	QSigned, KSigned, VSigned bool
	QZero, KZero, VZero       int32
	Score                     float32
	Masks                     int
	Inv                       float32
	Weights                   Out // u8, Zero not below QMin
	Mult                      float32
	Out                       Out // 8 bits
}

// AttendArgs is Args with the operands of an attention: X is q, X2 is k.
type AttendArgs struct {
	Args
	V, Mask []byte
}

// AttendKernel is Kernel for attention, which has more operands.
type AttendKernel struct {
	AttendSpec
	name        string
	parts, each int // units of a head, and their rows
	cost        float64
	scratch     int
	run         func(k *AttendKernel, head, t0, t1 int, a *AttendArgs, packed bool)

	rows        attentionKernel
	kern        *gemmKernel
	fin         finisher
	block       int // rows whose scores are kept
	cols        int // of scores, whole vectors
	kPad        int // of weights
	onesX       []byte
	at          attendOffsets
	plain       bool // plainBytes
	config      *isa.TileConfig
	shift       []byte // weights whose product with a row is added to its sums
	keyBlocks   []attendBlock
	valueBlocks []attendBlock
}

// attendOffsets are the parts of the scratch memory.
type attendOffsets struct{ q, keys, initK, initV, rowAdd, lanes, total, tmp, sums, other, values, weights, out int }

// attendBlock is a block of columns: keys, or a value's elements.
type attendBlock struct {
	k         *gemmKernel
	col, cols int
	w         int // where its weights begin
}

// attentionArgs is the argument block of the kernels that turn rows of sums into
// weights: rows of n, times mult, plus bias; 8 bits of the softmax go to y, their
// sums to total, and up to three int32s behind them. sums, and of each whole four rows
// 16 bytes in tmp and 64 in lanes, are written over. gen/ knows this layout;
// TestAttendLayouts compares.
type attentionArgs struct {
	sums    unsafe.Pointer
	sumStep uintptr
	bias    unsafe.Pointer // float32 a column, or nil
	rows, n int
	y       unsafe.Pointer
	yStep   uintptr
	total   unsafe.Pointer // int32 a row
	tmp     unsafe.Pointer
	mult    float32
	inv     float32
	hi      float32
	zero    int32
	order   unsafe.Pointer // of 4-byte pieces of packed bytes
	lanes   unsafe.Pointer
}

// columnArgs is the argument block of the kernels that pack n groups of four rows
// of x, 16 bytes depth times, as weights. gen/ knows this layout; TestAttendLayouts
// compares.
type columnArgs struct {
	x        unsafe.Pointer
	xStep    uintptr
	n, depth int
	w        unsafe.Pointer
	wStep    uintptr // bytes of a step of weights
	flip     uint32
}

// sumRowArgs is the argument block of the kernels that set y to the sums of rows of
// x, 16 bytes depth times each, times a factor. gen/ knows this layout;
// TestAttendLayouts compares.
type sumRowArgs struct {
	x     unsafe.Pointer
	xStep uintptr
	depth int
	rows  int
	y     unsafe.Pointer // an int32 a row
	times int32
}

type attentionKernel struct {
	kernel
	rows         func(*attentionArgs)
	bytes        [2]func(*attentionArgs) // where attendBytes says so: without a bias, with one
	keys, values func(*columnArgs)
	sums         func(*sumRowArgs)
	tiles        [2]func(*attendTileArgs) // without a bias and with one; nil where there are none
	starts       func(*startArgs)
}

// attendLine is how many columns rows of scores and weights are whole multiples of.
const attendLine = 64

// pieces is the order of the 4-byte pieces of four packed vectors.
var pieces = func() (o [16]uint32) {
	for i := range o {
		o[i] = uint32(i%4*4 + i/4)
	}
	return o
}()

// plainBytes says that weights are bytes from 0 to 255 that saturation alone keeps
// within their bounds, and that the greatest sum of a row has its greatest score.
func (s *AttendSpec) plainBytes() bool {
	lo, hi := s.Weights.bounds()
	return s.Weights.Zero == 0 && lo <= 0 && hi == 255 && s.Inv >= 0 && s.Inv <= math.MaxInt16 && s.Score > 0 && s.Score <= math.MaxFloat32
}

var attentionKernels = append(vectorAttention(), attentionKernel{kernel: kernel{"attention_portable", isa.Portable}})

// attendArgs is the argument memory of one Run.
type attendArgs struct {
	tiles  attendTileArgs
	starts startArgs
	gemm   gemmArgs
	finish finishArgs
	rows   attentionArgs
	pack   columnArgs
	sums   sumRowArgs
}

var attendPool = sync.Pool{New: func() any { return new(attendArgs) }}

// Attend prepares an attention.
func Attend(s AttendSpec, l isa.Level) (*AttendKernel, error) {
	const name = "q_attention"
	if err := positive(name, s.N, s.H, s.T, s.S, s.D, s.V); err != nil {
		return nil, err
	}
	if s.Masks != 0 && s.Masks != 1 && s.Masks != s.N {
		return nil, specError(name, fmt.Sprintf("%d masks of %d samples", s.Masks, s.N), "none, one, or one a sample")
	}
	for _, o := range []Out{s.Weights, s.Out} {
		if err := o.check(name); err != nil {
			return nil, err
		}
	}
	s.Weights, s.Out = s.Weights.full(), s.Out.full()
	if s.Weights.DType != U8 || s.Weights.QMin > s.Weights.Zero || s.Out.DType > S8 {
		return nil, specError(name, fmt.Sprintf("weights %v from %d, result %v", s.Weights.DType, s.Weights.QMin, s.Out.DType), "u8 weights whose least is not above their zero point, and an 8-bit result")
	}
	k := &AttendKernel{AttendSpec: s, rows: pick(attentionKernels, l)}
	if k.rows.tiles[0] != nil && !k.fitsTiles() {
		k.rows = pick(attentionKernels, isa.VNNI)
	}
	switch {
	case k.rows.rows == nil || s.D%16 != 0 || s.V%16 != 0:
		k.preparePortable()
	case k.rows.tiles[0] != nil:
		k.prepareTiles()
	default:
		k.prepare()
	}
	k.name = fmt.Sprintf("%s_%dx%dx%dx%dx%d_%s", name, s.N*s.H, s.T, s.S, s.D, s.V, k.rows.name)
	return k, nil
}

// Name says which kernel it is.
func (k *AttendKernel) Name() string { return k.name }

// Tiles is the number of units: parts of the rows of each head.
func (k *AttendKernel) Tiles() int { return k.N * k.H * k.parts }

// ScratchBytes is a worker's memory.
func (k *AttendKernel) ScratchBytes() int { return k.scratch }

// TileCost guesses a unit's time in ns.
func (k *AttendKernel) TileCost() float64 { return k.cost }

// Run computes units [lo, hi).
func (k *AttendKernel) Run(lo, hi int, a *AttendArgs) {
	for u := lo; u < hi; u++ {
		t0 := u % k.parts * k.each
		k.run(k, u/k.parts, t0, min(k.T, t0+k.each), a, u > lo && u%k.parts > 0)
	}
}

// split cuts a head's rows into parts of whole blocks, so that there are some
// units for each thread.
func (k *AttendKernel) split() {
	const want = 8
	blocks := ceilDiv(k.T, k.block)
	k.parts = max(1, min(blocks, ceilDiv(want, k.N*k.H)))
	k.each = ceilDiv(blocks, k.parts) * k.block
	k.parts = ceilDiv(k.T, k.each)
	k.cost /= float64(k.parts)
}

// evenBlock gives the rows of blocks that share n rows about evenly, whole tiles of
// high rows and at most most of them, or one tile.
func evenBlock(n, high, most int) int {
	tiles := ceilDiv(n, high)
	return high * ceilDiv(tiles, ceilDiv(tiles, max(1, most/high)))
}

func (k *AttendKernel) prepare() {
	const scoreBytes = 24 << 10 // of a block: they stay in the first level cache
	k.kern = pickGemm(isa.VNNI, false)
	k.cols, k.kPad = ceilDiv(k.S, 16)*16, ceilDiv(k.S, 4)*4
	if k.plain = k.plainBytes(); k.plain {
		k.cols = ceilDiv(k.S, attendLine) * attendLine
	}
	k.block = evenBlock(k.T, 7, scoreBytes/(k.cols*4))
	k.cost = float64(k.T) * float64(k.S) * (float64(k.D+k.V)/k.kern.speed() + 0.2)
	k.split()
	k.fin = k.finisher()
	at := 0
	take := taker(&at)
	cut := func(n, quads int) (bs []attendBlock) {
		for c := 0; c < n; {
			b := attendBlock{k: k.kern.fit(n - c), col: c}
			b.cols = min(b.k.cols, n-c)
			b.w = take(quads * b.k.stepBytes())
			bs = append(bs, b)
			c += b.k.cols
		}
		return bs
	}
	o := &k.at
	k.keyBlocks, k.valueBlocks = cut(k.S, k.D/4), cut(k.V, k.kPad/4)
	if k.QSigned {
		o.q = take(k.block * k.D)
	}
	o.initK, o.initV = take((k.cols+64)*4), take((k.V+64)*4)
	whole := ceilDiv(k.block, 4) * 4
	o.rowAdd, o.total, o.tmp, o.lanes = take(k.block*4), take(whole*4), take(whole*16), take(whole*64)
	o.sums, o.values = take((k.block*k.cols+64)*4), take(k.block*64*4+sumSlack)
	o.weights = take(k.block * k.kPad)
	k.scratch = at
	k.onesX = aligned[byte](max(k.D, k.kPad))
	fill(k.onesX, 1)
	k.run = (*AttendKernel).vector
}

func (k *AttendKernel) finisher() finisher {
	bound := float64(k.S) * (1 << 17) * float64(k.Mult)
	return newFinisher(k.Out, repeat(k.Mult, ceilDiv(k.V, 64)*64), bound, nil, nil, isa.VNNI)
}

// taker hands out pieces of scratch memory, a line apart.
func taker(at *int) func(n int) int {
	return func(n int) int {
		from := *at
		*at += align64(n + 64)
		return from
	}
}

// vector computes rows [t0, t1) of a head.
func (k *AttendKernel) vector(head, t0, t1 int, a *AttendArgs, packed bool) {
	p := attendPool.Get().(*attendArgs)
	n, h := head/k.H, head%k.H
	mem := base(a.Scratch)
	o := &k.at
	if !packed {
		k.pack(p, mem, a, n, h)
	}
	bias := k.bias(a, n)
	qRow, kz := k.H*k.D, k.keyZero()
	for t := t0; t < t1; t += k.block {
		rows := min(k.block, t1-t)
		x, step := unsafe.Pointer(&a.X[((n*k.T+t)*k.H+h)*k.D]), qRow
		if k.QSigned {
			q := view[byte](unsafe.Add(mem, o.q), k.block*k.D)
			for r := range rows {
				flipInto(q[r*k.D:][:k.D], a.X[((n*k.T+t+r)*k.H+h)*k.D:][:k.D])
			}
			x, step = base(q), k.D
		}
		p.rows = attentionArgs{
			sums: unsafe.Add(mem, o.sums), sumStep: uintptr(k.cols * 4), rows: rows, n: k.S,
			y: unsafe.Add(mem, o.weights), yStep: uintptr(k.kPad), total: unsafe.Add(mem, o.total), tmp: unsafe.Add(mem, o.tmp),
			mult: k.Score, inv: k.Inv, zero: k.Weights.Zero, order: unsafe.Pointer(&pieces), lanes: unsafe.Add(mem, o.lanes),
		}
		_, p.rows.hi = k.Weights.bounds()
		p.rows.bias = bias
		clear(view[byte](unsafe.Add(mem, o.lanes), ceilDiv(rows, 4)*256)[rows*64:]) // no numbers that slow a processor down
		g := gemmArgs{x: x, xStep: uintptr(step), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: k.D / 4}
		if kz != 0 {
			p.sums = sumRowArgs{x: x, xStep: uintptr(step), depth: k.D / 16, rows: rows, y: unsafe.Add(mem, o.rowAdd), times: -kz}
			k.rows.sums(&p.sums)
			g.rowAdd = uintptr(p.sums.y)
		}
		for i := range k.keyBlocks {
			b := &k.keyBlocks[i]
			p.gemm = g
			p.gemm.w, p.gemm.init, p.gemm.sumStep = unsafe.Add(mem, b.w), unsafe.Add(mem, o.initK+4*b.col), p.rows.sumStep
			b.k.rowsOf(&p.gemm, unsafe.Add(p.rows.sums, 4*b.col), rows)
		}
		switch {
		case !k.plain:
			k.rows.rows(&p.rows)
		case p.rows.bias == nil:
			k.rows.bytes[0](&p.rows)
		default:
			k.rows.bytes[1](&p.rows)
		}
		k.weigh(p, mem, rows, unsafe.Pointer(&a.Y[((n*k.T+t)*k.H+h)*k.V]))
	}
	*p = attendArgs{}
	attendPool.Put(p)
}

// bias gives a sample's mask; nil where it is none, or zeros, which change no
// weight.
func (k *AttendKernel) bias(a *AttendArgs, n int) unsafe.Pointer {
	if k.Masks == 0 {
		return nil
	}
	m := view[uint32](base(a.Mask), len(a.Mask)/4)[n%k.Masks*k.S:][:k.S]
	any := uint32(0)
	for _, v := range m {
		any |= v << 1 // −0, too
	}
	if any == 0 {
		return nil
	}
	return base(m)
}

// weigh multiplies a block's weights with the values.
func (k *AttendKernel) weigh(p *attendArgs, mem unsafe.Pointer, rows int, y unsafe.Pointer) {
	o := &k.at
	step := k.H * k.V
	g := gemmArgs{x: unsafe.Add(mem, o.weights), xStep: uintptr(k.kPad), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: k.kPad / 4}
	zero := k.VZero - 128 + offset(k.VSigned)
	total := view[int32](unsafe.Add(mem, o.total), rows)
	for r := range total {
		total[r] *= -zero
	}
	for i := range k.valueBlocks {
		b := &k.valueBlocks[i]
		p.gemm = g
		p.gemm.w, p.gemm.init = unsafe.Add(mem, b.w), unsafe.Add(mem, o.initV+4*b.col)
		out := unsafe.Add(y, b.col)
		if k.fin.pack != nil {
			if zero != 0 {
				p.gemm.rowAdd = uintptr(base(total))
			}
			p.gemm.finish = b.k.finishing(&k.fin, false)
			p.gemm.pack, p.gemm.mult = unsafe.Pointer(k.fin.pack), unsafe.Pointer(&k.fin.mult[b.col])
			p.gemm.mask, p.gemm.y, p.gemm.yStep = ^uint64(0)>>(64-b.cols), uintptr(out), uintptr(step)
			b.k.rowsOf(&p.gemm, nil, rows)
			continue
		}
		sums := unsafe.Add(mem, o.values)
		p.gemm.sumStep = uintptr(4 * b.k.cols)
		b.k.rowsOf(&p.gemm, sums, rows)
		p.finish.rowAdd = base(total)
		k.fin.apply(&p.finish, sums, p.gemm.sumStep, rows, b.cols, b.col, out, nil, step)
	}
}

// pack packs a head's keys and values, and the sums that the products start from:
// with x as u8 and w as s8, Σ(x−zx)(w−zw) = Σxw − zw·Σx − zx·Σw + K·zx·zw.
func (k *AttendKernel) pack(p *attendArgs, mem unsafe.Pointer, a *AttendArgs, n, h int) {
	at := n * k.S * k.H
	keys, values := a.X2[(at+h)*k.D:], a.V[(at+h)*k.V:]
	for i := range k.keyBlocks {
		b := &k.keyBlocks[i]
		step := b.k.stepBytes()
		k.packKeys(p, keys[b.col*k.H*k.D:], view[byte](unsafe.Add(mem, b.w), k.D/4*step), step, b.cols)
		k.start(p, b, mem, k.at.initK, k.D, k.QZero+offset(k.QSigned), k.keyZero())
	}
	for i := range k.valueBlocks {
		b := &k.valueBlocks[i]
		step := b.k.stepBytes()
		k.packValues(p, values[b.col:], view[byte](unsafe.Add(mem, b.w), k.kPad/4*step), step, b.cols)
		k.start(p, b, mem, k.at.initV, k.S, k.Weights.Zero, k.VZero-128+offset(k.VSigned))
	}
}

// packKeys packs n keys from x as columns of w, whose groups of four elements are
// step bytes apart.
func (k *AttendKernel) packKeys(p *attendArgs, x, w []byte, step, n int) {
	flip := xored(!k.KSigned)
	if n := n / 4; n > 0 {
		p.pack = columnArgs{x: base(x), xStep: uintptr(k.H * k.D), n: n, depth: k.D / 16, w: base(w), wStep: uintptr(step), flip: uint32(flip) * 0x01010101}
		k.rows.keys(&p.pack)
	}
	for c := n &^ 3; c < n; c++ {
		for d, v := range x[c*k.H*k.D:][:k.D] {
			w[d/4*step+4*c+d%4] = v ^ flip
		}
	}
}

// packValues packs cols elements of all values from x as columns of w, whose groups
// of four values are step bytes apart; behind the last value are zeros.
func (k *AttendKernel) packValues(p *attendArgs, x, w []byte, step, cols int) {
	flip := xored(!k.VSigned)
	if n := k.S / 4; n > 0 {
		p.pack = columnArgs{x: base(x), xStep: uintptr(k.H * k.V), n: n, depth: cols / 16, w: base(w), wStep: uintptr(step), flip: uint32(flip) * 0x01010101}
		k.rows.values(&p.pack)
	}
	s := k.S &^ 3
	last := w[s/4*step:]
	clear(last)
	for ; s < k.S; s++ {
		for c, v := range x[s*k.H*k.V:][:cols] {
			last[4*c+s%4] = v ^ flip
		}
	}
}

// start writes what a block's sums over n elements begin with.
func (k *AttendKernel) start(p *attendArgs, b *attendBlock, mem unsafe.Pointer, init, n int, zx, zw int32) {
	sums := view[int32](unsafe.Add(mem, init+4*b.col), b.k.cols)
	clear(sums)
	if zx == 0 {
		return
	}
	g := &p.gemm
	*g = gemmArgs{
		x: base(k.onesX), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: ceilDiv(n, 4),
		w: unsafe.Add(mem, b.w), init: unsafe.Pointer(&noSums),
	}
	b.k.rowsOf(g, base(sums), 1)
	for c, s := range sums {
		sums[c] = int32(n)*zx*zw - zx*s
	}
}

// preparePortable is the definition, in plain Go.
func (k *AttendKernel) preparePortable() {
	k.rows = attentionKernels[len(attentionKernels)-1]
	k.block = 1
	k.cost = float64(k.T) * float64(k.S) * (float64(k.D+k.V) + 20)
	k.split()
	k.scratch = align64(4*k.S) * 2
	k.run = (*AttendKernel).portable
}

// portable computes rows [t0, t1) of a head.
func (k *AttendKernel) portable(head, t0, t1 int, a *AttendArgs, _ bool) {
	n, h := head/k.H, head%k.H
	scores, weights := words[float32](a.Scratch)[:k.S], words[int32](a.Scratch[align64(4*k.S):])[:k.S]
	lo, hi := k.Weights.bounds()
	outLo, outHi := k.Out.bounds()
	at := func(x []byte, signed bool, zero int32, i int) int32 {
		return int32(x[i]^xored(signed)) - zero - offset(signed)
	}
	for t := t0; t < t1; t++ {
		for s := range scores {
			q, key := ((n*k.T+t)*k.H+h)*k.D, ((n*k.S+s)*k.H+h)*k.D
			sum := int32(0)
			for d := range k.D {
				sum += at(a.X, k.QSigned, k.QZero, q+d) * at(a.X2, k.KSigned, k.KZero, key+d)
			}
			scores[s] = float32(float32(sum) * k.Score)
			if k.Masks > 0 {
				scores[s] += words[float32](a.Mask)[n%k.Masks*k.S+s]
			}
		}
		fmath.Softmax(scores, scores)
		for s, v := range scores {
			weights[s] = 0
			if v == v {
				weights[s] = requant(float32(v*k.Inv), lo, hi, 0)
			}
		}
		for v := range k.V {
			sum := int32(0)
			for s, w := range weights {
				sum += w * at(a.V, k.VSigned, k.VZero, ((n*k.S+s)*k.H+h)*k.V+v)
			}
			q := requant(float32(float32(sum)*k.Mult), outLo, outHi, k.Out.Zero)
			a.Y[((n*k.T+t)*k.H+h)*k.V+v] = uint8(q)
		}
	}
}
