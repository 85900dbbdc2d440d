package int8

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The definitions of quant/README.md, written plainly.

func refRequant(acc int32, m float32, o Out) int32 {
	o = o.full()
	v := float32(acc) * m
	v = min(max(v, float32(o.QMin-o.Zero)), float32(o.QMax-o.Zero))
	return o.Zero + int32(math.RoundToEven(float64(v)))
}

func get8(b []byte, i int, signed bool) int32 {
	if signed {
		return int32(int8(b[i]))
	}
	return int32(b[i])
}

// refPut writes the result of one sum.
func refPut(y []byte, i int, acc int32, m float32, o Out) {
	switch o.DType {
	case F32:
		binary.LittleEndian.PutUint32(y[4*i:], math.Float32bits(float32(acc)*m))
	case I32:
		binary.LittleEndian.PutUint32(y[4*i:], uint32(acc))
	default:
		y[i] = byte(refRequant(acc, m, o))
	}
}

func refConv(s ConvSpec, x, x2 []byte) []byte {
	cg, kg := s.C/s.Groups, s.K/s.Groups
	last := s.Out
	if s.Residual != nil {
		last = s.Residual.Out
	}
	y := make([]byte, s.N*s.OH*s.OW*s.K*last.DType.bytes())
	i := 0
	for n := range s.N {
		for oy := range s.OH {
			for ox := range s.OW {
				for k := range s.K {
					var acc, wz int32
					if s.Bias != nil {
						acc = s.Bias[k]
					}
					if s.WZero != nil {
						wz = s.WZero[k]
					}
					for kh := range s.KH {
						for kw := range s.KW {
							iy, ix := oy*s.SH-s.PT+kh*s.DH, ox*s.SW-s.PL+kw*s.DW
							if iy < 0 || iy >= s.H || ix < 0 || ix >= s.W {
								continue
							}
							for c := range cg {
								v := get8(x, ((n*s.H+iy)*s.W+ix)*s.C+k/kg*cg+c, s.XSigned) - s.XZero
								acc += v * (int32(s.Weights[((kh*s.KW+kw)*cg+c)*s.K+k]) - wz)
							}
						}
					}
					var m float32
					if s.Mult != nil {
						m = s.Mult[k]
					}
					if r := s.Residual; r != nil {
						q := refRequant(acc, m, s.Out)
						a := (q-s.Out.Zero)*r.A + (get8(x2, i, r.Signed)-r.Zero)*r.B
						y[i] = byte(refRequant(a, r.Mult, r.Out))
					} else {
						refPut(y, i, acc, m, s.Out)
					}
					if s.Table != nil {
						y[i] = s.Table[y[i]^xored(last.DType == S8)]
					}
					i++
				}
			}
		}
	}
	return y
}

// rng helps to draw specifications.
type rng struct{ *rand.Rand }

func newRNG(seed uint64) rng { return rng{rand.New(rand.NewPCG(seed, 7))} }

func (r rng) in(lo, hi int) int { return lo + r.IntN(hi-lo+1) }

func (r rng) bool() bool { return r.IntN(2) == 0 }

