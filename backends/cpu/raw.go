package cpu

import (
	"unsafe"

	"github.com/nasc-dev/nasc/ir"
)

// rawBytes gives a tensor's elements as memory, not copied.
func rawBytes(t *ir.Tensor) []byte {
	switch d := t.Data.(type) {
	case []float32:
		return memory(d)
	case []float64:
		return memory(d)
	case []uint16:
		return memory(d)
	case []int64:
		return memory(d)
	case []int32:
		return memory(d)
	case []uint8:
		return d
	case []int8:
		return memory(d)
	case []bool:
		return memory(d)
	}
	panic("BUG: a tensor of " + t.DType.String() + " without data")
}

func memory[E ir.Elem](d []E) []byte {
	if len(d) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d))), len(d)*int(unsafe.Sizeof(d[0])))
}

// elems reads memory as elements; it must be aligned for them.
func elems[E ir.Elem](b []byte) []E {
	var e E
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}

// wrap makes a tensor of memory, not copied.
func wrap(d ir.DType, s ir.Shape, b []byte) *ir.Tensor {
	t := &ir.Tensor{DType: d, Shape: s}
	switch d {
	case ir.F32:
		t.Data = elems[float32](b)
	case ir.F64:
		t.Data = elems[float64](b)
	case ir.F16, ir.BF16:
		t.Data = elems[uint16](b)
	case ir.I64:
		t.Data = elems[int64](b)
	case ir.I32:
		t.Data = elems[int32](b)
	case ir.U8:
		t.Data = b
	case ir.S8:
		t.Data = elems[int8](b)
	case ir.Bool:
		t.Data = elems[bool](b)
	default:
		panic("BUG: a tensor of " + d.String())
	}
	return t
}

// alignedBytes allocates n bytes that begin at a multiple of alignment.
func alignedBytes(n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n+alignment)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % alignment); r != 0 {
		skip = alignment - r
	}
	return b[skip : skip+n : skip+n]
}

// guard is how far beyond a tensor a kernel may reach with lanes that are
// masked out: two columns of a depthwise row.
const guard = 1 << 15

// guardedBytes is alignedBytes between two guards that have their pages: what is
// masked out is not read, but where its page is not there yet the processor
// takes hundreds of cycles to find that nothing was wanted of it (a depthwise
// layer took 60 µs instead of 8).
func guardedBytes(n int) []byte {
	if n == 0 {
		return nil
	}
	b := alignedBytes(n + 2*guard)
	touched := byte(0)
	for at := 0; at < guard; at += 4096 {
		touched |= b[at] | b[guard+n+at]
	}
	b[len(b)-1] = touched // 0, as all of it; reads that nothing needs would not be made
	return b[guard : guard+n : guard+n]
}
