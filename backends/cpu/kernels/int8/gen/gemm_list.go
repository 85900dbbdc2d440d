package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

// gemmListAMX writes the kernel of 2×2 tile registers that goes through a list of
// tiles (listedTile of package int8): rows of x and of results lie where the list
// says. Otherwise it is gemmAMX, always with 8-bit results.
func gemmListAMX(name string, how int) {
	residual := how == addBytes
	doc := "computes the tiles of a list; it advances a."
	if residual {
		doc = "computes the tiles of a list and adds a residual; it advances a."
	}
	a := text(name, "gemmArgs", doc)
	t := newTileGemm(a, 2, 2)
	tmp, sums := t.tmp, t.sums
	pending, result, tile := GP64(), GP64(), GP64()
	t.pending = pending
	XORQ(pending, pending)
	XORQ(result, result)
	y := load(a, gemmY)
	MOVQ(field(a, gemmList), tile)
	MOVQ(field(a, gemmPack), tmp)
	pack := newRowPacker(a, tmp, tmp, t.cols, how)

	// residualOf loads what is added to a result, so many further on in the list.
	residualOf := func(n int) {
		MOVLQSX(at(result, 8*n+4), tmp)
		ADDQ(field(a, gemmDelta), tmp)
		pack.loadAt(y, tmp)
	}
	row := func(set int) {
		MOVLQZX(at(result, 0), tmp)
		ADDQ(field(a, gemmSums), tmp)
		q := pack.scaled(set, tmp)
		MOVQ(field(a, gemmPack), sums)
		pack.write(set, q, sums, Mem{Base: y, Index: tmp, Scale: 1}, func() {
			if residual {
				pack.ahead(pending, func() { residualOf(1) })
			}
			MOVLQSX(at(result, 4), tmp)
		})
		ADDQ(Imm(8), result)
	}

	Label("tile")
	t.zero()
	MOVQ(field(a, gemmX), tmp)
	ADDQ(at(tile, listX), tmp)
	MOVQ(tmp, field(a, gemmXNow))
	t.products(at(tile, listTall), field(a, gemmStepMove), row)
	MOVQ(field(a, gemmSums), sums)
	t.store()
	MOVQ(at(tile, listRows), pending)
	BTSQ(Imm(waits), pending)
	LEAQ(at(tile, listAt), result)
	if residual {
		residualOf(0)
	}
	ADDQ(I32(listSize), tile)
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	TILERELEASE()
	BTRQ(Imm(waits), pending)
	t.rest("last", row)
	MOVQ(tile, field(a, gemmList))
	VZEROUPPER()
	RET()
}
