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
// Safe: the attribute is applied to the finished result, by the same rule; a
// bound after one that is there already picks the same number as both in one.
func fuseActivation(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "relu" && n.Op.Name != "clamp" {
			return nil, nil
		}
		x, lo, hi := bounds(n)
		if x == nil || x.Def == nil || x.Def.Op.Attr("activation") == nil || !e.only(x) {
			return nil, nil
		}
		k := x.Def
		attrs := maps.Clone(k.Attrs)
		switch k.Str("activation") {
		case "relu":
			lo, hi = max(lo, 0), max(hi, 0)
		case "clamp":
			a, b := k.Float("act_min"), k.Float("act_max")
			lo, hi = min(max(a, lo), hi), min(max(b, lo), hi)
		}
		if lo == 0 && math.IsInf(hi, 1) {
			attrs["activation"] = "relu"
		} else {
			attrs["activation"], attrs["act_min"], attrs["act_max"] = "clamp", lo, hi
		}
		return e.add(k, k.Op.Name, attrs, k.Inputs...)
	})
}
