package gradient

import "github.com/nasc-dev/nasc/ir"

// fakes differentiate straight through the rounding (Bengio et al. 2013). For
// scales this is LSQ (Esser et al. 2020), and LSQ+ (Bhalgat et al. 2020) for
// zero points: a scale divides in its own fake_quantize and multiplies in the
// factors of what reads the levels, and the chain rule adds the two.
var fakes = map[string]product{
	"fake_quantize": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		attrs := ir.Attrs{}
		for k, v := range n.Attrs {
			attrs[k] = v
		}
		d := b.multi("fake_quantize_grad", attrs, n.Inputs[0], n.Inputs[1], n.In(2), dy[0])
		out := []*ir.Value{d[0], d[1], nil}
		if z := n.In(2); z != nil {
			out[2] = b.reshape(d[2], z.Type.Shape)
		}
		return out
	},
	"requantize_factor": func(b *builder, n *ir.Node, dy []*ir.Value) []*ir.Value {
		y := n.Outputs[0]
		part := func(i int) *ir.Value { // dy·y/operand
			return b.unstretch(b.div(b.mul(dy[0], y), n.Inputs[i]), n.Inputs[i].Type.Shape)
		}
		out := make([]*ir.Value, 3)
		if b.wants(n, 2) {
			out[2] = b.neg(part(2))
		}
		kind := n.Str("kind")
		for i := range 2 {
			if !b.wants(n, i) {
				continue
			}
			switch zero := b.number(0); kind {
			case "add": // of the greater scale alone
				out[i] = b.where(n.Inputs[i], []string{"GE", "GT"}[i], n.Inputs[1-i], part(i), zero)
			case "share": // 2^14 where a is the greater, else 2^14·a/b
				d := part(i)
				if i == 1 {
					d = b.neg(d)
				}
				out[i] = b.where(n.Inputs[0], "LT", n.Inputs[1], d, zero)
			default:
				out[i] = part(i)
			}
		}
		return out
	},
}
