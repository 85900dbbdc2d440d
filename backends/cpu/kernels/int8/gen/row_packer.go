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
	cols             int
	residual, plain  bool
	loaded           int // labels
	factors, starts  []reg.VecPhysical
	order, least     reg.VecPhysical
	zeros, nextBytes reg.VecPhysical // the next row's residual
}

// newRowPacker loads what all rows need; constants is gemmPack.
func newRowPacker(a, constants, tmp reg.Register, cols int, residual, plain bool) rowPacker {
	p := rowPacker{
		a: a, cols: cols, residual: residual, plain: plain, factors: zmms[24:28], starts: zmms[20:24],
		order: reg.Z31, least: reg.Z30, zeros: reg.Z29, nextBytes: reg.Z28,
	}
	VMOVDQU32(at(constants, packOrder), p.order)
	VMOVDQU32(at(constants, packZero), p.zeros)
	VMOVDQU32(at(constants, packLeast), p.least)
	MOVQ(field(a, gemmMult), tmp)
	for c := range cols {
		VMOVUPS(at(tmp, 64*c), p.factors[c])
	}
	KMOVQ(field(a, gemmMask), reg.K1)
	MOVQ(field(a, gemmInit), tmp)
	for c := range cols {
		VMOVDQU32(at(tmp, 64*c), p.starts[c])
	}
	return p
}

// scaled gives a row's sums times their factors, rounded.
func (p *rowPacker) scaled(set int, sums reg.Register) []reg.VecPhysical {
	q := zmms[4*set:][:p.cols]
	for c, z := range q {
		VPADDD(at(sums, 64*c), p.starts[c], z)
	}
	scaleEach(q, func(c int) Op { return p.factors[c] })
	return q
}

// write adds the row's residual, if there is one, and writes its bytes to y; before
// is what comes before they are stored.
func (p *rowPacker) write(set int, q []reg.VecPhysical, constants reg.Register, y Mem, before func()) {
	if p.residual {
		first, free := zmms[8+4*set], zmms[9+4*set:]
		VMOVDQA64(p.nextBytes, first)
		q = addResidual(constants, q, first, free[0], free[1], p.order, p.plain)
	}
	if p.plain {
		packPlainRow(q, p.order, y, before)
	} else {
		packRow(constants, q, p.zeros, p.least, p.order, y, before)
	}
}

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
