package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of f32.winogradTile.
const (
	winoX, winoY, winoRow, winoStep, winoTile, winoPos = 0, 8, 16, 24, 32, 40
	winoTmp, winoN, winoC, winoBias, winoRes           = 48, 56, 64, 72, 80
	winoLo, winoHi                                     = 88, 92
)

// The points of F(4×4, 3×3), as in fmath.
const pointA, pointB = 0.625, 1.5

// winogradKernel is one transform: tiles of m×m results, vectors of channels.
type winogradKernel struct {
	emitter
	m, side int
	t       reg.Register
	co      reg.GPVirtual // byte offset of the channels
	x, y    reg.GPVirtual // of the tile
	mask    reg.Register
}

func winograd() {
	for _, v := range []vecISA{avx512, avx2} {
		for _, m := range []int{2, 4} {
			for _, output := range []bool{false, true} {
				w := &winogradKernel{emitter: emitter{v}, m: m, side: m + 2}
				w.emit(output)
			}
		}
	}
	fmt.Fprintln(&stubs, "// vectorWinograds lists the transforms by the width of a tile's results.\nvar vectorWinograds = []struct { m int; avx512, avx2 winogradFuncs }{")
	for _, m := range []int{2, 4} {
		fmt.Fprintf(&stubs, "{%d", m)
		for _, v := range []vecISA{avx512, avx2} {
			fmt.Fprintf(&stubs, ", winogradFuncs{winogradInput%d%s, winogradOutput%d%s}", m, v.name, m, v.name)
		}
		fmt.Fprintln(&stubs, "},")
	}
	fmt.Fprintln(&stubs, "}")
}

func (w *winogradKernel) field(off int) Mem { return Mem{Base: w.t, Disp: off} }

func (w *winogradKernel) get(off int) reg.GPVirtual {
	r := GP64()
	MOVQ(w.field(off), r)
	return r
}

