package ir

import "fmt"

// sink writes int32 sums as the result that the node's attributes ask for.
type sink struct {
	out  *Tensor
	o    Out
	put  func(i int, v int32)
	f32  []float32
	i32  []int32
	kind DType
}

func newSink(n *Node, shape Shape) (*sink, error) {
	o, err := OutOf(n)
	if err != nil {
		return nil, err
	}
	s := &sink{out: NewTensor(o.DType, shape...), o: o, kind: o.DType}
	switch o.DType {
	case F32:
		s.f32 = s.out.F32()
	case I32:
		s.i32 = s.out.I32()
	default:
		s.put = s.out.put8()
	}
	return s, nil
}

func (s *sink) set(i int, acc int32, m float32) {
	switch s.kind {
	case F32:
		s.f32[i] = float32(float32(acc) * m)
	case I32:
		s.i32[i] = acc
	default:
		s.put(i, Requant(acc, m, s.o))
	}
}

// centred gives the elements minus the zero point, which may differ by channel
// of the last axis.
func centred(t *Tensor, q *Quant) []int32 {
	get := t.get32()
	out := make([]int32, t.Len())
	c := 1
	if q.Axis >= 0 {
		c = t.Shape[len(t.Shape)-1]
	}
	for i := range out {
		out[i] = get(i) - q.ZeroAt(i%c)
	}
	return out
}

// BroadcastIndex maps a flat index of shape full to the flat index of the
// element of shape part that numpy's rule puts there.
func BroadcastIndex(i int, full, part Shape) int {
	at, step := 0, 1
	off := len(full) - len(part)
	for a := len(full) - 1; a >= 0; a-- {
		r := i % full[a]
		i /= full[a]
		if a >= off {
			if part[a-off] > 1 {
				at += r * step
			}
			step *= part[a-off]
		}
	}
	return at
}

func evalQPair(n *Node, in []*Tensor, f func(a, b int32) int32, m float32) ([]*Tensor, error) {
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	a, b := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	for i := range shape.Elems() {
		s.set(i, f(a[BroadcastIndex(i, shape, in[0].Shape)], b[BroadcastIndex(i, shape, in[1].Shape)]), m)
	}
	return []*Tensor{s.out}, nil
}

func evalQAdd(n *Node, in []*Tensor) ([]*Tensor, error) {
	fa, fb, m := QAddConsts(n)
	return evalQPair(n, in, func(a, b int32) int32 { return a*fa + b*fb }, m)
}

func evalQMultiply(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalQPair(n, in, func(a, b int32) int32 { return a * b }, QMult(n))
}

func evalQLookup(_ *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[1].DType, in[0].Shape...)
	get, off := in[0].get32(), int32(0)
	if in[0].DType == S8 {
		off = 128
	}
	switch t := in[1].Data.(type) {
	case []float32:
		y := out.F32()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	case []uint8:
		y := out.U8()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	case []int8:
		y := out.S8()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	}
	return []*Tensor{out}, nil
}

// QSoftmaxFactor is 1/sy as q_softmax divides it by the sum; for an f32 result 1.
func QSoftmaxFactor(n *Node) float32 {
	if t := n.Outputs[0].Type; t.Quant != nil {
		return InverseScale(t.Quant.Scale[0])
	}
	return 1
}

func evalQSoftmax(n *Node, in []*Tensor) ([]*Tensor, error) {
	s, err := newSink(n, in[0].Shape)
	if err != nil {
		return nil, err
	}
	get, table := in[0].get32(), in[1].I32()
	k := in[0].Shape[len(in[0].Shape)-1]
	f := QSoftmaxFactor(n)
	for at := 0; at < in[0].Len(); at += k {
		top := get(at)
		for i := 1; i < k; i++ {
			top = max(top, get(at+i))
		}
		var sum int32
		for i := range k {
			sum += table[top-get(at+i)]
		}
		if sum < 1 {
			return nil, fmt.Errorf("the exponentials sum to %d; the table must hold positive numbers that sum below 2^31", sum)
		}
		r := f / float32(sum)
		for i := range k {
			s.set(at+i, table[top-get(at+i)], r)
		}
	}
	return []*Tensor{s.out}, nil
}
