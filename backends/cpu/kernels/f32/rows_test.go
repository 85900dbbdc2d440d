package f32

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
	"github.com/nasc-dev/nasc/internal/fmath"
)

func asBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*4)
}

func TestSoftmax(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range []SoftmaxSpec{
			{Shape: []int{3, 1000}, Axis: -1},
			{Shape: []int{40, 7}, Axis: 1},
			{Shape: []int{2, 33, 5}, Axis: 1},
			{Shape: []int{3, 17}, Axis: -1, Log: true},
			{Shape: []int{300, 128}, Axis: -1},
			{Shape: []int{5, 1}, Axis: -1},
			{Shape: []int{4, 15, 40}, Axis: -1, Biases: 4},
			{Shape: []int{600, 33}, Axis: -1, Biases: 1},
			{Shape: []int{7, 5}, Axis: -1, Biases: 7},
		} {
			x := randFloats(r, product(s.Shape))
			for i := range x {
				x[i] *= 10
				switch r.IntN(8) {
				case 0: // as masks do
					x[i] -= 10000
				case 1:
					x[i] = float32(math.Inf(-1))
				case 2: // about where results become subnormal, then 0
					x[i] = -104 + 20*r.Float32()
				}
			}
			x[0] = 12
			ax := s.Axis
			if ax < 0 {
				ax += len(s.Shape)
			}
			n, inner := s.Shape[ax], product(s.Shape[ax+1:])
			want := make([]float32, len(x))
			biases := randFloats(r, s.Biases*n)
			for o := range len(x) / n {
				in, out := make([]float32, n), make([]float32, n)
				at := o/inner*n*inner + o%inner
				for i := range in {
					in[i] = x[at+i*inner]
					if s.Biases > 0 {
						in[i] += biases[o/(len(x)/n/s.Biases)*n+i]
					}
				}
				if s.Log {
					fmath.LogSoftmax(out, in)
				} else {
					fmath.Softmax(out, in)
				}
				for i := range in {
					want[at+i*inner] = out[i]
				}
			}
			k, err := Softmax(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(x), x, biases), want)
		}
	})
}

func TestNorms(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(2, 2))
		for _, n := range []int{1, 5, 16, 31, 384, 1000} {
			s := NormSpec{Rows: 1 + r.IntN(60), N: n, Eps: 1e-5}
			if n%2 == 1 {
				s.Scale, s.Bias = randFloats(r, n), randFloats(r, n)
			}
			x := randFloats(r, s.Rows*n)
			want, rms := make([]float32, len(x)), make([]float32, len(x))
			for i := 0; i < len(x); i += n {
				fmath.LayerNorm(want[i:i+n], x[i:i+n], s.Scale, s.Bias, s.Eps)
				fmath.RMSNorm(rms[i:i+n], x[i:i+n], s.Scale, s.Eps)
			}
			k, err := LayerNorm(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(x), x, nil), want)
			k, err = RMSNorm(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(x), x, nil), rms)

			b := BatchNormSpec{Rows: s.Rows, C: n, Scale: randFloats(r, n), Bias: randFloats(r, n), Mean: randFloats(r, n), Variance: randFloats(r, n), Eps: 1e-3}
			for i, v := range b.Variance {
				b.Variance[i] = v * v
			}
			for i, v := range x {
				c := i % n
				want[i] = fmath.BatchNorm(v, b.Mean[c], fmath.Rstd(b.Variance[c], b.Eps), b.Scale[c], b.Bias[c])
			}
			k, err = BatchNorm(b, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(x), x, nil), want)
		}
	})
}

func TestChannelNorm(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(3, 2))
		for _, s := range []ChannelNormSpec{{N: 2, Space: 35, C: 12, Groups: 3, Eps: 1e-5}, {N: 1, Space: 50, C: 7, Groups: 7, Eps: 1e-5}, {N: 2, Space: 9, C: 40, Groups: 1, Eps: 1e-3}} {
			s.Scale, s.Bias = randFloats(r, s.C), randFloats(r, s.C)
			x := randFloats(r, s.N*s.Space*s.C)
			want := make([]float32, len(x))
			cg := s.C / s.Groups
			for n := range s.N {
				for g := range s.Groups {
					var row []float32
					for p := range s.Space {
						row = append(row, x[(n*s.Space+p)*s.C+g*cg:][:cg]...)
					}
					mean, rstd := fmath.Moments(row, s.Eps)
					for i, v := range row {
						c := g*cg + i%cg
						want[(n*s.Space+i/cg)*s.C+c] = fmath.BatchNorm(v, mean, rstd, s.Scale[c], s.Bias[c])
					}
				}
			}
			k, err := ChannelNorm(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(x), x, nil), want)
		}
	})
}