// emit writes the loops over tiles and vectors of channels.
func (w *winogradKernel) emit(output bool) {
	what, doc := "Input", "transforms tiles of pixels to their positions."
	body := w.input
	if output {
		what, doc = "Output", "brings sums at the positions of tiles to results."
		body = w.output
	}
	text(fmt.Sprintf("winograd%s%d%s", what, w.m, w.v.name), "(t *winogradTile)", doc)
	w.t = Load(Param("t"), GP64())
	rest := w.get(winoC)
	ANDQ(Imm(uint64(w.v.lanes()-1)), rest)
	w.mask = w.restMask(rest)
	w.x, w.y, w.co = w.get(winoX), w.get(winoY), GP64()
	n := w.get(winoN)
	Label("tile")
	XORQ(w.co, w.co)
	Label("channels")
	left := w.get(winoC)
	SHLQ(Imm(2), left)
	SUBQ(w.co, left)
	CMPQ(left, Imm(uint64(w.v.bytes)))
	JLT(LabelRef("rest"))
	body(nil)
	ADDQ(Imm(uint64(w.v.bytes)), w.co)
	JMP(LabelRef("channels"))
	Label("rest")
	TESTQ(left, left)
	JZ(LabelRef("next"))
	body(w.mask)
	Label("next")
	// Pixels go on by m, positions by a tile.
	pixels, positions := w.x, w.y
	if output {
		pixels, positions = w.y, w.x
	}
	ADDQ(w.field(winoTile), positions)
	step := w.get(winoStep)
	SHLQ(Imm(uint64(w.m/2)), step) // 2 or 4 of them
	ADDQ(step, pixels)
	if output {
		skip := label("nores")
		CMPQ(w.field(winoRes), Imm(0))
		JEQ(LabelRef(skip))
		ADDQ(step, w.field(winoRes))
		Label(skip)
	}
	DECQ(n)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// apart makes a distance with the multiples that n of them need.
func apart(s reg.GPVirtual, n int) strides {
	d := strides{s1: s}
	if n > 3 {
		d.s3 = GP64()
	}
	if n > 5 {
		d.s5 = GP64()
	}
	d.multiply()
	return d
}

// tmp addresses a vector between the two passes.
func (w *winogradKernel) tmp(base reg.Register, i, j int) Mem {
	return Mem{Base: base, Disp: (i*w.side + j) * w.v.bytes}
}

func (w *winogradKernel) input(mask reg.Register) {
	tmp, step := w.get(winoTmp), w.get(winoStep)
	rows := apart(w.get(winoRow), w.side)
	p := GP64()
	LEAQ(Mem{Base: w.x, Index: w.co, Scale: 1}, p)
	for j := range w.side {
		x := make([]vec, w.side)
		for i := range x {
			x[i] = w.maskedLoad(rows.from(p, i), mask)
		}
		for i, r := range w.inputLine(x) {
			VMOVUPS(r, w.tmp(tmp, i, j))
		}
		if j < w.side-1 {
			ADDQ(step, p)
		}
	}
	places := apart(w.get(winoPos), w.side)
	next := GP64()
	if w.side == 4 {
		MOVQ(places.s1, next)
		SHLQ(Imm(2), next)
	} else {
		LEAQ(Mem{Base: places.s3, Index: places.s3, Scale: 1}, next)
	}
	q := GP64()
	LEAQ(Mem{Base: w.y, Index: w.co, Scale: 1}, q)
	for i := range w.side {
		x := make([]vec, w.side)
		for j := range x {
			x[j] = w.load(w.tmp(tmp, i, j))
		}
		for j, r := range w.inputLine(x) {
			w.maskedStore(r, places.from(q, j), mask)
		}
		if i < w.side-1 {
			ADDQ(next, q)
		}
	}
}

// plus returns z + c·x and minus z − c·x, rounded once.
func (w *winogradKernel) plus(z, x vec, c float32) vec {
	r := w.copy(z)
	VFMADD231PS(w.c(c), x, r)
	return r
}

func (w *winogradKernel) minus(z, x vec, c float32) vec {
	r := w.copy(z)
	VFNMADD231PS(w.c(c), x, r)
	return r
}

// inputLine is fmath's winogradInputLine.
func (w *winogradKernel) inputLine(x []vec) []vec {
	if w.m == 2 {
		return []vec{w.sub(x[0], x[2]), w.add(x[1], x[2]), w.sub(x[2], x[1]), w.sub(x[1], x[3])}
	}
	const a2, b2 = pointA * pointA, pointB * pointB
	y := make([]vec, 6)
	y[0] = w.plus(w.minus(x[4], x[2], a2+b2), x[0], a2*b2)
	y[5] = w.plus(w.minus(x[5], x[3], a2+b2), x[1], a2*b2)
	t1, t2 := w.minus(x[4], x[2], b2), w.minus(x[3], x[1], b2)
	y[1], y[2] = w.plus(t1, t2, pointA), w.minus(t1, t2, pointA)
	t3, t4 := w.minus(x[4], x[2], a2), w.minus(x[3], x[1], a2)
	y[3], y[4] = w.plus(t3, t4, pointB), w.minus(t3, t4, pointB)
	return y
}

// outputLine is fmath's winogradOutputLine.
func (w *winogradKernel) outputLine(x []vec) []vec {
	if w.m == 2 {
		return []vec{w.add(w.add(x[0], x[1]), x[2]), w.sub(w.sub(x[1], x[2]), x[3])}
	}
	const a2, b2 = pointA * pointA, pointB * pointB
	s1, d1, s2, d2 := w.add(x[1], x[2]), w.sub(x[1], x[2]), w.add(x[3], x[4]), w.sub(x[3], x[4])
	return []vec{
		w.add(w.add(x[0], s1), s2),
		w.plus(w.mul(d1, w.c(pointA)), d2, pointB),
		w.plus(w.mul(s1, w.c(a2)), s2, b2),
		w.plus(w.plus(x[5], d1, pointA*a2), d2, pointB*b2),
	}
}

func (w *winogradKernel) output(mask reg.Register) {
	tmp, pos, line := w.get(winoTmp), w.get(winoPos), GP64()
	if w.side == 4 {
		MOVQ(pos, line)
		SHLQ(Imm(2), line)
	} else {
		LEAQ(Mem{Base: pos, Index: pos, Scale: 2}, line)
		ADDQ(line, line)
	}
	lines := apart(line, w.side)
	p := GP64()
	LEAQ(Mem{Base: w.x, Index: w.co, Scale: 1}, p)
	for j := range w.side {
		x := make([]vec, w.side)
		for i := range x {
			x[i] = w.maskedLoad(lines.from(p, i), mask)
		}
		for i, r := range w.outputLine(x) {
			VMOVUPS(r, w.tmp(tmp, i, j))
		}
		if j < w.side-1 {
			ADDQ(pos, p)
		}
	}
	steps, row := apart(w.get(winoStep), w.m), w.get(winoRow)
	q, res := GP64(), w.get(winoRes)
	LEAQ(Mem{Base: w.y, Index: w.co, Scale: 1}, q)
	for i := range w.m {
		x := make([]vec, w.side)
		for j := range x {
			x[j] = w.load(w.tmp(tmp, i, j))
		}
		y := w.outputLine(x)
		b := w.get(winoBias)
		bias := w.load(Mem{Base: b, Index: w.co, Scale: 1})
		for _, r := range y {
			VADDPS(bias, r, r)
		}
		act := label("act")
		TESTQ(res, res)
		JZ(LabelRef(act))
		at := GP64()
		LEAQ(Mem{Base: res, Index: w.co, Scale: 1}, at)
		for j, r := range y {
			if mask == nil {
				VADDPS(steps.from(at, j), r, r)
			} else {
				VADDPS(w.maskedLoad(steps.from(at, j), mask), r, r)
			}
		}
		if i < w.m-1 {
			ADDQ(row, res)
		}
		Label(act)
		lo, hi := w.reg(), w.reg()
		VBROADCASTSS(w.field(winoLo), lo)
		VBROADCASTSS(w.field(winoHi), hi)
		for j, r := range y {
			VMAXPS(r, lo, r)
			VMINPS(r, hi, r)
			w.maskedStore(r, steps.from(q, j), mask)
		}
		if i < w.m-1 {
			ADDQ(row, q)
		}
	}
}
