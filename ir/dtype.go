package ir

// DType is the type of a tensor's elements.
type DType uint8

// The element types. F16 and BF16 are storage only: arithmetic converts them
// to F32 first. F64 exists for the interpreter's double-precision mode.
const (
	Invalid DType = iota
	F32
	F64
	F16
	BF16
	I64
	I32
	U8
	S8
	Bool
	numDTypes
)

var dtypeNames = [numDTypes]string{"invalid", "f32", "f64", "f16", "bf16", "i64", "i32", "u8", "s8", "bool"}

var dtypeSizes = [numDTypes]int{0, 4, 8, 2, 2, 8, 4, 1, 1, 1}

// String gives the name used in text IR: f32, s8, …
func (d DType) String() string {
	if d < numDTypes {
		return dtypeNames[d]
	}
	return "invalid"
}

// Size is the number of bytes of one element.
func (d DType) Size() int {
	if d < numDTypes {
		return dtypeSizes[d]
	}
	return 0
}

// ParseDType is the inverse of String.
func ParseDType(s string) (DType, bool) {
	for d := F32; d < numDTypes; d++ {
		if dtypeNames[d] == s {
			return d, true
		}
	}
	return Invalid, false
}

// IsFloat says whether d holds floating-point numbers.
func (d DType) IsFloat() bool { return d == F32 || d == F64 || d == F16 || d == BF16 }

// IsInt says whether d holds integers (bool is none).
func (d DType) IsInt() bool { return d == I64 || d == I32 || d == U8 || d == S8 }

// Is8Bit says whether d is one of the two quantized storage types.
func (d DType) Is8Bit() bool { return d == U8 || d == S8 }

// Range gives the least and the greatest value of an 8-bit type.
func (d DType) Range() (lo, hi int32) {
	if d == S8 {
		return -128, 127
	}
	return 0, 255
}