func TestReduce(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(4, 2))
		for _, op := range reductions {
			for _, s := range []ReduceSpec{
				{Shape: []int{3, 70}, Axes: []int{1}},
				{Shape: []int{2, 7, 7, 600}, Axes: []int{1, 2}},
				{Shape: []int{5, 33}, Axes: []int{0}},
				{Shape: []int{3, 4, 5, 6}, Axes: []int{0, 2}},
				{Shape: []int{3, 4, 5}, Axes: []int{1, 0, 2}},
				{Shape: []int{3, 1, 5}, Axes: []int{1}},
				{Shape: []int{4, 5}, Axes: nil},
			} {
				s.Op = op.name
				x := randFloats(r, product(s.Shape))
				for i := range x { // zeros of both signs, and a NaN now and then
					if r.IntN(4) == 0 {
						x[i] = float32(math.Copysign(0, r.NormFloat64()))
					}
				}
				if r.IntN(3) == 0 {
					x[r.IntN(len(x))] = float32(math.NaN())
				}
				kept, reduced := walkers(s.Shape, s.Axes)
				want := make([]float32, product(kept.n))
				for i := range want {
					row := make([]float32, product(reduced.n))
					for j := range row {
						row[j] = x[kept.offset(i)+reduced.offset(j)]
					}
					want[i] = op.row(row)
					if s.Op == "mean" {
						want[i] = fmath.Mean16(row)
					}
				}
				k, err := Reduce(s, l)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, k.Name(), runKernel(t, r, k, len(want), x, nil), want)
			}
		}
	})
}

// TestColumnSums: both steps give the bits of one.
func TestColumnSums(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(4, 3))
		for range 20 {
			s := ReduceSpec{Op: "sum", Shape: []int{1 + r.IntN(9), 1 + r.IntN(20), 1 + r.IntN(100)}, Axes: []int{0, 1}}
			c := ColumnSpec{s.Shape[0] * s.Shape[1], s.Shape[2]}
			x := randFloats(r, product(s.Shape))
			for i := range x {
				if r.IntN(4) == 0 {
					x[i] = float32(math.Copysign(0, r.NormFloat64()))
				}
			}
			run := func(k Kernel, err error) func(n int, x []float32) []float32 {
				if err != nil {
					t.Fatal(err)
				}
				return func(n int, x []float32) []float32 { return runKernel(t, r, k, n, x, nil) }
			}
			want := run(Reduce(s, l))(c.Cols, x)
			partials := run(ColumnPartials(c, l))(fmath.Partials*c.Cols, x)
			got := run(Reduce(ReduceSpec{Op: "sum", Shape: []int{fmath.Partials, c.Cols}, Axes: []int{0}}, l))(c.Cols, partials)
			sameBits(t, fmt.Sprint(s), got, want)
		}
		for _, c := range []struct {
			s    ReduceSpec
			want bool
		}{
			{ReduceSpec{"sum", []int{128, 65, 192}, []int{0, 1}}, true},
			{ReduceSpec{"mean", []int{128, 65, 192}, []int{0, 1}}, false},
			{ReduceSpec{"sum", []int{128, 65, 192}, []int{1, 2}}, false},
			{ReduceSpec{"sum", []int{128, 65, 192}, []int{1}}, false},
			{ReduceSpec{"sum", []int{128, 65, 4000}, []int{0, 1}}, false},
			{ReduceSpec{"sum", []int{12, 5, 192}, []int{0, 1}}, false},
		} {
			if _, got := c.s.Columns(); got != c.want {
				t.Errorf("%v: %v", c.s, got)
			}
		}
	})
}

