package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// vec is a vector register.
type vec = reg.VecVirtual

// emitter writes float32 operations on whole vectors, the same for both
// instruction sets: each method is one IEEE operation, or a sequence of those
// that package fmath defines.
type emitter struct{ v vecISA }

func (e emitter) reg() vec {
	if e.v.is512() {
		return ZMM()
	}
	return YMM()
}

var constants = map[uint32]Mem{}

// c is a constant in all lanes, as a memory operand.
func (e emitter) c(x float32) Mem { return e.bits(math.Float32bits(x)) }

func (e emitter) bits(u uint32) Mem {
	m, ok := constants[u]
	if !ok {
		m = GLOBL(fmt.Sprintf("const%s%08x", familyName, u), 8|16) // RODATA|NOPTR
		for i := range 16 {
			DATA(i*4, U32(u))
		}
		constants[u] = m
	}
	return m
}

// set returns a register that holds a constant.
func (e emitter) set(x float32) vec { return e.load(e.c(x)) }

func (e emitter) load(m Mem) vec {
	r := e.reg()
	VMOVUPS(m, r)
	return r
}

func (e emitter) copy(x vec) vec {
	r := e.reg()
	VMOVAPS(x, r)
	return r
}

func (e emitter) add(x vec, y Op) vec { r := e.reg(); VADDPS(y, x, r); return r }
func (e emitter) sub(x vec, y Op) vec { r := e.reg(); VSUBPS(y, x, r); return r }
func (e emitter) mul(x vec, y Op) vec { r := e.reg(); VMULPS(y, x, r); return r }
func (e emitter) div(x vec, y Op) vec { r := e.reg(); VDIVPS(y, x, r); return r }
func (e emitter) sqrt(x Op) vec       { r := e.reg(); VSQRTPS(x, r); return r }

// round rounds to integers: mode 8 to nearest even, 9 down, 10 up.
func (e emitter) round(x vec, mode uint64) vec {
	r := e.reg()
	if e.v.is512() {
		VRNDSCALEPS(Imm(mode), x, r)
	} else {
		VROUNDPS(Imm(mode), x, r)
	}
	return r
}

// fma sets p = p*x + c.
func (e emitter) fma(p, x vec, c Op) { VFMADD213PS(c, x, p) }

// lo returns x where it is not below c, else c; NaN stays. hi is its mirror.
func (e emitter) lo(x vec, c float32) vec {
	r := e.set(c)
	VMAXPS(x, r, r)
	return r
}

func (e emitter) hi(x vec, c float32) vec {
	r := e.set(c)
	VMINPS(x, r, r)
	return r
}

func (e emitter) and(x vec, y Op) vec { return e.bitwise(x, y, VPANDD, VANDPS) }
func (e emitter) or(x vec, y Op) vec  { return e.bitwise(x, y, VPORD, VORPS) }
func (e emitter) xor(x vec, y Op) vec { return e.bitwise(x, y, VPXORD, VXORPS) }

// bitwise takes the operation of 512 bits, which for floats needs another
// extension, and that of 256.
func (e emitter) bitwise(x vec, y Op, op512, op256 func(...Op)) vec {
	r := e.reg()
	if e.v.is512() {
		op512(y, x, r)
	} else {
		op256(y, x, r)
	}
	return r
}

func (e emitter) abs(x vec) vec { return e.and(x, e.bits(0x7fffffff)) }

// withSign returns v, which is not negative, with the sign of s; v may be NaN.
func (e emitter) withSign(v, s vec) vec {
	return e.or(e.abs(v), e.and(s, e.bits(1<<31)))
}

// Comparisons of VCMPPS, ordered and quiet but for the last two.
const (
	less      = 0x11
	lessEqual = 0x12
	greater   = 0x1e
	atLeast   = 0x1d
	equal     = 0x00
	ordered   = 0x07
	isNaN     = 0x03
	notAtMost = 0x16 // greater, or unordered
)

// where returns a in lanes where x (predicate) y holds, else b.
func (e emitter) where(x vec, predicate int, y Op, a Op, b vec) vec {
	r := e.reg()
	if e.v.is512() {
		k := K()
		VCMPPS(Imm(uint64(predicate)), y, x, k)
		VBLENDMPS(a, b, k, r)
		return r
	}
	m := YMM()
	VCMPPS(Imm(uint64(predicate)), y, x, m)
	VBLENDVPS(m, a, b, r)
	return r
}

