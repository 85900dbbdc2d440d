package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the argument blocks of attend.go; TestAttendLayouts of package
// int8 has the same numbers.
const (
	attSums    = 0
	attSumStep = 8
	attBias    = 16
	attRows    = 24
	attN       = 32
	attY       = 40
	attYStep   = 48
	attTotal   = 56
	attTmp     = 64
	attMult    = 72
	attInv     = 76
	attHi      = 80
	attZero    = 84
	attOrder   = 88
	attLanes   = 96

	addX     = 0
	addXStep = 8
	addDepth = 16
	addRows  = 24
	addY     = 32
	addTimes = 40

	colX     = 0
	colXStep = 8
	colN     = 16
	colDepth = 24
	colW     = 32
	colWStep = 40
	colFlip  = 48
)

// expGroup is how many vectors of exponentials are computed side by side: so they
// wait less for each other's steps.
const expGroup = 2

// attentionVNNI writes what an attention does between its products.
func attentionVNNI() {
	(&attention{biased: true}).write("attentionRowsVNNI", "turns rows of sums into the 8-bit weights of an attention.")
	(&attention{bytes: true}).write("attentionBytesVNNI", "is attentionRowsVNNI without a bias, a mult above 0, weights from 0 to 255 and an inv up to 32767; rows of sums and weights have room for whole lines of 64 columns.")
	(&attention{biased: true, bytes: true}).write("attentionBiasedBytesVNNI", "is attentionBytesVNNI with a bias.")
	sumRows()
	packKeys()
	packValues()
}

