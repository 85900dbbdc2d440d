package int8

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// layer is a convolution of a known network: h×h×c to k, kernel size and stride.
type layer struct {
	name               string
	h, c, k, size, s   int
	groups             int
	residual, tabulate bool
}

var layers = []layer{
	{"resnet_stem_7x7s2", 224, 3, 64, 7, 2, 1, false, false},
	{"resnet_3x3_56x64", 56, 64, 64, 3, 1, 1, false, false},
	{"resnet_3x3_28x128", 28, 128, 128, 3, 1, 1, false, false},
	{"resnet_3x3_14x256", 14, 256, 256, 3, 1, 1, false, false},
	{"resnet_3x3_7x512", 7, 512, 512, 3, 1, 1, false, false},
	{"resnet_3x3_7x512_add", 7, 512, 512, 3, 1, 1, true, false},
	{"resnet_3x3s2_14x256x512", 14, 256, 512, 3, 2, 1, false, false},
	{"opennsfw_3x3_7x256", 7, 256, 256, 3, 1, 1, false, false},
	{"resnet_3x3s2_56x64x128", 56, 64, 128, 3, 2, 1, false, false},
	{"resnet_1x1_56x64x256", 56, 64, 256, 1, 1, 1, false, false},
	{"resnet_1x1_56x64x256_add", 56, 64, 256, 1, 1, 1, true, false},
	{"opennsfw_1x1_56x32x128_add", 56, 32, 128, 1, 1, 1, true, false},
	{"resnet_1x1_28x128x512_add", 28, 128, 512, 1, 1, 1, true, false},
	{"resnet_1x1_14x256x1024_add", 14, 256, 1024, 1, 1, 1, true, false},
	{"resnet_1x1_56x256x64", 56, 256, 64, 1, 1, 1, false, false},
	{"resnet_1x1_28x512x128", 28, 512, 128, 1, 1, 1, false, false},
	{"resnet_1x1_14x256x1024", 14, 256, 1024, 1, 1, 1, false, false},
	{"resnet_1x1_7x2048x512", 7, 2048, 512, 1, 1, 1, false, false},
	{"resnet_1x1s2_56x256x512", 56, 256, 512, 1, 2, 1, false, false},
	{"mobilenet_stem_3x3s2", 224, 3, 32, 3, 2, 1, false, false},
	{"mobilenet_1x1_112x32x16", 112, 32, 16, 1, 1, 1, false, false},
	{"mobilenet_1x1_112x16x96", 112, 16, 96, 1, 1, 1, false, false},
	{"mobilenet_1x1_56x24x144", 56, 24, 144, 1, 1, 1, false, false},
	{"mobilenet_1x1_56x144x24_add", 56, 144, 24, 1, 1, 1, true, false},
	{"mobilenet_1x1_28x192x32", 28, 192, 32, 1, 1, 1, false, false},
	{"mobilenet_1x1_14x384x64", 14, 384, 64, 1, 1, 1, false, false},
	{"mobilenet_1x1_14x96x576", 14, 96, 576, 1, 1, 1, false, false},
	{"mobilenet_1x1_7x960x320", 7, 960, 320, 1, 1, 1, false, false},
	{"mobilenet_dw3_112x32", 112, 32, 32, 3, 1, 32, false, false},
	{"mobilenet_dw3s2_112x96", 112, 96, 96, 3, 2, 96, false, false},
	{"mobilenet_dw3_56x144", 56, 144, 144, 3, 1, 144, false, false},
	{"mobilenet_dw3_14x384", 14, 384, 384, 3, 1, 384, false, false},
	{"mobilenet_dw3_7x960", 7, 960, 960, 3, 1, 960, false, false},
	{"efficientnet_dw5_28x240", 28, 240, 240, 5, 1, 240, false, false},
	{"efficientnet_dw5s2_56x144", 56, 144, 144, 5, 2, 144, false, false},
	{"mobilenetv3_1x1_14x40x240_table", 14, 40, 240, 1, 1, 1, false, true},
	{"mobilenetv3_1x1_28x24x96_table", 28, 24, 96, 1, 1, 1, false, true},
	{"mobilenetv3_dw5_14x240_table", 14, 240, 240, 5, 1, 240, false, true},
	{"resnext_3x3_28x256g32", 28, 256, 256, 3, 1, 32, false, false},
}

