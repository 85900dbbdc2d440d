package ir

import (
	"math"

	"github.com/nasc-dev/nasc/internal/fmath"
)

// lines calls f with each line of x along axes, gathered in row-major order of
// those axes, and writes back what f leaves in it. f gets the line's number.
func lines[T real](shape Shape, axes []int, x, y []T, f func(i int, line []T)) {
	st := rowMajor(shape)
	var inner, outer Shape
	var innerSt, outerSt []int
	at := 0
	for a, d := range shape {
		if at < len(axes) && axes[at] == a {
			inner, innerSt, at = append(inner, d), append(innerSt, st[a]), at+1
		} else {
			outer, outerSt = append(outer, d), append(outerSt, st[a])
		}
	}
	line := make([]T, inner.Elems())
	walk(outer, outerSt, 0, func(i, base int) {
		walk(inner, innerSt, base, func(k, j int) { line[k] = x[j] })
		f(i, line)
		if y != nil {
			walk(inner, innerSt, base, func(k, j int) { y[j] = line[k] })
		}
	})
}

// sumReal, moments and softmaxRow have the order of internal/fmath in float32.
func sumReal[T real](x []T) T {
	if v, ok := any(x).([]float32); ok {
		return T(fmath.Sum16(v))
	}
	var s T
	for _, v := range x {
		s += v
	}
	return s
}

func moments[T real](x []T, eps T) (mean, rstd T) {
	if v, ok := any(x).([]float32); ok {
		m, r := fmath.Moments(v, float32(eps))
		return T(m), T(r)
	}
	mean = sumReal(x) / T(len(x))
	var s T
	for _, v := range x {
		s += (v - mean) * (v - mean)
	}
	return mean, T(1 / math.Sqrt(float64(s/T(len(x))+eps)))
}

func softmaxRow[T real](y, x []T, logarithm bool) {
	if v, ok := any(x).([]float32); ok {
		z := make([]float32, len(v))
		if logarithm {
			fmath.LogSoftmax(z, v)
		} else {
			fmath.Softmax(z, v)
		}
		copy(any(y).([]float32), z)
		return
	}
	m := T(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	var s T
	for _, v := range x {
		s += T(math.Exp(float64(v - m)))
	}
	for i, v := range x {
		if logarithm {
			y[i] = v - m - T(math.Log(float64(s)))
		} else {
			y[i] = T(math.Exp(float64(v-m))) / s
		}
	}
}

func evalSoftmax(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, softmaxReal[float32], softmaxReal[float64])
}

func softmaxReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	axis, err := NormAxis(n.Int("axis"), len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	out := NewTensor(in[0].DType, in[0].Shape...)
	lines(in[0].Shape, []int{axis}, reals[T](in[0]), out.Data.([]T), func(_ int, l []T) { softmaxRow(l, l, n.Op.Name == "log_softmax") })
	return []*Tensor{out}, nil
}

func evalBatchNorm(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, batchNormReal[float32], batchNormReal[float64])
}

func batchNormReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	y, x := out.Data.([]T), reals[T](in[0])
	scale, bias, mean := reals[T](in[1]), reals[T](in[2]), reals[T](in[3])
	c := len(scale)
	rstd := make([]T, c)
	for i, v := range reals[T](in[4]) {
		rstd[i] = rstdReal(v, T(n.F32("epsilon")))
	}
	for i := range y {
		j := i % c
		y[i] = T(T((x[i]-mean[j])*rstd[j])*scale[j]) + bias[j]
	}
	return []*Tensor{out}, nil
}

func rstdReal[T real](variance, eps T) T {
	if v, ok := any(variance).(float32); ok {
		return T(fmath.Rstd(v, float32(eps)))
	}
	return T(1 / math.Sqrt(float64(variance+eps)))
}

// affineReal is v·scale + bias, each rounded, parts left out where nil.
func affineReal[T real](v T, scale, bias []T, i int) T {
	if scale != nil {
		v = T(v * scale[i])
	}
	if bias != nil {
		v += bias[i]
	}
	return v
}

func axesFrom(axis, rank int) []int {
	if axis < 0 {
		axis += rank
	}
	var axes []int
	for a := axis; a < rank; a++ {
		axes = append(axes, a)
	}
	return axes
}

func evalLayerNorm(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, layerNormReal[float32], layerNormReal[float64])
}

func layerNormReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	scale, bias, eps := reals[T](in[1]), reals[T](in[2]), T(n.F32("epsilon"))
	lines(in[0].Shape, axesFrom(n.Int("axis"), len(in[0].Shape)), reals[T](in[0]), out.Data.([]T), func(_ int, l []T) {
		m, r := moments(l, eps)
		for i, v := range l {
			l[i] = affineReal(T((v-m)*r), scale, bias, i)
		}
	})
	return []*Tensor{out}, nil
}

func evalRMSNorm(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, rmsNormReal[float32], rmsNormReal[float64])
}

func rmsNormReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	scale, eps := reals[T](in[1]), T(n.F32("epsilon"))
	lines(in[0].Shape, axesFrom(n.Int("axis"), len(in[0].Shape)), reals[T](in[0]), out.Data.([]T), func(_ int, l []T) {
		if v, ok := any(l).([]float32); ok {
			s, _ := any(scale).([]float32)
			fmath.RMSNorm(v, v, s, float32(eps))
			return
		}
		var sum T
		for _, v := range l {
			sum += v * v
		}
		r := T(1 / math.Sqrt(float64(sum/T(len(l))+eps)))
		for i, v := range l {
			l[i] = affineReal(v*r, scale, nil, i)
		}
	})
	return []*Tensor{out}, nil
}

func evalGroupNorm(n *Node, in []*Tensor) ([]*Tensor, error) {
	return groupNorm(n, in, n.Int("groups"))
}

func evalInstanceNorm(n *Node, in []*Tensor) ([]*Tensor, error) {
	return groupNorm(n, in, in[0].Shape[len(in[0].Shape)-1])
}

func groupNorm(n *Node, in []*Tensor, groups int) ([]*Tensor, error) {
	if in[0].DType == F64 {
		return groupNormReal[float64](n, in, groups)
	}
	return groupNormReal[float32](n, in, groups)
}

// groupNormReal reads the positions of a group in order, its channels inner.
func groupNormReal[T real](n *Node, in []*Tensor, groups int) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	s := in[0].Shape
	c := s[len(s)-1]
	part := c / groups
	scale, bias, eps := reals[T](in[1]), reals[T](in[2]), T(n.F32("epsilon"))
	view := Shape{s[0], s[1 : len(s)-1].Elems(), groups, part}
	lines(view, []int{1, 3}, reals[T](in[0]), out.Data.([]T), func(line int, l []T) {
		m, r := moments(l, eps)
		g := line % groups
		for i, v := range l {
			l[i] = affineReal(T((v-m)*r), scale, bias, g*part+i%part)
		}
	})
	return []*Tensor{out}, nil
}
