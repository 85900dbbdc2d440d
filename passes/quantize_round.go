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

// maxRows bounds the K of one matrix of moments: a layer with more inputs is
// fitted in parts, as if inputs of different parts were uncorrelated. It
// bounds memory at 16 MiB a part, and time, which grows with K³.
const maxRows = 2048

// part is a run of rows of a layer's weight with its moments.
type part struct {
	lo, hi  int
	moments *quant.Moments
}

// partRows is how many rows of a layer's weight are rounded together. The taps
// of a transposed convolution are parts of their own, since an output is
// reached by some of them only; all see the same rows, the input's pixels.
func partRows(l *layer) int {
	switch {
	case perTap(l.node):
		s := l.node.In(1).Const.Shape
		return s[len(s)-2]
	case l.spec.Groups > 1:
		return l.spec.K
	}
	return maxRows
}

// perTap says that a layer is rounded tap by tap.
func perTap(n *ir.Node) bool { return n.Op.Name == "convolution_transpose" }

// round rounds the weights of every layer, in groups whose moments fit the
// budget: the samples pass once for each group.
func (z *quantizer) round() error {
	if z.like != nil {
		return z.like.takeLayers(z.layers)
	}
	z.made.layers = z.layers
	if z.opt.Rounding == Nearest && z.opt.NoCorrection {
		for _, l := range z.layers {
			l.q = quant.RoundNearest(&l.spec, l.scale)
		}
		return z.proveRanges()
	}
	done := 0
	for done < len(z.layers) {
		group := z.nextGroup(z.layers[done:])
		if err := z.gatherMoments(group); err != nil {
			return err
		}
		for _, l := range group {
			if err := z.roundLayer(l); err != nil {
				return diag.At(l.node.Label(), err)
			}
			l.parts = nil
			done++
			z.opt.Progress("weights", done, len(z.layers))
		}
	}
	return z.proveRanges()
}

// nextGroup takes as many layers from the front as the budget holds.
func (z *quantizer) nextGroup(ls []*layer) []*layer {
	var sum int64
	for i, l := range ls {
		step := partRows(l)
		k := min(l.spec.K, step)
		parts := int64((l.spec.K + step - 1) / step)
		if perTap(l.node) {
			parts = 1
		}
		sum += parts*quant.MomentBytes(k, l.spec.Groups) + l.node.In(0).Type.Bytes()
		if i > 0 && sum > z.opt.Budget {
			return ls[:i]
		}
	}
	return ls
}

