package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwiseVNNI writes the kernels of single elements on 512 bits.
func elementwiseVNNI() {
	quartersData("quantizeOrder")
	pair512("addBytesVNNI", true)
	pair512("multiplyBytesVNNI", false)
	quantize512()
	dequantize512()
	max512()
	sum512()
}

// requant512 scales, clamps and rounds sums; zero is added.
func requant512(q, mult, lo, hi, zero reg.VecVirtual) {
	scaleClamped(q, mult, lo, hi)
	VPADDD(zero, q, q)
}

func pair512(name string, add bool) {
	a := text(name, "pairArgs", "gives 8-bit results of pairs.")
	y, x, b, n := load(a, pairY), load(a, pairA), load(a, pairB), load(a, pairN)
	aFlip, bFlip, aZero, bZero := broadcast(a, pairAFlip), broadcast(a, pairBFlip), broadcast(a, pairAZero), broadcast(a, pairBZero)
	factors, mult, lo, hi, zero := broadcast(a, pairPair), broadcast(a, pairMult), broadcast(a, pairLo), broadcast(a, pairHi), broadcast(a, pairZero)
	low := ZMM()
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLD(Imm(16), low, low)
	// A single b is read once; the step of b is then 0.
	step, same := GP64(), ZMM()
	MOVQ(U64(16), step)
	scalar := GP32()
	MOVL(field(a, pairScalarB), scalar)
	TESTL(scalar, scalar)
	JZ(LabelRef("vectors"))
	one := GP32()
	MOVBLZX(at(b, 0), one)
	VPBROADCASTD(one, same)
	XORQ(step, step)
	Label("vectors")
	TESTQ(step, step)
	JZ(LabelRef("rest"))
	pairs64(a, y, x, b, n, factors, mult, lo, hi, add)
	Label("rest")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	masked(n, 16, func() {
		p, q := ZMM(), ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, p)
		VMOVDQA32(same, q)
		TESTQ(step, step)
		JZ(LabelRef("scalar"))
		VPMOVZXBD_Z(at(b, 0), reg.K1, q)
		Label("scalar")
		VPXORD(aFlip, p, p)
		VPXORD(bFlip, q, q)
		VPSUBD(aZero, p, p)
		VPSUBD(bZero, q, q)
		if add {
			VPSLLD(Imm(16), q, q)
			VPTERNLOGD(Imm(0xF8), low, p, q) // q | p&low
			VPMADDWD(factors, q, p)
		} else {
			VPMULLD(q, p, p)
		}
		requant512(p, mult, lo, hi, zero)
		store(p, y, n, 16, true)
		ADDQ(I32(16), x)
		ADDQ(step, b)
		ADDQ(I32(16), y)
	})
	Label("done")
	VZEROUPPER()
	RET()
}

// quantizeAhead is how far before their use values are fetched: the input of a
// network comes from beyond the second level cache.
const quantizeAhead = 2048

