package f32

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// PoolSpec is a pool over NHWC images, geometry as in ConvSpec. An average
// divides by the taps inside the image, or with IncludePad by those inside the
// padded image, whose bottom and right edges are PB and PR.
type PoolSpec struct {
	N, H, W, C                             int
	OH, OW                                 int
	KH, KW, SH, SW, DH, DW, PT, PL, PB, PR int
	IncludePad                             bool
}

// MaxPool prepares a maximum pool: m = fmath.Max(m, x) from -Inf over the taps
// inside the image in the order (kh, kw).
func MaxPool(s PoolSpec, l isa.Level) (Kernel, error) {
	k, _ := poolsFor(l)
	return pool("max_pool", k, float32(math.Inf(-1)), nil, s, l)
}

// AveragePool prepares an average pool: one chain of additions from +0 over the
// taps inside the image in the order (kh, kw), times fmath.InvCount of the count.
func AveragePool(s PoolSpec, l isa.Level) (Kernel, error) {
	_, k := poolsFor(l)
	// One factor for each possible count.
	inv := make([]float32, s.KH*s.KW+1)
	for i := range inv {
		inv[i] = fmath.InvCount(max(i, 1))
	}
	return pool("average_pool", k, 0, inv, s, l)
}

// pool runs a window kernel over rows of output pixels; inv: factors by count.
func pool(name string, kernel func(*dwTile), init float32, inv []float32, s PoolSpec, l isa.Level) (Kernel, error) {
	for _, v := range []int{s.N, s.H, s.W, s.C, s.OH, s.OW, s.KH, s.KW, s.SH, s.SW, s.DH, s.DW} {
		if v < 1 {
			return nil, specError(name, fmt.Sprintf("extent %d in %+v", v, s), "1 or more everywhere")
		}
	}
	p := &poolOp{PoolSpec: s, kernel: kernel, init: init, inv: inv}
	rows := s.N * s.OH
	per := max(1, elementUnit/(s.OW*s.C))
	return &op{
		name: fmt.Sprintf("%s_f32_%dx%dx%dx%d_k%dx%ds%d_%s", name, s.N, s.H, s.W, s.C, s.KH, s.KW, s.SH, l), tiles: ceilDiv(rows, per),
		run: func(lo, hi int, a *Args) {
			for r := lo * per; r < min(hi*per, rows); r++ {
				p.row(r, a)
			}
			runtime.KeepAlive(a)
		},
	}, nil
}

type poolOp struct {
	PoolSpec
	kernel func(*dwTile)
	init   float32
	inv    []float32
}

// row computes one output row: runs of pixels with the same valid taps together.
func (s *poolOp) row(r int, a *Args) {
	ih := r%s.OH*s.SH - s.PT
	kh0, kh1 := validTaps(ih, s.DH, s.KH, 0, s.H)
	ph0, ph1 := validTaps(ih, s.DH, s.KH, -s.PT, s.H+s.PB)
	t := dwTile{
		c: uintptr(s.C), kh: uintptr(kh1 - kh0), lo: 1, hi: s.init,
		xkh: uintptr(s.DH * s.W * s.C * 4), xkw: uintptr(s.DW * s.C * 4),
		xpix: uintptr(s.SW * s.C * 4), ypix: uintptr(s.C * 4),
	}
	img := base(a.X) + uintptr(r/s.OH*s.H*s.W*s.C*4)
	for ow := 0; ow < s.OW; {
		iw := ow*s.SW - s.PL
		kw0, kw1 := validTaps(iw, s.DW, s.KW, 0, s.W)
		n := 1
		if kw0 == 0 && kw1 == s.KW {
			n = min(s.OW, (s.W-1-(s.KW-1)*s.DW+s.PL)/s.SW+1) - ow
		}
		t.pixels, t.kw = uintptr(n), uintptr(kw1-kw0)
		t.x = img
		if kh1 > kh0 && kw1 > kw0 {
			t.x = img + uintptr(((ih+kh0*s.DH)*s.W+iw+kw0*s.DW)*s.C*4)
		}
		t.y = base(a.Y) + uintptr((r*s.OW+ow)*s.C*4)
		if s.inv != nil {
			count := (kh1 - kh0) * (kw1 - kw0)
			if s.IncludePad {
				pw0, pw1 := validTaps(iw, s.DW, s.KW, -s.PL, s.W+s.PR)
				count = (ph1 - ph0) * (pw1 - pw0)
			}
			t.lo = s.inv[count]
		}
		s.kernel(hide(&t))
		ow += n
	}
}

func maxPoolPortable(t *dwTile) {
	poolPortable(t, func(acc, x float32) float32 { return fmath.Max(acc, x) })
}

func addPoolPortable(t *dwTile) {
	poolPortable(t, func(acc, x float32) float32 { return acc + x })
}

func poolPortable(t *dwTile, fold func(acc, x float32) float32) {
	for p := range t.pixels {
		x := t.x + p*t.xpix
		y := unsafe.Slice(floatAt(t.y+p*t.ypix), t.c)
		for c := range y {
			acc := t.hi
			for kh := range t.kh {
				for kw := range t.kw {
					acc = fold(acc, *floatAt(x + kh*t.xkh + kw*t.xkw + 4*uintptr(c)))
				}
			}
			y[c] = float32(acc * t.lo)
		}
	}
}

// validTaps gives the range of taps k with lo <= start + k*step < hi.
func validTaps(start, step, taps, lo, hi int) (first, end int) {
	if start < lo {
		first = ceilDiv(lo-start, step)
	}
	if hi > start {
		end = min(taps, ceilDiv(hi-start, step))
	}
	return min(first, end), end
}
