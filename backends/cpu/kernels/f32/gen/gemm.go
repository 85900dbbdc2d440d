package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of f32.tile.
const (
	tileA, tileB, tileStride, tileKstep, tileW, tileLdw         = 0, 8, 16, 24, 32, 40
	tileOff, tileSegs, tileSeg                                  = 48, 56, 64
	tileY, tileYB, tileLdy, tileRes, tileResB, tileBias         = 72, 80, 88, 96, 104, 112
	tileLo, tileHi, tileMask, tileFlags, tileNext, tileNextStep = 120, 124, 128, 136, 144, 168
)

// vecISA is what differs between the two vector instruction sets.
type vecISA struct {
	name  string
	bytes int
	regs  []reg.VecPhysical
	rows  []int // most rows of a gemm tile of one, two, ... vectors
}

var (
	avx512 = vecISA{name: "AVX512", bytes: 64, rows: []int{14, 14, 9, 6}, regs: []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}}
	avx2 = vecISA{name: "AVX2", bytes: 32, rows: []int{6, 6}, regs: []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}}
)

func (v vecISA) lanes() int { return v.bytes / 4 }

func (v vecISA) is512() bool { return v.bytes == 64 }

// rowSet addresses rows at a common stride: up to seven from each of two bases.
type rowSet struct {
	rows int
	a, b reg.GPVirtual
	strides
	maxHalf int
}

func newRowSet(rows int) *rowSet {
	r := &rowSet{rows: rows, a: GP64(), b: GP64(), strides: strides{s1: GP64()}, maxHalf: (rows + 1) / 2}
	if r.maxHalf > 3 {
		r.s3 = GP64()
	}
	if r.maxHalf > 5 {
		r.s5 = GP64()
	}
	return r
}

// load reads the stride from memory and makes its multiples.
func (r *rowSet) load(stride Mem) {
	MOVQ(stride, r.s1)
	r.multiply()
}

func (r *rowSet) at(row, disp int) Mem {
	base := r.a
	if row >= r.maxHalf {
		base, row = r.b, row-r.maxHalf
	}
	m := r.from(base, row)
	m.Disp = disp
	return m
}

func gemm() {
	for _, v := range []vecISA{avx512, avx2} {
		for i, most := range v.rows {
			for rows := 1; rows <= most; rows++ {
				gemmKernel(v, rows, i+1)
			}
		}
	}
	for _, v := range []vecISA{avx512, avx2} {
		fmt.Fprintf(&stubs, "// gemm%s is the micro-kernels by vectors-1 and rows-1.\nvar gemm%s = [][]func(*tile){\n", v.name, v.name)
		for i, most := range v.rows {
			fmt.Fprint(&stubs, "{")
			for rows := 1; rows <= most; rows++ {
				fmt.Fprintf(&stubs, "gemm%dx%d%s,", rows, (i+1)*v.lanes(), v.name)
			}
			fmt.Fprintln(&stubs, "},")
		}
		fmt.Fprintln(&stubs, "}")
	}
}

func zero(v vecISA, r reg.VecPhysical) {
	if v.is512() {
		VPXORD(r, r, r)
		return
	}
	VXORPS(r, r, r)
}

