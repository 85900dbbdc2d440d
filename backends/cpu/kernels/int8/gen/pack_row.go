package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// packWords packs a row to 16 bits: one vector, or two of more than 32 columns.
func packWords(q []reg.VecPhysical) []reg.VecPhysical {
	var words []reg.VecPhysical
	for i := 0; i < len(q); i += 2 {
		VPACKSSDW(q[min(i+1, len(q)-1)], q[i], q[i])
		words = append(words, q[i])
	}
	return words
}

// bytesOf is the narrowest part of a register that holds a byte for each element
// of so many vectors: a masked store blocks a later load from anywhere in its
// range, written or not, so that the range is kept short.
func bytesOf(z reg.VecPhysical, vecs int) Op {
	switch vecs {
	case 1:
		return z.AsX()
	case 2:
		return z.AsY()
	}
	return z
}

// loadResidual loads the bytes that are added to a row. In place, they are of the
// memory that is written, so that a row's are loaded before the row above it is stored.
func loadResidual(x2 Mem, vecs int, to reg.VecPhysical) {
	VMOVDQU8_Z(x2, reg.K1, bytesOf(to, vecs))
}

// packRow packs a row of results less their zero point to bytes, clamps and
// stores them; before is what comes before the store, when all registers of q but the
// first are free.
func packRow(p reg.Register, q []reg.VecPhysical, zero, least Op, order reg.VecPhysical, y Mem, before func()) {
	vecs := len(q)
	b := saturated(q, zero, order)
	VPMAXUB(least, b, b)
	VPMINUB(at(p, packMost), b, b)
	VPXORD(at(p, packFlip), b, b)
	if before != nil {
		before()
	}
	VMOVDQU8(bytesOf(b, vecs), reg.K1, y)
}

// saturated packs a row of results less their zero point to u8, in the order of the
// columns.
func saturated(q []reg.VecPhysical, zero Op, order reg.VecPhysical) reg.VecPhysical {
	words := packWords(q)
	for _, w := range words {
		VPADDSW(zero, w, w)
	}
	b := words[0]
	VPACKUSWB(words[len(words)-1], b, b)
	VPERMD(b, order, b)
	return b
}

// addResidual packs a row to 16 bits, pairs it with the bytes in res, and gives
// the row of scaled sums of both. res and two more registers are used, and the
// row's second vector. plain ones are u8, and the sums start with what their zero
// point takes; three vectors have no such form.
func addResidual(p reg.Register, q []reg.VecPhysical, res, none, third, order reg.VecPhysical, plain bool) []reg.VecPhysical {
	words := packWords(q)
	wide := []reg.VecPhysical{third}
	VPERMD(res, order, res) // as the packed pieces lie
	if !plain {
		VPXORD(at(p, packFlipX2), res, res)
	}
	VPXORD(none, none, none)
	VPUNPCKLBW(none, res, wide[0])
	if len(words) > 1 {
		wide = append(wide, q[1])
		VPUNPCKHBW(none, res, wide[1])
	}
	scale := func(int) Op { return at(p, packMult2) }
	var sums []reg.VecPhysical
	if plain {
		// The registers that are free by then.
		free := [][]reg.VecPhysical{{q[0], q[len(q)-1]}, {res, third}}
		for i, w := range words {
			VPMAXSW(at(p, packLeastQ), w, w)
			VPMINSW(at(p, packMostQ), w, w)
			lo := []reg.VecPhysical{res, none}[i]
			VPUNPCKLWD(wide[i], w, lo)
			VPUNPCKHWD(wide[i], w, wide[i])
			for j, pairs := range []reg.VecPhysical{lo, wide[i]}[:min(2, len(q))] {
				VMOVDQU32(at(p, packStart), free[i][j])
				VPDPWSSD(at(p, packPair), pairs, free[i][j])
				sums = append(sums, free[i][j])
			}
		}
		scaleRow(sums, scale)
		return sums
	}
	for i, w := range words {
		VPMAXSW(at(p, packLeastQ), w, w)
		VPMINSW(at(p, packMostQ), w, w)
		VPSUBW(at(p, packZeroX2), wide[i], wide[i])
		lo := []reg.VecPhysical{res, none}[i]
		VPUNPCKLWD(wide[i], w, lo)
		VPUNPCKHWD(wide[i], w, wide[i])
		sums = append(sums, lo, wide[i])
	}
	sums = sums[:len(q)]
	for _, z := range sums {
		VPMADDWD(at(p, packPair), z, z)
	}
	scaleRow(sums, scale)
	return sums
}

// packPlainRow is packRow of results that are u8, need no clamps and have the zero
// point 0.
func packPlainRow(q []reg.VecPhysical, order reg.VecPhysical, y Mem, before func()) {
	words := packWords(q)
	b := words[0]
	VPACKUSWB(words[len(words)-1], b, b)
	VPERMD(b, order, b)
	if before != nil {
		before()
	}
	VMOVDQU8(bytesOf(b, len(q)), reg.K1, y)
}
