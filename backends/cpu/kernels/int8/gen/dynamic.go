package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the argument blocks of dynamic.go; TestDynamicLayouts of package
// int8 has the same numbers.
const (
	rngX   = 0
	rngN   = 8
	rngLo  = 16
	rngHi  = 20
	rngTop = 24

	rowSums    = 0
	rowSumStep = 8
	rowY       = 16
	rowYStep   = 24
	rowRows    = 32
	rowCols    = 40
	rowMult    = 48
	rowBias    = 56
	rowColSums = 64
	rowParams  = 72
)

// dynamicVNNI writes the kernels of scales found while running, on 512 bits.
func dynamicVNNI() {
	range512()
	divide512()
	finishRows512()
}

// range512 leaves its block's lo and hi of the lanes to the caller's start
// values: 0 is in every range, and what is no number is passed over, since the
// second source is what a comparison with it gives.
func range512() {
	a := text("rangeVNNI", "rangeArgs", "finds the range of float32 values, 0 in it, and the greatest magnitude as bits.")
	x, n := load(a, rngX), load(a, rngN)
	var lo, hi, top [4]reg.VecVirtual
	for i := range lo {
		lo[i], hi[i], top[i] = ZMM(), ZMM(), ZMM()
		VPXORD(lo[i], lo[i], lo[i])
		VPXORD(hi[i], hi[i], hi[i])
		VPXORD(top[i], top[i], top[i])
	}
	abs := ZMM()
	VPTERNLOGD(Imm(255), abs, abs, abs)
	VPSRLD(Imm(1), abs, abs)
	take := func(i int, v reg.VecVirtual) {
		VMINPS(lo[i], v, lo[i])
		VMAXPS(hi[i], v, hi[i])
		VPANDD(abs, v, v)
		VPMAXUD(v, top[i], top[i])
	}
	Label("fours")
	CMPQ(n, Imm(64))
	JLT(LabelRef("step"))
	for i := range lo {
		v := ZMM()
		VMOVUPS(at(x, 64*i), v)
		take(i, v)
	}
	ADDQ(I32(256), x)
	SUBQ(I32(64), n)
	JMP(LabelRef("fours"))
	Label("step")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	tailMask(n, 16)
	v := ZMM()
	VMOVUPS_Z(at(x, 0), reg.K1, v)
	take(0, v)
	ADDQ(I32(64), x)
	SUBQ(I32(16), n)
	JMP(LabelRef("step"))
	Label("done")
	for i := 1; i < 4; i++ {
		VMINPS(lo[0], lo[i], lo[0])
		VMAXPS(hi[0], hi[i], hi[0])
		VPMAXUD(top[0], top[i], top[0])
	}
	half := func(r reg.VecVirtual) reg.VecVirtual {
		y := YMM()
		VEXTRACTF64X4(Imm(1), r, y)
		return y
	}
	across(a, lo[0], hi[0], top[0], half(lo[0]), half(hi[0]), half(top[0]))
	VZEROUPPER()
	RET()
}

// across brings two halves of 256 bits each to single values in the block.
func across(a reg.Register, lo, hi, top, lo2, hi2, top2 reg.VecVirtual) {
	l, h, t := YMM(), YMM(), YMM()
	VMINPS(lo.AsY(), lo2, l)
	VMAXPS(hi.AsY(), hi2, h)
	VPMAXUD(top.AsY(), top2, t)
	l4, h4, t4 := XMM(), XMM(), XMM()
	VEXTRACTF128(Imm(1), l, l4)
	VEXTRACTF128(Imm(1), h, h4)
	VEXTRACTF128(Imm(1), t, t4)
	VMINPS(l.AsX(), l4, l4)
	VMAXPS(h.AsX(), h4, h4)
	VPMAXUD(t.AsX(), t4, t4)
	for _, order := range []uint64{0x4E, 0xB1} { // halves, then neighbours
		for i, r := range []reg.VecVirtual{l4, h4, t4} {
			s := XMM()
			VPSHUFD(Imm(order), r, s)
			switch i {
			case 0:
				VMINPS(r, s, r)
			case 1:
				VMAXPS(r, s, r)
			default:
				VPMAXUD(r, s, r)
			}
		}
	}
	VMOVSS(l4, field(a, rngLo))
	VMOVSS(h4, field(a, rngHi))
	VMOVD(t4, field(a, rngTop))
}

