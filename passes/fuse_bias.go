package passes

import "github.com/nasc-dev/nasc/ir"

// fuseBias takes constant summands and factors per channel into the weights
// and bias of the contraction before them.
//
//	%d = dot %x @w
//	%y = add %d @b   →  dot %x @w @b
//
// One factor for all channels goes through movements and products to a
// contraction further up: attention's 1/√d ends in the weights of its queries.
// Safe within rounding, where nobody else reads what is scaled.
func fuseBias(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		op := n.Op.Name
		if op == "negate" {
			return negated(e, n)
		}
		if op != "add" && op != "subtract" && op != "multiply" && op != "divide" {
			return nil, nil
		}
		for i := range n.Inputs {
			if i == 1 && (op == "subtract" || op == "divide") { // constant first
				break
			}
			v, k := n.Inputs[i], n.Inputs[1-i]
			if !k.IsConst() || k.Const.DType != ir.F32 || v.Def == nil || !v.Type.Shape.Equal(n.Out().Type.Shape) {
				continue
			}
			shape := v.Type.Shape
			if len(shape) == 0 {
				continue
			}
			c := shape[len(shape)-1]
			if !perChannel(k.Type.Shape, c) {
				continue
			}
			factor, shift := channelAffine(op, k.Const, c)
			if y, err := scaled(e, v, factor, shift); y != nil || err != nil {
				return y, err
			}
			if k.Const.Len() == 1 && (op == "multiply" || op == "divide") {
				if done, err := scaleFurtherUp(e, v, factor[0]); done || err != nil {
					return v, err
				}
			}
		}
		return nil, nil
	})
}

// perChannel says whether a constant's shape varies along the last axis only.
func perChannel(s ir.Shape, c int) bool {
	if len(s) == 0 {
		return c > 0
	}
	for _, d := range s[:len(s)-1] {
		if d != 1 {
			return false
		}
	}
	return c > 0 && (s[len(s)-1] == c || s[len(s)-1] == 1)
}

// channelAffine gives what op does with a constant for c channels, as a factor and a
// summand for each.
func channelAffine(op string, k *ir.Tensor, c int) (factor, shift []float64) {
	factor, shift = make([]float64, c), make([]float64, c)
	for i := range c {
		x := k.At(i % k.Len())
		factor[i] = 1
		switch op {
		case "add":
			shift[i] = x
		case "subtract":
			shift[i] = -x
		case "multiply":
			factor[i] = x
		case "divide":
			factor[i] = 1 / x
		}
	}
	return factor, shift
}

// negated takes a change of sign into the contraction before it.
func negated(e *editor, n *ir.Node) (*ir.Value, error) {
	s := n.Out().Type.Shape
	if len(s) == 0 || s[len(s)-1] <= 0 {
		return nil, nil
	}
	factor := make([]float64, s[len(s)-1])
	for i := range factor {
		factor[i] = -1
	}
	return scaled(e, n.Inputs[0], factor, make([]float64, len(factor)))
}

// scaleFurtherUp multiplies v by s at a contraction that v comes from by way of
// movements and products, and says whether it found one.
func scaleFurtherUp(e *editor, v *ir.Value, s float64) (bool, error) {
	n := v.Def
	if n == nil || !e.only(v) {
		return false, nil
	}
	operands := 0 // of which one takes the factor
	switch n.Op.Name {
	case "reshape", "transpose":
		operands = 1
	case "dot_general":
		operands = 2
	}
	for _, x := range n.Inputs[:operands] {
		if x.IsConst() || len(x.Type.Shape) == 0 || x.Type.Shape[len(x.Type.Shape)-1] <= 0 {
			continue
		}
		c := x.Type.Shape[len(x.Type.Shape)-1]
		factor := make([]float64, c)
		for j := range factor {
			factor[j] = s
		}
		y, err := scaled(e, x, factor, make([]float64, c))
		if err != nil {
			return false, err
		}
		if y != nil {
			e.replace(x, y)
			return true, nil
		}
		if done, err := scaleFurtherUp(e, x, s); done || err != nil {
			return done, err
		}
	}
	return false, nil
}
