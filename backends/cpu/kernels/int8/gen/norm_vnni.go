package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the argument block of norm.go; TestNormLayout of package int8 has the
// same numbers.
const (
	normX       = 0
	normX2      = 8
	normSum     = 16
	normY       = 24
	normQ       = 32
	normScale   = 40
	normBias    = 48
	normFactor  = 56
	normN       = 64
	normRows    = 72
	normXRow    = 80
	normSumRow  = 88
	normXAt     = 96
	normSumAt   = 104
	normYAt     = 112
	normQAt     = 120
	normForm    = 128
	normInv     = 132
	normEps     = 136
	normQInv    = 140
	normLo      = 144
	normHi      = 148
	normZero    = 152
	normYFlip   = 156
	normFlip    = 160
	normXZero   = 164
	normXScale  = 168
	normLeast   = 172
	normZeroAll = 176
	normWild    = 180
)

// The forms of what is normalized; norm.go has the same numbers.
const (
	formPlain = iota
	formSum
	formBytes
)

// normVNNI writes layer norms with what stands around them: four rows at a time,
// so that their sums do not wait for themselves, and the rows that are left.
func normVNNI() {
	quartersData("normOrder")
	norm512("normRows4VNNI", 4)
	norm512("normRowsVNNI", 1)
}

// norm512 goes through the rows three times: what is normalized and its sum; the
// sum of the squared differences; the results. All but the first read what the
// first one wrote, or x, in the first level cache.
func norm512(name string, rows int) {
	a := text(name, "normArgs", map[int]string{1: "normalizes rows.", 4: "normalizes rows, four at a time."}[rows])
	n := load(a, normN)
	restMask(n)
	step, step3, n3 := GP64(), GP64(), GP64()
	MOVQ(n, step)
	SHLQ(Imm(2), step)
	if rows > 3 {
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, step3)
		LEAQ(Mem{Base: n, Index: n, Scale: 2}, n3)
	}
	floats := func(pointer, at int) lines {
		p := load(a, pointer)
		ADDQ(field(a, at), p)
		return lines{p, step, step3}
	}
	bytes := func(pointer, at int) lines {
		l := floats(pointer, at)
		l.step, l.step3 = n, n3
		return l
	}
	// columns walks the vectors of the rows.
	columns := func(name string, body func(masked bool)) {
		left := GP64()
		MOVQ(n, left)
		SHRQ(Imm(4), left)
		JZ(LabelRef(name + "Tail"))
		Label(name + "Loop")
		body(false)
		DECQ(left)
		JNZ(LabelRef(name + "Loop"))
		Label(name + "Tail")
		KTESTW(reg.K1, reg.K1)
		JZ(LabelRef(name + "End"))
		body(true)
		Label(name + "End")
	}
	loadFloats := func(m Mem, masked bool) reg.VecVirtual {
		v := ZMM()
		if masked {
			VMOVUPS_Z(m, reg.K1, v)
		} else {
			VMOVUPS(m, v)
		}
		return v
	}
	storeFloats := func(v reg.VecVirtual, m Mem, masked bool) {
		if masked {
			VMOVUPS(v, reg.K1, m)
		} else {
			VMOVUPS(v, m)
		}
	}
	sumUp := func(acc, v reg.VecVirtual, masked bool) {
		if masked {
			VADDPS(v, acc, reg.K1, acc)
		} else {
			VADDPS(v, acc, acc)
		}
	}
	clear := func(vs []reg.VecVirtual) {
		for _, v := range vs {
			VPXORD(v, v, v)
		}
	}
	inv, eps, one := broadcast(a, normInv), XMM(), XMM()
	VMOVSS(field(a, normEps), eps)
	bits := GP32()
	MOVL(U32(math.Float32bits(1)), bits)
	VMOVD(bits, one)
	qinv, lo, hi, zero, yflip := broadcast(a, normQInv), broadcast(a, normLo), broadcast(a, normHi), broadcast(a, normZero), ZMM()
	var least, order reg.VecVirtual
	if rows == 4 {
		VPBROADCASTW(field(a, normZeroAll), zero)
		least, order = ZMM(), ZMM()
		VPBROADCASTB(field(a, normLeast), least)
		VPBROADCASTB(field(a, normYFlip), yflip)
		VMOVDQU32(orderData, order)
	}
	mean, rstd := zmmsOf(rows), zmmsOf(rows)
	Label("rows")

	// What is normalized, and its sum.
	clear(mean)
	x := floats(normX, normXAt)
	form := GP32()
	MOVL(field(a, normForm), form)
	CMPL(form, Imm(formSum))
	JE(LabelRef("sum"))
	JA(LabelRef("bytes"))
	columns("plain", func(masked bool) {
		for r := range rows {
			if masked {
				VADDPS(x.at(r), mean[r], reg.K1, mean[r])
			} else {
				VADDPS(x.at(r), mean[r], mean[r])
			}
		}
		ADDQ(Imm(64), x.p)
	})
	JMP(LabelRef("mean"))

	Label("sum")
	x2, to := floats(normX2, normYAt), floats(normSum, normSumAt)
	columns("sum", func(masked bool) {
		for r := range rows {
			v := loadFloats(x.at(r), masked)
			if masked {
				VADDPS_Z(x2.at(r), v, reg.K1, v)
			} else {
				VADDPS(x2.at(r), v, v)
			}
			storeFloats(v, to.at(r), masked)
			sumUp(mean[r], v, masked)
		}
		for _, l := range []lines{x, x2, to} {
			ADDQ(Imm(64), l.p)
		}
	})
	JMP(LabelRef("mean"))

	Label("bytes")
	xb, out := bytes(normX, normXAt), floats(normSum, normSumAt)
	flip, xzero, xscale := broadcast(a, normFlip), broadcast(a, normXZero), broadcast(a, normXScale)
	columns("bytes", func(masked bool) {
		for r := range rows {
			v := ZMM()
			if masked {
				VPMOVZXBD_Z(xb.at(r), reg.K1, v)
			} else {
				VPMOVZXBD(xb.at(r), v)
			}
			VPXORD(flip, v, v)
			VPSUBD(xzero, v, v)
			VCVTDQ2PS(v, v)
			VMULPS(xscale, v, v)
			storeFloats(v, out.at(r), masked)
			sumUp(mean[r], v, masked)
		}
		ADDQ(Imm(16), xb.p)
		ADDQ(Imm(64), out.p)
	})

	Label("mean")
	for _, m := range mean {
		fold(m, VADDPS)
		VMULPS(inv, m, m)
	}

	// The sum of the squared differences.
	clear(rstd)
	from := floats(normSum, normSumAt)
	ahead, ahead2 := floats(normX, normXAt), floats(normX2, normYAt)
	LEAQ(Mem{Base: ahead.p, Index: step, Scale: 4}, ahead.p)
	LEAQ(Mem{Base: ahead2.p, Index: step, Scale: 4}, ahead2.p)
	columns("square", func(masked bool) {
		for r := range rows {
			PREFETCHT0(ahead.at(r))
			PREFETCHT0(ahead2.at(r))
		}
		ADDQ(Imm(64), ahead.p)
		ADDQ(Imm(64), ahead2.p)
		for r := range rows {
			v := loadFloats(from.at(r), masked)
			VSUBPS(mean[r], v, v)
			VMULPS(v, v, v)
			sumUp(rstd[r], v, masked)
		}
		ADDQ(Imm(64), from.p)
	})
	for _, s := range rstd {
		fold(s, VADDPS)
		x := s.AsX()
		VMULSS(inv.AsX(), x, x)
		VADDSS(eps, x, x)
		VSQRTSS(x, x, x)
		VDIVSS(x, one, x)
		VBROADCASTSS(x, s)
	}

	// The results.
	from = floats(normSum, normSumAt)
	y, q := floats(normY, normYAt), bytes(normQ, normQAt)
	column, scale, bias, factor := GP64(), load(a, normScale), load(a, normBias), load(a, normFactor)
	XORQ(column, column)
	result := func(name string, tame bool) func(masked bool) {
		return func(masked bool) {
			row := func(p reg.GPVirtual) reg.VecVirtual {
				return loadFloats(Mem{Base: p, Index: column, Scale: 1}, masked)
			}
			label := func(s string) string {
				if masked {
					s += "Masked"
				}
				return name + s
			}
			vs := make([]reg.VecVirtual, rows)
			for r := range vs {
				v := loadFloats(from.at(r), masked)
				VSUBPS(mean[r], v, v)
				VMULPS(rstd[r], v, v)
				vs[r] = v
			}
			s, b := row(scale), row(bias)
			for _, v := range vs {
				VMULPS(s, v, v)
				VADDPS(b, v, v)
			}
			CMPQ(field(a, normY), Imm(0))
			JE(LabelRef(label("NoFloats")))
			for r, v := range vs {
				storeFloats(v, y.at(r), masked)
			}
			Label(label("NoFloats"))
			CMPQ(field(a, normQ), Imm(0))
			JE(LabelRef(label("NoBytes")))
			TESTQ(factor, factor)
			JZ(LabelRef(label("NoFactor")))
			f := row(factor)
			for _, v := range vs {
				VMULPS(f, v, v)
			}
			Label(label("NoFactor"))
			for _, v := range vs {
				if !tame {
					VCMPPS(Imm(7), v, v, reg.K2) // ordered: no NaN
				}
				VMULPS(qinv, v, v)
				if rows == 1 {
					VMAXPS(lo, v, v)
				}
				VMINPS(hi, v, v)
				// What is too low becomes the least int32.
				if tame {
					VCVTPS2DQ(v, v)
				} else {
					VCVTPS2DQ_Z(v, reg.K2, v)
				}
			}
			if rows == 1 {
				v := vs[0]
				VPADDD(zero, v, v)
				if masked {
					VPMOVDB(v, reg.K1, q.at(0))
				} else {
					VPMOVDB(v, v.AsX())
					VMOVDQU32(v.AsX(), q.at(0))
				}
			} else {
				VPACKSSDW(vs[1], vs[0], vs[0])
				VPACKSSDW(vs[3], vs[2], vs[2])
				VPADDSW(zero, vs[0], vs[0])
				VPADDSW(zero, vs[2], vs[2])
				VPACKUSWB(vs[2], vs[0], vs[0])
				VPMAXUB(least, vs[0], vs[0])
				VPXORD(yflip, vs[0], vs[0])
				VPERMD(vs[0], order, vs[0]) // a row in each quarter
				for r := range vs {
					switch part := vs[0].AsX(); {
					case !masked && r > 0:
						VEXTRACTI32X4(Imm(uint64(r)), vs[0], q.at(r))
					case !masked:
						VMOVDQU32(part, q.at(r))
					default:
						if r > 0 {
							part = XMM()
							VEXTRACTI32X4(Imm(uint64(r)), vs[0], part)
						}
						VMOVDQU8(part, reg.K1, q.at(r))
					}
				}
			}
			Label(label("NoBytes"))
			ADDQ(Imm(64), from.p)
			ADDQ(Imm(64), y.p)
			ADDQ(Imm(16), q.p)
			ADDQ(Imm(64), column)
		}
	}
	CMPL(field(a, normWild), Imm(0))
	JNE(LabelRef("wild"))
	for _, s := range rstd {
		// As a number, its bits show what is neither 0, nor infinite, nor a NaN.
		b := GP32()
		VMOVD(s.AsX(), b)
		DECL(b)
		CMPL(b, U32(math.Float32bits(float32(math.Inf(1)))-1))
		JAE(LabelRef("wild"))
	}
	columns("tame", result("tame", true))
	JMP(LabelRef("next"))
	Label("wild")
	columns("wild", result("wild", false))
	Label("next")

	move := func(at, row int) {
		by := load(a, row)
		if rows > 1 {
			SHLQ(Imm(2), by)
		}
		ADDQ(by, field(a, at))
	}
	move(normXAt, normXRow)
	move(normSumAt, normSumRow)
	move(normQAt, normN)
	by := GP64()
	MOVQ(step, by)
	if rows > 1 {
		SHLQ(Imm(2), by)
	}
	ADDQ(by, field(a, normYAt))
	left := load(a, normRows)
	SUBQ(Imm(uint64(rows)), left)
	MOVQ(left, field(a, normRows))
	CMPQ(left, Imm(uint64(rows)))
	JGE(LabelRef("rows"))
	VZEROUPPER()
	RET()
}