func (v layer) spec(r rng) ConvSpec {
	s := ConvSpec{N: 1, H: v.h, W: v.h, C: v.c, K: v.k, KH: v.size, KW: v.size, SH: v.s, SW: v.s, DH: 1, DW: 1, Groups: v.groups, PT: v.size / 2, PL: v.size / 2, XZero: 3}
	s.OH = (v.h+2*s.PT-v.size)/v.s + 1
	s.OW = s.OH
	if v.size > 1 && v.s == 2 && v.h%2 == 0 { // as TensorFlow pads
		s.OH, s.OW, s.PT, s.PL = v.h/2, v.h/2, (v.size-2)/2, (v.size-2)/2
	}
	s.Weights, s.Mult = r.int8s(v.size*v.size*v.c/v.groups*v.k), make([]float32, v.k)
	for i := range s.Mult {
		s.Mult[i] = 1e-3
	}
	if v.residual {
		s.Out.Zero = 128
		s.Residual = &Residual{Zero: 7, A: 1 << 14, B: 9000, Mult: 1.0 / (1 << 14)}
	}
	if v.tabulate {
		s.Table = r.table()
	}
	return s
}

// benchKernel reports the fastest run: others share the machine.
func benchKernel(b *testing.B, k Kernel, a *Args, macs float64) {
	a.Scratch = aligned[byte](k.ScratchBytes())
	k.Run(0, k.Tiles(), a)
	best := math.Inf(1)
	for b.Loop() {
		start := time.Now()
		a.Held = 0
		k.Run(0, k.Tiles(), a)
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	b.ReportMetric(2*macs/best, "GOPS")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best/1000, "us")
}

func benchLevels(b *testing.B, f func(b *testing.B, l isa.Level)) {
	for _, l := range isa.Available() {
		b.Run(l.String(), func(b *testing.B) { f(b, l) })
	}
}

func BenchmarkConv(b *testing.B) {
	for _, v := range layers {
		b.Run(v.name, func(b *testing.B) {
			benchLevels(b, func(b *testing.B, l isa.Level) {
				r := newRNG(1)
				s := v.spec(r)
				k, err := Conv(s, l)
				must(b, k, err)
				n := s.OH * s.OW * s.K
				a := &Args{X: r.bytes(s.H * s.W * s.C), X2: r.bytes(n), Y: make([]byte, n)}
				benchKernel(b, k, a, float64(n)*float64(s.KH*s.KW*s.C/s.Groups))
			})
		})
	}
}

// BenchmarkPictures is BenchmarkConv of several pictures at the best level.
func BenchmarkPictures(b *testing.B) {
	for _, v := range layers {
		for _, n := range []int{4, 8, 16} {
			if v.groups > 1 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", v.name, n), func(b *testing.B) {
				r := newRNG(1)
				s := v.spec(r)
				s.N = n
				k, err := Conv(s, isa.Available()[0])
				must(b, k, err)
				size := n * s.OH * s.OW * s.K
				a := &Args{X: r.bytes(n * s.H * s.W * s.C), X2: r.bytes(size), Y: make([]byte, size)}
				benchKernel(b, k, a, float64(size)*float64(s.KH*s.KW*s.C/s.Groups))
			})
		}
	}
}

func BenchmarkDot(b *testing.B) {
	for _, d := range []struct {
		m, k, n int
		name    string
		out     Out
		table   bool
	}{
		{128, 384, 384, "", Out{Zero: 3}, false},
		{128, 384, 384, "_f32", Out{DType: F32}, false},
		{128, 384, 1536, "", Out{Zero: 3}, false},
		{128, 384, 1536, "_table", Out{Zero: 3}, true},
		{128, 1536, 384, "", Out{Zero: 3}, false},
		{128, 1536, 384, "_f32", Out{DType: F32}, false},
		{1, 512, 1000, "", Out{Zero: 3}, false},
		{1, 1280, 1000, "", Out{Zero: 3}, false},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d%s", d.m, d.k, d.n, d.name), func(b *testing.B) {
			benchLevels(b, func(b *testing.B, l isa.Level) {
				r := newRNG(1)
				s := DotSpec{M: d.m, K: d.k, N: d.n, Weights: r.int8s(d.k * d.n), Mult: repeat(1e-3, d.n), Out: d.out}
				if d.table {
					s.Table = r.table()
				}
				k, err := Dot(s, l)
				must(b, k, err)
				benchKernel(b, k, &Args{X: r.bytes(d.m * d.k), Y: make([]byte, d.m*d.n*d.out.DType.bytes())}, float64(d.m*d.k*d.n))
			})
		})
	}
}

