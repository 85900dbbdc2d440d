package main

import (
	"fmt"
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
	attOrder   = 96

	colX     = 0
	colXStep = 8
	colN     = 16
	colDepth = 24
	colW     = 32
	colWStep = 40
	colFlip  = 48
)

var labels int

// label gives a label of its own.
func label(name string) string {
	labels++
	return fmt.Sprintf("%s%d", name, labels)
}

// attentionVNNI writes what an attention does between its products.
func attentionVNNI() {
	(&attention{biased: true}).write("attentionRowsVNNI", "turns rows of sums into the 8-bit weights of an attention.")
	(&attention{bytes: true}).write("attentionBytesVNNI", "is attentionRowsVNNI without a bias, a mult above 0, weights from 0 to 255 and an inv up to 32767; rows of sums and weights have room for whole lines of 64 columns.")
	(&attention{biased: true, bytes: true}).write("attentionBiasedBytesVNNI", "is attentionBytesVNNI with a bias.")
	packKeys()
	packValues()
}

// attention is a kernel of what lies between the products. It goes through all
// rows three times, so that no row waits for its own greatest value or sum: scores
// and their maximum; exponentials and their sum; 8 bits.
type attention struct {
	biased bool // adds a bias to the scores
	bytes  bool // weights are bytes from 0 to 255, and rows of scores and of weights have room for whole lines of 64
	a      reg.Register
	n      reg.GPVirtual
	tmp    reg.GPVirtual
}

// pass walks the vectors of each row, two at a time; begin and end are done once a
// row. body finds a vector disp bytes from at; the last one may be masked by K1.
func (t *attention) pass(name string, begin func(row reg.GPVirtual), body func(at reg.GPVirtual, disp int, masked bool), end func(row, at reg.GPVirtual)) {
	base, row, rows, sumStep := load(t.a, attSums), GP64(), load(t.a, attRows), load(t.a, attSumStep)
	XORQ(row, row)
	Label(name)
	at, left := GP64(), GP64()
	MOVQ(base, at)
	begin(row)
	MOVQ(t.n, left)
	SHRQ(Imm(5), left)
	JZ(LabelRef(name + "Single"))
	Label(name + "Loop")
	body(at, 0, false)
	body(at, 64, false)
	ADDQ(I32(128), at)
	DECQ(left)
	JNZ(LabelRef(name + "Loop"))
	Label(name + "Single")
	TESTQ(I32(16), t.n)
	JZ(LabelRef(name + "Tail"))
	body(at, 0, false)
	ADDQ(Imm(64), at)
	Label(name + "Tail")
	KTESTW(reg.K1, reg.K1)
	JZ(LabelRef(name + "End"))
	body(at, 0, true)
	ADDQ(Imm(64), at)
	Label(name + "End")
	end(row, at)
	ADDQ(sumStep, base)
	INCQ(row)
	CMPQ(row, rows)
	JLT(LabelRef(name))
}

func (t *attention) scalar(row reg.GPVirtual) Mem { return Mem{Base: t.tmp, Index: row, Scale: 4} }

func constant(x float32) reg.VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(math.Float32bits(x)), r)
	VPBROADCASTD(r, z)
	return z
}

// write writes the kernel.
func (t *attention) write(name, doc string) {
	t.a = text(name, "attentionArgs", doc)
	t.n = load(t.a, attN)
	restMask(t.n)
	t.tmp = load(t.a, attTmp)
	if t.biased {
		t.scores()
	} else {
		t.greatest()
	}
	t.exponentials()
	if t.bytes {
		t.pack()
	} else {
		t.quantize()
	}
	VZEROUPPER()
	RET()
}

// expKernel holds the constants of fmath.Exp.
type expKernel struct {
	log2e, magic, hi, lo, one, least reg.VecVirtual
	poly                             [len(fmath.ExpPoly)]reg.VecVirtual
}

func newExpKernel() *expKernel {
	e := &expKernel{
		log2e: constant(fmath.Log2E), magic: constant(fmath.RoundMagic), hi: constant(fmath.Ln2Hi), lo: constant(fmath.Ln2Lo),
		one: constant(1), least: constant(fmath.SoftExpLo),
	}
	for i, c := range fmath.ExpPoly {
		e.poly[i] = constant(c)
	}
	return e
}

