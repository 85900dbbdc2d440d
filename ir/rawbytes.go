package ir

import (
	"math"
	"unsafe"
)

// RawBytes gives the elements as little-endian bytes, as safetensors and MLIR
// store them; bools are a byte each. On little-endian machines it is a view.
func (t *Tensor) RawBytes() []byte {
	switch d := t.Data.(type) {
	case []uint8:
		return d
	case []int8:
		return view(d, 1)
	case []bool:
		return view(d, 1)
	case []float32:
		if littleEndian {
			return view(d, 4)
		}
	case []float64:
		if littleEndian {
			return view(d, 8)
		}
	case []uint16:
		if littleEndian {
			return view(d, 2)
		}
	case []int64:
		if littleEndian {
			return view(d, 8)
		}
	case []int32:
		if littleEndian {
			return view(d, 4)
		}
	}
	size := t.DType.Size()
	out := make([]byte, 0, t.Len()*size)
	for i := range t.Len() {
		var u uint64
		switch d := t.Data.(type) {
		case []float32:
			u = uint64(math.Float32bits(d[i]))
		case []float64:
			u = math.Float64bits(d[i])
		case []uint16:
			u = uint64(d[i])
		case []int64:
			u = uint64(d[i])
		case []int32:
			u = uint64(uint32(d[i]))
		}
		for b := range size {
			out = append(out, byte(u>>(8*b)))
		}
	}
	return out
}

var littleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

func view[E any](d []E, size int) []byte {
	if len(d) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&d[0])), len(d)*size)
}
