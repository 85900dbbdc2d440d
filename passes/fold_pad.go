package passes

import (
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// foldPad takes padding of spatial axes into the convolution or pool after it.
//
//	%p = pad %x low=[0,1,1,0] high=[0,1,1,0]
//	%y = convolution %p @w                     →  convolution %x @w padding=[1,1,1,1]
//
// Safe: a convolution's own padding is zeros (the zero point in q_convolution,
// as pad's is for quantized tensors); an average that counts its padding adds
// zeros; a maximum with zeros of what is never negative, or with −Inf, is the
// maximum without them.
func foldPad(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		switch n.Op.Name {
		case "convolution", "q_convolution", "average_pool", "max_pool":
		default:
			return nil, nil
		}
		x, perm := transposed(n.Inputs[0]) // layout leaves one between
		if x == nil {
			x = n.Inputs[0]
		}
		p := def(x, "pad")
		if p == nil || p.Str("mode") != "constant" || !foldsInto(p, n) {
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
		if kernel := n.Op.Attr("kernel"); kernel != nil { // a pool's window must hold more than padding
			for i, k := range append(n.Ints("kernel"), n.Ints("kernel")...) {
				if pad[i] >= k {
					return nil, nil
				}
			}
		}
		if n.Op.Name == "average_pool" {
			attrs["count_include_pad"] = true
		}
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

// foldsInto says whether what p pads with is what n's own padding stands for.
func foldsInto(p, n *ir.Node) bool {
	v := p.Float("value")
	own := slices.ContainsFunc(n.Ints("padding"), func(i int) bool { return i != 0 })
	switch n.Op.Name {
	case "average_pool":
		return v == 0 && (n.Bool("count_include_pad") || !own)
	case "max_pool":
		for _, d := range n.Ints("dilation") {
			if d != 1 {
				return false
			}
		}
		// What n pads by itself counts as −Inf beside p's zeros.
		return p.Inputs[0].Type.DType == ir.F32 && (math.IsInf(v, -1) || v == 0 && neverNegative(p.Inputs[0]))
	}
	return v == 0
}

// neverNegative says whether a value's definition shows that it is 0 or more
// (or NaN).
func neverNegative(v *ir.Value) bool {
	n := v.Def
	if n == nil {
		return false
	}
	switch n.Op.Name {
	case "relu", "logistic", "hard_sigmoid", "abs", "exponential", "sqrt", "softmax":
		return true
	case "clamp":
		return n.Float("min") >= 0
	case "convolution", "dot":
		return n.Str("activation") == "relu" || n.Str("activation") == "clamp" && n.Float("act_min") >= 0
	case "reshape", "transpose", "max_pool", "average_pool", "slice":
		return neverNegative(n.Inputs[0])
	case "concatenate", "add", "multiply", "maximum":
		return !slices.ContainsFunc(n.Inputs, func(x *ir.Value) bool { return !neverNegative(x) })
	}
	return false
}
