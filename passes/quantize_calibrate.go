package passes

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// prober runs one graph on the calibration samples, preparing it once for
// each batch size that occurs.
type prober struct {
	z    *quantizer
	g    *ir.Graph
	runs map[int]func(in []*ir.Tensor) ([]*ir.Tensor, error)
	free []func()
}

func (z *quantizer) prober(g *ir.Graph) *prober {
	return &prober{z: z, g: g, runs: map[int]func(in []*ir.Tensor) ([]*ir.Tensor, error){}}
}

func (p *prober) close() {
	for _, f := range p.free {
		if f != nil {
			f()
		}
	}
}

// at runs sample i and gives the graph's outputs.
func (p *prober) at(i int) ([]*ir.Tensor, error) {
	in, err := p.z.opt.Calib.At(i)
	if err != nil {
		return nil, err
	}
	n, err := batchOf(p.g, in)
	if err != nil {
		return nil, diag.At(fmt.Sprintf("calibration sample %d", i), err)
	}
	run := p.runs[n]
	if run == nil {
		s, err := ir.Specialize(p.g, n)
		if err != nil {
			return nil, err
		}
		var free func()
		if run, free, err = p.z.opt.Run(s); err != nil {
			return nil, err
		}
		p.runs[n] = run
		p.free = append(p.free, free)
	}
	return run(in)
}

// batchOf checks a sample against the graph's inputs and gives its batch.
func batchOf(g *ir.Graph, in []*ir.Tensor) (int, error) {
	if len(in) != len(g.Inputs) {
		return 0, &diag.Error{Found: fmt.Sprintf("%d tensors", len(in)), Wanted: fmt.Sprintf("%d, one for each input", len(g.Inputs))}
	}
	n := 1
	for i, v := range g.Inputs {
		s, t := v.Type.Shape, in[i]
		if len(s) != len(t.Shape) || t.DType != v.Type.DType {
			return 0, &diag.Error{Place: v.Name, Found: t.Type().String(), Wanted: v.Type.String()}
		}
		for a, d := range s {
			if d < 0 && t.Shape[a]%-d == 0 && t.Shape[a] > 0 {
				n = t.Shape[a] / -d
			}
		}
		if !s.With(n).Equal(t.Shape) {
			return 0, &diag.Error{Place: v.Name, Found: t.Type().String(), Wanted: v.Type.String()}
		}
	}
	return n, nil
}

// watchGraph is the float graph with the given values as outputs.
func watchGraph(g *ir.Graph, watch []*ir.Value) *ir.Graph {
	c, m := g.CloneMap()
	c.Outputs = nil
	for _, v := range watch {
		c.Outputs = append(c.Outputs, m[v])
	}
	c.RemoveDead()
	return c
}

// chunks cuts values into runs whose tensors together stay within the budget.
func (z *quantizer) chunks(vs []*ir.Value) [][]*ir.Value {
	var out [][]*ir.Value
	var sum int64
	for _, v := range vs {
		b := v.Type.Bytes()
		if len(out) == 0 || sum+b > z.opt.Budget {
			out, sum = append(out, nil), 0
		}
		sum += b
		out[len(out)-1] = append(out[len(out)-1], v)
	}
	return out
}

// watch runs the float graph over all samples and calls see for every sample
// and value.
func (z *quantizer) watch(stage string, vs []*ir.Value, see func(v *ir.Value, t *ir.Tensor)) error {
	chunks := z.chunks(vs)
	total := len(chunks) * z.opt.Calib.Len()
	done := 0
	for _, chunk := range chunks {
		p := z.prober(watchGraph(z.g, chunk))
		for i := range z.opt.Calib.Len() {
			out, err := p.at(i)
			if err != nil {
				p.close()
				return err
			}
			for j, v := range chunk {
				see(v, out[j])
			}
			done++
			z.opt.Progress(stage, done, total)
		}
		p.close()
	}
	return nil
}

// observe watches every value that needs a range.
func (z *quantizer) observe() error {
	z.obs = map[*ir.Value]*quant.Observer{}
	var vs []*ir.Value
	classes := z.p.classes(z.roles())
	for _, v := range valuesInOrder(z.g) {
		for _, w := range classes[v] {
			if z.obs[w] == nil {
				z.obs[w] = &quant.Observer{}
				vs = append(vs, w)
			}
		}
	}
	if z.like != nil {
		if len(vs) != len(z.like.observers) {
			return errUnlike
		}
		for i, v := range vs {
			z.obs[v] = z.like.observers[i]
		}
		return nil
	}
	for _, v := range vs {
		z.made.observers = append(z.made.observers, z.obs[v])
	}
	err := z.watch("ranges", vs, func(v *ir.Value, t *ir.Tensor) { z.obs[v].Add(t.F32()) })
	if err != nil {
		return err
	}
	for _, v := range vs {
		if o := z.obs[v]; o.NonFinite > 0 {
			return &diag.Error{Place: v.String(), Found: fmt.Sprintf("%d NaN or infinite values on the calibration data", o.NonFinite), Wanted: "finite activations", Fix: "check the calibration data and the model's preprocessing"}
		}
	}
	return nil
}

