package passes

import (
	"maps"

	"github.com/nasc-dev/nasc/ir"
)

// foldPad takes zero padding of spatial axes into the convolution after it.
//
//	%p = pad %x low=[0,1,1,0] high=[0,1,1,0]
//	%y = convolution %p @w                     →  convolution %x @w padding=[1,1,1,1]
//
// Safe: a convolution's own padding is zeros (the zero point in q_convolution,
// as pad's is for quantized tensors).
func foldPad(g *ir.Graph) (bool, error) {
	return rewrite(g, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "q_convolution" {
			return nil, nil
		}
		x, perm := transposed(n.Inputs[0]) // layout leaves one between
		if x == nil {
			x = n.Inputs[0]
		}
		p := def(x, "pad")
		if p == nil || p.Str("mode") != "constant" || p.Float("value") != 0 {
			return nil, nil
		}
		low, high := p.Ints("low"), p.Ints("high")
		if perm != nil {
			low, high = permuted(low, perm), permuted(high, perm)
		}
		rank := len(low)
		pad := make([]int, 2*(rank-2))
		copy(pad, n.Ints("padding"))
		for a := range rank {
			if low[a] < 0 || high[a] < 0 || (a == 0 || a == rank-1) && (low[a] != 0 || high[a] != 0) {
				return nil, nil
			}
			if a > 0 && a < rank-1 {
				pad[a-1] += low[a]
				pad[a-1+rank-2] += high[a]
			}
		}
		attrs := maps.Clone(n.Attrs)
		attrs["padding"] = pad
		in := append([]*ir.Value{}, n.Inputs...)
		in[0] = p.Inputs[0]
		if perm != nil {
			var err error
			if in[0], err = e.add(n.Inputs[0].Def, "transpose", ir.Attrs{"permutation": perm}, p.Inputs[0]); err != nil {
				return nil, err
			}
		}
		return e.add(n, n.Op.Name, attrs, in...)
	})
}
