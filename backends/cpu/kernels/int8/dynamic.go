package int8

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Dense layers whose activation scales are found while they run come in two
// steps: QuantizeRows brings float32 rows to 8 bits, with their scales, in a
// form that only DotRows reads, any number of them; DotRows multiplies them with
// its weights and gives float32.

// RowsSpec is a matrix of M rows of K float32, quantized row by row:
//
//	lo, hi = min(0, x…), max(0, x…)    s = clamp((hi−lo)·(1/255), 2^−100, 2^100)
//	z = round_half_even(min(−lo·(1/s), 255))
//	q = z + round_half_even(clamp(x·(1/s), −z, 255−z))
//
// each operation in float32, 1/s rounded once; NaN is passed over and gives z.
// PerTensor is ONNX's DynamicQuantizeLinear instead: one scale (hi−lo)/255 for
// all rows (1 where that is 0), divisions in place of products with 1/s; its kernel
// is a Checker that refuses what is not finite.
// Wide asks for operands of 16 bits, which DotRows with zero points of weights
// wants.
type RowsSpec struct {
	M, K      int
	PerTensor bool
	Wide      bool
}

// Bytes is the size of the quantized rows, at any level: of 16 bits, or of
// bytes that fill whole steps.
func (s RowsSpec) Bytes() int { return s.data() + s.M*max(2*((s.K+3)&^3), align64(s.K)) + inputSlack }

// data is where the rows begin, behind a rowParams for each.
func (s RowsSpec) data() int { return align64(s.M * int(unsafe.Sizeof(rowParams{}))) }

// step is the size of a row for a kernel.
func (s RowsSpec) step(k *gemmKernel) int { return ceilDiv(s.K, k.quad) * k.quad * k.format.elem() }

// rowParams is a row's scale, and its zero point as far as the stored numbers
// still have it.
type rowParams struct {
	scale float32
	zero  int32
}

// rangeArgs is the argument block of the kernels that find the range of n
// float32, 0 in it, NaN passed over, and the bits of the greatest magnitude.
// gen/ knows this layout; TestDynamicLayouts compares.
type rangeArgs struct {
	x      unsafe.Pointer
	n      int
	lo, hi float32
	top    uint32
}

// rowsArgs is the argument block of the kernels that finish sums of quantized
// rows: y = float32(sum − zero·colSums)·(scale·mult) + bias. gen/ knows this
// layout; TestDynamicLayouts compares.
type rowsArgs struct {
	sums    unsafe.Pointer // int32
	sumStep uintptr        // bytes from row to row
	y       unsafe.Pointer
	yStep   uintptr
	rows    int
	cols    int
	mult    unsafe.Pointer // a float32 for each column
	bias    unsafe.Pointer
	colSums unsafe.Pointer // an int32 for each column
	params  unsafe.Pointer // a rowParams for each row
}

type rangeKernel struct {
	kernel
	run func(*rangeArgs)
}

type rowsKernel struct {
	kernel
	run func(*rowsArgs)
}

// The tables of these kernels: see kernels.go.
var (
	rangeKernels      = append(vectorRange(), rangeKernel{kernel{"range_portable", isa.Portable}, rangePortable})
	quantizeByKernels = append(vectorQuantizeBy(), convertKernel{kernel{"quantize_by_portable", isa.Portable}, quantizeByPortable})
	finishRowsKernels = append(vectorFinishRows(), rowsKernel{kernel{"finish_rows_portable", isa.Portable}, finishRowsPortable})
)

func rangePortable(a *rangeArgs) {
	a.lo, a.hi, a.top = 0, 0, 0
	for _, v := range view[float32](a.x, a.n) {
		if v < a.lo {
			a.lo = v
		}
		if v > a.hi {
			a.hi = v
		}
		a.top = max(a.top, math.Float32bits(v)&^(1<<31))
	}
}

func quantizeByPortable(c *convertArgs) {
	x, y := view[float32](c.x, c.n), view[uint8](c.y, c.n)
	for i, v := range x {
		y[i] = uint8(requant(float32(v/c.scale), c.lo, c.hi, c.zero))
	}
}