// pairs64 takes 64 pairs at a time, as 16-bit words and then 32-bit sums; packing
// restores their order.
func pairs64(a reg.Register, y, x, b, n reg.GPVirtual, factors, mult, lo, hi reg.VecVirtual, add bool) {
	none, low, zero := ZMM(), ZMM(), ZMM()
	VPXORD(none, none, none)
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLW(Imm(8), low, low)
	VPBROADCASTW(field(a, pairZero), zero)
	operand := func(p reg.GPVirtual, flip, zero int) func() (l, h reg.VecVirtual) {
		f, z := ZMM(), ZMM()
		VPBROADCASTB(field(a, flip), f)
		VPBROADCASTW(field(a, zero), z)
		return func() (l, h reg.VecVirtual) {
			v := ZMM()
			l, h = ZMM(), ZMM()
			VPXORD(at(p, 0), f, v)
			VPUNPCKLBW(none, v, l)
			VPUNPCKHBW(none, v, h)
			VPSUBW(z, l, l)
			VPSUBW(z, h, h)
			ADDQ(Imm(64), p)
			return l, h
		}
	}
	first, second := operand(x, pairAFlip, pairAZero), operand(b, pairBFlip, pairBZero)
	SUBQ(I32(64), n)
	JLT(LabelRef("few"))
	Label("many")
	al, ah := first()
	bl, bh := second()
	var words []reg.VecVirtual
	for _, v := range [][2]reg.VecVirtual{{al, bl}, {ah, bh}} {
		p, q := v[0], v[1]
		if !add { // low and high halves of products
			h := ZMM()
			VPMULHW(q, p, h)
			VPMULLW(q, p, p)
			q = h
		}
		d := [2]reg.VecVirtual{ZMM(), ZMM()}
		VPUNPCKLWD(q, p, d[0])
		VPUNPCKHWD(q, p, d[1])
		for _, r := range d {
			if add {
				VPMADDWD(factors, r, r)
			}
			scaleClamped(r, mult, lo, hi)
		}
		VPACKSSDW(d[1], d[0], d[0])
		VPADDW(zero, d[0], d[0])
		VPANDD(low, d[0], d[0])
		words = append(words, d[0])
	}
	VPACKUSWB(words[1], words[0], words[0])
	VMOVDQU32(words[0], at(y, 0))
	ADDQ(Imm(64), y)
	SUBQ(I32(64), n)
	JGE(LabelRef("many"))
	Label("few")
	ADDQ(I32(64), n)
}

func quantize512() {
	a := text("quantizeVNNI", "convertArgs", "brings float32 to 8 bits.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	inv, lo, hi, zero := broadcast(a, cvtScale), broadcast(a, cvtLo), broadcast(a, cvtHi), broadcast(a, cvtZero)
	// rounded gives 32-bit results less the zero point.
	rounded := func(p reg.VecVirtual) {
		VCMPPS(Imm(7), p, p, reg.K2) // ordered: no NaN
		VMULPS(inv, p, p)
		VMAXPS(lo, p, p)
		VMINPS(hi, p, p)
		VCVTPS2DQ_Z(p, reg.K2, p)
	}
	zeros, low, order := ZMM(), ZMM(), ZMM()
	VPBROADCASTW(field(a, cvtZero), zeros)
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLW(Imm(8), low, low)
	VMOVDQU32(orderData, order)
	SUBQ(I32(64), n)
	JLT(LabelRef("rest"))
	Label("wide")
	var q [4]reg.VecVirtual
	for i := range q {
		q[i] = ZMM()
		VMOVUPS(at(x, 64*i), q[i])
		PREFETCHT0(at(x, quantizeAhead+64*i))
		rounded(q[i])
	}
	VPACKSSDW(q[1], q[0], q[0])
	VPACKSSDW(q[3], q[2], q[2])
	for _, r := range []reg.VecVirtual{q[0], q[2]} {
		VPADDW(zeros, r, r)
		VPANDD(low, r, r)
	}
	VPACKUSWB(q[2], q[0], q[0])
	VPERMD(q[0], order, q[0])
	VMOVDQU32(q[0], at(y, 0))
	ADDQ(I32(256), x)
	ADDQ(I32(64), y)
	SUBQ(I32(64), n)
	JGE(LabelRef("wide"))
	Label("rest")
	ADDQ(I32(64), n)
	JLE(LabelRef("done"))
	masked(n, 16, func() {
		p := ZMM()
		VMOVUPS_Z(at(x, 0), reg.K1, p)
		rounded(p)
		VPADDD(zero, p, p)
		store(p, y, n, 16, true)
		ADDQ(I32(64), x)
		ADDQ(I32(16), y)
	})
	Label("done")
	VZEROUPPER()
	RET()
}

func dequantize512() {
	a := text("dequantizeVNNI", "convertArgs", "brings 8 bits to float32.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	scale, zero, flip := broadcast(a, cvtScale), broadcast(a, cvtZero), broadcast(a, cvtFlip)
	masked(n, 16, func() {
		p := ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, p)
		VPXORD(flip, p, p)
		VPSUBD(zero, p, p)
		VCVTDQ2PS(p, p)
		VMULPS(scale, p, p)
		storeFloats(p, y, n)
		ADDQ(I32(16), x)
		ADDQ(I32(64), y)
	})
	VZEROUPPER()
	RET()
}
