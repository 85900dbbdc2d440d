package int8

import (
	"fmt"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// LookupSpec is a unary function of an 8-bit tensor of Len elements: one of the
// tables, indexed by a u8 value, or by an s8 value plus 128.
type LookupSpec struct {
	Len      int
	Signed   bool
	Table    *[256]uint8
	TableF32 *[256]float32
}

// elementUnit is how many elements of an elementwise operator make one unit.
const elementUnit = 32 << 10

// Lookup prepares a table lookup. With Table, Y may be X.
func Lookup(s LookupSpec, l isa.Level) (Kernel, error) {
	if s.Len < 0 || (s.Table == nil) == (s.TableF32 == nil) {
		return nil, specError("q_lookup", fmt.Sprintf("length %d", s.Len), "0 or more, and one of the two tables")
	}
	if s.Table != nil {
		t := newLookupTable(s.Table, s.Signed, l)
		return elementwise("lookup_"+t.name, s.Len, 0.03, func(lo, hi int, a *Args) {
			t.run(a.Y[lo:hi], a.X[lo:hi], &t.table)
		}), nil
	}
	table := *s.TableF32
	flip := xored(s.Signed)
	return elementwise("lookup_f32", s.Len, 0.3, func(lo, hi int, a *Args) {
		y := words[float32](a.Y)[lo:hi]
		for i, v := range a.X[lo:hi] {
			y[i] = table[v^flip]
		}
	}), nil
}

// elementwise cuts n elements into units; cost is ns an element.
func elementwise(name string, n int, cost float64, f func(lo, hi int, a *Args)) Kernel {
	units := evened(ceilDiv(n, elementUnit))
	return &op{name: name, tiles: units, cost: cost * float64(n) / float64(max(1, units)), run: func(lo, hi int, a *Args) {
		for u := lo; u < hi; u++ {
			f(cut(n, units, u), cut(n, units, u+1), a)
		}
	}}
}

// lookupTable is a table of bytes indexed by stored bytes.
type lookupTable struct {
	table [256]uint8
	run   func(dst, src []byte, table *[256]uint8)
	name  string
}

func newLookupTable(table *[256]uint8, signed bool, l isa.Level) *lookupTable {
	k := pick(lookupKernels, l)
	t := &lookupTable{run: k.run, name: k.name}
	flip := xored(signed)
	for i := range t.table {
		t.table[i] = table[uint8(i)^flip]
	}
	return t
}

// rows maps rows of cols bytes that lie step apart, in place.
func (t *lookupTable) rows(y unsafe.Pointer, step, rows, cols int) {
	if step == cols {
		rows, cols = 1, rows*cols
	}
	for r := range rows {
		b := view[byte](unsafe.Add(y, r*step), cols)
		t.run(b, b, &t.table)
	}
}

// lookupArgs is the argument block of the lookup kernels. gen/ knows this
// layout; TestLayouts compares.
type lookupArgs struct {
	y, x  unsafe.Pointer
	n     int
	table *[256]uint8
}

type lookupKernel struct {
	kernel
	run func(dst, src []byte, table *[256]uint8)
}

func lookupPortable(dst, src []byte, table *[256]uint8) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = table[v]
	}
}
