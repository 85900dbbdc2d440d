package main

import (
	"maps"
	"math"
	"slices"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/a64"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// Byte offsets of f32.vectorArgs.
const vecY, vecA, vecB, vecP, vecN, vecC, vecD = 0, 8, 16, 24, 32, 40, 44

// Registers of the kernels with a vectorArgs.
const (
	neonY, neonA, neonB, neonP, neonN, neonConst X = 1, 2, 3, 4, 5, 6
)

// neonEmitter writes float32 operations on vectors without names of registers:
// like emitter, each method is one IEEE operation or a sequence that package
// fmath defines. flush finds the registers.
type neonEmitter struct {
	w      *Writer
	consts []uint32
	vecs   nvec
	pinned map[nvec]V // for the whole function; from v31 down
	ops    []neonOp
}

// nvec is a vector, numbered in the order that they are made in.
type nvec int

const none nvec = -1

// neonOp is one instruction: it makes dst, if any, from its sources, of which
// tied, if any, is the register it changes.
type neonOp struct {
	dst, tied nvec
	src       []nvec
	make      func(d V, s []V) Inst
}

func (e *neonEmitter) op(make func(d V, s []V) Inst, src ...nvec) nvec {
	e.vecs++
	e.ops = append(e.ops, neonOp{dst: e.vecs, tied: none, src: src, make: make})
	return e.vecs
}

// change is an operation that changes its first source.
func (e *neonEmitter) change(make func(d V, s []V) Inst, src ...nvec) nvec {
	d := e.op(make, src...)
	e.ops[len(e.ops)-1].tied = src[0]
	return d
}

// pin keeps a register for a vector in the whole function.
func (e *neonEmitter) pin() (nvec, V) {
	e.vecs++
	v := V(31 - len(e.pinned))
	e.pinned[e.vecs] = v
	return e.vecs, v
}

// to moves x into a pinned vector.
func (e *neonEmitter) to(pinned, x nvec) {
	e.ops = append(e.ops, neonOp{dst: pinned, tied: none, src: []nvec{x}, make: func(d V, s []V) Inst { return Mov(d, s[0]) }})
}

// effect is an instruction without result.
func (e *neonEmitter) effect(make func(s []V) Inst, src ...nvec) {
	e.ops = append(e.ops, neonOp{dst: none, tied: none, src: src, make: func(_ V, s []V) Inst { return make(s) }})
}

// flush gives vectors registers, each until its last use, and writes the
// instructions.
func (e *neonEmitter) flush() {
	last := map[nvec]int{}
	for i, o := range e.ops {
		for _, s := range o.src {
			last[s] = i
		}
	}
	var free []V
	for v := range V(32 - len(e.pinned)) {
		free = append(free, v)
	}
	regs := maps.Clone(e.pinned)
	take := func() V {
		if len(free) == 0 {
			panic("BUG: more vectors live than there are registers")
		}
		v := free[0]
		free = free[1:]
		return v
	}
	for i, o := range e.ops {
		var src []V
		var dying []nvec
		for _, n := range o.src {
			v, ok := regs[n]
			if !ok {
				panic("BUG: a vector of another flush")
			}
			src = append(src, v)
			if _, pinned := e.pinned[n]; !pinned && last[n] == i && !slices.Contains(dying, n) {
				dying = append(dying, n)
			}
		}
		release := func(but nvec) {
			for _, n := range dying {
				if n != but {
					free = slices.Insert(free, 0, regs[n])
				}
			}
		}
		_, pinned := e.pinned[o.dst]
		switch {
		case o.dst == none || pinned:
			release(none)
		case o.tied == none: // the sources are read before the result is written
			release(none)
			regs[o.dst] = take()
		case slices.Contains(dying, o.tied) && !slices.Contains(o.src[1:], o.tied):
			regs[o.dst] = regs[o.tied]
			release(o.tied)
		default:
			regs[o.dst] = take()
			e.w.Put(Mov(regs[o.dst], regs[o.tied]))
			release(none)
		}
		e.w.Put(o.make(regs[o.dst], src))
	}
	e.ops = nil
}

func three(op string, a Arr) func(d V, s []V) Inst {
	return func(d V, s []V) Inst { return Three(op, a, d, s[0], s[1]) }
}

func two(op string) func(d V, s []V) Inst {
	return func(d V, s []V) Inst { return Two(op, S4, d, s[0]) }
}

func (e *neonEmitter) add(x, y nvec) nvec { return e.op(three("fadd", S4), x, y) }
func (e *neonEmitter) sub(x, y nvec) nvec { return e.op(three("fsub", S4), x, y) }
func (e *neonEmitter) mul(x, y nvec) nvec { return e.op(three("fmul", S4), x, y) }
func (e *neonEmitter) div(x, y nvec) nvec { return e.op(three("fdiv", S4), x, y) }
func (e *neonEmitter) sqrt(x nvec) nvec   { return e.op(two("fsqrt"), x) }
func (e *neonEmitter) abs(x nvec) nvec    { return e.op(two("fabs"), x) }
func (e *neonEmitter) neg(x nvec) nvec    { return e.op(two("fneg"), x) }
func (e *neonEmitter) addI(x, y nvec) nvec {
	return e.op(three("add", S4), x, y)
}

func (e *neonEmitter) subI(x, y nvec) nvec {
	return e.op(three("sub", S4), x, y)
}

func (e *neonEmitter) shift(op string, x nvec, by uint32) nvec {
	return e.op(func(d V, s []V) Inst { return Shift(op, d, s[0], by) }, x)
}

// fma gives p*x + c, fms c - p*x.
func (e *neonEmitter) fma(p, x, c nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("fmla", S4, d, s[1], s[2]) }, c, p, x)
}

