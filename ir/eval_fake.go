package ir

import "math"

func evalFakeQuantize(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, fakeQuantizeReal[float32], fakeQuantizeReal[float64])
}

// FakeBounds gives the clamp of a fake_quantize whose zero is the given
// number, and whether its lower end moves with the zero point.
func FakeBounds(n *Node, zero float64) (lo, hi float64, moves bool) {
	qmin, qmax := float64(n.Int("qmin")), float64(n.Int("qmax"))
	z := math.RoundToEven(min(max(zero, qmin), qmax))
	lo, hi = qmin-z, qmax-z
	if n.Bool("floor") {
		return 0, hi, false
	}
	return lo, hi, true
}

// at0 is the first element, 0 of an absent tensor.
func at0(t *Tensor) float64 {
	if t == nil {
		return 0
	}
	return t.At(0)
}

func fakeQuantizeReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	x, f, y := reals[T](in[0]), reals[T](in[1]), out.Data.([]T)
	a, b, _ := FakeBounds(n, at0(in[2]))
	lo, hi := T(a), T(b)
	c := len(f)
	for i, v := range x {
		v = T(v * f[i%c])
		switch {
		case v != v:
			v = 0
		case v < lo:
			v = lo
		case v > hi:
			v = hi
		}
		y[i] = T(math.RoundToEven(float64(v)) + 0) // no −0
	}
	return []*Tensor{out}, nil
}

func evalFakeQuantizeGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, fakeQuantizeGradReal[float32], fakeQuantizeGradReal[float64])
}

func fakeQuantizeGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	d := in[0].DType
	dx, df, dz := NewTensor(d, in[0].Shape...), NewTensor(d, in[1].Shape...), NewTensor(d, 1)
	x, f, dy, gx := reals[T](in[0]), reals[T](in[1]), reals[T](in[3]), dx.Data.([]T)
	a, b, moves := FakeBounds(n, at0(in[2]))
	lo, hi := T(a), T(b)
	c := in[0].Shape[len(in[0].Shape)-1]
	sums, zeros := make([]float64, c), make([]float64, c)
	zero, factor := make([]T, c), make([]T, c)
	for first := 0; first < len(x); first += FakeRows * c {
		clear(zero)
		clear(factor)
		for i := first; i < min(first+FakeRows*c, len(x)); i++ {
			k := i % c
			v := T(x[i] * f[i%len(f)])
			switch {
			case v > hi || v < lo && moves:
				zero[k] -= dy[i]
			case v < lo || v == 0 && !moves || v != v:
			default:
				gx[i] = T(dy[i]*f[i%len(f)]) + 0 // no −0
				factor[k] = fma(dy[i], x[i], factor[k])
			}
		}
		for k := range c {
			sums[k] += float64(factor[k])
			zeros[k] += float64(zero[k])
		}
	}
	if len(f) == c {
		for k, s := range sums {
			df.Set(k, s)
		}
	} else {
		total := 0.0
		for _, s := range sums {
			total += s
		}
		df.Set(0, total)
	}
	total := 0.0
	for _, z := range zeros {
		total += z
	}
	dz.Set(0, total)
	return []*Tensor{dx, df, dz}, nil
}

func evalRequantizeFactor(n *Node, in []*Tensor) ([]*Tensor, error) {
	t := n.Outputs[0].Type
	for _, x := range in {
		if x != nil {
			t.DType = x.DType
		}
	}
	out := NewTensor(t.DType, t.Shape...)
	at := func(x *Tensor, i int) float64 {
		if x == nil {
			return 1
		}
		return x.At(i % x.Len())
	}
	round := func(v float64) float64 { return float64(float32(v)) }
	if t.DType == F64 {
		round = func(v float64) float64 { return v }
	}
	for i := range out.Len() {
		a, b, o := at(in[0], i), at(in[1], i), at(in[2], i)
		var f float64
		switch n.Str("kind") {
		case "channel":
			f = round(a*b) / o
		case "product":
			f = a * b / o
		case "mean":
			f = a / float64(n.Int("count")) / o
		case "add":
			f = max(a, b) / (1 << 14) / o
		case "share":
			f = math.RoundToEven(a / max(a, b) * (1 << 14))
		}
		out.Set(i, f)
	}
	return []*Tensor{out}, nil
}