// poly evaluates a polynomial as fmath's horner does.
func (e emitter) poly(x vec, c []float32) vec {
	p := e.set(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		e.fma(p, x, e.c(c[i]))
	}
	return p
}

// exp is fmath.Exp. Lanes of ExpLo and below, where the result is 0, are kept
// from the last product: there it would underflow, which takes some CPUs more
// than a hundred cycles of microcode, and masked attention scores all lie there.
func (e emitter) exp(x vec) vec { return e.expAbove(x, fmath.ExpLo, true) }

// softExp is fmath.SoftExp.
func (e emitter) softExp(x vec) vec { return e.expAbove(x, fmath.SoftExpLo, false) }

// expAbove is exp of what is above lo, else 0; positive where it can be above 0.
func (e emitter) expAbove(x vec, lo float32, positive bool) vec {
	in := x
	if !e.v.is512() {
		x = e.lo(x, lo)
	}
	if positive {
		x = e.hi(x, fmath.ExpHi)
	}
	t := e.copy(x)
	l := e.set(fmath.Log2E)
	e.fma(t, l, e.c(fmath.RoundMagic))
	n := e.sub(t, e.c(fmath.RoundMagic))
	r := e.copy(x)
	VFNMADD231PS(e.c(fmath.Ln2Hi), n, r)
	VFNMADD231PS(e.c(fmath.Ln2Lo), n, r)
	u := e.poly(r, fmath.ExpPoly[:])
	e.fma(u, e.mul(r, r), r)
	y := e.add(u, e.c(1))
	if e.v.is512() {
		k := K()
		VCMPPS(Imm(notAtMost), e.c(lo), in, k)
		VSCALEFPS_Z(n, y, k, y)
		return y
	}
	k, k1, m := YMM(), YMM(), YMM()
	VPSUBD(e.bits(0x4b400000), t, k)
	if !positive { // the results are normal: one product
		VPADDD(e.bits(127), k, k)
		VPSLLD(Imm(23), k, k)
		VCMPPS(Imm(notAtMost), e.c(lo), in, m)
		VANDPS(m, k, k)
		VMULPS(k, y, y)
		return y
	}
	VPSRAD(Imm(1), k, k1)
	VPSUBD(k1, k, k)
	for _, f := range []vec{k1, k} {
		VPADDD(e.bits(127), f, f)
		VPSLLD(Imm(23), f, f)
	}
	VCMPPS(Imm(notAtMost), e.c(lo), in, m)
	VANDPS(m, k, k)
	VMULPS(k1, y, y)
	VMULPS(k, y, y)
	return y
}

// log is fmath.Log.
func (e emitter) log(x vec) vec {
	tiny := e.c(0x1p-126)
	v := e.where(x, less, tiny, e.mul(x, e.c(0x1p23)), x)
	e0 := e.where(x, less, tiny, e.set(-23), e.set(0))
	k, m := e.reg(), e.reg()
	VPSUBD(e.bits(fmath.SqrtHalfBits), v, k)
	VPSRAD(Imm(23), k, k)
	VPSLLD(Imm(23), k, m)
	VPSUBD(m, v, m)
	f := e.sub(m, e.c(1))
	VCVTDQ2PS(k, k)
	ex := e.add(k, e0)
	s := e.mul(f, f)
	y := e.mul(e.mul(f, s), e.poly(f, fmath.LogPoly[:]))
	VFMADD231PS(e.c(fmath.LogLn2Lo), ex, y)
	VFMADD231PS(e.c(-0.5), s, y)
	y = e.add(f, y)
	VFMADD231PS(e.c(fmath.LogLn2Hi), ex, y)
	inf := float32(math.Inf(1))
	zero := e.set(0)
	y = e.where(x, equal, zero, e.set(-inf), y)
	y = e.where(x, less, zero, e.set(float32(math.NaN())), y)
	y = e.where(x, isNaN, x, x, y)
	return e.where(x, equal, e.c(inf), x, y)
}

