package f32

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// DepthwiseComputed prepares a convolution with one input and output channel a
// group, or with Transposed a transposed one (strides above 1 without dilation),
// whose weights X2 [KH,KW,C] are computed. It has no bias; the sums have the
// order of Conv and ConvTranspose.
func DepthwiseComputed(s ComputedSpec, l isa.Level) (Kernel, error) {
	c := s.ConvSpec
	c.Weights = make([]float32, max(c.KH*c.KW*c.C, 0))
	if err := c.check("computed depthwise convolution"); err != nil {
		return nil, err
	}
	if c.Groups != c.C || c.K != c.C || s.WithBias {
		return nil, specError("computed depthwise convolution", c.dims(), "a channel a group, no bias")
	}
	d, err := newDepthwise(c, l)
	if err != nil {
		return nil, err
	}
	if !s.Transposed {
		pool := sync.Pool{New: func() any { e := *d; return &e }}
		return &op{name: fmt.Sprintf("depthwise_computed_f32_%s_%s", s.dims(), l), tiles: ceilDiv(c.N*c.OH, d.per), run: func(lo, hi int, a *Args) {
			e := pool.Get().(*depthwiseConv)
			e.w = floats(a.X2)
			e.run(lo, hi, a)
			pool.Put(e)
		}}, nil
	}
	if (c.SH > 1 || c.SW > 1) && (c.DH > 1 || c.DW > 1) {
		return nil, specError("computed depthwise convolution", fmt.Sprintf("strides %d,%d with dilation %d,%d", c.SH, c.SW, c.DH, c.DW), "one of the two")
	}
	return &op{name: fmt.Sprintf("depthwise_transpose_computed_f32_%s_%s", s.dims(), l), tiles: ceilDiv(c.N*c.OH, d.per), run: func(lo, hi int, a *Args) {
		for r := lo * d.per; r < min(hi*d.per, c.N*c.OH); r++ {
			d.transposedRow(r, a)
			if d.ep.then != nil {
				d.ep.then(floats(a.Y)[r*c.OW*c.C : (r+1)*c.OW*c.C])
			}
		}
		runtime.KeepAlive(a)
	}}, nil
}

// reached gives the first tap, of those a stride apart, that brings output o
// of a transposed convolution to an input position inside, that position, and
// how many taps do; the positions fall by the dilation from tap to tap.
func reached(o, pad, stride, dil, taps, in int) (tap, pos, n int) {
	for k := range taps {
		p := o + pad - k*dil
		if p%stride != 0 || p < 0 || p/stride >= in {
			continue
		}
		if n == 0 {
			tap, pos = k, p/stride
		}
		n++
	}
	return tap, pos, n
}

// transposedRow computes one output row, pixels that share their taps in one
// call: the kernel walks the taps upwards and the input downwards.
func (d *depthwiseConv) transposedRow(r int, a *Args) {
	row := d.C * 4
	kh, ih, nh := reached(r%d.OH, d.PT, d.SH, d.DH, d.KH, d.H)
	t := dwTile{
		bias: unsafe.Pointer(&d.bias[0]), c: uintptr(d.C), kh: uintptr(nh),
		xkh: uintptr(-d.DH * d.W * row), xkw: uintptr(-d.DW * row),
		wkh: uintptr(d.SH * d.KW * row), wkw: uintptr(d.SW * row),
		xpix: uintptr(row), ypix: uintptr(d.SW * row), lo: d.ep.lo, hi: d.ep.hi,
	}
	img := base(a.X) + uintptr(r/d.OH*d.H*d.W*row)
	w := base(a.X2)
	for q := range min(d.SW, d.OW) {
		for ow := q; ow < d.OW; {
			kw, iw, nw := reached(ow, d.PL, d.SW, d.DW, d.KW, d.W)
			n := 1
			for next := ow + d.SW; next < d.OW; next += d.SW {
				k, _, m := reached(next, d.PL, d.SW, d.DW, d.KW, d.W)
				if k != kw || m != nw {
					break
				}
				n++
			}
			if t.kw = uintptr(nw); nw == 0 {
				t.kh, t.kw = 0, 0
			} else {
				t.kh = uintptr(nh)
			}
			t.pixels = uintptr(n)
			t.x, t.w = img, unsafe.Pointer(floatAt(w))
			if nh > 0 && nw > 0 {
				t.x = img + uintptr((ih*d.W+iw)*row)
				t.w = unsafe.Pointer(floatAt(w + uintptr((kh*d.KW+kw)*row)))
			}
			t.y = base(a.Y) + uintptr((r*d.OW+ow)*row)
			d.kernel(hide(&t))
			ow += n * d.SW
		}
	}
}

// depthwiseWeightGrad is WeightGrad with one channel a group: a depthwise
// kernel whose weights are dy and whose outputs are the taps. An image's sums
// are one chain from +0, to which those before it are added.
type depthwiseWeightGrad struct {
	weightGrad
	kernel func(*dwTile)
	zeros  []float32
}

func newDepthwiseWeightGrad(s WeightGradSpec, l isa.Level) Kernel {
	d := &depthwiseWeightGrad{weightGrad: weightGrad{ConvSpec: s.ConvSpec, at: s.Parts, set: gemmFor(l)}, kernel: depthwiseFor(l)}
	d.reads()
	d.zeros = alignedFloats(s.C)
	return &op{name: fmt.Sprintf("depthwise_weight_grad_f32_%s_%s", s.dims(), l), tiles: len(s.Parts) - 1, scratch: d.xBytes, run: d.run}
}

func (d *depthwiseWeightGrad) run(lo, hi int, a *Args) {
	row := d.C * 4
	xs, ds := d.H*d.W*d.C, d.OH*d.OW*d.C
	t := dwTile{
		bias: unsafe.Pointer(&d.zeros[0]), c: uintptr(d.C), kh: uintptr(d.OH), kw: uintptr(d.OW),
		xkh: uintptr(d.SH * d.pitch * row), xkw: uintptr(d.SW * row), wkh: uintptr(d.OW * row), wkw: uintptr(row),
		xpix: uintptr(d.DW * row), ypix: uintptr(row), lo: float32(math.Inf(-1)), hi: float32(math.Inf(1)),
	}
	for part := lo; part < hi; part++ {
		y := base(a.Y) + uintptr(part*d.KH*d.KW*row)
		for img := d.at[part]; img < d.at[part+1]; img++ {
			x := base(a.X) + uintptr(img*xs*4)
			if d.copied {
				d.pad(floats(a.Scratch), floats(a.X)[img*xs:][:xs])
				x = base(a.Scratch)
			}
			dy := base(a.X2) + uintptr(img*ds*4)
			for kh := range d.KH {
				t.x, t.w = x+uintptr(kh*d.DH*d.pitch*row), unsafe.Pointer(floatAt(dy))
				t.y = y + uintptr(kh*d.KW*row)
				t.pixels = uintptr(d.KW) // the kernel counts it down
				if t.res = t.y; img == d.at[part] {
					t.res = 0
				}
				d.kernel(hide(&t))
			}
		}
	}
	runtime.KeepAlive(a)
}
