package f32

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// benchLevels runs f on every vector instruction set of this machine.
func benchLevels(b *testing.B, f func(b *testing.B, l isa.Level)) {
	for _, l := range isa.Available() {
		if l != isa.Portable {
			b.Run(l.String(), func(b *testing.B) { f(b, l) })
		}
	}
}

// BenchmarkPeak runs the largest micro-kernel with everything in registers and
// one cache line: the machine's FMA rate.
func BenchmarkPeak(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		g := gemmFor(l)
		buf := alignedFloats(64 * 64)
		off := [1]int64{}
		p := unsafe.Pointer(&buf[0])
		u := uintptr(p)
		t := tile{a: u, b: u, w: p, y: u, yb: u, next: u, bias: p, off: unsafe.Pointer(&off), segs: 1, seg: 4096, ldy: 256, mask: 1<<g.lanes - 1}
		f := g.run[g.wide-1][g.rows()-1]
		for b.Loop() {
			f(&t)
		}
		b.ReportMetric(2*float64(g.rows()*g.cols()*4096)*float64(b.N)/b.Elapsed().Seconds()/1e9, "gflops")
	})
}

func benchKernel(b *testing.B, k Kernel, nx, nx2, ny int, flops float64) {
	r := rand.New(rand.NewPCG(1, 1))
	a := &Args{X: asBytes(randFloats(r, nx)), X2: asBytes(randFloats(r, nx2)), Y: asBytes(alignedFloats(ny)), Scratch: asBytes(alignedFloats(k.ScratchBytes() / 4))}
	k.Run(0, k.Tiles(), a)
	for b.Loop() {
		k.Run(0, k.Tiles(), a)
	}
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "gflops")
}

// convLayers are layers of the networks that the engine is measured on.
var convLayers = []struct {
	name                  string
	h, c, k, kh, s, group int
}{
	{"resnet18-conv1", 224, 3, 64, 7, 2, 1},
	{"resnet18-56x64-3x3", 56, 64, 64, 3, 1, 1},
	{"resnet18-28x128-3x3", 28, 128, 128, 3, 1, 1},
	{"resnet18-14x256-3x3", 14, 256, 256, 3, 1, 1},
	{"resnet18-7x512-3x3", 7, 512, 512, 3, 1, 1},
	{"resnet18-56x64-128-s2", 56, 64, 128, 3, 2, 1},
	{"resnet50-56x64-256-1x1", 56, 64, 256, 1, 1, 1},
	{"resnet50-56x256-64-1x1", 56, 256, 64, 1, 1, 1},
	{"resnet50-28x128-512-1x1", 28, 128, 512, 1, 1, 1},
	{"resnet50-14x1024-256-1x1", 14, 1024, 256, 1, 1, 1},
	{"resnet50-7x512-2048-1x1", 7, 512, 2048, 1, 1, 1},
	{"mobilenetv2-112x16-96-1x1", 112, 16, 96, 1, 1, 1},
	{"mobilenetv2-56x24-144-1x1", 56, 24, 144, 1, 1, 1},
	{"mobilenetv2-56x144-24-1x1", 56, 144, 24, 1, 1, 1},
	{"mobilenetv2-14x576-96-1x1", 14, 576, 96, 1, 1, 1},
	{"mobilenetv2-112x32-dw3", 112, 32, 32, 3, 1, 32},
	{"mobilenetv2-112x96-dw3s2", 112, 96, 96, 3, 2, 96},
	{"mobilenetv2-14x576-dw3", 14, 576, 576, 3, 1, 576},
	{"efficientnet-28x240-dw5", 28, 240, 240, 5, 1, 240},
}

func BenchmarkConv(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, c := range convLayers {
			b.Run(c.name, func(b *testing.B) {
				p := c.kh / 2
				oh := (c.h+2*p-c.kh)/c.s + 1
				if c.s == 2 {
					oh = c.h / 2
				}
				s := ConvSpec{
					N: 1, H: c.h, W: c.h, C: c.c, OH: oh, OW: oh, K: c.k, KH: c.kh, KW: c.kh, SH: c.s, SW: c.s, DH: 1, DW: 1, PT: p, PL: p, Groups: c.group,
					Weights: make([]float32, c.kh*c.kh*c.c/c.group*c.k), Act: Act{Kind: "relu"},
				}
				k, err := Conv(s, l)
				if err != nil {
					b.Fatal(err)
				}
				n := oh * oh * c.k
				benchKernel(b, k, c.h*c.h*c.c, 1, n, 2*float64(n*c.kh*c.kh*c.c/c.group))
			})
		}
	})
}