func (e emitter) log1pUnit(z vec) vec {
	s := e.div(z, e.add(z, e.c(2)))
	w := e.mul(s, s)
	p := e.poly(w, fmath.Log1pPoly[:])
	e.fma(p, e.mul(s, w), e.add(s, s))
	return p
}

func (e emitter) softplus(x vec) vec {
	m := e.lo(x, 0)
	return e.add(m, e.log1pUnit(e.exp(e.or(x, e.bits(1<<31)))))
}

func (e emitter) tanh(x vec) vec {
	a := e.abs(x)
	z := e.mul(a, a)
	y := e.poly(z, fmath.TanhPoly[:])
	e.fma(y, e.mul(a, z), a)
	d := e.add(e.exp(e.add(a, a)), e.c(1))
	big := e.sub(e.set(1), e.div(e.set(2), d))
	y = e.where(a, greater, e.c(fmath.TanhSmall), big, y)
	return e.withSign(y, x)
}

func (e emitter) sigmoid(x vec) vec {
	z := e.exp(e.or(x, e.bits(1<<31)))
	d := e.add(z, e.c(1))
	return e.div(e.where(x, less, e.set(0), z, e.set(1)), d)
}

func (e emitter) erf(x vec) vec {
	a := e.abs(x)
	y := e.poly(e.mul(a, a), fmath.ErfPoly[:])
	e.fma(y, a, a)
	t := e.hi(a, fmath.ErfBig)
	q := e.poly(t, fmath.ErfcPoly[:])
	e.fma(q, t, t)
	big := e.sub(e.set(1), e.exp(e.xor(q, e.bits(1<<31))))
	y = e.where(a, greater, e.c(fmath.ErfSmall), big, y)
	return e.withSign(y, x)
}

func (e emitter) hardSigmoid(x vec, alpha, beta Op) vec {
	return e.hi(e.lo(e.add(e.mul(x, alpha), beta), 0), 1)
}

func (e emitter) elu(x vec, alpha Op) vec {
	return e.where(x, less, e.set(0), e.mul(e.sub(e.exp(x), e.c(1)), alpha), x)
}

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

// elementLoop runs body for each whole vector of n values with a nil mask, and
// once with the mask of the rest, if any.
func elementLoop(e emitter, n reg.Register, body func(mask reg.Register)) {
	loop, rest, end := label("loop"), label("rest"), label("end")
	Label(loop)
	CMPQ(n, Imm(uint64(e.v.lanes())))
	JLT(LabelRef(rest))
	body(nil)
	SUBQ(Imm(uint64(e.v.lanes())), n)
	JMP(LabelRef(loop))
	Label(rest)
	TESTQ(n, n)
	JZ(LabelRef(end))
	body(e.restMask(n))
	Label(end)
}

var labels int

// label makes a name that is not used twice in a function.
func label(name string) string {
	labels++
	return fmt.Sprintf("%s%d", name, labels)
}

// restMask makes the mask of the first n lanes, n below the lanes of a vector.
func (e emitter) restMask(n reg.Register) reg.Register {
	if e.v.is512() {
		b := GP64()
		MOVQ(U32(1), b)
		SHLXQ(n, b, b)
		DECQ(b)
		k := K()
		KMOVW(b.As32(), k)
		return k
	}
	m, tab, neg := YMM(), GP64(), GP64()
	MOVQ(n, neg)
	NEGQ(neg)
	LEAQ(maskTable(), tab)
	VMOVUPS(Mem{Base: tab, Index: neg, Scale: 4, Disp: 32}, m)
	return m
}

// maskedLoad loads a vector; lanes outside the mask are +0.
func (e emitter) maskedLoad(m Mem, mask reg.Register) vec {
	r := e.reg()
	switch {
	case mask == nil:
		VMOVUPS(m, r)
	case e.v.is512():
		VMOVUPS_Z(m, mask, r)
	default:
		VMASKMOVPS(m, mask, r)
	}
	return r
}

func (e emitter) maskedStore(r vec, m Mem, mask reg.Register) {
	switch {
	case mask == nil:
		VMOVUPS(r, m)
	case e.v.is512():
		VMOVUPS(r, mask, m)
	default:
		VMASKMOVPS(r, mask, m)
	}
}
