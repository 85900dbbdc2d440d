package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmAVX2 writes the matrix kernels on 256 bits: bytes through VPDPBUSD, and
// 16-bit operands through VPMADDWD.
func gemmAVX2() {
	for _, s := range []struct{ vecs, rows int }{{2, 6}, {1, 12}} {
		for rows := 1; rows <= s.rows; rows++ {
			gemm(fmt.Sprintf("gemmAVXVNNI%dx%d", rows, 8*s.vecs), vnni256, rows, s.vecs)
			gemm(fmt.Sprintf("gemmAVX2%dx%d", rows, 8*s.vecs), words256, rows, s.vecs)
		}
	}
}

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

// broadcast256 gives a 32-bit field in every lane.
func broadcast256(a reg.Register, offset int) reg.VecVirtual {
	y := YMM()
	VPBROADCASTD(field(a, offset), y)
	return y
}

// pack8 gives eight 32-bit values from 0 to 255 as the low bytes of a register.
func pack8(q reg.VecVirtual) reg.VecVirtual {
	high := XMM()
	VEXTRACTI128(Imm(1), q, high)
	out := XMM()
	VPACKSSDW(high, q.AsX(), out)
	VPACKUSWB(out, out, out)
	return out
}

// joined gives (q & 0xffff) | r<<16 in r's place, for a VPMADDWD.
func joined(q, r reg.VecVirtual) {
	VPSLLD(Imm(16), r, r)
	VPBLENDW(Imm(0x55), q, r, r)
}

// finish256 goes through columns eight at a time and for each through all rows;
// what is left over goes through the same with a mask of its columns. Of bounded
// sums sixteen at a time are clamped only after packing.
func finish256(name string, residual, bounded bool) {
	doc := "gives 8-bit results."
	if residual {
		doc = "adds a residual and gives 8-bit results."
	}
	a := text(name, "finishArgs", doc)
	sums0, y0, mult, cols := load(a, finSums), load(a, finY), load(a, finMult), load(a, finCols)
	var x20 reg.GPVirtual
	if residual {
		x20 = load(a, finX2)
	}
	if bounded {
		finishSixteens(a, sums0, y0, mult, cols, x20)
	}
	lo, hi := broadcast256(a, finLo), broadcast256(a, finHi)
	last := finZero
	if residual {
		last = finZero2
	}
	zero, yflip := broadcast256(a, last), XMM()
	VPBROADCASTB(field(a, finYFlip), yflip)
	var flip, zeroX2, pair, mult2, lo2, hi2 reg.VecVirtual
	if residual {
		flip, zeroX2, pair = broadcast256(a, finFlip), broadcast256(a, finZeroX2), broadcast256(a, finPair)
		mult2, lo2, hi2 = broadcast256(a, finMult2), broadcast256(a, finLo2), broadcast256(a, finHi2)
	}
	// finished turns a row's sums q, to which it adds what its row has, into the
	// low eight bytes that it gives; x2 is what reads the residual.
	finished := func(part string, q, m reg.VecVirtual, add reg.GPVirtual, x2 func(r reg.VecVirtual)) reg.VecVirtual {
		addRow256(add, part, q)
		scaleClamped(q, m, lo, hi)
		if residual {
			r := YMM()
			x2(r)
			VPXOR(flip, r, r)
			VPSUBD(zeroX2, r, r)
			joined(q, r)
			VPMADDWD(pair, r, q)
			scaleClamped(q, mult2, lo2, hi2)
		}
		VPADDD(zero, q, q)
		b := pack8(q)
		VPXOR(yflip, b, b)
		return b
	}
	SUBQ(I32(8), cols)
	JLT(LabelRef("rest"))
	Label("columns")
	m := YMM()
	VMOVUPS(at(mult, 0), m)
	columnRows(a, "row", finishAt{sums0, y0, x20}, func(p finishAt, add reg.GPVirtual) {
		q := YMM()
		VMOVDQU(at(p.sums, 0), q)
		b := finished("", q, m, add, func(r reg.VecVirtual) {
			VPMOVZXBD(at(p.x2, 0), r)
			ADDQ(field(a, finX2Step), p.x2)
		})
		VMOVQ(b, at(p.y, 0))
	})
	ADDQ(I32(32), sums0)
	ADDQ(I32(32), mult)
	ADDQ(I32(8), y0)
	if residual {
		ADDQ(I32(8), x20)
	}
	SUBQ(I32(8), cols)
	JGE(LabelRef("columns"))

	Label("rest")
	ADDQ(I32(8), cols)
	JZ(LabelRef("done"))
	mask := YMM()
	VMOVD(cols.As32(), mask.AsX())
	VPBROADCASTD(mask.AsX(), mask)
	VPCMPGTD(lanesData, mask, mask)
	m = YMM()
	VMOVUPS(at(mult, 0), m)
	rows, add := load(a, finRows), load(a, finRowAdd)
	Label("restRow")
	q := YMM()
	VPMASKMOVD(at(sums0, 0), mask, q)
	b := finished("Rest", q, m, add, func(r reg.VecVirtual) {
		VMOVQ(loadBelow8(x20, cols), r.AsX())
		VPMOVZXBD(r.AsX(), r)
		ADDQ(field(a, finX2Step), x20)
	})
	word := GP64()
	VMOVQ(b, word)
	storeBelow8(word, y0, cols)
	ADDQ(field(a, finSumStep), sums0)
	ADDQ(field(a, finYStep), y0)
	DECQ(rows)
	JNZ(LabelRef("restRow"))
	Label("done")
	VZEROUPPER()
	RET()
}

