package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
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

// rowsAStep is how many rows of the last tile's sums are packed while a step's
// products run.
const rowsAStep = 4

// waits is the bit of the count of rows to be packed that says: not in the
// tile's first step, while their sums are still on the way to memory and what
// waits for them would keep the products from being issued.
const waits = 63

// gemmAMX writes the kernel of rows×cols tile registers of sums. What the tiles
// hold is in newTileConfig of package int8: sums in tiles 0 to 3, then rows of
// x, then weights. A step takes 64 elements of x. The sums go through memory,
// and become 8-bit results while the next tile's products run; plain ones are u8
// of all values with zero point 0, and so is a residual's signedness.
func gemmAMX(name string, rows, cols int, residual, plain bool) {
	doc := fmt.Sprintf("computes tiles of %d×%d registers; it advances a.", rows, cols)
	if residual {
		doc = fmt.Sprintf("computes tiles of %d×%d registers and adds a residual; it advances a.", rows, cols)
	}
	if plain {
		doc = fmt.Sprintf("computes tiles of %d×%d registers and adds a residual; results are not clamped. It advances a.", rows, cols)
	}
	a := text(name, "gemmArgs", doc)
	ptr := []reg.GPPhysical{reg.R9, reg.R10, reg.R11, reg.R12}[:rows]
	step, w, wStep, sums, sumsStep, tmp := reg.R8, reg.RSI, reg.RDI, reg.RBX, reg.RCX, reg.RAX
	acc := func(r, c int) uint8 { return uint8(r*cols + c) }
	// x(r) is the register of tile row r; the last may be lower than the others.
	x := func(r int) uint8 {
		switch {
		case rows == 2 && cols == 2:
			return 4 + uint8(r)
		case rows > 1 && r == rows-1:
			return 6
		}
		return 4 + uint8(r&1)
	}
	weights := []uint8{5, 6, 7}
	switch {
	case rows == 2 && cols == 2:
		weights = []uint8{6, 7}
	case rows > 1:
		weights = []uint8{7}
	}
	add := func(value Op, offset int) { ADDQ(value, field(a, offset)) }
	copyField := func(from, to int) {
		MOVQ(field(a, from), tmp)
		MOVQ(tmp, field(a, to))
	}

	MOVQ(field(a, gemmConfig), tmp)
	ldtilecfg(tmp)
	MOVQ(field(a, gemmXStep), step)
	MOVQ(field(a, gemmSumStep), sumsStep)
	MOVQ(U32(64*cols), wStep)
	copyField(gemmX, gemmXNow)
	pending, done, y := GP64(), GP64(), GP64()
	XORQ(pending, pending)
	MOVQ(field(a, gemmY), y)
	MOVQ(field(a, gemmSums), done)
	order, least, zeros, nextRes := reg.Z31, reg.Z30, reg.Z29, reg.Z28
	factors, starts := zmms[24:28], zmms[20:24]
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	JZ(LabelRef("tile"))
	VMOVDQU32(at(tmp, packOrder), order)
	VMOVDQU32(at(tmp, packZero), zeros)
	VMOVDQU32(at(tmp, packLeast), least)
	MOVQ(field(a, gemmMult), tmp)
	for c := range cols {
		VMOVUPS(at(tmp, 64*c), factors[c])
	}
	KMOVQ(field(a, gemmMask), reg.K1)
	MOVQ(field(a, gemmInit), tmp)
	for c := range cols {
		VMOVDQU32(at(tmp, 64*c), starts[c])
	}

	// A row of 8-bit results, as gemmPacked; set picks its registers.
	labels := 0
	row := func(set int) {
		q := zmms[4*set:][:cols]
		for c, z := range q {
			VPADDD(at(done, 64*c), starts[c], z)
		}
		for _, z := range q {
			VCVTDQ2PS(z, z)
		}
		for c, z := range q {
			VMULPS(factors[c], z, z)
		}
		for _, z := range q {
			VCVTPS2DQ(z, z)
		}
		MOVQ(field(a, gemmPack), sums)
		var before func()
		if residual {
			first, free := zmms[8+4*set], zmms[9+4*set:]
			VMOVDQA64(nextRes, first)
			q = addResidual(sums, q, first, free[0], free[1], order, plain)
			before = func() {
				label := fmt.Sprint("loaded", labels)
				labels++
				CMPQ(pending, Imm(1))
				JEQ(LabelRef(label))
				MOVQ(field(a, gemmDelta), tmp)
				ADDQ(field(a, gemmYStep), tmp)
				loadResidual(Mem{Base: y, Index: tmp, Scale: 1}, cols, nextRes)
				Label(label)
			}
		}
		if plain {
			packPlain(q, order, at(y, 0), before)
		} else {
			packRow(sums, q, zeros, least, order, at(y, 0), before)
		}
		ADDQ(field(a, gemmYStep), y)
		ADDQ(sumsStep, done)
	}
	// What is packed starts from zero: adding to its rows what sums start from is
	// faster than loading the registers with it.
	Label("tile")
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	JZ(LabelRef("sums"))
	for i := range rows * cols {
		tilezero(uint8(i))
	}
	JMP(LabelRef("begin"))
	Label("sums")
	MOVQ(field(a, gemmInit), sums)
	XORQ(tmp, tmp)
	for r := range rows {
		for c := range cols {
			tileload(sums, tmp, 64*c, acc(r, c))
		}
	}
	Label("begin")
	MOVQ(field(a, gemmW), w)
	copyField(gemmRuns, gemmRunNow)
	copyField(gemmNumRuns, gemmRunsLeft)

	Label("run")
	MOVQ(field(a, gemmRunNow), tmp)
	MOVQ(at(tmp, 0), ptr[0])
	ADDQ(field(a, gemmXNow), ptr[0])
	for i := 1; i < rows; i++ {
		MOVQ(field(a, gemmTall), ptr[i])
		ADDQ(ptr[i-1], ptr[i])
	}
	add(Imm(8), gemmRunNow)
	k := load(a, gemmQuads)
	Label("step")
	slots := rows * cols // of a step, one behind each product
	for r := range rows {
		tileload(ptr[r], step, 0, x(r))
		for c := range cols {
			if r == 0 {
				tileload(w, wStep, 64*c, weights[c%len(weights)])
			}
			tdpbusd(weights[c%len(weights)], x(r), acc(r, c))
			slot := r*cols + c
			for i := slot * rowsAStep / slots; i < (slot+1)*rowsAStep/slots; i++ {
				idle := fmt.Sprint("idle", i)
				TESTQ(pending, pending)
				JLE(LabelRef(idle))
				row(i & 1)
				DECQ(pending)
				Label(idle)
			}
		}
	}
	BTRQ(Imm(waits), pending)
	for _, p := range ptr {
		ADDQ(Imm(64), p)
	}
	ADDQ(I32(1024*cols), w)
	// What the next block of weights needs moves towards the second level cache.
	MOVQ(field(a, gemmAhead), tmp)
	CMPQ(tmp, field(a, gemmAheadEnd))
	JAE(LabelRef("fetched"))
	MOVQ(field(a, gemmAheadStep), sums)
	ADDQ(tmp, sums)
	MOVQ(sums, field(a, gemmAhead))
	Label("fetch")
	PREFETCHT1(at(tmp, 0))
	ADDQ(Imm(64), tmp)
	CMPQ(tmp, sums)
	JB(LabelRef("fetch"))
	Label("fetched")

	DECQ(k)
	JNZ(LabelRef("step"))
	DECQ(field(a, gemmRunsLeft))
	JNZ(LabelRef("run"))

	// What is left of the last tile's rows, then this one's sums.
	TESTQ(pending, pending)
	JZ(LabelRef("store"))
	Label("rest")
	row(0)
	DECQ(pending)
	JNZ(LabelRef("rest"))
	Label("store")
	MOVQ(field(a, gemmSums), sums)
	MOVQ(sums, done)
	for r := range rows {
		for c := range cols {
			tilestore(acc(r, c), sums, sumsStep, 64*c)
		}
		if r < rows-1 {
			ADDQ(field(a, gemmSumTall), sums)
		}
	}
	MOVQ(field(a, gemmPack), tmp)
	TESTQ(tmp, tmp)
	MOVQ(field(a, gemmRows), tmp)
	JNZ(LabelRef("packed"))
	IMULQ(sumsStep, tmp)
	add(tmp, gemmSums)
	JMP(LabelRef("next"))
	Label("packed")
	MOVQ(tmp, pending)
	BTSQ(Imm(waits), pending)
	if residual {
		MOVQ(field(a, gemmDelta), tmp)
		loadResidual(Mem{Base: y, Index: tmp, Scale: 1}, cols, nextRes)
	}

	Label("next")
	MOVQ(field(a, gemmMove), tmp)
	DECQ(field(a, gemmLineLeft))
	JNZ(LabelRef("same"))
	ADDQ(field(a, gemmLineSkip), tmp)
	MOVQ(field(a, gemmLineTiles), sums)
	MOVQ(sums, field(a, gemmLineLeft))
	Label("same")
	add(tmp, gemmXNow)
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	tilerelease()
	BTRQ(Imm(waits), pending)
	TESTQ(pending, pending)
	JZ(LabelRef("end"))
	Label("last")
	row(0)
	DECQ(pending)
	JNZ(LabelRef("last"))
	Label("end")
	MOVQ(y, field(a, gemmY))
	VZEROUPPER()
	RET()
}
