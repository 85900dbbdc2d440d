// Package amx writes the instructions of AMX (Intel's Architecture Instruction Set
// Extensions Programming Reference, chapter 3), which Go's assembler lacks, as
// bytes for generators that use avo. Their registers are physical ones, and named
// as inputs so that they stay alive.
//
// It is imported by generators only.
package amx

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vexBytes gives a VEX-coded instruction of map 0F38 with 128 bits and W0:
// prefix pp (0 none, 1 66, 2 F3, 3 F2), and R, X and B set for registers of the
// upper half.
func vexBytes(r, x, b bool, vvvv, pp, opcode uint8, rest ...uint8) []uint8 {
	b1 := uint8(0xE2)
	for i, set := range []bool{r, x, b} {
		if set {
			b1 &^= 0x80 >> i
		}
	}
	return append([]uint8{0xC4, b1, ^vvvv&15<<3 | pp, opcode}, rest...)
}

func emit(comment string, code []uint8, inputs ...operand.Op) {
	build.Comment(comment)
	for _, c := range code {
		build.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []operand.Op{operand.U8(c)}, Inputs: inputs})
	}
}

func number(r reg.GPPhysical) uint8 { return uint8(r.PhysicalIndex()) }

// sib are the bytes of [base + index + disp] with a register field.
func sib(field uint8, base, index reg.GPPhysical, disp int) []uint8 {
	return []uint8{0x84 | field<<3, number(index)&7<<3 | number(base)&7, uint8(disp), uint8(disp >> 8), uint8(disp >> 16), uint8(disp >> 24)}
}

// LDTILECFG reads the shapes of the tile registers from where p points, and
// clears them.
func LDTILECFG(p reg.GPPhysical) {
	emit(fmt.Sprintf("LDTILECFG (%s)", p.Asm()), vexBytes(false, false, number(p) > 7, 0, 0, 0x49, number(p)&7), p)
}

// TILERELEASE gives the tile registers back.
func TILERELEASE() { emit("TILERELEASE", vexBytes(false, false, false, 0, 0, 0x49, 0xC0)) }

// TILEZERO clears a tile.
func TILEZERO(tile uint8) {
	emit(fmt.Sprintf("TILEZERO TMM%d", tile), vexBytes(false, false, false, 0, 3, 0x49, 0xC0|tile<<3))
}

// TILELOADD reads rows that lie stride bytes apart.
func TILELOADD(base, stride reg.GPPhysical, disp int, tile uint8) {
	emit(fmt.Sprintf("TILELOADD %d(%s)(%s*1), TMM%d", disp, base.Asm(), stride.Asm(), tile),
		vexBytes(false, number(stride) > 7, number(base) > 7, 0, 3, 0x4B, sib(tile, base, stride, disp)...), base, stride)
}

// TILESTORED writes rows that lie stride bytes apart.
func TILESTORED(tile uint8, base, stride reg.GPPhysical, disp int) {
	emit(fmt.Sprintf("TILESTORED TMM%d, %d(%s)(%s*1)", tile, disp, base.Asm(), stride.Asm()),
		vexBytes(false, number(stride) > 7, number(base) > 7, 0, 2, 0x4B, sib(tile, base, stride, disp)...), base, stride)
}

// TDPBUSD adds the product of u8 rows x and s8 columns w to acc.
func TDPBUSD(w, x, acc uint8) {
	emit(fmt.Sprintf("TDPBUSD TMM%d, TMM%d, TMM%d", w, x, acc), vexBytes(false, false, false, w, 1, 0x5E, 0xC0|acc<<3|x))
}

// TDPBF16PS adds the product of bfloat16 rows x and columns w to acc.
func TDPBF16PS(w, x, acc uint8) {
	emit(fmt.Sprintf("TDPBF16PS TMM%d, TMM%d, TMM%d", w, x, acc), vexBytes(false, false, false, w, 2, 0x5C, 0xC0|acc<<3|x))
}
