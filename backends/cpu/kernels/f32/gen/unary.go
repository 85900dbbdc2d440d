package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unaryFuncs are the functions with a vector form; p addresses the broadcast
// parameters Alpha, Beta, Min, Max.
var unaryFuncs = []struct {
	name, ir string
	f        func(e emitter, x vec, p func(i int) vec) vec
}{
	{"negate", "negate", func(e emitter, x vec, _ func(int) vec) vec { return e.xor(x, e.bits(1<<31)) }},
	{"abs", "abs", func(e emitter, x vec, _ func(int) vec) vec { return e.abs(x) }},
	{"exp", "exponential", func(e emitter, x vec, _ func(int) vec) vec { return e.exp(x) }},
	{"log", "log", func(e emitter, x vec, _ func(int) vec) vec { return e.log(x) }},
	{"floor", "floor", func(e emitter, x vec, _ func(int) vec) vec { return e.round(x, 9) }},
	{"ceil", "ceil", func(e emitter, x vec, _ func(int) vec) vec { return e.round(x, 10) }},
	{"roundEven", "round_nearest_even", func(e emitter, x vec, _ func(int) vec) vec { return e.round(x, 8) }},
	{"sign", "sign", func(e emitter, x vec, _ func(int) vec) vec {
		zero := e.set(0)
		return e.where(x, less, zero, e.set(-1), e.where(x, greater, zero, e.set(1), x))
	}},
	{"sqrt", "sqrt", func(e emitter, x vec, _ func(int) vec) vec { return e.sqrt(x) }},
	{"rsqrt", "rsqrt", func(e emitter, x vec, _ func(int) vec) vec { return e.div(e.set(1), e.sqrt(x)) }},
	{"reciprocal", "reciprocal", func(e emitter, x vec, _ func(int) vec) vec { return e.div(e.set(1), x) }},
	{"tanh", "tanh", func(e emitter, x vec, _ func(int) vec) vec { return e.tanh(x) }},
	{"sigmoid", "logistic", func(e emitter, x vec, _ func(int) vec) vec { return e.sigmoid(x) }},
	{"erf", "erf", func(e emitter, x vec, _ func(int) vec) vec { return e.erf(x) }},
	{"relu", "relu", func(e emitter, x vec, _ func(int) vec) vec { return e.lo(x, 0) }},
	{"clamp", "clamp", func(e emitter, x vec, p func(int) vec) vec {
		lo, hi := p(2), p(3)
		VMAXPS(x, lo, lo)
		VMINPS(lo, hi, hi)
		return hi
	}},
	{"leakyRelu", "leaky_relu", func(e emitter, x vec, p func(int) vec) vec {
		return e.where(x, less, e.set(0), e.mul(x, p(0)), x)
	}},
	{"hardSigmoid", "hard_sigmoid", func(e emitter, x vec, p func(int) vec) vec { return e.hardSigmoid(x, p(0), p(1)) }},
	{"hardSwish", "hard_swish", func(e emitter, x vec, _ func(int) vec) vec {
		return e.mul(x, e.hardSigmoid(x, e.c(1.0/6), e.c(0.5)))
	}},
	{"silu", "silu", func(e emitter, x vec, _ func(int) vec) vec { return e.mul(x, e.sigmoid(x)) }},
	{"gelu", "gelu", func(e emitter, x vec, _ func(int) vec) vec {
		return e.mul(e.mul(x, e.c(0.5)), e.add(e.erf(e.mul(x, e.c(0.70710678))), e.c(1)))
	}},
	{"geluTanh", "gelu_tanh", func(e emitter, x vec, _ func(int) vec) vec {
		u := e.mul(x, x)
		k := e.set(0.044715)
		e.fma(u, k, e.c(1))
		u = e.mul(e.mul(x, e.c(0.79788456)), u)
		return e.mul(e.mul(x, e.c(0.5)), e.add(e.tanh(u), e.c(1)))
	}},
	{"elu", "elu", func(e emitter, x vec, p func(int) vec) vec { return e.elu(x, p(0)) }},
	{"selu", "selu", func(e emitter, x vec, p func(int) vec) vec { return e.mul(e.elu(x, p(0)), p(1)) }},
	{"softplus", "softplus", func(e emitter, x vec, _ func(int) vec) vec { return e.softplus(x) }},
	{"mish", "mish", func(e emitter, x vec, _ func(int) vec) vec { return e.mul(x, e.tanh(e.softplus(x))) }},
}

func unary() {
	for _, v := range []vecISA{avx512, avx2} {
		for _, u := range unaryFuncs {
			name := u.name + v.name
			text(name, "(y, x *float32, n int, p *Params)", fmt.Sprintf("writes %s of n values of x to y, which may be x.", u.ir))
			e := emitter{v}
			y, x, n, p := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("p"), GP64())
			elementLoop(e, n, func(mask reg.Register) {
				in := e.maskedLoad(Mem{Base: x}, mask)
				out := u.f(e, in, func(i int) vec {
					r := e.reg()
					VBROADCASTSS(Mem{Base: p, Disp: 4 * i}, r)
					return r
				})
				e.maskedStore(out, Mem{Base: y}, mask)
				ADDQ(Imm(uint64(v.bytes)), x)
				ADDQ(Imm(uint64(v.bytes)), y)
			})
			VZEROUPPER()
			RET()
		}
	}
	fmt.Fprintln(&stubs, "// vectorUnaries lists the functions with a vector form, by the operation's name.\nvar vectorUnaries = []struct { name string; avx512, avx2 func(y, x *float32, n int, p *Params) }{")
	for _, u := range unaryFuncs {
		fmt.Fprintf(&stubs, "{%q, %sAVX512, %sAVX2},\n", u.ir, u.name, u.name)
	}
	fmt.Fprintln(&stubs, "}")
}