// finishAt is where a finishing kernel is; x2 is nil without a residual.
type finishAt struct{ sums, y, x2 reg.GPVirtual }

// columnRows goes through all rows of some columns. body moves x2 on.
func columnRows(a reg.Register, label string, first finishAt, body func(p finishAt, add reg.GPVirtual)) {
	p := finishAt{sums: GP64(), y: GP64()}
	rows, add := load(a, finRows), load(a, finRowAdd)
	MOVQ(first.sums, p.sums)
	MOVQ(first.y, p.y)
	if first.x2 != nil {
		p.x2 = GP64()
		MOVQ(first.x2, p.x2)
	}
	Label(label)
	body(p, add)
	ADDQ(field(a, finSumStep), p.sums)
	ADDQ(field(a, finYStep), p.y)
	DECQ(rows)
	JNZ(LabelRef(label))
}

// addRow256 adds what a row has to its sums, if add is not nil.
func addRow256(add reg.GPVirtual, part string, sums ...reg.VecVirtual) {
	TESTQ(add, add)
	JZ(LabelRef("plain" + part))
	s := YMM()
	VPBROADCASTD(at(add, 0), s)
	for _, q := range sums {
		VPADDD(s, q, q)
	}
	ADDQ(Imm(4), add)
	Label("plain" + part)
}

// finishSixteens takes bounded columns sixteen at a time, and advances what it is
// given past them; x20 is nil without a residual.
func finishSixteens(a reg.Register, sums0, y0, mult, cols, x20 reg.GPVirtual) {
	residual := x20 != nil
	words := func(offset int) reg.VecVirtual {
		v := YMM()
		VPBROADCASTW(field(a, offset), v)
		return v
	}
	bytes := func(offset int) reg.VecVirtual {
		v := XMM()
		VPBROADCASTB(field(a, offset), v)
		return v
	}
	last := finZero
	if residual {
		last = finZero2
	}
	SUBQ(I32(16), cols)
	JLT(LabelRef("sixteensDone"))
	zero, least, most, yflip := words(last), bytes(finLeast), bytes(finMost), bytes(finYFlip)
	var flip, zeroX2, pair, mult2, leastQ, mostQ reg.VecVirtual
	if residual {
		flip, zeroX2, leastQ, mostQ = bytes(finFlip), words(finZeroX2), words(finLeastQ), words(finMostQ)
		pair, mult2 = broadcast256(a, finPair), broadcast256(a, finMult2)
	}
	// packed gives the scaled and rounded sums as 16 bits: the lower halves of p
	// and q, and the upper ones.
	packed := func(p, q reg.VecVirtual, mp, mq Op) reg.VecVirtual {
		VCVTDQ2PS(p, p)
		VCVTDQ2PS(q, q)
		VMULPS(mp, p, p)
		VMULPS(mq, q, q)
		VCVTPS2DQ(p, p)
		VCVTPS2DQ(q, q)
		VPACKSSDW(q, p, p)
		return p
	}
	Label("sixteens")
	m0, m1 := YMM(), YMM()
	VMOVUPS(at(mult, 0), m0)
	VMOVUPS(at(mult, 32), m1)
	columnRows(a, "sixteensRow", finishAt{sums0, y0, x20}, func(from finishAt, add reg.GPVirtual) {
		p, q := YMM(), YMM()
		VMOVDQU(at(from.sums, 0), p)
		VMOVDQU(at(from.sums, 32), q)
		addRow256(add, "16", p, q)
		h := packed(p, q, m0, m1)
		if residual {
			r := YMM()
			VPSHUFD(Imm(0xD8), at(from.x2, 0), r.AsX()) // as the halves lie
			VPXOR(flip, r.AsX(), r.AsX())
			VPMOVZXBW(r.AsX(), r)
			VPSUBW(zeroX2, r, r)
			VPMAXSW(leastQ, h, h)
			VPMINSW(mostQ, h, h)
			VPUNPCKHWD(r, h, q)
			VPUNPCKLWD(r, h, h)
			VPMADDWD(pair, h, h)
			VPMADDWD(pair, q, q)
			h = packed(h, q, mult2, mult2)
			ADDQ(field(a, finX2Step), from.x2)
		}
		VPADDSW(zero, h, h)
		VPACKUSWB(h, h, h)
		upper := XMM()
		VEXTRACTI128(Imm(1), h, upper)
		VPUNPCKLDQ(upper, h.AsX(), upper)
		VPMAXUB(least, upper, upper)
		VPMINUB(most, upper, upper)
		VPXOR(yflip, upper, upper)
		VMOVDQU(upper, at(from.y, 0))
	})
	ADDQ(I32(64), sums0)
	ADDQ(I32(64), mult)
	ADDQ(I32(16), y0)
	if residual {
		ADDQ(I32(16), x20)
	}
	SUBQ(I32(16), cols)
	JGE(LabelRef("sixteens"))
	Label("sixteensDone")
	ADDQ(I32(16), cols)
}