func naivePool(s PoolSpec, x []float32, maximum bool) []float32 {
	y := make([]float32, s.N*s.OH*s.OW*s.C)
	for i := range y {
		c, ow, oh, n := i%s.C, i/s.C%s.OW, i/s.C/s.OW%s.OH, i/s.C/s.OW/s.OH
		m, sum, count := float32(math.Inf(-1)), float32(0), 0
		for kh := range s.KH {
			for kw := range s.KW {
				ih, iw := oh*s.SH-s.PT+kh*s.DH, ow*s.SW-s.PL+kw*s.DW
				if s.IncludePad && ih < s.H+s.PB && iw < s.W+s.PR {
					count++
				}
				if ih < 0 || iw < 0 || ih >= s.H || iw >= s.W {
					continue
				}
				v := x[((n*s.H+ih)*s.W+iw)*s.C+c]
				m, sum = fmath.Max(m, v), sum+v
				if !s.IncludePad {
					count++
				}
			}
		}
		y[i] = m
		if !maximum {
			y[i] = sum * fmath.InvCount(count)
		}
	}
	return y
}

func TestPools(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(5, 2))
		one := func(n int) int { return 1 + r.IntN(n) }
		for range 60 {
			s := PoolSpec{N: one(2), H: one(12), W: one(12), C: one(70), KH: one(4), KW: one(4), SH: one(2), SW: one(2), DH: one(2), DW: 1, IncludePad: r.IntN(2) == 0}
			eh, ew := (s.KH-1)*s.DH+1, (s.KW-1)*s.DW+1
			s.PT, s.PB, s.PL, s.PR = r.IntN(s.KH), r.IntN(s.KH), r.IntN(s.KW), r.IntN(s.KW)
			s.H, s.W = max(s.H, eh), max(s.W, ew)
			s.OH, s.OW = (s.H+s.PT+s.PB-eh)/s.SH+1, (s.W+s.PL+s.PR-ew)/s.SW+1
			x := randFloats(r, s.N*s.H*s.W*s.C)
			if len(x) > 100 {
				x[r.IntN(len(x))] = float32(math.NaN())
			}
			k, err := MaxPool(s, l)
			if err != nil {
				t.Fatal(err)
			}
			want := naivePool(s, x, true)
			sameBits(t, fmt.Sprintf("%s %+v", k.Name(), s), runKernel(t, r, k, len(want), x, nil), want)
			if k, err = AveragePool(s, l); err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(want), x, nil), naivePool(s, x, false))
		}
	})
}

func TestResize(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(6, 2))
		taps := func(in, out int, nearest bool) []Tap {
			var ts []Tap
			for i := range out {
				p := math.Max(0, (float64(i)+0.5)*float64(in)/float64(out)-0.5)
				lo := int(p)
				hi := min(lo+1, in-1)
				if nearest {
					hi = lo
				}
				ts = append(ts, Tap{lo, hi, float32(p - float64(lo))})
			}
			return ts
		}
		for _, nearest := range []bool{false, true} {
			s := ResizeSpec{N: 2, H: 5, W: 7, C: 19, Rows: taps(5, 11, nearest), Cols: taps(7, 10, nearest)}
			x := randFloats(r, s.N*s.H*s.W*s.C)
			want := make([]float32, s.N*11*10*s.C)
			for i := range want {
				c, w, h, n := i%s.C, i/s.C%10, i/s.C/10%11, i/s.C/110
				at := func(h, w int) float32 { return x[((n*s.H+h)*s.W+w)*s.C+c] }
				mix := func(a, b float32, tap Tap) float32 { return fmath.FMA32(tap.F, b-a, a) }
				tr, tc := s.Rows[h], s.Cols[w]
				want[i] = mix(mix(at(tr.Lo, tc.Lo), at(tr.Lo, tc.Hi), tc), mix(at(tr.Hi, tc.Lo), at(tr.Hi, tc.Hi), tc), tr)
			}
			k, err := Resize(s, l)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(want), x, nil), want)
		}
	})
}

