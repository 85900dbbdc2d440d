package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What the matrix kernels on 512 bits make of their sums; finishing of package int8
// has the same numbers. Sums that become bytes are bounded.
const (
	keepSums     = iota
	packBytes    // 8-bit results, clamped
	addBytes     // with a residual
	packWhole    // 8-bit results of the whole range
	packPlain    // u8 of the whole range with zero point 0
	addPlain     // with a residual in u8, too
	packLookedUp // 8-bit results of a table, indexed by what packing saturates to u8
	toFloats     // float32
)

// finishings are what kernels of so many vectors can do beside keepSums.
func finishings(vecs int) []int {
	all := []int{packBytes, addBytes, packWhole, packPlain, packLookedUp, toFloats}
	if vecs == 4 {
		all = append(all, addPlain)
	}
	return all
}

// tileSums are a tile's sums in registers.
type tileSums struct {
	a          reg.Register
	rows, vecs int
	acc        func(r, v int) reg.VecPhysical
	free       []reg.VecPhysical

	mult, y, yStep, constants reg.GPVirtual
	order                     reg.VecPhysical
}

// finish makes of the sums what gemmFinish says, and goes on to label next; what it
// does not, keepSums, comes behind.
func (t *tileSums) finish() {
	how := load(t.a, gemmFinish)
	TESTQ(how, how)
	JZ(LabelRef("sums"))
	t.mult, t.y, t.yStep, t.constants = load(t.a, gemmMult), load(t.a, gemmY), load(t.a, gemmYStep), load(t.a, gemmPack)
	KMOVQ(field(t.a, gemmMask), reg.K1)
	kinds := finishings(t.vecs)
	for i, kind := range kinds {
		label := fmt.Sprint("not", kind)
		if i < len(kinds)-1 {
			CMPQ(how, Imm(uint64(kind)))
			JNE(LabelRef(label))
		}
		switch kind {
		case addBytes, addPlain:
			t.add(kind == addPlain)
		case toFloats:
			t.floats()
		default:
			t.pack(kind)
		}
		MOVQ(t.y, field(t.a, gemmY))
		JMP(LabelRef("next"))
		if i < len(kinds)-1 {
			Label(label)
		}
	}
	Label("sums")
}

func (t *tileSums) sums(r int) []reg.VecPhysical {
	q := make([]reg.VecPhysical, t.vecs)
	for v := range q {
		q[v] = t.acc(r, v)
	}
	return q
}

// row gives a row's sums times the columns' factors, rounded.
func (t *tileSums) row(r int) []reg.VecPhysical {
	q := t.sums(r)
	scaleRow(q, t.factor)
	return q
}

func (t *tileSums) factor(v int) Op { return at(t.mult, 64*v) }

func (t *tileSums) loadOrder() {
	t.order = t.free[0]
	VMOVDQU32(at(t.constants, packOrder), t.order)
}

// pack writes rows of bytes.
func (t *tileSums) pack(kind int) {
	t.loadOrder()
	zero, least := t.free[1], t.free[2]
	if kind != packPlain {
		VMOVDQU32(at(t.constants, packZero), zero)
	}
	var table reg.GPVirtual
	switch kind {
	case packBytes:
		VMOVDQU32(at(t.constants, packLeast), least)
	case packLookedUp:
		table = load(t.a, gemmTable)
	}
	for r := range t.rows {
		q := t.row(r)
		switch kind {
		case packBytes:
			packRow(t.constants, q, zero, least, t.order, at(t.y, 0), nil)
		case packPlain:
			packPlainRow(q, t.order, at(t.y, 0), nil)
		case packWhole:
			b := saturated(q, zero, t.order)
			VPXORD(at(t.constants, packFlip), b, b)
			VMOVDQU8(bytesOf(b, t.vecs), reg.K1, at(t.y, 0))
		case packLookedUp:
			VMOVDQU8(bytesOf(lookUp(table, saturated(q, zero, t.order), t.free[2:]), t.vecs), reg.K1, at(t.y, 0))
		}
		ADDQ(t.yStep, t.y)
	}
}

// lookUp looks bytes up in a table of 256 in memory; it uses two registers more, K2
// and K3.
func lookUp(table reg.Register, b reg.VecPhysical, free []reg.VecPhysical) reg.VecPhysical {
	lo, hi := free[0], free[1]
	VPMOVB2M(b, reg.K3) // the upper half of the table
	VPADDB(b, b, lo)
	VPMOVB2M(lo, reg.K2) // the upper quarter of each half
	VPERMB(at(table, 0), b, lo)
	VPERMB(at(table, 64), b, reg.K2, lo)
	VPERMB(at(table, 128), b, hi)
	VPERMB(at(table, 192), b, reg.K2, hi)
	VMOVDQU8(hi, reg.K3, lo)
	return lo
}

// add adds rows of residuals and writes bytes.
func (t *tileSums) add(plain bool) {
	t.loadOrder()
	x2, res, other := load(t.a, gemmDelta), t.free[1], t.free[2]
	ADDQ(t.y, x2)
	loadResidual(at(x2, 0), t.vecs, res)
	for r := range t.rows {
		ahead := func() {
			if r < t.rows-1 {
				ADDQ(t.yStep, x2)
				loadResidual(at(x2, 0), t.vecs, other)
			}
		}
		q := addResidual(t.constants, t.row(r), res, other, t.free[3], t.order, plain)
		if plain {
			packPlainRow(q, t.order, at(t.y, 0), ahead)
		} else {
			packRow(t.constants, q, at(t.constants, packZero), at(t.constants, packLeast), t.order, at(t.y, 0), ahead)
		}
		res, other = other, res
		ADDQ(t.yStep, t.y)
	}
}

// floats writes rows of float32.
func (t *tileSums) floats() {
	vectorMasks(t.vecs)
	for r := range t.rows {
		q := t.sums(r)
		multiplyEach(q, t.factor)
		storeRow(q, at(t.y, 0))
		ADDQ(t.yStep, t.y)
	}
}

// rowMasks are the masks of a row's vectors.
var rowMasks = []reg.Register{reg.K1, reg.K2, reg.K3, reg.K4}

// vectorMasks makes the vectors' masks out of that of the columns, in K1.
func vectorMasks(vecs int) {
	for v := 1; v < vecs; v++ {
		KSHIFTRQ(Imm(uint64(16*v)), reg.K1, rowMasks[v])
	}
}

// storeRow writes a row of float32.
func storeRow(q []reg.VecPhysical, y Mem) {
	for v, z := range q {
		m := y
		m.Disp += 64 * v
		VMOVUPS(z, rowMasks[v], m)
	}
}
