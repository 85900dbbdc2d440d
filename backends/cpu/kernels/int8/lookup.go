package int8

import (
	"fmt"
	"sync"
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
	lookupKernel
}

func newLookupTable(table *[256]uint8, signed bool, l isa.Level) *lookupTable {
	t := &lookupTable{lookupKernel: pick(lookupKernels, l)}
	flip := xored(signed)
	for i := range t.table {
		t.table[i] = table[uint8(i)^flip]
	}
	return t
}

// short says whether no row has a whole vector, where those of many have.
func (t *lookupTable) short(cols, step int) bool { return cols < t.vector && cols != step }

// rows maps rows of cols bytes that lie step apart, in place.
func (t *lookupTable) rows(y unsafe.Pointer, step, rows, cols int) {
	switch {
	case step == cols:
		b := view[byte](y, rows*cols)
		t.run(b, b, &t.table)
	case t.short(cols, step):
		t.together(y, step, rows, cols)
	case t.rowsOf != nil && rows > 0 && cols > 0:
		t.apart(lookupArgs{y: y, n: cols, table: &t.table, step: uintptr(step)}, rows)
	default:
		for r := range rows {
			b := view[byte](unsafe.Add(y, r*step), cols)
			t.run(b, b, &t.table)
		}
	}
}

var lookupPool = sync.Pool{New: func() any { return new(lookupArgs) }}

// apart maps rows that lie apart, some thousand bytes a call: assembly cannot be
// interrupted.
func (t *lookupTable) apart(from lookupArgs, rows int) {
	a := lookupPool.Get().(*lookupArgs)
	most := max(1, 128<<10/from.n)
	for {
		*a = from
		a.rows = min(rows, most)
		t.rowsOf(a)
		if rows -= a.rows; rows == 0 {
			break
		}
		from.y = unsafe.Add(from.y, a.rows*int(from.step))
	}
	*a = lookupArgs{}
	lookupPool.Put(a)
}

// togetherBytes is how many bytes of rows are mapped together.
const togetherBytes = 2048

var togetherPool = sync.Pool{New: func() any { return new([togetherBytes]byte) }}

// whole maps n bytes in whole vectors: what follows them is nobody's.
func (t *lookupTable) whole(buf *[togetherBytes]byte, n int) {
	b := buf[:min(togetherBytes, ceilDiv(n, t.vector)*t.vector)]
	t.run(b, b, &t.table)
}

// together brings short rows beside each other, maps them and takes them back.
func (t *lookupTable) together(y unsafe.Pointer, step, rows, cols int) {
	buf := togetherPool.Get().(*[togetherBytes]byte)
	for most := togetherBytes / cols; rows > 0; rows -= most {
		n := min(most, rows)
		for r := range n {
			move(buf[r*cols:(r+1)*cols], view[byte](unsafe.Add(y, r*step), cols))
		}
		t.whole(buf, n*cols)
		scatter(y, step, n, cols, buf)
		if rows > most {
			y = unsafe.Add(y, most*step)
		}
	}
	togetherPool.Put(buf)
}

// scatter writes rows of cols bytes step apart.
func scatter(y unsafe.Pointer, step, rows, cols int, buf *[togetherBytes]byte) {
	if cols == 16 { // the commonest width, without a look at its length
		for r := range rows {
			*(*[16]byte)(unsafe.Add(y, r*step)) = *(*[16]byte)(buf[16*r:])
		}
		return
	}
	for r := range rows {
		move(view[byte](unsafe.Add(y, r*step), cols), buf[r*cols:(r+1)*cols])
	}
}

// lookupArgs is the argument block of the lookup kernels. gen/ knows this
// layout; TestLayouts compares.
type lookupArgs struct {
	y, x  unsafe.Pointer
	n     int
	table *[256]uint8

	// Of kernels that take rows: bytes from row to row, and how many there are.
	step uintptr
	rows int
}

type lookupKernel struct {
	kernel
	run    func(dst, src []byte, table *[256]uint8)
	vector int // bytes; what is left of them is mapped one by one
	// rowsOf, where a kernel has it, maps rows in place, of which there is one at least.
	rowsOf func(*lookupArgs)
}

func lookupPortable(dst, src []byte, table *[256]uint8) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = table[v]
	}
}
