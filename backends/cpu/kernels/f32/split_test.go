package f32

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// TestSplitLayout holds the argument blocks to the offsets that gen/ writes.
func TestSplitLayout(t *testing.T) {
	var l splitLines
	var s splitTile
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"lines dst", unsafe.Offsetof(l.dst), 0},
		{"lines src", unsafe.Offsetof(l.src), 8},
		{"lines count", unsafe.Offsetof(l.count), 16},
		{"lines step", unsafe.Offsetof(l.step), 24},
		{"lines second", unsafe.Offsetof(l.second), 32},
		{"lines steps", unsafe.Offsetof(l.steps), 40},
		{"lines srcStep", unsafe.Offsetof(l.srcStep), 48},
		{"lines mask1", unsafe.Offsetof(l.mask1), 56},
		{"lines mask2", unsafe.Offsetof(l.mask2), 64},
		{"lines tiles", unsafe.Offsetof(l.tiles), 72},
		{"lines tileStep", unsafe.Offsetof(l.tileStep), 80},
		{"a", unsafe.Offsetof(s.a), 0},
		{"aTile", unsafe.Offsetof(s.aTile), 8},
		{"b", unsafe.Offsetof(s.b), 16},
		{"bTile", unsafe.Offsetof(s.bTile), 24},
		{"y", unsafe.Offsetof(s.y), 32},
		{"ldy", unsafe.Offsetof(s.ldy), 40},
		{"steps", unsafe.Offsetof(s.steps), 48},
		{"groups", unsafe.Offsetof(s.groups), 56},
		{"config", unsafe.Offsetof(s.config), 64},
		{"init", unsafe.Offsetof(s.init), 72},
		{"bias", unsafe.Offsetof(s.bias), 80},
	} {
		if f.got != f.want {
			t.Errorf("field %s lies at %d, gen/ has %d", f.name, f.got, f.want)
		}
	}
}

// splitLevels runs f at the levels that have products by parts.
func splitLevels(t *testing.T, f func(t *testing.T, l isa.Level)) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		if vectorSplit(l) == nil {
			t.Skip("no tile registers that multiply bfloat16")
		}
		f(t, l)
	})
}

// dotProblem is one product, with the exact sums and those of magnitudes.
type dotProblem struct {
	spec       SplitSpec
	x, x2      []float32
	bias       []float32
	sum, large []float64
	chain      []float32
}

func (p *dotProblem) compute(t *testing.T) {
	s := &p.spec
	batch, err := BinarySpec{A: s.BatchA, B: s.BatchB}.Shape()
	if err != nil {
		t.Fatal(err)
	}
	for b := range product(batch) {
		ia, ib := broadcastIndex(b, batch, s.BatchA)*s.M*s.K, broadcastIndex(b, batch, s.BatchB)*s.K*s.N
		for m := range s.M {
			for n := range s.N {
				sum, large, chain := 0.0, 0.0, float32(0)
				for k := range s.K {
					i, j := m*s.K+k, k*s.N+n
					if s.TransposeA {
						i = k*s.M + m
					}
					if s.TransposeB {
						j = n*s.K + k
					}
					v := float64(p.x[ia+i]) * float64(p.x2[ib+j])
					sum, large, chain = sum+v, large+math.Abs(v), fmath.FMA32(p.x[ia+i], p.x2[ib+j], chain)
				}
				if s.WithBias {
					sum, large, chain = sum+float64(p.bias[n]), large+math.Abs(float64(p.bias[n])), chain+p.bias[n]
				}
				p.sum, p.large, p.chain = append(p.sum, sum), append(p.large, large), append(p.chain, finishNaive(chain, 0, 0, nil, nil, s.Act))
			}
		}
	}
}

