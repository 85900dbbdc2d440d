package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

func softmax(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		e.set(n.Out(), e.emit(op, n.Out().Name, attrs{"axis": axisIn(n.Int("axis"), len(x.Type.Shape), false)}, e.get(x)))
		return nil
	}
}

func batchNorm(e *exporter, n *ir.Node) error {
	y := e.emit("BatchNormalization", n.Out().Name, attrs{"epsilon": n.Float("epsilon")}, e.first(n.Inputs[0]), e.get(n.Inputs[1]), e.get(n.Inputs[2]), e.get(n.Inputs[3]), e.get(n.Inputs[4]))
	e.setFirst(n.Out(), y)
	return nil
}

func filled(v float32, shape ...int) *ir.Tensor {
	t := ir.NewTensor(ir.F32, shape...)
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return t
}

func layerNorm(e *exporter, n *ir.Node) error {
	x := n.Inputs[0]
	r := len(x.Type.Shape)
	axis := axisIn(n.Int("axis"), r, false)
	scale := e.opt(n.In(1))
	if scale == "" {
		scale = e.constant("ones", filled(1, x.Type.Shape[axis:]...))
	}
	e.set(n.Out(), e.emit("LayerNormalization", n.Out().Name, attrs{"axis": axis, "epsilon": n.Float("epsilon")}, e.get(x), scale, e.opt(n.In(2))))
	return nil
}

func rmsNorm(e *exporter, n *ir.Node) error {
	x, name := n.Inputs[0], n.Out().Name
	r := len(x.Type.Shape)
	var axes []int
	for a := axisIn(n.Int("axis"), r, false); a < r; a++ {
		axes = append(axes, a)
	}
	sq := e.emit("Mul", name+"_sq", nil, e.get(x), e.get(x))
	m := e.emit("ReduceMean", name+"_mean", attrs{"axes": axes}, sq)
	d := e.emit("Sqrt", name+"_rms", nil, e.emit("Add", name+"_eps", nil, m, e.number(ir.F32, n.Float("epsilon"))))
	y := e.emit("Div", name+"_div", nil, e.get(x), d)
	if s := n.In(1); s != nil {
		y = e.emit("Mul", name, nil, y, e.get(s))
	}
	e.set(n.Out(), y)
	return nil
}

func (e *exporter) scaleBias(n *ir.Node, c int) (scale, bias string) {
	if scale = e.opt(n.In(1)); scale == "" {
		scale = e.constant("ones", filled(1, c))
	}
	if bias = e.opt(n.In(2)); bias == "" {
		bias = e.constant("zeros", filled(0, c))
	}
	return scale, bias
}

func instanceNorm(e *exporter, n *ir.Node) error {
	s := n.Out().Type.Shape
	scale, bias := e.scaleBias(n, s[len(s)-1])
	e.setFirst(n.Out(), e.emit("InstanceNormalization", n.Out().Name, attrs{"epsilon": n.Float("epsilon")}, e.first(n.Inputs[0]), scale, bias))
	return nil
}

// groupNorm normalizes groups as instances, then scales per channel.
func groupNorm(e *exporter, n *ir.Node) error {
	s, g, name := n.Out().Type.Shape, n.Int("groups"), n.Out().Name
	c := s[len(s)-1]
	flat := e.emit("Reshape", name+"_groups", nil, e.first(n.Inputs[0]), e.ints(0, g, -1))
	y := e.emit("InstanceNormalization", name+"_norm", attrs{"epsilon": n.Float("epsilon")}, flat, e.constant("ones", filled(1, g)), e.constant("zeros", filled(0, g)))
	shape := []int{0, c}
	one := []int{1, c}
	for _, d := range s[1 : len(s)-1] {
		shape, one = append(shape, d), append(one, 1)
	}
	y = e.emit("Reshape", name+"_back", nil, y, e.ints(shape...))
	for i, op := range []string{"Mul", "Add"} {
		v := n.In(i + 1)
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return fmt.Errorf("scale and bias are computed while the model runs")
		}
		y = e.emit(op, name+"_"+op, nil, y, e.constant(v.Name, v.Const.Reshaped(one...)))
	}
	e.setFirst(n.Out(), y)
	return nil
}
