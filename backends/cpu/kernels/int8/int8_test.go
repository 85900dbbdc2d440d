package int8

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

func checkConv(t *testing.T, r rng, s ConvSpec, l isa.Level) {
	t.Helper()
	x := r.bytes(s.N * s.H * s.W * s.C)
	var x2 []byte
	if s.Residual != nil {
		x2 = r.bytes(s.N * s.OH * s.OW * s.K)
	}
	want := refConv(s, x, x2)
	k, err := Conv(s, l)
	must(t, k, err)
	got := runAll(t, r, k, x, x2, len(want))
	brief := s
	brief.Weights, brief.Bias, brief.Mult, brief.Table = nil, nil, nil, nil
	compare(t, k.Name(), got, want, brief)
}

// Each kernel that a layer could run by gives the same bits, and is the one named.
func TestChoices(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := newRNG(3)
		for _, v := range []layer{
			{"", 9, 40, 100, 3, 1, 1, true, false},
			{"", 7, 24, 96, 1, 1, 1, false, false},
			{"", 9, 128, 128, 3, 1, 128, false, false},
			{"", 10, 128, 128, 3, 2, 128, false, false},
		} {
			s := v.spec(r)
			k, err := Conv(s, l)
			must(t, k, err)
			for _, name := range k.(*op).Choices() {
				s.Kernel = name
				checkConv(t, r, s, l)
				k, err := Conv(s, l)
				must(t, k, err)
				if !strings.HasSuffix(k.Name(), name) {
					t.Errorf("%s was asked for, it is %s", name, k.Name())
				}
			}
			s.Kernel = "gemm_of_another_machine"
			checkConv(t, r, s, l)
		}
	})
}

func TestConv(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(300) {
			r := newRNG(seed)
			checkConv(t, r, r.conv(), l)
		}
	})
}

func TestDot(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(60) {
			r := newRNG(seed)
			s := DotSpec{M: r.in(1, 70), K: r.in(1, 200), N: r.in(1, 200)}
			c := r.finishConv(ConvSpec{N: 1, C: s.K, K: s.N, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1})
			s.XSigned, s.XZero, s.Weights, s.WZero, s.Bias, s.Mult, s.Out, s.Residual, s.Table = c.XSigned, c.XZero, c.Weights, c.WZero, c.Bias, c.Mult, c.Out, c.Residual, c.Table
			x, x2 := r.bytes(s.M*s.K), r.bytes(s.M*s.N)
			want := refConv(s.conv(), x, x2)
			k, err := Dot(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, x2, len(want)), want, c.Out)
		}
	})
}

// The layers of real networks: several bands, blocks and vectors. Every level
// gives what the portable kernels give, which TestConv compares to the definition.
func TestLayers(t *testing.T) {
	for i, v := range layers {
		r := newRNG(uint64(i))
		s := v.spec(r)
		if s.OH*s.OW*s.K*s.KH*s.KW*s.C/s.Groups > 60<<20 {
			continue // plain Go takes too long
		}
		s.XSigned = i%5 == 4
		s.XZero = r.zero(s.XSigned)
		if i%3 == 0 {
			s.Table = r.table()
		}
		x, x2 := r.bytes(s.H*s.W*s.C), r.bytes(s.OH*s.OW*s.K)
		k, err := Conv(s, isa.Portable)
		want := runAll(t, r, must(t, k, err), x, x2, len(x2))
		for _, l := range isa.Available() {
			k, err := Conv(s, l)
			compare(t, v.name+" "+l.String(), runAll(t, r, must(t, k, err), x, x2, len(x2)), want, k.Name())
		}
	}
}

// Sums that only just fit in 32 bits, and wrap on the way.
func TestWideSums(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := newRNG(1)
		const k = 66000
		s := DotSpec{M: 2, K: k, N: 3, Weights: make([]int8, 3*k), Bias: []int32{-5, -math.MaxInt32, math.MaxInt32}, Out: Out{DType: I32}}
		for i := range s.Weights {
			s.Weights[i] = []int8{127, 127, -127}[i%3]
		}
		x := make([]byte, 2*k)
		for i := range x {
			x[i] = 255
		}
		want := refConv(s.conv(), x, nil)
		kn, err := Dot(s, l)
		must(t, kn, err)
		compare(t, kn.Name(), runAll(t, r, kn, x, nil, len(want)), want, "")
	})
}

