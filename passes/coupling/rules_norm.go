package coupling

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

func labelSoftmax(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	at, _ := ir.NormAxis(n.Int("axis"), len(x))
	a.fix(x[at], named(n, "normalizes over it"))
	a.axes[n.Out()] = copyAxes(x)
}

// labelBatchNorm is for norms of each channel by itself.
func labelBatchNorm(a *Analysis, n *ir.Node) {
	x := copyAxes(a.of(n.Inputs[0]))
	last := len(x) - 1
	for _, v := range n.Inputs[1:] {
		if v != nil {
			x[last] = a.tie(x[last], a.of(v)[0])
		}
	}
	if n.Op.Name == "instance_norm" {
		a.spatial(n, n.Inputs[0])
	}
	a.axes[n.Out()] = x
}

func labelLayerNorm(a *Analysis, n *ir.Node) {
	x := copyAxes(a.of(n.Inputs[0]))
	from, _ := ir.NormAxis(n.Int("axis"), len(x))
	for i := from; i < len(x); i++ {
		for _, v := range n.Inputs[1:] {
			if v != nil {
				x[i] = a.tie(x[i], a.of(v)[i-from])
			}
		}
		a.even = append(a.even, even{x[i].ids, named(n, "takes mean and variance over it: every channel would need equally many copies")})
	}
	a.axes[n.Out()] = x
}

// labelGroupNorm makes the channels of one group a unit: what is left of a
// group would have another mean.
func labelGroupNorm(a *Analysis, n *ir.Node) {
	x := copyAxes(a.of(n.Inputs[0]))
	last := len(x) - 1
	for _, v := range n.Inputs[1:] {
		if v != nil {
			x[last] = a.tie(x[last], a.of(v)[0])
		}
	}
	a.spatial(n, n.Inputs[0])
	a.grouped(n, x[last], x[last], n.Int("groups"))
	a.axes[n.Out()] = x
}

func fitGroupNorm(r *rewriting, n *ir.Node) error {
	order := r.last(n.Out())
	if order == nil {
		return nil
	}
	s := n.Out().Type.Shape
	g, err := blocks(order, s[len(s)-1], n.Int("groups"))
	if err != nil {
		return err
	}
	r.setAttr(n, "groups", len(g))
	return nil
}

// labelPool is for windows and resizing: channels pass.
func labelPool(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	a.spatial(n, n.Inputs[0])
	a.axes[n.Out()] = lastOnly(n.Out(), x[len(x)-1], named(n, "slides over it"))
}

func labelReduce(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	axes, _ := ir.ReduceAxes(n)
	var out []axis
	for i := range x {
		if !slices.Contains(axes, i) {
			out = append(out, x[i])
			continue
		}
		switch n.Op.Name {
		case "reduce_mean":
			if x[i].ids != nil {
				a.even = append(a.even, even{x[i].ids, named(n, "takes the mean over it: every channel would need equally many copies")})
			}
		case "reduce_sum", "reduce_prod":
			a.once(x[i], named(n, "adds or multiplies over it: copies would count twice"))
		}
		if n.Bool("keep_dims") {
			out = append(out, axis{why: named(n, "reduces it")})
		}
	}
	a.axes[n.Out()] = out
}

func labelArgMax(a *Analysis, n *ir.Node) {
	x := a.of(n.Inputs[0])
	at, _ := ir.NormAxis(n.Int("axis"), len(x))
	a.fix(x[at], named(n, "gives positions on it"))
	out := copyAxes(x)
	if n.Bool("keep_dims") {
		out[at] = axis{why: named(n, "reduces it")}
	} else {
		out = slices.Delete(out, at, at+1)
	}
	a.axes[n.Out()] = out
}
