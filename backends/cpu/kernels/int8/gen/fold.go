package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fold brings op of all lanes to every lane, in the order of fmath.Tree.
func fold(z reg.VecVirtual, op func(...Op)) {
	t := ZMM()
	VSHUFF32X4(Imm(0x4e), z, z, t)
	op(t, z, z)
	VSHUFF32X4(Imm(0xb1), z, z, t)
	op(t, z, z)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPERMILPS(Imm(swap), z, t)
		op(t, z, z)
	}
}

// fold4 folds the lanes of four vectors with op, each in the order of fmath.Tree,
// into one, each in all lanes of a quarter.
func fold4(z [4]reg.VecVirtual, op func(...Op)) reg.VecVirtual {
	pair := func(a, b reg.VecVirtual, low, high uint64) {
		t := ZMM()
		VSHUFF32X4(Imm(low), b, a, t)
		VSHUFF32X4(Imm(high), b, a, a)
		op(t, a, a)
	}
	pair(z[0], z[1], 0x44, 0xee)
	pair(z[2], z[3], 0x44, 0xee)
	pair(z[0], z[2], 0x88, 0xdd)
	for _, swap := range []uint64{0x4e, 0xb1} {
		t := ZMM()
		VPERMILPS(Imm(swap), z[0], t)
		op(t, z[0], z[0])
	}
	return z[0]
}

// fold16 folds the lanes of 16 vectors with op, each in the order of fmath.Tree,
// into one, in the order of rowOrder of package int8.
func fold16(z [16]reg.VecVirtual, op func(...Op)) reg.VecVirtual {
	// pairs halves the number of vectors: low and high take the lanes that are
	// folded from two of them.
	pairs := func(z []reg.VecVirtual, low, high func(a, b, to reg.VecVirtual)) []reg.VecVirtual {
		n := len(z) / 2
		for i := range n {
			t := ZMM()
			low(z[i], z[i+n], t)
			high(z[i], z[i+n], z[i])
			op(t, z[i], z[i])
		}
		return z[:n]
	}
	blocks := func(imm uint64) func(a, b, to reg.VecVirtual) {
		return func(a, b, to reg.VecVirtual) { VSHUFF32X4(Imm(imm), b, a, to) }
	}
	v := pairs(z[:], blocks(0x44), blocks(0xee))
	v = pairs(v, blocks(0x88), blocks(0xdd))
	v = pairs(v, func(a, b, to reg.VecVirtual) { VUNPCKLPD(b, a, to) }, func(a, b, to reg.VecVirtual) { VUNPCKHPD(b, a, to) })
	lanes := func(imm uint64) func(a, b, to reg.VecVirtual) {
		return func(a, b, to reg.VecVirtual) { VSHUFPS(Imm(imm), b, a, to) }
	}
	return pairs(v, lanes(0x88), lanes(0xdd))[0]
}
