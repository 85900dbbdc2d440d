package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwiseVNNI writes the depthwise kernels on 512 bits: the bytes of four taps
// are interleaved, so that one VPDPBUSD multiplies and adds all four.
func depthwiseVNNI() {
	depthwise9("depthwise9VNNI")
	depthwiseAny("depthwiseVNNI")
	depthwisePair("depthwisePairVNNI")
	depthwiseSums("depthwiseSumsVNNI")
	depthwiseLine(1, "depthwiseLine1VNNI")
	depthwiseLine(2, "depthwiseLine2VNNI")
}

// dwFrame is what both depthwise kernels keep.
type dwFrame struct {
	a           reg.Register
	x, y        reg.GPVirtual
	cols        reg.GPVirtual // channels that are stored
	least, most reg.VecVirtual
	zero, flip  reg.VecVirtual
	mult, acc   [4]reg.VecVirtual
}

func dwBegin(name, doc string) *dwFrame {
	f := &dwFrame{a: text(name, "dwArgs", doc)}
	f.x, f.y = load(f.a, dwX), load(f.a, dwY)
	f.constants(dwZero, dwLeast, dwMost, dwYFlip, dwMult, dwMask)
	f.cols = GP64()
	POPCNTQ(field(f.a, dwMask), f.cols)
	return f
}

// constants loads what finish needs; K1 is the mask of the channels.
func (f *dwFrame) constants(zero, least, most, flip, mult, mask int) {
	f.least, f.most, f.zero, f.flip = ZMM(), ZMM(), ZMM(), ZMM()
	VPBROADCASTW(field(f.a, zero), f.zero)
	VPBROADCASTB(field(f.a, least), f.least)
	VPBROADCASTB(field(f.a, most), f.most)
	VPBROADCASTB(field(f.a, flip), f.flip)
	p := load(f.a, mult)
	for v := range f.mult {
		f.mult[v] = ZMM()
		VMOVUPS(at(p, 64*v), f.mult[v])
	}
	KMOVQ(field(f.a, mask), reg.K1)
}

// interleave gives the four vectors of four taps' interleaved bytes.
func interleave(x [4]reg.VecVirtual) [4]reg.VecVirtual {
	lo, hi := [2]reg.VecVirtual{ZMM(), ZMM()}, [2]reg.VecVirtual{ZMM(), ZMM()}
	for i := range 2 {
		VPUNPCKLBW(x[2*i+1], x[2*i], lo[i])
		VPUNPCKHBW(x[2*i+1], x[2*i], hi[i])
	}
	var q [4]reg.VecVirtual
	for i, h := range [][2]reg.VecVirtual{lo, hi} {
		q[2*i], q[2*i+1] = ZMM(), ZMM()
		VPUNPCKLWD(h[1], h[0], q[2*i])
		VPUNPCKHWD(h[1], h[0], q[2*i+1])
	}
	return q
}

// tapsAt reads four taps, whose offsets lie at taps.
func (f *dwFrame) tapsAt(taps reg.Register) (x [4]reg.VecVirtual) {
	for t := range x {
		x[t] = ZMM()
		off := load(taps, 8*t)
		VMOVDQU32(Mem{Base: f.x, Index: off, Scale: 1}, x[t])
	}
	return x
}

// quad interleaves the bytes of four taps and adds their products; w gives the
// weights of the four vectors.
func (f *dwFrame) quad(x [4]reg.VecVirtual, w func(v int) Op) {
	for v, q := range interleave(x) {
		VPDPBUSD(w(v), q, f.acc[v])
	}
}

// start sets sums to what they start from.
func start(init reg.Register) (acc [4]reg.VecVirtual) {
	for v := range acc {
		acc[v] = ZMM()
		VMOVDQU32(at(init, 64*v), acc[v])
	}
	return acc
}

// quads sums the products of any number of quads.
func (f *dwFrame) quads(init reg.Register) {
	f.acc = start(init)
	taps, w, quads := load(f.a, dwTaps), load(f.a, dwW), load(f.a, dwQuads)
	Label("quad")
	f.quad(f.tapsAt(taps), func(v int) Op { return at(w, 64*v) })
	ADDQ(I32(32), taps)
	ADDQ(I32(256), w)
	DECQ(quads)
	JNZ(LabelRef("quad"))
}

