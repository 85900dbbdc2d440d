package f32

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
	"github.com/nasc-dev/nasc/internal/fmath"
)

func randFloats(r *rand.Rand, n int) []float32 {
	x := alignedFloats(n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

const guard = 0x7fc0dead

// runKernel runs the kernel in random pieces, in a random order, and checks that
// nothing beyond y was written.
func runKernel(t *testing.T, r *rand.Rand, k Kernel, n int, x, x2 []float32) []float32 {
	t.Helper()
	y := alignedFloats(n + 64)
	for i := range y {
		y[i] = math.Float32frombits(guard)
	}
	a := &Args{X: floatBytes(x), X2: floatBytes(x2), Y: floatBytes(y)[:n*4]}
	if s := k.ScratchBytes(); s > 0 {
		scratch := alignedFloats(s/4 + 1)
		for i := range scratch {
			scratch[i] = float32(math.NaN())
		}
		a.Scratch = floatBytes(scratch)[:s]
	}
	var pieces [][2]int
	for lo := 0; lo < k.Tiles(); {
		hi := lo + 1 + r.IntN(k.Tiles()-lo)
		pieces = append(pieces, [2]int{lo, hi})
		lo = hi
	}
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	for _, p := range pieces {
		k.Run(p[0], p[1], a)
	}
	allocs := math.Inf(1)
	for range 3 { // a collection in between empties the pools: once may be its doing
		allocs = min(allocs, testing.AllocsPerRun(1, func() { k.Run(0, k.Tiles(), a) }))
	}
	if allocs != 0 {
		t.Fatalf("%s allocates %v times", k.Name(), allocs)
	}
	for i, v := range y[n:] {
		if math.Float32bits(v) != guard {
			t.Fatalf("%s wrote %d values beyond its output", k.Name(), i+1)
		}
	}
	return y[:n]
}

func floatBytes(x []float32) []byte {
	if x == nil {
		return nil
	}
	return asBytes(x)
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("%s: [%d] = %g (%08x), want %g (%08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// naiveConv is the definition in ConvSpec's comment, one output at a time.
func naiveConv(s ConvSpec, x, res []float32) []float32 {
	y := make([]float32, s.N*s.OH*s.OW*s.K)
	cg, kg := s.C/s.Groups, s.K/s.Groups
	for i := range y {
		k, ow, oh, n := i%s.K, i/s.K%s.OW, i/s.K/s.OW%s.OH, i/s.K/s.OW/s.OH
		acc := float32(0)
		for kh := range s.KH {
			for kw := range s.KW {
				ih, iw := oh*s.SH-s.PT+kh*s.DH, ow*s.SW-s.PL+kw*s.DW
				for c := range cg {
					v := float32(0)
					if ih >= 0 && ih < s.H && iw >= 0 && iw < s.W {
						v = x[((n*s.H+ih)*s.W+iw)*s.C+k/kg*cg+c]
					}
					acc = fmath.FMA32(v, s.Weights[((kh*s.KW+kw)*cg+c)*s.K+k], acc)
				}
			}
		}
		y[i] = finishNaive(acc, k, i, s.Bias, res, s.Act)
	}
	return y
}

func finishNaive(acc float32, k, i int, bias, res []float32, act Act) float32 {
	b := float32(0)
	if bias != nil {
		b = bias[k]
	}
	acc += b
	if res != nil {
		acc += res[i]
	}
	switch act.Kind {
	case "":
		return acc
	case "relu":
		return fmath.Relu(acc)
	case "clamp":
		return fmath.Clamp(acc, act.Min, act.Max)
	}
	j := slices.IndexFunc(unaries, func(u unaryRow) bool { return u.name == act.Kind })
	return unaries[j].f(act.Params)(acc)
}

func randAct(r *rand.Rand) Act {
	return []Act{{}, {Kind: "relu"}, {Kind: "clamp", Min: -0.5, Max: 6}, {Kind: "silu"}, {Kind: "hard_swish"}}[r.IntN(5)]
}

// randConv draws a geometry; depthwise with probability 1/4.
func randConv(r *rand.Rand) ConvSpec {
	one := func(n int) int { return 1 + r.IntN(n) }
	s := ConvSpec{N: one(2), H: one(17), W: one(20), C: one(40), K: one(70), KH: one(4), KW: one(4), SH: one(2), SW: one(2), DH: one(2), DW: one(2), Groups: 1}
	switch r.IntN(8) {
	case 0, 1:
		s.C = one(90)
		s.K, s.Groups = s.C, s.C
		s.KH, s.KW = one(5), one(5)
		if r.IntN(2) == 0 {
			// The row kernels.
			s.KH, s.KW, s.DW = 3+2*r.IntN(2), 3+2*r.IntN(2), 1
			s.PT, s.PL = s.KH/2, s.KW/2
			s.OH, s.OW = (s.H-1)/s.SH+1, (s.W-1)/s.SW+1
			if r.IntN(3) == 0 {
				s.PL = r.IntN(s.KW/2 + 1)
			}
			return s
		}
	case 2:
		s.Groups = one(4)
		s.C, s.K = s.Groups*one(9), s.Groups*one(40)
	case 3:
		s.KH, s.KW, s.SH, s.SW, s.DH, s.DW = 1, 1, 1, 1, 1, 1
		s.C *= 1 + 511*(r.IntN(8)/7)
		s.OH, s.OW = s.H, s.W
		return s
	case 4:
		s.KH, s.KW, s.SH, s.SW, s.DH, s.DW, s.W = 3, 3, 1, 1, 1, 1, 7
	case 5:
		// Pixels that share cache sets.
		s.C, s.K, s.H, s.W = 256*one(2), 1+r.IntN(20), one(6), one(6)
		if r.IntN(2) == 0 {
			s.KH, s.KW = 1, 1
		}
	}
	eh, ew := (s.KH-1)*s.DH+1, (s.KW-1)*s.DW+1
	s.PT, s.PL = r.IntN(eh), r.IntN(ew)
	pb, pr := r.IntN(eh), r.IntN(ew)
	s.H, s.W = max(s.H, eh-s.PT-pb), max(s.W, ew-s.PL-pr)
	s.OH, s.OW = (s.H+s.PT+pb-eh)/s.SH+1, (s.W+s.PL+pr-ew)/s.SW+1
	return s
}

func TestConv(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(1, 1))
		for range 150 {
			s := randConv(r)
			s.Weights, s.Act, s.Residual = randFloats(r, s.KH*s.KW*s.C/s.Groups*s.K), randAct(r), r.IntN(2) == 0
			if r.IntN(2) == 0 {
				s.Bias = randFloats(r, s.K)
			}
			x := randFloats(r, s.N*s.H*s.W*s.C)
			n := s.N * s.OH * s.OW * s.K
			var res []float32
			if s.Residual {
				res = randFloats(r, n)
			}
			k, err := Conv(s, l)
			if err != nil {
				t.Fatal(err)
			}
			got := runKernel(t, r, k, n, x, res)
			sameBits(t, fmt.Sprintf("%s %+v", k.Name(), s.dims()), got, naiveConv(s, x, res))
		}
	})
}

// naiveConvTranspose is the definition in ConvTranspose's comment.
func naiveConvTranspose(s ConvSpec, x, res []float32) []float32 {
	y := make([]float32, s.N*s.OH*s.OW*s.K)
	cg, kg := s.C/s.Groups, s.K/s.Groups
	for i := range y {
		k, ow, oh, n := i%s.K, i/s.K%s.OW, i/s.K/s.OW%s.OH, i/s.K/s.OW/s.OH
		acc := float32(0)
		for kh := range s.KH {
			for kw := range s.KW {
				h, w := oh+s.PT-kh*s.DH, ow+s.PL-kw*s.DW
				if h < 0 || w < 0 || h%s.SH != 0 || w%s.SW != 0 || h/s.SH >= s.H || w/s.SW >= s.W {
					continue
				}
				for c := range cg {
					ci := k/kg*cg + c
					acc = fmath.FMA32(x[((n*s.H+h/s.SH)*s.W+w/s.SW)*s.C+ci], s.Weights[((kh*s.KW+kw)*s.C+ci)*kg+k%kg], acc)
				}
			}
		}
		y[i] = finishNaive(acc, k, i, s.Bias, res, s.Act)
	}
	return y
}

func TestConvTranspose(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(2, 1))
		one := func(n int) int { return 1 + r.IntN(n) }
		for i := range 90 {
			g := []int{1, 1, 2}[r.IntN(3)]
			s := ConvSpec{N: one(2), H: one(7), W: one(9), C: g * one(12), K: g * one(40), KH: one(4), KW: one(4), SH: one(3), SW: one(3), DH: one(2), DW: one(2), Groups: g}
			s.PT, s.PL = r.IntN(s.KH), r.IntN(s.KW)
			s.OH = max(1, (s.H-1)*s.SH+(s.KH-1)*s.DH+1-2*s.PT+r.IntN(s.SH))
			s.OW = max(1, (s.W-1)*s.SW+(s.KW-1)*s.DW+1-2*s.PL+r.IntN(s.SW))
			if i%3 == 0 { // each pixel becomes a block of its own
				s.KH, s.KW, s.DH, s.DW, s.PT, s.PL = s.SH, s.SW, 1, 1, 0, 0
				s.OH, s.OW = s.H*s.SH, s.W*s.SW
			}
			s.Weights, s.Bias, s.Act = randFloats(r, s.KH*s.KW*s.C*s.K/g), randFloats(r, s.K), randAct(r)
			x := randFloats(r, s.N*s.H*s.W*s.C)
			k, err := ConvTranspose(s, l)
			if err != nil {
				t.Fatal(err)
			}
			got := runKernel(t, r, k, s.N*s.OH*s.OW*s.K, x, nil)
			sameBits(t, k.Name(), got, naiveConvTranspose(s, x, nil))
		}
	})
}

