package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose8 turns 8 rows of values into 8 columns, 8x8 values at a time.
func transpose8() {
	text("transpose8", "(dst, src *float32, dstStep, srcStep, blocks int)",
		"writes value j of row i of src to value i of row j of dst, for 8 rows i srcStep bytes apart and 8*blocks rows j dstStep bytes apart (AVX2).")
	dst, src, ds, ss, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("dstStep"), GP64()), Load(Param("srcStep"), GP64()), Load(Param("blocks"), GP64())
	mid := func(base, step reg.Register) reg.GPVirtual {
		r := GP64()
		LEAQ(Mem{Base: base, Index: step, Scale: 4}, r)
		return r
	}
	from, to := strides{s1: ss, s3: GP64()}, strides{s1: ds, s3: GP64()}
	from.multiply()
	to.multiply()
	at := func(s strides, lo, hi reg.Register, i int) Mem {
		return s.from([]reg.Register{lo, hi}[i/4], i%4)
	}
	Label("block")
	sh, dh := mid(src, ss), mid(dst, ds)
	var r, t [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(at(from, src, sh, i), r[i])
	}
	for i := 0; i < 8; i += 2 {
		t[i], t[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			r[i+2*j], r[i+2*j+1] = YMM(), YMM()
			VSHUFPS(Imm(0x44), t[i+2+j], t[i+j], r[i+2*j])
			VSHUFPS(Imm(0xee), t[i+2+j], t[i+j], r[i+2*j+1])
		}
	}
	for i := range 4 {
		lo, hi := YMM(), YMM()
		VPERM2F128(Imm(0x20), r[i+4], r[i], lo)
		VPERM2F128(Imm(0x31), r[i+4], r[i], hi)
		VMOVUPS(lo, at(to, dst, dh, i))
		VMOVUPS(hi, at(to, dst, dh, i+4))
	}
	ADDQ(Imm(32), src)
	LEAQ(Mem{Base: dst, Index: ds, Scale: 8}, dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
