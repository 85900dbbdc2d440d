package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// reparam makes one layer of parallel ones that are added (RepVGG; with dilated
// ones, UniRepLKNet).
//
//	%a = convolution %x @k padding=[1,1,1,1]
//	%n = batch_norm_inference %a …
//	%b = convolution %x @one
//	%s = add %n %b
//	%y = add %s %x   →   %y = convolution %x @sum @bias padding=[1,1,1,1]
//
// Taps are added where they lie, the input itself is an identity, batch norms
// go into weights. Safe within rounding: sums of products in another order.
func reparam(g *ir.Graph, a Args) (*Grown, error) {
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "add" || n.Out().Def != n || !n.Out().Type.DType.IsFloat() {
			return false, "", nil
		}
		if r := e.reader(n.Out()); r != nil && r.Op.Name == "add" {
			return false, "", nil // the last of the additions is the place
		}
		leaves := e.summands(n.Out(), nil)
		bs := map[*ir.Value][]*branch{}
		for i, v := range leaves {
			if b := e.branchOf(v); b != nil {
				b.leaf = i
				bs[b.x] = append(bs[b.x], b)
			}
		}
		for x, list := range bs { // the input itself
			for i, v := range leaves {
				if v == x && x.Type.Shape.Equal(n.Out().Type.Shape) {
					bs[x] = append(list, &branch{x: x, leaf: i, like: list[0].k})
					break
				}
			}
		}
		why := ""
		for _, k := range slices.Clone(e.g.Nodes) { // in a stable order
			for _, v := range append(slices.Clone(e.g.Inputs), k.Outputs...) {
				list := bs[v]
				delete(bs, v)
				if len(list) < 2 {
					continue
				}
				sum, whyNot := addBranches(list, n)
				if sum == nil {
					why = whyNot
					continue
				}
				return true, "", e.after(n.Out(), func(*ir.Value) (*ir.Value, error) { return e.reparamed(n, sum, list, leaves) })
			}
		}
		return false, why, nil
	})
}

// branch is a layer, or the value itself, with a batch norm behind it or not.
type branch struct {
	x             *ir.Value
	k, like       *ir.Node // like: the layer whose form the identity takes
	factor, shift []float64
	leaf          int
}

// summands lists what a tree of additions of equal shapes adds.
func (e *growing) summands(v *ir.Value, list []*ir.Value) []*ir.Value {
	n := v.Def
	if n == nil || n.Op.Name != "add" {
		return append(list, v)
	}
	for _, in := range n.Inputs {
		if in.Def != nil && in.Def.Op.Name == "add" && e.only(in) && in.Type.Shape.Equal(v.Type.Shape) {
			list = e.summands(in, list)
		} else {
			list = append(list, in)
		}
	}
	return list
}

// branchOf reads a summand as a branch; nil where it is none.
func (e *growing) branchOf(v *ir.Value) *branch {
	b := &branch{}
	if n := def(v, "batch_norm_inference"); n != nil && e.only(v) {
		if b.factor, b.shift = normFactors(n); b.factor == nil {
			return nil
		}
		v = n.Inputs[0]
	}
	k := v.Def
	if k == nil || k.Op.Name != "convolution" && k.Op.Name != "dot" || !e.only(v) {
		return nil
	}
	if k.Str("activation") != "" || !k.Inputs[1].IsConst() || k.In(2) != nil && !k.In(2).IsConst() {
		return nil
	}
	b.k, b.x = k, k.Inputs[0]
	return b
}

// kernelSum is a layer made of several: its weights, bias and geometry.
type kernelSum struct {
	op    string
	w, b  *ir.Tensor
	attrs ir.Attrs
}