func (r rng) bytes(n int) []byte {
	b := make([]byte, n)
	switch r.IntN(6) {
	case 0: // extreme values
		for i := range b {
			b[i] = []byte{0, 255, 127, 128}[r.IntN(4)]
		}
	default:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func (r rng) int8s(n int) []int8 {
	w := make([]int8, n)
	for i, v := range r.bytes(n) {
		w[i] = int8(v)
	}
	return w
}

func (r rng) out(types int) Out {
	o := Out{DType: DType(r.IntN(types))}
	lo, hi := 0, 255
	if o.DType == S8 {
		lo, hi = -128, 127
	}
	if o.DType <= S8 {
		o.Zero = int32(r.in(lo, hi))
		if r.bool() {
			o.QMin, o.QMax = int32(r.in(lo, hi-1)), int32(hi)
			o.QMax = int32(r.in(int(o.QMin)+1, hi))
		}
	}
	return o
}

func (r rng) zero(signed bool) int32 {
	if signed {
		return int32(r.in(-128, 127))
	}
	return int32(r.in(0, 255))
}

func (r rng) table() *[256]uint8 {
	var t [256]uint8
	copy(t[:], r.bytes(256))
	return &t
}

func (r rng) conv() ConvSpec {
	s := ConvSpec{N: r.in(1, 2), KH: r.in(1, 4), KW: r.in(1, 4), SH: r.in(1, 3), SW: r.in(1, 3), DH: r.in(1, 2), DW: r.in(1, 2), Groups: 1}
	s.C, s.K = r.in(1, 40), r.in(1, 80)
	switch r.IntN(6) {
	case 0: // depthwise
		s.C = r.in(1, 140)
		s.K, s.Groups = s.C, s.C
		if r.bool() {
			s.K *= 2
		}
	case 1:
		s.Groups = r.in(2, 4)
		s.C, s.K = s.Groups*r.in(1, 16), s.Groups*r.in(1, 40)
	case 2:
		s.KH, s.KW, s.DH, s.DW = 1, 1, 1, 1
		s.C, s.K = r.in(1, 8)*8, r.in(1, 12)*16
		if r.bool() {
			s.SH, s.SW = 1, 1
		}
	case 4: // one dimension, long
		s.KH, s.SH, s.DH, s.OH, s.OW = 1, 1, 1, 1, r.in(60, 400)
		if r.bool() {
			s.C = r.in(1, 100)
			s.K, s.Groups = s.C, s.C
		}
	case 3:
		s.KH, s.KW, s.DH, s.DW = 3, 3, 1, 1
		s.C = r.in(1, 6) * 4
	}
	return r.finishConv(s)
}

// finishConv draws what is left of a convolution.
func (r rng) finishConv(s ConvSpec) ConvSpec {
	pt, pl := 0, 0
	if r.bool() {
		pt, pl = r.in(0, s.KH-1), r.in(0, s.KW-1)
	}
	s.PT, s.PL = pt, pl
	if s.OW == 0 {
		s.OH, s.OW = r.in(1, 9), r.in(1, 17)
	}
	s.H = max(1, (s.OH-1)*s.SH+(s.KH-1)*s.DH+1-pt-r.in(0, pt)+r.in(0, s.SH-1))
	s.W = max(1, (s.OW-1)*s.SW+(s.KW-1)*s.DW+1-pl-r.in(0, pl)+r.in(0, s.SW-1))
	s.XSigned = r.IntN(4) == 0
	s.XZero = r.zero(s.XSigned)
	s.Weights = r.int8s(s.KH * s.KW * s.C / s.Groups * s.K)
	if r.IntN(5) == 0 {
		s.WZero = make([]int32, s.K)
		for i := range s.WZero {
			s.WZero[i] = r.zero(true)
		}
	}
	if r.IntN(4) != 0 {
		s.Bias = make([]int32, s.K)
		for i := range s.Bias {
			s.Bias[i] = int32(r.in(-50000, 50000))
		}
	}
	s.Out = r.out(4)
	ktotal := float64(s.KH * s.KW * s.C / s.Groups)
	s.Mult = make([]float32, s.K)
	for i := range s.Mult {
		s.Mult[i] = float32(math.Exp2(r.Float64()*4-9) / math.Sqrt(ktotal))
	}
	if s.Out.DType == I32 && r.bool() {
		s.Mult = nil
	}
	if s.Out.DType <= S8 {
		if r.IntN(3) == 0 {
			s.Residual = &Residual{Signed: r.bool(), A: int32(r.in(0, 1<<14)), B: 1 << 14, Mult: float32(math.Exp2(r.Float64()*4 - 16)), Out: r.out(2)}
			s.Residual.Zero = r.zero(s.Residual.Signed)
		}
		if r.IntN(3) == 0 {
			s.Table = r.table()
		}
		if r.IntN(3) == 0 { // what needs no clamps
			if s.Residual != nil {
				s.Residual.Signed, s.Residual.Zero, s.Residual.Out = false, r.zero(false), Out{}
			} else {
				s.Out = Out{}
			}
		}
	}
	return s
}

// runAll runs a kernel in a random partition, with scratch memory that holds
// rubbish and results that lie between guards.
func runAll(t *testing.T, r rng, k Kernel, x, x2 []byte, size int) []byte {
	t.Helper()
	const guard = 64
	y := make([]byte, size+2*guard)
	for i := range y {
		y[i] = 0xa5
	}
	lead := 4 * r.IntN(3)
	at := guard - lead
	scratch := aligned[byte](k.ScratchBytes())
	for i := range scratch {
		scratch[i] = byte(r.Uint32())
	}
	a := &Args{X: x, X2: x2, Y: y[at:][:size:size], Scratch: scratch}
	var pieces [][2]int
	for lo := 0; lo < k.Tiles(); {
		hi := min(k.Tiles(), lo+r.in(1, 4))
		pieces = append(pieces, [2]int{lo, hi})
		lo = hi
	}
	if r.IntN(2) == 0 { // a worker takes some from others
		r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	}
	for _, p := range pieces {
		k.Run(p[0], p[1], a)
	}
	for i, v := range y {
		if v != 0xa5 && (i < at || i >= at+size) {
			t.Fatalf("%s wrote outside its result, at %d of %d bytes", k.Name(), i-at, size)
		}
	}
	return a.Y
}

func compare(t *testing.T, name string, got, want []byte, spec any) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: byte %d of %d is %d, want %d\n%+v", name, i, len(want), got[i], want[i], spec)
		}
	}
}

