package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwiseVNNI writes the kernels of single elements on 512 bits.
func elementwiseVNNI() {
	quartersData("quantizeOrder")
	pair512("addBytesVNNI", true)
	pair512("multiplyBytesVNNI", false)
	quantize512()
	dequantize512()
	max512()
	sum512()
}

// tailMask puts the mask of the next elements, at most per, in K1.
func tailMask(left reg.GPVirtual, per int) { tailMaskIn(reg.K1, left, per) }

func tailMaskIn(k reg.Register, left reg.GPVirtual, per int) {
	ones, n := GP64(), GP64()
	MOVQ(I64(-1), ones)
	MOVQ(U64(uint64(per)), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	BZHIQ(n, ones, ones)
	KMOVQ(ones, k)
}

// restMask puts the mask of the last of n columns, those that are no whole vector of
// 16, in K1: none where all are whole.
func restMask(n reg.GPVirtual) {
	mask, tail := GP64(), GP64()
	MOVQ(I64(-1), mask)
	MOVQ(n, tail)
	ANDQ(Imm(15), tail)
	BZHIQ(tail, mask, mask)
	KMOVQ(mask, reg.K1)
}

// masked runs body for each vector of per elements, with a mask of those that are
// there in K1.
func masked(n reg.GPVirtual, per int, body func()) {
	Label("step")
	tailMask(n, per)
	body()
	SUBQ(I32(per), n)
	JG(LabelRef("step"))
}

// requant512 scales, clamps and rounds sums; zero is added.
func requant512(q, mult, lo, hi, zero reg.VecVirtual) {
	scaleClamped(q, mult, lo, hi)
	VPADDD(zero, q, q)
}

func pair512(name string, add bool) {
	a := text(name, "pairArgs", "gives 8-bit results of pairs.")
	y, x, b, n := load(a, pairY), load(a, pairA), load(a, pairB), load(a, pairN)
	aFlip, bFlip, aZero, bZero := broadcast(a, pairAFlip), broadcast(a, pairBFlip), broadcast(a, pairAZero), broadcast(a, pairBZero)
	factors, mult, lo, hi, zero := broadcast(a, pairPair), broadcast(a, pairMult), broadcast(a, pairLo), broadcast(a, pairHi), broadcast(a, pairZero)
	low := ZMM()
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLD(Imm(16), low, low)
	// A single b is read once; the step of b is then 0.
	step, same := GP64(), ZMM()
	MOVQ(U64(16), step)
	scalar := GP32()
	MOVL(field(a, pairScalarB), scalar)
	TESTL(scalar, scalar)
	JZ(LabelRef("vectors"))
	one := GP32()
	MOVBLZX(at(b, 0), one)
	VPBROADCASTD(one, same)
	XORQ(step, step)
	Label("vectors")
	TESTQ(step, step)
	JZ(LabelRef("rest"))
	pairs64(a, y, x, b, n, factors, mult, lo, hi, add)
	Label("rest")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	masked(n, 16, func() {
		p, q := ZMM(), ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, p)
		VMOVDQA32(same, q)
		TESTQ(step, step)
		JZ(LabelRef("scalar"))
		VPMOVZXBD_Z(at(b, 0), reg.K1, q)
		Label("scalar")
		VPXORD(aFlip, p, p)
		VPXORD(bFlip, q, q)
		VPSUBD(aZero, p, p)
		VPSUBD(bZero, q, q)
		if add {
			VPSLLD(Imm(16), q, q)
			VPTERNLOGD(Imm(0xF8), low, p, q) // q | p&low
			VPMADDWD(factors, q, p)
		} else {
			VPMULLD(q, p, p)
		}
		requant512(p, mult, lo, hi, zero)
		store(p, y, n, 16, true)
		ADDQ(I32(16), x)
		ADDQ(step, b)
		ADDQ(I32(16), y)
	})
	Label("done")
	VZEROUPPER()
	RET()
}

// quantizeAhead is how far before their use values are fetched: the input of a
// network comes from beyond the second level cache.
const quantizeAhead = 2048

