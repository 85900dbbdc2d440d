package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of f32.dwTile that only the row kernels read.
const dwLeft, dwRight, dwSevens = 128, 136, 144

// dwRow writes a depthwise kernel for windows kw wide without dilation: a group
// of neighbouring pixels loads each input column once for all its taps. The
// first and last kw/2 columns of the run may lie outside the image; they are
// loaded as zeros through masks.
type dwRow struct {
	v          vecISA
	kw, stride int

	t          reg.Register
	strides                  // of pixels
	co         reg.GPVirtual // byte offset of the channels
	x, x8, x16 reg.GPVirtual
}

func dwRows() {
	for _, v := range []vecISA{avx512, avx2} {
		for _, kw := range []int{3, 5} {
			for _, s := range []int{1, 2} {
				d := &dwRow{v: v, kw: kw, stride: s}
				d.emit()
			}
		}
	}
	fmt.Fprintln(&stubs, "// depthwiseRows lists the row kernels by width and stride.\nvar depthwiseRows = []struct { kw, stride int; avx512, avx2 func(t *dwTile) }{")
	for _, kw := range []int{3, 5} {
		for _, s := range []int{1, 2} {
			fmt.Fprintf(&stubs, "{%d, %d, dwRow%ds%dAVX512, dwRow%ds%dAVX2},\n", kw, s, kw, s, kw, s)
		}
	}
	fmt.Fprintln(&stubs, "}")
}

func (d *dwRow) field(off int) Mem { return Mem{Base: d.t, Disp: off} }

// groups are the numbers of pixels computed together.
func (d *dwRow) groups() []int {
	if !d.v.is512() && d.kw > 3 {
		return []int{4, 2, 1} // sixteen registers
	}
	return []int{8, 7, 4, 2, 1}
}

// Registers: accumulators first, then weights, the input column, masks.
func (d *dwRow) weight(i int) reg.VecPhysical { return d.v.regs[d.groups()[0]+i] }
func (d *dwRow) column() reg.VecPhysical      { return d.v.regs[d.groups()[0]+d.kw] }

// edge is the mask of the i-th edge column: left ones from outside in, then
// right ones from outside in.
func (d *dwRow) edge(i int) reg.Register {
	if d.v.is512() {
		return []reg.Register{reg.K2, reg.K3, reg.K4, reg.K5}[i]
	}
	return d.v.regs[14-i]
}

func (d *dwRow) tail() tail {
	if d.v.is512() {
		return tail{d.v, reg.K1}
	}
	return tail{d.v, d.v.regs[15]}
}

func (d *dwRow) emit() {
	name := fmt.Sprintf("dwRow%ds%d%s", d.kw, d.stride, d.v.name)
	text(name, "(t *dwTile)", fmt.Sprintf("computes a run of pixels of a depthwise convolution %d wide with stride %d; it advances t.", d.kw, d.stride))
	d.t = Load(Param("t"), GP64())
	d.s1, d.s3, d.s5, d.s7 = GP64(), GP64(), GP64(), GP64()
	d.co, d.x, d.x8, d.x16 = GP64(), GP64(), GP64(), GP64()
	MOVQ(d.field(dwXKW), d.s1)
	d.multiply()
	n := GP64()
	MOVQ(d.field(dwC), n)
	ANDQ(Imm(uint64(d.v.lanes()-1)), n)
	if d.v.is512() {
		b := GP64()
		MOVQ(U32(1), b)
		SHLXQ(n, b, b)
		DECQ(b)
		KMOVW(b.As32(), reg.K1)
	} else {
		tab := GP64()
		NEGQ(n)
		LEAQ(maskTable(), tab)
		VMOVUPS(Mem{Base: tab, Index: n, Scale: 4, Disp: 32}, d.v.regs[15])
	}
	if d.groups()[0] == 8 {
		CMPQ(d.field(dwSevens), Imm(0))
		JNE(LabelRef("pixels7"))
	}
	for _, p := range d.groups() {
		loop, end := fmt.Sprintf("pixels%d", p), fmt.Sprintf("end%d", p)
		Label(loop)
		CMPQ(d.field(dwPixels), Imm(uint64(p)))
		JLT(LabelRef(end))
		d.group(p)
		d.advance(p)
		JMP(LabelRef(loop))
		Label(end)
	}
	VZEROUPPER()
	RET()
}

// advance moves the run's fields past p pixels.
func (d *dwRow) advance(p int) {
	step := GP64()
	MOVQ(d.s1, step)
	if shift := bits.TrailingZeros(uint(p)); p == 7 {
		MOVQ(d.s7, step)
	} else if shift > 0 {
		SHLQ(Imm(uint64(shift)), step)
	}
	ADDQ(step, d.field(dwY))
	skip := label("nores")
	CMPQ(d.field(dwRes), Imm(0))
	JEQ(LabelRef(skip))
	ADDQ(step, d.field(dwRes))
	Label(skip)
	if d.stride == 2 {
		ADDQ(step, step)
	}
	ADDQ(step, d.field(dwX))
	SUBQ(Imm(uint64(p)), d.field(dwPixels))
	// Columns outside on the left are used up.
	left, none := GP64(), GP64()
	XORQ(none, none)
	MOVQ(d.field(dwLeft), left)
	SUBQ(Imm(uint64(p*d.stride)), left)
	CMOVQLT(none, left)
	MOVQ(left, d.field(dwLeft))
}

