package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

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