func finishRowsPortable(a *rowsArgs) {
	mult, bias, cs := view[float32](a.mult, a.cols), view[float32](a.bias, a.cols), view[int32](a.colSums, a.cols)
	for r, p := range view[rowParams](a.params, a.rows) {
		sums := view[int32](unsafe.Add(a.sums, uintptr(r)*a.sumStep), a.cols)
		y := view[float32](unsafe.Add(a.y, uintptr(r)*a.yStep), a.cols)
		for c, s := range sums {
			y[c] = float32(float32(s-p.zero*cs[c])*float32(p.scale*mult[c])) + bias[c]
		}
	}
}

// QuantizeRows prepares it. X is f32 [M,K], Y the rows for DotRows.
func QuantizeRows(s RowsSpec, l isa.Level) (Kernel, error) {
	const name = "dynamic_dot"
	if err := positive(name, s.M, s.K); err != nil {
		return nil, err
	}
	k := pickGemm(l, s.Wide)
	q := &rowsQuantizer{
		RowsSpec: s, kern: k, limits: pick(rangeKernels, l).run,
		convert: pick(quantizeKernels, l).run, widen: pick(widenKernels, l).run,
	}
	size := 0
	if k.format.elem() == 2 {
		size = align64(s.K) + inputSlack
	}
	o := &op{name: fmt.Sprintf("quantize_rows_%dx%d_%v", s.M, s.K, l), scratch: size, cost: 0.15 * float64(s.M*s.K)}
	if s.PerTensor {
		q.convert = pick(quantizeByKernels, l).run
		o.name, o.tiles, o.run = fmt.Sprintf("quantize_tensor_%dx%d_%v", s.M, s.K, l), 1, q.tensor
		return &checkedOp{*o, q.finite}, nil
	}
	per := max(1, elementUnit/4/s.K)
	o.tiles = ceilDiv(s.M, per)
	o.cost /= float64(o.tiles)
	o.run = func(lo, hi int, a *Args) {
		w := rowsPool.Get().(*rowsWork)
		for r := lo * per; r < min(hi*per, s.M); r++ {
			w.limits.x, w.limits.n = unsafe.Pointer(&a.X[r*s.K*4]), s.K
			q.limits(&w.limits)
			scale, inv, zero := rowScale(w.limits.lo, w.limits.hi)
			q.row(w, a, r, scale, inv, zero)
		}
		*w = rowsWork{}
		rowsPool.Put(w)
	}
	return o, nil
}

// rowScale gives scale, its inverse and the zero point of a row's range.
func rowScale(lo, hi float32) (scale, inv float32, zero int32) {
	scale = float32(float32(hi-lo) * (1.0 / 255))
	scale = min(max(scale, 0x1p-100), 0x1p100)
	inv = float32(1 / float64(scale))
	return scale, inv, roundEven(min(float32(-lo*inv), 255))
}

// Checker is implemented by kernels that look at their operands before they
// may run.
type Checker interface {
	Check(a *Args) error
}

// checkedOp is an op that is a Checker.
type checkedOp struct {
	op
	check func(a *Args) error
}

func (o *checkedOp) Check(a *Args) error { return o.check(a) }

// finite refuses what is no finite number: a scale of all cannot hold it.
func (q *rowsQuantizer) finite(a *Args) error {
	w := rowsPool.Get().(*rowsWork)
	top := uint32(0)
	for at := 0; at < q.M*q.K; at += rangePiece {
		w.limits.x, w.limits.n = unsafe.Pointer(&a.X[at*4]), min(rangePiece, q.M*q.K-at)
		q.limits(&w.limits)
		top = max(top, w.limits.top)
	}
	*w = rowsWork{}
	rowsPool.Put(w)
	if top < 0x7f800000 {
		return nil
	}
	for i, v := range words[float32](a.X) {
		if v-v != 0 {
			return fmt.Errorf("element %d is %v; wanted finite numbers", i, v)
		}
	}
	return nil
}

