package onnx

import (
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

type writer func(e *exporter, n *ir.Node) error

// writers are the ops that have an ONNX form.
var writers = func() map[string]writer {
	all := map[string]writer{}
	for _, m := range []map[string]writer{floatOps, movementOps, quantizedOps} {
		maps.Copy(all, m)
	}
	return all
}()

var floatOps = map[string]writer{
	"convolution": conv("Conv"), "convolution_transpose": conv("ConvTranspose"),
	"dot": dot, "dot_general": dotGeneral, "attention": attention,
	"add": binary("Add"), "subtract": binary("Sub"), "multiply": binary("Mul"), "divide": binary("Div"), "maximum": binary("Max"), "minimum": binary("Min"),
	"power": binary("Pow"), "and": binary("And"), "or": binary("Or"), "xor": binary("Xor"), "prelu": binary("PRelu"),
	"compare": compare, "select": selectOp,
	"remainder": func(e *exporter, n *ir.Node) error {
		in, first := e.aligned(n, n.Inputs)
		e.put(n.Out(), e.emit("Mod", n.Out().Name, attrs{"fmod": 1}, in...), first)
		return nil
	},
	"negate": unary("Neg"), "abs": unary("Abs"), "sign": unary("Sign"), "exponential": unary("Exp"), "log": unary("Log"), "sqrt": unary("Sqrt"),
	"reciprocal": unary("Reciprocal"), "sine": unary("Sin"), "cosine": unary("Cos"), "tanh": unary("Tanh"), "logistic": unary("Sigmoid"), "erf": unary("Erf"),
	"floor": unary("Floor"), "ceil": unary("Ceil"), "round_nearest_even": unary("Round"), "relu": unary("Relu"), "not": unary("Not"), "is_nan": unary("IsNaN"),
	"hard_swish": unary("HardSwish"), "softplus": unary("Softplus"),
	"leaky_relu":   unaryWith("LeakyRelu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha")} }),
	"elu":          unaryWith("Elu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha")} }),
	"selu":         unaryWith("Selu", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha"), "gamma": n.Float("scale")} }),
	"hard_sigmoid": unaryWith("HardSigmoid", func(n *ir.Node) attrs { return attrs{"alpha": n.Float("alpha"), "beta": n.Float("beta")} }),
	"convert":      unaryWith("Cast", func(n *ir.Node) attrs { return attrs{"to": int(elemType(n.Out().Type.DType))} }),
	"clamp": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.clip(n.Out().Name, x, n.Float("min"), n.Float("max"))
	}),
	"rsqrt": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Reciprocal", n.Out().Name, nil, e.emit("Sqrt", n.Out().Name+"_sqrt", nil, x))
	}),
	"silu": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Mul", n.Out().Name, nil, x, e.emit("Sigmoid", n.Out().Name+"_s", nil, x))
	}),
	"mish": chain(func(e *exporter, n *ir.Node, x string) string {
		return e.emit("Mul", n.Out().Name, nil, x, e.emit("Tanh", n.Out().Name+"_t", nil, e.emit("Softplus", n.Out().Name+"_p", nil, x)))
	}),
	"gelu": chain(gelu),

	"softmax": softmax("Softmax"), "log_softmax": softmax("LogSoftmax"),
	"batch_norm_inference": batchNorm, "layer_norm": layerNorm, "rms_norm": rmsNorm, "instance_norm": instanceNorm, "group_norm": groupNorm,
	"max_pool": pool("MaxPool"), "average_pool": pool("AveragePool"),
	"reduce_sum": reduce("ReduceSum"), "reduce_mean": reduce("ReduceMean"), "reduce_max": reduce("ReduceMax"), "reduce_min": reduce("ReduceMin"), "reduce_prod": reduce("ReduceProd"),
	"arg_max": func(e *exporter, n *ir.Node) error {
		keep := 0
		if n.Bool("keep_dims") {
			keep = 1
		}
		e.set(n.Out(), e.emit("ArgMax", n.Out().Name, attrs{"axis": n.Int("axis"), "keepdims": keep}, e.get(n.Inputs[0])))
		return nil
	},
	"lstm": recurrent("LSTM"), "gru": recurrent("GRU"),
}

// chain wraps an elementwise op: it keeps the order of axes that its operand
// has in the file.
func chain(f func(e *exporter, n *ir.Node, x string) string) writer {
	return func(e *exporter, n *ir.Node) error {
		x := n.Inputs[0]
		if e.hasFirst(x) {
			e.setFirst(n.Out(), f(e, n, e.first(x)))
		} else {
			e.set(n.Out(), f(e, n, e.get(x)))
		}
		return nil
	}
}

func unary(op string) writer { return unaryWith(op, func(*ir.Node) attrs { return nil }) }

