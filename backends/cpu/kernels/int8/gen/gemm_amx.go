package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

func gemmAMXSet() {
	for _, t := range [][2]int{{1, 4}, {1, 3}, {1, 2}, {2, 2}, {1, 1}, {2, 1}, {3, 1}, {4, 1}} {
		gemmAMX(fmt.Sprintf("gemmAMX%dx%d", t[0], t[1]), t[0], t[1], false, false)
		gemmAMX(fmt.Sprintf("gemmAddAMX%dx%d", t[0], t[1]), t[0], t[1], true, false)
	}
	gemmAMX("gemmPlainAddAMX1x4", 1, 4, true, true)
	gemmAMX("gemmPlainAddAMX2x2", 2, 2, true, true)
	gemmListAMX("gemmListAMX2x2", false)
	gemmListAMX("gemmListAddAMX2x2", true)
	copyPictures()
	pairRows()
	for i, name := range []string{"gemmOneAMX", "gemmOneAddAMX", "gemmOnePlainAMX", "gemmOnePlainAddAMX"} {
		gemmOneAMX(name, i&1 != 0, i&2 != 0)
	}
}

// gemmAMX writes the kernel of rows×cols tile registers of sums. A step takes 64
// elements of x. The sums go through memory, and become 8-bit results while the next
// tile's products run; plain ones are u8 of all values with zero point 0, and so is a
// residual's signedness.
func gemmAMX(name string, rows, cols int, residual, plain bool) {
	doc := fmt.Sprintf("computes tiles of %d×%d registers; it advances a.", rows, cols)
	if residual {
		doc = fmt.Sprintf("computes tiles of %d×%d registers and adds a residual; it advances a.", rows, cols)
	}
	if plain {
		doc = fmt.Sprintf("computes tiles of %d×%d registers and adds a residual; results are not clamped. It advances a.", rows, cols)
	}
	a := text(name, "gemmArgs", doc)
	t := newTileGemm(a, rows, cols)
	tmp, sums := t.tmp, t.sums
	t.copyField(gemmX, gemmXNow)
	pending, done, y := GP64(), GP64(), GP64()
	t.pending = pending
	XORQ(pending, pending)
	MOVQ(field(a, gemmY), y)
	MOVQ(field(a, gemmSums), done)
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	JZ(LabelRef("tile"))
	pack := newRowPacker(a, tmp, tmp, cols, residual, plain)

	// A row of 8-bit results; set picks its registers.
	row := func(set int) {
		q := pack.scaled(set, done)
		MOVQ(field(a, gemmPack), sums)
		var before func()
		if residual {
			before = func() {
				pack.ahead(pending, func() {
					MOVQ(field(a, gemmDelta), tmp)
					ADDQ(field(a, gemmYStep), tmp)
					pack.loadAt(y, tmp)
				})
			}
		}
		pack.write(set, q, sums, at(y, 0), before)
		ADDQ(field(a, gemmYStep), y)
		ADDQ(t.sumsStep, done)
	}
	// What is packed starts from zero: adding to its rows what sums start from is
	// faster than loading the registers with it.
	Label("tile")
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	JZ(LabelRef("sums"))
	t.zero()
	JMP(LabelRef("begin"))
	Label("sums")
	MOVQ(field(a, gemmInit), sums)
	XORQ(tmp, tmp)
	for r := range rows {
		for c := range cols {
			TILELOADD(sums, tmp, 64*c, t.acc(r, c))
		}
	}
	Label("begin")
	t.products(field(a, gemmTall), Imm(64), row)
	MOVQ(field(a, gemmSums), sums)
	MOVQ(sums, done)
	t.store()
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	MOVQ(field(a, gemmRows), tmp)
	JNZ(LabelRef("packed"))
	IMULQ(t.sumsStep, tmp)
	ADDQ(tmp, field(a, gemmSums))
	JMP(LabelRef("next"))
	Label("packed")
	MOVQ(tmp, pending)
	BTSQ(Imm(waits), pending)
	if residual {
		MOVQ(field(a, gemmDelta), tmp)
		pack.loadAt(y, tmp)
	}

	Label("next")
	MOVQ(field(a, gemmMove), tmp)
	DECQ(field(a, gemmLineLeft))
	JNZ(LabelRef("same"))
	ADDQ(field(a, gemmLineSkip), tmp)
	MOVQ(field(a, gemmLineTiles), sums)
	MOVQ(sums, field(a, gemmLineLeft))
	Label("same")
	ADDQ(tmp, field(a, gemmXNow))
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	TILERELEASE()
	BTRQ(Imm(waits), pending)
	TESTQ(pending, pending)
	JZ(LabelRef("end"))
	t.rest("last", row)
	Label("end")
	MOVQ(y, field(a, gemmY))
	VZEROUPPER()
	RET()
}
