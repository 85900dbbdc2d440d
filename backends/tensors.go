package backends

import (
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// NewOutputs allocates the tensors that an executable of g writes.
func NewOutputs(g *ir.Graph) []*ir.Tensor {
	out := make([]*ir.Tensor, len(g.Outputs))
	for i, v := range g.Outputs {
		out[i] = ir.NewTensor(v.Type.DType, v.Type.Shape...)
	}
	return out
}

// CheckStatic refuses graphs with a symbolic batch.
func CheckStatic(g *ir.Graph) error {
	for _, v := range g.Inputs {
		if !v.Type.Shape.Static() {
			return &diag.Error{Place: v.String(), Found: "input " + v.Type.String() + " has a symbolic batch", Wanted: "a static shape", Fix: "specialize the graph to a batch size first"}
		}
	}
	return nil
}

// CheckTensors compares tensors given to Run with the values they stand for;
// what is "input" or "output".
func CheckTensors(what string, want []*ir.Value, have []*ir.Tensor) error {
	if len(want) != len(have) {
		return diag.Errorf(what+"s", "found %d tensors; wanted %d", len(have), len(want))
	}
	for i, v := range want {
		t := have[i]
		if t == nil {
			return diag.Errorf(place(what, i, v), "found no tensor; wanted %v", v.Type)
		}
		if t.DType != v.Type.DType || !t.Shape.Equal(v.Type.Shape) {
			return diag.Errorf(place(what, i, v), "found %v%v; wanted %v%v", t.DType, t.Shape, v.Type.DType, v.Type.Shape)
		}
		if n := dataLen(t); n != t.Len() {
			return diag.Errorf(place(what, i, v), "the tensor's data has %d elements; wanted %d of %v", n, t.Len(), t.DType)
		}
	}
	return nil
}

func place(what string, i int, v *ir.Value) string {
	return what + " " + strconv.Itoa(i) + " (" + v.Name + ")"
}

// dataLen is the number of elements a tensor really holds, −1 where Data is
// not what DType says.
func dataLen(t *ir.Tensor) int {
	n, ok := -1, false
	switch d := t.Data.(type) {
	case []float32:
		n, ok = len(d), t.DType == ir.F32
	case []float64:
		n, ok = len(d), t.DType == ir.F64
	case []uint16:
		n, ok = len(d), t.DType == ir.F16 || t.DType == ir.BF16
	case []int64:
		n, ok = len(d), t.DType == ir.I64
	case []int32:
		n, ok = len(d), t.DType == ir.I32
	case []uint8:
		n, ok = len(d), t.DType == ir.U8
	case []int8:
		n, ok = len(d), t.DType == ir.S8
	case []bool:
		n, ok = len(d), t.DType == ir.Bool
	}
	if !ok {
		return -1
	}
	return n
}
