package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

func gemmAMXSet() {
	for _, t := range [][2]int{{1, 4}, {1, 3}, {1, 2}, {2, 2}, {1, 1}, {2, 1}, {3, 1}, {4, 1}} {
		gemmAMX(fmt.Sprintf("gemmAMX%dx%d", t[0], t[1]), t[0], t[1], packBytes)
		gemmAMX(fmt.Sprintf("gemmAddAMX%dx%d", t[0], t[1]), t[0], t[1], addBytes)
	}
	gemmAMX("gemmPlainAddAMX1x4", 1, 4, addPlain)
	gemmAMX("gemmPlainAddAMX2x2", 2, 2, addPlain)
	for _, t := range [][2]int{{1, 4}, {1, 2}, {2, 2}} {
		gemmAMX(fmt.Sprintf("gemmFloatsAMX%dx%d", t[0], t[1]), t[0], t[1], toFloats)
		gemmAMX(fmt.Sprintf("gemmLookedUpAMX%dx%d", t[0], t[1]), t[0], t[1], packLookedUp)
	}
	gemmListAMX("gemmListAMX2x2", packBytes)
	gemmListAMX("gemmListAddAMX2x2", addBytes)
	copyPictures()
	pairRows()
	gemmOneAMX("gemmOneAMX", packBytes)
	gemmOneAMX("gemmOneAddAMX", addBytes)
	gemmOneAMX("gemmOnePlainAMX", packPlain)
	gemmOneAMX("gemmOnePlainAddAMX", addPlain)
}

// gemmAMX writes the kernel of rows×cols tile registers of sums. A step takes 64
// elements of x. The sums go through memory, and become what how says while the next
// tile's products run; with packBytes they stay where gemmPack is nil.
func gemmAMX(name string, rows, cols, how int) {
	doc := fmt.Sprintf("computes tiles of %d×%d registers", rows, cols)
	switch how {
	case addBytes:
		doc += " and adds a residual"
	case addPlain:
		doc += " and adds a residual; results are not clamped"
	case toFloats:
		doc += "; results are float32"
	case packLookedUp:
		doc += "; results are looked up"
	}
	doc += "; it advances a."
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
	if how == packBytes {
		TESTQ(tmp, tmp)
		JZ(LabelRef("tile"))
	}
	pack := newRowPacker(a, tmp, tmp, cols, how)

	// A row of results; set picks its registers.
	row := func(set int) {
		q := pack.scaled(set, done)
		MOVQ(field(a, gemmPack), sums)
		var before func()
		if pack.residual() {
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
	if how == packBytes {
		MOVQ(field(a, gemmPack), tmp)
		TESTQ(tmp, tmp)
		JZ(LabelRef("sums"))
	}
	t.zero()
	if how == packBytes {
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
	}
	t.products(field(a, gemmTall), Imm(64), row)
	MOVQ(field(a, gemmSums), sums)
	MOVQ(sums, done)
	t.store()
	if how == packBytes {
		MOVQ(field(a, gemmPack), tmp)
		TESTQ(tmp, tmp)
	}
	MOVQ(field(a, gemmRows), tmp)
	if how == packBytes {
		JNZ(LabelRef("packed"))
		IMULQ(t.sumsStep, tmp)
		ADDQ(tmp, field(a, gemmSums))
		JMP(LabelRef("next"))
		Label("packed")
	}
	MOVQ(tmp, pending)
	BTSQ(Imm(waits), pending)
	if pack.residual() {
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