func TestDot(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(3, 1))
		for i := range 40 {
			s := DotSpec{M: 1 + r.IntN(40), K: 1 + r.IntN(100), N: 1 + r.IntN(100), Residual: i%3 == 0, Act: randAct(r)}
			if i == 0 {
				s.K = 2*maxK + 77 // several calls a tile
				s.M, s.N = 3, 40
			}
			s.Weights, s.Bias = randFloats(r, s.K*s.N), randFloats(r, s.N)
			x := randFloats(r, s.M*s.K)
			var res []float32
			if s.Residual {
				res = randFloats(r, s.M*s.N)
			}
			k, err := Dot(s, l)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, s.M*s.N)
			for j := range want {
				acc := float32(0)
				for q := range s.K {
					acc = fmath.FMA32(x[j/s.N*s.K+q], s.Weights[q*s.N+j%s.N], acc)
				}
				want[j] = finishNaive(acc, j%s.N, j, s.Bias, res, s.Act)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(want), x, res), want)
		}
	})
}

func TestDotGeneral(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(4, 1))
		batches := [][2][]int{{{}, {}}, {{2, 3}, {2, 3}}, {{3}, {2, 1}}, {{2, 1, 2}, {1}}, {{1, 4}, {2, 4}}}
		for i := range 60 {
			b := batches[r.IntN(len(batches))]
			s := DotGeneralSpec{BatchA: b[0], BatchB: b[1], M: 1 + r.IntN(40), K: 1 + r.IntN(70), N: 1 + r.IntN(80), TransposeA: i%2 == 0, TransposeB: i/2%2 == 0, Act: randAct(r)}
			if i%6 == 5 { // sums of several chunks
				b = batches[i/6%2]
				s.BatchA, s.BatchB = b[0], b[1]
				s.TransposeA, s.K, s.M, s.N = i%4 != 3, maxK+r.IntN(maxK), 1+r.IntN(40), 1+r.IntN(40)
			}
			batch, err := BinarySpec{A: b[0], B: b[1]}.Shape()
			if err != nil {
				t.Fatal(err)
			}
			x, x2 := randFloats(r, product(b[0])*s.M*s.K), randFloats(r, product(b[1])*s.K*s.N)
			want := make([]float32, product(batch)*s.M*s.N)
			for j := range want {
				n, m, q := j%s.N, j/s.N%s.M, j/s.N/s.M
				acc := float32(0)
				for k := range s.K {
					ia, ib := m*s.K+k, k*s.N+n
					if s.TransposeA {
						ia = k*s.M + m
					}
					if s.TransposeB {
						ib = n*s.K + k
					}
					acc = fmath.FMA32(x[broadcastIndex(q, batch, b[0])*s.M*s.K+ia], x2[broadcastIndex(q, batch, b[1])*s.K*s.N+ib], acc)
				}
				want[j] = finishNaive(acc, n, j, nil, nil, s.Act)
			}
			k, err := DotGeneral(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, fmt.Sprintf("%s %+v", k.Name(), s), runKernel(t, r, k, len(want), x, x2), want)
		}
	})
}