// pairs64 takes 64 pairs at a time, as 16-bit words and then 32-bit sums; packing
// restores their order.
func pairs64(a reg.Register, y, x, b, n reg.GPVirtual, factors, mult, lo, hi reg.VecVirtual, add bool) {
	none, low, zero := ZMM(), ZMM(), ZMM()
	VPXORD(none, none, none)
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLW(Imm(8), low, low)
	VPBROADCASTW(field(a, pairZero), zero)
	operand := func(p reg.GPVirtual, flip, zero int) func() (l, h reg.VecVirtual) {
		f, z := ZMM(), ZMM()
		VPBROADCASTB(field(a, flip), f)
		VPBROADCASTW(field(a, zero), z)
		return func() (l, h reg.VecVirtual) {
			v := ZMM()
			l, h = ZMM(), ZMM()
			VPXORD(at(p, 0), f, v)
			VPUNPCKLBW(none, v, l)
			VPUNPCKHBW(none, v, h)
			VPSUBW(z, l, l)
			VPSUBW(z, h, h)
			ADDQ(Imm(64), p)
			return l, h
		}
	}
	first, second := operand(x, pairAFlip, pairAZero), operand(b, pairBFlip, pairBZero)
	SUBQ(I32(64), n)
	JLT(LabelRef("few"))
	Label("many")
	al, ah := first()
	bl, bh := second()
	var words []reg.VecVirtual
	for _, v := range [][2]reg.VecVirtual{{al, bl}, {ah, bh}} {
		p, q := v[0], v[1]
		if !add { // low and high halves of products
			h := ZMM()
			VPMULHW(q, p, h)
			VPMULLW(q, p, p)
			q = h
		}
		d := [2]reg.VecVirtual{ZMM(), ZMM()}
		VPUNPCKLWD(q, p, d[0])
		VPUNPCKHWD(q, p, d[1])
		for _, r := range d {
			if add {
				VPMADDWD(factors, r, r)
			}
			scaleClamped(r, mult, lo, hi)
		}
		VPACKSSDW(d[1], d[0], d[0])
		VPADDW(zero, d[0], d[0])
		VPANDD(low, d[0], d[0])
		words = append(words, d[0])
	}
	VPACKUSWB(words[1], words[0], words[0])
	VMOVDQU32(words[0], at(y, 0))
	ADDQ(Imm(64), y)
	SUBQ(I32(64), n)
	JGE(LabelRef("many"))
	Label("few")
	ADDQ(I32(64), n)
}

func quantize512() {
	a := text("quantizeVNNI", "convertArgs", "brings float32 to 8 bits.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	inv, lo, hi, zero := broadcast(a, cvtScale), broadcast(a, cvtLo), broadcast(a, cvtHi), broadcast(a, cvtZero)
	// rounded gives 32-bit results less the zero point.
	rounded := func(p reg.VecVirtual) {
		VCMPPS(Imm(7), p, p, reg.K2) // ordered: no NaN
		VMULPS(inv, p, p)
		VMAXPS(lo, p, p)
		VMINPS(hi, p, p)
		VCVTPS2DQ_Z(p, reg.K2, p)
	}
	zeros, low, order := ZMM(), ZMM(), ZMM()
	VPBROADCASTW(field(a, cvtZero), zeros)
	VPTERNLOGD(Imm(255), low, low, low)
	VPSRLW(Imm(8), low, low)
	VMOVDQU32(orderData, order)
	SUBQ(I32(64), n)
	JLT(LabelRef("rest"))
	Label("wide")
	var q [4]reg.VecVirtual
	for i := range q {
		q[i] = ZMM()
		VMOVUPS(at(x, 64*i), q[i])
		PREFETCHT0(at(x, quantizeAhead+64*i))
		rounded(q[i])
	}
	VPACKSSDW(q[1], q[0], q[0])
	VPACKSSDW(q[3], q[2], q[2])
	for _, r := range []reg.VecVirtual{q[0], q[2]} {
		VPADDW(zeros, r, r)
		VPANDD(low, r, r)
	}
	VPACKUSWB(q[2], q[0], q[0])
	VPERMD(q[0], order, q[0])
	VMOVDQU32(q[0], at(y, 0))
	ADDQ(I32(256), x)
	ADDQ(I32(64), y)
	SUBQ(I32(64), n)
	JGE(LabelRef("wide"))
	Label("rest")
	ADDQ(I32(64), n)
	JLE(LabelRef("done"))
	masked(n, 16, func() {
		p := ZMM()
		VMOVUPS_Z(at(x, 0), reg.K1, p)
		rounded(p)
		VPADDD(zero, p, p)
		store(p, y, n, 16, true)
		ADDQ(I32(64), x)
		ADDQ(I32(16), y)
	})
	Label("done")
	VZEROUPPER()
	RET()
}

func dequantize512() {
	a := text("dequantizeVNNI", "convertArgs", "brings 8 bits to float32.")
	y, x, n := load(a, cvtY), load(a, cvtX), load(a, cvtN)
	scale, zero, flip := broadcast(a, cvtScale), broadcast(a, cvtZero), broadcast(a, cvtFlip)
	masked(n, 16, func() {
		p := ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, p)
		VPXORD(flip, p, p)
		VPSUBD(zero, p, p)
		VCVTDQ2PS(p, p)
		VMULPS(scale, p, p)
		storeFloats(p, y, n)
		ADDQ(I32(16), x)
		ADDQ(I32(64), y)
	})
	VZEROUPPER()
	RET()
}