// of replaces values that are never above 0 (or no numbers) with their fmath.SoftExp, a
// step of all after the other: so they wait less for each other's. Lanes outside of
// K1 become 0 where it is masked.
func (e *expKernel) of(x []reg.VecVirtual, masked bool) {
	n, r, p, k := zmmsOf(len(x)), zmmsOf(len(x)), zmmsOf(len(x)), make([]reg.OpmaskVirtual, len(x))
	each := func(f func(i int)) {
		for i := range x {
			f(i)
		}
	}
	each(func(i int) { VMOVAPS(e.log2e, n[i]) })
	each(func(i int) { VFMADD213PS(e.magic, x[i], n[i]) })
	each(func(i int) { VSUBPS(e.magic, n[i], n[i]) })
	each(func(i int) {
		k[i] = K()
		if masked {
			VCMPPS(Imm(0x16), e.least, x[i], reg.K1, k[i]) // above, or unordered
		} else {
			VCMPPS(Imm(0x16), e.least, x[i], k[i])
		}
	})
	copy(r, x)
	each(func(i int) { VFNMADD231PS(e.hi, n[i], r[i]) })
	each(func(i int) { VFNMADD231PS(e.lo, n[i], r[i]) })
	top := len(e.poly) - 1
	each(func(i int) { VMOVAPS(e.poly[top], p[i]) })
	for c := top - 1; c >= 0; c-- {
		each(func(i int) { VFMADD213PS(e.poly[c], r[i], p[i]) })
	}
	each(func(i int) {
		r2 := ZMM()
		VMULPS(r[i], r[i], r2)
		VFMADD213PS(r[i], r2, p[i])
	})
	each(func(i int) { VADDPS(e.one, p[i], p[i]) })
	each(func(i int) { VSCALEFPS_Z(n[i], p[i], k[i], x[i]) })
}

func zmmsOf(n int) []reg.VecVirtual {
	z := make([]reg.VecVirtual, n)
	for i := range z {
		z[i] = ZMM()
	}
	return z
}

// rowAdd loads what is added to a row's sums.
func (t *attention) rowAdd(rowAdd, row reg.GPVirtual, add reg.VecVirtual) {
	skip := label("noAdd")
	VPXORD(add, add, add)
	TESTQ(rowAdd, rowAdd)
	JZ(LabelRef(skip))
	VPBROADCASTD(Mem{Base: rowAdd, Index: row, Scale: 4}, add)
	Label(skip)
}

// scores turns sums into scores.
func (t *attention) scores() {
	rowAdd, bias := load(t.a, attRowAdd), load(t.a, attBias)
	mult, add, acc, b := broadcast(t.a, attMult), ZMM(), ZMM(), GP64()
	lowest := constant(float32(math.Inf(-1)))
	t.pass("score", func(row reg.GPVirtual) {
		t.rowAdd(rowAdd, row, add)
		VMOVAPS(lowest, acc)
		MOVQ(bias, b)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		v := ZMM()
		VPADDD(Mem{Base: at, Disp: disp}, add, v)
		VCVTDQ2PS(v, v)
		VMULPS(mult, v, v)
		var skip string
		if !t.bytes {
			skip = label("noBias")
			TESTQ(b, b)
			JZ(LabelRef(skip))
		}
		if masked {
			VADDPS(Mem{Base: b}, v, reg.K1, v)
		} else {
			VADDPS(Mem{Base: b}, v, v)
			ADDQ(Imm(64), b)
		}
		if !t.bytes {
			Label(skip)
		}
		VMOVUPS(v, Mem{Base: at, Disp: disp}) // behind the columns lies what nobody reads
		if masked {
			VMAXPS(v, acc, reg.K1, acc)
		} else {
			VMAXPS(v, acc, acc)
		}
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VMAXPS)
		VMOVSS(acc.AsX(), t.scalar(row))
	})
}

// greatest finds each row's greatest score, which is that of its greatest sum.
func (t *attention) greatest() {
	rowAdd, mult, add := load(t.a, attRowAdd), broadcast(t.a, attMult), ZMM()
	acc, lowest, r := ZMM(), ZMM(), GP32()
	MOVL(U32(1<<31), r)
	VPBROADCASTD(r, lowest)
	t.pass("greatest", func(row reg.GPVirtual) {
		t.rowAdd(rowAdd, row, add)
		VMOVAPS(lowest, acc)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		if masked {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, reg.K1, acc)
		} else {
			VPMAXSD(Mem{Base: at, Disp: disp}, acc, acc)
		}
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VPMAXSD)
		VPADDD(add, acc, acc)
		VCVTDQ2PS(acc, acc)
		VMULPS(mult, acc, acc)
		VMOVSS(acc.AsX(), t.scalar(row))
	})
}