func TestDotGeneral(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(150) {
			r := newRNG(seed)
			m, k, n := r.in(1, 60), r.in(1, 70), r.in(1, 90)
			s := DotGeneralSpec{TransposeA: r.IntN(3) == 0, TransposeB: r.bool(), ASigned: r.bool(), BSigned: r.bool(), Mult: 1.0 / 700, Out: r.out(4)}
			s.AZero, s.BZero = r.zero(s.ASigned), r.zero(s.BSigned)
			b1, b2 := r.in(1, 3), r.in(1, 2)
			switch r.IntN(4) {
			case 0:
				s.AShape, s.BShape = []int{m, k}, []int{k, n}
				b1, b2 = 1, 1
			case 1:
				s.AShape, s.BShape = []int{b1, b2, m, k}, []int{b2, k, n}
			case 2:
				s.AShape, s.BShape = []int{b1, 1, m, k}, []int{1, b2, k, n}
			default:
				s.AShape, s.BShape = []int{b1, b2, m, k}, []int{b1, b2, k, n}
			}
			ra, rb := len(s.AShape), len(s.BShape)
			a, b := r.bytes(product(s.AShape)), r.bytes(product(s.BShape))
			la, lb := s.AShape[:ra-2], s.BShape[:rb-2]
			if s.TransposeA {
				s.AShape[ra-2], s.AShape[ra-1] = k, m
			}
			if s.TransposeB {
				s.BShape[rb-2], s.BShape[rb-1] = n, k
			}
			want := make([]byte, b1*b2*m*n*s.Out.DType.bytes())
			lead := func(s []int, i, j int) int {
				at := 0
				for k, d := range s {
					v := j
					if k == len(s)-2 {
						v = i
					}
					at = at*d + min(v, d-1)
				}
				return at
			}
			for i := range b1 {
				for j := range b2 {
					ma, mb := a[lead(la, i, j)*m*k:], b[lead(lb, i, j)*k*n:]
					for y := range m {
						for x := range n {
							var acc int32
							for q := range k {
								ia, ib := y*k+q, q*n+x
								if s.TransposeA {
									ia = q*m + y
								}
								if s.TransposeB {
									ib = x*k + q
								}
								acc += (get8(ma, ia, s.ASigned) - s.AZero) * (get8(mb, ib, s.BSigned) - s.BZero)
							}
							refPut(want, ((i*b2+j)*m+y)*n+x, acc, s.Mult, s.Out)
						}
					}
				}
			}
			kn, err := DotGeneral(s, l)
			must(t, kn, err)
			compare(t, kn.Name(), runAll(t, r, kn, a, b, len(want)), want, s)
		}
	})
}

func TestPairs(t *testing.T) {
	shapes := [][2][]int{
		{{3, 70, 5}, {3, 70, 5}},
		{{1}, {300}},
		{{300}, {1}},
		{{}, {}},
		{{2, 5, 7, 33}, {2, 1, 1, 33}},
		{{2, 1, 1, 40}, {2, 4, 3, 40}},
		{{2, 60, 50, 16}, {2, 1, 1, 16}},
		{{3, 1, 24}, {3, 700, 24}},
		{{4, 1, 65}, {1, 6, 1}},
		{{2, 3, 1}, {2, 1, 100}},
		{{70000}, {70000}},
		{{2, 40000}, {40000}},
		{{0, 3}, {3}},
		{{5, 1}, {5, 64}},
	}
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(120) {
			r := newRNG(seed)
			sh := shapes[int(seed)%len(shapes)]
			s := PairSpec{AShape: sh[0], BShape: sh[1], ASigned: r.bool(), BSigned: r.bool(), FactorA: int32(r.in(0, 1<<14)), FactorB: 1 << 14, Out: r.out(4)}
			s.AZero, s.BZero = r.zero(s.ASigned), r.zero(s.BSigned)
			add := r.bool()
			s.Mult = float32(math.Exp2(r.Float64()*4 - 9))
			if add {
				s.Mult /= 128
			}
			if s.Out.DType <= S8 && r.IntN(3) == 0 {
				s.Table = r.table()
			}
			a, b := r.bytes(product(s.AShape)), r.bytes(product(s.BShape))
			var shape []int
			rank := max(len(sh[0]), len(sh[1]))
			at := func(s []int, i int) int {
				if j := i - rank + len(s); j >= 0 {
					return s[j]
				}
				return 1
			}
			for i := range rank {
				d := max(at(sh[0], i), at(sh[1], i))
				if at(sh[0], i) == 0 {
					d = 0
				}
				shape = append(shape, d)
			}
			want := make([]byte, product(shape)*s.Out.DType.bytes())
			for i := range product(shape) {
				ia, ib, sa, sb, rest := 0, 0, 1, 1, i
				for d := rank - 1; d >= 0; d-- {
					j := rest % shape[d]
					rest /= shape[d]
					if at(sh[0], d) > 1 {
						ia += j * sa
					}
					if at(sh[1], d) > 1 {
						ib += j * sb
					}
					sa, sb = sa*at(sh[0], d), sb*at(sh[1], d)
				}
				va, vb := get8(a, ia, s.ASigned)-s.AZero, get8(b, ib, s.BSigned)-s.BZero
				acc := va * vb
				if add {
					acc = va*s.FactorA + vb*s.FactorB
				}
				refPut(want, i, acc, s.Mult, s.Out)
				if s.Table != nil {
					want[i] = s.Table[want[i]^xored(s.Out.DType == S8)]
				}
			}
			f := Multiply
			if add {
				f = Add
			}
			k, err := f(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, a, b, len(want)), want, s)
		}
	})
}