// edgeMasks sets the masks of the edge columns of a group of p pixels. With
// tail they cover only the last channels.
func (d *dwRow) edgeMasks(p int, masked bool) {
	out, m := GP64(), GP64()
	for side, f := range []int{dwLeft, dwRight} {
		MOVQ(d.field(f), out)
		if f == dwRight {
			// The pixels behind the group use up columns on the right.
			MOVQ(d.field(dwPixels), m)
			SUBQ(Imm(uint64(p)), m)
			if d.stride == 2 {
				ADDQ(m, m)
			}
			SUBQ(m, out)
		}
		for i := range d.kw / 2 {
			// All ones where out <= i.
			XORQ(m, m)
			CMPQ(out, Imm(uint64(i)))
			SETLE(m.As8())
			NEGQ(m)
			k := d.edge(side*(d.kw/2) + i)
			if d.v.is512() {
				KMOVW(m.As32(), k)
				if masked {
					KANDW(reg.K1, k, k)
				}
				continue
			}
			x := k.(reg.VecPhysical).AsX()
			VMOVQ(m, x)
			VPBROADCASTQ(x, k)
			if masked {
				VANDPS(d.v.regs[15], k, k)
			}
		}
	}
}

// group loops over the channels of p pixels.
func (d *dwRow) group(p int) {
	d.edgeMasks(p, false)
	XORQ(d.co, d.co)
	loop, rest, end := label("c"), label("rest"), label("cend")
	left := GP64()
	Label(loop)
	MOVQ(d.field(dwC), left)
	SHLQ(Imm(2), left)
	SUBQ(d.co, left)
	CMPQ(left, Imm(uint64(d.v.bytes)))
	JLT(LabelRef(rest))
	d.block(p, false)
	ADDQ(Imm(uint64(d.v.bytes)), d.co)
	JMP(LabelRef(loop))
	Label(rest)
	TESTQ(left, left)
	JZ(LabelRef(end))
	d.edgeMasks(p, true)
	d.block(p, true)
	Label(end)
}

// pixel addresses the i-th pixel from a base; b8 and b16 lie 8 and 16 behind it.
func (d *dwRow) pixel(i int, base ...reg.GPVirtual) Mem {
	return d.from(base[i/8], i%8)
}

// block computes one vector of channels of p pixels.
func (d *dwRow) block(p int, masked bool) {
	v, cols := d.v, (p-1)*d.stride+d.kw
	for i := range p {
		zero(v, v.regs[i])
	}
	wk, kh := GP64(), GP64()
	MOVQ(d.field(dwX), d.x)
	ADDQ(d.co, d.x)
	MOVQ(d.field(dwW), wk)
	ADDQ(d.co, wk)
	loop, done := label("kh"), label("done")
	MOVQ(d.field(dwKH), kh)
	TESTQ(kh, kh)
	JZ(LabelRef(done))
	Label(loop)
	if cols > 8 {
		LEAQ(Mem{Base: d.x, Index: d.s1, Scale: 8}, d.x8)
	}
	if cols > 16 {
		LEAQ(Mem{Base: d.x8, Index: d.s1, Scale: 8}, d.x16)
	}
	for i := range d.kw {
		VMOVUPS(d.pixel(i, wk), d.weight(i))
	}
	for i := range cols {
		m := d.pixel(i, d.x, d.x8, d.x16)
		switch {
		case i < d.kw/2:
			tail{v, d.edge(i)}.load(m, d.column())
		case i >= cols-d.kw/2:
			tail{v, d.edge(d.kw/2 + cols - 1 - i)}.load(m, d.column())
		case masked:
			d.tail().load(m, d.column())
		default:
			VMOVUPS(m, d.column())
		}
		for k := range d.kw {
			if q := i - k; q >= 0 && q%d.stride == 0 && q/d.stride < p {
				VFMADD231PS(d.weight(k), d.column(), v.regs[q/d.stride])
			}
		}
	}
	ADDQ(d.field(dwXKH), d.x)
	ADDQ(d.field(dwWKH), wk)
	DECQ(kh)
	JNZ(LabelRef(loop))
	Label(done)
	d.finish(p, masked)
}

// finish adds the bias and the residual, clamps and stores.
func (d *dwRow) finish(p int, masked bool) {
	v, c0, c1 := d.v, d.weight(0), d.weight(1)
	b := GP64()
	MOVQ(d.field(dwBias), b)
	VMOVUPS(Mem{Base: b, Index: d.co, Scale: 1}, c0)
	for i := range p {
		VADDPS(c0, v.regs[i], v.regs[i])
	}
	act := label("act")
	MOVQ(d.field(dwRes), b)
	TESTQ(b, b)
	JZ(LabelRef(act))
	ADDQ(d.co, b)
	for i := range p {
		if masked {
			d.tail().add(d.pixel(i, b), v.regs[i], c0)
		} else {
			VADDPS(d.pixel(i, b), v.regs[i], v.regs[i])
		}
	}
	Label(act)
	VBROADCASTSS(d.field(dwLo), c0)
	VBROADCASTSS(d.field(dwHi), c1)
	MOVQ(d.field(dwY), b)
	ADDQ(d.co, b)
	for i := range p {
		VMAXPS(v.regs[i], c0, v.regs[i])
		VMINPS(v.regs[i], c1, v.regs[i])
		if masked {
			d.tail().store(v.regs[i], d.pixel(i, b))
		} else {
			VMOVUPS(v.regs[i], d.pixel(i, b))
		}
	}
}
