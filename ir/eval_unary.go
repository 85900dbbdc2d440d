package ir

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// function is an elementwise op in both precisions; it reads its parameters
// from the node once.
type function struct {
	f32 func(n *Node) func(float32) float32
	f64 func(n *Node) func(float64) float64
}

// plain makes a function without parameters.
func plain(f32 func(float32) float32, f64 func(float64) float64) function {
	return function{func(*Node) func(float32) float32 { return f32 }, func(*Node) func(float64) float64 { return f64 }}
}

var functions = map[string]function{
	"negate":             plain(func(x float32) float32 { return -x }, func(x float64) float64 { return -x }),
	"abs":                plain(fmath.Abs, math.Abs),
	"sign":               plain(fmath.Sign, sign64),
	"exponential":        plain(fmath.Exp, math.Exp),
	"log":                plain(fmath.Log, math.Log),
	"sqrt":               plain(fmath.Sqrt, math.Sqrt),
	"rsqrt":              plain(fmath.Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }),
	"reciprocal":         plain(fmath.Reciprocal, func(x float64) float64 { return 1 / x }),
	"sine":               plain(fmath.Sin, math.Sin),
	"cosine":             plain(fmath.Cos, math.Cos),
	"tanh":               plain(fmath.Tanh, math.Tanh),
	"logistic":           plain(fmath.Sigmoid, sigmoid64),
	"erf":                plain(fmath.Erf, math.Erf),
	"floor":              plain(fmath.Floor, math.Floor),
	"ceil":               plain(fmath.Ceil, math.Ceil),
	"round_nearest_even": plain(fmath.RoundEven, math.RoundToEven),
	"relu":               plain(fmath.Relu, relu64),
	"hard_swish":         plain(fmath.HardSwish, func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }),
	"silu":               plain(fmath.Silu, func(x float64) float64 { return x * sigmoid64(x) }),
	"softplus":           plain(fmath.Softplus, softplus64),
	"mish":               plain(fmath.Mish, func(x float64) float64 { return x * math.Tanh(softplus64(x)) }),
	"clamp": {
		func(n *Node) func(float32) float32 {
			lo, hi := n.F32("min"), n.F32("max")
			return func(x float32) float32 { return fmath.Clamp(x, lo, hi) }
		},
		func(n *Node) func(float64) float64 {
			lo, hi := n.Float("min"), n.Float("max")
			return func(x float64) float64 { return clamp64(x, lo, hi) }
		},
	},
	"leaky_relu": {
		func(n *Node) func(float32) float32 {
			a := n.F32("alpha")
			return func(x float32) float32 { return fmath.LeakyRelu(x, a) }
		},
		func(n *Node) func(float64) float64 {
			a := n.Float("alpha")
			return func(x float64) float64 {
				if x < 0 {
					return a * x
				}
				return x
			}
		},
	},
	"hard_sigmoid": {
		func(n *Node) func(float32) float32 {
			a, b := n.F32("alpha"), n.F32("beta")
			return func(x float32) float32 { return fmath.HardSigmoid(x, a, b) }
		},
		func(n *Node) func(float64) float64 {
			a, b := n.Float("alpha"), n.Float("beta")
			return func(x float64) float64 { return clamp64(a*x+b, 0, 1) }
		},
	},
	"gelu": {
		func(n *Node) func(float32) float32 {
			if n.Str("approximate") == "tanh" {
				return fmath.GeluTanh
			}
			return fmath.Gelu
		},
		func(n *Node) func(float64) float64 {
			if n.Str("approximate") == "tanh" {
				return func(x float64) float64 {
					return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
				}
			}
			return func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x*math.Sqrt2/2)) }
		},
	},
	"elu": {
		func(n *Node) func(float32) float32 {
			a := n.F32("alpha")
			return func(x float32) float32 { return fmath.Elu(x, a) }
		},
		func(n *Node) func(float64) float64 {
			a := n.Float("alpha")
			return func(x float64) float64 { return elu64(x, a) }
		},
	},
	"selu": {
		func(n *Node) func(float32) float32 {
			a, s := n.F32("alpha"), n.F32("scale")
			return func(x float32) float32 { return fmath.Selu(x, a, s) }
		},
		func(n *Node) func(float64) float64 {
			a, s := n.Float("alpha"), n.Float("scale")
			return func(x float64) float64 { return s * elu64(x, a) }
		},
	},
}