func TestLookup(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(40) {
			r := newRNG(seed)
			s := LookupSpec{Len: r.in(0, 3000), Signed: r.bool()}
			if seed == 0 {
				s.Len = 100000
			}
			x := r.bytes(s.Len)
			var want []byte
			if r.bool() {
				s.Table = r.table()
				want = make([]byte, s.Len)
				for i := range x {
					want[i] = s.Table[get8(x, i, s.Signed)+offset(s.Signed)]
				}
			} else {
				s.TableF32 = new([256]float32)
				want = make([]byte, 4*s.Len)
				for i := range s.TableF32 {
					s.TableF32[i] = r.Float32()
				}
				for i := range x {
					binary.LittleEndian.PutUint32(want[4*i:], math.Float32bits(s.TableF32[get8(x, i, s.Signed)+offset(s.Signed)]))
				}
			}
			k, err := Lookup(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, s.Len)
		}
	})
}

func TestPools(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(150) {
			r := newRNG(seed)
			c := ConvSpec{N: r.in(1, 2), C: r.in(1, 150), K: 1, KH: r.in(1, 5), KW: r.in(1, 5), SH: r.in(1, 3), SW: r.in(1, 3), DH: r.in(1, 2), DW: r.in(1, 2), Groups: 1}
			if seed%4 == 0 { // what has a kernel of its own
				c.C, c.KH, c.KW = 64*r.in(1, 3), 3, 3
			}
			c = r.finishConv(c)
			s := PoolSpec{
				N: c.N, H: c.H, W: c.W, C: c.C, OH: c.OH, OW: c.OW, KH: c.KH, KW: c.KW, SH: c.SH, SW: c.SW, DH: c.DH, DW: c.DW, PT: c.PT, PL: c.PL,
				XSigned: c.XSigned, XZero: c.XZero, CountIncludePad: r.bool(), Out: c.Out,
			}
			for i := range s.KH*s.KW + 1 {
				s.Mults = append(s.Mults, float32(0.9/float64(max(i, 1))))
			}
			x := r.bytes(s.N * s.H * s.W * s.C)
			n := s.N * s.OH * s.OW * s.C
			top, mean := make([]byte, n), make([]byte, n*s.Out.DType.bytes())
			for i := range n {
				ch, ox, oy, b := i%s.C, i/s.C%s.OW, i/s.C/s.OW%s.OH, i/s.C/s.OW/s.OH
				count, acc, most := 0, int32(0), int32(-128)+int32(128-offset(s.XSigned))
				for kh := range s.KH {
					for kw := range s.KW {
						iy, ix := oy*s.SH-s.PT+kh*s.DH, ox*s.SW-s.PL+kw*s.DW
						if iy < 0 || iy >= s.H || ix < 0 || ix >= s.W {
							continue
						}
						v := get8(x, ((b*s.H+iy)*s.W+ix)*s.C+ch, s.XSigned)
						count++
						acc += v - s.XZero
						most = max(most, v)
					}
				}
				if s.CountIncludePad {
					count = s.KH * s.KW
				}
				top[i] = byte(most)
				refPut(mean, i, acc, s.Mults[max(count, 1)], s.Out)
			}
			k, err := MaxPool(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, n), top, s)
			k, err = AveragePool(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(mean)), mean, s)
		}
	})
}

