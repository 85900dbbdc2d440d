package ir

import (
	"fmt"
	"math"
)

// Tensor is a dense array in row-major order. Data holds one of []float32,
// []float64, []uint16 (F16 and BF16 bits), []int64, []int32, []uint8, []int8,
// []bool, as DType says.
type Tensor struct {
	DType DType
	Shape Shape
	Data  any
}

// NewTensor makes a zeroed tensor; the shape must be static.
func NewTensor(d DType, shape ...int) *Tensor {
	n := Shape(shape).Elems()
	t := &Tensor{DType: d, Shape: Shape(shape).Clone()}
	switch d {
	case F32:
		t.Data = make([]float32, n)
	case F64:
		t.Data = make([]float64, n)
	case F16, BF16:
		t.Data = make([]uint16, n)
	case I64:
		t.Data = make([]int64, n)
	case I32:
		t.Data = make([]int32, n)
	case U8:
		t.Data = make([]uint8, n)
	case S8:
		t.Data = make([]int8, n)
	case Bool:
		t.Data = make([]bool, n)
	}
	return t
}

// Elem is a Go type that a tensor can hold.
type Elem interface {
	float32 | float64 | uint16 | int64 | int32 | uint8 | int8 | bool
}

// From wraps data (not copied) as a tensor. uint16 data becomes F16; set DType
// afterwards for BF16. It panics when the length does not fit: a bug, not input.
func From[E Elem](data []E, shape ...int) *Tensor {
	if Shape(shape).Elems() != len(data) {
		panic(fmt.Sprintf("BUG: %d elements for shape %v", len(data), Shape(shape)))
	}
	t := &Tensor{Shape: Shape(shape).Clone(), Data: data}
	switch any(data).(type) {
	case []float32:
		t.DType = F32
	case []float64:
		t.DType = F64
	case []uint16:
		t.DType = F16
	case []int64:
		t.DType = I64
	case []int32:
		t.DType = I32
	case []uint8:
		t.DType = U8
	case []int8:
		t.DType = S8
	case []bool:
		t.DType = Bool
	}
	return t
}

// Scalar makes a tensor of rank 0.
func Scalar[E Elem](v E) *Tensor { return From([]E{v}) }

// Of gives the elements as []E; it panics with "BUG" on another element type.
func Of[E Elem](t *Tensor) []E {
	d, ok := t.Data.([]E)
	if !ok {
		panic(fmt.Sprintf("BUG: tensor of %v read as %T", t.DType, d))
	}
	return d
}

// F32 gives the elements of an F32 tensor.
func (t *Tensor) F32() []float32 { return Of[float32](t) }

// I64 gives the elements of an I64 tensor.
func (t *Tensor) I64() []int64 { return Of[int64](t) }

// I32 gives the elements of an I32 tensor.
func (t *Tensor) I32() []int32 { return Of[int32](t) }

// U8 gives the elements of a U8 tensor.
func (t *Tensor) U8() []uint8 { return Of[uint8](t) }

// S8 gives the elements of an S8 tensor.
func (t *Tensor) S8() []int8 { return Of[int8](t) }

// Len is the number of elements.
func (t *Tensor) Len() int { return t.Shape.Elems() }

// Bytes is the size of the data.
func (t *Tensor) Bytes() int64 { return int64(t.Len()) * int64(t.DType.Size()) }

// Type gives the tensor's type without quantization.
func (t *Tensor) Type() Type { return Type{DType: t.DType, Shape: t.Shape.Clone()} }

// Reshaped gives a view with another shape of equal size.
func (t *Tensor) Reshaped(shape ...int) *Tensor {
	if Shape(shape).Elems() != t.Len() {
		panic(fmt.Sprintf("BUG: %v reshaped to %v", t.Shape, Shape(shape)))
	}
	return &Tensor{DType: t.DType, Shape: Shape(shape).Clone(), Data: t.Data}
}

// Clone copies the data.
func (t *Tensor) Clone() *Tensor {
	c := NewTensor(t.DType, t.Shape...)
	CopyData(c, t)
	return c
}