// lanesData are the numbers of eight lanes.
var lanesData Mem

// loadBelow8 reads the n bytes at p, 1 to 7, and none beyond them, the first the
// lowest.
func loadBelow8(p, n reg.GPVirtual) reg.GPVirtual {
	word, part, from := GP64(), GP64(), GP64()
	XORQ(word, word)
	TESTQ(U32(1), n)
	JZ(LabelRef("load2"))
	MOVQ(n, from)
	ANDQ(Imm(6), from)
	MOVBQZX(Mem{Base: p, Index: from, Scale: 1}, word)
	Label("load2")
	TESTQ(U32(2), n)
	JZ(LabelRef("load4"))
	MOVQ(n, from)
	ANDQ(Imm(4), from)
	SHLQ(Imm(16), word)
	MOVWQZX(Mem{Base: p, Index: from, Scale: 1}, part)
	ORQ(part, word)
	Label("load4")
	TESTQ(U32(4), n)
	JZ(LabelRef("loaded"))
	SHLQ(Imm(32), word)
	MOVL(Mem{Base: p}, part.As32())
	ORQ(part, word)
	Label("loaded")
	return word
}

// storeBelow8 writes the lowest n bytes of word, 1 to 7, to p.
func storeBelow8(word, p, n reg.GPVirtual) {
	to := GP64()
	XORQ(to, to)
	TESTQ(U32(4), n)
	JZ(LabelRef("store2"))
	MOVL(word.As32(), Mem{Base: p})
	SHRQ(Imm(32), word)
	MOVQ(U64(4), to)
	Label("store2")
	TESTQ(U32(2), n)
	JZ(LabelRef("store1"))
	MOVW(word.As16(), Mem{Base: p, Index: to, Scale: 1})
	SHRQ(Imm(16), word)
	ADDQ(Imm(2), to)
	Label("store1")
	TESTQ(U32(1), n)
	JZ(LabelRef("stored"))
	MOVB(word.As8(), Mem{Base: p, Index: to, Scale: 1})
	Label("stored")
}

