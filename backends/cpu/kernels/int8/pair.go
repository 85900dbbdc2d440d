package int8

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// PairSpec is q_add or q_multiply of two 8-bit tensors with numpy's
// broadcasting: acc = (a−AZero)·FactorA + (b−BZero)·FactorB with factors from 0
// to 2^14, or acc = (a−AZero)(b−BZero); then Out with Mult, then Table.
type PairSpec struct {
	AShape, BShape   []int
	ASigned, BSigned bool
	AZero, BZero     int32
	FactorA, FactorB int32 // of Add
	Mult             float32
	Out              Out
	Table            *[256]uint8
}

// pairArgs is the argument block of the kernels of pairs: n elements, an operand
// with step 0 being one value for all. gen/ knows this layout; TestLayouts compares.
type pairArgs struct {
	y, a, b      unsafe.Pointer
	n            int
	aFlip, bFlip uint32 // turn stored bytes into u8
	aZero, bZero int32  // of the u8
	pair         uint32 // of additions: A and, in the high half, B
	mult, lo, hi float32
	zero         int32
	scalarB      uint32 // not 0: b is one value
}

type pairKernel struct {
	kernel
	run func(*pairArgs)
}

// Add prepares q_add. Y may be X or X2 where shape and element size agree.
func Add(s PairSpec, l isa.Level) (Kernel, error) {
	if s.FactorA < 0 || s.FactorB < 0 || s.FactorA > 1<<14 || s.FactorB > 1<<14 {
		return nil, specError("q_add", fmt.Sprintf("factors %d and %d", s.FactorA, s.FactorB), "0 to 16384")
	}
	return newPair("q_add", s, addKernels, l)
}

// Multiply prepares q_multiply. Y may be X or X2 where shape and element size agree.
func Multiply(s PairSpec, l isa.Level) (Kernel, error) {
	return newPair("q_multiply", s, multiplyKernels, l)
}

// repeatedBytes is how much a repeated row fills: well within the first level cache.
const repeatedBytes = 2048

// leastRow is below which rows with one value of an operand go together.
const leastRow = 64

// spreadValues writes each of rows values, step bytes apart, n times.
func spreadValues(dst []byte, values unsafe.Pointer, step, rows, n int) {
	if n == 2 {
		for r := range rows {
			v := *(*byte)(unsafe.Add(values, r*step))
			dst[2*r], dst[2*r+1] = v, v
		}
		return
	}
	for r := range rows {
		fill(dst[r*n:(r+1)*n], *(*byte)(unsafe.Add(values, r*step)))
	}
}

// repeatRow fills dst, a multiple of row's length, with copies of row.
func repeatRow(dst, row []byte) {
	for n := copy(dst, row); n < len(dst); {
		n += copy(dst[n:], dst[:n])
	}
}

var pairPool = sync.Pool{New: func() any { return new(pairArgs) }}

// axis is one dimension of a broadcast result and the operands' steps along it.
type axis struct{ n, a, b int }