func (e *neonEmitter) fms(p, x, c nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("fmls", S4, d, s[1], s[2]) }, c, p, x)
}

// bits is a constant in all lanes.
func (e *neonEmitter) bits(u uint32) nvec {
	i := slices.Index(e.consts, u)
	if i < 0 {
		i = len(e.consts)
		e.consts = append(e.consts, u)
	}
	return e.op(func(d V, _ []V) Inst { return Load(Q, d, neonConst, uint32(16*i)) })
}

func (e *neonEmitter) c(x float32) nvec { return e.bits(math.Float32bits(x)) }

// greater and equal are masks of lanes; NaN is neither.
func (e *neonEmitter) greater(x, y nvec) nvec { return e.op(three("fcmgt", S4), x, y) }
func (e *neonEmitter) equal(x, y nvec) nvec   { return e.op(three("fcmeq", S4), x, y) }

// where gives a in the lanes of a mask, else b.
func (e *neonEmitter) where(mask, a, b nvec) nvec {
	return e.change(func(d V, s []V) Inst { return Three("bsl", B16, d, s[1], s[2]) }, mask, a, b)
}

// lo gives x where it is not below c, else c; NaN and -0 stay. hi is its mirror.
func (e *neonEmitter) lo(x, c nvec) nvec { return e.where(e.greater(c, x), c, x) }
func (e *neonEmitter) hi(x, c nvec) nvec { return e.where(e.greater(x, c), c, x) }

// withSign gives |v| with the sign of s.
func (e *neonEmitter) withSign(v, s nvec) nvec { return e.where(e.bits(1<<31), s, v) }

func (e *neonEmitter) poly(x nvec, c []float32) nvec {
	p := e.c(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		p = e.fma(p, x, e.c(c[i]))
	}
	return p
}

func (e *neonEmitter) exp(x nvec) nvec {
	// The bounds are not 0, so that their order with zeros does not matter.
	x = e.op(three("fmax", S4), x, e.c(fmath.ExpLo))
	y, k := e.expParts(e.op(three("fmin", S4), x, e.c(fmath.ExpHi)))
	k1 := e.shift("sshr", k, 1)
	for _, f := range []nvec{k1, e.subI(k, k1)} {
		y = e.mul(y, e.shift("shl", e.addI(f, e.bits(127)), 23))
	}
	return y
}

// softExp is fmath.SoftExp.
func (e *neonEmitter) softExp(x nvec) nvec {
	y, k := e.expParts(e.op(three("fmax", S4), x, e.c(fmath.SoftExpLo)))
	y = e.mul(y, e.shift("shl", e.addI(k, e.bits(127)), 23))
	return e.op(three("bic", B16), y, e.greater(e.c(fmath.SoftExpLo), x))
}

// expParts gives y and k where exp of x is y times 2^k.
func (e *neonEmitter) expParts(x nvec) (y, k nvec) {
	t := e.fma(x, e.c(fmath.Log2E), e.c(fmath.RoundMagic))
	n := e.sub(t, e.c(fmath.RoundMagic))
	r := e.fms(n, e.c(fmath.Ln2Hi), x)
	r = e.fms(n, e.c(fmath.Ln2Lo), r)
	u := e.fma(e.mul(r, r), e.poly(r, fmath.ExpPoly[:]), r)
	return e.add(u, e.c(1)), e.subI(t, e.bits(0x4b400000))
}

