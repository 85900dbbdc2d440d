// Command gen writes the assembly of package move: three planes of pixels
// brought together, which is how pictures in NCHW become NHWC.
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
