package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lookupVBMI writes table lookups by byte permutes, with a table of 256 bytes
// in four registers.
func lookupVBMI() {
	a := text("lookupBytesVBMI", "lookupArgs", "maps bytes by a table.")
	y, x, n, table := load(a, lookY), load(a, lookX), load(a, lookN), load(a, lookTable)
	var t [4]reg.VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVDQU8(at(table, 64*i), t[i])
	}
	masked(n, 64, func() {
		v := ZMM()
		VMOVDQU8_Z(at(x, 0), reg.K1, v)
		store(permute256(t, v), y, n, 64, false)
		ADDQ(I32(64), x)
		ADDQ(I32(64), y)
	})
	VZEROUPPER()
	RET()

	lookupRowsVBMI()
	softmaxVBMI()
}

// lookupRowsVBMI writes the lookup of rows that lie apart, in place.
func lookupRowsVBMI() {
	a := text("lookupRowsVBMI", "lookupArgs", "maps rows of bytes by a table, in place.")
	y, step, rows, table := load(a, lookY), load(a, lookStep), load(a, lookRows), load(a, lookTable)
	var t [4]reg.VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVDQU8(at(table, 64*i), t[i])
	}
	lines, rest, ones := load(a, lookN), load(a, lookN), GP64()
	SHRQ(Imm(6), lines)
	ANDQ(Imm(63), rest)
	MOVQ(I64(-1), ones)
	BZHIQ(rest, ones, ones)
	KMOVQ(ones, reg.K1)
	Label("row")
	at0, left, v := GP64(), GP64(), ZMM()
	MOVQ(y, at0)
	MOVQ(lines, left)
	TESTQ(left, left)
	JZ(LabelRef("rest"))
	Label("line")
	VMOVDQU8(Mem{Base: at0}, v)
	VMOVDQU8(permute256(t, v), Mem{Base: at0})
	ADDQ(I32(64), at0)
	DECQ(left)
	JNZ(LabelRef("line"))
	Label("rest")
	TESTQ(rest, rest)
	JZ(LabelRef("next"))
	VMOVDQU8_Z(Mem{Base: at0}, reg.K1, v)
	VMOVDQU8(permute256(t, v), reg.K1, Mem{Base: at0})
	Label("next")
	ADDQ(step, y)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// permute256 looks bytes up in four registers; K2 is lost.
func permute256(t [4]reg.VecVirtual, v reg.VecVirtual) reg.VecVirtual {
	lo, hi := ZMM(), ZMM()
	VMOVDQA32(v, lo)
	VMOVDQA32(v, hi)
	VPERMI2B(t[1], t[0], lo)
	VPERMI2B(t[3], t[2], hi)
	VPMOVB2M(v, reg.K2)
	VMOVDQU8(hi, reg.K2, lo)
	return lo
}