func BenchmarkDot(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, s := range []DotSpec{{M: 128, K: 384, N: 1536}, {M: 128, K: 1536, N: 384}, {M: 128, K: 384, N: 384}, {M: 1, K: 2048, N: 1000}} {
			s.Weights = make([]float32, s.K*s.N)
			k, err := Dot(s, l)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(k.Name(), func(b *testing.B) { benchKernel(b, k, s.M*s.K, 1, s.M*s.N, 2*float64(s.M*s.K*s.N)) })
		}
	})
}

func BenchmarkDotGeneral(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, s := range []DotGeneralSpec{
			{M: 128, K: 32, N: 128, TransposeB: true}, {M: 128, K: 128, N: 32}, // attention
			{M: 192, K: 8320, N: 768, TransposeA: true}, {M: 768, K: 8320, N: 192, TransposeA: true}, {M: 192, K: 8320, N: 192, TransposeA: true}, // weight gradients
			{M: 8320, K: 768, N: 192}, {M: 8320, K: 192, N: 768, TransposeB: true}, // input gradients
		} {
			n := 1
			if s.M*s.N < 1<<15 {
				n = 12
			}
			s.BatchA, s.BatchB = []int{n}, []int{n}
			k, err := DotGeneral(s, l)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(k.Name(), func(b *testing.B) {
				benchKernel(b, k, n*s.M*s.K, n*s.K*s.N, n*s.M*s.N, 2*float64(n*s.M*s.K*s.N))
			})
		}
	})
}

// BenchmarkUnary runs the functions over 4096 values in the first level cache.
func BenchmarkUnary(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, u := range unaries {
			b.Run(u.name, func(b *testing.B) {
				k, err := Unary(UnarySpec{Name: u.name, N: 4096, Params: Params{Alpha: 0.1, Min: -1, Max: 1}}, l)
				if err != nil {
					b.Fatal(err)
				}
				benchKernel(b, k, 4096, 1, 4096, 0)
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/4096, "ns/value")
			})
		}
	})
}

// BenchmarkRows runs softmax over scores of which half are masked, and layer norm.
func BenchmarkRows(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, n := range []int{128, 197} {
			k, err := Softmax(SoftmaxSpec{Shape: []int{384, n}, Axis: -1}, l)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(k.Name(), func(b *testing.B) {
				x := randFloats(rand.New(rand.NewPCG(1, 1)), 384*n)
				for i := range x {
					x[i] -= 10000 * float32(i%2)
				}
				a := &Args{X: asBytes(x), Y: asBytes(alignedFloats(len(x)))}
				for b.Loop() {
					k.Run(0, k.Tiles(), a)
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(len(x)), "ns/value")
			})
		}
		for _, n := range []int{192, 384} {
			k, err := LayerNorm(NormSpec{Rows: 128, N: n, Scale: alignedFloats(n), Bias: alignedFloats(n), Eps: 1e-5}, l)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(k.Name(), func(b *testing.B) {
				benchKernel(b, k, 128*n, 1, 128*n, 0)
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(128*n), "ns/value")
			})
		}
	})
}

func BenchmarkAttention(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		k, err := Attention(AttentionSpec{Lead: []int{12}, T: 128, S: 128, D: 32, V: 32, Scale: 0.2, Mask: []int{1, 1, 128}}, l)
		if err != nil {
			b.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 1))
		n := 12 * 128 * 32
		a := &AttentionArgs{
			Args: Args{X: asBytes(randFloats(r, n)), X2: asBytes(randFloats(r, n)), Y: asBytes(alignedFloats(n)), Scratch: asBytes(alignedFloats(k.ScratchBytes() / 4))},
			V:    asBytes(randFloats(r, n)), Mask: asBytes(alignedFloats(128)),
		}
		for b.Loop() {
			k.Run(0, k.Tiles(), a)
		}
	})
}
