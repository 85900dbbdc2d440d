package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmVNNI writes the matrix kernels on 512 bits: v vectors of 16 channels
// times up to 28 accumulators' worth of rows.
func gemmVNNI() {
	for _, s := range []struct{ vecs, rows int }{{4, 7}, {3, 8}, {2, 14}, {1, 14}} {
		for rows := 1; rows <= s.rows; rows++ {
			gemm(fmt.Sprintf("gemmVNNI%dx%d", rows, 16*s.vecs), vnni512, rows, s.vecs)
		}
	}
}

// machine is how one instruction set multiplies: the size of a vector, the
// number of vector registers, and the step acc += x·w of a broadcast group x
// with weights w.
type machine struct {
	bytes     int
	registers int
	vector    func() reg.VecVirtual
	move      func(from, to Op)
	copy      func(from, to Op)
	broadcast func(m Mem, to Op)
	mulAdd    func(x, w, acc reg.VecVirtual, tmp reg.VecVirtual)
	temps     int
}

var vnni512 = machine{
	bytes: 64, registers: 32,
	vector:    ZMM,
	move:      func(from, to Op) { VMOVDQU32(from, to) },
	copy:      func(from, to Op) { VMOVDQA32(from, to) },
	broadcast: func(m Mem, to Op) { VPBROADCASTD(m, to) },
	mulAdd:    func(x, w, acc, _ reg.VecVirtual) { VPDPBUSD(w, x, acc) },
}

// gemm writes one kernel. Rows are addressed in threes from one pointer. The
// weights of a step stay in registers while the rows' groups are broadcast;
// where registers are short, half of them at a time.
func gemm(name string, m machine, rows, vecs int) {
	a := text(name, "gemmArgs", fmt.Sprintf("computes tiles of %d rows; it advances a.", rows))
	x, step, quads := load(a, gemmX), load(a, gemmXStep), load(a, gemmQuads)
	acc := make([][]reg.VecVirtual, rows)
	Label("tile")
	init := load(a, gemmInit)
	for r := range acc {
		acc[r] = make([]reg.VecVirtual, vecs)
		for v := range vecs {
			acc[r][v] = m.vector()
			if r == 0 {
				m.move(at(init, v*m.bytes), acc[0][v])
			} else {
				m.copy(acc[0][v], acc[r][v])
			}
		}
	}
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
	// Registers left for weights, beside one broadcast and temporaries.
	held := vecs
	for rows*vecs+held+1+m.temps > m.registers {
		held = (held + 1) / 2
	}
	ws := make([]reg.VecVirtual, held)
	for i := range ws {
		ws[i] = m.vector()
	}
	for first := 0; first < vecs; first += held {
		n := min(held, vecs-first)
		for i := range n {
			m.move(at(w, (first+i)*m.bytes), ws[i])
		}
		for r := range rows {
			b := m.vector()
			row := Mem{Base: bases[r/3]}
			if i := r % 3; i > 0 {
				row.Index, row.Scale = step, uint8(i)
			}
			m.broadcast(row, b)
			for i := range n {
				var tmp reg.VecVirtual
				if m.temps > 0 {
					tmp = m.vector()
				}
				m.mulAdd(b, ws[i], acc[r][first+i], tmp)
			}
		}
	}
	ADDQ(I32(vecs*m.bytes), w)
	for _, b := range bases {
		ADDQ(Imm(4), b)
	}
	DECQ(k)
	JNZ(LabelRef("step"))
	DECQ(left)
	JNZ(LabelRef("run"))

	sums, sumStep := load(a, gemmSums), load(a, gemmSumStep)
	for r := range rows {
		for v := range vecs {
			m.move(acc[r][v], at(sums, v*m.bytes))
		}
		ADDQ(sumStep, sums)
	}
	MOVQ(sums, field(a, gemmSums))
	for range rows {
		ADDQ(step, x)
	}
	DECQ(field(a, gemmTiles))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}