// broadcastIndex is numpy's rule, one index at a time.
func broadcastIndex(i int, full, part []int) int {
	at, step := 0, 1
	for a := len(full) - 1; a >= 0; a-- {
		d := dimAt(part, len(full), a)
		if d > 1 {
			at += i % full[a] * step
		}
		i /= full[a]
		step *= d
	}
	return at
}

// special values that functions must treat alike on all instruction sets.
func withSpecials(x []float32) []float32 {
	inf := float32(math.Inf(1))
	copy(x, []float32{
		0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), 88.8, -88.8, -103.9, -104.1, 0x1p-140, -0x1p-149, 0x1p-126, math.MaxFloat32, -math.MaxFloat32,
		1, -1, 0.5, 0.625, 0.93, 4, 1.5, 2.5, -2.5, 3, -3, 8388608.5, 1e10, 0.25, 200, -200,
	})
	return x
}

func TestUnary(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(5, 1))
		p := Params{Alpha: 0.3, Beta: 0.7, Min: -0.5, Max: 2}
		for _, u := range unaries {
			f := u.f(p)
			for _, n := range []int{1, 7, 16, 33, elementUnit + 1234} {
				x := randFloats(r, n)
				for i := range x {
					x[i] *= float32(math.Exp(r.NormFloat64() * 3))
				}
				withSpecials(x)
				want := make([]float32, n)
				for i, v := range x {
					want[i] = f(v)
				}
				k, err := Unary(UnarySpec{Name: u.name, N: n, Params: p}, l)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, k.Name(), runKernel(t, r, k, n, x, nil), want)
			}
		}
	})
}

