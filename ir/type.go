package ir

import (
	"fmt"
	"slices"
	"strconv"
)

// Quant says what an 8-bit (or int32 bias) tensor's numbers stand for:
// real = (q − Zero)·Scale. Axis −1: one scale for the tensor; otherwise one
// scale for each index of that axis, and Zero has one entry or as many.
type Quant struct {
	Axis  int
	Scale []float32
	Zero  []int32
}

// PerTensor makes the quantization of a whole tensor.
func PerTensor(scale float32, zero int32) *Quant {
	return &Quant{Axis: -1, Scale: []float32{scale}, Zero: []int32{zero}}
}

// Equal compares quantizations; nil equals only nil.
func (q *Quant) Equal(r *Quant) bool {
	if q == nil || r == nil {
		return q == r
	}
	return q.Axis == r.Axis && slices.Equal(q.Scale, r.Scale) && slices.Equal(q.Zero, r.Zero)
}

// ZeroAt gives the zero point of channel c.
func (q *Quant) ZeroAt(c int) int32 {
	if len(q.Zero) == 1 {
		return q.Zero[0]
	}
	return q.Zero[c]
}

// ScaleAt gives the scale of channel c.
func (q *Quant) ScaleAt(c int) float32 {
	if len(q.Scale) == 1 {
		return q.Scale[0]
	}
	return q.Scale[c]
}

// String prints <scale:zero>, or <axis=3> for a per-channel one, whose scales
// are stored beside the constant (see Module.Tensors).
func (q *Quant) String() string {
	if q == nil {
		return ""
	}
	if q.Axis < 0 {
		return "<" + formatF32(q.Scale[0]) + ":" + strconv.Itoa(int(q.Zero[0])) + ">"
	}
	return "<axis=" + strconv.Itoa(q.Axis) + ">"
}

// Type is what is known of a value before it is computed.
type Type struct {
	DType DType
	Shape Shape
	Quant *Quant
}

// T makes a type without quantization.
func T(d DType, dims ...int) Type { return Type{DType: d, Shape: Shape(dims)} }

// QT makes a per-tensor quantized type.
func QT(d DType, scale float32, zero int32, dims ...int) Type {
	return Type{DType: d, Shape: Shape(dims), Quant: PerTensor(scale, zero)}
}

// Equal compares element type, shape and quantization.
func (t Type) Equal(u Type) bool {
	return t.DType == u.DType && t.Shape.Equal(u.Shape) && t.Quant.Equal(u.Quant)
}

// String prints f32[N,28,28,3] or u8[N,28,28,3]<0.02:128>.
func (t Type) String() string {
	return t.DType.String() + t.Shape.String() + t.Quant.String()
}

// Bytes is the memory of a dense tensor of this type, batch counted as 1.
func (t Type) Bytes() int64 { return int64(t.Shape.Elems()) * int64(t.DType.Size()) }

// Like gives t with another shape.
func (t Type) Like(s Shape) Type { return Type{DType: t.DType, Shape: s, Quant: t.Quant} }

func formatF32(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

// check says what is wrong with a type on its own.
func (t Type) check() error {
	if t.DType == Invalid || t.DType >= numDTypes {
		return fmt.Errorf("no element type")
	}
	q := t.Quant
	if q == nil {
		return nil
	}
	if !t.DType.Is8Bit() && t.DType != I32 {
		return fmt.Errorf("%v cannot be quantized", t.DType)
	}
	n := 1
	if q.Axis >= 0 {
		if q.Axis >= len(t.Shape) {
			return fmt.Errorf("quantized axis %d of a tensor of rank %d", q.Axis, len(t.Shape))
		}
		n = t.Shape[q.Axis]
	}
	if len(q.Scale) != n {
		return fmt.Errorf("%d scales for %d channels", len(q.Scale), n)
	}
	if len(q.Zero) != 1 && len(q.Zero) != n {
		return fmt.Errorf("%d zero points for %d channels", len(q.Zero), n)
	}
	for _, s := range q.Scale {
		if !(s > 0) || s > 3e38 {
			return fmt.Errorf("scale %v is not a positive finite number", s)
		}
	}
	if t.DType.Is8Bit() {
		lo, hi := t.DType.Range()
		for _, z := range q.Zero {
			if z < lo || z > hi {
				return fmt.Errorf("zero point %d outside %v", z, t.DType)
			}
		}
	}
	return nil
}

// PerTensor says whether there is no quantization, or one for the whole tensor.
func (q *Quant) PerTensor() bool { return q == nil || q.Axis < 0 }