func relu64(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func clamp64(x, lo, hi float64) float64 {
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return x
}

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus64(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func sign64(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func elu64(x, a float64) float64 {
	if x < 0 {
		return a * math.Expm1(x)
	}
	return x
}

func evalUnary(n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	f, ok := functions[n.Op.Name]
	if !ok {
		return nil, fmt.Errorf("no evaluation")
	}
	switch x := in[0].Data.(type) {
	case []float32:
		apply(out.F32(), x, f.f32(n))
	case []float64:
		apply(out.Data.([]float64), x, f.f64(n))
	case []int64:
		g := integerFunction[int64](n.Op.Name)
		apply(out.I64(), x, g)
	case []int32:
		apply(out.I32(), x, integerFunction[int32](n.Op.Name))
	case []uint8:
		apply(out.U8(), x, integerFunction[uint8](n.Op.Name))
	case []int8:
		apply(out.S8(), x, integerFunction[int8](n.Op.Name))
	default:
		return nil, fmt.Errorf("no %s of %v", n.Op.Name, in[0].DType)
	}
	return []*Tensor{out}, nil
}

func apply[E any](y, x []E, f func(E) E) {
	parallel((len(x)+4095)/4096, func(lo, hi int) {
		for i := lo * 4096; i < min(hi*4096, len(x)); i++ {
			y[i] = f(x[i])
		}
	})
}

// integerFunction gives the numeric functions that integers have; they wrap.
func integerFunction[E int64 | int32 | uint8 | int8](name string) func(E) E {
	switch name {
	case "negate":
		return func(x E) E { return -x }
	case "abs":
		return func(x E) E {
			if x < 0 {
				return -x
			}
			return x
		}
	case "sign":
		return func(x E) E {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return E(0) - 1
			}
			return 0
		}
	}
	return func(x E) E { return max(x, 0) } // relu
}

func evalPRelu(_ *Node, in []*Tensor) ([]*Tensor, error) {
	out := in[0].Clone()
	slope := expanded(in[1], in[0].Shape)
	if y, ok := out.Data.([]float64); ok {
		for i, s := range reals[float64](slope) {
			if y[i] < 0 {
				y[i] *= s
			}
		}
		return []*Tensor{out}, nil
	}
	y := out.F32()
	for i, s := range reals[float32](slope) {
		y[i] = fmath.LeakyRelu(y[i], s)
	}
	return []*Tensor{out}, nil
}

func evalIsNaN(_ *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(Bool, in[0].Shape...)
	for i := range out.Len() {
		out.Data.([]bool)[i] = math.IsNaN(in[0].At(i))
	}
	return []*Tensor{out}, nil
}

func evalNot(_ *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(Bool, in[0].Shape...)
	for i, v := range in[0].Data.([]bool) {
		out.Data.([]bool)[i] = !v
	}
	return []*Tensor{out}, nil
}

func evalConvert(n *Node, in []*Tensor) ([]*Tensor, error) {
	d, _ := ParseDType(n.Str("dtype"))
	if a, ok := in[0].Data.([]int64); ok && d != I64 { // integers wrap, as numpy's casts
		out := NewTensor(d, in[0].Shape...)
		switch y := out.Data.(type) {
		case []int32:
			for i, v := range a {
				y[i] = int32(v)
			}
			return []*Tensor{out}, nil
		case []uint8:
			for i, v := range a {
				y[i] = uint8(v)
			}
			return []*Tensor{out}, nil
		case []int8:
			for i, v := range a {
				y[i] = int8(v)
			}
			return []*Tensor{out}, nil
		}
	}
	return []*Tensor{in[0].Converted(d)}, nil
}