func (p *dotProblem) run(t *testing.T, r *rand.Rand, l isa.Level) []float32 {
	x2 := p.x2
	if p.spec.Packed {
		k, err := PackSplit(p.spec, l)
		if err != nil {
			t.Fatal(err)
		}
		x2 = runKernel(t, r, k, p.spec.PackedFloats(), p.x2, p.bias)
	}
	k, err := SplitDot(p.spec, l)
	if err != nil {
		t.Fatal(err)
	}
	n := len(p.sum)
	y := runKernel(t, r, k, n*max(1, p.spec.Sums), p.x, x2)
	for i := n; i < len(y); i++ {
		y[i%n] += y[i]
	}
	return y[:n]
}

func randDot(r *rand.Rand, i int) *dotProblem {
	batches := [][2][]int{{{}, {}}, {{2, 3}, {2, 3}}, {{3}, {2, 1}}, {{1, 4}, {2, 4}}}
	b := batches[r.IntN(len(batches))]
	s := SplitSpec{DotGeneralSpec: DotGeneralSpec{BatchA: b[0], BatchB: b[1], M: 1 + r.IntN(80), K: 1 + r.IntN(140), N: 1 + r.IntN(110), TransposeA: i%2 == 0, TransposeB: i/2%2 == 0}}
	switch {
	case i%5 == 4:
		s.BatchA, s.BatchB, s.Packed, s.WithBias = nil, nil, true, i%2 == 0
	case i%8 == 3: // sums of several blocks, units of a part of the columns
		s.BatchA, s.BatchB, s.M, s.K, s.N = nil, nil, 1+r.IntN(70), 1500+r.IntN(100), 300+r.IntN(40)
	}
	switch i {
	case 20, 23: // columns of several calls
		s.BatchA, s.BatchB, s.Packed, s.M, s.K, s.N = nil, nil, i == 23, 3, 40, 1600
		s.WithBias = s.Packed
	case 24: // columns that are split in several calls
		s.BatchA, s.BatchB, s.Packed, s.TransposeB, s.M, s.K, s.N = nil, nil, true, false, 3, 8300, 20
	}
	if i%8 == 3 && !s.Packed {
		s.Sums = 1 + r.IntN(5)
	}
	p := &dotProblem{spec: s, bias: randFloats(r, s.N)}
	p.x, p.x2 = randFloats(r, product(s.BatchA)*s.M*s.K), randFloats(r, product(s.BatchB)*s.K*s.N)
	return p
}

// TestSplit compares products by parts with exact sums: the error is no more than
// 2⁻²⁰ of the sum of magnitudes, and on the whole no more than that of a chain.
func TestSplit(t *testing.T) {
	splitLevels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(21, 1))
		var split, chain float64
		for i := range 80 {
			p := randDot(r, i)
			for _, x := range [][]float32{p.x, p.x2, p.bias} {
				for j := range x { // what 24 bits there are, over several exponents
					x[j] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(9)-4)))
				}
			}
			p.compute(t)
			for j, v := range p.run(t, r, l) {
				e := math.Abs(float64(v) - p.sum[j])
				if !(e <= p.large[j]*0x1p-20) {
					t.Fatalf("%d %+v: value %d is %g, wanted %g ± %g", i, p.spec, j, v, p.sum[j], p.large[j]*0x1p-20)
				}
				c := (float64(p.chain[j]) - p.sum[j]) / p.large[j]
				split, chain = split+(e/p.large[j])*(e/p.large[j]), chain+c*c
			}
		}
		t.Logf("root mean square error: parts %.2g, chain %.2g of that", math.Sqrt(split), math.Sqrt(chain))
		if split > chain {
			t.Errorf("error by parts %g, of chains %g: wanted no more", split, chain)
		}
	})
}

