package ir

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/fmath"
)

func sigmoidReal[T real](x T) T {
	if v, ok := any(x).(float32); ok {
		return T(fmath.Sigmoid(v))
	}
	return T(functions["logistic"].f64(nil)(float64(x)))
}

func tanhReal[T real](x T) T {
	if v, ok := any(x).(float32); ok {
		return T(fmath.Tanh(v))
	}
	return T(functions["tanh"].f64(nil)(float64(x)))
}

// recurrence holds what both cells share: one direction of one layer.
type recurrence[T real] struct {
	t, n, c, h, gates int
	x                 []T // [T,N,C]
	wt, rt            []T // weights turned to [C,G·H] and [H,G·H]
	wb, rb            []T // biases, nil for none
	lens              []int
	reverse           bool
}

func newRecurrence[T real](n *Node, in []*Tensor, gates, dir int) (*recurrence[T], error) {
	r := &recurrence[T]{t: in[0].Shape[0], n: in[0].Shape[1], c: in[0].Shape[2], h: n.Int("hidden_size"), gates: gates, x: reals[T](in[0])}
	g := gates * r.h
	r.wt, r.rt = make([]T, r.c*g), make([]T, r.h*g)
	turn(r.wt, reals[T](in[1])[dir*g*r.c:], r.c, g, true)
	turn(r.rt, reals[T](in[2])[dir*g*r.h:], r.h, g, true)
	if in[3] != nil {
		b := reals[T](in[3])[dir*2*g:][:2*g]
		r.wb, r.rb = b[:g], b[g:]
	}
	r.lens = make([]int, r.n)
	for i := range r.lens {
		r.lens[i] = r.t
		if in[4] != nil {
			r.lens[i] = in[4].Int(i)
		}
		if r.lens[i] < 0 || r.lens[i] > r.t {
			return nil, fmt.Errorf("seq_lens[%d] is %d; wanted 0 to %d, the steps of x", i, r.lens[i], r.t)
		}
	}
	r.reverse = n.Str("direction") == "reverse" || dir == 1
	return r, nil
}

// project gives row·W + bias for all gates: one FMA chain each, then the bias.
func (r *recurrence[T]) project(y, row, w, bias []T) {
	clear(y)
	for i, v := range row {
		axpy(y, v, w[i*len(y):(i+1)*len(y)])
	}
	for i, b := range bias {
		y[i] += b
	}
}

// run walks the sequence of each batch entry; step updates the state h of one
// entry from its input row and reports nothing past the entry's length.
func (r *recurrence[T]) run(y, last []T, dirs, dir int, h []T, step func(b int, x, h []T)) {
	for b := range r.n {
		state := h[b*r.h : (b+1)*r.h]
		for i := range r.lens[b] {
			t := i
			if r.reverse {
				t = r.lens[b] - 1 - i
			}
			step(b, r.x[(t*r.n+b)*r.c:][:r.c], state)
			copy(y[((t*dirs+dir)*r.n+b)*r.h:], state)
		}
		copy(last[(dir*r.n+b)*r.h:], state)
	}
}

func directions(n *Node) int {
	if n.Str("direction") == "bidirectional" {
		return 2
	}
	return 1
}

func initial[T real](t *Tensor, dir, size int) []T {
	out := make([]T, size)
	if t != nil {
		copy(out, reals[T](t)[dir*size:])
	}
	return out
}

func evalLSTM(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, lstmReal[float32], lstmReal[float64])
}

func lstmReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	dirs, h := directions(n), n.Int("hidden_size")
	t, batch := in[0].Shape[0], in[0].Shape[1]
	y := NewTensor(in[0].DType, t, dirs, batch, h)
	hn, cn := NewTensor(in[0].DType, dirs, batch, h), NewTensor(in[0].DType, dirs, batch, h)
	for dir := range dirs {
		r, err := newRecurrence[T](n, in, 4, dir)
		if err != nil {
			return nil, err
		}
		state, cell := initial[T](in[5], dir, batch*h), initial[T](in[6], dir, batch*h)
		var peep []T
		if in[7] != nil {
			peep = reals[T](in[7])[dir*3*h:][:3*h]
		}
		gx, gh := make([]T, 4*h), make([]T, 4*h)
		r.run(y.Data.([]T), hn.Data.([]T), dirs, dir, state, func(b int, x, s []T) {
			r.project(gx, x, r.wt, r.wb)
			r.project(gh, s, r.rt, r.rb)
			c := cell[b*h : (b+1)*h]
			for j := range h { // gates i o f c
				gate := func(g int) T { return gx[g*h+j] + gh[g*h+j] }
				i, o, f := gate(0), gate(1), gate(2)
				if peep != nil {
					i += T(peep[j] * c[j])
					f += T(peep[2*h+j] * c[j])
				}
				c[j] = T(sigmoidReal(f)*c[j]) + T(sigmoidReal(i)*tanhReal(gate(3)))
				if peep != nil {
					o += T(peep[h+j] * c[j])
				}
				s[j] = T(sigmoidReal(o) * tanhReal(c[j]))
			}
		})
		copy(cn.Data.([]T)[dir*batch*h:], cell)
	}
	return []*Tensor{y, hn, cn}, nil
}

func evalGRU(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, gruReal[float32], gruReal[float64])
}

func gruReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	dirs, h := directions(n), n.Int("hidden_size")
	t, batch := in[0].Shape[0], in[0].Shape[1]
	y, hn := NewTensor(in[0].DType, t, dirs, batch, h), NewTensor(in[0].DType, dirs, batch, h)
	linear := n.Bool("linear_before_reset")
	for dir := range dirs {
		r, err := newRecurrence[T](n, in, 3, dir)
		if err != nil {
			return nil, err
		}
		gx, gh, old, reset := make([]T, 3*h), make([]T, 3*h), make([]T, h), make([]T, h)
		r.run(y.Data.([]T), hn.Data.([]T), dirs, dir, initial[T](in[5], dir, batch*h), func(_ int, x, s []T) {
			r.project(gx, x, r.wt, r.wb)
			r.project(gh, s, r.rt, r.rb)
			copy(old, s)
			for j := range h { // gates z r h
				reset[j] = T(sigmoidReal(gx[h+j]+gh[h+j]) * old[j])
			}
			var candidate []T
			if !linear { // the recurrent term of the candidate reads r∘h
				candidate = make([]T, 3*h)
				r.project(candidate, reset, r.rt, r.rb)
			}
			for j := range h {
				z := sigmoidReal(gx[j] + gh[j])
				var hc T
				if linear {
					hc = tanhReal(gx[2*h+j] + T(sigmoidReal(gx[h+j]+gh[h+j])*gh[2*h+j]))
				} else {
					hc = tanhReal(gx[2*h+j] + candidate[2*h+j])
				}
				s[j] = T((1-z)*hc) + T(z*old[j])
			}
		})
	}
	return []*Tensor{y, hn}, nil
}
