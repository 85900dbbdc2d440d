package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

// Byte offsets of f32.splitLines and f32.splitTile.
const (
	linesDst, linesSrc, linesCount, linesStep, linesSecond            = 0, 8, 16, 24, 32
	linesSteps, linesSrcStep, linesMask1, linesMask2                  = 40, 48, 56, 64
	linesTiles, linesTileStep                                         = 72, 80
	splitA, splitATile, splitB, splitBTile, splitY, splitLdy          = 0, 8, 16, 24, 32, 40
	splitSteps, splitGroups, splitConfig, splitInit, splitBias        = 48, 56, 64, 72, 80
	planeBytes, stepBytes                                      uint64 = 1024, 3072
)

// split writes what products of float32 matrices on tile registers need.
func split() {
	splitLines()
	turnTiles()
	finite()
	for _, rows := range []int{1, 2} {
		splitTile(rows)
	}
}

// splitLines writes the parts of values as pairs.
func splitLines() {
	text("splitLinesAMX", "(a *splitLines)", "writes lines of pairs as their three bfloat16 parts.")
	a := Load(Param("a"), GP64())
	get := func(offset int) reg.GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: a, Disp: offset}, r)
		return r
	}
	KMOVQ(get(linesMask1), reg.K1)
	KMOVQ(get(linesMask2), reg.K2)
	dst, src, count, step, steps, srcStep := get(linesDst), get(linesSrc), get(linesCount), get(linesStep), get(linesSteps), get(linesSrcStep)
	second := get(linesSecond)
	tileStep := get(linesTileStep)
	e := emitter{avx512}
	half, mask := e.load(e.bits(0x8000)), e.load(e.bits(0xffff0000))
	from, to, n, first, tiles := GP64(), GP64(), GP64(), GP64(), GP64()
	Label("step")
	MOVQ(src, first)
	MOVQ(dst, to)
	MOVQ(count, n)
	Label("line")
	MOVQ(first, from)
	out := GP64()
	MOVQ(to, out)
	MOVQ(Mem{Base: a, Disp: linesTiles}, tiles)
	Label("tile")
	x := [2]vec{ZMM(), ZMM()}
	VMOVUPS_Z(Mem{Base: from}, reg.K1, x[0])
	VMOVUPS_Z(Mem{Base: from, Index: second, Scale: 1}, reg.K2, x[1])
	for part := range 2 {
		var h [2]vec
		pair := ZMM()
		for i := range x {
			r := ZMM()
			h[i] = ZMM()
			VPADDD(half, x[i], r)
			VPANDD(mask, r, h[i])
			VSUBPS(h[i], x[i], x[i])
			if i == 0 {
				VPSRLD(Imm(16), r, pair)
			}
		}
		VPORD(h[1], pair, pair)
		VMOVUPS(pair, Mem{Base: out, Disp: part * int(planeBytes)})
	}
	VPSRLD(Imm(16), x[0], x[0])
	VPORD(x[1], x[0], x[0])
	VMOVUPS(x[0], Mem{Base: out, Disp: 2 * int(planeBytes)})
	ADDQ(Imm(64), from)
	ADDQ(tileStep, out)
	DECQ(tiles)
	JNZ(LabelRef("tile"))
	ADDQ(step, first)
	ADDQ(Imm(64), to)
	DECQ(n)
	JNZ(LabelRef("line"))
	ADDQ(srcStep, src)
	ADDQ(U32(stepBytes), dst)
	DECQ(steps)
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// turnTiles exchanges the rows and columns of tiles.
func turnTiles() {
	text("turnTilesAVX512", "(p *byte, n int)", "transposes n squares of 16×16 values of 32 bits, one after the other, in place.")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	Label("tile")
	var r, t [16]vec
	for i := range r {
		r[i] = ZMM()
		VMOVUPS(Mem{Base: p, Disp: 64 * i}, r[i])
	}
	for i := 0; i < 16; i += 2 {
		t[i], t[i+1] = ZMM(), ZMM()
		VPUNPCKLDQ(r[i+1], r[i], t[i])
		VPUNPCKHDQ(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 16; i += 4 {
		for j := range 2 {
			r[i+2*j], r[i+2*j+1] = ZMM(), ZMM()
			VPUNPCKLQDQ(t[i+2+j], t[i+j], r[i+2*j])
			VPUNPCKHQDQ(t[i+2+j], t[i+j], r[i+2*j+1])
		}
	}
	quarters := func(which uint64, x, y vec) vec {
		q := ZMM()
		VSHUFI32X4(Imm(which), y, x, q)
		return q
	}
	const even, odd = 0x88, 0xdd
	for j := range 4 {
		for lane, which := range []uint64{even, odd} {
			a, c := quarters(which, r[j], r[4+j]), quarters(which, r[8+j], r[12+j])
			VMOVUPS(quarters(even, a, c), Mem{Base: p, Disp: 64 * (4*lane + j)})
			VMOVUPS(quarters(odd, a, c), Mem{Base: p, Disp: 64 * (8 + 4*lane + j)})
		}
	}
	ADDQ(I32(1024), p)
	DECQ(n)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// finite looks for infinities and NaN.
func finite() {
	text("finiteAVX512", "(x *float32, n int) bool", "says whether none of n values, at least one, is an infinity or NaN.")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	const notFinite = 0x99
	KXORW(reg.K1, reg.K1, reg.K1)
	SUBQ(Imm(16), n)
	JL(LabelRef("rest"))
	Label("whole")
	VFPCLASSPSZ(Imm(notFinite), Mem{Base: x}, reg.K2)
	KORW(reg.K2, reg.K1, reg.K1)
	ADDQ(Imm(64), x)
	SUBQ(Imm(16), n)
	JGE(LabelRef("whole"))
	Label("rest")
	ADDQ(Imm(16), n)
	JZ(LabelRef("done"))
	ones, v := GP64(), ZMM()
	MOVQ(I32(-1), ones)
	BZHIQ(n, ones, ones)
	KMOVQ(ones, reg.K3)
	VMOVUPS_Z(Mem{Base: x}, reg.K3, v)
	VFPCLASSPSZ(Imm(notFinite), v, reg.K2)
	KORW(reg.K2, reg.K1, reg.K1)
	Label("done")
	found, yes := GP32(), GP8()
	KMOVW(reg.K1, found)
	TESTL(found, found)
	SETEQ(yes)
	Store(yes, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// splitTile writes the product of parts: sums in tiles 0 and 1, rows in 2 and 3,
// columns in 4. Of the nine products of parts those below 2⁻²⁴ of the whole are left
// out. Beside a busy neighbour kernels that hold more registers are slower, most likely
// because fewer are left for renaming: two rows of two (eight registers) fall to 0.3 of
// their speed, these five to a half.
func splitTile(rows int) {
	text(fmt.Sprintf("splitTile%dAMX", rows), "(a *splitTile)", fmt.Sprintf("computes %d registers of rows; it advances a.", rows))
	args := Load(Param("a"), GP64())
	field := func(offset int) Mem { return Mem{Base: args, Disp: offset} }
	aPtr, yPtr := []reg.GPPhysical{reg.R8, reg.R9}[:rows], []reg.GPPhysical{reg.R12, reg.R13}[:rows]
	b, row, ldy, none, tmp := reg.R10, reg.RBX, reg.RCX, reg.RSI, reg.RDI
	const sums, rowTile, colTile uint8 = 0, 2, 4
	MOVQ(field(splitConfig), tmp)
	LDTILECFG(tmp)
	MOVQ(U32(64), row)
	MOVQ(field(splitLdy), ldy)
	XORQ(none, none)
	each := func(f func(r int, tile uint8)) {
		for r := range rows {
			f(r, uint8(r))
		}
	}

	Label("group")
	MOVQ(field(splitY), yPtr[0])
	if rows > 1 {
		MOVQ(ldy, yPtr[1])
		SHLQ(Imm(4), yPtr[1])
		ADDQ(yPtr[0], yPtr[1])
	}
	CMPQ(field(splitInit), Imm(1))
	JE(LabelRef("sums"))
	JA(LabelRef("bias"))
	each(func(_ int, tile uint8) { TILEZERO(sums + tile) })
	JMP(LabelRef("start"))
	Label("bias")
	MOVQ(field(splitBias), tmp)
	each(func(_ int, tile uint8) { TILELOADD(tmp, none, 0, sums+tile) })
	ADDQ(Imm(64), field(splitBias))
	JMP(LabelRef("start"))
	Label("sums")
	each(func(r int, tile uint8) { TILELOADD(yPtr[r], ldy, 0, sums+tile) })
	Label("start")
	MOVQ(field(splitA), aPtr[0])
	if rows > 1 {
		MOVQ(field(splitATile), aPtr[1])
		ADDQ(aPtr[0], aPtr[1])
	}
	MOVQ(field(splitB), b)
	steps := GP64()
	MOVQ(field(splitSteps), steps)
	Label("step")
	loadRows := func(part int) {
		each(func(r int, tile uint8) { TILELOADD(aPtr[r], row, part*int(planeBytes), rowTile+tile) })
	}
	product := func(part int) {
		if part >= 0 {
			TILELOADD(b, row, part*int(planeBytes), colTile)
		}
		each(func(_ int, tile uint8) { TDPBF16PS(colTile, rowTile+tile, sums+tile) })
	}
	const h, m, l, same = 0, 1, 2, -1
	loadRows(l)
	product(h)
	loadRows(m)
	product(same)
	product(m)
	loadRows(h)
	product(same)
	product(h)
	product(l)
	each(func(r int, _ uint8) { ADDQ(U32(stepBytes), aPtr[r]) })
	ADDQ(U32(stepBytes), b)
	DECQ(steps)
	JNZ(LabelRef("step"))
	each(func(r int, tile uint8) { TILESTORED(sums+tile, yPtr[r], ldy, 0) })
	MOVQ(field(splitBTile), tmp)
	ADDQ(tmp, field(splitB))
	ADDQ(Imm(64), field(splitY))
	DECQ(field(splitGroups))
	JNZ(LabelRef("group"))
	TILERELEASE()
	VZEROUPPER()
	RET()
}
