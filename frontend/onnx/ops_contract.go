package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

var contractionOps = map[string]converter{
	"Conv":          conv,
	"ConvTranspose": convTranspose,
	"Gemm":          gemm,
	"MatMul":        matMul,

	"com.microsoft.FusedConv":   fused(conv),
	"com.microsoft.FusedGemm":   fused(gemm),
	"com.microsoft.FusedMatMul": fusedMatMul,
}

// window reads strides, dilations and pads (or auto_pad) for a kernel over the
// spatial axes of x, which is NCHW.
func (n *node) window(x ir.Shape, kernel []int) (strides, dilation, pads []int) {
	r := len(kernel)
	if len(x) != r+2 || r < 1 || r > 2 {
		n.fail("input is %v with a kernel over %d axes; wanted 1 or 2 spatial axes", x, r)
		return nil, nil, nil
	}
	list := func(name string, def, count int) []int {
		v := n.attrInts(name)
		if v == nil {
			v = make([]int, count)
			for i := range v {
				v[i] = def
			}
		}
		if len(v) != count {
			n.fail("%s has %d entries, wanted %d", name, len(v), count)
			return make([]int, count)
		}
		return v
	}
	strides, dilation, pads = list("strides", 1, r), list("dilations", 1, r), list("pads", 0, 2*r)
	for i := range r {
		if strides[i] < 1 || dilation[i] < 1 || kernel[i] < 1 {
			n.fail("kernel %v, strides %v, dilations %v: wanted 1 or more", kernel, strides, dilation)
			return strides, dilation, pads
		}
	}
	switch auto := n.attrStr("auto_pad", "NOTSET"); auto {
	case "NOTSET":
	case "VALID":
		pads = make([]int, 2*r)
	case "SAME_UPPER", "SAME_LOWER":
		pads = make([]int, 2*r)
		for i := range r {
			d := x[i+2]
			out := (d + strides[i] - 1) / strides[i]
			total := max(0, (out-1)*strides[i]+(kernel[i]-1)*dilation[i]+1-d)
			lo := total / 2
			if auto == "SAME_LOWER" {
				lo = total - lo
			}
			pads[i], pads[i+r] = lo, total-lo
		}
	default:
		n.fail("auto_pad %q is not known", auto)
	}
	return strides, dilation, pads
}

func conv(n *node) ([]item, error) {
	x, w := n.in(0), n.in(1)
	if len(w.Type.Shape) < 3 || len(w.Type.Shape) > 4 {
		n.fail("weight is %v; wanted 1 or 2 spatial axes", w.Type)
		return nil, n.err
	}
	strides, dilation, pads := n.window(x.Type.Shape, w.Type.Shape[2:])
	y := n.emit("convolution", ir.Attrs{"strides": strides, "dilation": dilation, "padding": pads, "groups": n.attrInt("group", 1)},
		n.channelsLast(x), n.turn(w, weightPerm(len(w.Type.Shape), false)), n.opt(2))
	return one(n.channelsFirst(y))
}

// fused reads onnxruntime's ops with an activation (and, for a convolution, an
// operand that is added before it).
func fused(f converter) converter {
	return func(n *node) ([]item, error) {
		items, err := f(n)
		if err != nil || n.err != nil {
			return nil, err
		}
		y := items[0].v
		if n.has(3) {
			y = n.emit("add", nil, y, n.in(3))
		}
		p := []float64{}
		if a := n.attrs["activation_params"]; a != nil {
			for _, v := range a.GetFloats() {
				p = append(p, float64(v))
			}
		}
		alpha := n.attrFloat("activation_alpha", 0.01)
		if len(p) > 0 {
			alpha = p[0]
		}
		switch act := n.attrStr("activation", ""); {
		case act == "":
		case act == "Relu":
			y = n.emit("relu", nil, y)
		case act == "Sigmoid":
			y = n.emit("logistic", nil, y)
		case act == "Tanh":
			y = n.emit("tanh", nil, y)
		case act == "LeakyRelu":
			y = n.emit("leaky_relu", ir.Attrs{"alpha": alpha}, y)
		case act == "Clip" && len(p) == 2:
			y = n.emit("clamp", ir.Attrs{"min": p[0], "max": p[1]}, y)
		case act == "HardSigmoid" && len(p) == 2:
			y = n.emit("hard_sigmoid", ir.Attrs{"alpha": p[0], "beta": p[1]}, y)
		default:
			return nil, fmt.Errorf("activation %s with %d parameters is not had", act, len(p))
		}
		return one(y)
	}
}

// fusedMatMul is alpha · a·b with either operand turned.
func fusedMatMul(n *node) ([]item, error) {
	n.refuse("transBatchA", 0)
	n.refuse("transBatchB", 0)
	a, b := n.in(0), n.in(1)
	last := func(v *ir.Value, name string) *ir.Value {
		r := len(v.Type.Shape)
		if n.attrInt(name, 0) == 0 || r < 2 {
			return v
		}
		p := make([]int, r)
		for i := range p {
			p[i] = i
		}
		p[r-1], p[r-2] = r-2, r-1
		return n.turn(v, p)
	}
	y := n.matmul(last(a, "transA"), last(b, "transB"), func(a, b *ir.Value) *ir.Value { return n.emit("dot_general", nil, a, b) })
	if f := n.attrFloat("alpha", 1); f != 1 {
		y = n.emit("multiply", nil, y, n.scalar(y, f))
	}
	return one(y)
}

