package int8

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// DotGeneralSpec is q_dot_general: a [...,M,K] times b [...,K,N], the shapes as
// stored (a is [...,K,M] with TransposeA, b [...,N,K] with TransposeB), batch
// axes broadcasting. acc = Σ(a−AZero)(b−BZero), then Out with Mult.
type DotGeneralSpec struct {
	AShape, BShape         []int
	TransposeA, TransposeB bool
	ASigned, BSigned       bool
	AZero, BZero           int32
	Mult                   float32
	Out                    Out
}

// dotGeneral packs b of each batch as the matrix kernels want weights.
type dotGeneral struct {
	DotGeneralSpec
	m, n, k    int
	axes       []axis // of the batches
	batches    int
	parts      int // units of a batch: parts of its rows
	kern       *gemmKernel
	fin        finisher
	copyA      bool
	widen      func(*convertArgs)
	aOff       offsets
	ones       []byte // a packed column of ones
	onesRow    []byte
	elem, kPad int
}

// A single run without offset, and sums that start from nothing.
var (
	noOffset [1]int64
	noSums   [64]int32
)

// offsets of the parts of the scratch memory.
type offsets struct{ a, b, init, rowAdd, sums, end int }

// DotGeneral prepares a product of two activations. X is a, X2 is b.
func DotGeneral(s DotGeneralSpec, l isa.Level) (Kernel, error) {
	const name = "q_dot_general"
	ra, rb := len(s.AShape), len(s.BShape)
	if ra < 2 || rb < 2 {
		return nil, specError(name, fmt.Sprintf("shapes %v and %v", s.AShape, s.BShape), "two matrices or batches of them")
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	d := &dotGeneral{DotGeneralSpec: s}
	d.m, d.k = s.AShape[ra-2], s.AShape[ra-1]
	if s.TransposeA {
		d.m, d.k = d.k, d.m
	}
	kb := s.BShape[rb-2]
	d.n = s.BShape[rb-1]
	if s.TransposeB {
		kb, d.n = d.n, kb
	}
	axes, ok := broadcast(s.AShape[:ra-2], s.BShape[:rb-2])
	if !ok || kb != d.k {
		return nil, specError(name, fmt.Sprintf("shapes %v and %v", s.AShape, s.BShape), "batches that broadcast and one extent to sum over")
	}
	if err := positive(name, d.m, d.k, d.n); err != nil {
		return nil, err
	}
	d.axes = slices.Clone(axes)
	d.batches = 1
	for _, x := range axes {
		d.batches *= x.n
	}
	d.kern = pickGemm(l, false)
	if d.kern.level == isa.AMX && d.k < 2*d.kern.quad { // half-filled registers lose what they gain
		d.kern = pickGemm(isa.VNNI, false)
	}
	d.widen = pick(widenKernels, l).run
	d.elem = d.kern.format.elem()
	d.kPad = ceilDiv(d.k, d.kern.quad) * d.kern.quad
	d.copyA = s.TransposeA || s.ASigned || d.elem != 1 || d.kPad != d.k
	d.fin = newFinisher(s.Out, repeat(s.Mult, ceilDiv(d.n, d.kern.cols)*d.kern.cols), math.Inf(1), nil, nil, l)
	if d.batches < 8 {
		d.parts = max(1, min(ceilDiv(8, max(1, d.batches)), d.m/leastPixels))
	} else {
		d.parts = 1
	}
	at := 0
	take := func(n int) int {
		at += align64(n)
		return at - align64(n)
	}
	if d.copyA {
		d.aOff.a = take(ceilDiv(d.m, d.parts)*d.kPad*d.elem + 64)
	}
	d.aOff.b = take(d.packedBytes())
	d.aOff.init = take(ceilDiv(d.n, d.kern.cols) * d.kern.cols * 4)
	d.aOff.rowAdd = take(ceilDiv(d.m, d.parts) * 4)
	d.aOff.sums = take(sumPixels*d.kern.cols*4 + sumSlack)
	d.aOff.end = at
	if d.elem == 1 {
		d.onesRow = aligned[byte](d.kPad)
		fill(d.onesRow, 1)
		one := d.kern.fit(1)
		d.ones = aligned[byte](d.kPad / one.quad * one.stepBytes())
		one.pack(d.ones, view[int8](base(d.onesRow), d.kPad), 1, 1, d.k, 1, nil)
		fill(d.onesRow, uint8(1+d.kern.format.taken()))
	}
	return &op{
		name: fmt.Sprintf("%s_%dx%dx%dx%d_%s", name, d.batches, d.m, d.k, d.n, d.kern.name), run: d.run,
		tiles: d.batches * d.parts, scratch: d.aOff.end,
		cost: float64(d.m*d.n*d.k)/float64(d.parts)/d.kern.speed() + float64(d.k*d.n)/2,
	}, nil
}

// packedBytes is the size of b packed: whole blocks, then a narrow one.
func (d *dotGeneral) packedBytes() int {
	n := 0
	for c := 0; c < d.n; {
		k := d.kern.fit(d.n - c)
		n += d.kPad / k.quad * k.stepBytes()
		c += k.cols
	}
	return n
}

func (d *dotGeneral) run(lo, hi int, a *Args) {
	ca := convPool.Get().(*convArgs)
	packed := -1
	for u := lo; u < hi; u++ {
		batch, part := u/d.parts, u%d.parts
		ia, ib := 0, 0
		for i, at := len(d.axes)-1, batch; i >= 0; i-- {
			j := at % d.axes[i].n
			at /= d.axes[i].n
			ia += j * d.axes[i].a
			ib += j * d.axes[i].b
		}
		if packed != ib {
			d.packB(ca, a, a.X2[ib*d.k*d.n:][:d.k*d.n])
			packed = ib
		}
		m0, m1 := cut(d.m, d.parts, part), cut(d.m, d.parts, part+1)
		d.rows(ca, a, a.X[ia*d.m*d.k:][:d.m*d.k], batch, m0, m1)
	}
	*ca = convArgs{}
	convPool.Put(ca)
}

// zeros are the zero points of a and b as the kernel sees them.
func (d *dotGeneral) zeros() (za, zb int32) {
	return d.AZero + offset(d.ASigned) - d.kern.format.taken(), d.BZero - 128 + offset(d.BSigned)
}

// packB writes b as weights and the sums that the kernel starts from: with a as
// u8 and b as s8, Σ(a−za)(b−zb) = Σab − zb·Σa − za·Σb + K·za·zb.
func (d *dotGeneral) packB(ca *convArgs, a *Args, b []byte) {
	dst := a.Scratch[d.aOff.b:]
	init := words[int32](a.Scratch[d.aOff.init:])
	za, zb := d.zeros()
	for c := 0; c < d.n; {
		k := d.kern.fit(d.n - c)
		cols := min(k.cols, d.n-c)
		size := d.kPad / k.quad * k.stepBytes()
		switch k.format {
		case bytesFormat, signedFormat:
			d.packBytes(dst[:size], b, c, cols, k.cols)
			g := &ca.gemm
			start := init[c : c+k.cols]
			clear(start)
			*g = gemmArgs{
				x: base(d.onesRow), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: d.kPad / k.quad,
				w: base(dst), init: base(start), sums: unsafe.Add(base(a.Scratch), d.aOff.sums),
			}
			k.rowsOf(g, g.sums, 1)
			for j, s := range view[int32](g.sums, cols) {
				start[j] = int32(d.k)*za*zb - za*s
			}
		default:
			clear(dst[:size])
			d.packWide(dst[:size], b, c, cols, k)
			clear(init[c : c+k.cols])
		}
		dst = dst[size:]
		c += k.cols
	}
}

// packBytes packs columns [c, c+cols) of b as s8 in groups of four rows.
func (d *dotGeneral) packBytes(dst, b []byte, c, cols, width int) {
	flip := xored(!d.BSigned)
	flip4 := uint32(flip) * 0x01010101
	if cols < width || d.kPad != d.k {
		clear(dst)
	}
	out := view[uint32](base(dst), len(dst)/4)
	full := d.k / 4
	if d.TransposeB {
		for j := range cols {
			row := b[(c+j)*d.k:][:d.k]
			for q := range full {
				out[q*width+j] = (uint32(row[4*q]) | uint32(row[4*q+1])<<8 | uint32(row[4*q+2])<<16 | uint32(row[4*q+3])<<24) ^ flip4
			}
			for i := full * 4; i < d.k; i++ {
				dst[full*width*4+4*j+i&3] = row[i] ^ flip
			}
		}
		return
	}
	for q := range full {
		r := b[4*q*d.n+c:]
		r0, r1, r2, r3 := r[:cols], r[d.n:][:cols], r[2*d.n:][:cols], r[3*d.n:][:cols]
		o := out[q*width:][:cols]
		for j := range o {
			o[j] = (uint32(r0[j]) | uint32(r1[j])<<8 | uint32(r2[j])<<16 | uint32(r3[j])<<24) ^ flip4
		}
	}
	for i := full * 4; i < d.k; i++ {
		for j, v := range b[i*d.n+c:][:cols] {
			dst[full*width*4+4*j+i&3] = v ^ flip
		}
	}
}

// packWide packs columns [c, c+cols) of b, less its zero point.
func (d *dotGeneral) packWide(dst, b []byte, c, cols int, k *gemmKernel) {
	flip, zero := xored(d.BSigned), d.BZero+offset(d.BSigned)
	rs, cs := d.n, 1
	if d.TransposeB {
		rs, cs = 1, d.k
	}
	if k.format == rowsFormat {
		out := view[int16](base(dst), len(dst)/2)
		for i := range d.k {
			o := out[i*k.cols:]
			for j := range cols {
				o[j] = int16(int32(b[i*rs+(c+j)*cs]^flip) - zero)
			}
		}
		return
	}
	if k.format == wordsFormat {
		out := view[int16](base(dst), len(dst)/2)
		for i := range d.k {
			o := out[i/k.quad*k.cols*k.quad+i%k.quad:]
			for j := range cols {
				o[j*k.quad] = int16(int32(b[i*rs+(c+j)*cs]^flip) - zero)
			}
		}
		return
	}
	out := view[int64](base(dst), len(dst)/8)
	for i := range d.k {
		o := out[i*k.cols/2:]
		for j := range cols {
			o[j/2] += int64(int32(b[i*rs+(c+j)*cs]^flip)-zero) << (j & 1 * 32)
		}
	}
}

// rows computes rows [m0, m1) of one batch.
func (d *dotGeneral) rows(ca *convArgs, args *Args, a []byte, batch, m0, m1 int) {
	x := unsafe.Pointer(&a[0])
	step := d.k
	if d.copyA {
		d.copyRows(&ca.convert, args.Scratch[d.aOff.a:], a, m0, m1)
		x, step = unsafe.Add(base(args.Scratch), d.aOff.a), d.kPad*d.elem
	} else {
		x = unsafe.Add(x, m0*d.k)
	}
	g, sums := &ca.gemm, unsafe.Add(base(args.Scratch), d.aOff.sums)
	var rowAdd unsafe.Pointer
	if _, zb := d.zeros(); d.elem == 1 && zb != 0 {
		rowAdd = unsafe.Add(base(args.Scratch), d.aOff.rowAdd)
		one := d.kern.fit(1)
		add := view[int32](rowAdd, m1-m0)
		for r := 0; r < m1-m0; r += sumPixels {
			n := min(sumPixels, m1-m0-r)
			*g = gemmArgs{
				x: unsafe.Add(x, r*step), xStep: uintptr(step), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: d.kPad / one.quad,
				w: base(d.ones), init: unsafe.Pointer(&noSums), sumStep: uintptr(4 * one.cols),
			}
			one.rowsOf(g, sums, n)
			for i := range n {
				add[r+i] = -zb * *(*int32)(unsafe.Add(sums, i*one.cols*4))
			}
		}
	}
	size := d.fin.out.bytes()
	w := unsafe.Add(base(args.Scratch), d.aOff.b)
	for c := 0; c < d.n; {
		k := d.kern.fit(d.n - c)
		cols := min(k.cols, d.n-c)
		for r := 0; r < m1-m0; r += sumPixels {
			n := min(sumPixels, m1-m0-r)
			*g = gemmArgs{
				x: unsafe.Add(x, r*step), xStep: uintptr(step), runs: unsafe.Pointer(&noOffset), numRuns: 1, quads: d.kPad / k.quad,
				w: w, init: unsafe.Add(base(args.Scratch), d.aOff.init+4*c), sumStep: uintptr(4 * k.cols),
			}
			k.rowsOf(g, sums, n)
			ca.finish.rowAdd = nil
			if rowAdd != nil {
				ca.finish.rowAdd = unsafe.Add(rowAdd, 4*r)
			}
			y := unsafe.Add(base(args.Y), ((batch*d.m+m0+r)*d.n+c)*size)
			d.fin.apply(&ca.finish, sums, uintptr(4*k.cols), n, cols, c, y, nil, d.n)
		}
		w = unsafe.Add(w, d.kPad/k.quad*k.stepBytes())
		c += k.cols
	}
	ca.finish.rowAdd = nil
}

// copyRows writes rows [m0, m1) of a as the kernel wants them.
func (d *dotGeneral) copyRows(w *convertArgs, dst, a []byte, m0, m1 int) {
	flip, zero := xored(d.ASigned), d.AZero+offset(d.ASigned)
	rs, cs := d.k, 1
	if d.TransposeA {
		rs, cs = 1, d.m
	}
	for m := m0; m < m1; m++ {
		src := a[m*rs:]
		if d.elem == 1 {
			row := dst[(m-m0)*d.kPad:][:d.kPad]
			clear(row[d.k:])
			switch {
			case cs != 1:
				for i := range d.k {
					row[i] = src[i*cs] ^ flip
				}
			case flip != 0:
				flipInto(row, src[:d.k])
			default:
				copy(row, src[:d.k])
			}
			continue
		}
		row := view[int16](base(dst[(m-m0)*d.kPad*2:]), d.kPad)
		clear(row[d.k:])
		if cs == 1 {
			*w = convertArgs{x: base(src), y: base(row), n: d.k, flip: uint32(flip), zero: zero}
			d.widen(w)
			continue
		}
		for i := range d.k {
			row[i] = int16(int32(src[i*cs]^flip) - zero)
		}
	}
}
