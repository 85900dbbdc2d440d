package passes

import (
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// prepareQuantize rewrites what has no 8-bit form into what has one: attention
// into its products, and batch norms that could not be folded into depthwise
// 1×1 convolutions, whose weights then have a scale per channel.
func prepareQuantize(g *ir.Graph, opt QuantizeOptions) error {
	nodes := g.Nodes
	g.Nodes = nil
	for _, n := range nodes {
		var v *ir.Value
		var err error
		switch n.Op.Name {
		case "attention":
			if !opt.FloatAttention {
				v, err = splitAttention(g, n)
			}
		case "batch_norm_inference":
			v, err = normToConv(g, n)
		}
		if err != nil {
			return diag.At(n.Label(), err)
		}
		if v == nil {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		v.Def.Name = n.Label()
		replaceIn(nodes, g, n.Out(), v)
	}
	return nil
}

func replaceIn(nodes []*ir.Node, g *ir.Graph, old, new *ir.Value) {
	for _, n := range nodes {
		for i, v := range n.Inputs {
			if v == old {
				n.Inputs[i] = new
			}
		}
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = new
			name := old.Name
			g.Rename(old, name+".old")
			g.Rename(new, name)
		}
	}
}

// normToConv writes (x−mean)/√(var+ε)·scale + bias as a depthwise convolution.
// nil where x is no picture or sequence.
func normToConv(g *ir.Graph, n *ir.Node) (*ir.Value, error) {
	x := n.In(0)
	r := len(x.Type.Shape) - 2
	if r != 1 && r != 2 || x.Type.DType != ir.F32 {
		return nil, nil
	}
	for _, d := range x.Type.Shape[1:] {
		if d < 0 {
			return nil, nil
		}
	}
	c := x.Type.Shape[r+1]
	var p [4][]float32
	for i := range p {
		v := n.In(i + 1)
		if !v.IsConst() {
			return nil, nil
		}
		p[i] = v.Const.F32()
	}
	w, b := make([]float32, c), make([]float32, c)
	for i := range c {
		s := float64(p[0][i]) / math.Sqrt(float64(p[3][i])+n.Float("epsilon"))
		w[i] = float32(s)
		b[i] = float32(float64(p[1][i]) - float64(p[2][i])*s)
	}
	shape := make([]int, r+2)
	for i := range shape {
		shape[i] = 1
	}
	shape[r+1] = c
	name := n.Out().Name
	return g.Add("convolution", ir.Attrs{"groups": c}, x, g.Const(name+".w", ir.From(w, shape...)), g.Const(name+".b", ir.From(b, c)))
}

// splitAttention writes softmax(q·kᵀ·scale + mask)·v with products.
func splitAttention(g *ir.Graph, n *ir.Node) (*ir.Value, error) {
	q, k, v, mask := n.In(0), n.In(1), n.In(2), n.In(3)
	s, err := g.Add("dot_general", ir.Attrs{"transpose_b": true}, q, k)
	if err != nil {
		return nil, err
	}
	s.Def.Name = n.Label() + ".qk"
	if n.Float("scale") != 1 {
		if s, err = g.Add("multiply", nil, s, g.Const(n.Label()+".scale", ir.Scalar(n.F32("scale")))); err != nil {
			return nil, err
		}
	}
	if mask != nil {
		if s, err = g.Add("add", nil, s, mask); err != nil {
			return nil, err
		}
	}
	if s, err = g.Add("softmax", nil, s); err != nil {
		return nil, err
	}
	return g.Add("dot_general", nil, s, v)
}

// sumFits says whether int32 holds every sum of a layer, however its weights
// are rounded and its bias (at most 2^30 and a half) corrected.
func sumFits(l *quant.Layer) bool {
	sum, top := make([]float64, l.N), make([]float64, l.N)
	for i, w := range l.W {
		a := math.Abs(float64(w))
		sum[i%l.N] += a
		top[i%l.N] = max(top[i%l.N], a)
	}
	for c := range sum {
		if top[c] == 0 {
			continue
		}
		// One level of slack for each weight.
		if (sum[c]/top[c]*127+float64(l.K))*255+1.5*(1<<30) >= 1<<31 {
			return false
		}
	}
	return true
}
