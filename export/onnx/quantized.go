package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

var quantizedOps = map[string]writer{
	"uniform_quantize": func(e *exporter, n *ir.Node) error {
		x, first := e.source(n.Inputs[0])
		return e.quantized(n, x, first)
	},
	"uniform_dequantize": func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		if x.IsConst() {
			e.set(n.Out(), e.storedWeight(x, x.Const, max(0, x.Type.Quant.Axis)))
			return nil
		}
		if x.Type.Quant.Axis >= 0 {
			return fmt.Errorf("dequantizes per channel while the model runs")
		}
		first := e.hasFirst(x)
		e.put(n.Out(), e.real(x, first), first)
		return nil
	},
	"q_convolution":           qconv,
	"q_convolution_transpose": qconvTranspose,
	"q_dot":                   qdot,
	"q_dot_general":           qdotGeneral,
	"q_add":                   qbinary("Add"),
	"q_multiply":              qbinary("Mul"),
	"q_average_pool":          qpool,
	"q_reduce_mean":           qmean,
	"q_lookup":                qlookup,
	"q_softmax": func(e *exporter, n *ir.Node) error {
		return e.quantized(n, e.emit("Softmax", n.Out().Name+"_real", attrs{"axis": -1}, e.real(n.Inputs[0], false)), false)
	},
	"q_resize": func(e *exporter, n *ir.Node) error {
		return e.quantized(n, e.resized(n, e.real(n.Inputs[0], true)), true)
	},
	"dynamic_quantize_linear": func(e *exporter, n *ir.Node) error {
		var out []string
		for _, v := range n.Outputs {
			name := e.unique(v.Name)
			out = append(out, name)
			e.set(v, name)
		}
		e.emitN("DynamicQuantizeLinear", out, nil, e.get(n.Inputs[0]))
		return nil
	},
	"dynamic_dot": dynamicDot,
	"dot_integer": func(e *exporter, n *ir.Node) error {
		e.set(n.Out(), e.emit("MatMulInteger", n.Out().Name, nil, e.get(n.Inputs[0]), e.get(n.Inputs[1]), e.opt(n.In(2)), e.opt(n.In(3))))
		return nil
	},
	"convolution_integer": func(e *exporter, n *ir.Node) error {
		w, err := ir.WindowOf(n)
		if err != nil {
			return err
		}
		k, err := e.weight(n.Inputs[1], false)
		if err != nil {
			return err
		}
		a := window(w)
		a["group"] = w.Groups
		e.setFirst(n.Out(), e.emit("ConvInteger", n.Out().Name, a, e.first(n.Inputs[0]), k, e.opt(n.In(2)), e.opt(n.In(3))))
		return nil
	},
}

// real dequantizes an activation, once for each order of axes. Each reader of
// the 8-bit tensor shares it: runtimes find the pattern all the same.
func (e *exporter) real(v *ir.Value, first bool) string {
	f := e.forms(v)
	first = first && len(v.Type.Shape) >= 3
	slot, x := &f.real, e.get
	if first {
		slot, x = &f.realF, e.first
	}
	if *slot == "" {
		q := v.Type.Quant
		*slot = e.emit("DequantizeLinear", v.Name+"_real", nil, x(v), e.number(ir.F32, float64(q.Scale[0])), e.number(v.Type.DType, float64(q.Zero[0])))
	}
	return *slot
}

// quantized clips a real result as qmin and qmax ask and quantizes it; f32
// results stay as they are.
func (e *exporter) quantized(n *ir.Node, y string, first bool) error {
	o, err := ir.OutOf(n)
	if err != nil {
		return err
	}
	switch o.DType {
	case ir.F32:
		e.put(n.Out(), y, first)
		return nil
	case ir.I32:
		return fmt.Errorf("an int32 result has no QDQ form")
	}
	lo, hi := o.DType.Range()
	if o.QMin > lo || o.QMax < hi {
		least, most := float64(o.QMin-o.Zero)*float64(o.Scale), float64(o.QMax-o.Zero)*float64(o.Scale)
		if o.QMin == o.Zero && o.QMax == hi {
			y = e.emit("Relu", n.Out().Name+"_relu", nil, y)
		} else {
			y = e.emit("Clip", n.Out().Name+"_clip", nil, y, e.number(ir.F32, least), e.number(ir.F32, most))
		}
	}
	e.put(n.Out(), e.emit("QuantizeLinear", n.Out().Name, nil, y, e.number(ir.F32, float64(o.Scale)), e.number(o.DType, float64(o.Zero))), first)
	return nil
}

