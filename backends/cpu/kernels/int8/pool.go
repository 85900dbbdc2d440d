package int8

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// PoolSpec is a pooling window over [N,H,W,C]; the geometry is as in ConvSpec.
// AveragePool: acc = Σ(x−XZero) over the window's taps inside the image, then
// Out with Mults[count], count being those taps or, with CountIncludePad,
// KH·KW; Mults has KH·KW+1 entries. MaxPool: the greatest tap inside the image;
// only XSigned of the last four fields is used, and the result has x's type.
type PoolSpec struct {
	N, H, W, C                     int
	OH, OW                         int
	KH, KW, SH, SW, DH, DW, PT, PL int
	XSigned                        bool
	XZero                          int32
	CountIncludePad                bool
	Mults                          []float32
	Out                            Out
}

func (s *PoolSpec) check(op string) error {
	if s.PT < 0 || s.PL < 0 {
		return specError(op, fmt.Sprintf("padding %d,%d", s.PT, s.PL), "0 or more")
	}
	return positive(op, s.N, s.H, s.W, s.C, s.OH, s.OW, s.KH, s.KW, s.SH, s.SW, s.DH, s.DW)
}

// span gives the taps [lo, hi) of a window at output o that lie in [0, n).
func span(o, stride, pad, dilation, k, n int) (lo, hi int) {
	first := o*stride - pad
	if first < 0 {
		lo = ceilDiv(-first, dilation)
	}
	hi = k
	if last := n - 1 - first; last < 0 {
		hi = 0
	} else {
		hi = min(k, last/dilation+1)
	}
	return min(lo, hi), hi
}

func (s *PoolSpec) op(name string, scratch int, cost float64, row func(r int, a *Args)) Kernel {
	rows := s.N * s.OH
	work := s.OW * s.C * s.KH * s.KW
	per := max(1, elementUnit/work)
	units := ceilDiv(rows, per)
	return &op{name: name, tiles: units, scratch: scratch, cost: cost * float64(rows*work) / float64(units), run: func(lo, hi int, a *Args) {
		for r := lo * per; r < min(hi*per, rows); r++ {
			row(r, a)
		}
	}}
}

// window is the argument block of a window with its first tap at iy, ix.
func (s *PoolSpec) window(y unsafe.Pointer, x []byte, n, iy, ix, ny, nx int, flip uint8) windowArgs {
	return windowArgs{
		y: y, x: unsafe.Pointer(&x[((n*s.H+iy)*s.W+ix)*s.C]), n: s.C, ny: ny, nx: nx,
		yStep: s.DH * s.W * s.C, xStep: s.DW * s.C, flip: uint32(flip), count: 1,
	}
}

// MaxPool prepares a max_pool of an 8-bit tensor. A window without a tap gives
// the type's least value.
func MaxPool(s PoolSpec, l isa.Level) (Kernel, error) {
	if err := s.check("max_pool"); err != nil {
		return nil, err
	}
	k := pick(maxKernels, l)
	flip, end := xored(s.XSigned), s.wholeEnd()
	return s.op("max_pool_"+k.name, 0, 0.02, func(r int, a *Args) {
		w := windowPool.Get().(*windowArgs)
		n, oy := r/s.OH, r%s.OH
		y0, y1 := span(oy, s.SH, s.PT, s.DH, s.KH, s.H)
		for ox := 0; ox < s.OW; {
			x0, x1 := span(ox, s.SW, s.PL, s.DW, s.KW, s.W)
			y := a.Y[(r*s.OW+ox)*s.C:][:s.C]
			if y0 == y1 || x0 == x1 {
				fill(y, flip)
				ox++
				continue
			}
			*w = s.window(base(y), a.X, n, oy*s.SH-s.PT+y0*s.DH, ox*s.SW-s.PL+x0*s.DW, y1-y0, x1-x0, flip)
			w.xMove, w.yMove = s.SW*s.C, s.C
			w.count = s.alike(ox, x1-x0, windowPixels, end)
			ox += w.count
			k.run(w)
		}
		*w = windowArgs{}
		windowPool.Put(w)
	}), nil
}

// windowPixels is how many pixels go together, so that a call stays short.
const windowPixels = 64

// alike is how many pixels from ox on, up to most, go together: those with the
// whole width of the window, which wholeEnd bounds.
func (s *PoolSpec) alike(ox, taps, most, end int) int {
	if taps != s.KW {
		return 1
	}
	return min(most, end-ox)
}