func TestMean(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(80) {
			r := newRNG(seed)
			s := MeanSpec{Outer: r.in(1, 5), Count: r.in(1, 300), Inner: r.in(1, 600), XSigned: r.bool(), Out: r.out(4)}
			if r.IntN(3) == 0 {
				s.Inner = 1
			}
			s.XZero, s.Mult = r.zero(s.XSigned), 1.1/float32(s.Count)
			x := r.bytes(s.Outer * s.Count * s.Inner)
			want := make([]byte, s.Outer*s.Inner*s.Out.DType.bytes())
			for o := range s.Outer {
				for i := range s.Inner {
					var acc int32
					for c := range s.Count {
						acc += get8(x, (o*s.Count+c)*s.Inner+i, s.XSigned) - s.XZero
					}
					refPut(want, o*s.Inner+i, acc, s.Mult, s.Out)
				}
			}
			k, err := Mean(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, s)
		}
	})
}

func TestQuantize(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(60) {
			r := newRNG(seed)
			s := QuantizeSpec{Len: r.in(0, 700), Inv: r.Float32() * 100, Out: r.out(2)}
			x := make([]byte, 4*s.Len)
			want := make([]byte, s.Len)
			o := s.Out.full()
			for i := range s.Len {
				v := (r.Float32() - 0.5) * 4
				switch r.IntN(12) {
				case 0:
					v = float32(math.NaN())
				case 1:
					v = float32(math.Inf(r.in(0, 1)*2 - 1))
				case 2:
					v = 3e38
				case 3:
					v = float32(r.in(-300, 300)) / 2 / s.Inv
				}
				binary.LittleEndian.PutUint32(x[4*i:], math.Float32bits(v))
				if v != v {
					want[i] = byte(o.Zero)
					continue
				}
				p := v * s.Inv
				p = min(max(p, float32(o.QMin-o.Zero)), float32(o.QMax-o.Zero))
				want[i] = byte(o.Zero + int32(math.RoundToEven(float64(p))))
			}
			k, err := Quantize(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, s.Len), want, s)

			d := DequantizeSpec{Outer: r.in(1, 4), Channels: r.in(1, 5), Inner: r.in(1, 100), XSigned: r.bool()}
			if r.bool() {
				d.Channels = 1
			}
			for range d.Channels {
				d.Zero, d.Scale = append(d.Zero, r.zero(d.XSigned)), append(d.Scale, r.Float32())
			}
			n := d.Outer * d.Channels * d.Inner
			q := r.bytes(n)
			want = make([]byte, 4*n)
			for i := range n {
				c := i / d.Inner % d.Channels
				binary.LittleEndian.PutUint32(want[4*i:], math.Float32bits(float32(get8(q, i, d.XSigned)-d.Zero[c])*d.Scale[c]))
			}
			k, err = Dequantize(d, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, q, nil, 4*n), want, d)
		}
	})
}

func TestSoftmax(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(60) {
			r := newRNG(seed)
			s := SoftmaxSpec{Rows: r.in(1, 20), K: r.in(1, 300), XSigned: r.bool(), Table: make([]int32, 256), Factor: 255, Out: r.out(4)}
			if s.Out.DType == F32 {
				s.Factor = 1
			}
			top := math.MaxInt32 / s.K
			for i := range s.Table {
				s.Table[i] = int32(float64(top) * math.Exp(-float64(i)/20))
			}
			x := r.bytes(s.Rows * s.K)
			want := make([]byte, s.Rows*s.K*s.Out.DType.bytes())
			for row := range s.Rows {
				most := int32(-128)
				for i := range s.K {
					most = max(most, get8(x, row*s.K+i, s.XSigned))
				}
				var sum int32
				for i := range s.K {
					sum += s.Table[most-get8(x, row*s.K+i, s.XSigned)]
				}
				m := s.Factor / float32(sum)
				for i := range s.K {
					refPut(want, row*s.K+i, s.Table[most-get8(x, row*s.K+i, s.XSigned)], m, s.Out)
				}
			}
			k, err := Softmax(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, s.Out)
		}
	})
}

