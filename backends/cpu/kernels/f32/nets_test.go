package f32

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// net is the kernels of a network, one after another; only shapes matter here.
type net struct {
	l       isa.Level
	kernels []Kernel
	macs    float64
	h, c    int // of the current tensor
	bytes   int // largest tensor
	weights int
}

func (n *net) add(k Kernel, err error, macs, elems int) {
	if err != nil {
		panic("BUG: " + err.Error())
	}
	n.kernels, n.macs, n.bytes = append(n.kernels, k), n.macs+float64(macs), max(n.bytes, 4*elems)
}

func (n *net) conv(k, kh, s, groups int, act string, residual bool) {
	p := kh / 2
	oh := ceilDiv(n.h, s)
	sp := ConvSpec{
		N: 1, H: n.h, W: n.h, C: n.c, OH: oh, OW: oh, K: k, KH: kh, KW: kh, SH: s, SW: s, DH: 1, DW: 1, PT: p, PL: p, Groups: groups,
		Weights: make([]float32, kh*kh*n.c/groups*k), Bias: make([]float32, k), Act: Act{Kind: act, Max: 6}, Residual: residual,
	}
	for i := range sp.Weights {
		sp.Weights[i] = float32(i%7) - 3
	}
	n.weights += len(sp.Weights)
	in := n.h * n.h * n.c
	kern, err := Conv(sp, n.l)
	n.h, n.c = oh, k
	n.add(kern, err, oh*oh*k*kh*kh*in/(in/sp.C)/groups, max(in, oh*oh*k))
}

func (n *net) dot(m, k, out int, act string, residual bool) {
	kern, err := Dot(DotSpec{M: m, K: k, N: out, Weights: make([]float32, k*out), Bias: make([]float32, out), Act: Act{Kind: act}, Residual: residual}, n.l)
	n.weights += k * out
	n.add(kern, err, m*k*out, m*max(k, out))
}

func (n *net) head(classes int) {
	k, err := Reduce(ReduceSpec{Op: "mean", Shape: []int{1, n.h, n.h, n.c}, Axes: []int{1, 2}}, n.l)
	n.add(k, err, 0, n.c)
	n.dot(1, n.c, classes, "", false)
}

func (n *net) maxPool() {
	oh := n.h / 2
	k, err := MaxPool(PoolSpec{N: 1, H: n.h, W: n.h, C: n.c, OH: oh, OW: oh, KH: 3, KW: 3, SH: 2, SW: 2, DH: 1, DW: 1, PT: 1, PL: 1, PB: 1, PR: 1}, n.l)
	n.add(k, err, 0, n.h*n.h*n.c)
	n.h = oh
}

func resnet18(l isa.Level) *net {
	n := &net{l: l, h: 224, c: 3}
	n.conv(64, 7, 2, 1, "relu", false)
	n.maxPool()
	for i, k := range []int{64, 128, 256, 512} {
		for j := range 2 {
			s := 1
			if i > 0 && j == 0 {
				s = 2
				m := *n
				m.conv(k, 1, 2, 1, "", false)
				n.kernels, n.macs, n.weights = m.kernels, m.macs, m.weights
			}
			n.conv(k, 3, s, 1, "relu", false)
			n.conv(k, 3, 1, 1, "relu", true)
		}
	}
	n.head(1000)
	return n
}

func resnet50(l isa.Level) *net {
	n := &net{l: l, h: 224, c: 3}
	n.conv(64, 7, 2, 1, "relu", false)
	n.maxPool()
	for i, blocks := range []int{3, 4, 6, 3} {
		k := 64 << i
		for j := range blocks {
			s := 1
			if j == 0 {
				if i > 0 {
					s = 2
				}
				m := *n
				m.conv(4*k, 1, s, 1, "", false)
				n.kernels, n.macs, n.weights = m.kernels, m.macs, m.weights
			}
			n.conv(k, 1, 1, 1, "relu", false)
			n.conv(k, 3, s, 1, "relu", false)
			n.conv(4*k, 1, 1, 1, "relu", true)
		}
	}
	n.head(1000)
	return n
}

// inverted is one stage of inverted residuals: expansion, channels, blocks, first
// stride, kernel.
type inverted struct{ t, c, n, s, k int }

