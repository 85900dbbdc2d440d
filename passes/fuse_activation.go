package passes

import (
	"maps"
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// fuseActivation puts ReLU and clip onto the contraction before them.
//
//	%c = convolution %x @w @b
//	%y = clamp %c min=0 max=6  →  convolution %x @w @b activation="clamp" act_max=6
//
// Safe: the attribute is applied to the finished result, by the same rule.
func fuseActivation(g *ir.Graph) (bool, error) {
	return rewrite(g, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "relu" && n.Op.Name != "clamp" {
			return nil, nil
		}
		k := n.Inputs[0].Def
		if k == nil || k.Op.Attr("activation") == nil || !e.only(n.Inputs[0]) || k.Str("activation") != "" {
			return nil, nil
		}
		attrs := maps.Clone(k.Attrs)
		if n.Op.Name == "relu" || n.Float("min") == 0 && math.IsInf(n.Float("max"), 1) {
			attrs["activation"] = "relu"
		} else {
			attrs["activation"], attrs["act_min"], attrs["act_max"] = "clamp", n.Float("min"), n.Float("max")
		}
		return e.add(k, k.Op.Name, attrs, k.Inputs...)
	})
}
