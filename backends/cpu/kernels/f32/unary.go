package f32

import (
	"fmt"
	"slices"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// Params are the attributes of the unary functions that have some: clamp: Min,
// Max; leaky_relu, elu: Alpha; hard_sigmoid: Alpha, Beta; selu: Alpha, Beta (its
// scale). Others read none.
type Params struct{ Alpha, Beta, Min, Max float32 }

// unaryRow is a function of one variable: its portable form, and which of the
// instruction sets have it as a vector kernel is in vectorUnary.
type unaryRow struct {
	name string
	f    func(p Params) func(x float32) float32
}

func plain(f func(x float32) float32) func(Params) func(float32) float32 {
	return func(Params) func(float32) float32 { return f }
}

// unaries are the functions by the name of the operation; gelu_tanh is gelu with
// approximate="tanh".
var unaries = []unaryRow{
	{"negate", plain(func(x float32) float32 { return -x })},
	{"abs", plain(fmath.Abs)},
	{"sign", plain(fmath.Sign)},
	{"exponential", plain(fmath.Exp)},
	{"log", plain(fmath.Log)},
	{"sqrt", plain(fmath.Sqrt)},
	{"rsqrt", plain(fmath.Rsqrt)},
	{"reciprocal", plain(fmath.Reciprocal)},
	{"sine", plain(fmath.Sin)},
	{"cosine", plain(fmath.Cos)},
	{"tanh", plain(fmath.Tanh)},
	{"logistic", plain(fmath.Sigmoid)},
	{"erf", plain(fmath.Erf)},
	{"floor", plain(fmath.Floor)},
	{"ceil", plain(fmath.Ceil)},
	{"round_nearest_even", plain(fmath.RoundEven)},
	{"relu", plain(fmath.Relu)},
	{"clamp", func(p Params) func(float32) float32 {
		return func(x float32) float32 { return fmath.Clamp(x, p.Min, p.Max) }
	}},
	{"leaky_relu", func(p Params) func(float32) float32 {
		return func(x float32) float32 { return fmath.LeakyRelu(x, p.Alpha) }
	}},
	{"hard_sigmoid", func(p Params) func(float32) float32 {
		return func(x float32) float32 { return fmath.HardSigmoid(x, p.Alpha, p.Beta) }
	}},
	{"hard_swish", plain(fmath.HardSwish)},
	{"silu", plain(fmath.Silu)},
	{"gelu", plain(fmath.Gelu)},
	{"gelu_tanh", plain(fmath.GeluTanh)},
	{"elu", func(p Params) func(float32) float32 {
		return func(x float32) float32 { return fmath.Elu(x, p.Alpha) }
	}},
	{"selu", func(p Params) func(float32) float32 {
		return func(x float32) float32 { return fmath.Selu(x, p.Alpha, p.Beta) }
	}},
	{"softplus", plain(fmath.Softplus)},
	{"mish", plain(fmath.Mish)},
}

// UnaryNames lists the functions that Unary and Act know.
func UnaryNames() []string {
	var ns []string
	for _, u := range unaries {
		ns = append(ns, u.name)
	}
	return ns
}

// unaryFunc gives a function that writes f(x) to y (which may be x) elementwise.
func unaryFunc(name string, p Params, l isa.Level) (func(y, x []float32), error) {
	if f := vectorUnary(name, p, l); f != nil {
		return f, nil
	}
	i := slices.IndexFunc(unaries, func(u unaryRow) bool { return u.name == name })
	if i < 0 {
		return nil, specError("unary", fmt.Sprintf("function %q", name), "one of %v", UnaryNames())
	}
	f := unaries[i].f(p)
	return func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = f(v)
		}
	}, nil
}

// UnarySpec is an elementwise function of N values.
type UnarySpec struct {
	Name   string
	N      int
	Params Params
}

// elementUnit is the number of values in one unit of an elementwise kernel.
const elementUnit = 16384

// Unary prepares an elementwise function; Y may be X.
func Unary(s UnarySpec, l isa.Level) (Kernel, error) {
	f, err := unaryFunc(s.Name, s.Params, l)
	if err != nil {
		return nil, err
	}
	return &op{
		name: fmt.Sprintf("%s_f32_%d_%s", s.Name, s.N, l), tiles: ceilDiv(s.N, elementUnit),
		run: func(lo, hi int, a *Args) {
			for u := lo; u < hi; u++ {
				b, e := u*elementUnit, min((u+1)*elementUnit, s.N)
				f(floats(a.Y)[b:e], floats(a.X)[b:e])
			}
		},
	}, nil
}
