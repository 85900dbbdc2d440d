package f32

import (
	"encoding/binary"
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// RecurrentSpec is an LSTM or GRU layer as ONNX defines it: x [T,N,C], weights
// W [Dirs,G*H,C] and R [Dirs,G*H,H] with gates i o f c (LSTM, G = 4) or z r h
// (GRU, G = 3). Bias [Dirs,2*G*H] and Peephole [Dirs,3*H] may be nil. Dirs is 2
// for both directions; Reverse is the direction of a single one.
//
// Each product is one FMA chain, plus its bias; gates add the input's product
// and the state's; then the functions of package fmath, one rounding an
// operation: c' = f*c + i*g, h' = o*tanh(c'); h' = (1-z)*g + z*h.
type RecurrentSpec struct {
	GRU               bool
	T, N, C, H, Dirs  int
	Reverse           bool
	LinearBeforeReset bool
	W, R              []float32
	Bias, Peephole    []float32
}

// RecurrentArgs is the memory of one run. Lens (i32, N), H0 and C0 [Dirs,N,H] may
// be nil; Y is [T,Dirs,N,H], HN and CN (LSTM) [Dirs,N,H].
type RecurrentArgs struct {
	X, Lens, H0, C0 []byte
	Y, HN, CN       []byte
	Scratch         []byte
}

// RecurrentKernel is Kernel for recurrent layers, which have more operands. Its
// units are the directions.
type RecurrentKernel struct {
	RecurrentSpec
	gates          int
	name           string
	input          []Kernel // per direction: T*N rows of x times W
	state          []Kernel // N rows of h times R, and with lengths one row at a time
	state1         []Kernel
	reset, reset1  []Kernel // GRU: r*h times the candidate's part of R
	sigmoid, tanh  func(y, x []float32)
	add            binaryRun
	inner, scratch int // bytes of the inner kernels' scratch and of all
}

// Recurrent prepares a recurrent layer.
func Recurrent(s RecurrentSpec, l isa.Level) (*RecurrentKernel, error) {
	k := &RecurrentKernel{RecurrentSpec: s, gates: 4, name: "lstm"}
	if s.GRU {
		k.gates, k.name = 3, "gru"
	}
	g := k.gates * s.H
	if s.T < 1 || s.N < 1 || s.C < 1 || s.H < 1 || s.Dirs < 1 || s.Dirs > 2 {
		return nil, specError(k.name, fmt.Sprintf("%d steps, batch %d, %d to %d values, %d directions", s.T, s.N, s.C, s.H, s.Dirs), "1 or more, at most 2 directions")
	}
	if len(s.W) != s.Dirs*g*s.C || len(s.R) != s.Dirs*g*s.H || s.Bias != nil && len(s.Bias) != s.Dirs*2*g || s.Peephole != nil && len(s.Peephole) != s.Dirs*3*s.H {
		return nil, specError(k.name, fmt.Sprintf("%d, %d weights, %d biases, %d peephole weights", len(s.W), len(s.R), len(s.Bias), len(s.Peephole)),
			"%d, %d, %d, %d", s.Dirs*g*s.C, s.Dirs*g*s.H, s.Dirs*2*g, s.Dirs*3*s.H)
	}
	var err error
	dot := func(rows, in, first, out int, w, bias []float32) Kernel {
		t := make([]float32, in*out)
		for i := range out {
			for j := range in {
				t[j*out+i] = w[(first+i)*in+j]
			}
		}
		if bias != nil {
			bias = bias[first : first+out]
		}
		d, e := Dot(DotSpec{M: rows, K: in, N: out, Weights: t, Bias: bias}, l)
		if e != nil {
			err = e
			return nil
		}
		k.inner = max(k.inner, d.ScratchBytes())
		return d
	}
	for d := range s.Dirs {
		var wb, rb []float32
		if s.Bias != nil {
			wb, rb = s.Bias[d*2*g:d*2*g+g], s.Bias[d*2*g+g:(d+1)*2*g]
		}
		w, r := s.W[d*g*s.C:(d+1)*g*s.C], s.R[d*g*s.H:(d+1)*g*s.H]
		k.input = append(k.input, dot(s.T*s.N, s.C, 0, g, w, wb))
		k.state, k.state1 = append(k.state, dot(s.N, s.H, 0, g, r, rb)), append(k.state1, dot(1, s.H, 0, g, r, rb))
		if s.GRU && !s.LinearBeforeReset {
			k.reset, k.reset1 = append(k.reset, dot(s.N, s.H, 2*s.H, s.H, r, rb)), append(k.reset1, dot(1, s.H, 2*s.H, s.H, r, rb))
		}
	}
	if err != nil {
		return nil, err
	}
	if k.sigmoid, err = unaryFunc("logistic", Params{}, l); err != nil {
		return nil, err
	}
	if k.tanh, err = unaryFunc("tanh", Params{}, l); err != nil {
		return nil, err
	}
	if k.add, err = binaryFunc("add", l); err != nil {
		return nil, err
	}
	k.W, k.R = nil, nil
	k.name = fmt.Sprintf("%s_f32_%dx%dx%d_%dx%d_%s", k.name, s.T, s.N, s.C, s.Dirs, s.H, l)
	k.scratch = align64(k.inner) + align64(4*s.T*s.N*g) + align64(4*s.N*g) + 4*align64(4*s.N*s.H)
	return k, nil
}

// Tiles is the number of directions.
func (k *RecurrentKernel) Tiles() int { return k.Dirs }

// ScratchBytes is the memory that each worker brings.
func (k *RecurrentKernel) ScratchBytes() int { return k.scratch }

// Name tells the shape and the instructions.
func (k *RecurrentKernel) Name() string { return k.name }

// steps is the memory of one direction of one run.
type steps struct {
	inner             []byte
	gx, gh            []byte // [T,N,G,H] and [N,G,H]
	h, c, reset, cand []byte // [N,H]
}

func (k *RecurrentKernel) carve(scratch []byte) steps {
	take := func(n int) []byte {
		b := scratch[:n]
		scratch = scratch[align64(n):]
		return b
	}
	g, h := 4*k.gates*k.H, 4*k.N*k.H
	return steps{
		inner: take(k.inner), gx: take(k.T * k.N * g), gh: take(k.N * g),
		h: take(h), c: take(h), reset: take(h), cand: take(h),
	}
}

// Run computes directions [lo, hi).
func (k *RecurrentKernel) Run(lo, hi int, a *RecurrentArgs) {
	s := k.carve(a.Scratch)
	for d := lo; d < hi; d++ {
		runAll(k.input[d], &Args{X: a.X, Y: s.gx, Scratch: s.inner})
		for t := range k.T {
			at := (t*k.Dirs + d) * k.N * k.H
			clear(floats(a.Y)[at : at+k.N*k.H])
		}
		part := d * 4 * k.N * k.H
		start(s.h, a.H0, part)
		start(s.c, a.C0, part)
		if a.Lens == nil {
			for i := range k.T {
				k.step(d, i, 0, k.N, a.Y, &s)
			}
		} else {
			for b := range k.N {
				n := min(int(int32(binary.LittleEndian.Uint32(a.Lens[4*b:]))), k.T)
				for i := range n {
					t := i
					if k.reversed(d) {
						t = n - 1 - i
					}
					k.advance(d, t, b, 1, a.Y, &s)
				}
			}
		}
		copy(a.HN[part:], s.h)
		if !k.GRU {
			copy(a.CN[part:], s.c)
		}
	}
}

func start(dst, from []byte, at int) {
	if from == nil {
		clear(dst)
		return
	}
	copy(dst, from[at:])
}

// runAll runs a kernel whole; its argument block stays on the stack.
func runAll(k Kernel, a *Args) { k.Run(0, k.Tiles(), hide(a)) }

func (k *RecurrentKernel) reversed(d int) bool { return k.Reverse || d == 1 }

// step is the i-th step of batch entries [b, b+n) that all have T steps.
func (k *RecurrentKernel) step(d, i, b, n int, y []byte, s *steps) {
	t := i
	if k.reversed(d) {
		t = k.T - 1 - i
	}
	k.advance(d, t, b, n, y, s)
}

// advance updates the state of entries [b, b+n) from position t and writes it
// to y.
func (k *RecurrentKernel) advance(d, t, b, n int, y []byte, s *steps) {
	w, g := k.H, k.gates*k.H
	state, reset := k.state1[d], []Kernel(nil)
	if n == k.N {
		state, reset = k.state[d], k.reset
	} else {
		reset = k.reset1
	}
	h, c := s.h[4*b*w:4*(b+n)*w], s.c[4*b*w:4*(b+n)*w]
	gh, gx := s.gh[:4*n*g], s.gx[4*(t*k.N+b)*g:4*(t*k.N+b+n)*g]
	runAll(state, &Args{X: h, Y: gh, Scratch: s.inner})
	if k.GRU {
		rs, cand := s.reset[:4*n*w], s.cand[:4*n*w]
		for r := range n {
			k.gruGates(row(gx, r, g), row(gh, r, g), row(h, r, w), row(rs, r, w))
		}
		if !k.LinearBeforeReset {
			runAll(reset[d], &Args{X: rs, Y: cand, Scratch: s.inner})
		}
		for r := range n {
			k.gruState(row(gx, r, g), row(gh, r, g), row(cand, r, w), row(h, r, w))
		}
	} else {
		var peep []float32
		if k.Peephole != nil {
			peep = k.Peephole[d*3*w : (d+1)*3*w]
		}
		for r := range n {
			k.lstmState(row(gx, r, g), row(gh, r, g), peep, row(c, r, w), row(h, r, w))
		}
	}
	copy(y[4*((t*k.Dirs+d)*k.N+b)*w:], h)
}

func row(b []byte, i, n int) []float32 { return floats(b[4*i*n : 4*(i+1)*n]) }

// lstmState updates c and h of one entry; gh becomes the gates.
func (k *RecurrentKernel) lstmState(gx, gh, peep, c, h []float32) {
	w := k.H
	k.add(gh, gx, gh, false, false)
	i, o, f, g := gh[:w], gh[w:2*w], gh[2*w:3*w], gh[3*w:]
	if peep != nil {
		for j, v := range c {
			i[j] += float32(peep[j] * v)
			f[j] += float32(peep[2*w+j] * v)
		}
	}
	k.sigmoid(i, i)
	k.sigmoid(f, f)
	k.tanh(g, g)
	for j, v := range c {
		c[j] = float32(f[j]*v) + float32(i[j]*g[j])
		if peep != nil {
			o[j] += float32(peep[w+j] * c[j])
		}
	}
	k.sigmoid(o, o)
	k.tanh(h, c)
	for j, v := range o {
		h[j] = float32(v * h[j])
	}
}

// gruGates turns the first two thirds of gx into the gates z and r, and gives r*h.
func (k *RecurrentKernel) gruGates(gx, gh, h, reset []float32) {
	w := k.H
	zr := gx[:2*w]
	k.add(zr, zr, gh[:2*w], false, false)
	k.sigmoid(zr, zr)
	for j, v := range h {
		reset[j] = float32(zr[w+j] * v)
	}
}

// gruState updates h of one entry from the gates and the candidate.
func (k *RecurrentKernel) gruState(gx, gh, cand, h []float32) {
	w := k.H
	z, r, g := gx[:w], gx[w:2*w], gx[2*w:]
	if k.LinearBeforeReset {
		for j := range g {
			g[j] += float32(r[j] * gh[2*w+j])
		}
	} else {
		k.add(g, g, cand, false, false)
	}
	k.tanh(g, g)
	for j, v := range h {
		h[j] = float32((1-z[j])*g[j]) + float32(z[j]*v)
	}
}
