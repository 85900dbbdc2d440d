package ir

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// Winograd says whether a convolution's geometry is one of Winograd's F(m×m, 3×3):
// two spatial axes, 3×3 taps next to each other, stride 1, one group.
func (w Window) Winograd() bool {
	return len(w.In) == 2 && w.Kernel[0] == 3 && w.Kernel[1] == 3 && w.Groups == 1 &&
		w.Stride[0] == 1 && w.Stride[1] == 1 && w.Dilation[0] == 1 && w.Dilation[1] == 1
}

func checkWinograd(n *Node) error {
	m := n.Int("winograd")
	if m == 0 {
		return nil
	}
	if m != 2 && m != 4 {
		return fmt.Errorf("winograd is %d; wanted 0, 2 or 4", m)
	}
	if w, err := WindowOf(n); err != nil || !w.Winograd() {
		return fmt.Errorf("winograd is %d; wanted 0 unless the kernel is 3×3 with stride 1, dilation 1 and one group", m)
	}
	return nil
}

// winogradReal computes tiles of m×m results, the first at the upper left, by
// fmath's transforms: at each position of a tile one chain of FMAs over the
// channels from +0, weights rounded once. What lies outside the input is zero.
func winogradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	d, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	m := n.Int("winograd")
	side := fmath.WinogradSide(m)
	places := side * side
	x := reals[T](in[0])
	batch, c, k := in[0].Shape[0], in[0].Shape[3], in[1].Shape[3]
	u := fmath.WinogradKernels(m, reals[T](in[1]), c*k)
	out := NewTensor(in[0].DType, d.outShape(batch, k)...)
	y := out.Data.([]T)
	finish := finisher(n, reals[T](in[2]))
	tilesY, tilesX := (d.Out[0]+m-1)/m, (d.Out[1]+m-1)/m
	parallel(batch*tilesY, func(lo, hi int) {
		v, acc := make([]T, places*c), make([]T, places*k)
		pixels, tile, sums, res := make([]T, places), make([]T, places), make([]T, places), make([]T, m*m)
		for row := lo; row < hi; row++ {
			b, ty := row/tilesY, row%tilesY
			for tx := range tilesX {
				for ch := range c {
					for p := range places {
						iy, ix := ty*m+p/side-d.Before[0], tx*m+p%side-d.Before[1]
						pixels[p] = 0
						if iy >= 0 && iy < d.In[0] && ix >= 0 && ix < d.In[1] {
							pixels[p] = x[((b*d.In[0]+iy)*d.In[1]+ix)*c+ch]
						}
					}
					fmath.WinogradInput(m, tile, pixels)
					for p, t := range tile {
						v[p*c+ch] = t
					}
				}
				clear(acc)
				for p := range places {
					for ch := range c {
						axpy(acc[p*k:][:k], v[p*c+ch], u[(p*c+ch)*k:][:k])
					}
				}
				for o := range k {
					for p := range places {
						sums[p] = acc[p*k+o]
					}
					fmath.WinogradOutput(m, res, sums)
					for i, r := range res {
						if oy, ox := ty*m+i/m, tx*m+i%m; oy < d.Out[0] && ox < d.Out[1] {
							y[((b*d.Out[0]+oy)*d.Out[1]+ox)*k+o] = r
						}
					}
				}
			}
			for oy := ty * m; oy < min((ty+1)*m, d.Out[0]); oy++ {
				for ox := range d.Out[1] {
					finish(y[((b*d.Out[0]+oy)*d.Out[1]+ox)*k:][:k])
				}
			}
		}
	})
	return []*Tensor{out}, nil
}
