package int8

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

func TestNormLayout(t *testing.T) {
	var a normArgs
	for _, v := range []struct {
		name      string
		got, want uintptr
	}{
		{"x2", unsafe.Offsetof(a.x2), 8},
		{"sum", unsafe.Offsetof(a.sum), 16},
		{"y", unsafe.Offsetof(a.y), 24},
		{"q", unsafe.Offsetof(a.q), 32},
		{"scale", unsafe.Offsetof(a.scale), 40},
		{"bias", unsafe.Offsetof(a.bias), 48},
		{"factor", unsafe.Offsetof(a.factor), 56},
		{"n", unsafe.Offsetof(a.n), 64},
		{"rows", unsafe.Offsetof(a.rows), 72},
		{"xRow", unsafe.Offsetof(a.xRow), 80},
		{"sumRow", unsafe.Offsetof(a.sumRow), 88},
		{"xAt", unsafe.Offsetof(a.xAt), 96},
		{"sumAt", unsafe.Offsetof(a.sumAt), 104},
		{"yAt", unsafe.Offsetof(a.yAt), 112},
		{"qAt", unsafe.Offsetof(a.qAt), 120},
		{"form", unsafe.Offsetof(a.form), 128},
		{"inv", unsafe.Offsetof(a.inv), 132},
		{"eps", unsafe.Offsetof(a.eps), 136},
		{"qInv", unsafe.Offsetof(a.qInv), 140},
		{"lo", unsafe.Offsetof(a.lo), 144},
		{"hi", unsafe.Offsetof(a.hi), 148},
		{"zero", unsafe.Offsetof(a.zero), 152},
		{"yFlip", unsafe.Offsetof(a.yFlip), 156},
		{"flip", unsafe.Offsetof(a.flip), 160},
		{"xZero", unsafe.Offsetof(a.xZero), 164},
		{"xScale", unsafe.Offsetof(a.xScale), 168},
		{"least", unsafe.Offsetof(a.least), 172},
		{"zeroAll", unsafe.Offsetof(a.zeroAll), 176},
		{"wild", unsafe.Offsetof(a.wild), 180},
	} {
		if v.got != v.want {
			t.Errorf("%s lies at %d; gen has %d", v.name, v.got, v.want)
		}
	}
}

// randomNorm draws a norm; of extreme ones values are infinite, huge or no numbers.
func randomNorm(r rng) (s NormSpec, extreme bool) {
	n := 1 + r.IntN(100)
	if r.IntN(3) == 0 {
		n = 1 + r.IntN(2000)
	}
	s = NormSpec{Rows: 1 + r.IntN(23), N: n, Eps: []float32{1e-5, 1e-12, 0}[r.IntN(3)], Quantize: r.IntN(4) > 0, Inv: []float32{3, 40, 1e30}[r.IntN(3)]}
	extreme = r.IntN(3) == 0
	switch r.IntN(3) {
	case 0:
		s.Add = true
	case 1:
		s.Bytes, s.XSigned, s.XZero, s.XScale = true, r.IntN(2) == 0, int32(r.IntN(128)), 0.03
	}
	for _, p := range []*[]float32{&s.Scale, &s.Bias, &s.Factor} {
		if r.IntN(4) > 0 && (s.Quantize || p != &s.Factor) {
			*p = normFloats(r, n, extreme)
		}
	}
	s.Out = Out{DType: DType(r.IntN(2)), Zero: int32(r.IntN(128))}
	if r.IntN(3) == 0 {
		s.Out.QMin, s.Out.QMax = s.Out.Zero-int32(r.IntN(int(s.Out.Zero)+1)), 90
		if s.Out.QMax <= s.Out.QMin {
			s.Out.QMax = 127
		}
	}
	return s, extreme
}

func normFloats(r rng, n int, extreme bool) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		if !extreme || r.IntN(8*n) > 6 {
			continue
		}
		x[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, negativeZero}[r.IntN(7)]
	}
	return x
}

// normSteps does what NormSpec says, one step after the other.
func normSteps(s NormSpec, a NormArgs) (sum, y []float32, q []byte) {
	sum, y = make([]float32, s.Rows*s.N), make([]float32, s.Rows*s.N)
	for i := range sum {
		switch {
		case s.Bytes && s.XSigned:
			sum[i] = float32(int32(int8(a.X[i]))-s.XZero) * s.XScale
		case s.Bytes:
			sum[i] = float32(int32(a.X[i])-s.XZero) * s.XScale
		case s.Add:
			sum[i] = words[float32](a.X)[i] + words[float32](a.X2)[i]
		default:
			sum[i] = words[float32](a.X)[i]
		}
	}
	for at := 0; at < len(sum); at += s.N {
		fmath.LayerNorm(y[at:at+s.N], sum[at:at+s.N], s.Scale, s.Bias, s.Eps)
	}
	if s.Quantize {
		z := slices.Clone(y)
		for i := range z {
			if s.Factor != nil {
				z[i] *= s.Factor[i%s.N]
			}
		}
		q = make([]byte, len(z))
		c := convertArgs{x: base(z), y: base(q), n: len(z), scale: s.Inv, zero: s.Out.Zero}
		c.lo, c.hi = s.Out.full().bounds()
		quantizePortable(&c)
	}
	return sum, y, q
}

