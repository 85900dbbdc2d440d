package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmOneAMX writes the kernel of one step, 16 pixels times 64 channels at a time.
// There packing takes longer than the products, so that these and the stores of
// sums, each of which keeps other instructions from being issued for 16 cycles, lie
// between the rows of results of the tile before, where there is no residual. The
// weights stay in registers.
// Tiles: sums in 0 to 2, x in 3, weights in 4 to 7. plain is as in gemmAMX.
func gemmOneAMX(name string, residual, plain bool) {
	const cols, x, firstW = 4, 3, 4
	doc := "computes tiles of 16×64 in one step"
	if residual {
		doc += " and adds a residual"
	}
	if plain {
		doc += "; results are not clamped"
	}
	a := text(name, "gemmArgs", doc+".")
	step, w, sumsStep, tmp, ptr := reg.R8, reg.RSI, reg.RCX, reg.RAX, reg.R9
	now, before := reg.R10, reg.R11
	MOVQ(field(a, gemmConfig), tmp)
	ldtilecfg(tmp)
	MOVQ(field(a, gemmXStep), step)
	MOVQ(field(a, gemmSumStep), sumsStep)
	MOVQ(field(a, gemmW), w)
	for c := range cols {
		tileload(w, sumsStep, 64*c, uint8(firstW+c)) // both 256 bytes
	}
	MOVQ(field(a, gemmX), ptr)
	MOVQ(field(a, gemmSums), now)
	MOVQ(now, before)
	if !residual { // sums of two tiles, in turns
		ADDQ(I32(16*64*cols), before)
	}
	y, yStep, pack := load(a, gemmY), load(a, gemmYStep), load(a, gemmPack)
	order, least, zeros, nextRes := reg.Z31, reg.Z30, reg.Z29, reg.Z28
	factors, starts := zmms[24:28], zmms[20:24]
	VMOVDQU32(at(pack, packOrder), order)
	VMOVDQU32(at(pack, packZero), zeros)
	VMOVDQU32(at(pack, packLeast), least)
	MOVQ(field(a, gemmMult), tmp)
	for c := range cols {
		VMOVUPS(at(tmp, 64*c), factors[c])
	}
	KMOVQ(field(a, gemmMask), reg.K1)
	MOVQ(field(a, gemmInit), tmp)
	for c := range cols {
		VMOVDQU32(at(tmp, 64*c), starts[c])
	}
	pending, done := GP64(), GP64()
	XORQ(pending, pending)

	labels := 0
	row := func(set int) {
		label := fmt.Sprint("loaded", labels)
		labels++
		q := append([]reg.VecPhysical{}, zmms[4*set:][:cols]...)
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
		if residual {
			first, free := zmms[8+4*set], zmms[9+4*set:]
			VMOVDQA64(nextRes, first)
			q = addResidual(pack, q, first, free[0], free[1], order, plain)
		}
		next := func() {
			if residual {
				CMPQ(pending, Imm(1))
				JEQ(LabelRef(label))
				MOVQ(field(a, gemmDelta), tmp)
				ADDQ(yStep, tmp)
				loadResidual(Mem{Base: y, Index: tmp, Scale: 1}, cols, nextRes)
				Label(label)
			}
		}
		if plain {
			packPlain(q, order, at(y, 0), next)
		} else {
			packRow(pack, q, zeros, least, order, at(y, 0), next)
		}
		ADDQ(yStep, y)
		ADDQ(sumsStep, done)
		DECQ(pending)
	}
	acc := func(c int) uint8 { return uint8(c % 3) }
	product := func(c int) {
		tilezero(acc(c))
		tdpbusd(uint8(firstW+c), x, acc(c))
	}
	store := func(c int) { tilestore(acc(c), now, sumsStep, 64*c) }
	rowsOf := func(c int) {
		for i := range 4 {
			idle := fmt.Sprint("idle", 4*c+i)
			TESTQ(pending, pending)
			JLE(LabelRef(idle))
			row(i & 1)
			Label(idle)
		}
	}

	Label("tile")
	tileload(ptr, step, 0, x)
	MOVQ(before, done)
	if residual { // its rows are faster undisturbed
		for c := range 3 {
			product(c)
		}
		for c := range cols {
			rowsOf(c)
		}
		store(0)
		product(3)
		for c := 1; c < cols; c++ {
			store(c)
		}
	} else {
		for c := range cols {
			product(c)
			rowsOf(c)
			if c > 0 {
				store(c - 1)
			}
		}
		store(cols - 1)
		XCHGQ(now, before)
	}
	MOVQ(field(a, gemmRows), pending)
	if residual {
		MOVQ(field(a, gemmDelta), tmp)
		loadResidual(Mem{Base: y, Index: tmp, Scale: 1}, cols, nextRes)
	}
	// What the next block of weights needs moves towards the second level cache.
	ahead, end := GP64(), GP64()
	MOVQ(field(a, gemmAhead), ahead)
	CMPQ(ahead, field(a, gemmAheadEnd))
	JAE(LabelRef("fetched"))
	MOVQ(field(a, gemmAheadStep), end)
	ADDQ(ahead, end)
	MOVQ(end, field(a, gemmAhead))
	Label("fetch")
	PREFETCHT1(at(ahead, 0))
	ADDQ(Imm(64), ahead)
	CMPQ(ahead, end)
	JB(LabelRef("fetch"))
	Label("fetched")
	ADDQ(field(a, gemmMove), ptr)
	DECQ(field(a, gemmLineLeft))
	JNZ(LabelRef("same"))
	ADDQ(field(a, gemmLineSkip), ptr)
	MOVQ(field(a, gemmLineTiles), tmp)
	MOVQ(tmp, field(a, gemmLineLeft))
	Label("same")
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	tilerelease()
	MOVQ(before, done)
	Label("last")
	row(0)
	JNZ(LabelRef("last"))
	MOVQ(y, field(a, gemmY))
	VZEROUPPER()
	RET()
}
