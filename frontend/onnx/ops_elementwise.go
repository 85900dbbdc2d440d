package onnx

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

var elementwiseOps = map[string]converter{
	"Add": arith("add"), "Sub": arith("subtract"), "Mul": arith("multiply"), "Div": arith("divide"),
	"Pow": pow, "Mod": mod,
	"Max": fold("maximum"), "Min": fold("minimum"), "Sum": fold("add"), "Mean": mean,
	"And": pairwise("and"), "Or": pairwise("or"), "Xor": pairwise("xor"), "Not": unary("not"),
	"Equal": compare("EQ"), "Less": compare("LT"), "LessOrEqual": compare("LE"), "Greater": compare("GT"), "GreaterOrEqual": compare("GE"),
	"Where": where,

	"Neg": unary("negate"), "Abs": unary("abs"), "Sign": unary("sign"), "Exp": unary("exponential"), "Log": unary("log"), "Sqrt": unary("sqrt"),
	"Reciprocal": unary("reciprocal"), "Sin": unary("sine"), "Cos": unary("cosine"), "Tanh": unary("tanh"), "Sigmoid": unary("logistic"), "Erf": unary("erf"),
	"Floor": unary("floor"), "Ceil": unary("ceil"), "Round": unary("round_nearest_even"), "Relu": unary("relu"), "HardSwish": unary("hard_swish"),
	"Softplus": unary("softplus"), "Mish": unary("mish"), "IsNaN": unary("is_nan"),
	"LeakyRelu": func(n *node) ([]item, error) {
		return one(n.emit("leaky_relu", ir.Attrs{"alpha": n.attrFloat("alpha", float64(float32(0.01)))}, n.in(0)))
	},
	"Elu": func(n *node) ([]item, error) {
		return one(n.emit("elu", ir.Attrs{"alpha": n.attrFloat("alpha", 1)}, n.in(0)))
	},
	"Selu":        selu,
	"HardSigmoid": hardSigmoid,
	"Gelu": func(n *node) ([]item, error) {
		return one(n.emit("gelu", ir.Attrs{"approximate": n.attrStr("approximate", "none")}, n.in(0)))
	},
	"PRelu":           prelu,
	"Clip":            clip,
	"Softsign":        softsign,
	"Celu":            celu,
	"ThresholdedRelu": thresholdedRelu,

	"Identity": func(n *node) ([]item, error) { return []item{n.item(0)}, n.err },
	"Dropout":  dropout,
	"Cast":     cast,
	"CastLike": castLike,

	"com.microsoft.Gelu":      unary("gelu"),
	"com.microsoft.QuickGelu": quickGelu,
	"com.microsoft.BiasGelu": func(n *node) ([]item, error) {
		return one(n.emit("gelu", nil, n.emit("add", nil, n.in(0), n.in(1))))
	},
	"com.microsoft.FastGelu": func(n *node) ([]item, error) {
		x := n.in(0)
		if b := n.opt(1); b != nil {
			x = n.emit("add", nil, x, b)
		}
		return one(n.emit("gelu", ir.Attrs{"approximate": "tanh"}, x))
	},
}

func unary(op string) converter {
	return func(n *node) ([]item, error) { return one(n.emit(op, nil, n.in(0))) }
}

func pairwise(op string) converter {
	return func(n *node) ([]item, error) { return one(n.emit(op, nil, n.in(0), n.in(1))) }
}

func compare(dir string) converter {
	return func(n *node) ([]item, error) {
		return one(n.emit("compare", ir.Attrs{"direction": dir}, n.in(0), n.in(1)))
	}
}