func TestResize(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(60) {
			r := newRNG(seed)
			s := ResizeSpec{N: r.in(1, 2), H: r.in(1, 6), W: r.in(1, 6), C: r.in(1, 40), OH: r.in(1, 9), OW: r.in(1, 9), XSigned: r.bool(), Out: r.out(4), Mult: 1.2 / (1 << 22)}
			s.XZero = r.zero(s.XSigned)
			tap := func(n int) Tap { lo := r.IntN(n); return Tap{lo, min(lo+1, n-1), int32(r.in(0, 2048))} }
			if r.IntN(3) == 0 {
				s.H, s.OH, s.Mult = 1, 1, 1.2/(1<<11)
			} else {
				for range s.OH {
					s.TapsH = append(s.TapsH, tap(s.H))
				}
			}
			for range s.OW {
				s.TapsW = append(s.TapsW, tap(s.W))
			}
			x := r.bytes(s.N * s.H * s.W * s.C)
			want := make([]byte, s.N*s.OH*s.OW*s.C*s.Out.DType.bytes())
			for i := range s.N * s.OH * s.OW * s.C {
				c, ox, oy, n := i%s.C, i/s.C%s.OW, i/s.C/s.OW%s.OH, i/s.C/s.OW/s.OH
				px := func(y, x0 int) int32 { return get8(x, ((n*s.H+y)*s.W+x0)*s.C+c, s.XSigned) - s.XZero }
				tx := s.TapsW[ox]
				line := func(y int) int32 { return px(y, tx.Lo)*(2048-tx.W) + px(y, tx.Hi)*tx.W }
				acc := line(0)
				if s.TapsH != nil {
					ty := s.TapsH[oy]
					acc = line(ty.Lo)*(2048-ty.W) + line(ty.Hi)*ty.W
				}
				refPut(want, i, acc, s.Mult, s.Out)
			}
			k, err := Resize(s, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, s)

			q := NearestSpec{N: s.N, H: s.H, W: s.W, Bytes: s.C}
			for range s.OH {
				q.RowOf = append(q.RowOf, r.IntN(s.H))
			}
			for range s.OW {
				q.ColOf = append(q.ColOf, r.IntN(s.W))
			}
			want = nil
			for n := range q.N {
				for _, iy := range q.RowOf {
					for _, ix := range q.ColOf {
						want = append(want, x[((n*q.H+iy)*q.W+ix)*q.Bytes:][:q.Bytes]...)
					}
				}
			}
			k, err = Nearest(q, l)
			must(t, k, err)
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, q)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	r := newRNG(3)
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		s := r.finishConv(ConvSpec{N: 1, C: 20, K: 30, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1})
		s.Residual = nil
		k, err := Conv(s, l)
		must(t, k, err)
		a := &Args{X: r.bytes(s.N * s.H * s.W * s.C), Y: make([]byte, s.N*s.OH*s.OW*s.K*4), Scratch: aligned[byte](k.ScratchBytes())}
		if n := testing.AllocsPerRun(20, func() { k.Run(0, k.Tiles(), a) }); n != 0 {
			t.Errorf("a convolution allocates %v times in a run", n)
		}
		v := layer{"", 7, 64, 64, 3, 1, 1, true, false}
		s = v.spec(r)
		s.N = 10
		k, err = Conv(s, l)
		must(t, k, err)
		a = &Args{X: r.bytes(10 * 49 * 64), X2: r.bytes(10 * 49 * 64), Y: make([]byte, 10*49*64), Scratch: aligned[byte](k.ScratchBytes())}
		if n := testing.AllocsPerRun(20, func() { a.Held = 0; k.Run(0, k.Tiles(), a) }); n != 0 {
			t.Errorf("a convolution of several pictures allocates %v times in a run", n)
		}
		d, err := DotGeneral(DotGeneralSpec{AShape: []int{4, 30, 20}, BShape: []int{4, 20, 40}, AZero: 3, BZero: 5, Out: Out{DType: F32}}, l)
		must(t, d, err)
		a = &Args{X: r.bytes(4 * 30 * 20), X2: r.bytes(4 * 20 * 40), Y: make([]byte, 4*30*40*4), Scratch: aligned[byte](d.ScratchBytes())}
		if n := testing.AllocsPerRun(20, func() { d.Run(0, d.Tiles(), a) }); n != 0 {
			t.Errorf("a matrix product allocates %v times in a run", n)
		}
		s = r.convTranspose()
		k, err = ConvTranspose(s, l)
		must(t, k, err)
		a = &Args{X: r.bytes(s.N * s.H * s.W * s.C), Y: make([]byte, 4*s.N*(s.OH+s.SH)*(s.OW+s.SW)*s.K), Scratch: aligned[byte](k.ScratchBytes())}
		if n := testing.AllocsPerRun(20, func() { k.Run(0, k.Tiles(), a) }); n != 0 {
			t.Errorf("a transposed convolution allocates %v times in a run", n)
		}
		p, err := Add(PairSpec{AShape: []int{500}, BShape: []int{500}, FactorA: 1, FactorB: 1, Mult: 1}, l)
		must(t, p, err)
		a = &Args{X: r.bytes(500), X2: r.bytes(500), Y: make([]byte, 500)}
		if n := testing.AllocsPerRun(20, func() { p.Run(0, p.Tiles(), a) }); n != 0 {
			t.Errorf("an addition allocates %v times in a run", n)
		}
	})
}

