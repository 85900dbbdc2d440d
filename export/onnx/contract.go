package onnx

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// window writes a window's attributes in ONNX's names.
func window(w ir.Window) attrs {
	return attrs{"strides": w.Stride, "dilations": w.Dilation, "pads": append(slices.Clone(w.Before), w.After...), "kernel_shape": w.Kernel}
}

func conv(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		var w ir.Window
		var err error
		if op == "Conv" {
			w, err = ir.WindowOf(n)
		} else {
			w, err = ir.TransposedWindowOf(n)
		}
		if err != nil {
			return err
		}
		k, err := e.weight(n.Inputs[1], op == "ConvTranspose")
		if err != nil {
			return err
		}
		a := window(w)
		a["group"] = w.Groups
		if op == "ConvTranspose" {
			if x := n.Ints("output_padding"); len(x) > 0 {
				a["output_padding"] = x
			}
		}
		y := e.emit(op, n.Out().Name, a, e.first(n.Inputs[0]), k, e.opt(n.In(2)))
		e.setFirst(n.Out(), e.activated(n, y))
		return nil
	}
}

// activated applies the fused activation attribute.
func (e *exporter) activated(n *ir.Node, y string) string {
	if n.Op.Attr("activation") == nil {
		return y
	}
	switch n.Str("activation") {
	case "relu":
		return e.emit("Relu", n.Out().Name+"_relu", nil, y)
	case "clamp":
		return e.clip(n.Out().Name+"_clip", y, n.Float("act_min"), n.Float("act_max"))
	}
	return y
}

// weight gives a kernel as OIHW, or IOHW for a transposed convolution.
func (e *exporter) weight(v *ir.Value, inFirst bool) (string, error) {
	r := len(v.Type.Shape)
	perm := []int{r - 1, r - 2}
	if inFirst {
		perm = []int{r - 2, r - 1}
	}
	for a := range r - 2 {
		perm = append(perm, a)
	}
	if v.IsConst() {
		return e.constant(v.Name, turned(v.Const, perm)), nil
	}
	return e.emit("Transpose", v.Name+"_oihw", attrs{"perm": perm}, e.get(v)), nil
}

func dot(e *exporter, n *ir.Node) error {
	x, name := n.Inputs[0], n.Out().Name
	var y string
	if len(x.Type.Shape) == 2 {
		y = e.emit("Gemm", name, nil, e.get(x), e.get(n.Inputs[1]), e.opt(n.In(2)))
	} else {
		y = e.emit("MatMul", name, nil, e.get(x), e.get(n.Inputs[1]))
		if b := n.In(2); b != nil {
			y = e.emit("Add", name+"_bias", nil, y, e.get(b))
		}
	}
	e.set(n.Out(), e.activated(n, y))
	return nil
}

// matrix gives an operand of a batched product, turned where asked.
func (e *exporter) matrix(v *ir.Value, name string, turn bool) string {
	if !turn {
		return name
	}
	p := make([]int, len(v.Type.Shape))
	for i := range p {
		p[i] = i
	}
	r := len(p)
	p[r-1], p[r-2] = p[r-2], p[r-1]
	return e.emit("Transpose", v.Name+"_t", attrs{"perm": p}, name)
}

func dotGeneral(e *exporter, n *ir.Node) error {
	a, b := n.Inputs[0], n.Inputs[1]
	e.set(n.Out(), e.emit("MatMul", n.Out().Name, nil, e.matrix(a, e.get(a), n.Bool("transpose_a")), e.matrix(b, e.get(b), n.Bool("transpose_b"))))
	return nil
}

func attention(e *exporter, n *ir.Node) error {
	name := n.Out().Name
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	s := e.emit("MatMul", name+"_qk", nil, e.get(q), e.matrix(k, e.get(k), true))
	if f := n.Float("scale"); f != 1 {
		s = e.emit("Mul", name+"_scaled", nil, s, e.number(ir.F32, f))
	}
	if m := n.In(3); m != nil {
		s = e.emit("Add", name+"_masked", nil, s, e.get(m))
	}
	s = e.emit("Softmax", name+"_p", attrs{"axis": -1}, s)
	e.set(n.Out(), e.emit("MatMul", name, nil, s, e.get(v)))
	return nil
}