// broadcast gives the axes of a result, outer first, neighbours with one step
// joined, without axes of extent 1.
func broadcast(a, b []int) ([]axis, bool) {
	rank := max(len(a), len(b))
	at := func(s []int, i int) int {
		if j := i - (rank - len(s)); j >= 0 {
			return s[j]
		}
		return 1
	}
	var out []axis
	sa, sb := 1, 1
	for i := rank - 1; i >= 0; i-- {
		na, nb := at(a, i), at(b, i)
		if na != nb && na != 1 && nb != 1 {
			return nil, false
		}
		x := axis{max(na, nb), sa, sb}
		if na == 0 || nb == 0 {
			x.n = 0
		}
		if na == 1 {
			x.a = 0
		}
		if nb == 1 {
			x.b = 0
		}
		sa, sb = sa*na, sb*nb
		if x.n == 1 {
			continue
		}
		if k := len(out) - 1; k >= 0 && x.a == out[k].a*out[k].n && x.b == out[k].b*out[k].n {
			out[k].n *= x.n
			continue
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		out = []axis{{1, 1, 1}}
	}
	slices.Reverse(out)
	return out, true
}

func newPair(name string, s PairSpec, table [][]pairKernel, l isa.Level) (Kernel, error) {
	axes, ok := broadcast(s.AShape, s.BShape)
	if !ok {
		return nil, specError(name, fmt.Sprintf("shapes %v and %v", s.AShape, s.BShape), "shapes that broadcast")
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	o := s.Out.full()
	if s.Table != nil && o.DType > S8 {
		return nil, specError(name, fmt.Sprintf("a table on %v", o.DType), "u8 or s8")
	}
	last := axes[len(axes)-1]
	repeats := len(axes) > 1 && last.a != 0 && last.b != 0
	var stripe axis // the axis whose rows meet one row of the other operand again and again
	if repeats {
		stripe = axes[len(axes)-2]
	}
	// The operand that stays the same along rows, or over them, comes second.
	swap := last.a == 0 || repeats && stripe.a == 0
	if swap {
		stripe.a, stripe.b = stripe.b, stripe.a
	}
	// Short rows go several at a time, against as many copies of the other's row.
	copies := 1
	if repeats && stripe.b == 0 && stripe.a == last.n {
		copies = max(1, min(stripe.n, repeatedBytes/last.n))
	}
	p := pairArgs{
		aFlip: uint32(xored(s.ASigned)), bFlip: uint32(xored(s.BSigned)),
		aZero: s.AZero + offset(s.ASigned), bZero: s.BZero + offset(s.BSigned),
		pair: uint32(s.FactorA) | uint32(s.FactorB)<<16, mult: s.Mult, zero: o.Zero,
	}
	p.lo, p.hi = o.bounds()
	if swap {
		p.aFlip, p.bFlip = p.bFlip, p.aFlip
		p.aZero, p.bZero = p.bZero, p.aZero
		p.pair = p.pair>>16 | p.pair<<16
	}
	one := last.a == 0 || last.b == 0 // value of the second for a row
	spread := false
	if one && len(axes) > 1 && last.n < leastRow {
		if stripe = axes[len(axes)-2]; swap {
			stripe.a, stripe.b = stripe.b, stripe.a
		}
		// Rows of a few go several at a time, against their values spread out.
		if spread = stripe.a == last.n && stripe.b != 0; spread {
			copies = min(stripe.n, repeatedBytes/last.n)
			one = copies == 1
			spread = !one
		}
	}
	if one {
		p.scalarB = 1
	}
	kind := 0
	switch o.DType {
	case F32:
		kind = 1
	case I32:
		kind = 2
	}
	k := pick(table[kind], l)
	var lookup *lookupTable
	if s.Table != nil {
		lookup = newLookupTable(s.Table, o.DType == S8, l)
	}
	size := o.DType.bytes()
	rows := 1
	for _, x := range axes[:len(axes)-1] {
		rows *= x.n
	}
	// Units are parts of rows, or several rows.
	per := max(1, elementUnit/max(1, last.n))
	if u := evened(ceilDiv(rows, per)); u > 1 {
		per = ceilDiv(rows, u)
	}
	parts := ceilDiv(last.n, elementUnit)
	units := ceilDiv(rows, per) * parts
	outer := slices.Clone(axes[:len(axes)-1])
	run := func(lo, hi int, a *Args) {
		q := pairPool.Get().(*pairArgs)
		*q = p
		for u := lo; u < hi; u++ {
			from := cut(last.n, parts, u%parts)
			q.n = cut(last.n, parts, u%parts+1) - from
			first := u / parts * per
			end := min(rows, first+per)
			repeated := -1 // the row that the scratch memory repeats
			for r := first; r < end; {
				n := 1
				if copies > 1 {
					n = min(copies, end-r, stripe.n-r%stripe.n)
				}
				ia, ib := from*last.a, from*last.b
				for i, at := len(outer)-1, r; i >= 0; i-- {
					j := at % outer[i].n
					at /= outer[i].n
					ia += j * outer[i].a
					ib += j * outer[i].b
				}
				q.a, q.b = unsafe.Add(base(a.X), ia), unsafe.Add(base(a.X2), ib)
				if swap {
					q.a, q.b = q.b, q.a
				}
				switch {
				case spread:
					spreadValues(a.Scratch, q.b, stripe.b, n, last.n)
					q.b = base(a.Scratch)
				case n > 1:
					if row := r / stripe.n; row != repeated {
						repeatRow(a.Scratch[:copies*last.n], view[byte](q.b, last.n))
						repeated = row
					}
					q.b = base(a.Scratch)
				}
				if copies > 1 {
					q.n = n * last.n
				}
				q.y = unsafe.Add(base(a.Y), (r*last.n+from)*size)
				k.run(q)
				if lookup != nil {
					lookup.rows(q.y, q.n, 1, q.n)
				}
				r += n
			}
		}
		*q = pairArgs{}
		pairPool.Put(q)
	}
	scratch := 0
	if copies > 1 {
		scratch = align64(copies * last.n)
	}
	return &op{name: k.name, tiles: units, scratch: scratch, run: run, cost: 0.08 * float64(rows*last.n) / float64(max(1, units))}, nil
}

func (p *pairArgs) bStep() int {
	if p.scalarB != 0 {
		return 0
	}
	return 1
}

// sum is element i of a q_add.
func (p *pairArgs) sum(a, b uint8) int32 {
	return (int32(a^uint8(p.aFlip))-p.aZero)*int32(p.pair&0xffff) + (int32(b^uint8(p.bFlip))-p.bZero)*int32(p.pair>>16)
}

func (p *pairArgs) product(a, b uint8) int32 {
	return (int32(a^uint8(p.aFlip)) - p.aZero) * (int32(b^uint8(p.bFlip)) - p.bZero)
}

// pairPortable makes the three kernels of a pair from what gives its sums.
func pairPortable(name string, sum func(p *pairArgs, a, b uint8) int32) [][]pairKernel {
	row := func(kind string, f func(*pairArgs)) []pairKernel {
		return []pairKernel{{kernel{name + "_" + kind + "_portable", isa.Portable}, f}}
	}
	return [][]pairKernel{
		row("bytes", pairBytes(sum)),
		row("f32", func(p *pairArgs) {
			x, b, bs := view[uint8](p.a, p.n), p.b, p.bStep()
			y := view[float32](p.y, p.n)
			for i, v := range x {
				y[i] = float32(sum(p, v, *(*uint8)(unsafe.Add(b, i*bs)))) * p.mult
			}
		}),
		row("i32", func(p *pairArgs) {
			x, b, bs := view[uint8](p.a, p.n), p.b, p.bStep()
			y := view[int32](p.y, p.n)
			for i, v := range x {
				y[i] = sum(p, v, *(*uint8)(unsafe.Add(b, i*bs)))
			}
		}),
	}
}

func pairBytes(sum func(p *pairArgs, a, b uint8) int32) func(*pairArgs) {
	return func(p *pairArgs) {
		x, b, bs := view[uint8](p.a, p.n), p.b, p.bStep()
		y := view[uint8](p.y, p.n)
		for i, v := range x {
			y[i] = uint8(requant(float32(float32(sum(p, v, *(*uint8)(unsafe.Add(b, i*bs))))*p.mult), p.lo, p.hi, p.zero))
		}
	}
}
