package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/onnxpb"
	"github.com/nasc-dev/nasc/ir"
)

// dynamicDot writes a dense layer with a scale for each row in ops that every
// runtime has: the rows' ranges, scales and levels in float, MatMulInteger
// without zero points, and the rows' zero points times the columns' sums taken
// from its result.
func dynamicDot(e *exporter, n *ir.Node) error {
	x, k := n.Inputs[0], n.Inputs[1]
	if !k.IsConst() || k.Const.DType != ir.S8 {
		return fmt.Errorf("its weight is computed while the model runs, or is u8")
	}
	w, q := k.Const, k.Type.Quant
	cols := w.Shape[1]
	sums, scale := make([]int32, cols), make([]float32, cols)
	for i, v := range w.S8() {
		sums[i%cols] += int32(v)
	}
	for c := range scale {
		if q.ZeroAt(c) != 0 {
			return fmt.Errorf("its weights have zero points")
		}
		scale[c] = q.ScaleAt(c)
	}
	name := n.Out().Name
	f := func(v float64) string { return e.number(ir.F32, v) }
	in := e.get(x)
	if len(x.Type.Shape) == 1 {
		in = e.emit("Reshape", name+"_row", nil, in, e.ints(1, w.Shape[0]))
	}
	rows := attrs{"axes": []int{-1}, "keepdims": 1}
	lo := e.emit("Min", name+"_lo", nil, e.emit("ReduceMin", name+"_min", rows, in), f(0))
	hi := e.emit("Max", name+"_hi", nil, e.emit("ReduceMax", name+"_max", rows, in), f(0))
	s := e.emit("Mul", name+"_step", nil, e.emit("Sub", name+"_range", nil, hi, lo), f(float64(float32(1.0/255))))
	s = e.emit("Clip", name+"_scale", nil, s, f(0x1p-100), f(0x1p100))
	inv := e.emit("Div", name+"_inv", nil, f(1), s)
	z := e.emit("Round", name+"_zero", nil, e.emit("Min", name+"_below", nil, e.emit("Mul", name+"_off", nil, e.emit("Neg", name+"_neg", nil, lo), inv), f(255)))
	v := e.emit("Mul", name+"_levels", nil, in, inv)
	v = e.emit("Max", name+"_least", nil, v, e.emit("Neg", name+"_first", nil, z))
	v = e.emit("Min", name+"_most", nil, v, e.emit("Sub", name+"_last", nil, f(255), z))
	v = e.emit("Add", name+"_whole", nil, e.emit("Round", name+"_round", nil, v), z)
	u8 := e.emit("Cast", name+"_q", attrs{"to": int(onnxpb.TensorProto_UINT8)}, v)
	acc := e.emit("MatMulInteger", name+"_sums", nil, u8, e.constant(k.Name, w))
	z32 := e.emit("Cast", name+"_z", attrs{"to": int(onnxpb.TensorProto_INT32)}, z)
	acc = e.emit("Sub", name+"_centred", nil, acc, e.emit("Mul", name+"_zeros", nil, z32, e.constant(k.Name+"_sums", ir.From(sums, cols))))
	y := e.emit("Cast", name+"_float", attrs{"to": int(onnxpb.TensorProto_FLOAT)}, acc)
	y = e.emit("Mul", name+"_real", nil, y, e.emit("Mul", name+"_factor", nil, s, e.constant(k.Name+"_scale", ir.From(scale, cols))))
	if n.In(2) != nil {
		y = e.emit("Add", name+"_bias", nil, y, e.get(n.In(2)))
	}
	if len(x.Type.Shape) == 1 {
		y = e.emit("Reshape", name+"_vector", nil, y, e.ints(cols))
	}
	e.set(n.Out(), y)
	return nil
}
