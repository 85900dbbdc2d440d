package ir

// convSums is the integer convolution of x [N,H,W,C] with w [KH,KW,C/g,K],
// both with zero points already taken away, so that padding adds nothing.
func convSums(x []int32, n, c int, win Window, w []int32, k int, bias []int32, emit func(i int, channel int, acc int32)) {
	d := win.D2()
	cg, kg := c/d.Groups, k/d.Groups
	h, wd := d.In[0], d.In[1]
	acc := make([]int32, k)
	at := 0
	for b := range n {
		for oy := range d.Out[0] {
			for ox := range d.Out[1] {
				if bias != nil {
					copy(acc, bias)
				} else {
					clear(acc)
				}
				for ky := range d.Kernel[0] {
					iy := oy*d.Stride[0] - d.Before[0] + ky*d.Dilation[0]
					if iy < 0 || iy >= h {
						continue
					}
					for kx := range d.Kernel[1] {
						ix := ox*d.Stride[1] - d.Before[1] + kx*d.Dilation[1]
						if ix < 0 || ix >= wd {
							continue
						}
						px := x[((b*h+iy)*wd+ix)*c:]
						pw := w[(ky*d.Kernel[1]+kx)*cg*k:]
						for g := range d.Groups {
							dst := acc[g*kg : (g+1)*kg]
							for ci := range cg {
								v := px[g*cg+ci]
								if v == 0 {
									continue
								}
								row := pw[ci*k+g*kg:][:kg]
								for j, wv := range row {
									dst[j] += v * wv
								}
							}
						}
					}
				}
				for j, a := range acc {
					emit(at+j, j, a)
				}
				at += k
			}
		}
	}
}

func optI32(t *Tensor) []int32 {
	if t == nil {
		return nil
	}
	return t.I32()
}

func evalQConv(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	m := in[3].F32()
	x, w := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	convSums(x, in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1], win, w, shape[len(shape)-1], optI32(in[2]), func(i, c int, acc int32) { s.set(i, acc, m[c]) })
	return []*Tensor{s.out}, nil
}

// evalQConvTranspose adds, for each output position, the taps that an input
// position reaches; exact, so that the order does not matter.
func evalQConvTranspose(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	m, bias := in[3].F32(), optI32(in[2])
	x, w := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	c, k := in[0].Shape[len(in[0].Shape)-1], shape[len(shape)-1]
	cg, kg := c/d.Groups, k/d.Groups
	acc := make([]int32, k)
	for p := range shape[:len(shape)-1].Elems() {
		ox, oy, b := p%d.Out[1], p/d.Out[1]%d.Out[0], p/d.Out[1]/d.Out[0]
		clear(acc)
		copy(acc, bias)
		for ky := range d.Kernel[0] {
			iy := d.transposedFrom(oy, 0, ky)
			for kx := range d.Kernel[1] {
				ix := d.transposedFrom(ox, 1, kx)
				if iy < 0 || ix < 0 {
					continue
				}
				px := x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c]
				pw := w[(ky*d.Kernel[1]+kx)*c*kg:][:c*kg]
				for ci, v := range px {
					dst := acc[ci/cg*kg:][:kg]
					for j, wv := range pw[ci*kg:][:kg] {
						dst[j] += v * wv
					}
				}
			}
		}
		for j, a := range acc {
			s.set(p*k+j, a, m[j])
		}
	}
	return []*Tensor{s.out}, nil
}

// matSums multiplies rows [m,k] by [k,n].
func matSums(x []int32, w []int32, rows, k, n int, bias []int32, emit func(i, c int, acc int32)) {
	acc := make([]int32, n)
	for r := range rows {
		if bias != nil {
			copy(acc, bias)
		} else {
			clear(acc)
		}
		for i, v := range x[r*k : (r+1)*k] {
			if v == 0 {
				continue
			}
			for j, wv := range w[i*n : (i+1)*n] {
				acc[j] += v * wv
			}
		}
		for j, a := range acc {
			emit(r*n+j, j, a)
		}
	}
}

func evalQDot(n *Node, in []*Tensor) ([]*Tensor, error) {
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	m := in[3].F32()
	k, nn := in[1].Shape[0], in[1].Shape[1]
	rows := in[0].Shape[:len(in[0].Shape)-1].Elems()
	matSums(centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant), rows, k, nn, optI32(in[2]), func(i, c int, acc int32) { s.set(i, acc, m[c]) })
	return []*Tensor{s.out}, nil
}

func evalQDotGeneral(n *Node, in []*Tensor) ([]*Tensor, error) {
	lead, m, k, nn, err := MatMulDims(n)
	if err != nil {
		return nil, err
	}
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	f := QMult(n)
	a, b := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	la, lb := in[0].Shape[:len(in[0].Shape)-2], in[1].Shape[:len(in[1].Shape)-2]
	pa, pb := make([]int32, m*k), make([]int32, k*nn)
	for l := range lead.Elems() {
		turn(pa, a[BroadcastIndex(l, lead, la)*m*k:], m, k, n.Bool("transpose_a"))
		turn(pb, b[BroadcastIndex(l, lead, lb)*k*nn:], k, nn, n.Bool("transpose_b"))
		matSums(pa, pb, m, k, nn, nil, func(i, _ int, acc int32) { s.set(l*m*nn+i, acc, f) })
	}
	return []*Tensor{s.out}, nil
}

// turn copies a [rows,cols] matrix that is stored transposed or not.
func turn[E any](dst, src []E, rows, cols int, transposed bool) {
	if !transposed {
		copy(dst, src[:rows*cols])
		return
	}
	for r := range rows {
		for c := range cols {
			dst[r*cols+c] = src[c*rows+r]
		}
	}
}