// TestSplitNotFinite: rows with infinities, NaN and sums that overflow are those
// of a chain; activations follow.
func TestSplitNotFinite(t *testing.T) {
	splitLevels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(22, 1))
		inf := float32(math.Inf(1))
		special := []float32{inf, -inf, float32(math.NaN()), math.MaxFloat32, -math.MaxFloat32, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff)}
		for i := range 60 {
			p := randDot(r, i)
			if p.spec.Sums < 2 {
				p.spec.Act = randAct(r)
			}
			for range 1 + r.IntN(3) {
				x := [][]float32{p.x, p.x2}[r.IntN(2)]
				x[r.IntN(len(x))] = special[r.IntN(len(special))]
			}
			p.compute(t)
			got := p.run(t, r, l)
			for j, v := range got {
				w := p.chain[j]
				if v != v && w != w || v == w {
					continue
				}
				if tol := p.large[j]*0x1p-18 + 1e-6; (p.spec.Act.Kind == "" || p.spec.Act.Kind == "relu" || p.spec.Act.Kind == "clamp") && !(math.Abs(float64(v)-float64(w)) <= tol) || (v != v) != (w != w) {
					t.Fatalf("%d %+v: value %d is %g, wanted %g", i, p.spec, j, v, w)
				}
			}
		}
	})
}

// TestSplitRefused: what cannot be prepared is an error.
func TestSplitRefused(t *testing.T) {
	s := SplitSpec{DotGeneralSpec: DotGeneralSpec{M: 4, K: 4, N: 4}}
	if _, err := SplitDot(s, isa.Portable); err == nil {
		t.Error("a level without tile registers was taken")
	}
	splitLevels(t, func(t *testing.T, l isa.Level) {
		for _, change := range []func(*SplitSpec){
			func(s *SplitSpec) { s.K = 0 },
			func(s *SplitSpec) { s.WithBias = true },
			func(s *SplitSpec) { s.Packed, s.BatchA = true, []int{2} },
			func(s *SplitSpec) { s.BatchA, s.BatchB = []int{2}, []int{3} },
			func(s *SplitSpec) { s.Sums = 2 },
			func(s *SplitSpec) { s.K, s.Sums, s.Packed = 100, 2, true },
		} {
			c := s
			change(&c)
			if _, err := SplitDot(c, l); err == nil {
				t.Errorf("%+v was taken", c)
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	for _, l := range isa.Available() {
		if vectorSplit(l) == nil {
			continue
		}
		for _, s := range []DotGeneralSpec{
			{M: 8320, K: 192, N: 768},
			{M: 8320, K: 768, N: 192},
			{M: 8320, K: 768, N: 192, TransposeB: true},
			{M: 192, K: 8320, N: 768, TransposeA: true},
			{M: 768, K: 8320, N: 192, TransposeA: true},
			{M: 192, K: 8320, N: 192, TransposeA: true},
			{BatchA: []int{384}, BatchB: []int{384}, M: 65, K: 64, N: 65, TransposeB: true},
			{BatchA: []int{384}, BatchB: []int{384}, M: 65, K: 65, N: 64},
			{BatchA: []int{384}, BatchB: []int{384}, M: 65, K: 65, N: 64, TransposeA: true},
			{M: 197, K: 384, N: 1536},
		} {
			for _, prepare := range []func() (Kernel, error){
				func() (Kernel, error) { return DotGeneral(s, l) },
				func() (Kernel, error) { return SplitDot(SplitSpec{DotGeneralSpec: s}, l) },
			} {
				k, err := prepare()
				if err != nil {
					b.Fatal(err)
				}
				batches := max(1, product(s.BatchA))
				a := &Args{
					X: asBytes(alignedFloats(batches * s.M * s.K)), X2: asBytes(alignedFloats(batches * s.K * s.N)),
					Y: asBytes(alignedFloats(batches * s.M * s.N)), Scratch: asBytes(alignedFloats(k.ScratchBytes()/4 + 1)),
				}
				b.Run(k.Name(), func(b *testing.B) {
					for b.Loop() {
						k.Run(0, k.Tiles(), a)
					}
					b.ReportMetric(2*float64(batches)*float64(s.M*s.K*s.N)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
