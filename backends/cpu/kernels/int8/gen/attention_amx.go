package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

// Offsets in attendTileArgs and startArgs of attend_tile.go; TestAttendLayouts has
// the same numbers.
const (
	tileConfigAt   = 0
	tileQ          = 8
	tileQStep      = 16
	tileQMove      = 24
	tileKeys       = 32
	tileKeyMove    = 40
	tileInitK      = 48
	tileKeyTiles   = 56
	tileRowTiles   = 64
	tileShift      = 72
	tileShifts     = 80
	tileScores     = 88
	tileN          = 96
	tileFill       = 104
	tileBias       = 112
	tileLanes      = 120
	tileTmp        = 128
	tileWeights    = 136
	tileWeightStep = 144
	tileTotal      = 152
	tileValues     = 160
	tileValueStep  = 168
	tileValueMove  = 176
	tileValueTiles = 184
	tileValueSteps = 192
	tileOut        = 200
	tileOutStep    = 208
	tileOutMove    = 216
	tileOrder      = 224
	tileRowOrder   = 232
	tileMult       = 240
	tileInv        = 244
	tileTimes      = 248
	tileOther      = 256
	tileKeysNow    = 264
	tileInitNow    = 272
	tileScoresNow  = 280
	tileKeysLeft   = 288
	tileValuesNow  = 296
	tileOutNow     = 304
	tileValuesLeft = 312

	startW     = 0
	startQuads = 8
	startN     = 16
	startInit  = 24
	startZero  = 32
	startBase  = 36
)

const (
	tileBytes = 1024 // of a register of sums
	// scoreBytes is how far the scores of 16 keys are from those of the next: not a
	// multiple of what would make four of them lie 4 KiB apart, since a load waits
	// for a store whose address ends as its own.
	scoreBytes = tileBytes + 64
)

func attentionAMX() {
	tileAttention("attentionAMX", "computes attention for tiles of 16 rows, up to the sums of weighted values; it advances a.", false)
	tileAttention("attentionBiasedAMX", "is attentionAMX with a bias.", true)
	columnStarts()
}

// tileAttention writes attention on tile registers, which hold as newAttendConfig
// says: sums in 0 to 3, 16 rows of q in 4, 16 keys in 5, weights in 6, values in 7.
// Scores lie as the registers of sums do: 16 rows of 16 keys, one after the other.
// The products of the next 16 rows with keys and of the last ones with values run
// among the exponentials of these, since they take other units of the processor.
func tileAttention(name, doc string, biased bool) {
	a := text(name, "attendTileArgs", doc)
	t := &attentionTiles{a: a, biased: biased}
	p := reg.R8
	MOVQ(field(a, tileConfigAt), p)
	LDTILECFG(p)
	n, mask := load(a, tileN), GP64()
	MOVQ(I64(-1), mask)
	ANDQ(Imm(15), n)
	BZHIQ(n, mask, mask)
	KMOVQ(mask, reg.K1) // of the last keys, none where all are whole
	zero := GP64()
	XORQ(zero, zero)
	MOVQ(zero, field(a, tileValuesLeft))
	t.loadRows()
	t.keysFrom(tileScores)
	t.drain(tileKeysLeft, t.keyProducts)

	Label("tile")
	t.shiftProduct()
	t.greatest()
	MOVQ(U32(0), field(a, tileKeysLeft))
	CMPQ(field(a, tileRowTiles), Imm(1))
	JE(LabelRef("last"))
	t.loadRows()
	t.keysFrom(tileOther)
	Label("last")
	t.exponentials()
	t.pack()
	t.copy(tileValues, tileValuesNow)
	t.copy(tileOut, tileOutNow)
	t.copy(tileValueTiles, tileValuesLeft)
	move := load(t.a, tileOutMove)
	ADDQ(move, field(t.a, tileOut))
	scores, other := load(t.a, tileScores), load(t.a, tileOther)
	MOVQ(scores, field(t.a, tileOther))
	MOVQ(other, field(t.a, tileScores))
	DECQ(field(a, tileRowTiles))
	JNZ(LabelRef("tile"))
	t.drain(tileValuesLeft, t.valueProducts)
	TILERELEASE()
	VZEROUPPER()
	RET()
}

type attentionTiles struct {
	a      reg.Register
	biased bool
}

func (t *attentionTiles) get(offset int, r reg.GPPhysical) { MOVQ(field(t.a, offset), r) }

func (t *attentionTiles) copy(from, to int) {
	r := load(t.a, from)
	MOVQ(r, field(t.a, to))
}

// some does part of the work that is left, if there is any.
func (t *attentionTiles) some(left int, part func()) {
	none := label("none")
	CMPQ(field(t.a, left), Imm(0))
	JE(LabelRef(none))
	part()
	Label(none)
}

