package fmath

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// ulps returns |got-want| in units of the last place of want as a float32; the
// unit is that of the subnormals below 2^-126.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	if math.IsNaN(want) || math.IsInf(float64(w), 0) || math.IsInf(float64(got), 0) {
		if got == w || (got != got && math.IsNaN(want)) {
			return 0
		}
		// Either side of the overflow threshold: count from MaxFloat32.
		if math.Abs(want) > math.MaxFloat32*(1-0x1p-22) && math.Abs(float64(got)) > math.MaxFloat32*(1-0x1p-22) && (got > 0) == (want > 0) {
			return 1
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// samples calls f with dense and random bit patterns over all float32.
func samples(f func(x float32)) {
	for b := uint64(0); b < 1<<32; b += 4093 {
		f(math.Float32frombits(uint32(b)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300000 {
		f(float32(r.NormFloat64() * 3))
		f(float32((r.Float64() - 0.5) * 220))
		f(1 + float32(r.NormFloat64()*1e-3))
	}
	for _, x := range special() {
		f(x)
	}
}

func special() []float32 {
	inf := float32(math.Inf(1))
	v := []float32{
		0, 1, 2, 0.5, inf, float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32, 0x1p-126, 0x1.fffffcp-127,
		88.72283, 88.72284, 103.97, 104, 87.33655, TanhSmall, ErfSmall, ErfBig, math.Pi, math.Pi / 2, math.Pi / 4, 1e10, 16777216, 3, 1.5, 0x1.921fb6p+22,
	}
	for _, x := range v[:len(v):len(v)] {
		v = append(v, -x)
	}
	return v
}

func TestAccuracy(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     func(float32) float32
		want  func(float64) float64
		limit float64
	}{
		{"exp", Exp, math.Exp, 2},
		{"log", Log, math.Log, 2},
		{"tanh", Tanh, math.Tanh, 4},
		{"sigmoid", Sigmoid, sigmoid64, 4},
		{"erf", Erf, math.Erf, 4},
		{"softplus", Softplus, func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 4},
		{"sin", Sin, math.Sin, 4},
		{"cos", Cos, math.Cos, 4},
		{"sqrt", Sqrt, math.Sqrt, 0.5},
		{"rsqrt", Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			worst, at := 0.0, float32(0)
			samples(func(x float32) {
				if u := ulps(c.f(x), c.want(float64(x))); u > worst || math.IsNaN(u) {
					worst, at = u, x
				}
			})
			t.Logf("worst %.3f ulp at %g", worst, at)
			if !(worst <= c.limit) {
				t.Errorf("%s(%g) = %g, want %g: %.3f ulp, limit %g", c.name, at, c.f(at), c.want(float64(at)), worst, c.limit)
			}
		})
	}
}

func sigmoid64(x float64) float64 {
	if x < 0 {
		z := math.Exp(x)
		return z / (1 + z)
	}
	return 1 / (1 + math.Exp(-x))
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name      string
		got, want float32
	}{
		{"exp(-inf)", Exp(-inf), 0},
		{"exp(inf)", Exp(inf), inf},
		{"exp(nan)", Exp(nan), nan},
		{"exp(-0)", Exp(float32(math.Copysign(0, -1))), 1},
		{"exp(-100)", Exp(-100), 27 * 0x1p-149}, // subnormal, not flushed
		{"log(0)", Log(0), -inf},
		{"log(inf)", Log(inf), inf},
		{"log(-1)", Log(-1), nan},
		{"log(1)", Log(1), 0},
		{"tanh(-inf)", Tanh(-inf), -1},
		{"erf(-inf)", Erf(-inf), -1},
		{"sigmoid(-inf)", Sigmoid(-inf), 0},
		{"sigmoid(inf)", Sigmoid(inf), 1},
		{"sin(inf)", Sin(inf), nan},
		{"softplus(inf)", Softplus(inf), inf},
		{"softplus(nan)", Softplus(nan), nan},
		{"max(nan,1)", Max(nan, 1), nan},
		{"max(1,nan)", Max(1, nan), nan},
		{"min(nan,1)", Min(nan, 1), nan},
		{"min(1,nan)", Min(1, nan), nan},
		{"relu(nan)", Relu(nan), nan},
		{"clamp(nan)", Clamp(nan, 0, 6), nan},
		{"clamp(7)", Clamp(7, 0, 6), 6},
		{"round(2.5)", RoundEven(2.5), 2},
		{"round(3.5)", RoundEven(3.5), 4},
		{"round(-0.5)", RoundEven(-0.5), float32(math.Copysign(0, -1))},
		{"hard_swish(-3)", HardSwish(-3), float32(math.Copysign(0, -1))},
		{"rem(-7,3)", Rem(-7, 3), -1},
	} {
		if math.Float32bits(c.got) != math.Float32bits(c.want) && !(c.got != c.got && c.want != c.want) {
			t.Errorf("%s = %g, want %g", c.name, c.got, c.want)
		}
	}
	for _, f := range []func(float32) float32{Tanh, Erf, Sin} {
		if z := f(float32(math.Copysign(0, -1))); math.Float32bits(z) != 1<<31 {
			t.Errorf("odd function of -0 is %g", z)
		}
	}
}

func TestPow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	check := func(x, y float32) {
		want := math.Pow(float64(x), float64(y))
		if u := ulps(Pow(x, y), want); !(u <= 1) {
			t.Fatalf("Pow(%g, %g) = %g, want %g (%.2f ulp)", x, y, Pow(x, y), want, u)
		}
	}
	for _, x := range special() {
		for _, y := range special() {
			check(x, y)
		}
	}
	for range 300000 {
		check(float32(math.Exp(r.NormFloat64()*8)), float32(r.NormFloat64()*4))
		check(-float32(r.ExpFloat64()), float32(r.IntN(9)-4))
		check(math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32()))
	}
}

