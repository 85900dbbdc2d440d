package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmListAMX writes the kernel of 2×2 tile registers that goes through a list of
// tiles (listedTile of package int8): rows of x and of results lie where the list
// says. Otherwise it is gemmAMX, always with 8-bit results.
func gemmListAMX(name string, residual bool) {
	const rows, cols = 2, 2
	doc := "computes the tiles of a list; it advances a."
	if residual {
		doc = "computes the tiles of a list and adds a residual; it advances a."
	}
	a := text(name, "gemmArgs", doc)
	ptr := []reg.GPPhysical{reg.R9, reg.R10}
	step, w, wStep, sums, sumsStep, tmp := reg.R8, reg.RSI, reg.RDI, reg.RBX, reg.RCX, reg.RAX
	acc := func(r, c int) uint8 { return uint8(r*cols + c) }
	x := func(r int) uint8 { return 4 + uint8(r) }
	weights := func(c int) uint8 { return 6 + uint8(c) }
	copyField := func(from, to int) {
		MOVQ(field(a, from), tmp)
		MOVQ(tmp, field(a, to))
	}

	MOVQ(field(a, gemmConfig), tmp)
	ldtilecfg(tmp)
	MOVQ(field(a, gemmXStep), step)
	MOVQ(field(a, gemmSumStep), sumsStep)
	MOVQ(U32(64*cols), wStep)
	pending, result, tile := GP64(), GP64(), GP64()
	XORQ(pending, pending)
	XORQ(result, result)
	y := load(a, gemmY)
	MOVQ(field(a, gemmList), tile)
	order, least, zeros, nextRes := reg.Z31, reg.Z30, reg.Z29, reg.Z28
	factors, starts := zmms[24:28], zmms[20:24]
	MOVQ(field(a, gemmPack), tmp)
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

	// residualOf loads what is added to a result, so many further on in the list.
	residualOf := func(n int) {
		MOVLQSX(at(result, 8*n+4), tmp)
		ADDQ(field(a, gemmDelta), tmp)
		loadResidual(Mem{Base: y, Index: tmp, Scale: 1}, cols, nextRes)
	}
	labels := 0
	row := func(set int) {
		q := zmms[4*set:][:cols]
		MOVLQZX(at(result, 0), tmp)
		ADDQ(field(a, gemmSums), tmp)
		for c, z := range q {
			VPADDD(at(tmp, 64*c), starts[c], z)
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
		if residual {
			first, free := zmms[8+4*set], zmms[9+4*set:]
			VMOVDQA64(nextRes, first)
			q = addResidual(sums, q, first, free[0], free[1], order, false)
		}
		packRow(sums, q, zeros, least, order, Mem{Base: y, Index: tmp, Scale: 1}, func() {
			if residual {
				label := fmt.Sprint("loaded", labels)
				labels++
				CMPQ(pending, Imm(1))
				JEQ(LabelRef(label))
				residualOf(1)
				Label(label)
			}
			MOVLQSX(at(result, 4), tmp)
		})
		ADDQ(Imm(8), result)
	}

	Label("tile")
	for i := range rows * cols {
		tilezero(uint8(i))
	}
	MOVQ(field(a, gemmX), tmp)
	ADDQ(at(tile, listX), tmp)
	MOVQ(tmp, field(a, gemmXNow))
	MOVQ(field(a, gemmW), w)
	copyField(gemmRuns, gemmRunNow)
	copyField(gemmNumRuns, gemmRunsLeft)

	Label("run")
	MOVQ(field(a, gemmRunNow), tmp)
	MOVQ(at(tmp, 0), ptr[0])
	ADDQ(field(a, gemmXNow), ptr[0])
	MOVQ(at(tile, listTall), ptr[1])
	ADDQ(ptr[0], ptr[1])
	ADDQ(Imm(8), field(a, gemmRunNow))
	k := load(a, gemmQuads)
	Label("step")
	slots := rows * cols // of a step, one behind each product
	for r := range rows {
		tileload(ptr[r], step, 0, x(r))
		for c := range cols {
			if r == 0 {
				tileload(w, wStep, 64*c, weights(c))
			}
			tdpbusd(weights(c), x(r), acc(r, c))
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
		ADDQ(field(a, gemmStepMove), p)
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
	for r := range rows {
		for c := range cols {
			tilestore(acc(r, c), sums, sumsStep, 64*c)
		}
		if r < rows-1 {
			ADDQ(field(a, gemmSumTall), sums)
		}
	}
	MOVQ(at(tile, listRows), pending)
	BTSQ(Imm(waits), pending)
	LEAQ(at(tile, listAt), result)
	if residual {
		residualOf(0)
	}
	ADDQ(I32(listSize), tile)
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	tilerelease()
	BTRQ(Imm(waits), pending)
	Label("last")
	row(0)
	DECQ(pending)
	JNZ(LabelRef("last"))
	MOVQ(tile, field(a, gemmList))
	VZEROUPPER()
	RET()
}

// copyPictures writes the kernel that puts lines of 64 bytes of several pictures
// side by side, four lines of each at a time.
func copyPictures() {
	a := text("copyPicturesAMX", "pictureArgs", "puts lines of pictures side by side; it advances a.")
	xStep, yStep := load(a, picXStep), load(a, picYStep)
	VPBROADCASTD(field(a, picFlip), reg.Z31)
	for _, lines := range []int{4, 1} {
		label := func(s string) string { return fmt.Sprint(s, lines) }
		Label(label("next"))
		CMPQ(field(a, picLines), Imm(uint64(lines)))
		JLT(LabelRef(label("done")))
		x, y, n := load(a, picX), load(a, picY), load(a, picN)
		far := GP64()
		LEAQ(Mem{Base: yStep, Index: yStep, Scale: 2}, far)
		Label(label("picture"))
		for i := range lines {
			VPXORD(at(x, 64*i), reg.Z31, zmms[i])
		}
		for i := range lines {
			to := Mem{Base: y}
			switch i {
			case 1, 2:
				to.Index, to.Scale = yStep, uint8(i)
			case 3:
				to.Index, to.Scale = far, 1
			}
			VMOVDQU32(zmms[i], to)
		}
		ADDQ(xStep, x)
		ADDQ(Imm(64), y)
		DECQ(n)
		JNZ(LabelRef(label("picture")))
		ADDQ(I32(64*lines), field(a, picX))
		for range lines {
			ADDQ(yStep, field(a, picY))
		}
		SUBQ(Imm(uint64(lines)), field(a, picLines))
		JMP(LabelRef(label("next")))
		Label(label("done"))
	}
	VZEROUPPER()
	RET()
}