// Phases and their interleaving give the definition's transposed convolution.
func TestConvTranspose(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		for seed := range uint64(300) {
			r := newRNG(seed)
			s := r.convTranspose()
			x := r.bytes(s.N * s.H * s.W * s.C)
			want := refConvTranspose(s, x)
			k, err := ConvTranspose(s, l)
			must(t, k, err)
			h, w := s.PhasePixels()
			got := runAll(t, r, k, x, nil, min(s.SH, s.OH)*min(s.SW, s.OW)*s.N*h*w*s.K*s.Out.DType.bytes())
			if order, scattered := s.Interleaving(); scattered {
				i, err := Interleave(order, l)
				must(t, i, err)
				got = runAll(t, r, i, got, nil, len(want))
			}
			brief := s
			brief.Weights, brief.Bias, brief.Mult, brief.Table = nil, nil, nil, nil
			compare(t, k.Name(), got, want, brief)
		}
	})
}

func TestErrors(t *testing.T) {
	good := ConvSpec{N: 1, H: 1, W: 1, C: 1, OH: 1, OW: 1, K: 1, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1, Weights: make([]int8, 1), Mult: make([]float32, 1)}
	cases := []struct {
		want string
		make func() (Kernel, error)
	}{
		{"kernel q_convolution: 2 biases; wanted 1", func() (Kernel, error) { s := good; s.Bias = make([]int32, 2); return Conv(s, isa.Portable) }},
		{"kernel q_convolution: zero point 256 of x; wanted 0 to 255", func() (Kernel, error) { s := good; s.XZero = 256; return Conv(s, isa.Portable) }},
		{"kernel q_convolution: 1 to 1 channels in 2 groups; wanted a multiple of the groups", func() (Kernel, error) { s := good; s.Groups = 2; return Conv(s, isa.Portable) }},
		{"kernel q_dot: 0 weights; wanted 6", func() (Kernel, error) { return Dot(DotSpec{M: 1, K: 2, N: 3}, isa.Portable) }},
		{"kernel q_add: shapes [2] and [3]; wanted shapes that broadcast", func() (Kernel, error) {
			return Add(PairSpec{AShape: []int{2}, BShape: []int{3}}, isa.Portable)
		}},
		{"kernel q_softmax: a table of 3; wanted 256", func() (Kernel, error) {
			return Softmax(SoftmaxSpec{Rows: 1, K: 1, Table: make([]int32, 3)}, isa.Portable)
		}},
		{"kernel q_dot_general: shapes [2 3] and [4 5]; wanted batches that broadcast and one extent to sum over", func() (Kernel, error) {
			return DotGeneral(DotGeneralSpec{AShape: []int{2, 3}, BShape: []int{4, 5}}, isa.Portable)
		}},
	}
	for _, c := range cases {
		if _, err := c.make(); fmt.Sprint(err) != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

// Weights that were moved give the same bits, and the place they had is free.
func TestMoveWeights(t *testing.T) {
	r := newRNG(5)
	for _, l := range isa.Available() {
		s := DotSpec{M: 20, K: 70, N: 150, Weights: r.int8s(70 * 150), Mult: repeat(1e-3, 150), XZero: 3, Out: Out{Zero: 3}}
		k, err := Dot(s, l)
		if err != nil {
			t.Fatal(err)
		}
		a := Args{X: r.bytes(20 * 70), Y: make([]byte, 20*150), Scratch: aligned[byte](k.ScratchBytes())}
		k.Run(0, k.Tiles(), &a)
		want := slices.Clone(a.Y)
		w := k.(*op)
		old := w.weights.(*conv).blocks[0].w
		dst := aligned[byte](w.WeightBytes() + 64)
		w.MoveWeights(dst[:w.WeightBytes()])
		w.ReadNext(dst[w.WeightBytes():])
		fill(old, 99)
		clear(a.Y)
		k.Run(0, k.Tiles(), &a)
		if !bytes.Equal(a.Y, want) {
			t.Errorf("%v: other results after the weights moved", l)
		}
	}
}
