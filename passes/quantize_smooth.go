package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// smooth moves the spread between input channels from activations into
// weights (SmoothQuant, Xiao et al. 2022): the input of dense layers is divided
// by s_k = max|x_k|^alpha / max|w_k|^(1−alpha), the rows of their weights are
// multiplied by it. It does so where the input comes from f32 computation, a
// layer norm mostly: the division goes into the norm's scale and bias where
// the dense layers are its only readers, and is an f32 multiplication
// otherwise. Inputs from 8-bit computation are equalize's business.
func (z *quantizer) smooth() error {
	dots := map[*ir.Value][]*ir.Node{}
	var xs []*ir.Value
	for _, n := range z.g.Nodes {
		x := n.In(0)
		if n.Op.Name != "dot" || !z.p.int8[n] && !z.p.rows[n] || x.Def == nil || z.p.int8[x.Def] || len(x.Type.Shape) < 2 {
			continue
		}
		if dots[x] == nil {
			xs = append(xs, x)
		}
		dots[x] = append(dots[x], n)
	}
	if len(xs) == 0 {
		return nil
	}
	top, err := z.channelTops("smoothing", xs)
	if err != nil {
		return err
	}
	for _, x := range xs {
		k := width(x)
		wtop := make([]float64, k)
		for _, n := range dots[x] {
			w := n.In(1).Const
			cols := w.Shape[1]
			for i, v := range w.F32() {
				wtop[i/cols] = max(wtop[i/cols], math.Abs(float64(v)))
			}
		}
		s, mean := make([]float64, k), 0.0
		for i := range s {
			s[i] = 1
			if top[x][i] > 0 && wtop[i] > 0 {
				s[i] = math.Pow(top[x][i], z.opt.Smooth) / math.Pow(wtop[i], 1-z.opt.Smooth)
			}
			mean += math.Log(s[i]) / float64(k)
		}
		for i := range s {
			s[i] /= math.Exp(mean)
		}
		if err := z.divideInput(x, dots[x], s); err != nil {
			return err
		}
	}
	if err := z.g.Sort(); err != nil {
		return err
	}
	z.p = place(z.g, z.opt)
	return nil
}

// divideInput divides x by s for the given dense layers and scales their
// weights.
func (z *quantizer) divideInput(x *ir.Value, dots []*ir.Node, s []float64) error {
	for _, n := range dots {
		w := n.In(1)
		cols := w.Const.Shape[1]
		v := make([]float32, w.Const.Len())
		for i, e := range w.Const.F32() {
			v[i] = float32(float64(e) * s[i/cols])
		}
		n.Inputs[1] = z.g.Const(w.Name, ir.From(v, w.Const.Shape...))
	}
	inv := make([]float32, len(s))
	for i := range s {
		inv[i] = float32(1 / s[i])
	}
	if d := x.Def; d.Op.Name == "layer_norm" && len(z.p.uses[x]) == len(dots) && d.In(1).IsConst() && d.In(1).Const.Len() == len(s) && (d.In(2) == nil || d.In(2).IsConst()) {
		for i := 1; i < len(d.Inputs); i++ {
			c := d.In(i)
			if c == nil {
				continue
			}
			v := make([]float32, len(s))
			for j, e := range c.Const.F32() {
				v[j] = e * inv[j]
			}
			d.Inputs[i] = z.g.Const(c.Name, ir.From(v, c.Const.Shape...))
		}
		return nil
	}
	y, err := z.g.AddNamed("multiply", x.Name+".smoothed", nil, x, z.g.Const(x.Name+".smooth", ir.From(inv, len(inv))))
	if err != nil {
		return err
	}
	for _, n := range dots {
		n.Inputs[0] = y.Out()
	}
	return nil
}
