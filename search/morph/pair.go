package morph

import (
	"fmt"
	"math"
	"reflect"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// pairs maps the values of one graph to those of another of the same
// structure.
type pairs map[*ir.Value]*ir.Value

// match pairs the values of want with those of have, from the outputs back.
// Besides names and numbers, only the epsilons of batch norms may differ, and
// have may lack biases.
func match(have, want *ir.Graph) (pairs, error) {
	p := pairs{}
	if len(have.Inputs) != len(want.Inputs) || len(have.Outputs) != len(want.Outputs) {
		return nil, &diag.Error{Place: "network @" + have.Name, Found: fmt.Sprintf("%d inputs and %d outputs", len(have.Inputs), len(have.Outputs)), Wanted: fmt.Sprintf("%d and %d", len(want.Inputs), len(want.Outputs))}
	}
	for i, v := range want.Inputs {
		if !v.Type.Equal(have.Inputs[i].Type) {
			return nil, &diag.Error{Place: "input " + v.Name, Found: have.Inputs[i].Type.String(), Wanted: v.Type.String()}
		}
		p[v] = have.Inputs[i]
	}
	for i, v := range want.Outputs {
		if err := p.match(have.Outputs[i], v); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p pairs) match(h, w *ir.Value) error {
	if o, ok := p[w]; ok {
		if o != h {
			return &diag.Error{Place: w.Name, Found: "two values, " + o.Name + " and " + h.Name, Wanted: "one"}
		}
		return nil
	}
	other := func(found string) error {
		return &diag.Error{Place: valueLabel(w), Found: found, Wanted: describe(w)}
	}
	if h == nil || w == nil {
		if h == w {
			return nil
		}
		return &diag.Error{Place: "an operand", Found: fmt.Sprint(h), Wanted: fmt.Sprint(w)}
	}
	if !h.Type.Equal(w.Type) || h.IsConst() != w.IsConst() || (h.Def == nil) != (w.Def == nil) {
		return other(describe(h))
	}
	p[w] = h
	if w.Def == nil {
		if !w.IsConst() {
			return other(describe(h)) // an input in another place
		}
		return nil
	}
	a, b := h.Def, w.Def
	if a.Op != b.Op || len(a.Outputs) != len(b.Outputs) || !sameAttrs(a, b) {
		return other(describe(h))
	}
	for i, v := range b.Inputs {
		if i >= len(a.Inputs) || a.Inputs[i] == nil {
			if v == nil || v.IsConst() && b.Op.In[min(i, len(b.Op.In)-1)].Optional && i == 2 {
				continue
			}
			return other(describe(h))
		}
		if v == nil {
			return other(describe(h) + " with a bias")
		}
		if err := p.match(a.Inputs[i], v); err != nil {
			return err
		}
	}
	for i := len(b.Inputs); i < len(a.Inputs); i++ {
		if a.Inputs[i] != nil {
			return other(describe(h) + " with more operands")
		}
	}
	return nil
}

func valueLabel(v *ir.Value) string {
	if v.Def != nil {
		return v.Def.Label()
	}
	return v.Name
}

func describe(v *ir.Value) string {
	switch {
	case v.IsConst():
		return "constant " + v.Type.String()
	case v.Def == nil:
		return "input " + v.Type.String()
	}
	return v.Def.Op.Name + " " + v.Type.String()
}

// sameAttrs compares what attributes mean: an empty list of strides stands for
// ones.
func sameAttrs(a, b *ir.Node) bool {
	windowed := a.Op.Attr("strides") != nil
	if windowed {
		x, err1 := ir.WindowOf(a)
		y, err2 := ir.WindowOf(b)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(x, y) {
			return false
		}
	}
	for _, s := range a.Op.Attrs {
		if windowed && (s.Name == "strides" || s.Name == "padding" || s.Name == "dilation") || a.Op.Name == "batch_norm_inference" && s.Name == "epsilon" {
			continue
		}
		if !reflect.DeepEqual(attr(a, s), attr(b, s)) {
			return false
		}
	}
	return true
}

func attr(n *ir.Node, s ir.AttrSpec) any {
	if v, ok := n.Attrs[s.Name]; ok {
		return v
	}
	return s.Default
}

// take copies the numbers of the paired constants, and gives the batch norms
// whose epsilon was another.
func (p pairs) take(want *ir.Graph) []*ir.Node {
	for w, h := range p {
		if w.IsConst() {
			w.Const = h.Const.Clone()
		}
	}
	var fresh []*ir.Node
	for _, n := range want.Nodes {
		a := p[n.Outputs[0]].Def
		for i, v := range n.Inputs {
			if v != nil && v.IsConst() && (i >= len(a.Inputs) || a.Inputs[i] == nil) {
				v.Const = ir.NewTensor(v.Type.DType, v.Type.Shape...) // no bias
			}
		}
		if n.Op.Name != "batch_norm_inference" || n.Float("epsilon") == a.Float("epsilon") {
			continue
		}
		fresh = append(fresh, n)
		scale, variance := n.Inputs[1].Const, n.Inputs[4].Const
		from, to := a.Float("epsilon"), n.Float("epsilon")
		for c := range variance.Len() {
			total := variance.At(c) + from
			variance.Set(c, max(0, total-to))
			scale.Set(c, scale.At(c)*math.Sqrt((variance.At(c)+to)/total))
		}
	}
	return fresh
}