// window512 goes through the taps of a window for each vector of columns.
func window512(a reg.Register, per, outBytes int, begin func(y reg.GPVirtual), tap func(x reg.GPVirtual), end func(y, n reg.GPVirtual)) {
	yStep, xStep := load(a, winYStep), load(a, winXStep)
	y0, x0 := load(a, winY), load(a, winX)
	Label("pixel")
	y, x, n := GP64(), GP64(), load(a, winN)
	MOVQ(y0, y)
	MOVQ(x0, x)
	Label("columns")
	tailMask(n, per)
	begin(y)
	windowTaps(a, x, xStep, yStep, tap)
	end(y, n)
	ADDQ(I32(per), x)
	ADDQ(I32(per*outBytes), y)
	SUBQ(I32(per), n)
	JG(LabelRef("columns"))
	nextPixel(a, x0, y0)
	VZEROUPPER()
	RET()
}

// windowTaps goes through the taps of a window that begins at x.
func windowTaps(a reg.Register, x, xStep, yStep reg.GPVirtual, tap func(x reg.GPVirtual)) {
	line, ny := GP64(), load(a, winNY)
	MOVQ(x, line)
	Label("line")
	p, nx := GP64(), load(a, winNX)
	MOVQ(line, p)
	Label("tap")
	tap(p)
	ADDQ(xStep, p)
	DECQ(nx)
	JNZ(LabelRef("tap"))
	ADDQ(yStep, line)
	DECQ(ny)
	JNZ(LabelRef("line"))
}

// nextPixel goes to the next of a window kernel's pixels.
func nextPixel(a, x, y reg.Register) {
	ADDQ(field(a, winXMove), x)
	ADDQ(field(a, winYMove), y)
	DECQ(field(a, winCount))
	JNZ(LabelRef("pixel"))
}

