package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// foldScale takes constant factors and summands per channel into the
// contractions after them.
//
//	%s = multiply %x @c          (add, subtract, divide, batch norm likewise)
//	%y = convolution %s @w   →  convolution %x @w'
//
// Safe within rounding, where every reader is a contraction with constant
// weights: w·(c·x) = (w·c)·x. A summand goes to the bias, and only where there
// is no padding: the zeros around the image would have got none of it.
func foldScale(g *ir.Graph, a Args) (bool, error) {
	e := edit(g)
	changed := false
	for again := true; again; {
		again = false
		for _, n := range append([]*ir.Node{}, g.Nodes...) {
			x, factor, shift := perChannelOf(n)
			if x == nil || !a.takes(n) || !foldsForward(e, n, shift != nil) {
				continue
			}
			for _, u := range append([]ir.Use{}, e.uses[n.Out()]...) {
				v, err := absorbing(e, u.Node, x, factor, shift)
				if err != nil {
					return changed, err
				}
				e.replace(u.Node.Out(), v)
			}
			again, changed = true, true
			if err := g.Sort(); err != nil {
				return changed, err
			}
			g.RemoveDead()
			e.uses = g.Uses()
		}
	}
	return changed, nil
}

// perChannelOf reads a node as x·factor + shift along the last axis; x is nil
// where it is none, shift nil where it is zero.
func perChannelOf(n *ir.Node) (x *ir.Value, factor, shift []float64) {
	op := n.Op.Name
	switch op {
	case "batch_norm_inference":
		factor, shift = normFactors(n)
		if factor == nil {
			return nil, nil, nil
		}
		return n.Inputs[0], factor, shift
	case "add", "subtract", "multiply", "divide":
	default:
		return nil, nil, nil
	}
	s := n.Out().Type.Shape
	if len(s) == 0 || n.Out().Type.DType != ir.F32 {
		return nil, nil, nil
	}
	c := s[len(s)-1]
	for i := range 2 {
		if i == 1 && (op == "subtract" || op == "divide") {
			break
		}
		v, k := n.Inputs[i], n.Inputs[1-i]
		if v.IsConst() || !k.IsConst() || !v.Type.Shape.Equal(s) || !perChannel(k.Type.Shape, c) {
			continue
		}
		factor, shift = channelAffine(op, k.Const, c)
		for j := range c {
			if f := factor[j] + shift[j]; math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, nil, nil
			}
		}
		if op == "multiply" || op == "divide" {
			shift = nil
		}
		return v, factor, shift
	}
	return nil, nil, nil
}

// foldsForward says whether all readers of n can take a factor per input
// channel, and a summand too where shifted is set.
func foldsForward(e *editor, n *ir.Node, shifted bool) bool {
	for _, u := range e.uses[n.Out()] {
		k := u.Node
		if k == nil || u.Index != 0 || k.Op.Name != "convolution" && k.Op.Name != "dot" || !k.Inputs[1].IsConst() || k.In(2) != nil && !k.In(2).IsConst() {
			return false
		}
		if k.Op.Name == "convolution" && shifted {
			for _, p := range k.Ints("padding") {
				if p != 0 {
					return false
				}
			}
		}
	}
	return len(e.uses[n.Out()]) > 0
}

// absorbing builds contraction k on x, with factor and shift in its weights.
func absorbing(e *editor, k *ir.Node, x *ir.Value, factor, shift []float64) (*ir.Value, error) {
	w := k.Inputs[1].Const
	rank := len(w.Shape)
	cin, cout := w.Shape[rank-2], w.Shape[rank-1]
	perGroup := cout
	if k.Op.Name == "convolution" {
		perGroup = cout / k.Int("groups")
	}
	wt := ir.NewTensor(ir.F32, w.Shape...)
	sums := make([]float64, cout)
	for i, v := range w.F32() {
		o := i % cout
		c := i/cout%cin + o/perGroup*cin
		wt.F32()[i] = float32(float64(v) * factor[c])
		if shift != nil {
			sums[o] += float64(v) * shift[c]
		}
	}
	in := []*ir.Value{x, e.g.Const(k.Inputs[1].Name, wt)}
	b := k.In(2)
	if shift != nil {
		bt := ir.NewTensor(ir.F32, cout)
		for i, s := range sums {
			if b != nil {
				s += b.Const.At(i)
			}
			bt.F32()[i] = float32(s)
		}
		b = e.g.Const(k.Inputs[1].Name+".bias", bt)
	}
	if b != nil {
		in = append(in, b)
	}
	return e.add(k, k.Op.Name, k.Attrs, in...)
}
