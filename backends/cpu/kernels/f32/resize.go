package f32

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// Tap is one output position of a linear resize along one axis: its two source
// positions, which may be one, and the weight of the second.
type Tap struct {
	Lo, Hi int
	F      float32
}

// ResizeSpec resizes NHWC images; Rows has OH taps and Cols OW taps.
type ResizeSpec struct {
	N, H, W, C int
	Rows, Cols []Tap
}

// Resize prepares a linear resize: fmath.FMA32(F, b-a, a) along the columns in
// both source rows, then along the rows. With one row in and out there is only
// the first.
func Resize(s ResizeSpec, l isa.Level) (Kernel, error) {
	for _, t := range s.Rows {
		if t.Lo < 0 || t.Hi < 0 || t.Lo >= s.H || t.Hi >= s.H {
			return nil, specError("resize", fmt.Sprintf("source row %d, %d", t.Lo, t.Hi), "rows of %d", s.H)
		}
	}
	for _, t := range s.Cols {
		if t.Lo < 0 || t.Hi < 0 || t.Lo >= s.W || t.Hi >= s.W {
			return nil, specError("resize", fmt.Sprintf("source column %d, %d", t.Lo, t.Hi), "columns of %d", s.W)
		}
	}
	oh, ow := len(s.Rows), len(s.Cols)
	lerp := lerpFor(l)
	return &op{
		name: fmt.Sprintf("resize_f32_%dx%dx%dx%d_%dx%d_%s", s.N, s.H, s.W, s.C, oh, ow, l), tiles: s.N * oh, scratch: align64(s.C * 4),
		run: func(lo, hi int, a *Args) {
			x, y, tmp := floats(a.X), floats(a.Y), floats(a.Scratch)[:s.C]
			for r := lo; r < hi; r++ {
				img, t := x[r/oh*s.H*s.W*s.C:], s.Rows[r%oh]
				for j, c := range s.Cols {
					at := func(h, w int) []float32 { return img[(h*s.W+w)*s.C:][:s.C] }
					o := y[(r*ow+j)*s.C:][:s.C]
					lerp(o, at(t.Lo, c.Lo), at(t.Lo, c.Hi), c.F)
					if s.H > 1 || oh > 1 {
						lerp(tmp, at(t.Hi, c.Lo), at(t.Hi, c.Hi), c.F)
						lerp(o, o, tmp, t.F)
					}
				}
			}
		},
	}, nil
}

// lerp writes FMA32(f, b-a, a); y may be a.
func lerp(y, a, b []float32, f float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = fmath.FMA32(f, b[i]-a[i], a[i])
	}
}