func max512() {
	a := text("maxVNNI", "windowArgs", "takes the greatest byte of each column over a window.")
	maxOfNine(a)
	Label("any")
	flip, acc := ZMM(), ZMM()
	VPBROADCASTB(field(a, winFlip), flip)
	window512(a, 64, 1, func(reg.GPVirtual) {
		VPXORD(acc, acc, acc)
	}, func(x reg.GPVirtual) {
		v := ZMM()
		VMOVDQU8_Z(at(x, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPMAXUB(v, acc, acc)
	}, func(y, n reg.GPVirtual) {
		VPXORD(flip, acc, acc)
		store(acc, y, n, 64, false)
	})
}

// maxOfNine takes windows of 3×3 taps with whole vectors of columns; others go on
// behind it.
func maxOfNine(a reg.Register) {
	for _, offset := range []int{winNX, winNY} {
		CMPQ(field(a, offset), Imm(3))
		JNE(LabelRef("any"))
	}
	n := load(a, winN)
	TESTQ(U32(63), n)
	JNZ(LabelRef("any"))
	y, x, xStep, yStep, count := load(a, winY), load(a, winX), load(a, winXStep), load(a, winYStep), load(a, winCount)
	flip := GP32()
	MOVL(field(a, winFlip), flip)
	windows := func(name string, greater func(...Op)) {
		Label(name)
		lines, to, left := [3]reg.GPVirtual{GP64(), GP64(), GP64()}, GP64(), GP64()
		MOVQ(x, lines[0])
		for i := range 2 {
			LEAQ(Mem{Base: lines[i], Index: yStep, Scale: 1}, lines[i+1])
		}
		MOVQ(y, to)
		MOVQ(n, left)
		Label(name + "Columns")
		acc := ZMM()
		VMOVDQU64(at(lines[0], 0), acc)
		for i, l := range lines {
			if i > 0 {
				greater(at(l, 0), acc, acc)
			}
			for tap := range 2 {
				greater(Mem{Base: l, Index: xStep, Scale: uint8(tap + 1)}, acc, acc)
			}
			ADDQ(Imm(64), l)
		}
		VMOVDQU64(acc, at(to, 0))
		ADDQ(Imm(64), to)
		SUBQ(Imm(64), left)
		JNZ(LabelRef(name + "Columns"))
		ADDQ(field(a, winXMove), x)
		ADDQ(field(a, winYMove), y)
		DECQ(count)
		JNZ(LabelRef(name))
		VZEROUPPER()
		RET()
	}
	TESTL(flip, flip)
	JNZ(LabelRef("signed"))
	windows("unsigned", VPMAXUB)
	windows("signed", VPMAXSB)
}

func sum512() {
	a := text("sumVNNI", "windowArgs", "adds the bytes of each column over a window to int32 sums.")
	flip, acc := broadcast(a, winFlip), ZMM()
	window512(a, 16, 4, func(y reg.GPVirtual) {
		VMOVDQU32_Z(at(y, 0), reg.K1, acc)
	}, func(x reg.GPVirtual) {
		v := ZMM()
		VPMOVZXBD_Z(at(x, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPADDD(v, acc, acc)
	}, func(y, _ reg.GPVirtual) {
		VMOVDQU32(acc, reg.K1, at(y, 0))
	})
}

// lookupVBMI writes table lookups by byte permutes, with a table of 256 bytes
// in four registers.
func lookupVBMI() {
	a := text("lookupBytesVBMI", "lookupArgs", "maps bytes by a table.")
	y, x, n, table := load(a, lookY), load(a, lookX), load(a, lookN), load(a, lookTable)
	var t [4]reg.VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVDQU8(at(table, 64*i), t[i])
	}
	masked(n, 64, func() {
		v := ZMM()
		VMOVDQU8_Z(at(x, 0), reg.K1, v)
		store(permute256(t, v), y, n, 64, false)
		ADDQ(I32(64), x)
		ADDQ(I32(64), y)
	})
	VZEROUPPER()
	RET()

	softmaxVBMI()
}

// permute256 looks bytes up in four registers; K2 is lost.
func permute256(t [4]reg.VecVirtual, v reg.VecVirtual) reg.VecVirtual {
	lo, hi := ZMM(), ZMM()
	VMOVDQA32(v, lo)
	VMOVDQA32(v, hi)
	VPERMI2B(t[1], t[0], lo)
	VPERMI2B(t[3], t[2], hi)
	VPMOVB2M(v, reg.K2)
	VMOVDQU8(hi, reg.K2, lo)
	return lo
}

// softmaxVBMI holds the four byte planes of the table of exponentials in sixteen
// registers, so that one pass finds 64 of them; interleaving the planes leaves
// the 32-bit values in the order that packing restores.
func softmaxVBMI() {
	a := text("softmaxVBMI", "softmaxArgs", "computes rows.")
	y, x, k := load(a, softY), load(a, softX), load(a, softK)
	var planes [4][4]reg.VecVirtual
	table := load(a, softTable)
	for p := range planes {
		for i := range planes[p] {
			planes[p][i] = ZMM()
			VMOVDQU8(at(table, 256*p+64*i), planes[p][i])
		}
	}
	flip := ZMM()
	VPBROADCASTB(field(a, softFlip), flip)
	Label("row")

	// The greatest value.
	left, px := GP64(), GP64()
	MOVQ(k, left)
	MOVQ(x, px)
	top := ZMM()
	VPXORD(top, top, top)
	Label("max")
	tailMask(left, 64)
	v := ZMM()
	VMOVDQU8_Z(at(px, 0), reg.K1, v)
	VPXORD(flip, v, v)
	VMOVDQU8_Z(v, reg.K1, v)
	VPMAXUB(v, top, top)
	ADDQ(I32(64), px)
	SUBQ(I32(64), left)
	JG(LabelRef("max"))
	half := YMM()
	VEXTRACTI64X4(Imm(1), top, half)
	VPMAXUB(top.AsY(), half, half)
	quarter := XMM()
	VEXTRACTI32X4(Imm(1), half, quarter)
	VPMAXUB(half.AsX(), quarter, quarter)
	for _, n := range []uint64{8, 4, 2, 1} {
		moved := XMM()
		VPSRLDQ(Imm(n), quarter, moved)
		VPMAXUB(moved, quarter, quarter)
	}
	VPBROADCASTB(quarter, top)

	// exponentials gives the four vectors of the next 64 values.
	exponentials := func() [4]reg.VecVirtual {
		tailMask(left, 64)
		v := ZMM()
		VMOVDQU8_Z(at(px, 0), reg.K1, v)
		VPXORD(flip, v, v)
		VPSUBB(v, top, v)
		var b [4]reg.VecVirtual
		for p := range b {
			r := permute256(planes[p], v)
			VMOVDQU8_Z(r, reg.K1, r)
			b[p] = r
		}
		var e [4]reg.VecVirtual
		l, h := ZMM(), ZMM()
		for i := range e {
			e[i] = ZMM()
		}
		VPUNPCKLBW(b[1], b[0], l)
		VPUNPCKLBW(b[3], b[2], h)
		VPUNPCKLWD(h, l, e[0])
		VPUNPCKHWD(h, l, e[1])
		VPUNPCKHBW(b[1], b[0], l)
		VPUNPCKHBW(b[3], b[2], h)
		VPUNPCKLWD(h, l, e[2])
		VPUNPCKHWD(h, l, e[3])
		return e
	}
	next := func(label string) {
		ADDQ(I32(64), px)
		SUBQ(I32(64), left)
		JG(LabelRef(label))
	}

	// Their sum.
	MOVQ(k, left)
	MOVQ(x, px)
	sum := ZMM()
	VPXORD(sum, sum, sum)
	Label("sum")
	e := exponentials()
	for _, r := range e {
		VPADDD(r, sum, sum)
	}
	next("sum")
	VEXTRACTI64X4(Imm(1), sum, half)
	VPADDD(sum.AsY(), half, half)
	VEXTRACTI32X4(Imm(1), half, quarter)
	VPADDD(half.AsX(), quarter, quarter)
	for _, n := range []uint64{8, 4} {
		moved := XMM()
		VPSRLDQ(Imm(n), quarter, moved)
		VPADDD(moved, quarter, quarter)
	}
	factor := XMM()
	VCVTDQ2PS(quarter, quarter)
	VMOVSS(field(a, softFactor), factor)
	VDIVSS(quarter, factor, factor)
	r := ZMM()
	VBROADCASTSS(factor, r)

	// The results.
	MOVQ(k, left)
	MOVQ(x, px)
	Label("scale")
	e = exponentials()
	for _, q := range e {
		VCVTDQ2PS(q, q)
		VMULPS(r, q, q)
		VMAXPS_BCST(field(a, softLo), q, q)
		VMINPS_BCST(field(a, softHi), q, q)
		VCVTPS2DQ(q, q)
		VPADDD_BCST(field(a, softZero), q, q)
	}
	VPACKSSDW(e[1], e[0], e[0])
	VPACKSSDW(e[3], e[2], e[2])
	VPACKUSWB(e[2], e[0], e[0])
	yflip := ZMM()
	VPBROADCASTB(field(a, softYFlip), yflip)
	VPXORD(yflip, e[0], e[0])
	store(e[0], y, left, 64, false)
	ADDQ(I32(64), y)
	next("scale")
	ADDQ(left, y) // 0 or less: what the last step went too far
	ADDQ(k, x)
	DECQ(field(a, softRows))
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