func (e *neonEmitter) log(x nvec) nvec {
	tiny := e.greater(e.c(0x1p-126), x)
	v := e.where(tiny, e.mul(x, e.c(0x1p23)), x)
	e0 := e.op(three("and", B16), tiny, e.c(-23))
	k := e.shift("sshr", e.subI(v, e.bits(fmath.SqrtHalfBits)), 23)
	f := e.sub(e.subI(v, e.shift("shl", k, 23)), e.c(1))
	ex := e.add(e.op(two("scvtf"), k), e0)
	s := e.mul(f, f)
	y := e.mul(e.mul(f, s), e.poly(f, fmath.LogPoly[:]))
	y = e.fma(ex, e.c(fmath.LogLn2Lo), y)
	y = e.fma(s, e.c(-0.5), y)
	y = e.add(f, y)
	y = e.fma(ex, e.c(fmath.LogLn2Hi), y)
	inf := float32(math.Inf(1))
	y = e.where(e.equal(x, e.c(0)), e.c(-inf), y)
	y = e.where(e.greater(e.c(0), x), e.c(float32(math.NaN())), y)
	y = e.where(e.equal(x, x), y, x)
	return e.where(e.equal(x, e.c(inf)), x, y)
}

func (e *neonEmitter) softplus(x nvec) nvec {
	z := e.exp(e.neg(e.abs(x)))
	s := e.div(z, e.add(z, e.c(2)))
	w := e.mul(s, s)
	l := e.fma(e.mul(s, w), e.poly(w, fmath.Log1pPoly[:]), e.add(s, s))
	return e.add(e.lo(x, e.c(0)), l)
}

func (e *neonEmitter) tanh(x nvec) nvec {
	a := e.abs(x)
	z := e.mul(a, a)
	y := e.fma(e.mul(a, z), e.poly(z, fmath.TanhPoly[:]), a)
	d := e.add(e.exp(e.add(a, a)), e.c(1))
	big := e.sub(e.c(1), e.div(e.c(2), d))
	return e.withSign(e.where(e.greater(a, e.c(fmath.TanhSmall)), big, y), x)
}

func (e *neonEmitter) sigmoid(x nvec) nvec {
	z := e.exp(e.neg(e.abs(x)))
	d := e.add(z, e.c(1))
	return e.div(e.where(e.greater(e.c(0), x), z, e.c(1)), d)
}

func (e *neonEmitter) erf(x nvec) nvec {
	a := e.abs(x)
	y := e.fma(a, e.poly(e.mul(a, a), fmath.ErfPoly[:]), a)
	t := e.hi(a, e.c(fmath.ErfBig))
	q := e.fma(t, e.poly(t, fmath.ErfcPoly[:]), t)
	big := e.sub(e.c(1), e.exp(e.neg(q)))
	return e.withSign(e.where(e.greater(a, e.c(fmath.ErfSmall)), big, y), x)
}

func (e *neonEmitter) hardSigmoid(x, alpha, beta nvec) nvec {
	return e.hi(e.lo(e.add(e.mul(x, alpha), beta), e.c(0)), e.c(1))
}

func (e *neonEmitter) elu(x, alpha nvec) nvec {
	return e.where(e.greater(e.c(0), x), e.mul(e.sub(e.exp(x), e.c(1)), alpha), x)
}

// extreme is fmath.Max or, with its comparison turned round, fmath.Min: a where
// it is beyond b or NaN, else b.
func (e *neonEmitter) extreme(a, b nvec, minimum bool) nvec {
	beyond := e.greater(a, b)
	if minimum {
		beyond = e.greater(b, a)
	}
	return e.where(e.equal(a, a), e.where(beyond, a, b), a)
}

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

// begin begins a kernel.
func (e *neonEmitter) begin(name, doc string) {
	e.pinned = map[nvec]V{}
	e.w.Func(name, "vectorArgs", doc)
	e.w.Fields(map[int]X{vecY: neonY, vecA: neonA, vecB: neonB, vecP: neonP, vecN: neonN})
	e.w.Op("MOVD $consts<>(SB), R%d", neonConst)
}

// field gives a float32 field in all lanes.
func (e *neonEmitter) field(offset int) nvec {
	n, v := e.pin()
	dupField(e.w, offset, v)
	return n
}

// value gives the value at an address in all lanes.
func (e *neonEmitter) value(at X) nvec {
	n, v := e.pin()
	e.w.Put(LoadDup(S4, v, at))
	return n
}

// read and write move on in memory by a vector or, with S, one value.
func (e *neonEmitter) read(s Size, at X) nvec {
	return e.op(func(d V, _ []V) Inst { return LoadPost(s, d, at, sizeBytes(s)) })
}

func (e *neonEmitter) write(s Size, at X, x nvec) {
	e.effect(func(r []V) Inst { return StorePost(s, r[0], at, sizeBytes(s)) }, x)
}

func sizeBytes(s Size) int {
	if s == Q {
		return 16
	}
	return 4
}

