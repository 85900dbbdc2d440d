package passes

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// rowsWanted is how many input rows (patches) of a layer second-order rounding
// looks at, over all samples; high-resolution layers have far more, alike
// ones.
func rowsWanted(l *quant.Layer) int {
	if l.Groups > 1 {
		return max(2048, 64*l.K)
	}
	return max(8192, 8*l.K)
}

// round rounds the weights of every layer, in topological order and in groups
// whose moments fit the budget: the samples pass once for each group.
func (z *quantizer) round() error {
	if z.opt.Rounding == Nearest && z.opt.NoCorrection {
		for _, l := range z.layers {
			l.q = quant.RoundNearest(&l.spec, l.scale)
		}
		return z.proveRanges()
	}
	cross := z.opt.Asymmetric
	done := 0
	for done < len(z.layers) {
		group := z.nextGroup(z.layers[done:], cross)
		m, err := z.moments(group, cross)
		if err != nil {
			return err
		}
		for i, l := range group {
			if err := z.roundLayer(l, m[i]); err != nil {
				return diag.At(l.node.Label(), err)
			}
			m[i] = nil
			done++
			z.opt.Progress("weights", done, len(z.layers))
		}
	}
	return z.proveRanges()
}

// nextGroup takes layers from the front: as many as the budget holds and, with
// cross moments, none that depends on another of the group.
func (z *quantizer) nextGroup(ls []*layer, cross bool) []*layer {
	var sum int64
	var group []*layer
	members := map[*ir.Node]bool{}
	for _, l := range ls {
		b := quant.MomentBytes(l.spec.K, l.spec.Groups, cross) + l.node.In(0).Type.Bytes()
		if len(group) > 0 && (sum+b > z.opt.Budget || cross && z.dependsOn(l.node, members)) {
			break
		}
		sum += b
		group = append(group, l)
		members[l.node] = true
	}
	return group
}

// dependsOn says whether n reads, directly or not, a result of one of nodes.
func (z *quantizer) dependsOn(n *ir.Node, nodes map[*ir.Node]bool) bool {
	for k := range z.needed([]*ir.Value{n.In(0)}) {
		if nodes[k] {
			return true
		}
	}
	return false
}