// arith is an elementwise operation, or one of shape arithmetic with a factor.
func arith(op string) converter {
	return func(n *node) ([]item, error) {
		a, b := n.item(0), n.item(1)
		if a.dims == nil && b.dims == nil {
			return one(n.emit(op, nil, n.in(0), n.in(1)))
		}
		x, y := n.dims(0, "operand"), n.dims(1, "operand")
		if n.err != nil || len(x) != len(y) && len(x) != 1 && len(y) != 1 {
			return nil, errSymbolic
		}
		out := make([]dim, max(len(x), len(y)))
		for i := range out {
			p, q := x[i%len(x)], y[i%len(y)]
			switch {
			case op == "multiply" && !(p.sym && q.sym):
				out[i] = dim{p.k * q.k, (p.sym || q.sym) && p.k*q.k != 0}
			case op == "divide" && !q.sym && q.k != 0 && p.k%q.k == 0:
				out[i] = dim{p.k / q.k, p.sym}
			case op == "divide" && p.sym && q.sym && q.k != 0 && p.k%q.k == 0:
				out[i] = dim{k: p.k / q.k}
			case op == "add" && p.sym == q.sym:
				out[i] = dim{p.k + q.k, p.sym}
			case (op == "add" || op == "subtract") && !q.sym && q.k == 0:
				out[i] = p
			case op == "add" && !p.sym && p.k == 0:
				out[i] = q
			case op == "subtract" && p.sym && q.sym && p.k == q.k:
				out[i] = dim{}
			default:
				return nil, errSymbolic
			}
		}
		return []item{{dims: out, scalar: a.scalar && b.scalar}}, nil
	}
}

// fold joins any number of operands by a binary op.
func fold(op string) converter {
	return func(n *node) ([]item, error) {
		y := n.in(0)
		for i := 1; i < len(n.p.GetInput()); i++ {
			y = n.emit(op, nil, y, n.in(i))
		}
		return one(y)
	}
}

func mean(n *node) ([]item, error) {
	items, err := fold("add")(n)
	if err != nil || n.err != nil {
		return nil, err
	}
	k := len(n.p.GetInput())
	if k == 1 {
		return items, nil
	}
	return one(n.emit("multiply", nil, items[0].v, n.scalar(items[0].v, 1/float64(k))))
}

func pow(n *node) ([]item, error) {
	x, y := n.in(0), n.in(1)
	if x.Type.DType != y.Type.DType {
		y = n.emit("convert", ir.Attrs{"dtype": x.Type.DType}, y)
	}
	return one(n.emit("power", nil, x, y))
}

// mod has the sign of the divisor unless fmod is set.
func mod(n *node) ([]item, error) {
	x, y := n.in(0), n.in(1)
	r := n.emit("remainder", nil, x, y)
	if n.attrInt("fmod", 0) == 0 {
		r = n.emit("remainder", nil, n.emit("add", nil, r, y), y)
	}
	return one(r)
}

func where(n *node) ([]item, error) {
	if p := n.item(0); p.v != nil && p.v.IsConst() && (n.item(1).dims != nil || n.item(2).dims != nil) {
		x, y := n.dims(1, "operand"), n.dims(2, "operand")
		cond, _ := p.v.Const.Data.([]bool)
		if len(cond) == 0 || n.err != nil {
			return nil, errSymbolic
		}
		out := make([]dim, max(len(x), len(y), len(cond)))
		for i := range out {
			out[i] = y[i%len(y)]
			if cond[i%len(cond)] {
				out[i] = x[i%len(x)]
			}
		}
		return []item{{dims: out}}, nil
	}
	return one(n.emit("select", nil, n.in(0), n.in(1), n.in(2)))
}

func selu(n *node) ([]item, error) {
	return one(n.emit("selu", ir.Attrs{"alpha": n.attrFloat("alpha", 1.6732631921768188), "scale": n.attrFloat("gamma", 1.0507010221481323)}, n.in(0)))
}

func hardSigmoid(n *node) ([]item, error) {
	return one(n.emit("hard_sigmoid", ir.Attrs{"alpha": n.attrFloat("alpha", float64(float32(0.2))), "beta": n.attrFloat("beta", 0.5)}, n.in(0)))
}

// quickGelu is x·sigmoid(alpha·x).
func quickGelu(n *node) ([]item, error) {
	x := n.in(0)
	s := n.emit("logistic", nil, n.emit("multiply", nil, x, n.scalar(x, n.attrFloat("alpha", 1.702))))
	return one(n.emit("multiply", nil, x, s))
}

// softsign is x / (1 + |x|).
func softsign(n *node) ([]item, error) {
	x := n.in(0)
	return one(n.emit("divide", nil, x, n.emit("add", nil, n.emit("abs", nil, x), n.scalar(x, 1))))
}

