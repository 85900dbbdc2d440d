package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

var normOps = map[string]converter{
	"BatchNormalization":           batchNorm,
	"LayerNormalization":           layerNorm,
	"InstanceNormalization":        instanceNorm,
	"GroupNormalization":           groupNorm,
	"RMSNormalization":             rmsNorm,
	"SimplifiedLayerNormalization": rmsNorm,
	"Softmax":                      softmax("softmax"),
	"LogSoftmax":                   softmax("log_softmax"),
	"LpNormalization":              lpNorm,
	"LRN":                          localResponseNorm,
	"MeanVarianceNormalization":    meanVarianceNorm,
	"com.microsoft.SimplifiedLayerNormalization": rmsNorm,
	"com.microsoft.SkipLayerNormalization":       skipLayerNorm,
}

func batchNorm(n *node) ([]item, error) {
	n.refuse("training_mode", 0)
	y := n.emit("batch_norm_inference", ir.Attrs{"epsilon": n.attrFloat("epsilon", float64(float32(1e-5)))},
		n.channelsLast(n.in(0)), n.in(1), n.in(2), n.in(3), n.in(4))
	return one(n.channelsFirst(y))
}

func layerNorm(n *node) ([]item, error) {
	for _, o := range n.p.GetOutput()[min(1, len(n.p.GetOutput())):] {
		if o != "" {
			return nil, fmt.Errorf("mean and inverse deviation are asked for as results; wanted the first only")
		}
	}
	x := n.in(0)
	axis := n.axis(n.attrInt("axis", -1), len(x.Type.Shape))
	return one(n.emit("layer_norm", ir.Attrs{"axis": axis - len(x.Type.Shape), "epsilon": n.attrFloat("epsilon", float64(float32(1e-5)))},
		x, n.normShape(n.opt(1), x, axis), n.normShape(n.opt(2), x, axis)))
}

// normShape drops leading ones and repeats a scale that is stored smaller.
func (n *node) normShape(v, x *ir.Value, axis int) *ir.Value {
	if v == nil || n.err != nil {
		return nil
	}
	want := x.Type.Shape[axis:]
	if v.Type.Shape.Equal(want) {
		return v
	}
	if v.Type.Shape.Elems() == want.Elems() {
		return n.emit("reshape", ir.Attrs{"shape": want}, v)
	}
	return n.emit("broadcast", ir.Attrs{"shape": want}, v)
}

func rmsNorm(n *node) ([]item, error) {
	x := n.in(0)
	axis := n.axis(n.attrInt("axis", -1), len(x.Type.Shape))
	return one(n.emit("rms_norm", ir.Attrs{"axis": axis - len(x.Type.Shape), "epsilon": n.attrFloat("epsilon", float64(float32(1e-5)))},
		x, n.normShape(n.opt(1), x, axis)))
}

func instanceNorm(n *node) ([]item, error) {
	y := n.emit("instance_norm", ir.Attrs{"epsilon": n.attrFloat("epsilon", float64(float32(1e-5)))}, n.channelsLast(n.in(0)), n.in(1), n.in(2))
	return one(n.channelsFirst(y))
}

// groupNorm: up to opset 20 scale and bias are per group.
func groupNorm(n *node) ([]item, error) {
	x, scale, bias := n.in(0), n.in(1), n.in(2)
	groups := n.attrInt("num_groups", 0)
	if len(x.Type.Shape) < 2 || groups < 1 {
		return nil, fmt.Errorf("input is %v in %d groups", x.Type, groups)
	}
	c := x.Type.Shape[1]
	spread := func(v *ir.Value) *ir.Value {
		if c == groups || v.Type.Shape.Elems() != groups {
			return v
		}
		v = n.emit("reshape", ir.Attrs{"shape": ir.Shape{groups, 1}}, v)
		v = n.emit("broadcast", ir.Attrs{"shape": ir.Shape{groups, c / groups}}, v)
		return n.emit("reshape", ir.Attrs{"shape": ir.Shape{c}}, v)
	}
	y := n.emit("group_norm", ir.Attrs{"groups": groups, "epsilon": n.attrFloat("epsilon", float64(float32(1e-5)))}, n.channelsLast(x), spread(scale), spread(bias))
	return one(n.channelsFirst(y))
}