// gatherMoments runs the float graph over the samples and gathers the moments
// of the layers' inputs.
func (z *quantizer) gatherMoments(group []*layer) error {
	var xs []*ir.Value
	at := map[*ir.Value]int{}
	var gram func(k int, x []float32) ([]float32, error)
	if z.opt.fast {
		var free func()
		gram, free = z.gramOn()
		defer free()
	}
	for _, l := range group {
		step := partRows(l)
		for lo := 0; lo < l.spec.K; lo += step {
			p := part{lo: lo, hi: min(lo+step, l.spec.K)}
			if perTap(l.node) && lo > 0 {
				p.moments = l.parts[0].moments
				l.parts = append(l.parts, p)
				continue
			}
			p.moments = quant.NewMoments(p.hi-p.lo, l.spec.Groups)
			p.moments.Gram = gram
			l.parts = append(l.parts, p)
		}
		x := l.node.In(0)
		if _, ok := at[x]; !ok {
			at[x] = len(xs)
			xs = append(xs, x)
		}
	}
	pr := z.prober(watchGraph(z.g, xs))
	defer pr.close()
	for i := range z.opt.Calib.Len() {
		x, err := pr.at(i)
		if err != nil {
			return err
		}
		for _, l := range group {
			if err := z.gather(l, i, x[at[l.node.In(0)]]); err != nil {
				return err
			}
		}
	}
	for _, l := range group {
		for _, p := range l.parts {
			if err := p.moments.Finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// gramOn makes the product of moments run on the calibration's target.
func (z *quantizer) gramOn() (gram func(k int, x []float32) ([]float32, error), free func()) {
	type prepared struct {
		run  func(in []*ir.Tensor) ([]*ir.Tensor, error)
		free func()
	}
	runs := map[int]prepared{}
	gram = func(k int, x []float32) ([]float32, error) {
		p, ok := runs[k]
		if !ok {
			m := ir.NewBuilder("gram")
			v := m.Input("x", ir.T(ir.F32, quant.GramRows, k))
			g, err := m.Graph(m.Op("dot_general", ir.Attrs{"transpose_a": true}, v, v))
			if err != nil {
				return nil, err
			}
			if p.run, p.free, err = z.opt.Run(g); err != nil {
				return nil, err
			}
			runs[k] = p
		}
		out, err := p.run([]*ir.Tensor{ir.From(x, quant.GramRows, k)})
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

// productOn makes AdaRound's matrix products run on the calibration's target.
func (z *quantizer) productOn() (product quant.Product, free func()) {
	runs := map[[2]int]func(in []*ir.Tensor) ([]*ir.Tensor, error){}
	var done []func()
	product = func(k, n int, h, e []float32) ([]float32, error) {
		if k*n < 4096 {
			return quant.PlainProduct(k, n, h, e)
		}
		run := runs[[2]int{k, n}]
		if run == nil {
			m := ir.NewBuilder("product")
			g, err := m.Graph(m.Op("dot_general", nil, m.Input("h", ir.T(ir.F32, k, k)), m.Input("e", ir.T(ir.F32, k, n))))
			if err != nil {
				return nil, err
			}
			var free func()
			if run, free, err = z.opt.Run(g); err != nil {
				return nil, err
			}
			runs[[2]int{k, n}] = run
			done = append(done, free)
		}
		out, err := run([]*ir.Tensor{ir.From(h, k, k), ir.From(e, k, n)})
		if err != nil {
			return nil, err
		}
		return out[0].F32(), nil
	}
	return product, func() {
		for _, free := range done {
			if free != nil {
				free()
			}
		}
	}
}

// gather adds one sample's input rows to a layer's moments.
func (z *quantizer) gather(l *layer, sample int, x *ir.Tensor) error {
	per := (rowsWanted(&l.spec) + z.opt.Calib.Len() - 1) / z.opt.Calib.Len()
	p, err := patchesOf(l.node, x, sample, per)
	if err != nil {
		return err
	}
	var buf, cut []float32
	for g := range l.spec.Groups {
		buf = p.rows(x.F32(), g, buf)
		for i, part := range l.parts {
			rows := buf
			if perTap(l.node) {
				if i > 0 {
					break // the others share the first one's moments
				}
			} else if len(l.parts) > 1 {
				cut = cut[:0]
				for r := range p.at {
					cut = append(cut, buf[r*l.spec.K+part.lo:r*l.spec.K+part.hi]...)
				}
				rows = cut
			}
			if err := part.moments.Add(g, len(p.at), rows); err != nil {
				return err
			}
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

func (z *quantizer) roundLayer(l *layer) error {
	o := quant.RoundOptions{Damp: z.opt.Damp, Polish: max(z.opt.Polish, 0), Iters: z.opt.AdaRoundIters}
	if z.opt.fast && z.opt.Rounding == AdaRound {
		var free func()
		o.Product, free = z.productOn()
		defer free()
	}
	bias := l.spec.Bias
	var noise, signal float64
	l.q = l.q[:0]
	share := 1.0 // of the outputs that a part reaches
	if perTap(l.node) {
		share = 1 / float64(max(1, ir.Shape(l.node.Ints("strides")).Elems()))
	}
	for _, p := range l.parts {
		spec := l.spec
		spec.K, spec.Bias = p.hi-p.lo, bias
		spec.W = l.spec.W[p.lo*l.spec.N : p.hi*l.spec.N]
		var q []int8
		var err error
		switch z.opt.Rounding {
		case Nearest:
			q = quant.RoundNearest(&spec, l.scale)
		case GPTQ:
			q, err = quant.GPTQ(&spec, l.scale, p.moments, o)
		case AdaRound:
			q, err = quant.RoundAdaptively(&spec, l.scale, p.moments, o)
		}
		if err != nil {
			return err
		}
		if !z.opt.NoCorrection {
			bias = blend(bias, p.moments.CorrectedBias(&spec, q, l.scale), share)
			l.bias = bias
		}
		n, s := p.moments.Error(&spec, q, l.scale)
		noise, signal = noise+n, signal+s
		l.q = append(l.q, q...)
	}
	if noise > 0 {
		l.sqnr = 10 * math.Log10(signal/noise)
	}
	return nil
}

// blend moves the bias by a share of a correction, which not all outputs want.
func blend(bias, corrected []float32, share float64) []float32 {
	if share == 1 {
		return corrected
	}
	for i := range corrected {
		b := 0.0
		if bias != nil {
			b = float64(bias[i])
		}
		corrected[i] = float32(b + share*(float64(corrected[i])-b))
	}
	return corrected
}

// proveRanges proves from the stored integers that no sum leaves int32.
func (z *quantizer) proveRanges() error {
	for _, l := range z.layers {
		if z.p.rows[l.node] { // for rows of any zero point
			for _, zero := range []int32{0, 255} {
				if err := quant.CheckOverflow(l.q, l.spec.K, l.spec.N, nil, ir.U8, zero); err != nil {
					return diag.At(l.node.Label(), err)
				}
			}
			continue
		}
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