func finishFloats256() {
	a := text("finishFloatsAVX2", "finishArgs", "gives float32 results of whole vectors of columns.")
	sums0, y0, mult, cols := load(a, finSums), load(a, finY), load(a, finMult), load(a, finCols)
	SUBQ(I32(8), cols)
	JLT(LabelRef("done"))
	Label("columns")
	m := YMM()
	VMOVUPS(at(mult, 0), m)
	columnRows(a, "row", finishAt{sums: sums0, y: y0}, func(p finishAt, add reg.GPVirtual) {
		q := YMM()
		VMOVDQU(at(p.sums, 0), q)
		addRow256(add, "", q)
		VCVTDQ2PS(q, q)
		VMULPS(m, q, q)
		VMOVUPS(q, at(p.y, 0))
	})
	for _, p := range []reg.GPVirtual{sums0, mult, y0} {
		ADDQ(I32(32), p)
	}
	SUBQ(I32(8), cols)
	JGE(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}

// whole ends a kernel: it runs body for each whole vector of per elements.
func whole(n reg.Register, per int, body func()) {
	SUBQ(I32(per), n)
	JLT(LabelRef("done"))
	Label("step")
	body()
	SUBQ(I32(per), n)
	JGE(LabelRef("step"))
	Label("done")
	VZEROUPPER()
	RET()
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

// window256 goes through the taps of a window for each vector of columns.
func window256(a reg.Register, per, outBytes int, begin, tap, end func(p reg.GPVirtual)) {
	yStep, xStep := load(a, winYStep), load(a, winXStep)
	y0, x0 := load(a, winY), load(a, winX)
	Label("pixel")
	y, x, n := GP64(), GP64(), load(a, winN)
	MOVQ(y0, y)
	MOVQ(x0, x)
	SUBQ(I32(per), n)
	JLT(LabelRef("done"))
	Label("columns")
	begin(y)
	windowTaps(a, x, xStep, yStep, tap)
	end(y)
	ADDQ(I32(per), x)
	ADDQ(I32(per*outBytes), y)
	SUBQ(I32(per), n)
	JGE(LabelRef("columns"))
	Label("done")
	nextPixel(a, x0, y0)
	VZEROUPPER()
	RET()
}

func max256() {
	a := text("maxAVX2", "windowArgs", "takes the greatest byte of each column of whole vectors.")
	flip, acc := YMM(), YMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window256(a, 32, 1, func(reg.GPVirtual) { VPXOR(acc, acc, acc) }, func(x reg.GPVirtual) {
		v := YMM()
		VPXOR(at(x, 0), flip, v)
		VPMAXUB(v, acc, acc)
	}, func(y reg.GPVirtual) {
		VPXOR(flip, acc, acc)
		VMOVDQU(acc, at(y, 0))
	})
}

// maxEights is max256 on eight columns at a time.
func maxEights() {
	a := text("maxEightsAVX2", "windowArgs", "takes the greatest byte of each column of whole eights.")
	flip, acc := XMM(), XMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window256(a, 8, 1, func(reg.GPVirtual) { VPXOR(acc, acc, acc) }, func(x reg.GPVirtual) {
		v := XMM()
		VMOVQ(at(x, 0), v)
		VPXOR(flip, v, v)
		VPMAXUB(v, acc, acc)
	}, func(y reg.GPVirtual) {
		VPXOR(flip, acc, acc)
		VMOVQ(acc, at(y, 0))
	})
}

func sum256() {
	a := text("sumAVX2", "windowArgs", "adds the bytes of each column of whole vectors.")
	flip, acc := broadcast256(a, winFlip), YMM()
	window256(a, 8, 4, func(y reg.GPVirtual) { VMOVDQU(at(y, 0), acc) }, func(x reg.GPVirtual) {
		v := YMM()
		VPMOVZXBD(at(x, 0), v)
		VPXOR(flip, v, v)
		VPADDD(v, acc, acc)
	}, func(y reg.GPVirtual) { VMOVDQU(acc, at(y, 0)) })
}

// depthwiseAVX2 writes the depthwise kernels on 256 bits: four taps through
// VPDPBUSD, or two taps through VPMADDWD.
func depthwiseAVX2() {
	depthwise256("depthwiseAVXVNNI", 4, false)
	depthwise256("depthwiseAVX2", 2, false)
	depthwise256("depthwiseSumsAVXVNNI", 4, true)
	depthwise256("depthwiseSumsAVX2", 2, true)
}

func depthwise256(name string, group int, sums bool) {
	doc := "computes steps of any number of taps."
	if sums {
		doc = "computes steps of any number of taps and writes int32 sums."
	}
	a := text(name, "dwArgs", doc)
	x, y := load(a, dwX), load(a, dwY)
	acc, tap, mixed, t0, t1, none := ymms[:4], ymms[4:8], ymms[8:12], ymms[12], ymms[13], ymms[14]
	init := load(a, dwInit)
	var mult reg.GPVirtual
	if !sums {
		mult = load(a, dwMult)
	}
	VPXOR(none, none, none)
	Label("step")
	for v, r := range acc {
		VMOVDQU(at(init, 32*v), r)
	}
	taps, w, groups := load(a, dwTaps), load(a, dwW), load(a, dwQuads)
	Label("group")
	for t := range group {
		off := load(taps, 8*t)
		VMOVDQU(Mem{Base: x, Index: off, Scale: 1}, tap[t])
	}
	VPUNPCKLBW(tap[1], tap[0], mixed[0])
	VPUNPCKHBW(tap[1], tap[0], mixed[1])
	if group == 4 {
		VPUNPCKLBW(tap[3], tap[2], mixed[2])
		VPUNPCKHBW(tap[3], tap[2], mixed[3])
	}
	for v, r := range acc {
		if group == 4 {
			if v%2 == 0 {
				VPUNPCKLWD(mixed[2+v/2], mixed[v/2], t0)
			} else {
				VPUNPCKHWD(mixed[2+v/2], mixed[v/2], t0)
			}
			VMOVDQU(at(w, 32*v), t1)
			vexVPDPBUSD(t1, t0, r)
			continue
		}
		if v%2 == 0 {
			VPUNPCKLBW(none, mixed[v/2], t0)
		} else {
			VPUNPCKHBW(none, mixed[v/2], t0)
		}
		VPMADDWD(at(w, 32*v), t0, t0)
		VPADDD(t0, r, r)
	}
	ADDQ(I32(8*group), taps)
	ADDQ(I32(128), w)
	DECQ(groups)
	JNZ(LabelRef("group"))

	next := func() {
		ADDQ(field(a, dwXStep), x)
		ADDQ(field(a, dwYStep), y)
		DECQ(field(a, dwN))
		JNZ(LabelRef("step"))
		VZEROUPPER()
		RET()
	}
	if sums {
		// Lane l of vectors 2i and 2i+1 is vector 2l+i in the order of the channels.
		for j := range 4 {
			i, l := j%2, j/2
			VPERM2I128(Imm([]uint64{0x20, 0x31}[l]), acc[2*i+1], acc[2*i], t0)
			VMOVDQU(t0, at(y, 32*j))
		}
		next()
		return
	}
	lo, hi, zero, flip := tap[0], tap[1], tap[2], tap[3]
	VPBROADCASTD(field(a, dwLo), lo)
	VPBROADCASTD(field(a, dwHi), hi)
	VPBROADCASTD(field(a, dwZero), zero)
	VPBROADCASTB(field(a, dwYFlip), flip)
	for v, r := range acc {
		scaleClamped(r, at(mult, 32*v), lo, hi)
		VPADDD(zero, r, r)
	}
	VPACKSSDW(acc[1], acc[0], acc[0])
	VPACKSSDW(acc[3], acc[2], acc[2])
	VPACKUSWB(acc[2], acc[0], acc[0])
	VPXOR(flip, acc[0], acc[0])
	VMOVDQU(acc[0], at(y, 0))
	next()
}

// lookup256 maps 64 bytes at a time: each sixteen entries of the table are a
// byte shuffle, which gives 0 for bytes that do not belong to them.
func lookup256() {
	a := text("lookupAVX2", "lookupArgs", "maps whole vectors of 64 bytes by a table.")
	y, x, n, table := load(a, lookY), load(a, lookX), load(a, lookN), load(a, lookTable)
	// Added with saturation, 0x70 leaves the top bit clear for 0 to 15 only.
	high, sixteen := YMM(), YMM()
	b := GP32()
	for _, c := range []struct {
		v reg.VecVirtual
		n uint32
	}{{high, 0x70}, {sixteen, 16}} {
		MOVL(U32(c.n), b)
		VMOVD(b, c.v.AsX())
		VPBROADCASTB(c.v.AsX(), c.v)
	}
	whole(n, 64, func() {
		v := [2]reg.VecVirtual{YMM(), YMM()}
		acc := [2]reg.VecVirtual{YMM(), YMM()}
		for i := range v {
			VMOVDQU(at(x, 32*i), v[i])
			VPXOR(acc[i], acc[i], acc[i])
		}
		for t := range 16 {
			entries := YMM()
			VBROADCASTI128(at(table, 16*t), entries)
			for i := range v {
				found := YMM()
				VPADDUSB(high, v[i], found)
				VPSHUFB(found, entries, found)
				VPOR(found, acc[i], acc[i])
				if t < 15 {
					VPSUBB(sixteen, v[i], v[i])
				}
			}
		}
		for i := range v {
			VMOVDQU(acc[i], at(y, 32*i))
		}
		ADDQ(I32(64), x)
		ADDQ(I32(64), y)
	})
}
