package passes

import (
	"context"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// leftBehind are the sums that removed channels made in the layers that read
// them, where these are (or on average are) constant.
type leftBehind struct {
	of   map[*ir.Node][]float64 // by channel of the result that stays
	gone map[coupling.Unit]bool // units that left something
}

// leftBehind measures the means of the channels that a plan removes, and what
// each layer made of them.
func (o *PruneOptions) leftBehind(ctx context.Context, g *ir.Graph, an *coupling.Analysis, p coupling.Plan) (*leftBehind, error) {
	left := &leftBehind{of: map[*ir.Node][]float64{}, gone: map[coupling.Unit]bool{}}
	if len(p.Copies) == 0 {
		return left, nil
	}
	stats := &statistics{g: g, in: o.Samples, of: map[string]moments{}, run: o.Run, only: summed(an)}
	if err := stats.measure(ctx); err != nil {
		return nil, err
	}
	for _, m := range an.Constants() {
		n := m.Node
		switch n.Op.Name {
		case "convolution", "dot":
		case "convolution_transpose": // stride leaves holes between the taps: no constant
			continue
		default:
			continue
		}
		if !m.Sums || m.Value != n.Inputs[1] || n.In(2) != nil && !n.In(2).IsConst() {
			continue
		}
		x := n.Inputs[0]
		mo := stats.of[x.Name]
		if len(mo.mean) != len(m.Units) {
			continue
		}
		w := m.Value
		r := len(w.Type.Shape)
		cin, cout := w.Type.Shape[r-2], w.Type.Shape[r-1]
		delta := make([]float64, cout)
		some := false
		for c, u := range m.Units {
			k, ok := p.Copies[u]
			if !ok || k != 0 {
				continue
			}
			mean := mo.mean[c]
			if constant := mo.variance[c] <= 1e-10*mean*mean; mean == 0 || !o.Real && !constant {
				continue
			}
			left.gone[u], some = true, true
			for t, inside := range coverage(n, w.Type.Shape[:r-2]) {
				for i := range cout {
					delta[i] += w.Const.At((t*cin+c)*cout+i) * mean * inside
				}
			}
		}
		if !some {
			continue
		}
		out := an.Of(n.Out(), len(n.Out().Type.Shape)-1)
		var kept []float64
		for i, d := range delta {
			if out != nil {
				if k, ok := p.Copies[out[i]]; ok && k == 0 {
					continue
				}
			}
			kept = append(kept, d)
		}
		left.of[n] = kept
	}
	return left, nil
}

// coverage gives for each tap of a kernel the share of positions at which it
// lies in the picture and not in the padding, which holds no constant.
func coverage(n *ir.Node, taps ir.Shape) []float64 {
	out := make([]float64, taps.Elems())
	for i := range out {
		out[i] = 1
	}
	if n.Op.Name == "dot" {
		return out
	}
	win, err := ir.WindowOf(n)
	if err != nil {
		return out
	}
	for i := range out {
		rest := i
		for a := len(taps) - 1; a >= 0; a-- {
			k, in := rest%taps[a], 0
			rest /= taps[a]
			for p := range win.Out[a] {
				if x := p*win.Stride[a] - win.Before[a] + k*win.Dilation[a]; x >= 0 && x < win.In[a] {
					in++
				}
			}
			out[i] *= float64(in) / float64(max(1, win.Out[a]))
		}
	}
	return out
}

// absorb adds the sums to the biases of the rewritten layers.
func (l *leftBehind) absorb(g *ir.Graph) {
	uses := g.Uses()
	for n, delta := range l.of {
		addBias(g, uses, n, delta)
	}
}

// channels counts those that left something, each once however many layers read
// it and at how many positions.
func (l *leftBehind) channels(groups []*group) int {
	count := 0
	for _, x := range groups {
		for _, u := range x.Units {
			if l.gone[u] {
				count += x.each
			}
		}
	}
	return count
}

// addBias adds to a layer's result by channel: in its bias, or, where it has
// none, in the mean of the batch norm behind it, or in a new bias.
func addBias(g *ir.Graph, uses map[*ir.Value][]ir.Use, n *ir.Node, delta []float64) {
	shifted := func(v *ir.Value, sign float64) *ir.Value {
		b := ir.NewTensor(v.Type.DType, len(delta))
		for i, d := range delta {
			b.Set(i, v.Const.At(i)+sign*d)
		}
		return g.Const(v.Name, b)
	}
	if old := n.In(2); old != nil {
		n.Inputs[2] = shifted(old, 1)
		return
	}
	if b := normAfter(uses, n); b != nil {
		b.Inputs[3] = shifted(b.Inputs[3], -1)
		return
	}
	t := ir.NewTensor(n.Inputs[1].Type.DType, len(delta))
	for i, d := range delta {
		t.Set(i, d)
	}
	n.Inputs = append(n.Inputs[:2:2], g.Const(n.Inputs[1].Name+".bias", t))
}