// drain does all the work that is left.
func (t *attentionTiles) drain(left int, part func()) {
	again, done := label("again"), label("done")
	Label(again)
	CMPQ(field(t.a, left), Imm(0))
	JE(LabelRef(done))
	part()
	JMP(LabelRef(again))
	Label(done)
}

// loadRows loads the next rows of q.
func (t *attentionTiles) loadRows() {
	q, step := reg.R8, reg.R9
	t.get(tileQ, q)
	t.get(tileQStep, step)
	TILELOADD(q, step, 0, 4)
	ADDQ(field(t.a, tileQMove), q)
	MOVQ(q, field(t.a, tileQ))
}

// keysFrom begins the products with keys, whose sums go to scores.
func (t *attentionTiles) keysFrom(scores int) {
	t.copy(tileKeys, tileKeysNow)
	t.copy(tileInitK, tileInitNow)
	t.copy(scores, tileScoresNow)
	t.copy(tileKeyTiles, tileKeysLeft)
}

// shiftProduct finds what is added to the rows' sums.
func (t *attentionTiles) shiftProduct() {
	w, to, step, skip := reg.R8, reg.R9, reg.R10, label("noShift")
	t.get(tileShift, w)
	TESTQ(w, w)
	JZ(LabelRef(skip))
	MOVQ(I32(64), step)
	TILELOADD(w, step, 0, 5)
	TILEZERO(0)
	TDPBUSD(5, 4, 0)
	t.get(tileShifts, to)
	TILESTORED(0, to, step, 0)
	Label(skip)
}

// keyProducts sums the rows of q times four registers of keys.
func (t *attentionTiles) keyProducts() {
	keys, init, to, step, none, move := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	t.get(tileKeysNow, keys)
	t.get(tileInitNow, init)
	t.get(tileScoresNow, to)
	t.get(tileKeyMove, move)
	MOVQ(I32(64), step)
	XORQ(none, none)
	for c := range uint8(4) {
		TILELOADD(init, none, 64*int(c), c)
		TILELOADD(keys, step, 0, 5)
		ADDQ(move, keys)
		TDPBUSD(5, 4, c)
	}
	for c := range uint8(4) {
		TILESTORED(c, to, step, scoreBytes*int(c))
	}
	MOVQ(keys, field(t.a, tileKeysNow))
	ADDQ(I32(4*64), field(t.a, tileInitNow))
	ADDQ(I32(4*scoreBytes), field(t.a, tileScoresNow))
	SUBQ(Imm(4), field(t.a, tileKeysLeft))
}

// valueProducts sums the weights times a register of values' columns.
func (t *attentionTiles) valueProducts() {
	rows, xStep, columns, valueStep, move, left, to := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	t.get(tileWeights, rows)
	t.get(tileWeightStep, xStep)
	t.get(tileValuesNow, columns)
	t.get(tileValueStep, valueStep)
	t.get(tileValueMove, move)
	t.get(tileValueSteps, left)
	TILEZERO(0)
	step := label("valueStep")
	Label(step)
	TILELOADD(rows, xStep, 0, 6)
	TILELOADD(columns, valueStep, 0, 7)
	TDPBUSD(7, 6, 0)
	ADDQ(Imm(64), rows)
	ADDQ(move, columns)
	DECQ(left)
	JNZ(LabelRef(step))
	t.get(tileOutNow, to)
	t.get(tileOutStep, xStep)
	TILESTORED(0, to, xStep, 0)
	ADDQ(Imm(64), field(t.a, tileValuesNow))
	ADDQ(Imm(64), field(t.a, tileOutNow))
	DECQ(field(t.a, tileValuesLeft))
}

// rows walks the scores of each row; begin and end are done once a row. body finds
// count vectors at at, scoreBytes apart; the last one may be masked by K1.
func (t *attentionTiles) rows(name string, begin func(row reg.GPVirtual), body func(at reg.GPVirtual, count int, masked bool), end func(row, at reg.GPVirtual)) {
	row, at, left, n := GP64(), GP64(), GP64(), load(t.a, tileN)
	XORQ(row, row)
	Label(name)
	MOVQ(field(t.a, tileScores), at)
	ADDQ(row, at)
	begin(row)
	MOVQ(n, left)
	SHRQ(Imm(6), left)
	JZ(LabelRef(name + "Two"))
	Label(name + "Four")
	body(at, 4, false)
	ADDQ(I32(4*scoreBytes), at)
	DECQ(left)
	JNZ(LabelRef(name + "Four"))
	Label(name + "Two")
	TESTQ(I32(32), n)
	JZ(LabelRef(name + "One"))
	body(at, 2, false)
	ADDQ(I32(2*scoreBytes), at)
	Label(name + "One")
	TESTQ(I32(16), n)
	JZ(LabelRef(name + "Tail"))
	body(at, 1, false)
	ADDQ(I32(scoreBytes), at)
	Label(name + "Tail")
	KTESTW(reg.K1, reg.K1)
	JZ(LabelRef(name + "End"))
	body(at, 1, true)
	ADDQ(I32(scoreBytes), at)
	Label(name + "End")
	end(row, at)
	ADDQ(Imm(64), row)
	CMPQ(row, I32(tileBytes))
	JLT(LabelRef(name))
}