// weightPerm takes OIHW to HWIO, or IOHW (transposed convolution) to HWIO.
func weightPerm(rank int, inFirst bool) []int {
	var p []int
	for a := 2; a < rank; a++ {
		p = append(p, a)
	}
	if inFirst {
		return append(p, 0, 1)
	}
	return append(p, 1, 0)
}

func convTranspose(n *node) ([]item, error) {
	x, w := n.in(0), n.in(1)
	if len(w.Type.Shape) < 3 || len(w.Type.Shape) > 4 || len(x.Type.Shape) != len(w.Type.Shape) {
		n.fail("input is %v and weight %v; wanted 1 or 2 spatial axes", x.Type, w.Type)
		return nil, n.err
	}
	kernel := w.Type.Shape[2:]
	r := len(kernel)
	auto := n.attrStr("auto_pad", "NOTSET")
	delete(n.attrs, "auto_pad")
	strides, dilation, pads := n.window(x.Type.Shape, kernel)
	if n.err != nil {
		return nil, n.err
	}
	extra := n.attrInts("output_padding")
	if extra == nil {
		extra = make([]int, r)
	}
	want := n.attrInts("output_shape")
	given := want != nil
	if want == nil && (auto == "SAME_UPPER" || auto == "SAME_LOWER") {
		for i := range r {
			want = append(want, x.Type.Shape[i+2]*strides[i])
		}
	}
	if want != nil {
		want = want[max(0, len(want)-r):]
		for i := range want {
			total := strides[i]*(x.Type.Shape[i+2]-1) + extra[i] + (kernel[i]-1)*dilation[i] + 1 - want[i]
			if total < 0 {
				// The convolution does not reach so far. A shape that was asked for
				// is filled up with the bias; SAME leaves it shorter, as
				// onnxruntime does.
				if given {
					extra[i] -= total
				}
				total = 0
			}
			lo := total / 2
			if auto != "SAME_UPPER" {
				lo = total - total/2
			}
			pads[i], pads[i+r] = lo, total-lo
		}
	}
	y := n.emit("convolution_transpose", ir.Attrs{"strides": strides, "dilation": dilation, "padding": pads, "output_padding": extra, "groups": n.attrInt("group", 1)},
		n.channelsLast(x), n.turn(w, weightPerm(len(w.Type.Shape), true)), n.opt(2))
	return one(n.channelsFirst(y))
}

// stored says whether v is a weight: a constant, or one that is dequantized.
func stored(v *ir.Value) bool {
	return v.IsConst() || v.Def != nil && v.Def.Op.Name == "uniform_dequantize" && v.Def.Inputs[0].IsConst()
}

func gemm(n *node) ([]item, error) {
	a, b, bias := n.in(0), n.in(1), n.opt(2)
	if len(a.Type.Shape) != 2 || len(b.Type.Shape) != 2 {
		n.fail("operands are %v and %v; wanted two matrices", a.Type, b.Type)
		return nil, n.err
	}
	alpha, beta := n.attrFloat("alpha", 1), n.attrFloat("beta", 1)
	if n.attrInt("transA", 0) != 0 {
		a = n.turn(a, []int{1, 0})
	}
	if n.attrInt("transB", 0) != 0 {
		b = n.turn(b, []int{1, 0})
	}
	if alpha != 1 {
		b = n.emit("multiply", nil, b, n.scalar(b, alpha))
	}
	if bias != nil && beta != 1 {
		bias = n.emit("multiply", nil, bias, n.scalar(bias, beta))
	}
	var y *ir.Value
	if !stored(b) {
		y = n.emit("dot_general", nil, a, b)
	} else if out := b.Type.Shape[1]; bias != nil && bias.Type.Shape.Elems() == out && bias.Type.Shape[len(bias.Type.Shape)-1] == out {
		if len(bias.Type.Shape) > 1 {
			bias = n.emit("reshape", ir.Attrs{"shape": ir.Shape{out}}, bias)
		}
		return one(n.emit("dot", nil, a, b, bias))
	} else {
		y = n.emit("dot", nil, a, b)
	}
	if bias != nil {
		y = n.emit("add", nil, y, bias)
	}
	return one(y)
}

func matMul(n *node) ([]item, error) {
	return one(n.matmul(n.in(0), n.in(1), func(a, b *ir.Value) *ir.Value {
		if stored(b) && len(b.Type.Shape) == 2 && a.Type.DType.IsFloat() {
			return n.emit("dot", nil, a, b)
		}
		return n.emit("dot_general", nil, a, b)
	}))
}

// matmul gives vectors the axis that numpy's matmul gives them, and takes it
// away again.
func (n *node) matmul(a, b *ir.Value, product func(a, b *ir.Value) *ir.Value) *ir.Value {
	ra, rb := len(a.Type.Shape), len(b.Type.Shape)
	if ra == 0 || rb == 0 {
		n.fail("operands are %v and %v; wanted matrices", a.Type, b.Type)
		return a
	}
	if ra == 1 {
		a = n.emit("reshape", ir.Attrs{"shape": append(ir.Shape{1}, a.Type.Shape...)}, a)
	}
	if rb == 1 {
		b = n.emit("reshape", ir.Attrs{"shape": append(b.Type.Shape.Clone(), 1)}, b)
	}
	y := product(a, b)
	s := y.Type.Shape.Clone()
	if rb == 1 {
		s = s[:len(s)-1]
	}
	if ra == 1 {
		at := len(y.Type.Shape) - 2
		s = append(s[:at:at], s[at+1:]...)
	}
	if ra == 1 || rb == 1 {
		y = n.emit("reshape", ir.Attrs{"shape": s}, y)
	}
	return y
}