// sumRows sums up rows of bytes, 16 at a time.
func sumRows() {
	a := text("sumRowsAVX2", "sumRowArgs", "sets y to the sums of rows of x times a factor.")
	x, step, rows, y, times := load(a, addX), load(a, addXStep), load(a, addRows), load(a, addY), GP32()
	MOVL(field(a, addTimes), times)
	zero := XMM()
	VPXOR(zero, zero, zero)
	Label("row")
	acc, t, from, left, sum := XMM(), XMM(), GP64(), load(a, addDepth), GP32()
	VPSADBW(at(x, 0), zero, acc)
	MOVQ(x, from)
	JMP(LabelRef("sixteen"))
	Label("more")
	ADDQ(Imm(16), from)
	VPSADBW(at(from, 0), zero, t)
	VPADDD(t, acc, acc)
	Label("sixteen")
	DECQ(left)
	JNZ(LabelRef("more"))
	VPSHUFD(Imm(0xee), acc, t)
	VPADDD(t, acc, acc)
	VMOVD(acc, sum)
	IMULL(times, sum)
	MOVL(sum, at(y, 0))
	ADDQ(Imm(4), y)
	ADDQ(step, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	RET()
}

// attention is a kernel of what lies between the products. It goes through all
// rows three times, so that no row waits for its own greatest value or sum: scores
// and their maximum; exponentials and their sum; 8 bits.
type attention struct {
	biased bool // adds a bias to the scores
	bytes  bool // weights are bytes from 0 to 255, and rows of scores and of weights have room for whole lines of 64
	a      reg.Register
	n      reg.GPVirtual
	tmp    reg.GPVirtual
	lanes  reg.GPVirtual
}

// pass walks the vectors of each row, group at a time, then one by one; begin and end
// are done once a row. body finds count vectors disp bytes from at; the last one may
// be masked by K1.
func (t *attention) pass(name string, group int, begin func(row reg.GPVirtual), body func(at reg.GPVirtual, count int, masked bool), end func(row, at reg.GPVirtual)) {
	base, sumStep := load(t.a, attSums), load(t.a, attSumStep)
	row, rows := t.rows()
	Label(name)
	at, left := GP64(), GP64()
	MOVQ(base, at)
	begin(row)
	loop := func(name string, n int) {
		end := label(name + "End")
		JL(LabelRef(end))
		Label(name)
		body(at, n, false)
		ADDQ(I32(int32(64*n)), at)
		SUBQ(I32(int32(16*n)), left)
		JGE(LabelRef(name))
		Label(end)
	}
	MOVQ(t.n, left)
	SUBQ(I32(int32(16*group)), left)
	loop(name+"Group", group)
	ADDQ(I32(int32(16*group-16)), left)
	loop(name+"Single", 1)
	KTESTW(reg.K1, reg.K1)
	JZ(LabelRef(name + "End"))
	body(at, 1, true)
	ADDQ(Imm(64), at)
	Label(name + "End")
	end(row, at)
	ADDQ(sumStep, base)
	ADDQ(Imm(16), row)
	CMPQ(row, rows)
	JLT(LabelRef(name))
}

// rows counts the 16 bytes of a row in tmp.
func (t *attention) rows() (row, end reg.GPVirtual) {
	row, end = GP64(), load(t.a, attRows)
	XORQ(row, row)
	SHLQ(Imm(4), end)
	return row, end
}

// eachVector is a body for pass that does the same for each vector.
func eachVector(f func(at reg.GPVirtual, disp int, masked bool)) func(at reg.GPVirtual, count int, masked bool) {
	return func(at reg.GPVirtual, count int, masked bool) {
		for i := range count {
			f(at, 64*i, masked)
		}
	}
}

// scalar is a row's number in tmp, lane what it is folded from.
func (t *attention) scalar(row reg.GPVirtual) Mem { return Mem{Base: t.tmp, Index: row, Scale: 1} }

func (t *attention) lane(row reg.GPVirtual) Mem { return Mem{Base: t.lanes, Index: row, Scale: 4} }

// fold folds the lanes of the rows, four rows at a time, whose results body finds in
// the four quarters of z.
func (t *attention) fold(name string, op func(...Op), body func(row reg.GPVirtual, z reg.VecVirtual)) {
	row, rows := t.rows()
	Label(name)
	z := zmmsOf(4)
	for i, v := range z {
		m := t.lane(row)
		m.Disp = 64 * i
		VMOVUPS(m, v)
	}
	body(row, fold4([4]reg.VecVirtual(z), op))
	ADDQ(I32(64), row)
	CMPQ(row, rows)
	JLT(LabelRef(name))
}

// foldTotals writes the rows' totals.
func (t *attention) foldTotals() {
	total, quarters := load(t.a, attTotal), GP64()
	MOVQ(U32(0x1111), quarters)
	KMOVW(quarters.As32(), reg.K3)
	t.fold("totals", VPADDD, func(_ reg.GPVirtual, z reg.VecVirtual) {
		VPCOMPRESSD_Z(z, reg.K3, z)
		VMOVDQU(z.AsX(), Mem{Base: total})
		ADDQ(Imm(16), total)
	})
}

// write writes the kernel.
func (t *attention) write(name, doc string) {
	t.a = text(name, "attentionArgs", doc)
	t.n = load(t.a, attN)
	restMask(t.n)
	t.tmp, t.lanes = load(t.a, attTmp), load(t.a, attLanes)
	if t.biased {
		t.scores()
	} else {
		t.greatest()
	}
	t.exponentials()
	if t.bytes {
		t.pack()
	} else {
		t.quantize()
	}
	VZEROUPPER()
	RET()
}

// scores turns sums into scores.
func (t *attention) scores() {
	bias, mult, acc, b := load(t.a, attBias), broadcast(t.a, attMult), ZMM(), GP64()
	lowest := constant(float32(math.Inf(-1)))
	t.pass("score", 2, func(reg.GPVirtual) {
		VMOVAPS(lowest, acc)
		MOVQ(bias, b)
	}, eachVector(func(at reg.GPVirtual, disp int, masked bool) {
		v := ZMM()
		VCVTDQ2PS(Mem{Base: at, Disp: disp}, v)
		VMULPS(mult, v, v)
		var skip string
		if !t.bytes {
			skip = label("noBias")
			TESTQ(b, b)
			JZ(LabelRef(skip))
		}
		if masked {
			VADDPS(Mem{Base: b}, v, reg.K1, v)
		} else {
			VADDPS(Mem{Base: b}, v, v)
			ADDQ(Imm(64), b)
		}
		if !t.bytes {
			Label(skip)
		}
		VMOVUPS(v, Mem{Base: at, Disp: disp}) // behind the columns lies what nobody reads
		if masked {
			VMAXPS(v, acc, reg.K1, acc)
		} else {
			VMAXPS(v, acc, acc)
		}
	}), func(row, _ reg.GPVirtual) { VMOVUPS(acc, t.lane(row)) })
	t.fold("scores", VMAXPS, func(row reg.GPVirtual, z reg.VecVirtual) { VMOVUPS(z, t.scalar(row)) })
}

// greatest finds each row's greatest score, which is that of its greatest sum.
func (t *attention) greatest() {
	mult, acc, lowest, r := broadcast(t.a, attMult), ZMM(), ZMM(), GP32()
	MOVL(U32(1<<31), r)
	VPBROADCASTD(r, lowest)
	t.pass("greatest", 4, func(reg.GPVirtual) {
		VMOVAPS(lowest, acc)
	}, eachVector(func(at reg.GPVirtual, disp int, masked bool) {
		if masked {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, reg.K1, acc)
		} else {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, acc)
		}
	}), func(row, _ reg.GPVirtual) { VMOVUPS(acc, t.lane(row)) })
	t.fold("greatests", VPMAXSD, func(row reg.GPVirtual, z reg.VecVirtual) {
		VCVTDQ2PS(z, z)
		VMULPS(mult, z, z)
		VMOVUPS(z, t.scalar(row))
	})
}