// rowAdd loads what is added to the sums of a row.
func (t *attentionTiles) rowAdd(row reg.GPVirtual, add reg.VecVirtual) {
	skip, p := label("noAdd"), GP64()
	VPXORD(add, add, add)
	CMPQ(field(t.a, tileShift), Imm(0))
	JZ(LabelRef(skip))
	MOVQ(field(t.a, tileShifts), p)
	VMOVDQU32(Mem{Base: p, Index: row, Scale: 1}, add)
	Label(skip)
}

// lanes is a row's place for a vector.
func (t *attentionTiles) lanes(row reg.GPVirtual) Mem {
	p := GP64()
	MOVQ(field(t.a, tileLanes), p)
	return Mem{Base: p, Index: row, Scale: 1}
}

// perRow folds the vectors of 16 rows and writes a value for each to tmp.
func (t *attentionTiles) perRow(z [16]reg.VecVirtual, op func(...Op)) reg.VecVirtual {
	order, v := load(t.a, tileRowOrder), fold16(z, op)
	i := ZMM()
	VMOVDQU32(Mem{Base: order}, i)
	VPERMD(v, i, v)
	return v
}

// gather reads what lanes has of each row.
func (t *attentionTiles) gather() (z [16]reg.VecVirtual) {
	p := load(t.a, tileLanes)
	for i := range z {
		z[i] = ZMM()
		VMOVDQU32(Mem{Base: p, Disp: 64 * i}, z[i])
	}
	return z
}

// greatest writes the greatest score of each row to tmp, without a bias the
// greatest sum, whose score it is.
func (t *attentionTiles) greatest() {
	if t.biased {
		mult, lowest, add, acc, b := broadcast(t.a, tileMult), constant(float32(math.Inf(-1))), ZMM(), ZMM(), GP64()
		t.rows("score", func(row reg.GPVirtual) {
			t.rowAdd(row, add)
			VMOVAPS(lowest, acc)
			MOVQ(field(t.a, tileBias), b)
		}, func(at reg.GPVirtual, count int, masked bool) {
			for i := range count {
				v, to := ZMM(), Mem{Base: at, Disp: scoreBytes * i}
				VPADDD(to, add, v)
				VCVTDQ2PS(v, v)
				VMULPS(mult, v, v)
				if masked {
					VADDPS(Mem{Base: b}, v, reg.K1, v)
					VMAXPS(v, acc, reg.K1, acc)
				} else {
					VADDPS(Mem{Base: b, Disp: 64 * i}, v, v)
					VMAXPS(v, acc, acc)
				}
				VMOVUPS(v, to)
			}
			ADDQ(I32(64*count), b)
		}, func(row, _ reg.GPVirtual) {
			VMOVUPS(acc, t.lanes(row))
		})
		VMOVUPS(t.perRow(t.gather(), VMAXPS), Mem{Base: load(t.a, tileTmp)})
		return
	}
	// A register of 16 rows at a time.
	var acc [16]reg.VecVirtual
	at, left := load(t.a, tileScores), load(t.a, tileN)
	r := GP32()
	MOVL(U32(1<<31), r)
	for i := range acc {
		acc[i] = ZMM()
		VPBROADCASTD(r, acc[i])
	}
	SHRQ(Imm(4), left)
	JZ(LabelRef("greatestTail"))
	Label("greatest")
	for i, z := range acc {
		VPMAXSD(Mem{Base: at, Disp: 64 * i}, z, z)
	}
	ADDQ(I32(scoreBytes), at)
	DECQ(left)
	JNZ(LabelRef("greatest"))
	Label("greatestTail")
	KTESTW(reg.K1, reg.K1)
	JZ(LabelRef("greatestEnd"))
	for i, z := range acc {
		VPMAXSD(Mem{Base: at, Disp: 64 * i}, z, reg.K1, z)
	}
	Label("greatestEnd")
	VMOVDQU32(t.perRow(acc, VPMAXSD), Mem{Base: load(t.a, tileTmp)})
}

