package main

import . "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

// neonUnaries are the functions with a vector form; p gives the parameters
// Alpha, Beta, Min, Max.
var neonUnaries = []struct {
	name, ir string
	params   int
	f        func(e *neonEmitter, x nvec, p []nvec) nvec
}{
	{"negate", "negate", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.neg(x) }},
	{"abs", "abs", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.abs(x) }},
	{"exp", "exponential", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.exp(x) }},
	{"log", "log", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.log(x) }},
	{"floor", "floor", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.op(two("frintm"), x) }},
	{"ceil", "ceil", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.op(two("frintp"), x) }},
	{"roundEven", "round_nearest_even", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.op(two("frintn"), x) }},
	{"sign", "sign", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec {
		y := e.where(e.greater(x, e.c(0)), e.c(1), x)
		return e.where(e.greater(e.c(0), x), e.c(-1), y)
	}},
	{"sqrt", "sqrt", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.sqrt(x) }},
	{"rsqrt", "rsqrt", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.div(e.c(1), e.sqrt(x)) }},
	{"reciprocal", "reciprocal", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.div(e.c(1), x) }},
	{"tanh", "tanh", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.tanh(x) }},
	{"sigmoid", "logistic", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.sigmoid(x) }},
	{"erf", "erf", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.erf(x) }},
	{"relu", "relu", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.lo(x, e.c(0)) }},
	{"clamp", "clamp", 4, func(e *neonEmitter, x nvec, p []nvec) nvec { return e.hi(e.lo(x, p[2]), p[3]) }},
	{"leakyRelu", "leaky_relu", 1, func(e *neonEmitter, x nvec, p []nvec) nvec {
		return e.where(e.greater(e.c(0), x), e.mul(x, p[0]), x)
	}},
	{"hardSigmoid", "hard_sigmoid", 2, func(e *neonEmitter, x nvec, p []nvec) nvec { return e.hardSigmoid(x, p[0], p[1]) }},
	{"hardSwish", "hard_swish", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec {
		return e.mul(x, e.hardSigmoid(x, e.c(1.0/6), e.c(0.5)))
	}},
	{"silu", "silu", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.mul(x, e.sigmoid(x)) }},
	{"gelu", "gelu", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec {
		return e.mul(e.mul(x, e.c(0.5)), e.add(e.erf(e.mul(x, e.c(0.70710678))), e.c(1)))
	}},
	{"geluTanh", "gelu_tanh", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec {
		u := e.fma(e.mul(x, x), e.c(0.044715), e.c(1))
		u = e.mul(e.mul(x, e.c(0.79788456)), u)
		return e.mul(e.mul(x, e.c(0.5)), e.add(e.tanh(u), e.c(1)))
	}},
	{"elu", "elu", 1, func(e *neonEmitter, x nvec, p []nvec) nvec { return e.elu(x, p[0]) }},
	{"selu", "selu", 2, func(e *neonEmitter, x nvec, p []nvec) nvec { return e.mul(e.elu(x, p[0]), p[1]) }},
	{"softplus", "softplus", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.softplus(x) }},
	{"mish", "mish", 0, func(e *neonEmitter, x nvec, _ []nvec) nvec { return e.mul(x, e.tanh(e.softplus(x))) }},
}

func unaryNEON(w *Writer) {
	e := &neonEmitter{w: w}
	for _, u := range neonUnaries {
		e.begin(u.name+"NEON", "writes "+u.ir+" of n values of a to y, which may be a; p: the parameters.")
		var p []nvec
		for range u.params {
			p = append(p, e.value(neonP))
			w.Op("ADD $4, R%d", neonP)
		}
		e.elements(func(s Size) { e.write(s, neonY, u.f(e, e.read(s, neonA), p)) })
	}
	w.Data("consts", e.consts)
	w.Declare("// vectorUnaries lists the functions with a vector form, by the operation's name.\nvar vectorUnaries = []vectorFunc{\n")
	for _, u := range neonUnaries {
		w.Declare("{%q, %sNEON},\n", u.ir, u.name)
	}
	w.Declare("}\n")
}
