package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lookup256 maps 64 bytes at a time: each sixteen entries of the table are a
// byte shuffle, which gives 0 for bytes that do not belong to them.
func lookup256() {
	a := text("lookupAVX2", "lookupArgs", "maps whole vectors of 64 bytes by a table.")
	y, x, n, table := load(a, lookY), load(a, lookX), load(a, lookN), load(a, lookTable)
	// Added with saturation, 0x70 leaves the top bit clear for 0 to 15 only.
	high, sixteen := YMM(), YMM()
	b := GP32()
	for _, c := range []struct {
		v reg.VecVirtual
		n uint32
	}{{high, 0x70}, {sixteen, 16}} {
		MOVL(U32(c.n), b)
		VMOVD(b, c.v.AsX())
		VPBROADCASTB(c.v.AsX(), c.v)
	}
	whole(n, 64, func() {
		v := [2]reg.VecVirtual{YMM(), YMM()}
		acc := [2]reg.VecVirtual{YMM(), YMM()}
		for i := range v {
			VMOVDQU(at(x, 32*i), v[i])
			VPXOR(acc[i], acc[i], acc[i])
		}
		for t := range 16 {
			entries := YMM()
			VBROADCASTI128(at(table, 16*t), entries)
			for i := range v {
				found := YMM()
				VPADDUSB(high, v[i], found)
				VPSHUFB(found, entries, found)
				VPOR(found, acc[i], acc[i])
				if t < 15 {
					VPSUBB(sixteen, v[i], v[i])
				}
			}
		}
		for i := range v {
			VMOVDQU(acc[i], at(y, 32*i))
		}
		ADDQ(I32(64), x)
		ADDQ(I32(64), y)
	})
}