// rangePiece is how many values a kernel looks at in one call: assembly cannot
// be interrupted.
const rangePiece = 64 << 10

// rowsQuantizer is QuantizeRows prepared.
type rowsQuantizer struct {
	RowsSpec
	kern           *gemmKernel
	limits         func(*rangeArgs)
	convert, widen func(*convertArgs)
}

// rowsWork is the argument memory of one Run, pooled.
type rowsWork struct {
	limits  rangeArgs
	convert convertArgs
	gemm    gemmArgs
	finish  rowsArgs
}

var rowsPool = sync.Pool{New: func() any { return new(rowsWork) }}

// tensor quantizes all rows by the range of all.
func (q *rowsQuantizer) tensor(_, _ int, a *Args) {
	w := rowsPool.Get().(*rowsWork)
	lo, hi := float32(0), float32(0)
	for at := 0; at < q.M*q.K; at += rangePiece {
		w.limits.x, w.limits.n = unsafe.Pointer(&a.X[at*4]), min(rangePiece, q.M*q.K-at)
		q.limits(&w.limits)
		lo, hi = min(lo, w.limits.lo), max(hi, w.limits.hi)
	}
	scale, zero := float32(1), int32(0)
	if d := float32(hi-lo) / 255; d != 0 {
		scale, zero = d, roundEven(min(float32(-lo)/d, 255))
	}
	for r := range q.M {
		q.row(w, a, r, scale, scale, zero)
	}
	*w = rowsWork{}
	rowsPool.Put(w)
}

// row writes row r; factor is what the converting kernel wants of the scale.
func (q *rowsQuantizer) row(w *rowsWork, a *Args, r int, scale, factor float32, zero int32) {
	step := q.step(q.kern)
	y := a.Y[q.data()+r*step:][:step]
	c := convertArgs{x: unsafe.Pointer(&a.X[r*q.K*4]), y: base(y), n: q.K, scale: factor, lo: -float32(zero), hi: float32(255 - zero), zero: zero}
	p := &view[rowParams](base(a.Y), q.M)[r]
	if q.kern.format.elem() == 1 {
		w.convert = c
		q.convert(&w.convert)
		clear(y[q.K:])
		*p = rowParams{scale, zero - q.kern.format.taken()}
		return
	}
	c.y = base(a.Scratch)
	w.convert = c
	q.convert(&w.convert)
	w.convert = convertArgs{x: base(a.Scratch), y: base(y), n: q.K, zero: zero}
	q.widen(&w.convert)
	clear(y[2*q.K:])
	*p = rowParams{scale, 0}
}

// DotRowsSpec is a dense layer, quantized rows X [M,K] times Weights [K,N]:
//
//	y = float32(Σ(q−z)(w−WZero[n]))·float32(s·Mult[n]) + Bias[n]
//
// in float32, product and sum rounded each; s and z are the row's. No Bias is no
// sum. Rows says how X was made; Wide it must be where there is WZero.
type DotRowsSpec struct {
	Rows    RowsSpec
	N       int
	Weights []int8
	WZero   []int32
	Mult    []float32
	Bias    []float32
}

// dotRows is DotRows prepared.
type dotRows struct {
	rows       RowsSpec
	n          int
	kern       *gemmKernel
	blocks     []block
	parts      int
	mult, bias []float32
	colSums    []int32
	finish     func(*rowsArgs)
}

