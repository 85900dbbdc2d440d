// Command gen writes the assembly of package move: three planes of pixels
// brought together, which is how pictures in NCHW become NHWC, and blocks of
// matrices transposed.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	Package("github.com/nasc-dev/nasc/backends/cpu/kernels/move")
	ConstraintExpr("amd64")
	interleaveBytes()
	interleaveWords()
	turnBytes()
	turnWords()
	Generate()
}

// interleaveBytes: result byte 16k+j is of plane (16k+j)%3, so each result
// vector is three shuffles of 16 bytes of a plane, or'ed.
func interleaveBytes() {
	TEXT("interleave3x1", NOSPLIT, "func(y, a, b, c *byte, n int)")
	Doc("interleave3x1 writes a[i], b[i], c[i] to y[3i:] for n bytes, a multiple of 16.")
	Pragma("noescape")
	y := Load(Param("y"), GP64())
	planes := []reg.Register{Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("c"), GP64())}
	n := Load(Param("n"), GP64())
	var masks [3][3]reg.VecVirtual
	for k := range 3 {
		for p := range 3 {
			m := GLOBL(fmt.Sprintf("bytes%d%d", k, p), RODATA|NOPTR)
			for j := range 16 {
				at := 16*k + j
				v := U8(0x80)
				if at%3 == p {
					v = U8(at / 3)
				}
				DATA(j, v)
			}
			masks[k][p] = XMM()
			VMOVDQU(m, masks[k][p])
		}
	}
	i := GP64()
	XORQ(i, i)
	Label("loop")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	var x [3]reg.VecVirtual
	for p := range 3 {
		x[p] = XMM()
		VMOVDQU(Mem{Base: planes[p], Index: i, Scale: 1}, x[p])
	}
	for k := range 3 {
		r, t := XMM(), XMM()
		VPSHUFB(masks[k][0], x[0], r)
		VPSHUFB(masks[k][1], x[1], t)
		VPOR(t, r, r)
		VPSHUFB(masks[k][2], x[2], t)
		VPOR(t, r, r)
		VMOVDQU(r, Mem{Base: y, Disp: 16 * k})
	}
	ADDQ(Imm(48), y)
	ADDQ(Imm(16), i)
	JMP(LabelRef("loop"))
	Label("done")
	RET()
}

// interleaveWords does the same with 4-byte elements, eight of a plane at once.
func interleaveWords() {
	TEXT("interleave3x4", NOSPLIT, "func(y, a, b, c *byte, n int)")
	Doc("interleave3x4 writes 4-byte elements a[i], b[i], c[i] to y[3i:] for n elements, a multiple of 8.")
	Pragma("noescape")
	y := Load(Param("y"), GP64())
	planes := []reg.Register{Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("c"), GP64())}
	n := Load(Param("n"), GP64())
	var index [3][3]reg.VecVirtual
	var blend [3][3]uint64
	for k := range 3 {
		for p := range 3 {
			m := GLOBL(fmt.Sprintf("words%d%d", k, p), RODATA|NOPTR)
			for j := range 8 {
				at := 8*k + j
				v := U32(0)
				if at%3 == p {
					v = U32(at / 3)
					blend[k][p] |= 1 << j
				}
				DATA(4*j, v)
			}
			index[k][p] = YMM()
			VMOVDQU(m, index[k][p])
		}
	}
	i := GP64()
	XORQ(i, i)
	Label("words")
	CMPQ(i, n)
	JGE(LabelRef("end"))
	for k := range 3 {
		r := YMM()
		VPERMD(Mem{Base: planes[0], Index: i, Scale: 4}, index[k][0], r)
		for p := 1; p < 3; p++ {
			t := YMM()
			VPERMD(Mem{Base: planes[p], Index: i, Scale: 4}, index[k][p], t)
			VPBLENDD(Imm(blend[k][p]), t, r, r)
		}
		VMOVDQU(r, Mem{Base: y, Disp: 32 * k})
	}
	ADDQ(Imm(96), y)
	ADDQ(Imm(8), i)
	JMP(LabelRef("words"))
	Label("end")
	VZEROUPPER()
	RET()
}

