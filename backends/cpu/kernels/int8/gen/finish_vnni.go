package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// finishVNNI writes the kernels that turn sums into results, on 512 bits.
func finishVNNI() {
	quartersData("finishOrder")
	finish512("finishBytesVNNI", false, true)
	finish512("finishResidualVNNI", true, true)
	finish512("finishBytesAnyVNNI", false, false)
	finish512("finishResidualAnyVNNI", true, false)
	finishFloats512()
}

// finish512 goes through columns 64 at a time, or 16 where no more are left, and
// for each through all rows: sums to float32, times the column's factor, clamped,
// rounded, and for a residual once more; then the 32-bit results are packed. Of
// bounded sums 64 or 32 at a time are clamped only after packing.
func finish512(name string, residual, bounded bool) {
	doc := "gives 8-bit results."
	if residual {
		doc = "adds a residual and gives 8-bit results."
	}
	a := text(name, "finishArgs", doc)
	f := newFinisher512(a, residual, bounded)
	sums0, y0, mult, cols := load(a, finSums), load(a, finY), load(a, finMult), load(a, finCols)
	sumStep, yStep := load(a, finSumStep), load(a, finYStep)
	var x20, x2Step reg.GPVirtual
	if residual {
		x20, x2Step = load(a, finX2), load(a, finX2Step)
	}
	f.cols = cols

	Label("columns")
	CMPQ(cols, Imm(0))
	JLE(LabelRef("done"))
	widths := []int{4, 1}
	if bounded {
		widths = []int{4, 2, 1}
	}
	for i, vecs := range widths {
		part := fmt.Sprint(vecs)
		if i > 0 {
			Label("width" + part)
		}
		if i < len(widths)-1 {
			CMPQ(cols, Imm(uint64(16*widths[i+1])))
			JLE(LabelRef("width" + fmt.Sprint(widths[i+1])))
		}
		late := bounded && vecs > 1
		f.columnMasks(vecs, !late)
		ms := zmmsOf(vecs)
		for v := range ms {
			VMOVUPS(at(mult, 64*v), ms[v])
		}
		p := finishAt{sums: GP64(), y: GP64()}
		rows, add := load(a, finRows), load(a, finRowAdd)
		MOVQ(sums0, p.sums)
		MOVQ(y0, p.y)
		if residual {
			p.x2 = GP64()
			MOVQ(x20, p.x2)
		}
		Label("row" + part)
		q := zmmsOf(vecs)
		addRow(add, part, func(v int) Op { return at(p.sums, 64*v) }, q)
		if late {
			f.lateRow(p, q, ms)
		} else {
			f.row(p, q, ms)
		}
		ADDQ(sumStep, p.sums)
		ADDQ(yStep, p.y)
		if residual {
			ADDQ(x2Step, p.x2)
		}
		DECQ(rows)
		JNZ(LabelRef("row" + part))
		n := 16 * vecs
		ADDQ(I32(4*n), sums0)
		ADDQ(I32(4*n), mult)
		ADDQ(I32(n), y0)
		if residual {
			ADDQ(I32(n), x20)
		}
		SUBQ(I32(n), cols)
		JMP(LabelRef("columns"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// finisher512 is what finish512 keeps in registers.
type finisher512 struct {
	residual bool
	cols     reg.GPVirtual // that are left

	lo, hi, zero, yflip reg.VecVirtual
	least, most         reg.VecVirtual // of bounded sums
	order               reg.VecVirtual // undoes the order that packing leaves 4-byte pieces in

	// Of a residual.
	flip, zeroX2, pair, mult2, lo2, hi2, low, flip8 reg.VecVirtual
	leastQ, mostQ, zeroX216                         reg.VecVirtual // where sums are bounded
}

// finishMasks are the masks of a step's vectors; the first is that of all its
// columns where they are packed to one vector of bytes.
var finishMasks = []reg.Register{reg.K1, reg.K2, reg.K3, reg.K4}

func newFinisher512(a reg.Register, residual, bounded bool) *finisher512 {
	f := &finisher512{residual: residual}
	f.lo, f.hi = broadcast(a, finLo), broadcast(a, finHi)
	last := finZero
	if residual {
		last = finZero2
	}
	f.zero, f.yflip = broadcast(a, last), ZMM()
	VPBROADCASTB(field(a, finYFlip), f.yflip)
	VPACKSSDW(f.zero, f.zero, f.zero) // as 16-bit lanes
	if residual {
		f.flip, f.zeroX2, f.pair = broadcast(a, finFlip), broadcast(a, finZeroX2), broadcast(a, finPair)
		f.mult2, f.lo2, f.hi2 = broadcast(a, finMult2), broadcast(a, finLo2), broadcast(a, finHi2)
		f.flip8 = ZMM()
		VPBROADCASTB(field(a, finFlip), f.flip8)
		f.low = ZMM()
		VPTERNLOGD(Imm(255), f.low, f.low, f.low)
		VPSRLD(Imm(16), f.low, f.low)
	}
	f.least, f.most = ZMM(), ZMM()
	if bounded {
		VPBROADCASTB(field(a, finLeast), f.least)
		VPBROADCASTB(field(a, finMost), f.most)
		if residual {
			f.leastQ, f.mostQ, f.zeroX216 = ZMM(), ZMM(), ZMM()
			VPBROADCASTW(field(a, finLeastQ), f.leastQ)
			VPBROADCASTW(field(a, finMostQ), f.mostQ)
			VPBROADCASTW(field(a, finZeroX2), f.zeroX216)
		}
	}
	f.order = ZMM()
	VMOVDQU32(orderData, f.order)
	return f
}

// columnMasks makes the masks of the columns: all, then, where asked, those of
// each vector.
func (f *finisher512) columnMasks(vecs int, each bool) {
	tailMaskIn(reg.K5, f.cols, 16*vecs)
	KMOVQ(reg.K5, reg.K1)
	for v := 1; v < vecs && each; v++ {
		KSHIFTRQ(Imm(uint64(16*v)), reg.K5, finishMasks[v])
	}
}

// lateRow finishes 64 or 32 bounded sums of a row, which are clamped as bytes.
func (f *finisher512) lateRow(p finishAt, q, mult []reg.VecVirtual) {
	vecs := len(q)
	// Scaled and rounded, packed to 16 bits. (Of 32 columns the upper half is the
	// lower one.)
	packed := func(q []reg.VecVirtual, m func(v int) Op) (lo, hi reg.VecVirtual) {
		scaleEach(q, m)
		VPACKSSDW(q[1], q[0], q[0])
		if len(q) == 2 {
			return q[0], q[0]
		}
		VPACKSSDW(q[3], q[2], q[2])
		return q[0], q[2]
	}
	a, b := packed(q, func(v int) Op { return mult[v] })
	if f.residual {
		r, none, r0, r1 := ZMM(), ZMM(), ZMM(), ZMM()
		VMOVDQU8_Z(at(p.x2, 0), reg.K1, r)
		VPXORD(none, none, none)
		VPERMD(r, f.order, r) // as the packed pieces lie
		VPXORD(f.flip8, r, r)
		VPUNPCKLBW(none, r, r0)
		VPUNPCKHBW(none, r, r1)
		sums := zmmsOf(vecs)
		for i, h := range [][2]reg.VecVirtual{{a, r0}, {b, r1}}[:vecs/2] {
			VPMAXSW(f.leastQ, h[0], h[0])
			VPMINSW(f.mostQ, h[0], h[0])
			VPSUBW(f.zeroX216, h[1], h[1])
			VPUNPCKLWD(h[1], h[0], sums[2*i])
			VPUNPCKHWD(h[1], h[0], sums[2*i+1])
		}
		for _, s := range sums {
			VPMADDWD(f.pair, s, s)
		}
		a, b = packed(sums, func(int) Op { return f.mult2 })
	}
	VPADDSW(f.zero, a, a)
	if vecs == 4 {
		VPADDSW(f.zero, b, b)
	}
	VPACKUSWB(b, a, a)
	VPERMD(a, f.order, a)
	VPMAXUB(f.least, a, a)
	VPMINUB(f.most, a, a)
	VPXORD(f.yflip, a, a)
	if vecs == 4 {
		store(a, p.y, f.cols, 64, false)
	} else {
		VMOVDQU8(a, reg.K1, at(p.y, 0))
	}
}

// row finishes any 64 or 16 sums of a row.
func (f *finisher512) row(p finishAt, q, mult []reg.VecVirtual) {
	scale := func(m func(v int) Op, lo, hi Op) {
		for v := range q {
			VCVTDQ2PS(q[v], q[v])
		}
		for v := range q {
			VMULPS(m(v), q[v], q[v])
		}
		for v := range q {
			VMAXPS(lo, q[v], q[v])
		}
		for v := range q {
			VMINPS(hi, q[v], q[v])
		}
		for v := range q {
			VCVTPS2DQ(q[v], q[v])
		}
	}
	scale(func(v int) Op { return mult[v] }, f.lo, f.hi)
	if f.residual {
		for v := range q {
			r := ZMM()
			VPMOVZXBD_Z(at(p.x2, 16*v), finishMasks[v], r)
			VPXORD(f.flip, r, r)
			VPSUBD(f.zeroX2, r, r)
			VPSLLD(Imm(16), r, r)
			VPTERNLOGD(Imm(0xF8), f.low, q[v], r) // r | q&low
			VPMADDWD(f.pair, r, q[v])
		}
		scale(func(int) Op { return f.mult2 }, f.lo2, f.hi2)
	}
	if len(q) == 4 {
		VPACKSSDW(q[1], q[0], q[0])
		VPACKSSDW(q[3], q[2], q[2])
		VPADDW(f.zero, q[0], q[0])
		VPADDW(f.zero, q[2], q[2])
		VPACKUSWB(q[2], q[0], q[0])
		VPERMD(q[0], f.order, q[0])
		VPXORD(f.yflip, q[0], q[0])
		store(q[0], p.y, f.cols, 64, false)
	} else {
		VPADDW(f.zero, q[0], q[0])
		VPXORD(f.yflip, q[0], q[0])
		store(q[0], p.y, f.cols, 16, true)
	}
}

// addRow reads a row's sums and adds what its row has, if add is not nil.
func addRow(add reg.GPVirtual, part string, sums func(v int) Op, q []reg.VecVirtual) {
	rowAdd := ZMM()
	VPXORD(rowAdd, rowAdd, rowAdd)
	TESTQ(add, add)
	JZ(LabelRef("plain" + part))
	VPBROADCASTD(at(add, 0), rowAdd)
	ADDQ(Imm(4), add)
	Label("plain" + part)
	for v := range q {
		VPADDD(sums(v), rowAdd, q[v])
	}
}

// orderData: after packing 4 vectors to bytes, the 4-byte piece at 4l+v of the
// result is piece l of vector v.
var orderData Mem

func quartersData(name string) {
	orderData = GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i%4*4+i/4))
	}
}

// finishFloats512 goes through columns 64 at a time, or 16 where no more are left.
func finishFloats512() {
	a := text("finishFloatsVNNI", "finishArgs", "gives float32 results.")
	sums0, y0, mult, cols, add0 := load(a, finSums), load(a, finY), load(a, finMult), load(a, finCols), load(a, finRowAdd)
	sumStep, yStep := load(a, finSumStep), load(a, finYStep)
	Label("columns")
	CMPQ(cols, Imm(0))
	JLE(LabelRef("done"))
	CMPQ(cols, Imm(64))
	JLT(LabelRef("width1"))
	for _, vecs := range []int{4, 1} {
		if vecs == 1 {
			Label("width1")
			tailMask(cols, 16)
		}
		m, q := zmmsOf(vecs), zmmsOf(vecs)
		for v := range m {
			VMOVUPS(at(mult, 64*v), m[v])
		}
		sums, y, rows, add := GP64(), GP64(), load(a, finRows), GP64()
		MOVQ(sums0, sums)
		MOVQ(y0, y)
		MOVQ(add0, add)
		loop := func(name string, added bool) {
			Label(name)
			for v, z := range q {
				if added {
					VMOVDQU32(at(sums, 64*v), z)
					VPADDD_BCST(at(add, 0), z, z)
					VCVTDQ2PS(z, z)
				} else {
					VCVTDQ2PS(at(sums, 64*v), z)
				}
				VMULPS(m[v], z, z)
				if vecs == 1 {
					VMOVUPS(z, reg.K1, at(y, 0))
				} else {
					VMOVUPS(z, at(y, 64*v))
				}
			}
			if added {
				ADDQ(Imm(4), add)
			}
			ADDQ(sumStep, sums)
			ADDQ(yStep, y)
			DECQ(rows)
			JNZ(LabelRef(name))
		}
		part := fmt.Sprint(vecs)
		TESTQ(add, add)
		JZ(LabelRef("plain" + part))
		loop("added"+part, true)
		JMP(LabelRef("next" + part))
		loop("plain"+part, false)
		Label("next" + part)
		ADDQ(I32(int32(64*vecs)), sums0)
		ADDQ(I32(int32(64*vecs)), mult)
		ADDQ(I32(int32(64*vecs)), y0)
		SUBQ(Imm(uint64(16*vecs)), cols)
		JMP(LabelRef("columns"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
