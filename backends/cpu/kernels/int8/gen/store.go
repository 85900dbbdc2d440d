package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var stores int // makes labels unique

// store writes a vector of bytes, or the low bytes of a vector of 32-bit values,
// in whole where at least per elements are left: masked stores are slow on some
// processors. K1 is the mask otherwise.
func store(v reg.VecVirtual, y, left reg.GPVirtual, per int, narrow bool) {
	stores++
	masked, done := fmt.Sprintf("masked%d", stores), fmt.Sprintf("stored%d", stores)
	CMPQ(left, Imm(uint64(per)))
	JLT(LabelRef(masked))
	if narrow {
		VPMOVDB(v, v.AsX())
		VMOVDQU32(v.AsX(), at(y, 0))
	} else {
		VMOVDQU32(v, at(y, 0))
	}
	JMP(LabelRef(done))
	Label(masked)
	if narrow {
		VPMOVDB(v, reg.K1, at(y, 0))
	} else {
		VMOVDQU8(v, reg.K1, at(y, 0))
	}
	Label(done)
}

// storeFloats writes 16 values, or fewer where fewer are left; K1 is their mask.
func storeFloats(v reg.VecVirtual, y, left reg.GPVirtual) {
	CMPQ(left, Imm(16))
	JLT(LabelRef("masked"))
	VMOVUPS(v, at(y, 0))
	JMP(LabelRef("stored"))
	Label("masked")
	VMOVUPS(v, reg.K1, at(y, 0))
	Label("stored")
}