// storedWeight writes an int8 weight and its dequantization per channel axis.
func (e *exporter) storedWeight(v *ir.Value, t *ir.Tensor, axis int) string {
	q := v.Type.Quant
	zero := ir.NewTensor(v.Type.DType, len(q.Scale))
	for i := range q.Scale {
		zero.Set(i, float64(q.ZeroAt(i)))
	}
	scale := ir.From(q.Scale, len(q.Scale))
	name := e.constant(v.Name, t)
	if len(q.Scale) == 1 && (len(t.Shape) == 0 || t.Shape[axis] != 1) {
		return e.emit("DequantizeLinear", v.Name+"_real", nil, name, e.constant(v.Name+"_scale", scale.Reshaped()), e.constant(v.Name+"_zero", zero.Reshaped()))
	}
	return e.emit("DequantizeLinear", v.Name+"_real", attrs{"axis": axis}, name, e.constant(v.Name+"_scale", scale), e.constant(v.Name+"_zero", zero))
}

// biasReal writes an int32 bias through a dequantization with s_x·s_w.
func (e *exporter) biasReal(n *ir.Node) (string, error) {
	b := n.In(2)
	if b == nil {
		return "", nil
	}
	if !b.IsConst() {
		return "", fmt.Errorf("its bias is computed while the model runs")
	}
	sx, w := n.Inputs[0].Type.Quant.Scale[0], n.Inputs[1].Type.Quant
	c := b.Const.Len()
	scale := ir.NewTensor(ir.F32, c)
	for i := range c {
		scale.F32()[i] = sx * w.ScaleAt(i)
	}
	return e.emit("DequantizeLinear", b.Name+"_real", attrs{"axis": 0}, e.constant(b.Name, b.Const), e.constant(b.Name+"_scale", scale), e.constant(b.Name+"_zero", ir.NewTensor(ir.I32, c))), nil
}

func qconv(e *exporter, n *ir.Node) error {
	w, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	k := n.Inputs[1]
	if !k.IsConst() {
		return fmt.Errorf("its weight is computed while the model runs")
	}
	r := len(k.Type.Shape)
	perm := []int{r - 1, r - 2}
	for a := range r - 2 {
		perm = append(perm, a)
	}
	bias, err := e.biasReal(n)
	if err != nil {
		return err
	}
	a := window(w)
	a["group"] = w.Groups
	y := e.emit("Conv", n.Out().Name+"_real", a, e.real(n.Inputs[0], true), e.storedWeight(k, turned(k.Const, perm), 0), bias)
	return e.quantized(n, y, true)
}

func qconvTranspose(e *exporter, n *ir.Node) error {
	w, err := ir.TransposedWindowOf(n)
	if err != nil {
		return err
	}
	k := n.Inputs[1]
	if !k.IsConst() {
		return fmt.Errorf("its weight is computed while the model runs")
	}
	if w.Groups > 1 {
		return fmt.Errorf("a quantized transposed convolution of %d groups has no QDQ form here", w.Groups)
	}
	r := len(k.Type.Shape)
	perm := []int{r - 2, r - 1}
	for a := range r - 2 {
		perm = append(perm, a)
	}
	bias, err := e.biasReal(n)
	if err != nil {
		return err
	}
	a := window(w)
	if x := n.Ints("output_padding"); len(x) > 0 {
		a["output_padding"] = x
	}
	y := e.emit("ConvTranspose", n.Out().Name+"_real", a, e.real(n.Inputs[0], true), e.storedWeight(k, turned(k.Const, perm), 1), bias)
	return e.quantized(n, y, true)
}

func qdot(e *exporter, n *ir.Node) error {
	x, k := n.Inputs[0], n.Inputs[1]
	if !k.IsConst() {
		return fmt.Errorf("its weight is computed while the model runs")
	}
	bias, err := e.biasReal(n)
	if err != nil {
		return err
	}
	name := n.Out().Name + "_real"
	w := e.storedWeight(k, k.Const, 1)
	if len(x.Type.Shape) == 2 {
		return e.quantized(n, e.emit("Gemm", name, nil, e.real(x, false), w, bias), false)
	}
	y := e.emit("MatMul", name, nil, e.real(x, false), w)
	if bias != "" {
		y = e.emit("Add", name+"_bias", nil, y, bias)
	}
	return e.quantized(n, y, false)
}

