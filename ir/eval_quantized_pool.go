package ir

func evalQAveragePool(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	x := centred(in[0], n.Inputs[0].Type.Quant)
	c := shape[len(shape)-1]
	acc := make([]int32, c)
	at := 0
	for b := range shape[0] {
		for oy := range d.Out[0] {
			for ox := range d.Out[1] {
				clear(acc)
				count := 0
				for ky := range d.Kernel[0] {
					for kx := range d.Kernel[1] {
						iy, ix := oy*d.Stride[0]-d.Before[0]+ky*d.Dilation[0], ox*d.Stride[1]-d.Before[1]+kx*d.Dilation[1]
						if iy < 0 || iy >= d.In[0] || ix < 0 || ix >= d.In[1] {
							continue
						}
						count++
						for j, v := range x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c] {
							acc[j] += v
						}
					}
				}
				if n.Bool("count_include_pad") {
					count = d.Taps()
				}
				m := QMeanMult(n, max(count, 1))
				for j, a := range acc {
					s.set(at+j, a, m)
				}
				at += c
			}
		}
	}
	return []*Tensor{s.out}, nil
}

func evalQReduceMean(n *Node, in []*Tensor) ([]*Tensor, error) {
	axes, err := ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	full, part := in[0].Shape, reduceShape(in[0].Shape, axes, true)
	acc := make([]int32, part.Elems())
	for i, v := range centred(in[0], n.Inputs[0].Type.Quant) {
		acc[BroadcastIndex(i, full, part)] += v
	}
	m := QMeanMult(n, full.Elems()/max(1, part.Elems()))
	for i, a := range acc {
		s.set(i, a, m)
	}
	return []*Tensor{s.out}, nil
}
