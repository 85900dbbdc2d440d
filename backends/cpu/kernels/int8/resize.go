package int8

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Tap is one output position of a linear resize: its two sources and the
// weight of the second, of 2^11 in all.
type Tap struct {
	Lo, Hi int
	W      int32
}

// ResizeSpec is a linear resize of [N,H,W,C] to [N,OH,OW,C], TapsH and TapsW
// holding a tap for each output row and column. A one-dimensional resize has
// H = OH = 1 and no TapsH. acc = Σ(x−XZero)·wy·wx, then Out with Mult.
type ResizeSpec struct {
	N, H, W, C, OH, OW int
	XSigned            bool
	XZero              int32
	TapsH, TapsW       []Tap
	Mult               float32
	Out                Out
}

// Resize prepares a q_resize.
func Resize(s ResizeSpec, l isa.Level) (Kernel, error) {
	const name = "q_resize"
	if err := positive(name, s.N, s.H, s.W, s.C, s.OH, s.OW); err != nil {
		return nil, err
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	flat := s.TapsH == nil
	if len(s.TapsW) != s.OW || !flat && len(s.TapsH) != s.OH || flat && (s.H != 1 || s.OH != 1) {
		return nil, specError(name, fmt.Sprintf("%d and %d taps", len(s.TapsH), len(s.TapsW)), "%d and %d", s.OH, s.OW)
	}
	for i, taps := range [][]Tap{s.TapsH, s.TapsW} {
		n := []int{s.H, s.W}[i]
		for _, t := range taps {
			if min(t.Lo, t.Hi) < 0 || max(t.Lo, t.Hi) >= n || t.W < 0 || t.W > 2048 {
				return nil, specError(name, fmt.Sprintf("tap %+v", t), "sources below %d and weights up to 2048", n)
			}
		}
	}
	fin := newFinisher(s.Out, []float32{s.Mult}, math.Inf(1), nil, nil, l)
	flip, zero := xored(s.XSigned), s.XZero+offset(s.XSigned)
	size := fin.out.bytes()
	rows := s.N * s.OH
	pitch := s.W * s.C
	run := func(lo, hi int, a *Args) {
		for r := lo; r < hi; r++ {
			n, oy := r/s.OH, r%s.OH
			ty, wy, one := Tap{}, int32(1), int32(0)
			if !flat {
				ty = s.TapsH[oy]
				wy, one = 2048-ty.W, ty.W
			}
			top := a.X[(n*s.H+ty.Lo)*pitch:][:pitch]
			bottom := a.X[(n*s.H+ty.Hi)*pitch:][:pitch]
			for ox, tx := range s.TapsW {
				p, q := top[tx.Lo*s.C:][:s.C], top[tx.Hi*s.C:][:s.C]
				u, v := bottom[tx.Lo*s.C:][:s.C], bottom[tx.Hi*s.C:][:s.C]
				w1, w0 := tx.W, 2048-tx.W
				at := (r*s.OW + ox) * s.C
				for c := range s.C {
					acc := ((int32(p[c]^flip)-zero)*w0+(int32(q[c]^flip)-zero)*w1)*wy +
						((int32(u[c]^flip)-zero)*w0+(int32(v[c]^flip)-zero)*w1)*one
					fin.put(a.Y, at+c, acc, size)
				}
			}
		}
	}
	return &op{name: name, tiles: rows, run: run, cost: 3 * float64(s.OW*s.C)}, nil
}

// put finishes one sum as element i of y.
func (f *finisher) put(y []byte, i int, acc int32, size int) {
	f.one(acc, base(y[i*size:]))
}

// NearestSpec copies pixels of Bytes bytes: output row i comes from RowOf[i],
// column j from ColOf[j].
type NearestSpec struct {
	N, H, W, Bytes int
	RowOf, ColOf   []int
}

// Nearest prepares a nearest resize of any element type.
func Nearest(s NearestSpec, _ isa.Level) (Kernel, error) {
	const name = "resize_nearest"
	if err := positive(name, s.N, s.H, s.W, s.Bytes, len(s.RowOf), len(s.ColOf)); err != nil {
		return nil, err
	}
	for i, of := range [][]int{s.RowOf, s.ColOf} {
		for _, v := range of {
			if n := []int{s.H, s.W}[i]; v < 0 || v >= n {
				return nil, specError(name, fmt.Sprintf("source %d", v), "0 to %d", n-1)
			}
		}
	}
	oh, ow, b := len(s.RowOf), len(s.ColOf), s.Bytes
	run := func(lo, hi int, a *Args) {
		for r := lo; r < hi; r++ {
			n, oy := r/oh, r%oh
			y := a.Y[r*ow*b:][:ow*b]
			if oy > 0 && r > lo && s.RowOf[oy] == s.RowOf[oy-1] {
				copy(y, a.Y[(r-1)*ow*b:])
				continue
			}
			x := a.X[(n*s.H+s.RowOf[oy])*s.W*b:][:s.W*b]
			for j, c := range s.ColOf {
				copy(y[j*b:][:b], x[c*b:])
			}
		}
	}
	return &op{name: name, tiles: s.N * oh, run: run, cost: float64(ow) * (4 + float64(b)/16)}, nil
}
