package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// machine is how one instruction set multiplies: its vector registers and the
// step acc += x·w of a broadcast group x with weights w.
type machine struct {
	bytes  int
	regs   []reg.VecPhysical
	mulAdd func(x, w, acc, tmp reg.VecPhysical)
	temps  int // registers that mulAdd needs beside its operands
}

func (m *machine) move(from, to Op) {
	if m.bytes == 64 {
		VMOVDQU32(from, to)
	} else {
		VMOVDQU(from, to)
	}
}

var vnni512 = machine{
	bytes: 64, regs: zmms,
	mulAdd: func(x, w, acc, _ reg.VecPhysical) { VPDPBUSD(w, x, acc) },
}

var vnni256 = machine{
	bytes: 32, regs: ymms,
	mulAdd: func(x, w, acc, _ reg.VecPhysical) { vexVPDPBUSD(w, x, acc) },
}

var words256 = machine{
	bytes: 32, regs: ymms, temps: 1,
	mulAdd: func(x, w, acc, tmp reg.VecPhysical) {
		VPMADDWD(w, x, tmp)
		VPADDD(tmp, acc, acc)
	},
}

// vexVPDPBUSD writes the bytes of VEX.256.66.0F38.W0 50 /r, which Go's assembler
// only knows in its EVEX form.
func vexVPDPBUSD(w, x, acc reg.VecPhysical) {
	n := func(r reg.VecPhysical) uint32 { return uint32(r.PhysicalIndex()) }
	b1 := uint32(0x42) // X clear, map 0F38
	if n(acc) < 8 {
		b1 |= 0x80
	}
	if n(w) < 8 {
		b1 |= 0x20
	}
	b2 := ^n(x)&15<<3 | 0x05 // 256 bits, 66
	Comment(fmt.Sprintf("VPDPBUSD Y%d, Y%d, Y%d", n(w), n(x), n(acc)))
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(0x50<<24 | b2<<16 | b1<<8 | 0xC4)}})
	Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(0xC0 | n(acc)&7<<3 | n(w)&7)}})
}

// gemm writes one kernel. Rows are addressed in threes from one pointer. The
// weights of a step stay in registers while the rows' groups are broadcast;
// where registers are short, half of them at a time.
func gemm(name string, m machine, rows, vecs int) {
	a := text(name, "gemmArgs", fmt.Sprintf("computes tiles of %d rows; it advances a.", rows))
	x, step, quads := load(a, gemmX), load(a, gemmXStep), load(a, gemmQuads)
	var ahead reg.GPVirtual
	var aheadStep Op = field(a, gemmAheadStep)
	if m.bytes == 64 {
		ahead = load(a, gemmAhead)
		if rows <= 12 { // more rows leave no register
			aheadStep = load(a, gemmAheadStep)
		}
	}
	acc := func(r, v int) reg.VecPhysical { return m.regs[r*vecs+v] }
	held := vecs
	for rows*vecs+held+1+m.temps > len(m.regs) {
		held = (held + 1) / 2
	}
	ws := m.regs[rows*vecs:][:held]
	free := m.regs[rows*vecs+held:]
	used := 0
	take := func() reg.VecPhysical {
		used++
		return free[used%len(free)]
	}

	Label("tile")
	init := load(a, gemmInit)
	if m.bytes == 64 {
		CMPQ(field(a, gemmRowAdd), Imm(0))
		JNE(LabelRef("rowAdd"))
	}
	for v := range vecs {
		m.move(at(init, v*m.bytes), acc(0, v))
	}
	for r := 1; r < rows; r++ {
		for v := range vecs {
			m.move(acc(0, v), acc(r, v))
		}
	}
	Label("start")
	w, runs, left := load(a, gemmW), load(a, gemmRuns), load(a, gemmNumRuns)

	Label("run")
	bases := make([]reg.GPVirtual, (rows+2)/3)
	for i := range bases {
		bases[i] = GP64()
		if i == 0 {
			MOVQ(at(runs, 0), bases[0])
			ADDQ(x, bases[0])
			continue
		}
		LEAQ(Mem{Base: bases[i-1], Index: step, Scale: 2}, bases[i])
		ADDQ(step, bases[i])
	}
	ADDQ(Imm(8), runs)
	k := GP64()
	MOVQ(quads, k)

	Label("step")
	for first := 0; first < vecs; first += held {
		n := min(held, vecs-first)
		for i := range n {
			m.move(at(w, (first+i)*m.bytes), ws[i])
		}
		for r := range rows {
			b := take()
			row := Mem{Base: bases[r/3]}
			if i := r % 3; i > 0 {
				row.Index, row.Scale = step, uint8(i)
			}
			VPBROADCASTD(row, b)
			for i := range n {
				var tmp reg.VecPhysical
				if m.temps > 0 {
					for tmp = take(); tmp == b; tmp = take() {
					}
				}
				m.mulAdd(b, ws[i], acc(r, first+i), tmp)
			}
		}
	}
	if m.bytes == 64 {
		PREFETCHT1(at(ahead, 0))
		ADDQ(aheadStep, ahead)
	}
	ADDQ(I32(vecs*m.bytes), w)
	for _, b := range bases {
		ADDQ(Imm(4), b)
	}
	DECQ(k)
	JNZ(LabelRef("step"))
	DECQ(left)
	JNZ(LabelRef("run"))

	if m.bytes == 64 {
		gemmPacked(a, rows, vecs, acc, append(append([]reg.VecPhysical{}, ws...), free...))
	}
	sums, sumStep := load(a, gemmSums), load(a, gemmSumStep)
	for r := range rows {
		for v := range vecs {
			m.move(acc(r, v), at(sums, v*m.bytes))
		}
		ADDQ(sumStep, sums)
	}
	MOVQ(sums, field(a, gemmSums))
	Label("next")
	for range rows {
		ADDQ(step, x)
	}
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	if m.bytes == 64 {
		MOVQ(ahead, field(a, gemmAhead))
	}
	VZEROUPPER()
	RET()
	if m.bytes == 64 {
		addToRows(a, init, rows, vecs, acc, ws)
	}
}