// addBranches adds the weights of branches tap by tap, or says why it cannot.
func addBranches(list []*branch, n *ir.Node) (*kernelSum, string) {
	first := list[0].k
	if first.Op.Name == "dot" {
		return addDense(list, n)
	}
	win, err := ir.WindowOf(first)
	if err != nil {
		return nil, err.Error()
	}
	r := len(win.In)
	lo, hi := make([]int, r), make([]int, r)
	ws := first.Inputs[1].Type.Shape
	cin, cout := win.Groups*ws[r], ws[r+1]
	groups := 0
	type tap struct {
		w      *ir.Tensor
		win    ir.Window
		factor []float64
	}
	var taps []tap
	bias := ir.NewTensor(first.Inputs[1].Type.DType, cout)
	some := false
	for _, b := range list {
		t := tap{factor: b.factor}
		if b.k == nil {
			for _, s := range win.Stride {
				if s != 1 {
					return nil, "the input itself has another stride"
				}
			}
			one := make([]int, r)
			t.win = ir.Window{Kernel: slices.Repeat([]int{1}, r), Dilation: slices.Repeat([]int{1}, r), Before: one, Stride: win.Stride, Groups: cin}
			t.w = ir.NewTensor(bias.DType, append(slices.Repeat([]int{1}, r), 1, cin)...)
			for i := range cin {
				t.w.Set(i, 1)
			}
		} else {
			if b.k.Op != first.Op {
				return nil, "its branches are of different kinds"
			}
			if t.win, err = ir.WindowOf(b.k); err != nil {
				return nil, err.Error()
			}
			if !slices.Equal(t.win.Stride, win.Stride) || !slices.Equal(t.win.Out, win.Out) || b.k.Inputs[1].Type.Shape[r+1] != cout {
				return nil, "its branches differ in stride or extent"
			}
			t.w = b.k.Inputs[1].Const
			some = b.addBias(bias) || some
		}
		groups = gcd(groups, t.win.Groups)
		for i := range r {
			lo[i] = min(lo[i], -t.win.Before[i])
			hi[i] = max(hi[i], (t.win.Kernel[i]-1)*t.win.Dilation[i]-t.win.Before[i])
		}
		taps = append(taps, t)
	}
	shape := make(ir.Shape, 0, r+2)
	pad := make([]int, 2*r)
	for i := range r {
		k := hi[i] - lo[i] + 1
		if k > 64 {
			return nil, "the kernel would span more than 64"
		}
		shape = append(shape, k)
		pad[i] = -lo[i]
		pad[r+i] = max(0, (win.Out[i]-1)*win.Stride[i]+k-win.In[i]-pad[i])
		if (win.In[i]+pad[i]+pad[r+i]-k)/win.Stride[i]+1 != win.Out[i] {
			return nil, "no padding gives the extent"
		}
	}
	shape = append(shape, cin/groups, cout)
	sum := make([]float64, shape.Elems())
	for _, t := range taps {
		at := make([]int, r)
		for i := range at {
			at[i] = -t.win.Before[i] - lo[i]
		}
		w := placed(t.w, append(shape[:r:r], t.w.Shape[r:]...), at, t.win.Dilation)
		per, perOut := t.w.Shape[r], cout/t.win.Groups
		for i := range w.Len() {
			v := w.At(i)
			if v == 0 {
				continue
			}
			o, rest := i%cout, i/cout
			j, k := rest%per, rest/per
			if t.factor != nil {
				v *= t.factor[o]
			}
			c := o/perOut*per + j - o/(cout/groups)*(cin/groups) // among its group's channels
			sum[(k*(cin/groups)+c)*cout+o] += v
		}
	}
	out := &kernelSum{op: "convolution", w: ir.NewTensor(bias.DType, shape...), attrs: ir.Attrs{"strides": win.Stride, "padding": pad, "groups": groups}}
	for i, v := range sum {
		out.w.Set(i, v)
	}
	if some {
		out.b = bias
	}
	return out, ""
}

// addBias adds what the branch adds to each channel; false where it adds nothing.
func (b *branch) addBias(bias *ir.Tensor) bool {
	v := b.k.In(2)
	if v == nil && b.shift == nil {
		return false
	}
	for i := range bias.Len() {
		y := 0.0
		if v != nil {
			y = v.Const.At(i)
		}
		if b.factor != nil {
			y = y*b.factor[i] + b.shift[i]
		}
		bias.Set(i, bias.At(i)+y)
	}
	return true
}

// addDense adds dense layers.
func addDense(list []*branch, _ *ir.Node) (*kernelSum, string) {
	s := list[0].k.Inputs[1].Type.Shape
	out := &kernelSum{op: "dot", w: ir.NewTensor(list[0].k.Inputs[1].Type.DType, s...)}
	bias := ir.NewTensor(out.w.DType, s[1])
	for _, b := range list {
		if b.k != nil && (b.k.Op.Name != "dot" || b.k.Inputs[1].Type.Shape[1] != s[1]) {
			return nil, "its branches are of different kinds"
		}
		for i := range out.w.Len() {
			v, o := 0.0, i%s[1]
			if b.k == nil {
				if i/s[1] == o {
					v = 1
				}
			} else {
				v = b.k.Inputs[1].Const.At(i)
			}
			if b.factor != nil {
				v *= b.factor[o]
			}
			out.w.Set(i, out.w.At(i)+v)
		}
		if b.k == nil {
			continue
		}
		if b.addBias(bias) {
			out.b = bias
		}
	}
	return out, ""
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// reparamed adds the layer, and what else was added.
func (e *growing) reparamed(n *ir.Node, s *kernelSum, list []*branch, leaves []*ir.Value) (*ir.Value, error) {
	k := list[0].k
	var b *ir.Value
	if s.b != nil {
		b = e.g.Const(k.Label()+".bias", s.b)
	}
	y, err := e.add(k, s.op, s.attrs, list[0].x, e.g.Const(k.Inputs[1].Name+".sum", s.w), b)
	for i, v := range leaves {
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(b *branch) bool { return b.leaf == i }) {
			y, err = e.add(n, "add", nil, y, v)
		}
	}
	return y, err
}
