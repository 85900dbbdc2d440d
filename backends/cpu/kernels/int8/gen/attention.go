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
	attRowAdd  = 16
	attBias    = 24
	attRows    = 32
	attN       = 40
	attY       = 48
	attYStep   = 56
	attTotal   = 64
	attTmp     = 72
	attMult    = 80
	attInv     = 84
	attHi      = 88
	attZero    = 92
	attOrder   = 96

	colX     = 0
	colXStep = 8
	colN     = 16
	colDepth = 24
	colW     = 32
	colWStep = 40
	colFlip  = 48
)

// attentionVNNI writes what an attention does between its products.
func attentionVNNI() {
	(&attention{biased: true}).write("attentionRowsVNNI", "turns rows of sums into the 8-bit weights of an attention.")
	(&attention{bytes: true}).write("attentionBytesVNNI", "is attentionRowsVNNI without a bias, a mult above 0, weights from 0 to 255 and an inv up to 32767; rows of sums and weights have room for whole lines of 64 columns.")
	(&attention{biased: true, bytes: true}).write("attentionBiasedBytesVNNI", "is attentionBytesVNNI with a bias.")
	packKeys()
	packValues()
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
}

// pass walks the vectors of each row, two at a time; begin and end are done once a
// row. body finds a vector disp bytes from at; the last one may be masked by K1.
func (t *attention) pass(name string, begin func(row reg.GPVirtual), body func(at reg.GPVirtual, disp int, masked bool), end func(row, at reg.GPVirtual)) {
	base, row, rows, sumStep := load(t.a, attSums), GP64(), load(t.a, attRows), load(t.a, attSumStep)
	XORQ(row, row)
	Label(name)
	at, left := GP64(), GP64()
	MOVQ(base, at)
	begin(row)
	MOVQ(t.n, left)
	SHRQ(Imm(5), left)
	JZ(LabelRef(name + "Single"))
	Label(name + "Loop")
	body(at, 0, false)
	body(at, 64, false)
	ADDQ(I32(128), at)
	DECQ(left)
	JNZ(LabelRef(name + "Loop"))
	Label(name + "Single")
	TESTQ(I32(16), t.n)
	JZ(LabelRef(name + "Tail"))
	body(at, 0, false)
	ADDQ(Imm(64), at)
	Label(name + "Tail")
	KTESTW(reg.K1, reg.K1)
	JZ(LabelRef(name + "End"))
	body(at, 0, true)
	ADDQ(Imm(64), at)
	Label(name + "End")
	end(row, at)
	ADDQ(sumStep, base)
	INCQ(row)
	CMPQ(row, rows)
	JLT(LabelRef(name))
}

func (t *attention) scalar(row reg.GPVirtual) Mem { return Mem{Base: t.tmp, Index: row, Scale: 4} }

// write writes the kernel.
func (t *attention) write(name, doc string) {
	t.a = text(name, "attentionArgs", doc)
	t.n = load(t.a, attN)
	restMask(t.n)
	t.tmp = load(t.a, attTmp)
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

// rowAdd loads what is added to a row's sums.
func (t *attention) rowAdd(rowAdd, row reg.GPVirtual, add reg.VecVirtual) {
	skip := label("noAdd")
	VPXORD(add, add, add)
	TESTQ(rowAdd, rowAdd)
	JZ(LabelRef(skip))
	VPBROADCASTD(Mem{Base: rowAdd, Index: row, Scale: 4}, add)
	Label(skip)
}

// scores turns sums into scores.
func (t *attention) scores() {
	rowAdd, bias := load(t.a, attRowAdd), load(t.a, attBias)
	mult, add, acc, b := broadcast(t.a, attMult), ZMM(), ZMM(), GP64()
	lowest := constant(float32(math.Inf(-1)))
	t.pass("score", func(row reg.GPVirtual) {
		t.rowAdd(rowAdd, row, add)
		VMOVAPS(lowest, acc)
		MOVQ(bias, b)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		v := ZMM()
		VPADDD(Mem{Base: at, Disp: disp}, add, v)
		VCVTDQ2PS(v, v)
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
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VMAXPS)
		VMOVSS(acc.AsX(), t.scalar(row))
	})
}

