package int8

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// SoftmaxSpec is q_softmax of Rows rows of K values: e = Table[max−x],
// r = Factor/float32(Σe), then Out of e with r.
type SoftmaxSpec struct {
	Rows, K int
	XSigned bool
	Table   []int32 // 256 entries
	Factor  float32
	Out     Out
}

// softmaxArgs is the argument block of the softmax kernels with 8-bit results.
// planes holds the exponentials' first bytes, then their second ones, and so on.
// gen/ knows this layout; TestLayouts compares.
type softmaxArgs struct {
	y, x    unsafe.Pointer
	rows, k int
	planes  *[4][256]uint8
	factor  float32
	lo, hi  float32
	zero    int32  // of the u8
	flip    uint32 // turns stored bytes into u8
	yFlip   uint32 // turns u8 results into stored bytes
	table   *[256]int32
}

type softmaxKernel struct {
	kernel
	run func(*softmaxArgs)
}

var softmaxPool = sync.Pool{New: func() any { return new(softmaxArgs) }}

// Softmax prepares a q_softmax. For 8-bit results Y may be X.
func Softmax(s SoftmaxSpec, l isa.Level) (Kernel, error) {
	const name = "q_softmax"
	if err := positive(name, s.Rows, s.K); err != nil {
		return nil, err
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	if len(s.Table) != 256 {
		return nil, specError(name, fmt.Sprintf("a table of %d", len(s.Table)), "256")
	}
	if s.Table[0] < 1 || slices.Min(s.Table) < 0 || int64(slices.Max(s.Table))*int64(s.K) > math.MaxInt32 {
		return nil, specError(name, "exponentials that are negative or sum to 2^31 or more", "table[0] > 0, and %d times the greatest below 2^31", s.K)
	}
	o := s.Out.full()
	planes := (*[4][256]uint8)(base(aligned[uint8](1024)))
	for i, v := range s.Table {
		for p := range planes {
			planes[p][i] = uint8(v >> (8 * p))
		}
	}
	args := softmaxArgs{
		k: s.K, planes: planes, table: (*[256]int32)(slices.Clone(s.Table)), factor: s.Factor, zero: o.Zero + offset(o.DType == S8),
		flip: uint32(xored(s.XSigned)), yFlip: uint32(xored(o.DType == S8)),
	}
	args.lo, args.hi = o.bounds()
	k := pick(softmaxKernels, l)
	switch o.DType {
	case F32:
		k = softmaxKernel{kernel{"f32_portable", isa.Portable}, softmaxFloats}
	case I32:
		k = softmaxKernel{kernel{"i32_portable", isa.Portable}, softmaxInts}
	}
	per := max(1, 8192/s.K)
	units := ceilDiv(s.Rows, per)
	size := o.DType.bytes()
	run := func(u0, u1 int, a *Args) {
		p := softmaxPool.Get().(*softmaxArgs)
		for u := u0; u < u1; u++ {
			r := u * per
			*p = args
			p.x, p.y, p.rows = unsafe.Pointer(&a.X[r*s.K]), unsafe.Pointer(&a.Y[r*s.K*size]), min(per, s.Rows-r)
			k.run(p)
		}
		*p = softmaxArgs{}
		softmaxPool.Put(p)
	}
	return &op{name: name + "_" + k.name, tiles: units, run: run, cost: 0.3 * float64(s.Rows*s.K) / float64(units)}, nil
}

// row gives the bytes of row r, the greatest as u8, and the factor of the exponentials.
func (p *softmaxArgs) row(r int) (x []uint8, top uint8, m float32) {
	x = view[uint8](unsafe.Add(p.x, r*p.k), p.k)
	flip, table := uint8(p.flip), p.table
	for _, v := range x {
		top = max(top, v^flip)
	}
	var sum int32
	for _, v := range x {
		sum += table[top-(v^flip)]
	}
	return x, top, p.factor / float32(sum)
}

func softmaxBytes(p *softmaxArgs) {
	for r := range p.rows {
		x, top, m := p.row(r)
		y := view[uint8](unsafe.Add(p.y, r*p.k), len(x))
		for i, v := range x {
			e := p.table[top-(v^uint8(p.flip))]
			y[i] = uint8(requant(float32(float32(e)*m), p.lo, p.hi, p.zero)) ^ uint8(p.yFlip)
		}
	}
}

func softmaxFloats(p *softmaxArgs) {
	for r := range p.rows {
		x, top, m := p.row(r)
		y := view[float32](unsafe.Add(p.y, 4*r*p.k), len(x))
		for i, v := range x {
			y[i] = float32(p.table[top-(v^uint8(p.flip))]) * m
		}
	}
}

func softmaxInts(p *softmaxArgs) {
	for r := range p.rows {
		x, top, _ := p.row(r)
		y := view[int32](unsafe.Add(p.y, 4*r*p.k), len(x))
		for i, v := range x {
			y[i] = p.table[top-(v^uint8(p.flip))]
		}
	}
}
