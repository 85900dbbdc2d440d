package f32

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// dwTile is the argument block of a depthwise micro-kernel, which computes
// pixels outputs of c channels from kh*kw taps, one FMA chain each, then + bias,
// + residual, clamp. Steps are in bytes. The kernel advances x, y and res, so
// they are integers (see tile). gen/ knows this layout; TestTileLayout compares.
type dwTile struct {
	x          uintptr
	w          unsafe.Pointer
	y          uintptr
	bias       unsafe.Pointer
	res        uintptr // 0: none; laid out like y
	c          uintptr
	pixels     uintptr
	kh, kw     uintptr
	xkh, xkw   uintptr // from tap to tap in x
	wkh, wkw   uintptr // from tap to tap in w
	xpix, ypix uintptr // from pixel to pixel
	lo, hi     float32
	// Row kernels: columns of the run outside the image. They want all taps of a
	// row, no dilation along it, and xkw = wkw = ypix.
	left, right uintptr
	sevens      uintptr // not 0: groups of seven pixels rather than eight
}

func depthwisePortable(t *dwTile) {
	var acc [64]float32
	for p := range t.pixels {
		for c := uintptr(0); c < t.c; c += 64 {
			sum := acc[:min(64, t.c-c)]
			clear(sum)
			at := func(base, off uintptr) []float32 { return unsafe.Slice(floatAt(base+off+4*c), len(sum)) }
			for kh := range t.kh {
				for kw := range t.kw {
					fmath.MulAdd(sum, at(t.x, p*t.xpix+kh*t.xkh+kw*t.xkw), at(uintptr(t.w), kh*t.wkh+kw*t.wkw))
				}
			}
			y, bias := at(t.y, p*t.ypix), at(uintptr(t.bias), 0)
			for i, v := range sum {
				v += bias[i]
				if t.res != 0 {
					v += at(t.res, p*t.ypix)[i]
				}
				y[i] = fmath.Clamp(v, t.lo, t.hi)
			}
		}
	}
}

// depthwise prepares a convolution with one input and output channel a group.
func depthwise(s ConvSpec, l isa.Level) (Kernel, error) {
	d, err := newDepthwise(s, l)
	if err != nil {
		return nil, err
	}
	return &op{
		name:  fmt.Sprintf("depthwise_f32_%s_%s%s", s.dims(), l, d.ep.suffix()),
		tiles: ceilDiv(s.N*s.OH, d.per), run: d.run,
	}, nil
}

func newDepthwise(s ConvSpec, l isa.Level) (*depthwiseConv, error) {
	ep, err := s.Act.epilogue(l)
	if err != nil {
		return nil, err
	}
	d := &depthwiseConv{ConvSpec: s, ep: ep, kernel: depthwiseFor(l)}
	d.w, d.bias = alignedFloats(len(s.Weights)), alignedFloats(s.C)
	copy(d.w, s.Weights)
	for i := range s.Bias {
		d.bias[i] = s.Bias[i] + 0
	}
	d.Weights, d.Bias = nil, nil
	d.right = max(0, (s.OW-1)*s.SW+s.KW-s.PL-s.W)
	if s.DW == 1 && s.PL <= s.KW/2 && d.right <= s.KW/2 {
		d.run1 = vectorDepthwiseRow(s.KW, s.SW, l)
	}
	d.per = max(1, elementUnit/(s.OW*s.C))
	return d, nil
}

type depthwiseConv struct {
	ConvSpec
	ep      epilogue
	kernel  func(*dwTile)
	run1    func(*dwTile) // whole rows at once; nil where the geometry forbids it
	right   int           // columns outside the image on the right
	w, bias []float32
	per     int // output rows a unit
}

func (d *depthwiseConv) run(lo, hi int, a *Args) {
	rows := d.N * d.OH
	for r := lo * d.per; r < min(hi*d.per, rows); r++ {
		d.row(r, a)
		if d.ep.then != nil {
			d.ep.then(floats(a.Y)[r*d.OW*d.C : (r+1)*d.OW*d.C])
		}
	}
	runtime.KeepAlive(a)
}

// row computes one output row: with a row kernel in one call; otherwise pixels
// whose columns are all inside the image in one call, those at the edges one by
// one with the taps that are inside.
func (d *depthwiseConv) row(r int, a *Args) {
	oh := r % d.OH
	ih := oh*d.SH - d.PT
	kh0, kh1 := validTaps(ih, d.DH, d.KH, 0, d.H)
	t := dwTile{
		bias: unsafe.Pointer(&d.bias[0]), c: uintptr(d.C), kh: uintptr(kh1 - kh0),
		xkh: uintptr(d.DH * d.W * d.C * 4), xkw: uintptr(d.DW * d.C * 4),
		wkh: uintptr(d.KW * d.C * 4), wkw: uintptr(d.C * 4),
		xpix: uintptr(d.SW * d.C * 4), ypix: uintptr(d.C * 4), lo: d.ep.lo, hi: d.ep.hi,
	}
	img := base(a.X) + uintptr(r/d.OH*d.H*d.W*d.C*4)
	if d.run1 != nil {
		t.x = img + uintptr(((ih+kh0*d.DH)*d.W-d.PL)*d.C*4)
		t.w = unsafe.Pointer(&d.w[min(kh0, d.KH-1)*d.KW*d.C])
		t.y = base(a.Y) + uintptr(r*d.OW*d.C*4)
		if d.Residual {
			t.res = base(a.X2) + uintptr(r*d.OW*d.C*4)
		}
		if d.OW%8 != 0 && d.OW%7 == 0 {
			t.sevens = 1
		}
		t.pixels, t.kw, t.left, t.right = uintptr(d.OW), uintptr(d.KW), uintptr(d.PL), uintptr(d.right)
		d.run1(hide(&t))
		return
	}
	for ow := 0; ow < d.OW; {
		iw := ow*d.SW - d.PL
		kw0, kw1 := validTaps(iw, d.DW, d.KW, 0, d.W)
		n := 1
		if kw0 == 0 && kw1 == d.KW {
			// The last pixel whose last tap is inside.
			n = min(d.OW, (d.W-1-(d.KW-1)*d.DW+d.PL)/d.SW+1) - ow
		}
		t.pixels, t.kw = uintptr(n), uintptr(kw1-kw0)
		t.x = img
		if kh1 > kh0 && kw1 > kw0 {
			t.x = img + uintptr(((ih+kh0*d.DH)*d.W+iw+kw0*d.DW)*d.C*4)
		}
		t.w = unsafe.Pointer(&d.w[min(kh0*d.KW+kw0, d.KH*d.KW-1)*d.C])
		at := (r*d.OW + ow) * d.C * 4
		t.y = base(a.Y) + uintptr(at)
		if d.Residual {
			t.res = base(a.X2) + uintptr(at)
		}
		d.kernel(hide(&t))
		ow += n
	}
}