// greatest finds each row's greatest score, which is that of its greatest sum.
func (t *attention) greatest() {
	rowAdd, mult, add := load(t.a, attRowAdd), broadcast(t.a, attMult), ZMM()
	acc, lowest, r := ZMM(), ZMM(), GP32()
	MOVL(U32(1<<31), r)
	VPBROADCASTD(r, lowest)
	t.pass("greatest", func(row reg.GPVirtual) {
		t.rowAdd(rowAdd, row, add)
		VMOVAPS(lowest, acc)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		if masked {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, reg.K1, acc)
		} else {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, acc)
		}
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VPMAXSD)
		VPADDD(add, acc, acc)
		VCVTDQ2PS(acc, acc)
		VMULPS(mult, acc, acc)
		VMOVSS(acc.AsX(), t.scalar(row))
	})
}

// exponentials are fmath.SoftExp of scores less their greatest.
func (t *attention) exponentials() {
	e := newExpKernel()
	var rowAdd reg.GPVirtual
	var mult, add reg.VecVirtual
	if !t.biased {
		rowAdd, mult, add = load(t.a, attRowAdd), broadcast(t.a, attMult), ZMM()
	}
	top, sum := ZMM(), ZMM()
	t.pass("exp", func(row reg.GPVirtual) {
		if !t.biased {
			t.rowAdd(rowAdd, row, add)
		}
		VBROADCASTSS(t.scalar(row), top)
		VPXORD(sum, sum, sum)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		x := ZMM()
		if t.biased {
			VMOVUPS(Mem{Base: at, Disp: disp}, x)
		} else {
			VPADDD(Mem{Base: at, Disp: disp}, add, x)
			VCVTDQ2PS(x, x)
			VMULPS(mult, x, x)
		}
		VSUBPS(top, x, x)
		e.of([]reg.VecVirtual{x}, masked && t.bytes)
		p := x
		VMOVUPS(p, Mem{Base: at, Disp: disp})
		if masked && !t.bytes {
			VADDPS(p, sum, reg.K1, sum)
		} else {
			VADDPS(p, sum, sum)
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
		fold(sum, VADDPS)
		r := XMM()
		VDIVSS(sum.AsX(), e.one.AsX(), r)
		VMOVSS(r, t.scalar(row))
	})
}

// quantize rounds the weights.
func (t *attention) quantize() {
	y, yStep, total := load(t.a, attY), load(t.a, attYStep), load(t.a, attTotal)
	inv, most, zero := broadcast(t.a, attInv), broadcast(t.a, attHi), broadcast(t.a, attZero)
	acc, r, out := ZMM(), ZMM(), GP64()
	t.pass("quantize", func(row reg.GPVirtual) {
		VBROADCASTSS(t.scalar(row), r)
		VCMPPS(Imm(7), r, r, reg.K2) // ordered: no NaN
		VPXORD(acc, acc, acc)
		MOVQ(y, out)
		ADDQ(yStep, y)
	}, func(at reg.GPVirtual, disp int, masked bool) {
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
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VPADDD)
		VMOVD(acc.AsX(), Mem{Base: total, Index: row, Scale: 4})
	})
}

// pack packs rows of weights, and sums them up.
func (t *attention) pack() {
	y, yStep, total, base, sumStep := load(t.a, attY), load(t.a, attYStep), load(t.a, attTotal), load(t.a, attSums), load(t.a, attSumStep)
	weights := newWeightPacker(t.a, attInv, attOrder)
	row, rows, lines := GP64(), load(t.a, attRows), GP64()
	XORQ(row, row)
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
	fold(acc, VPADDD)
	VMOVD(acc.AsX(), Mem{Base: total, Index: row, Scale: 4})
	ADDQ(sumStep, base)
	ADDQ(yStep, y)
	INCQ(row)
	CMPQ(row, rows)
	JLT(LabelRef("pack"))
}