// wholeEnd is the end of the pixels of a row that have the whole width of the
// window; they follow each other.
func (s *PoolSpec) wholeEnd() int {
	last := s.W - 1 - (s.KW-1)*s.DW + s.PL // where the last one's first tap may lie
	if last < 0 {
		return 0
	}
	return min(s.OW, last/s.SW+1)
}

// windowArgs is the argument block of the kernels that go through ny·nx vectors
// of n bytes, yStep and xStep bytes apart, for each of count pixels.
// gen/ knows this layout; TestLayouts compares.
type windowArgs struct {
	y, x         unsafe.Pointer
	n, ny, nx    int
	yStep, xStep int
	flip         uint32 // turns stored bytes into u8
	count        int
	xMove, yMove int // bytes from pixel to pixel
}

type windowKernel struct {
	kernel
	run func(*windowArgs)
}

var windowPool = sync.Pool{New: func() any { return new(windowArgs) }}

// pixels calls f with the address of each vector and of the result it goes to.
func (a *windowArgs) pixels(f func(y, x unsafe.Pointer, first bool)) {
	for p := range a.count {
		y := unsafe.Add(a.y, p*a.yMove)
		for i := range a.ny {
			for j := range a.nx {
				f(y, unsafe.Add(a.x, p*a.xMove+i*a.yStep+j*a.xStep), i+j == 0)
			}
		}
	}
}

// maxPortable takes the greatest byte of each column.
func maxPortable(a *windowArgs) {
	flip := uint8(a.flip)
	a.pixels(func(py, px unsafe.Pointer, first bool) {
		y, x := view[byte](py, a.n), view[byte](px, a.n)
		if first {
			copy(y, x)
			return
		}
		for c, v := range x {
			y[c] = max(y[c]^flip, v^flip) ^ flip
		}
	})
}

// sumPortable adds the bytes of each column, read as u8, to int32 sums.
func sumPortable(a *windowArgs) {
	flip := uint8(a.flip)
	a.pixels(func(py, px unsafe.Pointer, _ bool) {
		sums := view[int32](py, a.n)
		for c, v := range view[byte](px, a.n) {
			sums[c] += int32(v ^ flip)
		}
	})
}