func mobile(l isa.Level, stem, last int, stages []inverted) *net {
	n := &net{l: l, h: 224, c: 3}
	n.conv(stem, 3, 2, 1, "clamp", false)
	for _, st := range stages {
		for i := range st.n {
			s := 1
			if i == 0 {
				s = st.s
			}
			in := n.c
			if st.t > 1 {
				n.conv(in*st.t, 1, 1, 1, "clamp", false)
			}
			n.conv(n.c, st.k, s, n.c, "clamp", false)
			n.conv(st.c, 1, 1, 1, "", s == 1 && in == st.c)
		}
	}
	n.conv(last, 1, 1, 1, "clamp", false)
	n.head(1000)
	return n
}

func mobilenetV2(l isa.Level) *net {
	return mobile(l, 32, 1280, []inverted{{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3}, {6, 32, 3, 2, 3}, {6, 64, 4, 2, 3}, {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3}, {6, 320, 1, 1, 3}})
}

func efficientnetLite0(l isa.Level) *net {
	return mobile(l, 32, 1280, []inverted{{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3}, {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3}, {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}})
}

// miniLM is MiniLM-L6 at 128 tokens, without the embedding.
func miniLM(l isa.Level) *net {
	n := &net{l: l}
	const t, d, heads = 128, 384, 12
	norm := func() {
		k, err := LayerNorm(NormSpec{Rows: t, N: d, Scale: make([]float32, d), Bias: make([]float32, d), Eps: 1e-12}, l)
		n.add(k, err, 0, t*d)
	}
	for range 6 {
		for range 3 {
			n.dot(t, d, d, "", false)
		}
		b := []int{heads}
		k, err := DotGeneral(DotGeneralSpec{BatchA: b, BatchB: b, M: t, K: d / heads, N: t, TransposeB: true}, l)
		n.add(k, err, t*t*d, heads*t*t)
		k, err = Binary(BinarySpec{Op: "multiply", A: []int{heads, t, t}, B: []int{1}}, l)
		n.add(k, err, 0, heads*t*t)
		k, err = Binary(BinarySpec{Op: "add", A: []int{heads, t, t}, B: []int{1, 1, t}}, l)
		n.add(k, err, 0, heads*t*t)
		k, err = Softmax(SoftmaxSpec{Shape: []int{heads, t, t}, Axis: -1}, l)
		n.add(k, err, 0, heads*t*t)
		k, err = DotGeneral(DotGeneralSpec{BatchA: b, BatchB: b, M: t, K: t, N: d / heads}, l)
		n.add(k, err, t*t*d, heads*t*t)
		n.dot(t, d, d, "", true)
		norm()
		n.dot(t, d, 4*d, "gelu", false)
		n.dot(t, 4*d, d, "", true)
		norm()
	}
	return n
}

var nets = []struct {
	name string
	make func(l isa.Level) *net
}{{"resnet18", resnet18}, {"resnet50", resnet50}, {"mobilenetv2", mobilenetV2}, {"efficientnet-lite0", efficientnetLite0}, {"minilm-l6-128", miniLM}}

// BenchmarkNet runs the kernels of whole networks on one thread, without the
// planner: buffers alternate between two, residuals come from a third.
func BenchmarkNet(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, c := range nets {
			b.Run(c.name, func(b *testing.B) {
				n := c.make(l)
				r := rand.New(rand.NewPCG(1, 1))
				x, y, res := randFloats(r, n.bytes/4), alignedFloats(n.bytes/4), randFloats(r, n.bytes/4)
				scratch := 0
				for _, k := range n.kernels {
					scratch = max(scratch, k.ScratchBytes())
				}
				a := &Args{X2: asBytes(res), Scratch: asBytes(alignedFloats(scratch / 4))}
				for b.Loop() {
					for i, k := range n.kernels {
						a.X, a.Y = asBytes(x), asBytes(y)
						if i%2 == 1 {
							a.X, a.Y = a.Y, a.X
						}
						k.Run(0, k.Tiles(), a)
					}
				}
				b.ReportMetric(2*n.macs*float64(b.N)/b.Elapsed().Seconds()/1e9, "gflops")
			})
		}
	})
}

// BenchmarkNetOps shows where the time of a network goes: one line a kernel.
func BenchmarkNetOps(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, c := range nets {
			n := c.make(l)
			a := &Args{X: asBytes(alignedFloats(n.bytes / 4)), X2: asBytes(alignedFloats(n.bytes / 4)), Y: asBytes(alignedFloats(n.bytes / 4))}
			for i, k := range n.kernels {
				b.Run(fmt.Sprintf("%s/%d-%s", c.name, i, k.Name()), func(b *testing.B) {
					a.Scratch = asBytes(alignedFloats(k.ScratchBytes() / 4))
					for b.Loop() {
						k.Run(0, k.Tiles(), a)
					}
				})
			}
		}
	})
}
