package ir

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// eachWindow calls f for every output position with the flat positions (batch
// and space) of the taps inside the image, in the order (kh, kw).
func eachWindow(batch int, win Window, f func(out int, taps []int)) {
	d := win.D2()
	taps := make([]int, 0, d.Taps())
	at := 0
	for b := range batch {
		for oy := range d.Out[0] {
			for ox := range d.Out[1] {
				taps = taps[:0]
				for ky := range d.Kernel[0] {
					for kx := range d.Kernel[1] {
						iy, ix := oy*d.Stride[0]-d.Before[0]+ky*d.Dilation[0], ox*d.Stride[1]-d.Before[1]+kx*d.Dilation[1]
						if iy >= 0 && iy < d.In[0] && ix >= 0 && ix < d.In[1] {
							taps = append(taps, (b*d.In[0]+iy)*d.In[1]+ix)
						}
					}
				}
				f(at, taps)
				at++
			}
		}
	}
}

func evalMaxPool(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	c := in[0].Shape[len(in[0].Shape)-1]
	out := NewTensor(in[0].DType, win.outShape(in[0].Shape[0], c)...)
	switch x := in[0].Data.(type) {
	case []float32:
		poolMax(in[0].Shape[0], win, c, x, out.F32(), float32(math.Inf(-1)), fmath.Max)
	case []float64:
		poolMax(in[0].Shape[0], win, c, x, out.Data.([]float64), math.Inf(-1), max64)
	case []uint8:
		poolMax(in[0].Shape[0], win, c, x, out.U8(), 0, func(a, b uint8) uint8 { return max(a, b) })
	case []int8:
		poolMax(in[0].Shape[0], win, c, x, out.S8(), -128, func(a, b int8) int8 { return max(a, b) })
	default:
		return nil, fmt.Errorf("no max_pool of %v", in[0].DType)
	}
	return []*Tensor{out}, nil
}

func poolMax[E any](batch int, win Window, c int, x, y []E, least E, greater func(a, b E) E) {
	eachWindow(batch, win, func(out int, taps []int) {
		acc := y[out*c : (out+1)*c]
		for i := range acc {
			acc[i] = least
		}
		for _, t := range taps {
			for i, v := range x[t*c : (t+1)*c] {
				acc[i] = greater(acc[i], v)
			}
		}
	})
}

func evalAveragePool(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, averagePoolReal[float32], averagePoolReal[float64])
}

// averagePoolReal: one chain of additions over the taps inside the image, then
// times 1/count.
func averagePoolReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	c := in[0].Shape[len(in[0].Shape)-1]
	out := NewTensor(in[0].DType, win.outShape(in[0].Shape[0], c)...)
	x, y := reals[T](in[0]), out.Data.([]T)
	eachWindow(in[0].Shape[0], win, func(o int, taps []int) {
		acc := y[o*c : (o+1)*c]
		for _, t := range taps {
			for i, v := range x[t*c : (t+1)*c] {
				acc[i] += v
			}
		}
		count := len(taps)
		if n.Bool("count_include_pad") {
			count = win.Taps()
		}
		for i, v := range acc {
			acc[i] = T(v * inverse[T](max(count, 1)))
		}
	})
	return []*Tensor{out}, nil
}

// inverse is 1/n: rounded to float32 once in float32 arithmetic.
func inverse[T real](n int) T { return T(1 / float64(n)) }

func evalReduce(n *Node, in []*Tensor) ([]*Tensor, error) {
	axes, err := ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	out := NewTensor(in[0].DType, reduceShape(in[0].Shape, axes, n.Bool("keep_dims"))...)
	switch y := out.Data.(type) {
	case []float32:
		f := map[string]func([]float32) float32{"reduce_sum": fmath.Sum16, "reduce_mean": fmath.Mean16, "reduce_max": fmath.Max16, "reduce_min": fmath.Min16, "reduce_prod": fmath.Prod16}[n.Op.Name]
		lines(in[0].Shape, axes, in[0].F32(), nil, func(i int, l []float32) { y[i] = f(l) })
		return []*Tensor{out}, nil
	case []float64:
		lines(in[0].Shape, axes, in[0].Data.([]float64), nil, func(i int, l []float64) { y[i] = fold64(n.Op.Name, l) })
		return []*Tensor{out}, nil
	case []int64, []int32, []uint8, []int8:
		if n.Op.Name == "reduce_mean" {
			return nil, fmt.Errorf("no mean of %v; convert it to f32", in[0].DType)
		}
		wide := make([]float64, in[0].Len())
		for i := range wide {
			wide[i] = in[0].At(i)
		}
		var over error
		lines(in[0].Shape, axes, wide, nil, func(i int, l []float64) {
			v := fold64(n.Op.Name, l)
			if math.Abs(v) > 1<<53 {
				over = fmt.Errorf("the result %v is too large to be exact", v)
			}
			out.Set(i, v)
		})
		return []*Tensor{out}, over
	}
	return nil, fmt.Errorf("no %s of %v", n.Op.Name, in[0].DType)
}

func fold64(name string, l []float64) float64 {
	var acc float64
	switch name {
	case "reduce_prod":
		acc = 1
	case "reduce_max":
		acc = math.Inf(-1)
	case "reduce_min":
		acc = math.Inf(1)
	}
	for _, v := range l {
		switch name {
		case "reduce_prod":
			acc *= v
		case "reduce_max":
			acc = max(acc, v)
		case "reduce_min":
			acc = min(acc, v)
		default:
			acc += v
		}
	}
	if name == "reduce_mean" {
		acc /= float64(len(l))
	}
	return acc
}

func evalArgMax(n *Node, in []*Tensor) ([]*Tensor, error) {
	axis, err := NormAxis(n.Int("axis"), len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	out := NewTensor(I64, reduceShape(in[0].Shape, []int{axis}, n.Bool("keep_dims"))...)
	y := out.I64()
	wide := make([]float64, in[0].Len())
	for i := range wide {
		wide[i] = in[0].At(i)
	}
	lines(in[0].Shape, []int{axis}, wide, nil, func(i int, l []float64) {
		best := 0
		for j, v := range l {
			if v > l[best] {
				best = j
			}
		}
		y[i] = int64(best)
	})
	return []*Tensor{out}, nil
}