// sameFloats compares bits, all NaN being one.
func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
	})
}

func floatBytes(x []float32) []byte { return view[byte](base(x), 4*len(x)) }

// Every kernel gives the bits of the steps after each other, and writes nothing else.
func TestNorm(t *testing.T) {
	r := newRNG(5)
	for i := range 1500 {
		s, extreme := randomNorm(r)
		size := s.Rows * s.N
		var in NormArgs
		if s.Bytes {
			in.X = r.bytes(size)
		} else {
			x := normFloats(r, size, extreme)
			if r.IntN(4) == 0 { // a row without variance
				at := r.IntN(s.Rows) * s.N
				for j := range s.N {
					x[at+j] = x[at]
				}
			}
			in.X = floatBytes(x)
		}
		if s.Add {
			in.X2 = floatBytes(normFloats(r, size, extreme))
		}
		sum, y, q := normSteps(s, in)
		wantSum, wantY := !s.Quantize && s.Add || r.IntN(2) == 0 && (s.Add || s.Bytes), r.IntN(2) == 0 || !s.Quantize
		place := r.IntN(3) // of the first float32 result: its own, X's, X2's
		for _, l := range isa.Available() {
			k, err := Norm(s, l)
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			if k == nil {
				continue
			}
			const guard = 64
			room := func(n int) []byte { return bytes.Repeat([]byte{0xA5}, n+guard)[:n:n] }
			a := in
			a.X, a.X2, a.Scratch = slices.Clone(in.X), slices.Clone(in.X2), room(k.ScratchBytes())
			var own *[]byte
			if wantY {
				a.Y, own = room(4*size), &a.Y
			}
			if wantSum {
				a.Sum, own = room(4*size), &a.Sum
			}
			switch {
			case own == nil || s.Bytes:
			case place == 1:
				*own = a.X
			case place == 2 && s.Add:
				*own = a.X2
			}
			if s.Quantize {
				a.Q = room(size)
			}
			cut := r.IntN(k.Tiles() + 1)
			k.Run(cut, k.Tiles(), &a)
			k.Run(0, cut, &a)
			ok := (!wantSum || sameFloats(words[float32](a.Sum), sum)) && (!wantY || sameFloats(words[float32](a.Y), y)) && bytes.Equal(a.Q, q)
			if !ok {
				t.Fatalf("%d: %+v at %v, sum %v, y %v, place %d: differs", i, s, l, wantSum, wantY, place)
			}
		}
	}
}

// Rows at the end of their memory are read and written to the last byte, no further.
func TestNormGuards(t *testing.T) {
	r := newRNG(6)
	for range 200 {
		s, _ := randomNorm(r)
		size := s.Rows * s.N
		for _, l := range isa.Available() {
			k, err := Norm(s, l)
			if err != nil {
				t.Fatal(err)
			}
			if k == nil {
				continue
			}
			room := func(n int) []byte { return bytes.Repeat([]byte{0xA5}, n+64) }
			y, sum, q, scratch := room(4*size), room(4*size), room(size), room(k.ScratchBytes())
			a := NormArgs{X: r.bytes(4 * size), X2: r.bytes(4 * size), Y: y[:4*size], Scratch: scratch[:len(scratch)-64]}
			if s.Quantize {
				a.Q = q[:size]
			}
			if r.IntN(2) == 0 {
				a.Sum = sum[:4*size]
			}
			k.Run(0, k.Tiles(), &a)
			for name, b := range map[string][]byte{"y": y, "sum": sum, "q": q, "scratch": scratch} {
				if !bytes.Equal(b[len(b)-64:], bytes.Repeat([]byte{0xA5}, 64)) {
					t.Fatalf("%+v at %v: written behind %s", s, l, name)
				}
			}
		}
	}
}

func BenchmarkNorm(b *testing.B) {
	r := newRNG(1)
	for _, c := range []struct {
		rows, n             int
		add, sum, y, factor bool
	}{
		{128, 384, true, false, true, true},
		{197, 192, true, true, false, false},
		{197, 384, false, false, false, false},
	} {
		s := NormSpec{Rows: c.rows, N: c.n, Add: c.add, Scale: repeat(1.1, c.n), Bias: repeat(0.1, c.n), Eps: 1e-5, Quantize: true, Inv: 30, Out: Out{Zero: 128}}
		if c.factor {
			s.Factor = repeat(0.7, c.n)
		}
		size := c.rows * c.n
		b.Run(fmt.Sprintf("%dx%d_add=%v_factor=%v", c.rows, c.n, c.add, c.factor), func(b *testing.B) {
			benchLevels(b, func(b *testing.B, l isa.Level) {
				k, err := Norm(s, l)
				if err != nil {
					b.Fatal(err)
				}
				if k == nil {
					b.Skip("no kernel")
				}
				a := &NormArgs{X: floatBytes(normFloats(r, size, false)), X2: floatBytes(normFloats(r, size, false)), Q: make([]byte, size), Scratch: aligned[byte](k.ScratchBytes())}
				if c.y {
					a.Y = make([]byte, 4*size)
				}
				if c.sum {
					a.Sum = make([]byte, 4*size)
				}
				best := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					k.Run(0, k.Tiles(), a)
					best = min(best, float64(time.Since(start).Nanoseconds()))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(best/float64(size), "ns/elem")
			})
		})
	}
}