func BenchmarkDotGeneral(b *testing.B) {
	for _, s := range []DotGeneralSpec{
		{AShape: []int{12, 128, 32}, BShape: []int{12, 128, 32}, TransposeB: true, AZero: 100, BZero: 101, Mult: 1e-3},
		{AShape: []int{12, 128, 128}, BShape: []int{12, 128, 32}, BZero: 101, Mult: 1e-3},
		{AShape: []int{3, 197, 197}, BShape: []int{3, 197, 64}, BZero: 101, Mult: 1e-3},
		{AShape: []int{3, 197, 64}, BShape: []int{3, 197, 64}, TransposeB: true, AZero: 3, BZero: 101, Mult: 1e-3, Out: Out{DType: F32}},
	} {
		b.Run(fmt.Sprint(s.AShape, s.BShape), func(b *testing.B) {
			benchLevels(b, func(b *testing.B, l isa.Level) {
				r := newRNG(1)
				k, err := DotGeneral(s, l)
				must(b, k, err)
				na, nb := product(s.AShape), product(s.BShape)
				h, m, kk := s.AShape[0], s.AShape[1], s.AShape[2]
				n := nb / h / kk
				benchKernel(b, k, &Args{X: r.bytes(na), X2: r.bytes(nb), Y: make([]byte, h*m*n*4)}, float64(h*m*n*kk))
			})
		})
	}
}

// The peak of the matrix kernels: a product whose operands stay in the first
// level cache.
func BenchmarkPeak(b *testing.B) {
	for i := range gemmKernels {
		k := &gemmKernels[i]
		if _, err := isa.Best(); err != nil || !contains(isa.Available(), k.level) {
			continue
		}
		b.Run(k.name, func(b *testing.B) {
			const steps, peakTiles = 128, 8
			elem := k.format.elem()
			x, w := aligned[byte](peakTiles*k.rows*steps*k.quad*elem), aligned[byte](steps*k.stepBytes())
			sums := aligned[byte](peakTiles * k.rows * k.cols * 4)
			best := math.Inf(1)
			for b.Loop() {
				start := time.Now()
				g := &gemmArgs{
					x: base(x), xStep: uintptr(steps * k.quad * elem), runs: base(noOffset[:]), numRuns: 1, quads: steps, w: base(w),
					init: base(noSums[:]), sums: base(sums), sumStep: uintptr(4 * k.cols), tiles: peakTiles, rows: k.rows,
				}
				k.run[k.rows-1](g)
				best = min(best, float64(time.Since(start).Nanoseconds()))
			}
			b.ReportMetric(2*float64(peakTiles*k.rows*steps*k.quad*k.cols)/best, "GOPS")
		})
	}
}

func contains(ls []isa.Level, l isa.Level) bool {
	for _, v := range ls {
		if v == l {
			return true
		}
	}
	return false
}