func TestErrors(t *testing.T) {
	for name, f := range map[string]func() error{
		"weights": func() error {
			_, err := Dot(DotSpec{M: 1, K: 3, N: 4, Weights: make([]float32, 11)}, isa.Portable)
			return err
		},
		"bias": func() error {
			_, err := Dot(DotSpec{M: 1, K: 1, N: 2, Weights: make([]float32, 2), Bias: []float32{1}}, isa.Portable)
			return err
		},
		"unary": func() error { _, err := Unary(UnarySpec{Name: "sinus", N: 1}, isa.Portable); return err },
		"binary": func() error {
			_, err := Binary(BinarySpec{Op: "plus", A: []int{1}, B: []int{1}}, isa.Portable)
			return err
		},
		"reduce":  func() error { _, err := Reduce(ReduceSpec{Op: "median", Shape: []int{2}}, isa.Portable); return err },
		"softmax": func() error { _, err := Softmax(SoftmaxSpec{Shape: []int{2}, Axis: 3}, isa.Portable); return err },
		"groupnorm": func() error {
			_, err := ChannelNorm(ChannelNormSpec{N: 1, Space: 1, C: 3, Groups: 2}, isa.Portable)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUnaryNames(t *testing.T) {
	names := UnaryNames()
	slices.Sort(names)
	if len(slices.Compact(names)) != len(unaries) {
		t.Error("a function is listed twice")
	}
}

func TestAttention(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(7, 2))
		for _, s := range []AttentionSpec{
			{Lead: []int{2, 3}, T: 20, S: 20, D: 16, V: 32, Scale: 0.25, Mask: []int{2, 1, 1, 20}},
			{Lead: []int{5}, T: 33, S: 17, D: 9, V: 13, Scale: 1},
			{Lead: nil, T: 40, S: 50, D: 32, V: 16, Scale: 0.3, Mask: []int{40, 50}},
			{Lead: []int{1, 2}, T: 1, S: 70, D: 8, V: 40, Scale: 0.5, Mask: []int{2, 1, 1}},
			{Lead: []int{9}, T: 5, S: 3, D: 1, V: 1, Scale: 2, Mask: []int{9, 5, 3}},
		} {
			lead := product(s.Lead)
			q, k, v := randFloats(r, lead*s.T*s.D), randFloats(r, lead*s.S*s.D), randFloats(r, lead*s.S*s.V)
			full := append(append([]int{}, s.Lead...), s.T, s.S)
			var mask []float32
			if s.Mask != nil {
				mask = randFloats(r, product(s.Mask))
				for i := range mask {
					if i%5 == 3 {
						mask[i] = float32(math.Inf(-1))
					}
				}
			}
			want := make([]float32, lead*s.T*s.V)
			for row := range lead * s.T {
				b, line := row/s.T, make([]float32, s.S)
				for j := range line {
					acc := float32(0)
					for d := range s.D {
						acc = fmath.FMA32(q[row*s.D+d], k[(b*s.S+j)*s.D+d], acc)
					}
					line[j] = float32(acc * s.Scale)
					if mask != nil {
						line[j] += mask[broadcastIndex(row*s.S+j, full, s.Mask)]
					}
				}
				fmath.Softmax(line, line)
				for j := range s.V {
					acc := float32(0)
					for i, p := range line {
						acc = fmath.FMA32(p, v[(b*s.S+i)*s.V+j], acc)
					}
					want[row*s.V+j] = acc + 0
				}
			}
			kern, err := Attention(s, l)
			if err != nil {
				t.Fatal(err)
			}
			y, scratch := alignedFloats(len(want)), alignedFloats(kern.ScratchBytes()/4)
			a := &AttentionArgs{Args: Args{X: asBytes(q), X2: asBytes(k), Y: asBytes(y), Scratch: asBytes(scratch)}, V: asBytes(v), Mask: asBytes(mask)}
			for u := kern.Tiles() - 1; u >= 0; u-- {
				kern.Run(u, u+1, a)
			}
			sameBits(t, kern.Name(), y, want)
			if n := testing.AllocsPerRun(1, func() { kern.Run(0, kern.Tiles(), a) }); n != 0 {
				t.Errorf("%s allocates %v times", kern.Name(), n)
			}
		}
		if _, err := Attention(AttentionSpec{T: 2, S: 3, D: 1, V: 1, Mask: []int{4}}, l); err == nil {
			t.Error("a mask of another shape is taken")
		}
	})
}
