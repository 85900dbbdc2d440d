package int8

import (
	"bytes"
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

func TestAttendLayouts(t *testing.T) {
	var a attentionArgs
	var c columnArgs
	var tiles attendTileArgs
	var starts startArgs
	var sums sumRowArgs
	for _, v := range []struct {
		name      string
		got, want uintptr
	}{
		{"rows.sumStep", unsafe.Offsetof(a.sumStep), 8},
		{"rows.bias", unsafe.Offsetof(a.bias), 16},
		{"rows.rows", unsafe.Offsetof(a.rows), 24},
		{"rows.n", unsafe.Offsetof(a.n), 32},
		{"rows.y", unsafe.Offsetof(a.y), 40},
		{"rows.yStep", unsafe.Offsetof(a.yStep), 48},
		{"rows.total", unsafe.Offsetof(a.total), 56},
		{"rows.tmp", unsafe.Offsetof(a.tmp), 64},
		{"rows.mult", unsafe.Offsetof(a.mult), 72},
		{"rows.inv", unsafe.Offsetof(a.inv), 76},
		{"rows.hi", unsafe.Offsetof(a.hi), 80},
		{"rows.zero", unsafe.Offsetof(a.zero), 84},
		{"rows.order", unsafe.Offsetof(a.order), 88},
		{"rows.lanes", unsafe.Offsetof(a.lanes), 96},
		{"sums.xStep", unsafe.Offsetof(sums.xStep), 8},
		{"sums.depth", unsafe.Offsetof(sums.depth), 16},
		{"sums.rows", unsafe.Offsetof(sums.rows), 24},
		{"sums.y", unsafe.Offsetof(sums.y), 32},
		{"sums.times", unsafe.Offsetof(sums.times), 40},
		{"tiles.config", unsafe.Offsetof(tiles.config), 0},
		{"tiles.q", unsafe.Offsetof(tiles.q), 8},
		{"tiles.qStep", unsafe.Offsetof(tiles.qStep), 16},
		{"tiles.qMove", unsafe.Offsetof(tiles.qMove), 24},
		{"tiles.keys", unsafe.Offsetof(tiles.keys), 32},
		{"tiles.keyMove", unsafe.Offsetof(tiles.keyMove), 40},
		{"tiles.initK", unsafe.Offsetof(tiles.initK), 48},
		{"tiles.keyTiles", unsafe.Offsetof(tiles.keyTiles), 56},
		{"tiles.rowTiles", unsafe.Offsetof(tiles.rowTiles), 64},
		{"tiles.shift", unsafe.Offsetof(tiles.shift), 72},
		{"tiles.shifts", unsafe.Offsetof(tiles.shifts), 80},
		{"tiles.scores", unsafe.Offsetof(tiles.scores), 88},
		{"tiles.n", unsafe.Offsetof(tiles.n), 96},
		{"tiles.fill", unsafe.Offsetof(tiles.fill), 104},
		{"tiles.bias", unsafe.Offsetof(tiles.bias), 112},
		{"tiles.lanes", unsafe.Offsetof(tiles.lanes), 120},
		{"tiles.tmp", unsafe.Offsetof(tiles.tmp), 128},
		{"tiles.weights", unsafe.Offsetof(tiles.weights), 136},
		{"tiles.weightStep", unsafe.Offsetof(tiles.weightStep), 144},
		{"tiles.total", unsafe.Offsetof(tiles.total), 152},
		{"tiles.values", unsafe.Offsetof(tiles.values), 160},
		{"tiles.valueStep", unsafe.Offsetof(tiles.valueStep), 168},
		{"tiles.valueMove", unsafe.Offsetof(tiles.valueMove), 176},
		{"tiles.valueTiles", unsafe.Offsetof(tiles.valueTiles), 184},
		{"tiles.valueSteps", unsafe.Offsetof(tiles.valueSteps), 192},
		{"tiles.out", unsafe.Offsetof(tiles.out), 200},
		{"tiles.outStep", unsafe.Offsetof(tiles.outStep), 208},
		{"tiles.outMove", unsafe.Offsetof(tiles.outMove), 216},
		{"tiles.order", unsafe.Offsetof(tiles.order), 224},
		{"tiles.rowOrder", unsafe.Offsetof(tiles.rowOrder), 232},
		{"tiles.mult", unsafe.Offsetof(tiles.mult), 240},
		{"tiles.inv", unsafe.Offsetof(tiles.inv), 244},
		{"tiles.times", unsafe.Offsetof(tiles.times), 248},
		{"tiles.other", unsafe.Offsetof(tiles.other), 256},
		{"tiles.keysNow", unsafe.Offsetof(tiles.keysNow), 264},
		{"tiles.initNow", unsafe.Offsetof(tiles.initNow), 272},
		{"tiles.scoresNow", unsafe.Offsetof(tiles.scoresNow), 280},
		{"tiles.keysLeft", unsafe.Offsetof(tiles.keysLeft), 288},
		{"tiles.valuesNow", unsafe.Offsetof(tiles.valuesNow), 296},
		{"tiles.outNow", unsafe.Offsetof(tiles.outNow), 304},
		{"tiles.valuesLeft", unsafe.Offsetof(tiles.valuesLeft), 312},
		{"starts.quads", unsafe.Offsetof(starts.quads), 8},
		{"starts.n", unsafe.Offsetof(starts.n), 16},
		{"starts.init", unsafe.Offsetof(starts.init), 24},
		{"starts.zero", unsafe.Offsetof(starts.zero), 32},
		{"starts.base", unsafe.Offsetof(starts.base), 36},
		{"columns.xStep", unsafe.Offsetof(c.xStep), 8},
		{"columns.n", unsafe.Offsetof(c.n), 16},
		{"columns.depth", unsafe.Offsetof(c.depth), 24},
		{"columns.w", unsafe.Offsetof(c.w), 32},
		{"columns.wStep", unsafe.Offsetof(c.wStep), 40},
		{"columns.flip", unsafe.Offsetof(c.flip), 48},
	} {
		if v.got != v.want {
			t.Errorf("%s lies at %d; gen has %d", v.name, v.got, v.want)
		}
	}
}

// randomAttend draws an attention whose scores spread over some units, with
// extreme zero points now and then.
func randomAttend(r rng) AttendSpec {
	pick := func(v ...int) int { return v[r.IntN(len(v))] }
	zero := func(signed bool) int32 {
		z := int32(pick(0, 1, 100, 128, 255, r.IntN(256)))
		if signed {
			z -= 128
		}
		return z
	}
	s := AttendSpec{
		N: 1 + r.IntN(2), H: 1 + r.IntN(3), T: 1 + r.IntN(40), S: 1 + r.IntN(140), D: pick(16, 32, 48, 64, 80), V: pick(16, 32, 48, 64, 96, 128),
		QSigned: r.IntN(2) == 0, KSigned: r.IntN(2) == 0, VSigned: r.IntN(2) == 0,
		Score: 1e-4 * float32(1+r.IntN(30)), Inv: float32(pick(100, 255, 700)), Mult: 1e-4 * float32(1+r.IntN(100)),
	}
	s.QZero, s.KZero, s.VZero = zero(s.QSigned), zero(s.KSigned), zero(s.VSigned)
	s.Masks = pick(0, 1, s.N)
	s.Weights.Zero = int32(pick(0, 0, 3))
	s.Out = Out{DType: DType(r.IntN(2)), Zero: int32(r.IntN(100))}
	if r.IntN(3) == 0 {
		s.Out.QMin, s.Out.QMax = 5, 90
	}
	return s
}

func runAttend(t *testing.T, s AttendSpec, l isa.Level, a AttendArgs, cut int) []byte {
	t.Helper()
	k, err := Attend(s, l)
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	const guard = 0xA5
	y := bytes.Repeat([]byte{guard}, s.N*s.T*s.H*s.V+64)
	a.Y, a.Scratch = y[:len(y)-64], aligned[byte](k.ScratchBytes())
	fill(a.Scratch, 0x7f)
	n := k.Tiles()
	cut = min(cut, n)
	k.Run(cut, n, &a)
	k.Run(0, cut, &a)
	if !bytes.Equal(y[len(y)-64:], bytes.Repeat([]byte{guard}, 64)) {
		t.Fatalf("%+v at %v: written behind the result", s, l)
	}
	return a.Y
}

func TestAttend(t *testing.T) {
	r := newRNG(11)
	for i := range 60 {
		s := randomAttend(r)
		switch i { // the shapes of networks
		case 0:
			s.T, s.S, s.D, s.V = 197, 197, 64, 64
		case 1:
			s.T, s.S, s.D, s.V, s.VSigned, s.VZero = 128, 128, 32, 32, true, 0
		}
		a := AttendArgs{V: r.bytes(s.N * s.S * s.H * s.V)}
		a.X, a.X2 = r.bytes(s.N*s.T*s.H*s.D), r.bytes(s.N*s.S*s.H*s.D)
		if s.Masks > 0 {
			m := make([]float32, s.Masks*s.S)
			for j := range m {
				switch r.IntN(6) {
				case 0:
					m[j] = -10000
				case 1:
					m[j] = float32(math.Inf(-1))
				case 2:
					m[j] = float32(r.IntN(100)) / 50
				}
			}
			if r.IntN(4) == 0 { // a row without a key: its softmax is no number
				for j := range m {
					m[j] = float32(math.Inf(-1))
				}
			}
			a.Mask = view[byte](base(m), 4*len(m))
		}
		want := runAttend(t, s, isa.Portable, a, 0)
		for _, l := range isa.Available() {
			if got := runAttend(t, s, l, a, r.IntN(5)); !bytes.Equal(got, want) {
				t.Fatalf("%d: %+v at %v differs", i, s, l)
			}
		}
	}
}

func TestAttendRefuses(t *testing.T) {
	ok := AttendSpec{N: 2, H: 1, T: 1, S: 1, D: 16, V: 16, Score: 1, Inv: 1, Mult: 1}
	if _, err := Attend(ok, isa.Portable); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*AttendSpec){
		"extent":  func(s *AttendSpec) { s.S = 0 },
		"masks":   func(s *AttendSpec) { s.Masks = 3 },
		"weights": func(s *AttendSpec) { s.Weights = Out{DType: S8} },
		"least":   func(s *AttendSpec) { s.Weights = Out{QMin: 3, QMax: 9, Zero: 1} },
		"result":  func(s *AttendSpec) { s.Out.DType = F32 },
	} {
		s := ok
		change(&s)
		if _, err := Attend(s, isa.Portable); err == nil {
			t.Errorf("%s: no error for %+v", name, s)
		}
	}
}