func qdotGeneral(e *exporter, n *ir.Node) error {
	a, b := n.Inputs[0], n.Inputs[1]
	y := e.emit("MatMul", n.Out().Name+"_real", nil, e.matrix(a, e.real(a, false), n.Bool("transpose_a")), e.matrix(b, e.real(b, false), n.Bool("transpose_b")))
	return e.quantized(n, y, false)
}

func qbinary(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		a, b := n.Inputs[0], n.Inputs[1]
		r := len(n.Out().Type.Shape)
		first := (e.hasFirst(a) || e.hasFirst(b)) && len(a.Type.Shape) == r && len(b.Type.Shape) == r
		return e.quantized(n, e.emit(op, n.Out().Name+"_real", nil, e.real(a, first), e.real(b, first)), first)
	}
}

func qpool(e *exporter, n *ir.Node) error {
	w, err := ir.WindowOf(n)
	if err != nil {
		return err
	}
	a := window(w)
	delete(a, "dilations")
	if n.Bool("count_include_pad") {
		a["count_include_pad"] = 1
	}
	return e.quantized(n, e.emit("AveragePool", n.Out().Name+"_real", a, e.real(n.Inputs[0], true)), true)
}

func qmean(e *exporter, n *ir.Node) error {
	first := e.hasFirst(n.Inputs[0]) && n.Bool("keep_dims")
	y, err := e.reduced("ReduceMean", n, e.real(n.Inputs[0], first), first)
	if err != nil {
		return err
	}
	return e.quantized(n, y, first)
}

// functionsOf are tables that a float op stands for; other tables are looked
// up as they are.
var functionsOf = map[string]string{"logistic": "Sigmoid", "tanh": "Tanh", "hard_swish": "HardSwish", "erf": "Erf", "exponential": "Exp", "sqrt": "Sqrt"}

// onlyRescales says whether a table brings its operand to another scale and
// does nothing else, so that it can be said without a table.
func onlyRescales(n *ir.Node) bool {
	t, q := n.Inputs[1].Const, n.Inputs[0].Type.Quant
	if !t.DType.Is8Bit() {
		return false
	}
	lo, hi := t.DType.Range()
	o := ir.Out{DType: t.DType, Scale: float32(n.Float("out_scale")), Zero: int32(n.Int("out_zero")), QMin: lo, QMax: hi}
	inv := ir.InverseScale(o.Scale)
	first, _ := n.Inputs[0].Type.DType.Range()
	for i := range 256 {
		real := float32(first+int32(i)-q.ZeroAt(0)) * q.ScaleAt(0)
		if ir.QuantizeOne(real, inv, o) != int32(t.Int(i)) {
			return false
		}
	}
	return true
}

func qlookup(e *exporter, n *ir.Node) error {
	x, name := n.Inputs[0], n.Out().Name
	t := n.Inputs[1].Type
	if !n.Inputs[1].IsConst() {
		return fmt.Errorf("its table is computed while the model runs")
	}
	if op := functionsOf[n.Str("function")]; op != "" && t.DType.Is8Bit() {
		first := e.hasFirst(x)
		y := e.emit(op, name+"_real", nil, e.real(x, first))
		e.put(n.Out(), e.emit("QuantizeLinear", name, nil, y, e.number(ir.F32, n.Float("out_scale")), e.number(t.DType, float64(n.Int("out_zero")))), first)
		return nil
	}
	if onlyRescales(n) {
		first := e.hasFirst(x)
		e.put(n.Out(), e.emit("QuantizeLinear", name, nil, e.real(x, first), e.number(ir.F32, n.Float("out_scale")), e.number(t.DType, float64(n.Int("out_zero")))), first)
		return nil
	}
	src, first := e.source(x)
	idx := e.emit("Cast", name+"_index", attrs{"to": int(elemType(ir.I32))}, src)
	if x.Type.DType == ir.S8 {
		idx = e.emit("Add", name+"_offset", nil, idx, e.number(ir.I32, 128))
	}
	e.put(n.Out(), e.emit("Gather", name, attrs{"axis": 0}, e.get(n.Inputs[1]), idx), first)
	return nil
}
