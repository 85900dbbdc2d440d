package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The vector registers by number.
var (
	zmms = []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	ymms = []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
)

// broadcast gives a 32-bit field in every lane.
func broadcast(a reg.Register, offset int) reg.VecVirtual {
	z := ZMM()
	VPBROADCASTD(field(a, offset), z)
	return z
}

// broadcast256 gives a 32-bit field in every lane.
func broadcast256(a reg.Register, offset int) reg.VecVirtual {
	y := YMM()
	VPBROADCASTD(field(a, offset), y)
	return y
}

// whole ends a kernel: it runs body for each whole vector of per elements.
func whole(n reg.Register, per int, body func()) {
	SUBQ(I32(per), n)
	JLT(LabelRef("done"))
	Label("step")
	body()
	SUBQ(I32(per), n)
	JGE(LabelRef("step"))
	Label("done")
	VZEROUPPER()
	RET()
}

// tailMask puts the mask of the next elements, at most per, in K1.
func tailMask(left reg.GPVirtual, per int) { tailMaskIn(reg.K1, left, per) }

func tailMaskIn(k reg.Register, left reg.GPVirtual, per int) {
	ones, n := GP64(), GP64()
	MOVQ(I64(-1), ones)
	MOVQ(U64(uint64(per)), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	BZHIQ(n, ones, ones)
	KMOVQ(ones, k)
}

// restMask puts the mask of the last of n columns, those that are no whole vector of
// 16, in K1: none where all are whole.
func restMask(n reg.GPVirtual) {
	mask, tail := GP64(), GP64()
	MOVQ(I64(-1), mask)
	MOVQ(n, tail)
	ANDQ(Imm(15), tail)
	BZHIQ(tail, mask, mask)
	KMOVQ(mask, reg.K1)
}

// masked runs body for each vector of per elements, with a mask of those that are
// there in K1.
func masked(n reg.GPVirtual, per int, body func()) {
	Label("step")
	tailMask(n, per)
	body()
	SUBQ(I32(per), n)
	JG(LabelRef("step"))
}

func constant(x float32) reg.VecVirtual { return constantBits(math.Float32bits(x)) }

func constantBits(u uint32) reg.VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(u), r)
	VPBROADCASTD(r, z)
	return z
}

func zmmsOf(n int) []reg.VecVirtual {
	z := make([]reg.VecVirtual, n)
	for i := range z {
		z[i] = ZMM()
	}
	return z
}

// ones8 is a register of bytes that are 1.
func ones8() reg.VecVirtual { return constantBits(0x01010101) }

// lines addresses up to four rows that lie step apart.
type lines struct{ p, step, step3 reg.GPVirtual }

func (l lines) at(row int) Mem {
	switch row {
	case 0:
		return Mem{Base: l.p}
	case 3:
		return Mem{Base: l.p, Index: l.step3, Scale: 1}
	}
	return Mem{Base: l.p, Index: l.step, Scale: uint8(row)}
}