// elements writes body for whole vectors and then for single values, and ends
// the kernel.
func (e *neonEmitter) elements(body func(s Size)) {
	e.w.LoopBy("vectors", neonN, 4, func() { body(Q); e.flush() })
	e.w.Loop("values", neonN, func() { body(S); e.flush() })
	e.w.Op("RET")
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

var neonBinaries = []struct {
	name, ir string
	f        func(e *neonEmitter, a, b nvec) nvec
}{
	{"add", "add", (*neonEmitter).add},
	{"sub", "subtract", (*neonEmitter).sub},
	{"mul", "multiply", (*neonEmitter).mul},
	{"div", "divide", (*neonEmitter).div},
	{"max", "maximum", func(e *neonEmitter, a, b nvec) nvec { return e.extreme(a, b, false) }},
	{"min", "minimum", func(e *neonEmitter, a, b nvec) nvec { return e.extreme(a, b, true) }},
}

// rowsNEON writes the functions of two vectors and the kernels of rows.
func rowsNEON(w *Writer) {
	e := &neonEmitter{w: w}
	for _, b := range neonBinaries {
		for _, form := range binaryForms {
			e.begin(b.name+form.suffix+"NEON", "writes "+b.ir+" of n values to y, which may be an operand of n values.")
			operand := func(at X, one bool) func(s Size) nvec {
				if one {
					v := e.value(at)
					return func(Size) nvec { return v }
				}
				return func(s Size) nvec { return e.read(s, at) }
			}
			x, x2 := operand(neonA, form.aone), operand(neonB, form.bone)
			e.elements(func(s Size) {
				a := x(s)
				e.write(s, neonY, b.f(e, a, x2(s)))
			})
		}
	}
	fold := func(name, doc string, field bool, step func(acc, x, c nvec) nvec) {
		e.begin(name, doc)
		c := none
		if field {
			c = e.field(vecC)
		}
		e.partials(func(acc nvec) { e.to(acc, step(acc, e.read(Q, neonA), c)) })
	}
	fold("sum16NEON", "adds n values of a, a multiple of 16, to the sixteen sums at p.", false, func(acc, x, _ nvec) nvec { return e.add(acc, x) })
	fold("sumSq16NEON", "adds the squares of n values of a less c, a multiple of 16, to the sixteen sums at p.", true, func(acc, x, c nvec) nvec {
		d := e.sub(x, c)
		return e.add(acc, e.mul(d, d))
	})
	fold("max16NEON", "folds n values of a, a multiple of 16, into the sixteen results at p, as fmath.Max16 does.", false, func(acc, x, _ nvec) nvec { return e.extreme(acc, x, false) })
	fold("min16NEON", "folds n values of a, a multiple of 16, into the sixteen results at p, as fmath.Min16 does.", false, func(acc, x, _ nvec) nvec { return e.extreme(acc, x, true) })
	fold("expSumNEON", "writes fmath.SoftExp(a-c) to y, which may be a, for n values, a multiple of 16, and adds them to the sixteen sums at p.", true, func(acc, x, c nvec) nvec {
		v := e.softExp(e.sub(x, c))
		e.write(Q, neonY, v)
		return e.add(acc, v)
	})
	for _, f := range []struct {
		name        string
		scale, bias bool
	}{{"norm", false, false}, {"normScale", true, false}, {"normScaleBias", true, true}} {
		e.begin(f.name+"NEON", "writes (a-c)*d of n values to y, which may be a, in turn times those at b and plus those at p as the name says.")
		mean, rstd := e.field(vecC), e.field(vecD)
		e.elements(func(s Size) {
			v := e.mul(e.sub(e.read(s, neonA), mean), rstd)
			if f.scale {
				v = e.mul(v, e.read(s, neonB))
			}
			if f.bias {
				v = e.add(v, e.read(s, neonP))
			}
			e.write(s, neonY, v)
		})
	}
	w.Data("consts", e.consts)
	w.Declare("// vectorBinaries lists the functions with a vector form, by the operation's name: whole operands, one value right, one value left.\nvar vectorBinaries = []struct { name string; run [3]func(a *vectorArgs) }{\n")
	for _, b := range neonBinaries {
		w.Declare("{%q, [3]func(a *vectorArgs){%sNEON, %sRightNEON, %sLeftNEON}},\n", b.ir, b.name, b.name, b.name)
	}
	w.Declare("}\n")
}

// partials writes body for each of the sixteen partial results at p, in four
// registers, and ends the kernel.
func (e *neonEmitter) partials(body func(acc nvec)) {
	var acc [4]nvec
	for i := range acc {
		n, v := e.pin()
		acc[i] = n
		e.w.Put(Load(Q, v, neonP, uint32(16*i)))
	}
	e.w.LoopBy("blocks", neonN, 16, func() {
		for _, a := range acc {
			body(a)
		}
		e.flush()
	})
	for i, n := range acc {
		e.w.Put(Store(Q, e.pinned[n], neonP, uint32(16*i)))
	}
	e.w.Op("RET")
}
