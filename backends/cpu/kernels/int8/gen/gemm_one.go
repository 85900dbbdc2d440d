package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

// gemmOneAMX writes the kernel of one step, 16 pixels times 64 channels at a time.
// There packing takes longer than the products, so that these and the stores of
// sums, each of which keeps other instructions from being issued for 16 cycles, lie
// between the rows of results of the tile before, where there is no residual. The
// weights stay in registers.
// Tiles: sums in 0 to 2, x in 3, weights in 4 to 7. How is as in gemmAMX.
func gemmOneAMX(name string, how int) {
	residual, plain := how == addBytes || how == addPlain, how == packPlain || how == addPlain
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
	configure(a, tmp, step, sumsStep)
	MOVQ(field(a, gemmW), w)
	for c := range cols {
		TILELOADD(w, sumsStep, 64*c, uint8(firstW+c)) // both 256 bytes
	}
	MOVQ(field(a, gemmX), ptr)
	MOVQ(field(a, gemmSums), now)
	MOVQ(now, before)
	if !residual { // sums of two tiles, in turns
		ADDQ(I32(16*64*cols), before)
	}
	y, yStep, constants := load(a, gemmY), load(a, gemmYStep), load(a, gemmPack)
	pack := newRowPacker(a, constants, tmp, cols, how)
	pending, done := GP64(), GP64()
	XORQ(pending, pending)

	row := func(set int) {
		q := pack.scaled(set, done)
		pack.write(set, q, constants, at(y, 0), func() {
			if residual {
				pack.ahead(pending, func() {
					MOVQ(field(a, gemmDelta), tmp)
					ADDQ(yStep, tmp)
					pack.loadAt(y, tmp)
				})
			}
		})
		ADDQ(yStep, y)
		ADDQ(sumsStep, done)
		DECQ(pending)
	}
	acc := func(c int) uint8 { return uint8(c % 3) }
	product := func(c int) {
		TILEZERO(acc(c))
		TDPBUSD(uint8(firstW+c), x, acc(c))
	}
	store := func(c int) { TILESTORED(acc(c), now, sumsStep, 64*c) }
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
	TILELOADD(ptr, step, 0, x)
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
		pack.loadAt(y, tmp)
	}
	ahead, end := GP64(), GP64()
	fetchAhead(a, ahead, end)
	ADDQ(field(a, gemmMove), ptr)
	DECQ(field(a, gemmLineLeft))
	JNZ(LabelRef("same"))
	ADDQ(field(a, gemmLineSkip), ptr)
	MOVQ(field(a, gemmLineTiles), tmp)
	MOVQ(tmp, field(a, gemmLineLeft))
	Label("same")
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	TILERELEASE()
	MOVQ(before, done)
	Label("last")
	row(0)
	JNZ(LabelRef("last"))
	MOVQ(y, field(a, gemmY))
	VZEROUPPER()
	RET()
}