// addToRows starts a tile with sums to which what is said for each row is added.
func addToRows(a reg.Register, init reg.GPVirtual, rows, vecs int, acc func(r, v int) reg.VecPhysical, free []reg.VecPhysical) {
	Label("rowAdd")
	add := load(a, gemmRowAdd)
	for first := 0; first < vecs; first += len(free) {
		n := min(len(free), vecs-first)
		for i := range n {
			VMOVDQU32(at(init, (first+i)*64), free[i])
		}
		for r := range rows {
			for i := range n {
				VPADDD_BCST(at(add, 4*r), free[i], acc(r, first+i))
			}
		}
	}
	ADDQ(I32(int32(4*rows)), add)
	MOVQ(add, field(a, gemmRowAdd))
	JMP(LabelRef("start"))
}

// gemmPacked writes rows of 8-bit results: sums to float32, times the column's
// factor, to int32 again, packed, and clamped as bytes. (Sums are bounded.)
func gemmPacked(a reg.Register, rows, vecs int, acc func(r, v int) reg.VecPhysical, free []reg.VecPhysical) {
	p := load(a, gemmPack)
	TESTQ(p, p)
	JZ(LabelRef("sums"))
	order, zero, least := free[0], free[1], free[2]
	VMOVDQU32(at(p, packOrder), order)
	VMOVDQU32(at(p, packZero), zero)
	VMOVDQU32(at(p, packLeast), least)
	mult, y, yStep := load(a, gemmMult), load(a, gemmY), load(a, gemmYStep)
	KMOVQ(field(a, gemmMask), reg.K1)
	residual := load(a, gemmRes)
	TESTQ(residual, residual)
	JNZ(LabelRef("residual"))
	row := func(r int) []reg.VecPhysical {
		q := make([]reg.VecPhysical, vecs)
		for v := range q {
			q[v] = acc(r, v)
		}
		scaleRow(q, func(v int) Op { return at(mult, 64*v) })
		return q
	}
	for r := range rows {
		packRow(p, row(r), zero, least, order, at(y, 0), nil)
		ADDQ(yStep, y)
	}
	MOVQ(y, field(a, gemmY))
	JMP(LabelRef("next"))

	Label("residual")
	x2 := load(a, gemmDelta)
	ADDQ(y, x2)
	res, other := free[1], free[2]
	loadResidual(at(x2, 0), vecs, res)
	for r := range rows {
		q := addResidual(p, row(r), res, other, free[3], order, false)
		packRow(p, q, at(p, packZero), at(p, packLeast), order, at(y, 0), func() {
			if r < rows-1 {
				ADDQ(yStep, x2)
				loadResidual(at(x2, 0), vecs, other)
			}
		})
		res, other = other, res
		ADDQ(yStep, y)
	}
	MOVQ(y, field(a, gemmY))
	JMP(LabelRef("next"))
	Label("sums")
}
