package passes

import "github.com/nasc-dev/nasc/ir"

// insertIdentity puts a layer that does nothing yet behind a convolution or
// dense layer and its activation.
//
//	%y = convolution %x @w   →   %y = convolution %x @w
//	                             %z = convolution %y @one groups=C padding=[1,1,1,1]
//
// On pictures it is a depthwise convolution (kernel=3) with 1 at the centre, on
// other values a factor of 1 for each channel. Exact, where values are finite.
func insertIdentity(g *ir.Graph, a Args) (*Grown, error) {
	kernel, err := a.whole("kernel", 3, 1)
	if err != nil {
		return nil, err
	}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			return false, "", nil
		}
		if kernel%2 == 0 {
			return false, "an even kernel has no centre", nil
		}
		end, _, _ := e.layer(n)
		s := end.Type.Shape
		c := s[len(s)-1]
		return true, "", e.after(end, func(v *ir.Value) (*ir.Value, error) {
			if n.Op.Name == "convolution" {
				spatial := make([]int, len(s)-2)
				for i := range spatial {
					spatial[i] = kernel
				}
				return e.conv(n, v, spatial, c, identityWeights, nil)
			}
			one := ir.NewTensor(v.Type.DType, c)
			for i := range c {
				one.Set(i, 1)
			}
			return e.add(n, "multiply", nil, v, e.g.Const(n.Label()+".one", one))
		})
	})
}
