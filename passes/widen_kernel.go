package passes

import (
	"maps"

	"github.com/nasc-dev/nasc/ir"
)

// widenKernel puts a ring of zeros around the kernel of a convolution.
//
//	%y = convolution %x @w padding=[0,0,0,0]   →   %y = convolution %x @w padding=[1,1,1,1]
//
// with @w [1,1,…] become [3,3,…]; by=1 rings (the default), or up to kernel=.
// Exact: products with 0 are added, where the input is finite.
func widenKernel(g *ir.Graph, a Args) (*Grown, error) {
	by, err := a.whole("by", 1, 1)
	if err != nil {
		return nil, err
	}
	to, err := a.whole("kernel", 0, 1)
	if err != nil {
		return nil, err
	}
	return convSites(g, a, func(e *growing, n *ir.Node, win ir.Window) (bool, string, error) {
		r := len(win.Kernel)
		rings, before, after := make([]int, r), make([]int, r), make([]int, r)
		for i, k := range win.Kernel {
			if rings[i] = by; to > 0 {
				if rings[i] = (to - k) / 2; rings[i] < 0 || (to-k)%2 != 0 || to == k {
					return false, "the kernel cannot grow to this by whole rings", nil
				}
			}
			before[i], after[i] = win.Before[i]+rings[i]*win.Dilation[i], win.After[i]+rings[i]*win.Dilation[i]
		}
		n.Inputs[1] = e.g.Const(n.Inputs[1].Name, ringed(n.Inputs[1].Const, rings))
		n.Attrs = maps.Clone(n.Attrs)
		delete(n.Attrs, "winograd")
		n.SetAttr("padding", append(before, after...))
		return true, "", n.Infer()
	})
}

// ringed puts zeros around a kernel [taps…, cin, cout].
func ringed(w *ir.Tensor, rings []int) *ir.Tensor {
	shape := w.Shape.Clone()
	for i, k := range rings {
		shape[i] += 2 * k
	}
	return placed(w, shape, rings, nil)
}

// placed writes a kernel into a larger one of zeros, its first tap at the given
// place and its taps so far apart (nil: side by side).
func placed(w *ir.Tensor, shape ir.Shape, at, apart []int) *ir.Tensor {
	t := ir.NewTensor(w.DType, shape...)
	r := len(shape) - 2
	inner := shape[r:].Elems()
	taps := w.Shape[:r].Elems()
	for k := range taps {
		to, rest, step := 0, k, 1
		for i := r - 1; i >= 0; i-- {
			p, d := rest%w.Shape[i], 1
			rest /= w.Shape[i]
			if apart != nil {
				d = apart[i]
			}
			to += (at[i] + p*d) * step
			step *= shape[i]
		}
		for j := range inner {
			t.Set(to*inner+j, w.At(k*inner+j))
		}
	}
	return t
}