// CopyData copies src's elements to dst; both have one element type and length.
func CopyData(dst, src *Tensor) {
	switch d := dst.Data.(type) {
	case []float32:
		copy(d, Of[float32](src))
	case []float64:
		copy(d, Of[float64](src))
	case []uint16:
		copy(d, Of[uint16](src))
	case []int64:
		copy(d, Of[int64](src))
	case []int32:
		copy(d, Of[int32](src))
	case []uint8:
		copy(d, Of[uint8](src))
	case []int8:
		copy(d, Of[int8](src))
	case []bool:
		copy(d, Of[bool](src))
	}
}

// At reads element i as a float64, whatever the element type.
func (t *Tensor) At(i int) float64 {
	switch d := t.Data.(type) {
	case []float32:
		return float64(d[i])
	case []float64:
		return d[i]
	case []uint16:
		if t.DType == BF16 {
			return float64(math.Float32frombits(uint32(d[i]) << 16))
		}
		return float64(HalfToFloat32(d[i]))
	case []int64:
		return float64(d[i])
	case []int32:
		return float64(d[i])
	case []uint8:
		return float64(d[i])
	case []int8:
		return float64(d[i])
	case []bool:
		if d[i] {
			return 1
		}
	}
	return 0
}

// Int reads element i as an int; floats are truncated.
func (t *Tensor) Int(i int) int {
	if d, ok := t.Data.([]int64); ok {
		return int(d[i])
	}
	return int(t.At(i))
}

// Ints gives all elements as ints, for shapes and axes.
func (t *Tensor) Ints() []int {
	out := make([]int, t.Len())
	for i := range out {
		out[i] = t.Int(i)
	}
	return out
}

// Set writes v to element i, rounding to nearest even and saturating for
// integer types.
func (t *Tensor) Set(i int, v float64) {
	switch d := t.Data.(type) {
	case []float32:
		d[i] = float32(v)
	case []float64:
		d[i] = v
	case []uint16:
		if t.DType == BF16 {
			d[i] = Float32ToBF16(float32(v))
		} else {
			d[i] = Float32ToHalf(float32(v))
		}
	case []int64:
		d[i] = int64(v)
	case []int32:
		d[i] = int32(saturate(v, math.MinInt32, math.MaxInt32))
	case []uint8:
		d[i] = uint8(saturate(v, 0, 255))
	case []int8:
		d[i] = int8(saturate(v, -128, 127))
	case []bool:
		d[i] = v != 0
	}
}

func saturate(v, lo, hi float64) float64 {
	if v != v {
		return 0
	}
	return math.RoundToEven(min(max(v, lo), hi))
}

// Converted gives the tensor in another element type (floats to integers
// truncate toward zero, as StableHLO's convert).
func (t *Tensor) Converted(d DType) *Tensor {
	if t.DType == d {
		return t
	}
	out := NewTensor(d, t.Shape...)
	n := t.Len()
	for i := 0; i < n; i++ {
		v := t.At(i)
		if d.IsInt() && t.DType.IsFloat() {
			v = math.Trunc(v)
		}
		if d == I64 && t.DType == I64 {
			continue
		}
		out.Set(i, v)
	}
	return out
}

// HalfToFloat32 converts IEEE binary16 bits.
func HalfToFloat32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 31
	man := uint32(h) & 1023
	switch exp {
	case 0:
		f := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// Float32ToHalf rounds to the nearest binary16, ties to even.
func Float32ToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x47800000-0x1000: // rounds to 65536 or more
		return sign | 0x7c00
	case b < 0x38800000: // subnormal half
		f = math.Float32frombits(b)
		return sign | uint16(math.RoundToEven(float64(f)*(1<<24)))
	}
	b += 0xfff + (b>>13)&1
	return sign | uint16((b-0x38000000)>>13)
}

// Float32ToBF16 rounds to the nearest bfloat16, ties to even.
func Float32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}