// exponentials are fmath.SoftExp of scores less their greatest.
func (t *attention) exponentials() {
	e := newExpKernel()
	var mult reg.VecVirtual
	if !t.biased {
		mult = broadcast(t.a, attMult)
	}
	top, sum := ZMM(), ZMM()
	t.pass("exp", expGroup, func(row reg.GPVirtual) {
		VBROADCASTSS(t.scalar(row), top)
		VPXORD(sum, sum, sum)
	}, func(at reg.GPVirtual, count int, masked bool) {
		x := zmmsOf(count)
		for i, v := range x {
			m := Mem{Base: at, Disp: 64 * i}
			if t.biased {
				VMOVUPS(m, v)
			} else {
				VCVTDQ2PS(m, v)
			}
		}
		if !t.biased {
			for _, v := range x {
				VMULPS(mult, v, v)
			}
		}
		for _, v := range x {
			VSUBPS(top, v, v)
		}
		e.of(x, masked && t.bytes)
		for i, v := range x {
			VMOVUPS(v, Mem{Base: at, Disp: 64 * i})
			if masked && !t.bytes {
				VADDPS(v, sum, reg.K1, sum)
			} else {
				VADDPS(v, sum, sum)
			}
		}
	}, func(row, at reg.GPVirtual) {
		if t.bytes { // the rest of the last four vectors
			zeros, done := ZMM(), label("filled")
			VPXORD(zeros, zeros, zeros)
			for range 3 {
				past := GP64()
				MOVQ(at, past)
				SUBQ(load(t.a, attSums), past)
				TESTQ(I32(0xc0), past)
				JZ(LabelRef(done))
				VMOVUPS(zeros, Mem{Base: at})
				ADDQ(Imm(64), at)
			}
			Label(done)
		}
		VMOVUPS(sum, t.lane(row))
	})
	t.fold("sums", VADDPS, func(row reg.GPVirtual, z reg.VecVirtual) {
		VDIVPS(z, e.one, z)
		VMOVUPS(z, t.scalar(row))
	})
}

// quantize rounds the weights.
func (t *attention) quantize() {
	y, yStep := load(t.a, attY), load(t.a, attYStep)
	inv, most, zero := broadcast(t.a, attInv), broadcast(t.a, attHi), broadcast(t.a, attZero)
	acc, r, out := ZMM(), ZMM(), GP64()
	t.pass("quantize", 2, func(row reg.GPVirtual) {
		VBROADCASTSS(t.scalar(row), r)
		VCMPPS(Imm(7), r, r, reg.K2) // ordered: no NaN
		VPXORD(acc, acc, acc)
		MOVQ(y, out)
		ADDQ(yStep, y)
	}, eachVector(func(at reg.GPVirtual, disp int, masked bool) {
		v := ZMM()
		VMULPS(Mem{Base: at, Disp: disp}, r, v)
		VMULPS(inv, v, v)
		VMINPS(most, v, v)
		VCVTPS2DQ_Z(v, reg.K2, v)
		VPADDD(zero, v, v)
		if masked {
			VPADDD(v, acc, reg.K1, acc)
		} else {
			VPADDD(v, acc, acc)
		}
		VPMOVDB(v, v.AsX())
		VMOVDQU32(v.AsX(), Mem{Base: out})
		ADDQ(Imm(16), out)
	}), func(row, _ reg.GPVirtual) { VMOVUPS(acc, t.lane(row)) })
	t.foldTotals()
}

// pack packs rows of weights, and sums them up.
func (t *attention) pack() {
	y, yStep, base, sumStep := load(t.a, attY), load(t.a, attYStep), load(t.a, attSums), load(t.a, attSumStep)
	weights := newWeightPacker(t.a, attInv, attOrder)
	row, rows := t.rows()
	lines := GP64()
	MOVQ(t.n, lines)
	ADDQ(Imm(63), lines)
	SHRQ(Imm(6), lines)
	Label("pack")
	r, acc, at, out, left := ZMM(), ZMM(), GP64(), GP64(), GP64()
	VBROADCASTSS(t.scalar(row), r)
	VPXORD(acc, acc, acc)
	MOVQ(base, at)
	MOVQ(y, out)
	MOVQ(lines, left)
	Label("packLoop")
	weights.pack(at, 64, r, out, acc)
	ADDQ(I32(256), at)
	ADDQ(Imm(64), out)
	DECQ(left)
	JNZ(LabelRef("packLoop"))
	VMOVUPS(acc, t.lane(row))
	ADDQ(sumStep, base)
	ADDQ(yStep, y)
	ADDQ(Imm(16), row)
	CMPQ(row, rows)
	JLT(LabelRef("pack"))
	t.foldTotals()
}
