package f32

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// naiveRecurrent is RecurrentSpec's definition, one value at a time.
func naiveRecurrent(s RecurrentSpec, x []float32, lens []int, h0, c0 []float32) (y, hn, cn []float32) {
	gates := 4
	if s.GRU {
		gates = 3
	}
	g := gates * s.H
	y, hn, cn = make([]float32, s.T*s.Dirs*s.N*s.H), make([]float32, s.Dirs*s.N*s.H), make([]float32, s.Dirs*s.N*s.H)
	for d := range s.Dirs {
		product := func(w, in []float32, row, n, bias int) float32 {
			acc := float32(0)
			for j := range n {
				acc = fmath.FMA32(in[j], w[(d*g+row)*n+j], acc)
			}
			if s.Bias != nil {
				return acc + s.Bias[d*2*g+bias*g+row]
			}
			return acc + 0
		}
		for b := range s.N {
			h, c := make([]float32, s.H), make([]float32, s.H)
			at := (d*s.N + b) * s.H
			if h0 != nil {
				copy(h, h0[at:])
			}
			if c0 != nil {
				copy(c, c0[at:])
			}
			n := s.T
			if lens != nil {
				n = lens[b]
			}
			for i := range n {
				t := i
				if s.Reverse || d == 1 {
					t = n - 1 - i
				}
				in := x[(t*s.N+b)*s.C:][:s.C]
				gate := func(k, j int) float32 {
					return product(s.W, in, k*s.H+j, s.C, 0) + product(s.R, h, k*s.H+j, s.H, 1)
				}
				next := make([]float32, s.H)
				reset := make([]float32, s.H)
				for j := range reset {
					if s.GRU {
						reset[j] = float32(fmath.Sigmoid(gate(1, j)) * h[j])
					}
				}
				for j := range next {
					if s.GRU {
						z, r, gx := fmath.Sigmoid(gate(0, j)), fmath.Sigmoid(gate(1, j)), product(s.W, in, 2*s.H+j, s.C, 0)
						var cand float32
						if s.LinearBeforeReset {
							cand = float32(r * product(s.R, h, 2*s.H+j, s.H, 1))
						} else {
							cand = product(s.R, reset, 2*s.H+j, s.H, 1)
						}
						next[j] = float32((1-z)*fmath.Tanh(gx+cand)) + float32(z*h[j])
						continue
					}
					i, o, f := gate(0, j), gate(1, j), gate(2, j)
					peep := func(k int, v float32) float32 {
						if s.Peephole == nil {
							return 0
						}
						return float32(s.Peephole[(d*3+k)*s.H+j] * v)
					}
					i, f = i+peep(0, c[j]), f+peep(2, c[j])
					c[j] = float32(fmath.Sigmoid(f)*c[j]) + float32(fmath.Sigmoid(i)*fmath.Tanh(gate(3, j)))
					next[j] = float32(fmath.Sigmoid(o+peep(1, c[j])) * fmath.Tanh(c[j]))
				}
				h = next
				copy(y[((t*s.Dirs+d)*s.N+b)*s.H:], h)
			}
			copy(hn[at:], h)
			copy(cn[at:], c)
		}
	}
	return y, hn, cn
}

func TestRecurrent(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		r := rand.New(rand.NewPCG(8, 2))
		for i := range 24 {
			s := RecurrentSpec{GRU: i%2 == 1, T: 1 + r.IntN(6), N: 1 + r.IntN(4), C: 1 + r.IntN(20), H: 1 + r.IntN(40), Dirs: 1 + i/2%2, LinearBeforeReset: i/4%2 == 0}
			s.Reverse = s.Dirs == 1 && r.IntN(2) == 0
			g := 4 * s.H
			if s.GRU {
				g = 3 * s.H
			}
			s.W, s.R = randFloats(r, s.Dirs*g*s.C), randFloats(r, s.Dirs*g*s.H)
			if i%3 > 0 {
				s.Bias = randFloats(r, s.Dirs*2*g)
			}
			if !s.GRU && i%3 == 1 {
				s.Peephole = randFloats(r, s.Dirs*3*s.H)
			}
			x := randFloats(r, s.T*s.N*s.C)
			size := s.Dirs * s.N * s.H
			var lens []int
			var h0, c0 []float32
			a := &RecurrentArgs{X: asBytes(x), Y: asBytes(alignedFloats(s.T * size)), HN: asBytes(alignedFloats(size)), CN: asBytes(alignedFloats(size))}
			if i%4 == 2 {
				for range s.N {
					n := r.IntN(s.T + 1)
					lens = append(lens, n)
					a.Lens = binary.LittleEndian.AppendUint32(a.Lens, uint32(n))
				}
			}
			if i%5 > 1 {
				h0, c0 = randFloats(r, size), randFloats(r, size)
				a.H0, a.C0 = asBytes(h0), asBytes(c0)
			}
			k, err := Recurrent(s, l)
			if err != nil {
				t.Fatal(err)
			}
			a.Scratch = asBytes(alignedFloats(k.ScratchBytes() / 4))
			y, hn, cn := naiveRecurrent(s, x, lens, h0, c0)
			for range 2 {
				for d := range k.Tiles() {
					k.Run(d, d+1, a)
				}
			}
			what := fmt.Sprintf("%s %+v", k.Name(), lens)
			sameBits(t, what+" y", floats(a.Y), y)
			sameBits(t, what+" h", floats(a.HN), hn)
			if !s.GRU {
				sameBits(t, what+" c", floats(a.CN), cn)
			}
			if n := testing.AllocsPerRun(1, func() { k.Run(0, k.Tiles(), a) }); n != 0 {
				t.Errorf("%s allocates %v times", k.Name(), n)
			}
		}
		if _, err := Recurrent(RecurrentSpec{T: 1, N: 1, C: 1, H: 1, Dirs: 1, W: make([]float32, 3), R: make([]float32, 4)}, l); err == nil {
			t.Error("wrong weights are taken")
		}
	})
}

func BenchmarkLSTM(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		s := RecurrentSpec{T: 100, N: 1, C: 256, H: 256, Dirs: 1, W: make([]float32, 4*256*256), R: make([]float32, 4*256*256)}
		k, err := Recurrent(s, l)
		if err != nil {
			b.Fatal(err)
		}
		a := &RecurrentArgs{
			X: asBytes(alignedFloats(100 * 256)), Y: asBytes(alignedFloats(100 * 256)), HN: asBytes(alignedFloats(256)), CN: asBytes(alignedFloats(256)),
			Scratch: asBytes(alignedFloats(k.ScratchBytes() / 4)),
		}
		for b.Loop() {
			k.Run(0, 1, a)
		}
	})
}
