package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// Offsets of the argument blocks of attend.go; TestAttendLayouts of package
// int8 has the same numbers.
const (
	attSums    = 0
	attSumStep = 8
	attRowAdd  = 16
	attBias    = 24
	attRows    = 32
	attN       = 40
	attY       = 48
	attYStep   = 56
	attTotal   = 64
	attTmp     = 72
	attMult    = 80
	attInv     = 84
	attHi      = 88
	attZero    = 92

	colX     = 0
	colXStep = 8
	colN     = 16
	colDepth = 24
	colW     = 32
	colWStep = 40
	colFlip  = 48
)

// attentionVNNI writes what an attention does between its products.
func attentionVNNI() {
	attentionRows()
	packKeys()
	packValues()
}

// attentionRows goes through all rows three times, so that no row waits for its
// own greatest value or sum: scores and their maximum; exponentials and their sum;
// 8 bits.
func attentionRows() {
	a := text("attentionRowsVNNI", "attentionArgs", "turns rows of sums into the 8-bit weights of an attention.")
	n := load(a, attN)
	mask := GP64()
	MOVQ(I64(-1), mask)
	tail := GP64()
	MOVQ(n, tail)
	ANDQ(Imm(15), tail)
	BZHIQ(tail, mask, mask)
	KMOVQ(mask, reg.K1) // of the last columns, none where all are whole
	sumStep := load(a, attSumStep)

	// pass walks the vectors of each row; begin and end are done once a row.
	pass := func(name string, begin func(row, at reg.GPVirtual), body func(at reg.GPVirtual, masked bool), end func(row reg.GPVirtual)) {
		base, row, rows := load(a, attSums), GP64(), load(a, attRows)
		XORQ(row, row)
		Label(name)
		at, left := GP64(), GP64()
		MOVQ(base, at)
		begin(row, at)
		MOVQ(n, left)
		SHRQ(Imm(4), left)
		JZ(LabelRef(name + "Tail"))
		Label(name + "Loop")
		body(at, false)
		ADDQ(Imm(64), at)
		DECQ(left)
		JNZ(LabelRef(name + "Loop"))
		Label(name + "Tail")
		KTESTW(reg.K1, reg.K1)
		JZ(LabelRef(name + "End"))
		body(at, true)
		Label(name + "End")
		end(row)
		ADDQ(sumStep, base)
		INCQ(row)
		CMPQ(row, rows)
		JLT(LabelRef(name))
	}
	tmp := load(a, attTmp)
	scalar := func(row reg.GPVirtual) Mem { return Mem{Base: tmp, Index: row, Scale: 4} }
	constant := func(x float32) reg.VecVirtual {
		r, z := GP32(), ZMM()
		MOVL(U32(math.Float32bits(x)), r)
		VPBROADCASTD(r, z)
		return z
	}

	rowAdd, bias := load(a, attRowAdd), load(a, attBias)
	mult, add, acc, b := broadcast(a, attMult), ZMM(), ZMM(), GP64()
	lowest := constant(float32(math.Inf(-1)))
	pass("score", func(row, _ reg.GPVirtual) {
		VPXORD(add, add, add)
		TESTQ(rowAdd, rowAdd)
		JZ(LabelRef("noAdd"))
		VPBROADCASTD(Mem{Base: rowAdd, Index: row, Scale: 4}, add)
		Label("noAdd")
		VMOVAPS(lowest, acc)
		MOVQ(bias, b)
	}, func(at reg.GPVirtual, masked bool) {
		v := ZMM()
		VPADDD(Mem{Base: at}, add, v)
		VCVTDQ2PS(v, v)
		VMULPS(mult, v, v)
		skip := "noBias"
		if masked {
			skip += "Tail"
		}
		TESTQ(b, b)
		JZ(LabelRef(skip))
		if masked {
			VADDPS(Mem{Base: b}, v, reg.K1, v)
		} else {
			VADDPS(Mem{Base: b}, v, v)
			ADDQ(Imm(64), b)
		}
		Label(skip)
		VMOVUPS(v, Mem{Base: at}) // behind the columns lies what nobody reads
		if masked {
			VMAXPS(v, acc, reg.K1, acc)
		} else {
			VMAXPS(v, acc, acc)
		}
	}, func(row reg.GPVirtual) {
		fold(acc, VMAXPS)
		VMOVSS(acc.AsX(), scalar(row))
	})

	// fmath.Exp of values that are never above 0 (or no numbers).
	log2e, magic, hi, lo := constant(fmath.Log2E), constant(fmath.RoundMagic), constant(fmath.Ln2Hi), constant(fmath.Ln2Lo)
	one, least := constant(1), constant(fmath.ExpLo)
	var poly [len(fmath.ExpPoly)]reg.VecVirtual
	for i, c := range fmath.ExpPoly {
		poly[i] = constant(c)
	}
	top, sum := ZMM(), ZMM()
	pass("exp", func(row, _ reg.GPVirtual) {
		VBROADCASTSS(scalar(row), top)
		VPXORD(sum, sum, sum)
	}, func(at reg.GPVirtual, masked bool) {
		x, t, r, p, k := ZMM(), ZMM(), ZMM(), ZMM(), K()
		VMOVUPS(Mem{Base: at}, x)
		VSUBPS(top, x, x)
		VMOVAPS(log2e, t)
		VFMADD213PS(magic, x, t)
		VSUBPS(magic, t, t)
		VMOVAPS(x, r)
		VFNMADD231PS(hi, t, r)
		VFNMADD231PS(lo, t, r)
		VMOVAPS(poly[len(poly)-1], p)
		for i := len(poly) - 2; i >= 0; i-- {
			VFMADD213PS(poly[i], r, p)
		}
		r2 := ZMM()
		VMULPS(r, r, r2)
		VFMADD213PS(r, r2, p)
		VADDPS(one, p, p)
		VCMPPS(Imm(0x16), least, x, k) // above, or unordered
		VSCALEFPS_Z(t, p, k, p)
		VMOVUPS(p, Mem{Base: at})
		if masked {
			VADDPS(p, sum, reg.K1, sum)
		} else {
			VADDPS(p, sum, sum)
		}
	}, func(row reg.GPVirtual) {
		fold(sum, VADDPS)
		r := XMM()
		VDIVSS(sum.AsX(), one.AsX(), r)
		VMOVSS(r, scalar(row))
	})

	y, yStep, total := load(a, attY), load(a, attYStep), load(a, attTotal)
	inv, most, zero := broadcast(a, attInv), broadcast(a, attHi), broadcast(a, attZero)
	r, out := ZMM(), GP64()
	pass("quantize", func(row, _ reg.GPVirtual) {
		VBROADCASTSS(scalar(row), r)
		VCMPPS(Imm(7), r, r, reg.K2) // ordered: no NaN
		VPXORD(acc, acc, acc)
		MOVQ(y, out)
		ADDQ(yStep, y)
	}, func(at reg.GPVirtual, masked bool) {
		v := ZMM()
		VMULPS(Mem{Base: at}, r, v)
		VMULPS(inv, v, v)
		VMINPS(most, v, v)
		VCVTPS2DQ_Z(v, reg.K2, v)
		VPADDD(zero, v, v)
		if masked {
			VPADDD(v, acc, reg.K1, acc)
		} else {
			VPADDD(v, acc, acc)
		}
		VPMOVDB(v, v.AsX())
		VMOVDQU32(v.AsX(), Mem{Base: out})
		ADDQ(Imm(16), out)
	}, func(row reg.GPVirtual) {
		fold(acc, VPADDD)
		VMOVD(acc.AsX(), Mem{Base: total, Index: row, Scale: 4})
	})
	VZEROUPPER()
	RET()
}