// rows gives the addresses of count rows a stride apart, from two bases and
// three strides: row k is base[k/4] + (k%4)·stride.
func rows(base reg.Register, stride reg.Register, count int) []Mem {
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	bases := []reg.Register{base}
	if count > 4 {
		second := GP64()
		LEAQ(Mem{Base: base, Index: stride, Scale: 4}, second)
		bases = append(bases, second)
	}
	var out []Mem
	for k := range count {
		b := bases[k/4]
		switch k % 4 {
		case 0:
			out = append(out, Mem{Base: b})
		case 3:
			out = append(out, Mem{Base: b, Index: three, Scale: 1})
		default:
			out = append(out, Mem{Base: b, Index: stride, Scale: uint8(k % 4)})
		}
	}
	return out
}

// turnBytes transposes 8×8 bytes at a time by three rounds of unpacking.
func turnBytes() {
	TEXT("turn8x1", NOSPLIT, "func(y, x *byte, ys, xs, n int)")
	Doc("turn8x1 writes column i of 8 rows of bytes, xs apart, as row i of y, ys bytes apart, for n columns, a multiple of 8.")
	Pragma("noescape")
	y, x := Load(Param("y"), GP64()), Load(Param("x"), GP64())
	ys, xs, n := Load(Param("ys"), GP64()), Load(Param("xs"), GP64()), Load(Param("n"), GP64())
	Label("turn8")
	TESTQ(n, n)
	JLE(LabelRef("turned8"))
	in := rows(x, xs, 8)
	var r [8]reg.VecVirtual
	for k := range r {
		r[k] = XMM()
		VMOVQ(in[k], r[k])
	}
	var a, b, c [4]reg.VecVirtual
	for k := range 4 { // bytes of rows 2k, 2k+1 in turns
		a[k] = XMM()
		VPUNPCKLBW(r[2*k+1], r[2*k], a[k])
	}
	for k := range 2 { // of four rows: columns 0-3, 4-7
		b[2*k], b[2*k+1] = XMM(), XMM()
		VPUNPCKLWD(a[2*k+1], a[2*k], b[2*k])
		VPUNPCKHWD(a[2*k+1], a[2*k], b[2*k+1])
	}
	for k := range 2 { // of all eight: columns 0-1, 2-3, 4-5, 6-7
		c[2*k], c[2*k+1] = XMM(), XMM()
		VPUNPCKLDQ(b[2+k], b[k], c[2*k])
		VPUNPCKHDQ(b[2+k], b[k], c[2*k+1])
	}
	out := rows(y, ys, 8)
	for k := range 4 {
		VMOVQ(c[k], out[2*k])
		VMOVHPS(c[k], out[2*k+1])
	}
	ADDQ(Imm(8), x)
	LEAQ(Mem{Base: y, Index: ys, Scale: 8}, y)
	SUBQ(Imm(8), n)
	JMP(LabelRef("turn8"))
	Label("turned8")
	RET()
}

// turnWords transposes 4×4 elements of 4 bytes at a time.
func turnWords() {
	TEXT("turn4x4", NOSPLIT, "func(y, x *byte, ys, xs, n int)")
	Doc("turn4x4 writes column i of 4 rows of 4-byte elements, xs bytes apart, as row i of y, ys bytes apart, for n columns, a multiple of 4.")
	Pragma("noescape")
	y, x := Load(Param("y"), GP64()), Load(Param("x"), GP64())
	ys, xs, n := Load(Param("ys"), GP64()), Load(Param("xs"), GP64()), Load(Param("n"), GP64())
	Label("turn4")
	TESTQ(n, n)
	JLE(LabelRef("turned4"))
	in := rows(x, xs, 4)
	var r, a [4]reg.VecVirtual
	for k := range r {
		r[k] = XMM()
		VMOVUPS(in[k], r[k])
	}
	for k := range 2 { // of rows 2k, 2k+1: columns 0-1, 2-3
		a[2*k], a[2*k+1] = XMM(), XMM()
		VUNPCKLPS(r[2*k+1], r[2*k], a[2*k])
		VUNPCKHPS(r[2*k+1], r[2*k], a[2*k+1])
	}
	out := rows(y, ys, 4)
	for k := range 2 {
		lo, hi := XMM(), XMM()
		VUNPCKLPD(a[2+k], a[k], lo)
		VUNPCKHPD(a[2+k], a[k], hi)
		VMOVUPS(lo, out[2*k])
		VMOVUPS(hi, out[2*k+1])
	}
	ADDQ(Imm(16), x)
	LEAQ(Mem{Base: y, Index: ys, Scale: 4}, y)
	SUBQ(Imm(4), n)
	JMP(LabelRef("turn4"))
	Label("turned4")
	RET()
}