func must(t testing.TB, k Kernel, err error) Kernel {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// convTranspose draws a transposed convolution.
func (r rng) convTranspose() ConvSpec {
	s := ConvSpec{N: r.in(1, 2), KH: r.in(1, 5), KW: r.in(1, 5), SH: r.in(1, 3), SW: r.in(1, 3), DH: r.in(1, 2), DW: r.in(1, 2), Groups: 1}
	s.C, s.K = r.in(1, 40), r.in(1, 40)
	switch r.IntN(5) {
	case 0, 1:
		s.KH, s.KW, s.SH, s.SW, s.DH, s.DW = 2, 2, 2, 2, 1, 1
	case 2:
		s.Groups = r.in(2, 4)
		s.C, s.K = s.Groups*r.in(1, 10), s.Groups*r.in(1, 10)
	}
	groups := s.Groups
	s.OH, s.OW = 1, 1
	s = r.finishConv(s)
	s.Residual = nil
	s.H, s.W = r.in(1, 7), r.in(1, 9)
	s.PT, s.PL = r.in(0, s.KH-1), r.in(0, s.KW-1)
	if r.bool() {
		s.PT, s.PL = 0, 0
	}
	s.OH = max(1, (s.H-1)*s.SH+(s.KH-1)*s.DH+1-s.PT-r.in(0, 2)+r.in(0, s.SH-1))
	s.OW = max(1, (s.W-1)*s.SW+(s.KW-1)*s.DW+1-s.PL-r.in(0, 2)+r.in(0, s.SW-1))
	if groups > 1 {
		s.WZero = nil
	}
	return s
}

func refConvTranspose(s ConvSpec, x []byte) []byte {
	cg, kg := s.C/s.Groups, s.K/s.Groups
	acc := make([]int32, s.N*s.OH*s.OW*s.K)
	for n := range s.N {
		for p := range s.H * s.W * s.KH * s.KW {
			ih, iw, kh, kw := p/s.KW/s.KH/s.W, p/s.KW/s.KH%s.W, p/s.KW%s.KH, p%s.KW
			oh, ow := ih*s.SH-s.PT+kh*s.DH, iw*s.SW-s.PL+kw*s.DW
			if oh < 0 || ow < 0 || oh >= s.OH || ow >= s.OW {
				continue
			}
			for c := range s.C {
				v := get8(x, ((n*s.H+ih)*s.W+iw)*s.C+c, s.XSigned) - s.XZero
				for j := range kg {
					k := c/cg*kg + j
					w := int32(s.Weights[((kh*s.KW+kw)*s.C+c)*kg+j])
					if s.WZero != nil {
						w -= s.WZero[k]
					}
					acc[((n*s.OH+oh)*s.OW+ow)*s.K+k] += v * w
				}
			}
		}
	}
	y := make([]byte, len(acc)*s.Out.DType.bytes())
	for i, a := range acc {
		if s.Bias != nil {
			a += s.Bias[i%s.K]
		}
		var m float32
		if s.Mult != nil {
			m = s.Mult[i%s.K]
		}
		refPut(y, i, a, m, s.Out)
		if s.Table != nil {
			y[i] = s.Table[y[i]^xored(s.Out.DType == S8)]
		}
	}
	return y
}