func unaryWith(op string, a func(n *ir.Node) attrs) writer {
	return chain(func(e *exporter, n *ir.Node, x string) string { return e.emit(op, n.Out().Name, a(n), x) })
}

// clip bounds x; infinite bounds are left out.
func (e *exporter) clip(name, x string, lo, hi float64) string {
	if lo == 0 && math.IsInf(hi, 1) {
		return e.emit("Relu", name, nil, x)
	}
	var a, b string
	if !math.IsInf(lo, -1) {
		a = e.number(ir.F32, lo)
	}
	if !math.IsInf(hi, 1) {
		b = e.number(ir.F32, hi)
	}
	return e.emit("Clip", name, nil, x, a, b)
}

func gelu(e *exporter, n *ir.Node, x string) string {
	name := n.Out().Name
	half := e.emit("Mul", name+"_half", nil, x, e.number(ir.F32, 0.5))
	var t string
	if n.Str("approximate") == "tanh" {
		x2 := e.emit("Mul", name+"_x2", nil, x, x)
		x3 := e.emit("Mul", name+"_x3", nil, x2, x)
		in := e.emit("Add", name+"_in", nil, x, e.emit("Mul", name+"_c", nil, x3, e.number(ir.F32, 0.044715)))
		t = e.emit("Tanh", name+"_t", nil, e.emit("Mul", name+"_k", nil, in, e.number(ir.F32, math.Sqrt(2/math.Pi))))
	} else {
		t = e.emit("Erf", name+"_erf", nil, e.emit("Mul", name+"_in", nil, x, e.number(ir.F32, math.Sqrt(0.5))))
	}
	return e.emit("Mul", name, nil, half, e.emit("Add", name+"_one", nil, t, e.number(ir.F32, 1)))
}

// operand gives a binary op's operand in the order of its result.
func (e *exporter) operand(v *ir.Value, first bool, rank int) string {
	r := len(v.Type.Shape)
	switch {
	case !first || r == 0:
		return e.get(v)
	case r == rank:
		return e.first(v)
	case v.IsConst() && v.Const.Len() == 1:
		return e.get(v)
	case v.IsConst():
		s := v.Type.Shape
		for len(s) < rank {
			s = append(ir.Shape{1}, s...)
		}
		return e.constant(v.Name, turned(v.Const.Reshaped(s...), toFirst(rank)))
	}
	return ""
}

// aligned gives all operands in one order, channels first where that is how
// they exist.
func (e *exporter) aligned(n *ir.Node, in []*ir.Value) (names []string, first bool) {
	rank := len(n.Out().Type.Shape)
	for _, v := range in {
		first = first || e.hasFirst(v) && len(v.Type.Shape) == rank
	}
	for try := 0; try < 2; try++ {
		names = names[:0]
		for _, v := range in {
			s := e.operand(v, first, rank)
			if s == "" {
				first = false
				break
			}
			names = append(names, s)
		}
		if len(names) == len(in) {
			break
		}
	}
	return names, first
}

func (e *exporter) put(v *ir.Value, name string, first bool) {
	if first {
		e.setFirst(v, name)
	} else {
		e.set(v, name)
	}
}

func binary(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		in, first := e.aligned(n, n.Inputs)
		e.put(n.Out(), e.emit(op, n.Out().Name, nil, in...), first)
		return nil
	}
}

func compare(e *exporter, n *ir.Node) error {
	in, first := e.aligned(n, n.Inputs)
	op := map[string]string{"EQ": "Equal", "NE": "Equal", "LT": "Less", "LE": "LessOrEqual", "GT": "Greater", "GE": "GreaterOrEqual"}[n.Str("direction")]
	y := e.emit(op, n.Out().Name, nil, in...)
	if n.Str("direction") == "NE" {
		y = e.emit("Not", n.Out().Name+"_not", nil, y)
	}
	e.put(n.Out(), y, first)
	return nil
}

func selectOp(e *exporter, n *ir.Node) error {
	in, first := e.aligned(n, n.Inputs)
	e.put(n.Out(), e.emit("Where", n.Out().Name, nil, in...), first)
	return nil
}

// axisIn renames an axis for the order that a value has in the file.
func axisIn(axis, rank int, first bool) int {
	if axis < 0 {
		axis += rank
	}
	if !first {
		return axis
	}
	return slices.Index(toFirst(rank), axis)
}

func recurrent(op string) writer {
	return func(e *exporter, n *ir.Node) error {
		var in, out []string
		for _, v := range n.Inputs {
			in = append(in, e.opt(v))
		}
		for _, v := range n.Outputs {
			name := e.unique(v.Name)
			out = append(out, name)
			e.set(v, name)
		}
		a := attrs{"hidden_size": n.Int("hidden_size"), "direction": n.Str("direction")}
		if op == "GRU" && n.Bool("linear_before_reset") {
			a["linear_before_reset"] = 1
		}
		e.emitN(op, out, a, in...)
		return nil
	}
}
