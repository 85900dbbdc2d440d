package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
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