// exponentials are fmath.SoftExp of scores less their greatest.
func (t *attention) exponentials() {
	e := newExpKernel()
	var rowAdd reg.GPVirtual
	var mult, add reg.VecVirtual
	if !t.biased {
		rowAdd, mult, add = load(t.a, attRowAdd), broadcast(t.a, attMult), ZMM()
	}
	top, sum := ZMM(), ZMM()
	t.pass("exp", func(row reg.GPVirtual) {
		if !t.biased {
			t.rowAdd(rowAdd, row, add)
		}
		VBROADCASTSS(t.scalar(row), top)
		VPXORD(sum, sum, sum)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		x := ZMM()
		if t.biased {
			VMOVUPS(Mem{Base: at, Disp: disp}, x)
		} else {
			VPADDD(Mem{Base: at, Disp: disp}, add, x)
			VCVTDQ2PS(x, x)
			VMULPS(mult, x, x)
		}
		VSUBPS(top, x, x)
		e.of([]reg.VecVirtual{x}, masked && t.bytes)
		p := x
		VMOVUPS(p, Mem{Base: at, Disp: disp})
		if masked && !t.bytes {
			VADDPS(p, sum, reg.K1, sum)
		} else {
			VADDPS(p, sum, sum)
		}
	}, func(row, at reg.GPVirtual) {
		if t.bytes { // the rest of the last four vectors
			zeros, done := ZMM(), label("filled")
			VPXORD(zeros, zeros, zeros)
			for range 3 {
				past := GP64()
				MOVQ(at, past)
				SUBQ(load(t.a, attSums), past)
				TESTQ(I32(0xc0), past)
				JZ(LabelRef(done))
				VMOVUPS(zeros, Mem{Base: at})
				ADDQ(Imm(64), at)
			}
			Label(done)
		}
		fold(sum, VADDPS)
		r := XMM()
		VDIVSS(sum.AsX(), e.one.AsX(), r)
		VMOVSS(r, t.scalar(row))
	})
}

// quantize rounds the weights.
func (t *attention) quantize() {
	y, yStep, total := load(t.a, attY), load(t.a, attYStep), load(t.a, attTotal)
	inv, most, zero := broadcast(t.a, attInv), broadcast(t.a, attHi), broadcast(t.a, attZero)
	acc, r, out := ZMM(), ZMM(), GP64()
	t.pass("quantize", func(row reg.GPVirtual) {
		VBROADCASTSS(t.scalar(row), r)
		VCMPPS(Imm(7), r, r, reg.K2) // ordered: no NaN
		VPXORD(acc, acc, acc)
		MOVQ(y, out)
		ADDQ(yStep, y)
	}, func(at reg.GPVirtual, disp int, masked bool) {
		v := ZMM()
		VMULPS(Mem{Base: at, Disp: disp}, r, v)
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
	}, func(row, _ reg.GPVirtual) {
		fold(acc, VPADDD)
		VMOVD(acc.AsX(), Mem{Base: total, Index: row, Scale: 4})
	})
}

// pack packs rows of weights, and sums them up.
func (t *attention) pack() {
	y, yStep, total, base, sumStep := load(t.a, attY), load(t.a, attYStep), load(t.a, attTotal), load(t.a, attSums), load(t.a, attSumStep)
	weights := newWeightPacker(t.a, attInv, attOrder)
	row, rows, lines := GP64(), load(t.a, attRows), GP64()
	XORQ(row, row)
	MOVQ(t.n, lines)
	ADDQ(Imm(63), lines)
	SHRQ(Imm(6), lines)
	Label("pack")
	r, acc, at, out, left := ZMM(), ZMM(), GP64(), GP64(), GP64()
	VBROADCASTSS(t.scalar(row), r)
	VPXORD(acc, acc, acc)
	MOVQ(base, at)
	MOVQ(y, out)
	MOVQ(lines, left)
	Label("packLoop")
	weights.pack(at, 64, r, out, acc)
	ADDQ(I32(256), at)
	ADDQ(Imm(64), out)
	DECQ(left)
	JNZ(LabelRef("packLoop"))
	fold(acc, VPADDD)
	VMOVD(acc.AsX(), Mem{Base: total, Index: row, Scale: 4})
	ADDQ(sumStep, base)
	ADDQ(yStep, y)
	INCQ(row)
	CMPQ(row, rows)
	JLT(LabelRef("pack"))
}

// weightPacker rounds weights that packing saturates to 0 and 255, four vectors at a
// time; what is no number becomes the least integer, so 0. Their sum is a product
// with ones.
type weightPacker struct{ inv, order, ones reg.VecVirtual }

func newWeightPacker(a reg.Register, inv, order int) weightPacker {
	p := weightPacker{inv: broadcast(a, inv), order: ZMM(), ones: ones8()}
	VMOVDQU32(Mem{Base: load(a, order)}, p.order)
	return p
}

// pack takes four vectors of exponentials, so far apart, times r, writes them to out
// and adds them to acc.
func (p weightPacker) pack(from reg.Register, apart int, r reg.VecVirtual, out reg.Register, acc reg.VecVirtual) {
	v := zmmsOf(4)
	for i := range v {
		VMULPS(Mem{Base: from, Disp: apart * i}, r, v[i])
		VMULPS(p.inv, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	VPACKUSDW(v[1], v[0], v[0])
	VPACKUSDW(v[3], v[2], v[2])
	VPACKUSWB(v[2], v[0], v[0])
	VPERMD(v[0], p.order, v[0])
	VMOVDQU32(v[0], Mem{Base: out})
	VPDPBUSD(p.ones, v[0], acc)
}

// ones8 is a register of bytes that are 1.
func ones8() reg.VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(0x01010101), r)
	VPBROADCASTD(r, z)
	return z
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
