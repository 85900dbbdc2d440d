package gradient

import "github.com/nasc-dev/nasc/ir"

var norms = map[string]product{
	"softmax": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return []*ir.Value{b.softmaxGrad(n.Outputs[0], dy[0], axis(n))}
	},
	"log_softmax": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		p := b.op("exponential", nil, n.Outputs[0])
		return []*ir.Value{b.sub(dy[0], b.mul(p, b.sum(dy[0], []int{axis(n)}, true)))}
	},
	"batch_norm_inference": batchNormInference,
	"batch_norm_training":  batchNormTraining,
	"layer_norm": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		s := n.Inputs[0].Type.Shape
		return b.normalized(n, dy[0], s, from(axis(n), len(s)), true)
	},
	"rms_norm": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		s := n.Inputs[0].Type.Shape
		return b.normalized(n, dy[0], s, from(axis(n), len(s)), false)
	},
	"group_norm": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		return b.grouped(n, dy[0], n.Int("groups"))
	},
	"instance_norm": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		s := n.Inputs[0].Type.Shape
		return b.grouped(n, dy[0], s[len(s)-1])
	},
}

// axis is the node's axis as a positive number.
func axis(n *ir.Node) int {
	a := n.Int("axis")
	if a < 0 {
		a += len(n.Inputs[0].Type.Shape)
	}
	return a
}

func from(axis, rank int) []int {
	var axes []int
	for ; axis < rank; axis++ {
		axes = append(axes, axis)
	}
	return axes
}

// softmaxGrad is p·(dp − Σ dp·p).
func (b *builder) softmaxGrad(p, dp *ir.Value, axis int) *ir.Value {
	return b.mul(p, b.sub(dp, b.sum(b.mul(dp, p), []int{axis}, true)))
}

// grouped is normalized for [N, space, groups, channels of a group].
func (b *builder) grouped(n *ir.Node, dy *ir.Value, groups int) []*ir.Value {
	s := n.Inputs[0].Type.Shape
	c := s[len(s)-1]
	return b.normalized(n, dy, ir.Shape{s[0], s[1 : len(s)-1].Elems(), groups, c / groups}, []int{1, 3}, true)
}

// normalized differentiates (x−mean)·rstd·scale + bias over axes of x seen in
// shape view, or x·rstd·scale without centre. With h = (x−mean)·rstd and
// g = dy·scale: dx = rstd·(g − mean g − h·mean(g·h)).
func (b *builder) normalized(n *ir.Node, dy *ir.Value, view ir.Shape, axes []int, centre bool) []*ir.Value {
	full := n.Inputs[0].Type.Shape
	out := make([]*ir.Value, len(n.Inputs))
	if b.wants(n, 2) {
		out[2] = b.unstretch(dy, n.Inputs[2].Type.Shape)
	}
	if !b.wants(n, 0) && !b.wants(n, 1) {
		return out
	}
	d := b.reshape(n.Inputs[0], view)
	if centre {
		d = b.sub(d, b.mean(d, axes))
	}
	rstd := b.op("rsqrt", nil, b.plus(b.mean(b.mul(d, d), axes), float64(n.F32("epsilon"))))
	h := b.mul(d, rstd)
	if b.wants(n, 1) {
		out[1] = b.unstretch(b.mul(dy, b.reshape(h, full)), n.Inputs[1].Type.Shape)
	}
	if !b.wants(n, 0) {
		return out
	}
	g := dy
	if s := n.In(1); s != nil {
		g = b.mul(dy, s)
	}
	g = b.reshape(g, view)
	dx := b.sub(g, b.mul(h, b.mean(b.mul(g, h), axes)))
	if centre {
		dx = b.sub(dx, b.mean(g, axes))
	}
	out[0] = b.reshape(b.mul(dx, rstd), full)
	return out
}

func batchNormInference(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	x, scale, mean, variance, dy := n.Inputs[0], n.Inputs[1], n.Inputs[3], n.Inputs[4], dys[0]
	rstd := b.op("rsqrt", nil, b.plus(variance, float64(n.F32("epsilon"))))
	all := leading(len(x.Type.Shape))
	factor := b.mul(scale, rstd)
	out := make([]*ir.Value, 5)
	if b.wants(n, 0) {
		out[0] = b.mul(dy, factor)
	}
	var sum, dot *ir.Value // Σdy, Σdy·(x−mean)
	if b.wants(n, 2) || b.wants(n, 3) {
		sum = b.sum(dy, all, false)
	}
	if b.wants(n, 1) || b.wants(n, 4) {
		dot = b.sum(b.mul(dy, b.sub(x, mean)), all, false)
	}
	if b.wants(n, 1) {
		out[1] = b.mul(dot, rstd)
	}
	out[2] = sum
	if b.wants(n, 3) {
		out[3] = b.neg(b.mul(sum, factor))
	}
	if b.wants(n, 4) {
		out[4] = b.scale(b.mul(b.mul(dot, factor), b.mul(rstd, rstd)), -0.5)
	}
	return out
}

// batchNormTraining takes no gradient through its second and third result:
// they are kept for inference, not trained.
func batchNormTraining(b *builder, n *ir.Node, dys []*ir.Value) []*ir.Value {
	if dys[0] == nil {
		return nil
	}
	return b.multi("batch_norm_grad", ir.Attrs{"epsilon": n.Float("epsilon")}, n.Inputs[0], n.Inputs[1], n.Outputs[1], n.Outputs[2], dys[0])
}
