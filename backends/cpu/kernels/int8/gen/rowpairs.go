package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairRows writes the kernel that puts pixels of two rows side by side: 32 bytes
// of each are read and 64 written at each round, of which the next one writes
// again what is no whole pixel.
func pairRows() {
	a := text("pairRowsVBMI", "rowPairArgs", "puts pixels of two rows side by side.")
	top, bottom, y, rounds := load(a, rowsTop), load(a, rowsBottom), load(a, rowsY), load(a, rowsRounds)
	xStep, yStep := load(a, rowsXStep), load(a, rowsYStep)
	VPBROADCASTD(field(a, rowsFlip), reg.Z2)
	index := load(a, rowsIndex)
	VMOVDQU32(at(index, 0), reg.Z1)
	TESTQ(rounds, rounds)
	JZ(LabelRef("done"))
	Label("round")
	VMOVDQU(at(top, 0), reg.Y0)
	VINSERTI64X4(Imm(1), at(bottom, 0), reg.Z0, reg.Z0)
	VPERMB(reg.Z0, reg.Z1, reg.Z0)
	VPXORD(reg.Z2, reg.Z0, reg.Z0)
	VMOVDQU32(reg.Z0, at(y, 0))
	ADDQ(xStep, top)
	ADDQ(xStep, bottom)
	ADDQ(yStep, y)
	DECQ(rounds)
	JNZ(LabelRef("round"))
	Label("done")
	VZEROUPPER()
	RET()
}