// gemmKernel writes the micro-kernel of rows x vecs registers described at
// f32.tile.
func gemmKernel(v vecISA, rows, vecs int) {
	name := fmt.Sprintf("gemm%dx%d%s", rows, vecs*v.lanes(), v.name)
	text(name, "(t *tile)", fmt.Sprintf("computes a tile of %d rows and up to %d columns.", rows, vecs*v.lanes()))
	t := Load(Param("t"), GP64())
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	acc := func(r, c int) reg.VecPhysical { return v.regs[r*vecs+c] }
	n := len(v.regs)
	b := v.regs[n-2-max(2, vecs) : n-2]
	bc := v.regs[n-2:]

	rs := newRowSet(rows)
	// Start from zero or from y.
	mask := tailMask(v, field(tileMask), b[1])
	for r := range rows {
		for c := range vecs {
			zero(v, acc(r, c))
		}
	}
	TESTQ(U32(1), field(tileFlags))
	JZ(LabelRef("start"))
	rs.load(field(tileLdy))
	MOVQ(field(tileY), rs.a)
	MOVQ(field(tileYB), rs.b)
	for r := range rows {
		for c := range vecs {
			if c < vecs-1 {
				VMOVUPS(rs.at(r, c*v.bytes), acc(r, c))
			} else {
				mask.load(rs.at(r, c*v.bytes), acc(r, c))
			}
		}
	}
	Label("start")
	rs.load(field(tileStride))
	off, segs, count, w, ldw, kstep, next := GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	nextStep := GP64()
	MOVQ(field(tileNext), next)
	MOVQ(field(tileNextStep), nextStep)
	MOVQ(field(tileOff), off)
	MOVQ(field(tileSegs), segs)
	MOVQ(field(tileW), w)
	MOVQ(field(tileLdw), ldw)
	MOVQ(field(tileKstep), kstep)

	Label("segment")
	MOVQ(field(tileA), rs.a)
	ADDQ(Mem{Base: off}, rs.a)
	if rows > 1 {
		MOVQ(field(tileB), rs.b)
		ADDQ(Mem{Base: off}, rs.b)
	}
	ADDQ(Imm(8), off)
	MOVQ(field(tileSeg), count)
	step := func(a int, weights func(c int) Mem) {
		for c := range vecs {
			VMOVUPS(weights(c), b[c])
		}
		for r := range rows {
			VBROADCASTSS(rs.at(r, a), bc[r%2])
			for c := range vecs {
				VFMADD231PS(bc[r%2], b[c], acc(r, c))
			}
		}
	}
	first := func(c int) Mem { return Mem{Base: w, Disp: c * v.bytes} }
	second := func(c int) Mem { return Mem{Base: w, Index: ldw, Scale: 1, Disp: c * v.bytes} }
	// Values side by side: two steps at a time.
	CMPQ(kstep, Imm(4))
	JNE(LabelRef("k"))
	SUBQ(Imm(2), count)
	JB(LabelRef("last"))
	Label("two")
	step(0, first)
	step(4, second)
	// Fetch what the next calls will stream, a line every two steps.
	PREFETCHT1(Mem{Base: next})
	ADDQ(nextStep, next)
	ADDQ(Imm(8), rs.a)
	if rows > 1 {
		ADDQ(Imm(8), rs.b)
	}
	LEAQ(Mem{Base: w, Index: ldw, Scale: 2}, w)
	SUBQ(Imm(2), count)
	JAE(LabelRef("two"))
	Label("last")
	ADDQ(Imm(2), count)
	JZ(LabelRef("end"))
	Label("k")
	step(0, first)
	ADDQ(kstep, rs.a)
	if rows > 1 {
		ADDQ(kstep, rs.b)
	}
	ADDQ(ldw, w)
	DECQ(count)
	JNZ(LabelRef("k"))
	Label("end")
	DECQ(segs)
	JNZ(LabelRef("segment"))

	rs.load(field(tileLdy))
	MOVQ(field(tileY), rs.a)
	MOVQ(field(tileYB), rs.b)
	TESTQ(U32(2), field(tileFlags))
	JNZ(LabelRef("store"))

	bias := GP64()
	MOVQ(field(tileBias), bias)
	for c := range vecs {
		VMOVUPS(Mem{Base: bias, Disp: c * v.bytes}, b[c])
	}
	for r := range rows {
		for c := range vecs {
			VADDPS(b[c], acc(r, c), acc(r, c))
		}
	}
	lo, hi := bc[0], bc[1]
	VBROADCASTSS(field(tileLo), lo)
	VBROADCASTSS(field(tileHi), hi)
	mask = tailMask(v, field(tileMask), b[1])
	res := &rowSet{rows: rows, a: GP64(), b: GP64(), strides: rs.strides, maxHalf: rs.maxHalf}
	MOVQ(field(tileRes), res.a)
	MOVQ(field(tileResB), res.b)
	TESTQ(res.a, res.a)
	JZ(LabelRef("act"))
	for r := range rows {
		for c := range vecs {
			if c < vecs-1 {
				VADDPS(res.at(r, c*v.bytes), acc(r, c), acc(r, c))
			} else {
				mask.add(res.at(r, c*v.bytes), acc(r, c), b[0])
			}
		}
	}
	Label("act")
	TESTQ(U32(4), field(tileFlags))
	JNZ(LabelRef("store"))
	TESTQ(U32(8), field(tileFlags))
	JNZ(LabelRef("hardSwish"))
	for r := range rows {
		for c := range vecs {
			// The constant is the first source, so that NaN stays (fmath.Clamp).
			VMAXPS(acc(r, c), lo, acc(r, c))
			VMINPS(acc(r, c), hi, acc(r, c))
		}
	}
	JMP(LabelRef("store"))
	Label("hardSwish")
	e := emitter{v: v}
	VMOVUPS(e.c(0), lo)
	VMOVUPS(e.c(1), hi)
	for r := range rows {
		for c := range vecs {
			h := b[(r*vecs+c)%2]
			VMULPS(e.c(1.0/6), acc(r, c), h)
			VADDPS(e.c(0.5), h, h)
			VMAXPS(h, lo, h)
			VMINPS(h, hi, h)
			VMULPS(h, acc(r, c), acc(r, c))
		}
	}
	Label("store")
	mask = tailMask(v, field(tileMask), b[1])
	for r := range rows {
		for c := range vecs - 1 {
			VMOVUPS(acc(r, c), rs.at(r, c*v.bytes))
		}
	}
	c := vecs - 1
	if !v.is512() {
		// A masked store is slow there: whole vectors take the plain one.
		whole := GP64()
		MOVQ(field(tileMask), whole)
		CMPQ(whole, U32(255))
		JNE(LabelRef("partial"))
		for r := range rows {
			VMOVUPS(acc(r, c), rs.at(r, c*v.bytes))
		}
		VZEROUPPER()
		RET()
		Label("partial")
	}
	for r := range rows {
		mask.store(acc(r, c), rs.at(r, c*v.bytes))
	}
	VZEROUPPER()
	RET()
}