func BenchmarkAttend(b *testing.B) {
	for _, s := range []AttendSpec{
		{N: 1, H: 3, T: 197, S: 197, D: 64, V: 64},
		{N: 1, H: 12, T: 16, S: 16, D: 32, V: 32, Masks: 1},
		{N: 1, H: 12, T: 128, S: 128, D: 32, V: 32, Masks: 1},
		{N: 1, H: 12, T: 256, S: 256, D: 32, V: 32, Masks: 1},
	} {
		s.QZero, s.KSigned, s.KZero, s.VSigned, s.VZero, s.Score, s.Inv, s.Mult = 129, true, 6, true, -22, 1e-4, 255, 1e-2
		for _, l := range isa.Available() {
			if !l.Has(isa.VNNI) {
				continue
			}
			k, err := Attend(s, l)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(k.Name(), func(b *testing.B) {
				r := newRNG(1)
				a := AttendArgs{V: r.bytes(s.S * s.H * s.V), Mask: make([]byte, 4*s.S)}
				a.X, a.X2, a.Y, a.Scratch = r.bytes(s.T*s.H*s.D), r.bytes(s.S*s.H*s.D), make([]byte, s.T*s.H*s.V), aligned[byte](k.ScratchBytes())
				best := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					k.Run(0, k.Tiles(), &a)
					best = min(best, float64(time.Since(start).Nanoseconds()))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(best/1000, "us")
			})
		}
	}
}