func valuesInOrder(g *ir.Graph) []*ir.Value {
	vs := append([]*ir.Value{}, g.Inputs...)
	for _, n := range g.Nodes {
		vs = append(vs, n.Outputs...)
	}
	return vs
}

// choose turns what was observed into scales and zero points, in topological
// order because a layer's factors bound the scale of its result.
func (z *quantizer) choose() {
	z.params = map[*ir.Value]quant.Params{}
	classes := z.p.classes(z.roles())
	for _, root := range valuesInOrder(z.g) {
		members := classes[root]
		if len(members) == 0 {
			continue
		}
		var o quant.Observer
		for _, v := range members {
			o.Merge(z.obs[v])
		}
		d := ir.U8
		if z.p.signed[root] {
			d = ir.S8
		}
		lo, hi := o.Range(z.method(root))
		if f := z.onlyTable(members); f != nil && z.opt.Method == "" {
			lo, hi = o.MSERange(f)
		}
		z.params[root] = quant.Affine(lo, hi, d)
	}
	for _, n := range z.g.Nodes {
		if z.p.rows[n] { // the bias is f32, and no scale bounds another
			l := &layer{node: n, spec: layerOf(n)}
			weights := l.spec
			weights.Bias = nil
			l.scale = quant.WeightScales(&weights, 1)
			z.layers = append(z.layers, l)
			z.byNode[n] = l
			continue
		}
		if !z.p.int8[n] || roleOf(n, &z.opt) != contraction {
			continue
		}
		l := &layer{node: n, spec: layerOf(n)}
		z.layers = append(z.layers, l)
		z.byNode[n] = l
		sx := z.paramsOf(n.In(0)).Scale
		l.scale = quant.WeightScales(&l.spec, sx)
		if res := z.p.result(n); z.p.wants8(res) {
			root := z.p.root(res)
			p := z.params[root]
			if sy := quant.FitOutScale(sx, l.scale, p.Scale); sy != p.Scale {
				p.Scale = sy
				z.params[root] = p
			}
			quant.RaiseScales(sx, l.scale, p.Scale)
		}
	}
}

// method is how the range of a class is chosen. The default is the least
// squared error, but for operands of matrix products the extremes: in
// transformers the rare large values carry meaning (MiniLM's rank correlation
// falls by 0.003 with the former, by 0.0005 with the latter). What a table gives
// them is no such operand: of a GELU's results the rare large ones cost all others
// their levels (300 pairs of STS-B: least cosine of MiniLM's embeddings 0.979 with
// the extremes, 0.985 with the least error; rank correlation 0.8109 and 0.8091; on
// 256 random tokens the cosine is 0.966 and 0.976).
func (z *quantizer) method(root *ir.Value) quant.Method {
	if z.opt.Method != "" {
		return z.opt.Method
	}
	if root.Def != nil && root.Def.Op.Name == "gelu" {
		return quant.MSE
	}
	for v, uses := range z.p.uses {
		if z.p.root(v) != root {
			continue
		}
		for _, u := range uses {
			if u.Node != nil && z.p.int8[u.Node] && len(v.Type.Shape) > 2 && (u.Node.Op.Name == "dot" || u.Node.Op.Name == "dot_general") {
				return quant.MinMax
			}
		}
	}
	return quant.MSE
}

// onlyTable gives the function of the one table that reads a class, if that is
// its only reader: the range is then chosen for the function's sake.
func (z *quantizer) onlyTable(members []*ir.Value) quant.Func {
	if len(members) != 1 || len(z.p.uses[members[0]]) != 1 {
		return nil
	}
	n := z.p.uses[members[0]][0].Node
	if n == nil || !z.p.int8[n] || z.p.folded[n] || roleOf(n, &z.opt) != table {
		return nil
	}
	for z.p.absorb[n] {
		n = z.p.uses[n.Out()][0].Node
	}
	return z.p.chainFunc(n)
}

// paramsOf gives the quantization of a value's class.
func (z *quantizer) paramsOf(v *ir.Value) quant.Params {
	p, ok := z.params[z.p.root(v)]
	if !ok {
		panic("BUG: no range was chosen for " + v.String())
	}
	return p
}

// layerOf reads a contraction's weight as a matrix.
func layerOf(n *ir.Node) quant.Layer {
	w := n.In(1)
	s := w.Const.Shape
	l := quant.Layer{K: s[:len(s)-1].Elems(), N: s[len(s)-1], Groups: 1, W: w.Const.F32()}
	if n.Op.Attr("groups") != nil {
		l.Groups = n.Int("groups")
	}
	if b := n.In(2); b != nil {
		l.Bias = b.Const.F32()
	}
	return l
}