// exponentials writes the reciprocal of the sum of each row to tmp.
func (t *attentionTiles) exponentials() {
	e := newExpKernel()
	add, mult, top, sum := ZMM(), ZMM(), ZMM(), ZMM()
	if !t.biased {
		VPBROADCASTD(field(t.a, tileMult), mult)
	}
	tmp := load(t.a, tileTmp)
	t.rows("exp", func(row reg.GPVirtual) {
		i := GP64()
		MOVQ(row, i)
		SHRQ(Imm(4), i)
		VPBROADCASTD(Mem{Base: tmp, Index: i, Scale: 1}, top)
		if !t.biased {
			t.rowAdd(row, add)
			VPADDD(add, top, top)
			VCVTDQ2PS(top, top)
			VMULPS(mult, top, top)
		}
		VPXORD(sum, sum, sum)
	}, func(at reg.GPVirtual, count int, masked bool) {
		x := zmmsOf(count)
		from := func(i int) Mem { return Mem{Base: at, Disp: scoreBytes * i} }
		for i, v := range x {
			if t.biased {
				VMOVUPS(from(i), v)
				continue
			}
			VPADDD(from(i), add, v)
			VCVTDQ2PS(v, v)
		}
		for _, v := range x {
			if !t.biased {
				VMULPS(mult, v, v)
			}
		}
		for _, v := range x {
			VSUBPS(top, v, v)
		}
		e.of(x, masked)
		for i, v := range x {
			VMOVUPS(v, from(i))
			VADDPS(v, sum, sum)
		}
	}, func(row, at reg.GPVirtual) {
		VMOVUPS(sum, t.lanes(row))
		// The rest of the last four registers.
		zeros, left := ZMM(), load(t.a, tileFill)
		VPXORD(zeros, zeros, zeros)
		Label("fill")
		DECQ(left)
		JLT(LabelRef("filled"))
		VMOVUPS(zeros, Mem{Base: at})
		ADDQ(I32(scoreBytes), at)
		JMP(LabelRef("fill"))
		Label("filled")
		t.some(tileValuesLeft, t.valueProducts)
		t.some(tileKeysLeft, t.keyProducts)
	})
	t.drain(tileValuesLeft, t.valueProducts)
	t.drain(tileKeysLeft, t.keyProducts)
	s := t.perRow(t.gather(), VADDPS)
	one := constant(1)
	VDIVPS(s, one, one)
	VMOVUPS(one, Mem{Base: tmp})
}

// pack packs rows of weights, as attention.pack does.
func (t *attentionTiles) pack() {
	weights := newWeightPacker(t.a, tileInv, tileOrder)
	tmp, out, scores := load(t.a, tileTmp), load(t.a, tileWeights), load(t.a, tileScores)
	row := GP64()
	XORQ(row, row)
	Label("pack")
	r, acc, at, i, to, left := ZMM(), ZMM(), GP64(), GP64(), GP64(), load(t.a, tileKeyTiles)
	MOVQ(row, i)
	SHRQ(Imm(4), i)
	VPBROADCASTD(Mem{Base: tmp, Index: i, Scale: 1}, r)
	VPXORD(acc, acc, acc)
	MOVQ(scores, at)
	MOVQ(out, to)
	Label("packLoop")
	weights.pack(at, scoreBytes, r, to, acc)
	ADDQ(I32(4*scoreBytes), at)
	ADDQ(Imm(64), to)
	SUBQ(Imm(4), left)
	JNZ(LabelRef("packLoop"))
	VMOVDQU32(acc, t.lanes(row))
	ADDQ(Imm(64), scores)
	ADDQ(field(t.a, tileWeightStep), out)
	ADDQ(Imm(64), row)
	CMPQ(row, I32(tileBytes))
	JLT(LabelRef("pack"))
	sums, total := t.perRow(t.gather(), VPADDD), load(t.a, tileTotal)
	VPMULLD(broadcast(t.a, tileTimes), sums, sums)
	VMOVDQU32(sums, Mem{Base: total})
	ADDQ(Imm(64), total)
	MOVQ(total, field(t.a, tileTotal))
}

// columnStarts finds what sums of columns begin with.
func columnStarts() {
	a := text("columnStartsVNNI", "startArgs", "sets n vectors of sums to base less zero times the sums of the columns of packed weights, a tile register of columns at a time.")
	w, init, n := load(a, startW), load(a, startInit), load(a, startN)
	zero, from, ones := broadcast(a, startZero), broadcast(a, startBase), ones8()
	Label("column")
	acc, left := ZMM(), load(a, startQuads)
	VPXORD(acc, acc, acc)
	Label("quad")
	VPDPBUSD(Mem{Base: w}, ones, acc)
	ADDQ(Imm(64), w)
	DECQ(left)
	JNZ(LabelRef("quad"))
	VPMULLD(zero, acc, acc)
	VPSUBD(acc, from, acc)
	VMOVDQU32(acc, Mem{Base: init})
	ADDQ(Imm(64), init)
	DECQ(n)
	JNZ(LabelRef("column"))
	VZEROUPPER()
	RET()
}
