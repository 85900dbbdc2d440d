package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// rowsAVX2 writes the kernels of rows and single elements on 256 bits. Without
// masks of bytes most leave what is no whole vector to plain Go.
func rowsAVX2() {
	lanesData = GLOBL("lanes", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(i))
	}
	finish256("finishBytesAVX2", false, true)
	finish256("finishResidualAVX2", true, true)
	finish256("finishBytesAnyAVX2", false, false)
	finish256("finishResidualAnyAVX2", true, false)
	finishFloats256()
	pair256("addBytesAVX2", true)
	pair256("multiplyBytesAVX2", false)
	quantize256()
	dequantize256()
	widen256()
	max256()
	maxEights()
	sum256()
	lookup256()
}

func pair256(name string, add bool) {
	a := text(name, "pairArgs", "gives 8-bit results of whole vectors of pairs.")
	y, x, b := load(a, pairY), load(a, pairA), load(a, pairB)
	aFlip, bFlip, aZero, bZero := broadcast256(a, pairAFlip), broadcast256(a, pairBFlip), broadcast256(a, pairAZero), broadcast256(a, pairBZero)
	factors, mult, lo, hi, zero := broadcast256(a, pairPair), broadcast256(a, pairMult), broadcast256(a, pairLo), broadcast256(a, pairHi), broadcast256(a, pairZero)
	step, same, scalar, one := GP64(), YMM(), GP32(), GP32()
	MOVQ(U64(8), step)
	MOVL(field(a, pairScalarB), scalar)
	TESTL(scalar, scalar)
	JZ(LabelRef("vectors"))
	MOVBLZX(at(b, 0), one)
	VMOVD(one, same.AsX())
	VPBROADCASTD(same.AsX(), same)
	XORQ(step, step)
	Label("vectors")
	whole(load(a, pairN), 8, func() {
		p, q := YMM(), YMM()
		VPMOVZXBD(at(x, 0), p)
		VMOVDQA(same, q)
		TESTQ(step, step)
		JZ(LabelRef("scalar"))
		VPMOVZXBD(at(b, 0), q)
		Label("scalar")
		VPXOR(aFlip, p, p)
		VPXOR(bFlip, q, q)
		VPSUBD(aZero, p, p)
		VPSUBD(bZero, q, q)
		if add {
			joined(p, q)
			VPMADDWD(factors, q, p)
		} else {
			VPMULLD(q, p, p)
		}
		scaleClamped(p, mult, lo, hi)
		VPADDD(zero, p, p)
		// Stored bytes may be s8: keep the low byte of each.
		mask := YMM()
		VPCMPEQD(mask, mask, mask)
		VPSRLD(Imm(24), mask, mask)
		VPAND(mask, p, p)
		VMOVQ(pack8(p), at(y, 0))
		ADDQ(I32(8), x)
		ADDQ(step, b)
		ADDQ(I32(8), y)
	})
}

func quantize256() {
	a := text("quantizeAVX2", "convertArgs", "brings whole vectors of float32 to 8 bits.")
	y, x := load(a, cvtY), load(a, cvtX)
	inv, lo, hi, zero := broadcast256(a, cvtScale), broadcast256(a, cvtLo), broadcast256(a, cvtHi), broadcast256(a, cvtZero)
	mask := YMM()
	VPCMPEQD(mask, mask, mask)
	VPSRLD(Imm(24), mask, mask)
	whole(load(a, cvtN), 8, func() {
		p, numbers := YMM(), YMM()
		VMOVUPS(at(x, 0), p)
		VCMPPS(Imm(7), p, p, numbers) // all ones but for NaN
		VMULPS(inv, p, p)
		VMAXPS(lo, p, p)
		VMINPS(hi, p, p)
		VCVTPS2DQ(p, p)
		VPAND(numbers, p, p)
		VPADDD(zero, p, p)
		VPAND(mask, p, p)
		VMOVQ(pack8(p), at(y, 0))
		ADDQ(I32(32), x)
		ADDQ(I32(8), y)
	})
}

func dequantize256() {
	a := text("dequantizeAVX2", "convertArgs", "brings whole vectors of 8 bits to float32.")
	y, x := load(a, cvtY), load(a, cvtX)
	scale, zero, flip := broadcast256(a, cvtScale), broadcast256(a, cvtZero), broadcast256(a, cvtFlip)
	whole(load(a, cvtN), 8, func() {
		p := YMM()
		VPMOVZXBD(at(x, 0), p)
		VPXOR(flip, p, p)
		VPSUBD(zero, p, p)
		VCVTDQ2PS(p, p)
		VMULPS(scale, p, p)
		VMOVUPS(p, at(y, 0))
		ADDQ(I32(8), x)
		ADDQ(I32(32), y)
	})
}

func widen256() {
	a := text("widenAVX2", "convertArgs", "brings 8 bits to int16 less the zero point, sixteen at a time.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	zero, flip := YMM(), YMM()
	VPBROADCASTW(field(a, cvtZero), zero)
	VPBROADCASTW(field(a, cvtFlip), flip)
	whole(n, 16, func() {
		p := YMM()
		VPMOVZXBW(at(x, 0), p)
		VPXOR(flip, p, p)
		VPSUBW(zero, p, p)
		VMOVDQU(p, at(y, 0))
		ADDQ(I32(16), x)
		ADDQ(I32(32), y)
	})
}
