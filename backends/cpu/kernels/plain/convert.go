package plain

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// ConvertSpec brings Len elements from one type to another; types are named as
// in the IR: f32, i64, i32, u8, s8, bool. Floats truncate toward zero and
// saturate in 32 bits and fewer; NaN gives 0 there; i64 wraps into narrower
// integers.
type ConvertSpec struct {
	Len      int
	From, To string
}

// Convert prepares a conversion of the kinds that networks have.
func Convert(s ConvertSpec, _ isa.Level) (Kernel, error) {
	name := "convert_" + s.From + "_" + s.To
	switch s.From + " " + s.To {
	case "i64 f32":
		return each(name, s.Len, func(v int64) float32 { return float32(float64(v)) }), nil
	case "i64 i32":
		return each(name, s.Len, func(v int64) int32 { return int32(v) }), nil
	case "i64 bool":
		return each(name, s.Len, func(v int64) bool { return v != 0 }), nil
	case "i32 f32":
		return sums(name, s.Len), nil
	case "i32 i64":
		return each(name, s.Len, func(v int32) int64 { return int64(v) }), nil
	case "u8 f32":
		return each(name, s.Len, func(v uint8) float32 { return float32(v) }), nil
	case "s8 f32":
		return each(name, s.Len, func(v int8) float32 { return float32(v) }), nil
	case "u8 i32":
		return each(name, s.Len, func(v uint8) int32 { return int32(v) }), nil
	case "s8 i32":
		return each(name, s.Len, func(v int8) int32 { return int32(v) }), nil
	case "bool f32":
		return each(name, s.Len, func(v bool) float32 {
			if v {
				return 1
			}
			return 0
		}), nil
	case "bool i64":
		return each(name, s.Len, func(v bool) int64 {
			if v {
				return 1
			}
			return 0
		}), nil
	case "bool i32":
		return each(name, s.Len, func(v bool) int32 {
			if v {
				return 1
			}
			return 0
		}), nil
	case "f32 i32":
		return each(name, s.Len, func(v float32) int32 {
			if v != v {
				return 0
			}
			return int32(min(max(math.Trunc(float64(v)), math.MinInt32), math.MaxInt32))
		}), nil
	case "f32 bool":
		return each(name, s.Len, func(v float32) bool { return v != 0 }), nil
	}
	return nil, fmt.Errorf("kernel convert: none from %s to %s", s.From, s.To)
}

// sums converts i32 to f32 without a call for each element: sums of products
// come in large tensors. One rounding, as by way of float64.
func sums(name string, n int) *op {
	return &op{name: name, tiles: units(n), run: func(lo, hi int, a *Args) {
		x, y := elems[int32](a.X)[lo*unit:min(hi*unit, n)], elems[float32](a.Y)[lo*unit:]
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(v)
		}
	}}
}

func each[X, Y any](name string, n int, f func(X) Y) *op {
	return &op{name: name, tiles: units(n), run: func(lo, hi int, a *Args) {
		x, y := elems[X](a.X), elems[Y](a.Y)
		for i := lo * unit; i < min(hi*unit, n); i++ {
			y[i] = f(x[i])
		}
	}}
}

// NotSpec negates Len bools.
type NotSpec struct{ Len int }

// Not prepares a negation; Y may be X.
func Not(s NotSpec, _ isa.Level) (Kernel, error) {
	return each("not", s.Len, func(v bool) bool { return !v }), nil
}

// IsNaNSpec tests Len f32 values.
type IsNaNSpec struct{ Len int }

// IsNaN prepares the test whether values are not numbers.
func IsNaN(s IsNaNSpec, _ isa.Level) (Kernel, error) {
	return each("is_nan", s.Len, func(v float32) bool { return v != v }), nil
}
