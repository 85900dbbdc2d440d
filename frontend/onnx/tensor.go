package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
)

// dtypeOf maps ONNX's element types; double becomes f32, the types that nasc
// computes in.
func dtypeOf(t int32) (ir.DType, error) {
	switch onnxpb.TensorProto_DataType(t) {
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		return ir.F32, nil
	case onnxpb.TensorProto_INT64, onnxpb.TensorProto_UINT64, onnxpb.TensorProto_UINT32:
		return ir.I64, nil
	case onnxpb.TensorProto_INT32, onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT16:
		return ir.I32, nil
	case onnxpb.TensorProto_UINT8:
		return ir.U8, nil
	case onnxpb.TensorProto_INT8:
		return ir.S8, nil
	case onnxpb.TensorProto_BOOL:
		return ir.Bool, nil
	}
	return ir.Invalid, fmt.Errorf("element type %v is not had", onnxpb.TensorProto_DataType(t))
}

// maxElems bounds the size of one tensor.
const maxElems = 1 << 31

// tensor decodes a TensorProto. 16-bit floats and doubles become f32, 16-bit
// and unsigned integers the next larger signed type.
func (c *importer) tensor(t *onnxpb.TensorProto) (*ir.Tensor, error) {
	d, err := dtypeOf(t.GetDataType())
	if err != nil {
		return nil, err
	}
	shape := ir.Shape{}
	n := 1
	for _, e := range t.GetDims() {
		if e < 0 || e > maxElems {
			return nil, diag.Errorf("", "an extent of %d", e)
		}
		shape = append(shape, int(e))
		if n *= int(e); n > maxElems {
			return nil, diag.Errorf("", "shape %v has more than 2^31 elements", shape)
		}
	}
	raw := t.GetRawData()
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		var file string
		offset, length := int64(0), int64(-1)
		for _, kv := range t.GetExternalData() {
			switch kv.GetKey() {
			case "location":
				file = kv.GetValue()
			case "offset":
				offset, err = strconv.ParseInt(kv.GetValue(), 10, 64)
			case "length":
				length, err = strconv.ParseInt(kv.GetValue(), 10, 64)
			}
			if err != nil {
				return nil, err
			}
		}
		if raw, err = c.external(file, offset, length); err != nil {
			return nil, err
		}
	}
	if raw != nil || n == 0 {
		return fromRaw(raw, onnxpb.TensorProto_DataType(t.GetDataType()), d, shape, n)
	}
	return fromFields(t, d, shape, n)
}

var rawSize = map[onnxpb.TensorProto_DataType]int{
	onnxpb.TensorProto_FLOAT: 4, onnxpb.TensorProto_DOUBLE: 8, onnxpb.TensorProto_FLOAT16: 2, onnxpb.TensorProto_BFLOAT16: 2,
	onnxpb.TensorProto_INT64: 8, onnxpb.TensorProto_UINT64: 8, onnxpb.TensorProto_INT32: 4, onnxpb.TensorProto_UINT32: 4,
	onnxpb.TensorProto_INT16: 2, onnxpb.TensorProto_UINT16: 2, onnxpb.TensorProto_INT8: 1, onnxpb.TensorProto_UINT8: 1, onnxpb.TensorProto_BOOL: 1,
}