// fold brings op of all lanes to every lane, in the order of fmath.Tree.
func fold(z reg.VecVirtual, op func(...Op)) {
	t := ZMM()
	VSHUFF32X4(Imm(0x4e), z, z, t)
	op(t, z, z)
	VSHUFF32X4(Imm(0xb1), z, z, t)
	op(t, z, z)
	for _, swap := range []uint64{0x4e, 0xb1} {
		VPERMILPS(Imm(swap), z, t)
		op(t, z, z)
	}
}

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
func rows4(x, step, step3 reg.GPVirtual, flip reg.VecVirtual) (r [4]reg.VecVirtual) {
	for i, m := range []Mem{{Base: x}, {Base: x, Index: step, Scale: 1}, {Base: x, Index: step, Scale: 2}, {Base: x, Index: step3, Scale: 1}} {
		r[i] = XMM()
		VPXOR(m, flip, r[i])
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
	out := unpack4(rows4(from, step, step3, flip), false)
	for i, m := range []Mem{{Base: to}, {Base: to, Index: wStep, Scale: 1}, {Base: to, Index: wStep, Scale: 2}, {Base: to, Index: w3, Scale: 1}} {
		VMOVDQU(out[i], m)
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
	out := unpack4(rows4(from, step, step3, flip), true)
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
