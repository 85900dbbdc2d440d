package main

import (
	"fmt"
	bits32 "math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of f32.dwTile.
const (
	dwX, dwW, dwY, dwBias, dwRes = 0, 8, 16, 24, 32
	dwC, dwPixels, dwKH, dwKW    = 40, 48, 56, 64
	dwXKH, dwXKW, dwWKH, dwWKW   = 72, 80, 88, 96
	dwXPix, dwYPix, dwLo, dwHi   = 104, 112, 120, 124
	unordered                    = 3 // VCMPPS: either is NaN

)

// windowKernel is a kernel over windows of pixels, channels across the lanes:
// a depthwise convolution or a pool.
type windowKernel struct {
	v    vecISA
	op   string // dw, max, add
	name string

	t reg.Register
	strides
	co   reg.GPVirtual // byte offset of the channels
	x, y reg.GPVirtual
	tail tail
}

func depthwise() {
	for _, v := range []vecISA{avx512, avx2} {
		for _, k := range []struct{ op, name, doc string }{
			{"dw", "depthwise", "computes pixels of a depthwise convolution; it advances t."},
			{"max", "maxPool", "computes pixels of a maximum pool (lo: unused, hi: -Inf); it advances t."},
			{"add", "addPool", "computes pixels of a sum pool times lo (hi: 0); it advances t."},
		} {
			w := &windowKernel{v: v, op: k.op, name: k.name + v.name}
			w.emit(k.doc)
		}
	}
}

func (w *windowKernel) field(off int) Mem { return Mem{Base: w.t, Disp: off} }

func (w *windowKernel) emit(doc string) {
	text(w.name, "(t *dwTile)", doc)
	w.t = Load(Param("t"), GP64())
	w.s1, w.s3, w.s5, w.s7, w.co, w.x, w.y = GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	// The mask of the last channels.
	n, bits := GP64(), GP64()
	MOVQ(w.field(dwC), n)
	ANDQ(Imm(uint64(w.v.lanes()-1)), n)
	if w.v.is512() {
		MOVQ(U32(1), bits)
		SHLXQ(n, bits, bits)
		DECQ(bits)
		KMOVW(bits.As32(), reg.K1)
		w.tail = tail{w.v, reg.K1}
	} else {
		r := w.v.regs[15]
		NEGQ(n)
		LEAQ(maskTable(), bits)
		VMOVUPS(Mem{Base: bits, Index: n, Scale: 4, Disp: 32}, r)
		w.tail = tail{w.v, r}
	}
	for _, p := range []int{8, 4, 2, 1} {
		Label(fmt.Sprintf("pixels%d", p))
		CMPQ(w.field(dwPixels), Imm(uint64(p)))
		JLT(LabelRef(fmt.Sprintf("end%d", p)))
		w.channels(p)
		// Advance.
		for _, f := range []struct{ ptr, step int }{{dwX, dwXPix}, {dwY, dwYPix}, {dwRes, dwYPix}} {
			step := GP64()
			MOVQ(w.field(f.step), step)
			if p > 1 {
				SHLQ(Imm(uint64(bits32.TrailingZeros(uint(p)))), step)
			}
			if f.ptr == dwRes {
				// A residual that is not there stays nil.
				CMPQ(w.field(dwRes), Imm(0))
				JEQ(LabelRef(fmt.Sprintf("nores%d", p)))
			}
			ADDQ(step, w.field(f.ptr))
		}
		Label(fmt.Sprintf("nores%d", p))
		SUBQ(Imm(uint64(p)), w.field(dwPixels))
		JMP(LabelRef(fmt.Sprintf("pixels%d", p)))
		Label(fmt.Sprintf("end%d", p))
	}
	VZEROUPPER()
	RET()
}

// channels loops over the channels of a group of p pixels.
func (w *windowKernel) channels(p int) {
	XORQ(w.co, w.co)
	id := fmt.Sprintf("%d", p)
	Label("c" + id)
	end := GP64()
	MOVQ(w.field(dwC), end)
	SHLQ(Imm(2), end)
	SUBQ(w.co, end)
	CMPQ(end, Imm(uint64(w.v.bytes)))
	JLT(LabelRef("tail" + id))
	w.block(p, false, id+"full")
	ADDQ(Imm(uint64(w.v.bytes)), w.co)
	JMP(LabelRef("c" + id))
	Label("tail" + id)
	TESTQ(end, end)
	JZ(LabelRef("cend" + id))
	w.block(p, true, id+"tail")
	Label("cend" + id)
}

// spread loads the distance of p pixels.
func (w *windowKernel) spread(field int, p int) {
	MOVQ(w.field(field), w.s1)
	if p > 1 {
		w.multiply()
	}
}

// block computes one vector of channels of p pixels.
func (w *windowKernel) block(p int, masked bool, id string) {
	v := w.v
	wreg, tmp := v.regs[14], v.regs[13]
	for i := range p {
		if w.op == "dw" {
			zero(v, v.regs[i])
		} else {
			VBROADCASTSS(w.field(dwHi), v.regs[i])
		}
	}
	w.spread(dwXPix, p)
	xk, wk, wr, kh, kw := GP64(), GP64(), GP64(), GP64(), GP64()
	MOVQ(w.field(dwX), xk)
	ADDQ(w.co, xk)
	if w.op == "dw" {
		MOVQ(w.field(dwW), wk)
		ADDQ(w.co, wk)
	}
	MOVQ(w.field(dwKH), kh)
	TESTQ(kh, kh)
	JZ(LabelRef("done" + id))
	CMPQ(w.field(dwKW), Imm(0))
	JEQ(LabelRef("done" + id))
	Label("kh" + id)
	MOVQ(xk, w.x)
	if w.op == "dw" {
		MOVQ(wk, wr)
	}
	MOVQ(w.field(dwKW), kw)
	Label("kw" + id)
	if w.op == "dw" {
		VMOVUPS(Mem{Base: wr}, wreg)
	}
	for i := range p {
		w.step(w.from(w.x, i), v.regs[i], wreg, tmp, masked)
	}
	ADDQ(w.field(dwXKW), w.x)
	if w.op == "dw" {
		ADDQ(w.field(dwWKW), wr)
	}
	DECQ(kw)
	JNZ(LabelRef("kw" + id))
	ADDQ(w.field(dwXKH), xk)
	if w.op == "dw" {
		ADDQ(w.field(dwWKH), wk)
	}
	DECQ(kh)
	JNZ(LabelRef("kh" + id))
	Label("done" + id)
	w.finish(p, masked, id)
}

// step folds one input vector into an accumulator.
func (w *windowKernel) step(m Mem, acc, wreg, tmp reg.VecPhysical, masked bool) {
	var src Op = m
	if masked || w.op == "max" {
		src = tmp
		if masked {
			w.tail.load(m, tmp)
		} else {
			VMOVUPS(m, tmp)
		}
	}
	switch w.op {
	case "dw":
		VFMADD231PS(src, wreg, acc)
	case "add":
		VADDPS(src, acc, acc)
	case "max":
		// fmath.Max(acc, x): acc > x or acc NaN gives acc, else x.
		if w.v.is512() {
			VCMPPS(Imm(unordered), acc, acc, reg.K2)
			VMAXPS(tmp, acc, tmp)
			VMOVAPS(acc, reg.K2, tmp)
			VMOVAPS(tmp, acc)
			return
		}
		nan := w.v.regs[12]
		VCMPPS(Imm(unordered), acc, acc, nan)
		VMAXPS(tmp, acc, tmp)
		VBLENDVPS(nan, acc, tmp, acc)
	}
}

// finish adds the bias and the residual, clamps and stores.
func (w *windowKernel) finish(p int, masked bool, id string) {
	v := w.v
	c0, c1, tmp := v.regs[14], v.regs[13], v.regs[12]
	w.spread(dwYPix, p)
	MOVQ(w.field(dwY), w.y)
	ADDQ(w.co, w.y)
	switch w.op {
	case "add":
		VBROADCASTSS(w.field(dwLo), c0)
		for i := range p {
			VMULPS(c0, v.regs[i], v.regs[i])
		}
	case "dw":
		b := GP64()
		MOVQ(w.field(dwBias), b)
		VMOVUPS(Mem{Base: b, Index: w.co, Scale: 1}, c0)
		for i := range p {
			VADDPS(c0, v.regs[i], v.regs[i])
		}
		MOVQ(w.field(dwRes), b)
		TESTQ(b, b)
		JZ(LabelRef("act" + id))
		ADDQ(w.co, b)
		for i := range p {
			if masked {
				w.tail.add(w.from(b, i), v.regs[i], tmp)
			} else {
				VADDPS(w.from(b, i), v.regs[i], v.regs[i])
			}
		}
		Label("act" + id)
		VBROADCASTSS(w.field(dwLo), c0)
		VBROADCASTSS(w.field(dwHi), c1)
		for i := range p {
			VMAXPS(v.regs[i], c0, v.regs[i])
			VMINPS(v.regs[i], c1, v.regs[i])
		}
	}
	for i := range p {
		if masked {
			w.tail.store(v.regs[i], w.from(w.y, i))
		} else {
			VMOVUPS(v.regs[i], w.from(w.y, i))
		}
	}
}
