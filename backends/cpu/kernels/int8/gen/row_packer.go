package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowPacker packs rows of cols vectors of sums to 8-bit results, as gemmPacked does;
// the sums are read from memory, and two sets of registers take turns.
type rowPacker struct {
	a                reg.Register
	cols, how        int // how as gemmFinish says it
	loaded           int // labels
	factors, starts  []reg.VecPhysical
	order, least     reg.VecPhysical
	zeros, nextBytes reg.VecPhysical // the next row's residual
}

// newRowPacker loads what all rows need; constants is gemmPack.
func newRowPacker(a, constants, tmp reg.Register, cols, how int) rowPacker {
	p := rowPacker{
		a: a, cols: cols, how: how, factors: zmms[24:28], starts: zmms[20:24],
		order: reg.Z31, least: reg.Z30, zeros: reg.Z29, nextBytes: reg.Z28,
	}
	if how != toFloats {
		VMOVDQU32(at(constants, packOrder), p.order)
		VMOVDQU32(at(constants, packZero), p.zeros)
		VMOVDQU32(at(constants, packLeast), p.least)
	}
	MOVQ(field(a, gemmMult), tmp)
	for c := range cols {
		VMOVUPS(at(tmp, 64*c), p.factors[c])
	}
	KMOVQ(field(a, gemmMask), reg.K1)
	if how == toFloats {
		vectorMasks(cols)
	}
	MOVQ(field(a, gemmInit), tmp)
	for c := range cols {
		VMOVDQU32(at(tmp, 64*c), p.starts[c])
	}
	return p
}

// scaled gives a row's sums times their factors, rounded where they become bytes.
func (p *rowPacker) scaled(set int, sums reg.Register) []reg.VecPhysical {
	q := zmms[4*set:][:p.cols]
	for c, z := range q {
		VPADDD(at(sums, 64*c), p.starts[c], z)
	}
	factor := func(c int) Op { return p.factors[c] }
	if p.how == toFloats {
		multiplyEach(q, factor)
	} else {
		scaleEach(q, factor)
	}
	return q
}

// write adds the row's residual, if there is one, and writes its results to y; before
// is what comes before they are stored.
func (p *rowPacker) write(set int, q []reg.VecPhysical, constants reg.Register, y Mem, before func()) {
	free := zmms[8+4*set:]
	if p.residual() {
		VMOVDQA64(p.nextBytes, free[0])
		q = addResidual(constants, q, free[0], free[1], free[2], p.order, p.how == addPlain)
	}
	switch p.how {
	case toFloats:
		storeRow(q, y)
	case packLookedUp:
		b := saturated(q, p.zeros, p.order)
		MOVQ(field(p.a, gemmTable), constants)
		VMOVDQU8(bytesOf(lookUp(constants, b, free), p.cols), reg.K1, y)
	case packPlain, addPlain:
		packPlainRow(q, p.order, y, before)
	default:
		packRow(constants, q, p.zeros, p.least, p.order, y, before)
	}
}

func (p *rowPacker) residual() bool { return p.how == addBytes || p.how == addPlain }

// ahead loads the next row's residual, if this row is not the last one.
func (p *rowPacker) ahead(pending reg.Register, load func()) {
	label := fmt.Sprint("loaded", p.loaded)
	p.loaded++
	CMPQ(pending, Imm(1))
	JEQ(LabelRef(label))
	load()
	Label(label)
}

// loadAt loads a residual that lies by behind the results.
func (p *rowPacker) loadAt(y, by reg.Register) {
	loadResidual(Mem{Base: y, Index: by, Scale: 1}, p.cols, p.nextBytes)
}