func BenchmarkElementwise(b *testing.B) {
	const n = 28 * 28 * 128
	r := newRNG(1)
	sh := []int{28, 28, 128}
	for _, c := range []struct {
		name string
		make func(l isa.Level) (Kernel, error)
	}{
		{"add", func(l isa.Level) (Kernel, error) {
			return Add(PairSpec{AShape: sh, BShape: sh, FactorA: 9000, FactorB: 1 << 14, Mult: 1e-4}, l)
		}},
		{"multiply_channels", func(l isa.Level) (Kernel, error) {
			return Multiply(PairSpec{AShape: sh, BShape: []int{1, 1, 128}, Mult: 1e-2}, l)
		}},
		{"multiply_pairs", func(l isa.Level) (Kernel, error) {
			return Multiply(PairSpec{AShape: []int{28 * 28, 64, 2}, BShape: []int{64, 1}, Mult: 1e-2}, l)
		}},
		{"lookup", func(l isa.Level) (Kernel, error) { return Lookup(LookupSpec{Len: n, Table: r.table()}, l) }},
		{"quantize", func(l isa.Level) (Kernel, error) { return Quantize(QuantizeSpec{Len: n, Inv: 3}, l) }},
		{"dequantize", func(l isa.Level) (Kernel, error) {
			return Dequantize(DequantizeSpec{Outer: 1, Channels: 1, Inner: n, Zero: []int32{3}, Scale: []float32{2}}, l)
		}},
		{"mean", func(l isa.Level) (Kernel, error) {
			return Mean(MeanSpec{Outer: 1, Count: 784, Inner: 128, Mult: 1e-3}, l)
		}},
		{"max_pool", func(l isa.Level) (Kernel, error) {
			return MaxPool(PoolSpec{N: 1, H: 28, W: 28, C: 128, OH: 14, OW: 14, KH: 3, KW: 3, SH: 2, SW: 2, DH: 1, DW: 1, PT: 1, PL: 1}, l)
		}},
		{"average_pool", func(l isa.Level) (Kernel, error) {
			return AveragePool(PoolSpec{N: 1, H: 32, W: 32, C: 16, OH: 32, OW: 32, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, XZero: 3, Mults: make([]float32, 10)}, l)
		}},
		{"softmax", func(l isa.Level) (Kernel, error) {
			t := make([]int32, 256)
			t[0] = 1000
			return Softmax(SoftmaxSpec{Rows: 784, K: 128, Table: t, Factor: 255}, l)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchLevels(b, func(b *testing.B, l isa.Level) {
				k, err := c.make(l)
				must(b, k, err)
				a := &Args{X: r.bytes(4 * n), X2: r.bytes(n), Y: make([]byte, 4*n), Scratch: aligned[byte](k.ScratchBytes())}
				best := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					k.Run(0, k.Tiles(), a)
					best = min(best, float64(time.Since(start).Nanoseconds()))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(best/n, "ns/elem")
			})
		})
	}
}

// Layers whose weights were not used since those of all others: they come from
// the third level cache, as in a whole network.
func BenchmarkColdWeights(b *testing.B) {
	v := layer{"", 7, 512, 512, 3, 1, 1, false, false}
	b.Run("conv", func(b *testing.B) {
		s := v.spec(newRNG(1))
		n := s.OH * s.OW * s.K
		benchCold(b, 10, s.H*s.W*s.C, n, 2*float64(n)*9*512, func() (Kernel, error) { return Conv(s, isa.Available()[0]) })
	})
	for _, d := range [][3]int{{16, 384, 384}, {128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}, {197, 192, 192}, {197, 192, 768}} {
		b.Run(fmt.Sprintf("%dx%dx%d", d[0], d[1], d[2]), func(b *testing.B) {
			s := DotSpec{M: d[0], K: d[1], N: d[2], Weights: newRNG(1).int8s(d[1] * d[2]), Mult: repeat(1e-3, d[2]), Out: Out{Zero: 3}}
			benchCold(b, 1+6<<20/(d[1]*d[2]), d[0]*d[1], d[0]*d[2], 2*float64(d[0]*d[1]*d[2]), func() (Kernel, error) { return Dot(s, isa.Available()[0]) })
		})
	}
}

func benchCold(b *testing.B, count, in, out int, ops float64, prepare func() (Kernel, error)) {
	var ks []Kernel
	for range count {
		k, err := prepare()
		ks = append(ks, must(b, k, err))
	}
	a := &Args{X: newRNG(2).bytes(in), Y: make([]byte, out), Scratch: aligned[byte](ks[0].ScratchBytes())}
	best := math.Inf(1)
	for b.Loop() {
		start := time.Now()
		for _, k := range ks {
			k.Run(0, k.Tiles(), a)
		}
		best = min(best, float64(time.Since(start).Nanoseconds())/float64(count))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ops/best, "GOPS")
	b.ReportMetric(best/1000, "us")
}