// celu is elu of x / alpha with the slope of x.
func celu(n *node) ([]item, error) {
	x, alpha := n.in(0), n.attrFloat("alpha", 1)
	if alpha == 0 {
		return nil, fmt.Errorf("alpha is 0")
	}
	low := n.emit("elu", ir.Attrs{"alpha": alpha}, n.emit("multiply", nil, x, n.scalar(x, 1/alpha)))
	return one(n.emit("select", nil, n.emit("compare", ir.Attrs{"direction": "GT"}, x, n.scalar(x, 0)), x, low))
}

func thresholdedRelu(n *node) ([]item, error) {
	x := n.in(0)
	above := n.emit("compare", ir.Attrs{"direction": "GT"}, x, n.scalar(x, n.attrFloat("alpha", 1)))
	return one(n.emit("select", nil, above, x, n.scalar(x, 0)))
}

func prelu(n *node) ([]item, error) {
	x, s := n.in(0), n.in(1)
	// Old exporters give [C] for an NCHW input.
	if r := len(x.Type.Shape); len(s.Type.Shape) == 1 && r > 2 && s.Type.Shape[0] == x.Type.Shape[1] && s.Type.Shape[0] != x.Type.Shape[r-1] {
		shape := ir.Shape{s.Type.Shape[0]}
		for range r - 2 {
			shape = append(shape, 1)
		}
		s = n.emit("reshape", ir.Attrs{"shape": shape}, s)
	}
	return one(n.emit("prelu", nil, x, s))
}

func clip(n *node) ([]item, error) {
	x := n.in(0)
	lo, hi := math.Inf(-1), math.Inf(1)
	if n.c.opset < 11 {
		lo, hi = n.attrFloat("min", lo), n.attrFloat("max", hi)
	} else {
		for i, bound := range []*float64{&lo, &hi} {
			v := n.opt(i + 1)
			if v == nil {
				continue
			}
			if !v.IsConst() || v.Const.Len() != 1 || !x.Type.DType.IsFloat() {
				x = n.emit([]string{"maximum", "minimum"}[i], nil, x, v)
				continue
			}
			*bound = v.Const.At(0)
		}
	}
	if lo <= -math.MaxFloat32 {
		lo = math.Inf(-1)
	}
	if hi >= math.MaxFloat32 {
		hi = math.Inf(1)
	}
	if math.IsInf(lo, -1) && math.IsInf(hi, 1) {
		return one(x)
	}
	return one(n.emit("clamp", ir.Attrs{"min": lo, "max": hi}, x))
}

func dropout(n *node) ([]item, error) {
	if t := n.opt(2); t != nil && (!t.IsConst() || t.Const.At(0) != 0) {
		return nil, fmt.Errorf("training_mode is set; wanted inference")
	}
	if len(n.p.GetOutput()) > 1 && n.p.GetOutput()[1] != "" {
		return nil, fmt.Errorf("the mask is asked for; wanted inference")
	}
	return one(n.in(0))
}

func cast(n *node) ([]item, error) {
	d, err := dtypeOf(int32(n.attrInt("to", 0)))
	if err != nil {
		return nil, err
	}
	if it := n.item(0); it.dims != nil && d.IsInt() {
		return []item{it}, nil
	}
	return n.castTo(d)
}

func castLike(n *node) ([]item, error) { return n.castTo(n.in(1).Type.DType) }

func (n *node) castTo(d ir.DType) ([]item, error) {
	x := n.in(0)
	if x.Type.Quant != nil && !x.IsConst() {
		x = n.levels(x)
	}
	if x.Type.DType == d {
		return one(x)
	}
	return one(n.emit("convert", ir.Attrs{"dtype": d}, x))
}

// levels gives the integers of a quantized tensor, as f32: to ONNX it is a
// tensor of integers, to ir one of real numbers.
func (n *node) levels(x *ir.Value) *ir.Value {
	lo, _ := x.Type.DType.Range()
	t := ir.NewTensor(ir.F32, 256)
	for i := range t.F32() {
		t.F32()[i] = float32(int(lo) + i)
	}
	return n.emit("q_lookup", nil, x, n.c.g.Const(n.resultName()+".levels", t))
}