func fromRaw(raw []byte, kind onnxpb.TensorProto_DataType, d ir.DType, shape ir.Shape, n int) (*ir.Tensor, error) {
	size := rawSize[kind]
	if len(raw) != n*size {
		return nil, &diag.Error{Found: fmt.Sprintf("%d bytes of data", len(raw)), Wanted: fmt.Sprintf("%d for %v of shape %v", n*size, kind, shape), Fix: "the file is damaged"}
	}
	out := ir.NewTensor(d, shape...)
	le := binary.LittleEndian
	switch kind {
	case onnxpb.TensorProto_FLOAT:
		for i, y := 0, out.F32(); i < n; i++ {
			y[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case onnxpb.TensorProto_DOUBLE:
		for i, y := 0, out.F32(); i < n; i++ {
			y[i] = float32(math.Float64frombits(le.Uint64(raw[8*i:])))
		}
	case onnxpb.TensorProto_FLOAT16:
		for i, y := 0, out.F32(); i < n; i++ {
			y[i] = ir.HalfToFloat32(le.Uint16(raw[2*i:]))
		}
	case onnxpb.TensorProto_BFLOAT16:
		for i, y := 0, out.F32(); i < n; i++ {
			y[i] = math.Float32frombits(uint32(le.Uint16(raw[2*i:])) << 16)
		}
	case onnxpb.TensorProto_INT64, onnxpb.TensorProto_UINT64:
		for i, y := 0, out.I64(); i < n; i++ {
			y[i] = int64(le.Uint64(raw[8*i:]))
		}
	case onnxpb.TensorProto_UINT32:
		for i, y := 0, out.I64(); i < n; i++ {
			y[i] = int64(le.Uint32(raw[4*i:]))
		}
	case onnxpb.TensorProto_INT32:
		for i, y := 0, out.I32(); i < n; i++ {
			y[i] = int32(le.Uint32(raw[4*i:]))
		}
	case onnxpb.TensorProto_INT16:
		for i, y := 0, out.I32(); i < n; i++ {
			y[i] = int32(int16(le.Uint16(raw[2*i:])))
		}
	case onnxpb.TensorProto_UINT16:
		for i, y := 0, out.I32(); i < n; i++ {
			y[i] = int32(le.Uint16(raw[2*i:]))
		}
	case onnxpb.TensorProto_UINT8:
		copy(out.U8(), raw)
	case onnxpb.TensorProto_INT8:
		for i, y := 0, out.S8(); i < n; i++ {
			y[i] = int8(raw[i])
		}
	case onnxpb.TensorProto_BOOL:
		for i, y := 0, out.Data.([]bool); i < n; i++ {
			y[i] = raw[i] != 0
		}
	}
	return out, nil
}

// fromFields reads the typed lists that small tensors use instead of bytes.
func fromFields(t *onnxpb.TensorProto, d ir.DType, shape ir.Shape, n int) (*ir.Tensor, error) {
	count := 0
	var at func(i int) float64
	kind := onnxpb.TensorProto_DataType(t.GetDataType())
	switch kind {
	case onnxpb.TensorProto_FLOAT:
		count, at = len(t.FloatData), func(i int) float64 { return float64(t.FloatData[i]) }
	case onnxpb.TensorProto_DOUBLE:
		count, at = len(t.DoubleData), func(i int) float64 { return t.DoubleData[i] }
	case onnxpb.TensorProto_FLOAT16:
		count, at = len(t.Int32Data), func(i int) float64 { return float64(ir.HalfToFloat32(uint16(t.Int32Data[i]))) }
	case onnxpb.TensorProto_BFLOAT16:
		count, at = len(t.Int32Data), func(i int) float64 { return float64(math.Float32frombits(uint32(t.Int32Data[i]) << 16)) }
	case onnxpb.TensorProto_INT64:
		count = len(t.Int64Data)
	case onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64:
		count, at = len(t.Uint64Data), func(i int) float64 { return float64(t.Uint64Data[i]) }
	default:
		count, at = len(t.Int32Data), func(i int) float64 { return float64(t.Int32Data[i]) }
	}
	if count != n {
		return nil, &diag.Error{Found: fmt.Sprintf("%d elements", count), Wanted: fmt.Sprintf("%d for shape %v", n, shape), Fix: "the file is damaged"}
	}
	out := ir.NewTensor(d, shape...)
	if kind == onnxpb.TensorProto_INT64 {
		copy(out.I64(), t.Int64Data)
		return out, nil
	}
	for i := range n {
		out.Set(i, at(i))
	}
	return out, nil
}