// AveragePool prepares a q_average_pool.
func AveragePool(s PoolSpec, l isa.Level) (Kernel, error) {
	const name = "q_average_pool"
	if err := s.check(name); err != nil {
		return nil, err
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	if len(s.Mults) != s.KH*s.KW+1 {
		return nil, specError(name, fmt.Sprintf("%d factors", len(s.Mults)), "%d", s.KH*s.KW+1)
	}
	sum := pick(sumKernels, l)
	fins := make([]finisher, len(s.Mults))
	for i, m := range s.Mults {
		fins[i] = newFinisher(s.Out, repeat(m, s.C), float64(m)*float64(s.KH*s.KW)*255, nil, nil, l)
	}
	flip, zero := xored(s.XSigned), s.XZero+offset(s.XSigned)
	most, end := max(1, min(windowPixels, s.OW, poolSums/s.C)), s.wholeEnd()
	return s.op(name+"_"+sum.name, most*s.C*4+sumSlack, 0.1, func(r int, a *Args) {
		n, oy := r/s.OH, r%s.OH
		ca := convPool.Get().(*convArgs)
		y0, y1 := span(oy, s.SH, s.PT, s.DH, s.KH, s.H)
		scratch := words[int32](a.Scratch)
		for ox := 0; ox < s.OW; {
			x0, x1 := span(ox, s.SW, s.PL, s.DW, s.KW, s.W)
			taps := (y1 - y0) * (x1 - x0)
			count, pixels := max(taps, 1), s.alike(ox, x1-x0, most, end)
			sums := scratch[:pixels*s.C]
			fill32(sums, -zero*int32(taps))
			if taps > 0 {
				ca.window = s.window(base(sums), a.X, n, oy*s.SH-s.PT+y0*s.DH, ox*s.SW-s.PL+x0*s.DW, y1-y0, x1-x0, flip)
				ca.window.count, ca.window.xMove, ca.window.yMove = pixels, s.SW*s.C, s.C*4
				sum.run(&ca.window)
			}
			if s.CountIncludePad {
				count = s.KH * s.KW
			}
			f := &fins[count]
			f.apply(&ca.finish, base(sums), uintptr(s.C*4), pixels, s.C, 0, unsafe.Add(base(a.Y), (r*s.OW+ox)*s.C*f.out.bytes()), nil, s.C)
			ox += pixels
		}
		*ca = convArgs{}
		convPool.Put(ca)
	}), nil
}

// poolSums is how many sums are kept before they are finished.
const poolSums = 4096

func fill32(s []int32, v int32) {
	n := min(16, len(s))
	for i := range n {
		s[i] = v
	}
	for ; n < len(s); n *= 2 { // copying is faster than a loop that sets
		copy(s[n:], s[:n])
	}
}

func repeat(m float32, n int) []float32 {
	ms := make([]float32, n)
	for i := range ms {
		ms[i] = m
	}
	return ms
}

// MeanSpec is q_reduce_mean of x [Outer,Count,Inner] over the middle axis:
// acc = Σ(x−XZero), then Out with Mult.
type MeanSpec struct {
	Outer, Count, Inner int
	XSigned             bool
	XZero               int32
	Mult                float32
	Out                 Out
}

const (
	meanCols = 64   // columns of a mean that make one unit
	meanRows = 4096 // rows that one call of a kernel sums
)

// Mean prepares a q_reduce_mean.
func Mean(s MeanSpec, l isa.Level) (Kernel, error) {
	const name = "q_reduce_mean"
	if err := positive(name, s.Outer, s.Count, s.Inner); err != nil {
		return nil, err
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	sum := pick(sumKernels, l)
	fin := newFinisher(s.Out, repeat(s.Mult, meanCols), float64(s.Mult)*float64(s.Count)*255, nil, nil, l)
	flip, zero := xored(s.XSigned), s.XZero+offset(s.XSigned)
	size := fin.out.bytes()
	if s.Inner == 1 {
		per := max(1, elementUnit/s.Count)
		units := ceilDiv(s.Outer, per)
		return &op{name: name + "_rows", tiles: units, cost: float64(s.Outer*s.Count) / float64(units), run: func(lo, hi int, a *Args) {
			for r := lo * per; r < min(hi*per, s.Outer); r++ {
				acc := -zero * int32(s.Count)
				for _, v := range a.X[r*s.Count:][:s.Count] {
					acc += int32(v ^ flip)
				}
				fin.one(acc, unsafe.Add(base(a.Y), r*size))
			}
		}}, nil
	}
	parts := ceilDiv(s.Inner, meanCols)
	units := s.Outer * parts
	return &op{name: name + "_" + sum.name, tiles: units, scratch: meanCols*4 + sumSlack, cost: 0.1 * float64(s.Count*min(s.Inner, meanCols)), run: func(lo, hi int, a *Args) {
		ca := convPool.Get().(*convArgs)
		for u := lo; u < hi; u++ {
			o, c0 := u/parts, u%parts*meanCols
			n := min(meanCols, s.Inner-c0)
			sums := words[int32](a.Scratch)[:n]
			fill32(sums, -zero*int32(s.Count))
			// Assembly cannot be interrupted: a call takes some 30 µs at most.
			for from := 0; from < s.Count; from += meanRows {
				ca.window = windowArgs{
					y: base(sums), x: unsafe.Pointer(&a.X[(o*s.Count+from)*s.Inner+c0]), n: n, ny: min(meanRows, s.Count-from), nx: 1,
					yStep: s.Inner, flip: uint32(flip), count: 1,
				}
				sum.run(&ca.window)
			}
			fin.apply(&ca.finish, base(sums), 0, 1, n, 0, unsafe.Add(base(a.Y), (o*s.Inner+c0)*size), nil, n)
		}
		*ca = convArgs{}
		convPool.Put(ca)
	}}, nil
}

// one finishes a single sum with the first column's factor.
func (f *finisher) one(acc int32, y unsafe.Pointer) {
	v := float32(float32(acc) * f.mult[0])
	switch f.out {
	case F32:
		*(*float32)(y) = v
	case I32:
		*(*int32)(y) = acc
	default:
		*(*uint8)(y) = uint8(requant(v, f.args.lo, f.args.hi, f.args.zero)) ^ uint8(f.args.yFlip)
	}
}