// DotRows prepares it. X is what QuantizeRows gave, Y f32 [M,N].
func DotRows(s DotRowsSpec, l isa.Level) (Kernel, error) {
	const name = "dynamic_dot"
	m, k := s.Rows.M, s.Rows.K
	if err := positive(name, m, k, s.N); err != nil {
		return nil, err
	}
	switch {
	case len(s.Weights) != k*s.N || len(s.Mult) != s.N:
		return nil, specError(name, fmt.Sprintf("%d weights and %d factors", len(s.Weights), len(s.Mult)), "%d and %d", k*s.N, s.N)
	case s.Bias != nil && len(s.Bias) != s.N:
		return nil, specError(name, fmt.Sprintf("%d biases", len(s.Bias)), "%d", s.N)
	case s.WZero != nil && (len(s.WZero) != s.N || !s.Rows.Wide):
		return nil, specError(name, fmt.Sprintf("%d zero points of weights", len(s.WZero)), "%d, and rows of 16 bits", s.N)
	}
	d := &dotRows{rows: s.Rows, n: s.N, kern: pickGemm(l, s.Rows.Wide), finish: pick(finishRowsKernels, l).run}
	d.mult, d.bias, d.colSums = aligned[float32](s.N+16), aligned[float32](s.N+16), aligned[int32](s.N+16)
	copy(d.mult, s.Mult)
	copy(d.bias, s.Bias)
	if s.Bias == nil {
		for i := range s.N {
			d.bias[i] = float32(math.Copysign(0, -1)) // changes nothing, not even −0
		}
	}
	for i, w := range s.Weights {
		d.colSums[i%s.N] += int32(w) // read where a zero point is left, so of 8-bit kernels only
	}
	for col := 0; col < s.N; {
		g := d.kern.fit(s.N - col)
		b := block{k: g, col: col, cols: min(g.cols, s.N-col)}
		b.w = aligned[byte](ceilDiv(k, g.quad) * g.stepBytes())
		b.init = aligned[int32](g.cols)
		var zeros []int32
		if s.WZero != nil {
			zeros = s.WZero[col:]
		}
		g.pack(b.w, s.Weights[col:], s.N, 1, k, b.cols, zeros)
		d.blocks = append(d.blocks, b)
		col += g.cols
	}
	want := ceilDiv(d.kern.units(m*k*s.N), len(d.blocks))
	d.parts = max(1, min(want, m/leastPixels))
	units := d.parts * len(d.blocks)
	return &op{
		name: fmt.Sprintf("dot_rows_%dx%dx%d_%s", m, k, s.N, d.kern.name), run: d.run,
		tiles: units, scratch: sumPixels*d.kern.cols*4 + sumSlack,
		cost: float64(m*s.N) * (float64(k)/d.kern.speed() + 0.1) / float64(units),
	}, nil
}

func (d *dotRows) run(lo, hi int, a *Args) {
	w := rowsPool.Get().(*rowsWork)
	m, step := d.rows.M, d.rows.step(d.kern)
	sums := base(a.Scratch)
	for u := lo; u < hi; u++ {
		part, b := u/len(d.blocks), &d.blocks[u%len(d.blocks)]
		m0, m1 := cut(m, d.parts, part), cut(m, d.parts, part+1)
		for r := m0; r < m1; r += sumPixels {
			n := min(sumPixels, m1-r)
			w.gemm = gemmArgs{
				x: unsafe.Pointer(&a.X[d.rows.data()+r*step]), xStep: uintptr(step), runs: unsafe.Pointer(&noOffset), numRuns: 1,
				quads: ceilDiv(d.rows.K, b.k.quad), w: base(b.w), init: base(b.init), sumStep: uintptr(4 * b.k.cols),
			}
			b.k.rowsOf(&w.gemm, sums, n)
			w.finish = rowsArgs{
				sums: sums, sumStep: uintptr(4 * b.k.cols), y: unsafe.Pointer(&a.Y[(r*d.n+b.col)*4]), yStep: uintptr(d.n * 4), rows: n, cols: b.cols,
				mult: unsafe.Pointer(&d.mult[b.col]), bias: unsafe.Pointer(&d.bias[b.col]), colSums: unsafe.Pointer(&d.colSums[b.col]),
				params: unsafe.Pointer(&a.X[r*int(unsafe.Sizeof(rowParams{}))]),
			}
			d.finish(&w.finish)
		}
	}
	*w = rowsWork{}
	rowsPool.Put(w)
}
