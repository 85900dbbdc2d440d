package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// machine is how one instruction set multiplies: its vector registers and the
// step acc += x·w of a broadcast group x with weights w, which on 512 bits may lie in
// memory.
type machine struct {
	bytes  int
	regs   []reg.VecPhysical
	mulAdd func(x reg.VecPhysical, w Op, acc, tmp reg.VecPhysical)
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
	mulAdd: func(x reg.VecPhysical, w Op, acc, _ reg.VecPhysical) { VPDPBUSD(w, x, acc) },
}

var vnni256 = machine{
	bytes: 32, regs: ymms,
	mulAdd: func(x reg.VecPhysical, w Op, acc, _ reg.VecPhysical) { vexVPDPBUSD(w.(reg.VecPhysical), x, acc) },
}

var words256 = machine{
	bytes: 32, regs: ymms, temps: 1,
	mulAdd: func(x reg.VecPhysical, w Op, acc, tmp reg.VecPhysical) {
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

// unrolled is how many steps of a run are written one behind the other on 512 bits:
// what counts steps and moves pointers takes its turn of a core's time, the more
// where two threads share it.
const unrolled = 4

// rowsAtBase is how many rows are addressed from one pointer: by the step from row
// to row, by 3 and by 5 steps.
const rowsAtBase = 7

// steps are a step from row to row, and 3 and 5 of them.
type steps struct{ one, three, five reg.GPVirtual }

func newSteps(one reg.GPVirtual, rows int) steps {
	s := steps{one: one}
	if rows >= 3 {
		s.three = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 2}, s.three)
	}
	if rows >= 5 {
		s.five = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 4}, s.five)
	}
	return s
}

// at is disp bytes into a row, one of the first rowsAtBase from p on.
func (s steps) at(p reg.GPVirtual, row, disp int) Mem {
	m := Mem{Base: p, Disp: disp}
	switch row {
	case 0:
	case 1, 2, 4:
		m.Index, m.Scale = s.one, uint8(row)
	case 3, 6:
		m.Index, m.Scale = s.three, uint8(row/3)
	case 5:
		m.Index, m.Scale = s.five, 1
	}
	return m
}

// add moves p on by rows.
func (s steps) add(rows int, p reg.GPVirtual) {
	for ; rows > rowsAtBase-1; rows -= rowsAtBase - 1 {
		LEAQ(s.at(p, rowsAtBase-1, 0), p)
	}
	LEAQ(s.at(p, rows, 0), p)
}

// gemm writes one kernel. The weights of a step stay in registers while the rows'
// groups are broadcast; where registers are short, half of them at a time, or, on 512
// bits, all but those of one vector, which each row reads from memory.
func gemm(name string, m machine, rows, vecs int) {
	a := text(name, "gemmArgs", fmt.Sprintf("computes tiles of %d rows; it advances a.", rows))
	x, step := load(a, gemmX), newSteps(load(a, gemmXStep), min(rows, rowsAtBase))
	var ahead, aheadStep reg.GPVirtual
	unroll := 1
	if m.bytes == 64 {
		ahead, aheadStep = load(a, gemmAhead), load(a, gemmAheadStep)
		unroll = unrolled
	}
	acc := func(r, v int) reg.VecPhysical { return m.regs[r*vecs+v] }
	held := vecs
	for rows*vecs+held+1+m.temps > len(m.regs) {
		if m.bytes == 64 {
			held--
		} else {
			held = (held + 1) / 2
		}
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

	bases := make([]reg.GPVirtual, (rows+rowsAtBase-1)/rowsAtBase)
	// products are those of the step that lies n steps ahead.
	products := func(n int) {
		weights := func(v int) Mem { return at(w, (n*vecs+v)*m.bytes) }
		each := held
		if m.bytes == 64 {
			each = vecs
		}
		for first := 0; first < vecs; first += each {
			count := min(each, vecs-first)
			for i := range min(count, held) {
				m.move(weights(first+i), ws[i])
			}
			for r := range rows {
				b := take()
				VPBROADCASTD(step.at(bases[r/rowsAtBase], r%rowsAtBase, 4*n), b)
				for i := range count {
					var tmp reg.VecPhysical
					if m.temps > 0 {
						for tmp = take(); tmp == b; tmp = take() {
						}
					}
					var from Op = weights(first + i)
					if i < held {
						from = ws[i]
					}
					m.mulAdd(b, from, acc(r, first+i), tmp)
				}
			}
		}
	}
	move := func(n int) {
		ADDQ(I32(int32(n*vecs*m.bytes)), w)
		for _, b := range bases {
			ADDQ(Imm(uint64(4*n)), b)
		}
	}

	Label("run")
	for i := range bases {
		bases[i] = GP64()
		if i == 0 {
			MOVQ(at(runs, 0), bases[0])
			ADDQ(x, bases[0])
			continue
		}
		MOVQ(bases[i-1], bases[i])
		step.add(rowsAtBase, bases[i])
	}
	ADDQ(Imm(8), runs)
	k := load(a, gemmQuads)
	if unroll > 1 {
		SUBQ(Imm(uint64(unroll)), k)
		JLT(LabelRef("rest"))
		Label("steps")
		for n := range unroll {
			products(n)
			if n == unroll/2-1 {
				PREFETCHT1(at(ahead, 0))
			}
		}
		PREFETCHT1(Mem{Base: ahead, Index: aheadStep, Scale: uint8(unroll / 2)})
		LEAQ(Mem{Base: ahead, Index: aheadStep, Scale: uint8(unroll)}, ahead)
		move(unroll)
		SUBQ(Imm(uint64(unroll)), k)
		JGE(LabelRef("steps"))
		Label("rest")
		ADDQ(Imm(uint64(unroll)), k)
		JZ(LabelRef("ran"))
	}
	Label("step")
	products(0)
	if m.bytes == 64 {
		PREFETCHT1(at(ahead, 0))
		ADDQ(aheadStep, ahead)
	}
	move(1)
	DECQ(k)
	JNZ(LabelRef("step"))
	if unroll > 1 {
		Label("ran")
	}
	DECQ(left)
	JNZ(LabelRef("run"))

	if m.bytes == 64 {
		t := tileSums{a: a, rows: rows, vecs: vecs, acc: acc, free: append(append([]reg.VecPhysical{}, ws...), free...)}
		t.finish()
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
	step.add(rows, x)
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
