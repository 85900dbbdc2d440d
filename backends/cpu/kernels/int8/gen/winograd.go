package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winogradAVX2 writes both transforms of 3×3 convolutions by tiles of 2×2 pixels.
func winogradAVX2() {
	winogradInput256()
	winogradOutput256()
}

// positions addresses the sixteen positions of a tile: four pointers, and the
// distance from one position to the next once, twice and three times.
type positions struct {
	rows       [4]reg.GPVirtual
	pos, three reg.GPVirtual
}

func newPositions(a reg.Register, first int) positions {
	p := positions{pos: load(a, winoPos), three: GP64()}
	LEAQ(Mem{Base: p.pos, Index: p.pos, Scale: 2}, p.three)
	for i := range p.rows {
		p.rows[i] = GP64()
		if i == 0 {
			MOVQ(field(a, first), p.rows[0])
		} else {
			LEAQ(Mem{Base: p.rows[i-1], Index: p.pos, Scale: 4}, p.rows[i])
		}
	}
	return p
}

func (p positions) at(i, j int) Mem {
	m := Mem{Base: p.rows[i]}
	switch j {
	case 1, 2:
		m.Index, m.Scale = p.pos, uint8(j)
	case 3:
		m.Index, m.Scale = p.three, 1
	}
	return m
}

func (p positions) move(by Op) {
	for _, r := range p.rows {
		ADDQ(by, r)
	}
}

// winogradInput256 goes along a row of tiles for each sixteen channels. Two of a
// tile's four columns are the next one's first.
func winogradInput256() {
	a := text("winogradInputAVX2", "winogradArgs", "transforms a row of tiles of int16 pixels.")
	rowStep, step := load(a, winoRow), load(a, winoStep)
	Label("vector")
	p := newPositions(a, winoY)
	x, x3, n := load(a, winoX), GP64(), load(a, winoN)
	LEAQ(Mem{Base: x, Index: rowStep, Scale: 2}, x3)
	ADDQ(rowStep, x3)
	c := [3][]reg.VecPhysical{ymms[0:4], ymms[4:8], ymms[8:12]}
	t := ymms[12]
	// column loads one and transforms it: d0−d2, d1+d2, d2−d1, d1−d3.
	column := func(r []reg.VecPhysical) {
		VMOVDQU(at(x, 0), r[0])
		VMOVDQU(Mem{Base: x, Index: rowStep, Scale: 1}, t)
		VMOVDQU(Mem{Base: x, Index: rowStep, Scale: 2}, r[2])
		VPSUBW(r[2], r[0], r[0])
		VPADDW(r[2], t, r[1])
		VPSUBW(at(x3, 0), t, r[3])
		VPSUBW(t, r[2], r[2])
		ADDQ(step, x)
		ADDQ(step, x3)
	}
	column(c[0])
	column(c[1])
	Label("tile")
	column(c[2])
	for i := range 4 {
		for j, op := range []func(){
			func() { VPSUBW(c[2][i], c[0][i], t) },
			func() { VPADDW(c[2][i], c[1][i], t) },
			func() { VPSUBW(c[1][i], c[2][i], t) },
		} {
			op()
			VMOVDQU(t, p.at(i, j))
		}
	}
	column(c[0])
	for i := range 4 {
		VPSUBW(c[0][i], c[1][i], t)
		VMOVDQU(t, p.at(i, 3))
		VMOVDQA(c[0][i], c[1][i])
		VMOVDQA(c[2][i], c[0][i])
	}
	p.move(field(a, winoTile))
	DECQ(n)
	JNZ(LabelRef("tile"))
	ADDQ(Imm(32), field(a, winoX))
	ADDQ(Imm(32), field(a, winoY))
	DECQ(field(a, winoVecs))
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// winogradOutput256 brings a row of tiles of sums to pixels, four times too
// large until they are shifted, for each eight columns.
func winogradOutput256() {
	a := text("winogradOutputAVX2", "winogradArgs", "brings sums at the positions of a row of tiles to sums of two lines of pixels.")
	step, line := load(a, winoStep), load(a, winoRow)
	y, n := GP64(), GP64()
	y1 := GP64()
	Label("vector")
	p := newPositions(a, winoX)
	MOVQ(field(a, winoY), y)
	LEAQ(Mem{Base: y, Index: line, Scale: 1}, y1)
	MOVQ(field(a, winoN), n)
	bias := YMM()
	b := load(a, winoBias)
	VMOVDQU(at(b, 0), bias)
	Label("tile")
	var sums [2][2]reg.VecVirtual // of lines and columns
	for i := range 4 {
		m1, d, s := YMM(), YMM(), YMM()
		VMOVDQU(p.at(i, 1), m1)
		VPSUBD(p.at(i, 2), m1, d)
		VPADDD(p.at(i, 2), m1, s)
		VPADDD(p.at(i, 0), s, s)
		VPSUBD(p.at(i, 3), d, d)
		for col, v := range []reg.VecVirtual{s, d} {
			switch i {
			case 0:
				sums[0][col] = v
			case 1:
				VPADDD(v, sums[0][col], sums[0][col])
				sums[1][col] = v
			case 2:
				VPADDD(v, sums[0][col], sums[0][col])
				VPSUBD(v, sums[1][col], sums[1][col])
			case 3:
				VPSUBD(v, sums[1][col], sums[1][col])
			}
		}
	}
	for l, to := range []reg.GPVirtual{y, y1} {
		for col, v := range sums[l] {
			VPSRAD(Imm(2), v, v)
			VPADDD(bias, v, v)
			m := Mem{Base: to}
			if col == 1 {
				m.Index, m.Scale = step, 1
			}
			VMOVDQU(v, m)
		}
		LEAQ(Mem{Base: to, Index: step, Scale: 2}, to)
	}
	p.move(step)
	DECQ(n)
	JNZ(LabelRef("tile"))
	for _, f := range []int{winoX, winoY, winoBias} {
		ADDQ(Imm(32), field(a, f))
	}
	DECQ(field(a, winoVecs))
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
