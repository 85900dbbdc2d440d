package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unpack4 interleaves lanes of rows of 16 bytes: bytes, so that a group of four
// holds a byte of each row; or groups of four bytes, so that 16 bytes hold a group
// of each.
func unpack4(r [4]reg.VecVirtual, bytes bool) [4]reg.VecVirtual {
	lo, hi, lo2, hi2 := VPUNPCKLDQ, VPUNPCKHDQ, VPUNPCKLQDQ, VPUNPCKHQDQ
	if bytes {
		lo, hi, lo2, hi2 = VPUNPCKLBW, VPUNPCKHBW, VPUNPCKLWD, VPUNPCKHWD
	}
	var t, out [4]reg.VecVirtual
	for i := range t {
		t[i], out[i] = XMM(), XMM()
	}
	lo(r[1], r[0], t[0])
	hi(r[1], r[0], t[1])
	lo(r[3], r[2], t[2])
	hi(r[3], r[2], t[3])
	lo2(t[2], t[0], out[0])
	hi2(t[2], t[0], out[1])
	lo2(t[3], t[1], out[2])
	hi2(t[3], t[1], out[3])
	return out
}

// rows4 loads 16 bytes of four rows, their top bits flipped.
func rows4(from lines, flip reg.VecVirtual) (r [4]reg.VecVirtual) {
	for i := range r {
		r[i] = XMM()
		VPXOR(from.at(i), flip, r[i])
	}
	return r
}

func columnArgs(a reg.Register) (x, step, step3, w, wStep reg.GPVirtual, flip reg.VecVirtual) {
	x, step, step3, w, wStep, flip = load(a, colX), load(a, colXStep), GP64(), load(a, colW), load(a, colWStep), XMM()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, step3)
	VPBROADCASTD(field(a, colFlip), flip)
	return
}

// packKeys: a key is a column of the weights; 16 bytes of it are four groups.
func packKeys() {
	a := text("packKeysAVX2", "columnArgs", "packs rows of x, four at a time, as columns of a matrix kernel's weights.")
	x, step, step3, w, wStep, flip := columnArgs(a)
	w3 := GP64()
	LEAQ(Mem{Base: wStep, Index: wStep, Scale: 2}, w3)
	Label("rows")
	from, to, depth := GP64(), GP64(), load(a, colDepth)
	MOVQ(x, from)
	MOVQ(w, to)
	Label("depth")
	out := unpack4(rows4(lines{from, step, step3}, flip), false)
	for i, v := range out {
		VMOVDQU(v, lines{to, wStep, w3}.at(i))
	}
	ADDQ(Imm(16), from)
	LEAQ(Mem{Base: to, Index: wStep, Scale: 4}, to)
	DECQ(depth)
	JNZ(LabelRef("depth"))
	LEAQ(Mem{Base: x, Index: step, Scale: 4}, x)
	ADDQ(Imm(16), w)
	DECQ(field(a, colN))
	JNZ(LabelRef("rows"))
	RET()
}

// packValues: a group holds a byte of each of four values.
func packValues() {
	a := text("packValuesAVX2", "columnArgs", "packs rows of x, four at a time, as groups of a matrix kernel's weights.")
	x, step, step3, w, wStep, flip := columnArgs(a)
	Label("rows")
	from, to, depth := GP64(), GP64(), load(a, colDepth)
	MOVQ(x, from)
	MOVQ(w, to)
	Label("depth")
	out := unpack4(rows4(lines{from, step, step3}, flip), true)
	for i, v := range out {
		VMOVDQU(v, Mem{Base: to, Disp: 16 * i})
	}
	ADDQ(Imm(16), from)
	ADDQ(Imm(64), to)
	DECQ(depth)
	JNZ(LabelRef("depth"))
	LEAQ(Mem{Base: x, Index: step, Scale: 4}, x)
	ADDQ(wStep, w)
	DECQ(field(a, colN))
	JNZ(LabelRef("rows"))
	RET()
}