// bigFMA is the definition: exact arithmetic, one rounding.
func bigFMA(x, y, z float32) float32 {
	p := new(big.Float).SetPrec(600).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
	s := p.SetPrec(2000).Add(p, big.NewFloat(float64(z)))
	f, _ := s.Float32()
	return f
}

func TestFMA32(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	finite := func() float32 {
		for {
			x := math.Float32frombits(r.Uint32())
			if x-x == 0 {
				return x
			}
		}
	}
	check := func(x, y, z float32) {
		t.Helper()
		got, want := FMA32(x, y, z), bigFMA(x, y, z)
		if got != want { // the sign of an exact zero sum is IEEE's, not math/big's
			t.Fatalf("FMA32(%x, %x, %x) = %x, want %x", x, y, z, got, want)
		}
	}
	for range 200000 {
		x, y := finite(), finite()
		check(x, y, finite())
		// Near cancellation and near halfway cases.
		p := float32(float64(x) * float64(y))
		if p-p == 0 {
			check(x, y, -p)
			check(x, y, p*0x1p24)
			check(x, y, p*0x1p25)
			check(x, y, -p*0x1p24)
		}
		s := float32(r.NormFloat64())
		check(s, float32(r.NormFloat64()), float32(r.NormFloat64()))
		// Subnormal results.
		check(s*0x1p-70, float32(r.NormFloat64())*0x1p-70, float32(r.NormFloat64())*0x1p-130)
	}
	// The classic double rounding trap: the float64 sum is a halfway case that
	// the lost bit must decide.
	check(1+0x1p-12, 1+0x1p-12, 0x1p-60)
	check(0x1.000002p0, 0x1p-24, 1)
	check(0x1p-75, 0x1p-75, 0x1p-149)
	check(0x1.8p-75, 0x1p-75, 0x1p-149)
	for range 200000 {
		// x*y is an odd number of 25 or 26 bits (halfway), z tiny.
		x := float32(r.IntN(1<<12)*2 + 1)
		y := float32(r.IntN(1<<12)*2 + 1)
		check(x, y, float32(math.Ldexp(float64(r.IntN(3)-1), -r.IntN(60)-20)))
	}
	if !math.Signbit(float64(FMA32(-1, 0, float32(math.Copysign(0, -1))))) || math.Signbit(float64(FMA32(-1, 0, 0))) {
		t.Error("sign of a zero result is wrong")
	}
}

func TestSum16(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for n := range 70 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		// The definition, written another way.
		var p [16]float32
		for l := range 16 {
			for i := l; i < n; i += 16 {
				p[l] += x[i]
			}
		}
		want := ((p[0] + p[8]) + (p[4] + p[12])) + ((p[2] + p[10]) + (p[6] + p[14]))
		want += ((p[1] + p[9]) + (p[5] + p[13])) + ((p[3] + p[11]) + (p[7] + p[15]))
		if got := Sum16(x); got != want {
			t.Fatalf("n=%d: %g, want %g", n, got, want)
		}
	}
}

func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	x, y := make([]float32, 100), make([]float32, 100)
	sum, sq := 0.0, 0.0
	for i := range x {
		x[i] = float32(r.NormFloat64()*2 + 1)
		sum += float64(x[i])
	}
	mean := sum / 100
	for _, v := range x {
		sq += (float64(v) - mean) * (float64(v) - mean)
	}
	LayerNorm(y, x, nil, nil, 1e-5)
	for i, v := range x {
		if want := (float64(v) - mean) / math.Sqrt(sq/100+1e-5); math.Abs(float64(y[i])-want) > 1e-6 {
			t.Fatalf("layer norm [%d] = %g, want %g", i, y[i], want)
		}
	}
	Softmax(y, x)
	l := make([]float32, 100)
	LogSoftmax(l, x)
	z := 0.0
	for _, v := range x {
		z += math.Exp(float64(v))
	}
	for i, v := range x {
		want := math.Exp(float64(v)) / z
		if math.Abs(float64(y[i])-want) > 1e-7 || math.Abs(float64(l[i])-math.Log(want)) > 1e-5 {
			t.Fatalf("softmax [%d] = %g, log %g, want %g", i, y[i], l[i], want)
		}
	}
}

func BenchmarkFMA32(b *testing.B) {
	s := float32(0)
	for b.Loop() {
		s = FMA32(s, 0.5, 1.25)
	}
	sink = s
}

func BenchmarkExp(b *testing.B) {
	s := float32(0)
	for b.Loop() {
		s = Exp(s * 0.1)
	}
	sink = s
}

var sink float32

func TestVec(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const n = 1000
	x, w, a, m := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], w[i] = float32(r.NormFloat64()), float32(r.NormFloat64())*0x1p-60
		a[i] = float32(r.NormFloat64()) * 0x1p-60
		m[i] = a[i]
	}
	Axpy(a, x[0]*0x1p-66, w)
	b := append([]float32{}, m...)
	MulAdd(b, x, w)
	for i := range a {
		if want := FMA32(x[0]*0x1p-66, w[i], m[i]); a[i] != want {
			t.Fatalf("Axpy [%d] = %g, want %g", i, a[i], want)
		}
		if want := FMA32(x[i], w[i], m[i]); b[i] != want {
			t.Fatalf("MulAdd [%d] = %g, want %g", i, b[i], want)
		}
	}
}

func BenchmarkAxpy(b *testing.B) {
	w, a := make([]float32, 64), make([]float32, 64)
	for i := range w {
		w[i] = float32(i) * 0.37
	}
	for b.Loop() {
		Axpy(a, 0.3, w)
	}
}