// finish requantizes bounded sums to one vector of bytes.
func (f *dwFrame) finish(q [4]reg.VecVirtual) reg.VecVirtual {
	scaleEach(q[:], func(v int) Op { return f.mult[v] })
	VPACKSSDW(q[1], q[0], q[0])
	VPACKSSDW(q[3], q[2], q[2])
	VPADDSW(f.zero, q[0], q[0])
	VPADDSW(f.zero, q[2], q[2])
	VPACKUSWB(q[2], q[0], q[0])
	VPMAXUB(f.least, q[0], q[0])
	VPMINUB(f.most, q[0], q[0])
	VPXORD(f.flip, q[0], q[0])
	return q[0]
}

// next stores the result of a step and moves on.
func (f *dwFrame) next() {
	store(f.finish(f.acc), f.y, f.cols, 64, false)
	ADDQ(field(f.a, dwXStep), f.x)
	ADDQ(field(f.a, dwYStep), f.y)
}

// depthwise9 keeps the offsets of nine taps and nearly all weights in registers.
func depthwise9(name string) {
	f := dwBegin(name, "computes steps of nine taps.")
	taps, w, init := load(f.a, dwTaps), load(f.a, dwW), load(f.a, dwInit)
	// Offsets count from the first tap; x is the ninth register.
	var off [9]reg.GPVirtual
	for t := 1; t < 9; t++ {
		off[t] = load(taps, 8*t)
	}
	var ws [8]reg.VecVirtual
	for i := range ws {
		ws[i] = ZMM()
		VMOVDQU32(at(w, 64*i), ws[i])
	}
	Label("step")
	f.acc = start(init)
	tap := func(t int) reg.VecVirtual {
		z := ZMM()
		if t == 0 {
			VMOVDQU32(at(f.x, 0), z)
		} else {
			VMOVDQU32(Mem{Base: f.x, Index: off[t], Scale: 1}, z)
		}
		return z
	}
	for q := range 2 {
		f.quad([4]reg.VecVirtual{tap(4 * q), tap(4*q + 1), tap(4*q + 2), tap(4*q + 3)}, func(v int) Op { return ws[4*q+v] })
	}
	// The last tap alone: its bytes widened to 32 bits in the same order.
	x, none := tap(8), ZMM()
	VPXORD(none, none, none)
	f.quad([4]reg.VecVirtual{x, none, none, none}, func(v int) Op { return at(w, 512+64*v) })
	f.next()
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// depthwiseAny goes through any number of quads.
func depthwiseAny(name string) {
	f := dwBegin(name, "computes steps of any number of taps.")
	init := load(f.a, dwInit)
	Label("step")
	f.quads(init)
	f.next()
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// depthwisePair computes two neighbouring pixels a step: each interleaved group
// of taps serves both, with weights of its own for each.
func depthwisePair(name string) {
	f := dwBegin(name, "computes steps of two pixels.")
	KMOVQ(field(f.a, dwMask2), reg.K2)
	init := load(f.a, dwInit)
	Label("step")
	first, second := start(init), start(init)
	taps, w, quads := load(f.a, dwTaps), load(f.a, dwW), load(f.a, dwQuads)
	Label("quad")
	for v, q := range interleave(f.tapsAt(taps)) {
		VPDPBUSD(at(w, 64*v), q, first[v])
		VPDPBUSD(at(w, 256+64*v), q, second[v])
	}
	ADDQ(I32(32), taps)
	ADDQ(I32(512), w)
	DECQ(quads)
	JNZ(LabelRef("quad"))
	half := load(f.a, dwYHalf)
	VMOVDQU8(f.finish(second), reg.K2, Mem{Base: f.y, Index: half, Scale: 1})
	f.acc = first
	f.next()
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// depthwiseSums writes sums instead of results, in the order of the channels.
func depthwiseSums(name string) {
	f := &dwFrame{a: text(name, "dwArgs", "computes steps of any number of taps and writes int32 sums.")}
	f.x, f.y = load(f.a, dwX), load(f.a, dwY)
	init := load(f.a, dwInit)
	Label("step")
	f.quads(init)
	// Lane l of vector v belongs into lane v of vector l.
	q := f.acc
	var half [4]reg.VecVirtual // lanes 0 and 1, then 2 and 3, of two vectors
	for i := range 2 {
		half[i], half[2+i] = ZMM(), ZMM()
		VSHUFI32X4(Imm(0x44), q[2*i+1], q[2*i], half[i])
		VSHUFI32X4(Imm(0xEE), q[2*i+1], q[2*i], half[2+i])
	}
	for l := range 4 {
		z := ZMM()
		VSHUFI32X4(Imm([]uint64{0x88, 0xDD}[l%2]), half[l/2*2+1], half[l/2*2], z)
		VMOVDQU32(z, at(f.y, 64*l))
	}
	ADDQ(field(f.a, dwXStep), f.x)
	ADDQ(field(f.a, dwYStep), f.y)
	DECQ(field(f.a, dwN))
	JNZ(LabelRef("step"))
	VZEROUPPER()
	RET()
}

// depthwiseLine computes a line of 3×3 windows column by column: the bytes of a
// column's three rows are interleaved once and serve every window that has the
// column, each with weights of its own.
func depthwiseLine(stride int, name string) {
	f := &dwFrame{a: text(name, "dwLineArgs", fmt.Sprintf("computes a line of 3×3 windows with stride %d.", stride))}
	f.y = load(f.a, dwlY)
	f.constants(dwlZero, dwlLeast, dwlMost, dwlYFlip, dwlMult, dwlMask)
	var rows [3]reg.GPVirtual
	for i := range rows {
		rows[i] = load(f.a, dwlRows+8*i)
	}
	w, init, last, n := load(f.a, dwlW), load(f.a, dwlInit), load(f.a, dwlLast), load(f.a, dwlN)
	x := GP64()
	XORQ(x, x)
	none := ZMM()
	VPXORD(none, none, none)

	// column gives the interleaved bytes of the next column.
	column := func() [4]reg.VecVirtual {
		x4 := [4]reg.VecVirtual{ZMM(), ZMM(), ZMM(), none}
		for i, r := range rows {
			VMOVDQU32(Mem{Base: r, Index: x, Scale: 1}, x4[i])
		}
		ADDQ(field(f.a, dwlXStep), x)
		return interleave(x4)
	}
	add := func(acc, q [4]reg.VecVirtual, col int) {
		for v := range acc {
			VPDPBUSD(at(w, 256*col+64*v), q[v], acc[v])
		}
	}
	begin := func(acc [4]reg.VecVirtual) {
		for v := range acc {
			VMOVDQU32(at(init, 64*v), acc[v])
		}
	}
	write := func(acc [4]reg.VecVirtual) {
		VMOVDQU8(f.finish(acc), reg.K1, at(f.y, 0))
		ADDQ(field(f.a, dwlYStep), f.y)
	}
	acc, next := start(load(f.a, dwlFirst)), [4]reg.VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	move := func(from, to [4]reg.VecVirtual) {
		for v := range from {
			VMOVDQA32(from[v], to[v])
		}
	}
	if stride == 1 {
		// acc is the window that the last column was the middle of, next the one
		// that it began.
		q := column()
		begin(next)
		add(acc, q, 1)
		add(next, q, 0)
		TESTQ(n, n)
		JZ(LabelRef("end"))
		Label("step")
		q = column()
		add(acc, q, 2)
		write(acc)
		move(next, acc)
		add(acc, q, 1)
		begin(next)
		add(next, q, 0)
		DECQ(n)
		JNZ(LabelRef("step"))
		Label("end")
	} else {
		CMPL(field(f.a, dwlLead), Imm(0))
		JE(LabelRef("begun"))
		add(acc, column(), 0)
		Label("begun")
		TESTQ(n, n)
		JZ(LabelRef("end"))
		Label("step")
		add(acc, column(), 1)
		q := column()
		add(acc, q, 2)
		begin(next)
		add(next, q, 0)
		write(acc)
		move(next, acc)
		DECQ(n)
		JNZ(LabelRef("step"))
		Label("end")
		CMPL(field(f.a, dwlTail), Imm(0))
		JE(LabelRef("done"))
		add(acc, column(), 1)
	}
	for v := range acc {
		VPADDD(at(last, 64*v), acc[v], acc[v])
	}
	write(acc)
	Label("done")
	VZEROUPPER()
	RET()
}
