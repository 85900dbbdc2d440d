package passes

import (
	"math"
	"math/rand/v2"

	"github.com/nasc-dev/nasc/ir"
)

// addSE puts a squeeze-and-excite gate behind a convolution and its
// activation, one that is open.
//
//	%m = reduce_mean %y axes=[1,2]
//	%s = convolution %m @squeeze activation="relu"
//	%e = convolution %s @zero
//	%g = logistic %e
//	%z = multiply %y (%g · 2)
//
// reduction=4 times fewer channels in the gate by default. Exact: logistic of 0
// is ½, and 2·½ is 1. @squeeze is seeded (seed=1), so that @zero has gradients.
func addSE(g *ir.Graph, a Args) (*Grown, error) {
	reduction, err := a.whole("reduction", 4, 1)
	if err != nil {
		return nil, err
	}
	seed, err := a.whole("seed", 1, 0)
	if err != nil {
		return nil, err
	}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" {
			return false, "", nil
		}
		end, _, _ := e.layer(n)
		s := end.Type.Shape
		if len(s) != 4 {
			return false, "its result is no picture", nil
		}
		c := s[3]
		mid := max(1, c/reduction)
		squeeze := ir.NewTensor(end.Type.DType, 1, 1, c, mid)
		r := rand.New(rand.NewPCG(uint64(seed), uint64(c)))
		for i := range squeeze.Len() {
			squeeze.Set(i, float64(float32(r.NormFloat64()*math.Sqrt(2/float64(c)))))
		}
		return true, "", e.after(end, func(v *ir.Value) (*ir.Value, error) {
			two := ir.NewTensor(v.Type.DType)
			two.Set(0, 2)
			x, err := e.add(n, "reduce_mean", ir.Attrs{"axes": []int{1, 2}}, v)
			if err == nil {
				x, err = e.add(n, "convolution", ir.Attrs{"activation": "relu"}, x, e.g.Const(n.Label()+".squeeze", squeeze))
			}
			if err == nil {
				x, err = e.add(n, "convolution", nil, x, e.g.Const(n.Label()+".excite", ir.NewTensor(v.Type.DType, 1, 1, mid, c)))
			}
			if err == nil {
				x, err = e.add(n, "logistic", nil, x)
			}
			if err == nil {
				x, err = e.add(n, "multiply", nil, x, e.g.Const(n.Label()+".two", two))
			}
			if err != nil {
				return nil, err
			}
			return e.add(n, "multiply", nil, v, x)
		})
	})
}
