package passes

import (
	"maps"

	"github.com/nasc-dev/nasc/ir"
)

// addSkip adds a layer's input to its result.
//
//	%y = convolution %x @w activation="relu"   →   %c = convolution %x @w.skip
//	                                               %s = add %c %x
//	                                               %y = relu %s
//
// where @w.skip is @w less the identity: the sum is what it was, within
// rounding. Where the shapes differ, a convolution (of the layer's stride) or
// dense layer of zeros leads past it, and @w stays.
func addSkip(g *ir.Graph, a Args) (*Grown, error) {
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			return false, "", nil
		}
		x, y := n.Inputs[0], n.Out()
		if !n.Inputs[1].IsConst() {
			return false, "its weights are computed", nil
		}
		skip, err := e.pastIt(n)
		if err != nil || skip == nil {
			return false, "its geometry has no convolution of one tap beside it", err
		}
		act := takeActivation(n)
		if skip != x {
			return true, "", e.after(y, func(v *ir.Value) (*ir.Value, error) {
				s, err := e.add(n, "add", nil, v, skip)
				if err != nil || act == nil {
					return s, err
				}
				return e.add(n, act.op, act.attrs, s)
			})
		}
		w := n.Inputs[1].Const
		t := w.Clone()
		one := ir.NewTensor(w.DType, w.Shape...)
		identityWeights(one, w.Shape[:len(w.Shape)-2])
		for i := range t.Len() {
			if v := one.At(i); v != 0 {
				t.Set(i, t.At(i)-v)
			}
		}
		n.Inputs[1] = e.g.Const(n.Inputs[1].Name+".skip", t)
		return true, "", e.after(y, func(v *ir.Value) (*ir.Value, error) {
			s, err := e.add(n, "add", nil, v, x)
			if err != nil || act == nil {
				return s, err
			}
			return e.add(n, act.op, act.attrs, s)
		})
	})
}

// pastIt gives the value to be added: the input where the identity is one of
// the weights that the layer may have, a layer of zeros otherwise, nil where
// there is none.
func (e *growing) pastIt(n *ir.Node) (*ir.Value, error) {
	x, y := n.Inputs[0], n.Out()
	same := x.Type.Shape.Equal(y.Type.Shape)
	w := n.Inputs[1].Type.Shape
	cout := w[len(w)-1]
	if n.Op.Name == "dot" {
		if same {
			return x, nil
		}
		zero := e.g.Const(n.Label()+".past", ir.NewTensor(x.Type.DType, w...))
		return e.add(n, "dot", nil, x, zero)
	}
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	centred := true
	for i, k := range win.Kernel {
		centred = centred && k%2 == 1 && win.Before[i] == k/2*win.Dilation[i]
	}
	if same && centred && win.Groups*w[len(w)-2] == cout {
		one := true
		for _, s := range win.Stride {
			one = one && s == 1
		}
		if one {
			return x, nil
		}
	}
	// One tap, with the stride, on as much of the input as gives the extent.
	pad := make([]int, 2*len(win.In))
	shape := make([]int, 0, len(w))
	for i := range win.In {
		need := (win.Out[i]-1)*win.Stride[i] + 1 - win.In[i]
		pad[len(win.In)+i] = max(0, need)
		if got := (win.In[i]+pad[len(win.In)+i]-1)/win.Stride[i] + 1; got != win.Out[i] {
			return nil, nil
		}
		shape = append(shape, 1)
	}
	zero := e.g.Const(n.Label()+".past", ir.NewTensor(x.Type.DType, append(shape, x.Type.Shape[len(x.Type.Shape)-1], cout)...))
	return e.add(n, "convolution", ir.Attrs{"strides": win.Stride, "padding": pad}, x, zero)
}

// takeActivation removes a layer's own activation and gives it.
func takeActivation(n *ir.Node) *activation {
	var act *activation
	switch n.Str("activation") {
	case "":
		return nil
	case "relu":
		act = &activation{"relu", nil}
	case "clamp":
		act = &activation{"clamp", ir.Attrs{"min": n.Float("act_min"), "max": n.Float("act_max")}}
	}
	n.Attrs = maps.Clone(n.Attrs)
	for _, name := range []string{"activation", "act_min", "act_max"} {
		delete(n.Attrs, name)
	}
	return act
}