// TestUnaryDense compares over all exponents and signs.
func TestUnaryDense(t *testing.T) {
	var x []float32
	for b := uint64(0); b < 1<<32; b += 70001 {
		x = append(x, math.Float32frombits(uint32(b)))
	}
	want, p := make([]float32, len(x)), Params{Alpha: 0.3, Beta: 0.7, Min: -0.5, Max: 2}
	for _, u := range unaries {
		f := u.f(p)
		for i, v := range x {
			want[i] = f(v)
		}
		isatest.Levels(t, func(t *testing.T, l isa.Level) {
			f, err := unaryFunc(u.name, p, l)
			if err != nil {
				t.Fatal(err)
			}
			y := make([]float32, len(x))
			f(y, x)
			sameBits(t, u.name, y, want)
		})
	}
}

func TestBinary(t *testing.T) {
	shapes := [][2][]int{
		{{5, 7}, {5, 7}},
		{{4, 33}, {33}},
		{{4, 3, 1}, {4, 1, 17}},
		{{2, 5, 5, 19}, {2, 1, 1, 19}},
		{{1}, {40}},
		{{3, 20}, {3, 1}},
		{{}, {}},
		{{6, 1}, {1, 6}},
		{{2, elementUnit + 100}, {elementUnit + 100}},
		{{100, 3}, {3}},
		{{2, 1000, 16}, {2, 1, 16}},
	}
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(6, 1))
		for _, b := range binaries {
			for _, sh := range shapes {
				s := BinarySpec{Op: b.name, A: sh[0], B: sh[1], Act: randAct(r)}
				y, err := s.Shape()
				if err != nil {
					t.Fatal(err)
				}
				a, c := withSpecials(randFloats(r, product(s.A))), randFloats(r, product(s.B))
				if r.IntN(2) == 0 {
					withSpecials(c)
					r.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
				}
				want := make([]float32, product(y))
				for i := range want {
					want[i] = finishUnary(b.f(a[broadcastIndex(i, y, s.A)], c[broadcastIndex(i, y, s.B)]), s.Act)
				}
				k, err := Binary(s, l)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, k.Name(), runKernel(t, r, k, len(want), a, c), want)
			}
		}
	})
	if _, err := (BinarySpec{Op: "add", A: []int{3}, B: []int{4}}).Shape(); err == nil {
		t.Error("shapes [3] and [4] broadcast")
	}
}

func finishUnary(v float32, act Act) float32 {
	switch act.Kind {
	case "":
		return v
	case "relu":
		return fmath.Relu(v)
	case "clamp":
		return fmath.Clamp(v, act.Min, act.Max)
	case "hard_swish":
		return fmath.HardSwish(v)
	}
	return fmath.Silu(v)
}

// Weights that were moved give the same bits, and the place they had is free.
func TestMoveWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, winograd := range []int{0, 4} {
		s := ConvSpec{N: 1, H: 9, W: 9, C: 20, OH: 9, OW: 9, K: 70, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, Groups: 1, Winograd: winograd}
		s.Weights, s.Bias = randFloats(r, 9*s.C*s.K), randFloats(r, s.K)
		x := randFloats(r, s.H*s.W*s.C)
		for _, l := range isa.Available() {
			k, err := Conv(s, l)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(runKernel(t, r, k, s.OH*s.OW*s.K, x, nil))
			o := k.(*op)
			old := o.blocks[0].w
			dst := alignedFloats(o.WeightBytes() / 4)
			o.MoveWeights(floatBytes(dst))
			for i := range old {
				old[i] = float32(math.NaN())
			}
			sameBits(t, k.Name()+" with moved weights", runKernel(t, r, k, len(want), x, nil), want)
		}
	}
}
