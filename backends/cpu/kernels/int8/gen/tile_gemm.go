package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "github.com/nasc-dev/nasc/backends/cpu/kernels/amx"
)

// rowsAStep is how many rows of the last tile's sums are packed while a step's
// products run.
const rowsAStep = 4

// waits is the bit of the count of rows to be packed that says: not in the
// tile's first step, while their sums are still on the way to memory and what
// waits for them would keep the products from being issued.
const waits = 63

// tileGemm is what the kernels of rows×cols tile registers of sums share. What the
// tiles hold is in newTileConfig of package int8: sums in tiles 0 to 3, then rows of
// x, weights in the last. They hold no more than they must: beside a busy neighbour
// kernels that hold all eight are slower, most likely because none are left for
// renaming.
type tileGemm struct {
	a                                   reg.Register
	rows, cols                          int
	ptr                                 []reg.GPPhysical // to the rows of x
	step, w, wStep, sums, sumsStep, tmp reg.GPPhysical
	pending                             reg.GPVirtual // rows that are to be packed
}

// newTileGemm begins a kernel.
func newTileGemm(a reg.Register, rows, cols int) *tileGemm {
	t := &tileGemm{
		a: a, rows: rows, cols: cols, ptr: []reg.GPPhysical{reg.R9, reg.R10, reg.R11, reg.R12}[:rows],
		step: reg.R8, w: reg.RSI, wStep: reg.RDI, sums: reg.RBX, sumsStep: reg.RCX, tmp: reg.RAX,
	}
	configure(a, t.tmp, t.step, t.sumsStep)
	MOVQ(U32(64*cols), t.wStep)
	return t
}

// configure sets the tile registers up, and how far their rows lie apart.
func configure(a reg.Register, tmp, step, sumsStep reg.GPPhysical) {
	MOVQ(field(a, gemmConfig), tmp)
	LDTILECFG(tmp)
	MOVQ(field(a, gemmXStep), step)
	MOVQ(field(a, gemmSumStep), sumsStep)
}

func (t *tileGemm) acc(r, c int) uint8 { return uint8(r*t.cols + c) }

// x is the register of tile row r; the last may be lower than the others.
func (t *tileGemm) x(r int) uint8 {
	switch {
	case t.rows == 2 && t.cols == 2:
		return 4 + uint8(r)
	case t.rows > 1 && r == t.rows-1:
		return 6
	}
	return 4
}

// tileWeightsReg is the register of weights.
const tileWeightsReg = 7

func (t *tileGemm) copyField(from, to int) {
	MOVQ(field(t.a, from), t.tmp)
	MOVQ(t.tmp, field(t.a, to))
}

func (t *tileGemm) zero() {
	for i := range t.rows * t.cols {
		TILEZERO(uint8(i))
	}
}

// products goes through the runs of a tile, whose registers lie tall apart in x, and
// moves on in x by move a step. rows of the last tile's sums are packed among the
// products, then what is left of them.
func (t *tileGemm) products(tall, move Op, row func(set int)) {
	MOVQ(field(t.a, gemmW), t.w)
	t.copyField(gemmRuns, gemmRunNow)
	t.copyField(gemmNumRuns, gemmRunsLeft)

	Label("run")
	MOVQ(field(t.a, gemmRunNow), t.tmp)
	MOVQ(at(t.tmp, 0), t.ptr[0])
	ADDQ(field(t.a, gemmXNow), t.ptr[0])
	for i := 1; i < t.rows; i++ {
		MOVQ(tall, t.ptr[i])
		ADDQ(t.ptr[i-1], t.ptr[i])
	}
	ADDQ(Imm(8), field(t.a, gemmRunNow))
	k := load(t.a, gemmQuads)
	Label("step")
	slots := t.rows * t.cols // of a step, one behind each product
	for c := range t.cols {
		TILELOADD(t.w, t.wStep, 64*c, tileWeightsReg)
		for r := range t.rows {
			if c == 0 {
				TILELOADD(t.ptr[r], t.step, 0, t.x(r))
			}
			TDPBUSD(tileWeightsReg, t.x(r), t.acc(r, c))
			slot := c*t.rows + r
			for i := slot * rowsAStep / slots; i < (slot+1)*rowsAStep/slots; i++ {
				idle := fmt.Sprint("idle", i)
				TESTQ(t.pending, t.pending)
				JLE(LabelRef(idle))
				row(i & 1)
				DECQ(t.pending)
				Label(idle)
			}
		}
	}
	BTRQ(Imm(waits), t.pending)
	for _, p := range t.ptr {
		ADDQ(move, p)
	}
	ADDQ(I32(1024*t.cols), t.w)
	fetchAhead(t.a, t.tmp, t.sums)
	DECQ(k)
	JNZ(LabelRef("step"))
	DECQ(field(t.a, gemmRunsLeft))
	JNZ(LabelRef("run"))

	TESTQ(t.pending, t.pending)
	JZ(LabelRef("store"))
	t.rest("rest", row)
	Label("store")
}

// rest packs the rows that are left, of which there is one at least.
func (t *tileGemm) rest(name string, row func(set int)) {
	Label(name)
	row(0)
	DECQ(t.pending)
	JNZ(LabelRef(name))
}

// store writes the sums of a tile to where t.sums points.
func (t *tileGemm) store() {
	for r := range t.rows {
		for c := range t.cols {
			TILESTORED(t.acc(r, c), t.sums, t.sumsStep, 64*c)
		}
		if r < t.rows-1 {
			ADDQ(field(t.a, gemmSumTall), t.sums)
		}
	}
}

// fetchAhead moves what the next block of weights needs towards the second level
// cache.
func fetchAhead(a, ahead, end reg.Register) {
	MOVQ(field(a, gemmAhead), ahead)
	CMPQ(ahead, field(a, gemmAheadEnd))
	JAE(LabelRef("fetched"))
	MOVQ(field(a, gemmAheadStep), end)
	ADDQ(ahead, end)
	MOVQ(end, field(a, gemmAhead))
	Label("fetch")
	PREFETCHT1(at(ahead, 0))
	ADDQ(Imm(64), ahead)
	CMPQ(ahead, end)
	JB(LabelRef("fetch"))
	Label("fetched")
}