// softmax: before opset 13 the axes from axis on were one.
func softmax(op string) converter {
	return func(n *node) ([]item, error) {
		x := n.in(0)
		s := x.Type.Shape
		if n.c.opset >= 13 {
			return one(n.emit(op, ir.Attrs{"axis": n.attrInt("axis", -1)}, x))
		}
		axis := n.axis(n.attrInt("axis", 1), len(s))
		if n.err != nil {
			return nil, n.err
		}
		if axis == len(s)-1 {
			return one(n.emit(op, ir.Attrs{"axis": axis}, x))
		}
		rows, err := ir.MulDims(s[:axis]...)
		if err != nil {
			return nil, err
		}
		cols, err := ir.MulDims(s[axis:]...)
		if err != nil {
			return nil, err
		}
		y := n.emit("reshape", ir.Attrs{"shape": ir.Shape{rows, cols}}, x)
		y = n.emit(op, ir.Attrs{"axis": -1}, y)
		return one(n.emit("reshape", ir.Attrs{"shape": s}, y))
	}
}

// lpNorm divides by the 1- or 2-norm along an axis.
func lpNorm(n *node) ([]item, error) {
	x := n.in(0)
	axes := ir.Attrs{"axes": []int{n.attrInt("axis", -1)}}
	var d *ir.Value
	if n.attrInt("p", 2) == 1 {
		d = n.emit("reduce_sum", axes, n.emit("abs", nil, x))
	} else {
		d = n.emit("sqrt", nil, n.emit("reduce_sum", axes, n.emit("multiply", nil, x, x)))
	}
	// Of zeros only the norm is 0, and so is the result.
	d = n.emit("maximum", nil, d, n.scalar(d, 0x1p-126))
	return one(n.emit("divide", nil, x, d))
}

// localResponseNorm is x / (bias + alpha/size · Σ x²)^beta, the sum over size
// neighbouring channels: an average pool along the channels that counts its
// padding.
func localResponseNorm(n *node) ([]item, error) {
	x := n.in(0)
	s, size := x.Type.Shape, n.attrInt("size", 0)
	if len(s) < 3 || size < 1 || size > 1<<20 {
		return nil, fmt.Errorf("input is %v with a size of %d", x.Type, size)
	}
	x = n.channelsLast(x)
	last := x.Type.Shape
	rows, err := ir.MulDims(last[:len(last)-1]...)
	if err != nil {
		return nil, err
	}
	sq := n.emit("reshape", ir.Attrs{"shape": ir.Shape{rows, s[1], 1}}, n.emit("multiply", nil, x, x))
	before := (size - 1) / 2
	sum := n.emit("average_pool", ir.Attrs{"kernel": []int{size}, "padding": []int{before, size - 1 - before}, "count_include_pad": true}, sq)
	sum = n.emit("reshape", ir.Attrs{"shape": last}, sum)
	sum = n.emit("multiply", nil, sum, n.scalar(x, n.attrFloat("alpha", float64(float32(1e-4)))))
	sum = n.emit("add", nil, sum, n.scalar(x, n.attrFloat("bias", 1)))
	d := n.emit("power", nil, sum, n.scalar(x, n.attrFloat("beta", 0.75)))
	return one(n.channelsFirst(n.emit("divide", nil, x, d)))
}

// meanVarianceNorm is (x − mean) / (deviation + 1e-9) over axes.
func meanVarianceNorm(n *node) ([]item, error) {
	x := n.in(0)
	list := n.attrInts("axes")
	if list == nil {
		list = []int{0, 2, 3}
	}
	axes := ir.Attrs{"axes": list}
	d := n.emit("subtract", nil, x, n.emit("reduce_mean", axes, x))
	v := n.emit("sqrt", nil, n.emit("reduce_mean", axes, n.emit("multiply", nil, d, d)))
	return one(n.emit("divide", nil, d, n.emit("add", nil, v, n.scalar(v, 1e-9))))
}

// skipLayerNorm is onnxruntime's layer norm of x + skip (+ bias).
func skipLayerNorm(n *node) ([]item, error) {
	x := n.emit("add", nil, n.in(0), n.in(1))
	if b := n.opt(4); b != nil {
		x = n.emit("add", nil, x, b)
	}
	if n.err != nil {
		return nil, n.err
	}
	axis := len(x.Type.Shape) - 1
	y := n.emit("layer_norm", ir.Attrs{"axis": -1, "epsilon": n.attrFloat("epsilon", float64(float32(1e-12)))}, x, n.normShape(n.opt(2), x, axis), n.normShape(n.opt(3), x, axis))
	if out := n.p.GetOutput(); len(out) > 1 && out[1] != "" || len(out) > 2 && out[2] != "" {
		return nil, fmt.Errorf("mean and inverse deviation are asked for as results; wanted the first and the sum only")
	}
	return []item{{v: y}, {}, {}, {v: x}}, nil
}