func divide512() {
	a := text("quantizeByVNNI", "convertArgs", "brings float32 to 8 bits by division; there is no NaN.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	scale, lo, hi, zero := broadcast(a, cvtScale), broadcast(a, cvtLo), broadcast(a, cvtHi), broadcast(a, cvtZero)
	masked(n, 16, func() {
		p := ZMM()
		VMOVUPS_Z(at(x, 0), reg.K1, p)
		VDIVPS(scale, p, p)
		VMAXPS(lo, p, p)
		VMINPS(hi, p, p)
		VCVTPS2DQ(p, p)
		VPADDD(zero, p, p)
		store(p, y, n, 16, true)
		ADDQ(I32(64), x)
		ADDQ(I32(16), y)
	})
	VZEROUPPER()
	RET()
}

// finishRows512 goes through columns 16 at a time, and for each through all rows.
func finishRows512() {
	a := text("finishRowsVNNI", "rowsArgs", "gives float32 results of rows with scales of their own.")
	sums0, y0, mult, bias, col, cols := load(a, rowSums), load(a, rowY), load(a, rowMult), load(a, rowBias), load(a, rowColSums), load(a, rowCols)
	sumStep, yStep := load(a, rowSumStep), load(a, rowYStep)
	Label("columns")
	CMPQ(cols, Imm(0))
	JLE(LabelRef("done"))
	tailMask(cols, 16)
	m, b, c := ZMM(), ZMM(), ZMM()
	VMOVUPS(at(mult, 0), m)
	VMOVUPS(at(bias, 0), b)
	VMOVDQU32(at(col, 0), c)
	sums, y, rows, params := GP64(), GP64(), load(a, rowRows), load(a, rowParams)
	MOVQ(sums0, sums)
	MOVQ(y0, y)
	Label("row")
	q, f := ZMM(), ZMM()
	VPMULLD_BCST(at(params, 4), c, q)
	VMOVDQU32(at(sums, 0), f)
	VPSUBD(q, f, q)
	VMULPS_BCST(at(params, 0), m, f)
	VCVTDQ2PS(q, q)
	VMULPS(f, q, q)
	VADDPS(b, q, q)
	storeFloats(q, y, cols)
	ADDQ(sumStep, sums)
	ADDQ(yStep, y)
	ADDQ(Imm(8), params)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for _, p := range []reg.GPVirtual{sums0, y0, mult, bias, col} {
		ADDQ(I32(64), p)
	}
	SUBQ(Imm(16), cols)
	JMP(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}

// dynamicAVX2 writes the same on 256 bits, for whole vectors.
func dynamicAVX2() {
	range256()
	divide256()
	finishRows256()
}

func range256() {
	a := text("rangeAVX2", "rangeArgs", "finds the range of whole vectors of float32 values, 0 in it, and the greatest magnitude as bits.")
	x, n := load(a, rngX), load(a, rngN)
	var lo, hi, top [2]reg.VecVirtual
	for i := range lo {
		lo[i], hi[i], top[i] = YMM(), YMM(), YMM()
		VPXOR(lo[i], lo[i], lo[i])
		VPXOR(hi[i], hi[i], hi[i])
		VPXOR(top[i], top[i], top[i])
	}
	abs := YMM()
	VPCMPEQD(abs, abs, abs)
	VPSRLD(Imm(1), abs, abs)
	take := func(i int) {
		v := YMM()
		VMOVUPS(at(x, 32*i), v)
		VMINPS(lo[i], v, lo[i])
		VMAXPS(hi[i], v, hi[i])
		VPAND(abs, v, v)
		VPMAXUD(v, top[i], top[i])
	}
	SUBQ(I32(16), n)
	JLT(LabelRef("single"))
	Label("pair")
	take(0)
	take(1)
	ADDQ(I32(64), x)
	SUBQ(I32(16), n)
	JGE(LabelRef("pair"))
	Label("single")
	ADDQ(I32(8), n)
	JLT(LabelRef("done"))
	take(0)
	Label("done")
	across(a, lo[0], hi[0], top[0], lo[1], hi[1], top[1])
	VZEROUPPER()
	RET()
}

func divide256() {
	a := text("quantizeByAVX2", "convertArgs", "brings whole vectors of float32 to 8 bits by division; there is no NaN.")
	y, x := load(a, cvtY), load(a, cvtX)
	scale, lo, hi, zero := broadcast256(a, cvtScale), broadcast256(a, cvtLo), broadcast256(a, cvtHi), broadcast256(a, cvtZero)
	whole(load(a, cvtN), 8, func() {
		p := YMM()
		VMOVUPS(at(x, 0), p)
		VDIVPS(scale, p, p)
		VMAXPS(lo, p, p)
		VMINPS(hi, p, p)
		VCVTPS2DQ(p, p)
		VPADDD(zero, p, p)
		VMOVQ(pack8(p), at(y, 0))
		ADDQ(I32(32), x)
		ADDQ(I32(8), y)
	})
}

func finishRows256() {
	a := text("finishRowsAVX2", "rowsArgs", "gives float32 results of rows with scales of their own, whole vectors of columns.")
	sums0, y0, mult, bias, col, cols := load(a, rowSums), load(a, rowY), load(a, rowMult), load(a, rowBias), load(a, rowColSums), load(a, rowCols)
	sumStep, yStep := load(a, rowSumStep), load(a, rowYStep)
	SUBQ(I32(8), cols)
	JLT(LabelRef("done"))
	Label("columns")
	m, b, c := YMM(), YMM(), YMM()
	VMOVUPS(at(mult, 0), m)
	VMOVUPS(at(bias, 0), b)
	VMOVDQU(at(col, 0), c)
	sums, y, rows, params := GP64(), GP64(), load(a, rowRows), load(a, rowParams)
	MOVQ(sums0, sums)
	MOVQ(y0, y)
	Label("row")
	z, q, f := YMM(), YMM(), YMM()
	VPBROADCASTD(at(params, 4), z)
	VPMULLD(c, z, z)
	VMOVDQU(at(sums, 0), q)
	VPSUBD(z, q, q)
	VBROADCASTSS(at(params, 0), f)
	VMULPS(m, f, f)
	VCVTDQ2PS(q, q)
	VMULPS(f, q, q)
	VADDPS(b, q, q)
	VMOVUPS(q, at(y, 0))
	ADDQ(sumStep, sums)
	ADDQ(yStep, y)
	ADDQ(Imm(8), params)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for _, p := range []reg.GPVirtual{sums0, y0, mult, bias, col} {
		ADDQ(I32(32), p)
	}
	SUBQ(I32(8), cols)
	JGE(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}