// moments runs the float graph, and with cross the graph quantized so far,
// over the samples and gathers the moments of the layers' inputs.
func (z *quantizer) moments(group []*layer, cross bool) ([]*quant.Moments, error) {
	var xs []*ir.Value
	at := map[*ir.Value]int{}
	ms := make([]*quant.Moments, len(group))
	var gram func(k int, a, b []float32) ([]float32, error)
	if z.opt.fast {
		var free func()
		gram, free = z.gramOn()
		defer free()
	}
	for i, l := range group {
		ms[i] = quant.NewMoments(l.spec.K, l.spec.Groups, cross)
		ms[i].Gram = gram
		x := l.node.In(0)
		if _, ok := at[x]; !ok {
			at[x] = len(xs)
			xs = append(xs, x)
		}
	}
	float := z.prober(watchGraph(z.g, xs), z.opt.Run)
	defer float.close()
	var quantized *prober
	if cross {
		g, err := z.build(xs, true)
		if err != nil {
			return nil, err
		}
		quantized = z.prober(g, z.opt.RunInt8)
		defer quantized.close()
	}
	for i := range z.opt.Calib.Len() {
		xf, err := float.at(i)
		if err != nil {
			return nil, err
		}
		xq := xf
		if cross {
			if xq, err = quantized.at(i); err != nil {
				return nil, err
			}
		}
		for j, l := range group {
			k := at[l.node.In(0)]
			if err := z.gather(ms[j], l, i, xf[k], xq[k]); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range ms {
		if err := m.Finish(); err != nil {
			return nil, err
		}
	}
	return ms, nil
}

// gramOn makes the product of moments run on the calibration's target.
func (z *quantizer) gramOn() (gram func(k int, a, b []float32) ([]float32, error), free func()) {
	type prepared struct {
		run  func(in []*ir.Tensor) ([]*ir.Tensor, error)
		free func()
	}
	runs := map[int]prepared{}
	gram = func(k int, a, b []float32) ([]float32, error) {
		p, ok := runs[k]
		if !ok {
			m := ir.NewBuilder("gram")
			x, y := m.Input("a", ir.T(ir.F32, quant.GramRows, k)), m.Input("b", ir.T(ir.F32, quant.GramRows, k))
			g, err := m.Graph(m.Op("dot_general", ir.Attrs{"transpose_a": true}, x, y))
			if err != nil {
				return nil, err
			}
			if p.run, p.free, err = z.opt.Run(g); err != nil {
				return nil, err
			}
			runs[k] = p
		}
		out, err := p.run([]*ir.Tensor{ir.From(a, quant.GramRows, k), ir.From(b, quant.GramRows, k)})
		if err != nil {
			return nil, err
		}
		return out[0].F32(), nil
	}
	return gram, func() {
		for _, p := range runs {
			if p.free != nil {
				p.free()
			}
		}
	}
}

// gather adds one sample's input rows to a layer's moments.
func (z *quantizer) gather(m *quant.Moments, l *layer, sample int, xf, xq *ir.Tensor) error {
	cross := m.Cross()
	per := (rowsWanted(&l.spec) + z.opt.Calib.Len() - 1) / z.opt.Calib.Len()
	p, err := patchesOf(l.node, xf, sample, per)
	if err != nil {
		return err
	}
	var d, x []float32
	for g := range l.spec.Groups {
		x = p.rows(xq.F32(), g, x)
		if cross {
			d = p.rows(xf.F32(), g, d)
			for i := range d {
				d[i] -= x[i]
			}
		}
		if err := m.Add(g, len(p.at), x, d); err != nil {
			return err
		}
	}
	return nil
}

// patches reads the input rows of a contraction at some output positions.
type patches struct {
	at     []int // output positions, flat over [N,OH,OW], or rows of a dense layer
	c      int   // input channels
	groups int
	win    ir.Window // of a convolution; no Kernel for a dense layer
}

func patchesOf(n *ir.Node, x *ir.Tensor, sample, count int) (*patches, error) {
	p := &patches{c: x.Shape[len(x.Shape)-1], groups: 1}
	total := x.Len() / max(1, p.c)
	if n.Op.Name == "convolution" {
		k := *n
		v := *n.In(0)
		v.Type.Shape = x.Shape
		k.Inputs = append([]*ir.Value{&v}, n.Inputs[1:]...)
		w, err := ir.WindowOf(&k)
		if err != nil {
			return nil, err
		}
		p.win, p.groups = w.D2(), w.Groups
		total = x.Shape[0] * p.win.Out[0] * p.win.Out[1]
	}
	count = min(count, total)
	// Evenly spread, at a place that differs from sample to sample.
	_, off := math.Modf(float64(sample+1) * 0.6180339887498949)
	for j := range count {
		p.at = append(p.at, min(int((float64(j)+off)*float64(total)/float64(count)), total-1))
	}
	return p, nil
}

// rows writes the patches of group g, K numbers each, to buf.
func (p *patches) rows(x []float32, g int, buf []float32) []float32 {
	buf = buf[:0]
	if p.win.Kernel == nil {
		for _, r := range p.at {
			buf = append(buf, x[r*p.c:(r+1)*p.c]...)
		}
		return buf
	}
	w := &p.win
	cg := p.c / p.groups
	zeros := make([]float32, cg)
	for _, pos := range p.at {
		ox := pos % w.Out[1]
		oy := pos / w.Out[1] % w.Out[0]
		b := pos / w.Out[1] / w.Out[0]
		for ky := range w.Kernel[0] {
			iy := oy*w.Stride[0] - w.Before[0] + ky*w.Dilation[0]
			for kx := range w.Kernel[1] {
				ix := ox*w.Stride[1] - w.Before[1] + kx*w.Dilation[1]
				if iy < 0 || iy >= w.In[0] || ix < 0 || ix >= w.In[1] {
					buf = append(buf, zeros...)
					continue
				}
				i := ((b*w.In[0]+iy)*w.In[1]+ix)*p.c + g*cg
				buf = append(buf, x[i:i+cg]...)
			}
		}
	}
	return buf
}

func (z *quantizer) roundLayer(l *layer, m *quant.Moments) error {
	o := quant.RoundOptions{Damp: z.opt.Damp, Polish: max(z.opt.Polish, 0), Seed: z.opt.Seed, Iters: z.opt.AdaRoundIters}
	var err error
	switch z.opt.Rounding {
	case Nearest:
		l.q = quant.RoundNearest(&l.spec, l.scale)
	case GPTQ:
		l.q, err = quant.GPTQ(&l.spec, l.scale, m, o)
	case AdaRound:
		l.q, err = quant.RoundAdaptively(&l.spec, l.scale, m, o)
	}
	if err != nil {
		return err
	}
	if !z.opt.NoCorrection {
		l.bias = m.CorrectedBias(&l.spec, l.q, l.scale)
	}
	l.sqnr = -10 * math.Log10(m.Error(&l.spec, l.q, l.scale))
	return nil
}

// proveRanges proves from the stored integers that no sum leaves int32.
func (z *quantizer) proveRanges() error {
	for _, l := range z.layers {
		x := z.paramsOf(l.node.In(0))
		b := l.bias
		if b == nil {
			b = l.spec.Bias
		}
		qb := quant.RoundBias(b, x.Scale, l.scale)
		if err := quant.CheckOverflow(l.q, l.spec.K, l.spec.N, qb, x.DType, x.Zero); err != nil {
			return &diag.Error{Place: l.node.Label(), Err: err, Fix: fmt.Sprintf("keep the layer in f32: policy layers %q = \"f32\"", l.node.Label())}
		}
	}
	return nil
}