// tail masks the last vector of a row.
type tail struct {
	v vecISA
	k reg.Register // K1, or a vector of all-ones lanes
}

// tailMask loads the mask of the low bits set in m; AVX2 keeps it in r.
func tailMask(v vecISA, m Mem, r reg.VecPhysical) tail {
	if v.is512() {
		KMOVW(m, reg.K1)
		return tail{v, reg.K1}
	}
	n := GP64()
	POPCNTQ(m, n)
	NEGQ(n)
	tab := GP64()
	LEAQ(maskTable(), tab)
	VMOVUPS(Mem{Base: tab, Index: n, Scale: 4, Disp: 32}, r)
	return tail{v, r}
}

func (t tail) load(m Mem, r reg.VecPhysical) {
	if t.v.is512() {
		VMOVUPS_Z(m, t.k, r)
		return
	}
	VMASKMOVPS(m, t.k, r)
}

func (t tail) add(m Mem, r, tmp reg.VecPhysical) {
	if t.v.is512() {
		VADDPS(m, r, t.k, r)
		return
	}
	VMASKMOVPS(m, t.k, tmp)
	VADDPS(tmp, r, r)
}

func (t tail) store(r reg.VecPhysical, m Mem) {
	if t.v.is512() {
		VMOVUPS(r, t.k, m)
		return
	}
	VMASKMOVPS(r, t.k, m)
}

var masks *Mem

// maskTable holds eight lanes of ones, then eight of zeros.
func maskTable() Mem {
	if masks == nil {
		m := GLOBL("masks"+familyName, 8|16) // RODATA|NOPTR
		for i := range 16 {
			u := U32(0xffffffff)
			if i >= 8 {
				u = 0
			}
			DATA(i*4, u)
		}
		masks = &m
	}
	return *masks
}
