package int8

import (
	"fmt"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// residual is an inverted residual block of MobileNetV2, h×h×c widened sixfold,
// stride s, to k channels.
type residual struct{ h, c, s, k int }

var residuals = []residual{
	{112, 16, 2, 24}, {56, 24, 1, 24}, {56, 24, 2, 32}, {28, 32, 1, 32}, {28, 32, 2, 64}, {14, 64, 1, 64}, {14, 96, 1, 96}, {14, 96, 2, 160}, {7, 160, 1, 160},
}

// BenchmarkStrips asks what a fused inverted residual could gain: its three
// kernels on whole tensors beside the same on strips of output rows, whose wide
// tensors stay in the first caches. The strips do not even compute the rows that
// they share twice.
func BenchmarkStrips(b *testing.B) {
	for _, l := range isa.Available() {
		for _, d := range residuals {
			oh := d.h / d.s
			for _, rows := range []int{oh, 14, 7, 4, 2} {
				if rows > oh || oh%rows != 0 {
					continue
				}
				b.Run(fmt.Sprintf("%v/%dx%d_c%d_s%d_k%d/%d_rows", l, d.h, d.h, d.c, d.s, d.k, rows), func(b *testing.B) { benchStrips(b, l, d, rows) })
			}
		}
	}
}

func benchStrips(b *testing.B, l isa.Level, d residual, rows int) {
	r := newRNG(9)
	oh, wide := d.h/d.s, 6*d.c
	prepare := func(s ConvSpec) Kernel {
		s.N, s.SH, s.SW, s.DH, s.DW = 1, max(1, s.SH), max(1, s.SH), 1, 1
		s.Groups = max(1, s.Groups)
		s.Weights, s.Mult, s.Out = r.int8s(s.KH*s.KW*s.C/s.Groups*s.K), repeat(1e-3, s.K), Out{DType: U8}
		k, err := Conv(s, l)
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	in, pad := (rows-1)*d.s+3, 0
	if rows == oh {
		in, pad = d.h, 1
	}
	kernels := []Kernel{
		prepare(ConvSpec{H: rows * d.s, W: d.h, C: d.c, OH: rows * d.s, OW: d.h, K: wide, KH: 1, KW: 1}),
		prepare(ConvSpec{H: in, W: d.h, C: wide, OH: rows, OW: oh, K: wide, KH: 3, KW: 3, SH: d.s, PT: pad, PL: 1, Groups: wide}),
		prepare(ConvSpec{H: rows, W: oh, C: wide, OH: rows, OW: oh, K: d.k, KH: 1, KW: 1}),
	}
	scratch := 0
	for _, k := range kernels {
		scratch = max(scratch, k.ScratchBytes())
	}
	x, y := aligned[byte](d.h*d.h*d.c), aligned[byte](oh*oh*d.k)
	widened, filtered := aligned[byte]((rows*d.s+2)*d.h*wide), aligned[byte](rows*oh*wide)
	mem := aligned[byte](scratch)
	var a Args
	run := func(k Kernel, x, y []byte) {
		a = Args{X: x, Y: y, Scratch: mem}
		k.Run(0, k.Tiles(), &a)
	}
	for b.Loop() {
		for i := range oh / rows {
			run(kernels[0], x[i*rows*d.s*d.h*d.c:], widened)
			run(kernels[1], widened, filtered)
			run(kernels[2], filtered, y[i*rows*oh*d.k:])
		}
	}
}
