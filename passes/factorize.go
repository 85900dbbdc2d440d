package passes

import (
	"context"
	"fmt"
	"maps"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// factorize makes two thin layers of one, by singular values.
//
//	%y = dot %x @w             →   %a = dot %x @w.in          [K,r]
//	                               %y = dot %a @w.out         [r,N]
//	%y = convolution %x @k     →   %a = convolution %x @k.in  [KH,1,Cin,r]
//	                               %y = convolution %a @k.out [1,KW,r,Cout]
//
// The rank is what gives share= of the parameters (0.5 by default), or rank=,
// or the least that keeps energy= of the sum of squares. It changes the
// function, unless nothing is lost; layers that would not get smaller stay.
func factorize(ctx context.Context, g *ir.Graph, a Args, progress func(done, total int)) (bool, error) {
	share, err := a.number("share", 0.5, 0)
	if err != nil {
		return false, err
	}
	rank, err := a.whole("rank", 0, 1)
	if err != nil {
		return false, err
	}
	energy, err := a.number("energy", 0, 0)
	if err != nil {
		return false, err
	}
	if energy > 1 {
		return false, &diag.Error{Place: fmt.Sprintf("energy=%g", energy), Found: "more than all", Wanted: "a share, at most 1"}
	}
	done := map[*ir.Node]bool{}
	total := 0
	for _, n := range g.Nodes {
		if a.takes(n) && separable(n) {
			total++
		}
	}
	met := 0
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if done[n] || !separable(n) {
			return nil, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		done[n] = true
		met++
		progress(met, total)
		f := newSingular(n.Inputs[1].Const)
		if f == nil {
			return nil, nil
		}
		r := rank
		switch {
		case r > 0:
		case energy > 0:
			r = f.rankFor(energy)
		default:
			r = max(1, int(share*float64(f.rows*f.cols)/float64(f.rows+f.cols)))
		}
		y, err := f.build(e, n, r)
		if err == nil && y != nil {
			done[y.Def], done[y.Def.Inputs[0].Def] = true, true
		}
		return y, err
	})
}

// separable says whether a layer is one that two can be made of.
func separable(n *ir.Node) bool {
	switch n.Op.Name {
	case "dot":
		return n.Inputs[1].IsConst()
	case "convolution":
		return n.Inputs[1].IsConst() && n.Int("groups") == 1
	}
	return false
}

// singular are the singular values and vectors of a layer's weights as a matrix
// [cin·KH, KW·cout].
type singular struct {
	w          *ir.Tensor
	kh, kw     int
	rows, cols int
	s          []float64
	u, v       mat.Dense
}

func newSingular(w *ir.Tensor) *singular {
	f := &singular{w: w, kh: 1, kw: 1}
	r := len(w.Shape)
	switch r {
	case 2:
	case 3:
		f.kw = w.Shape[0]
	case 4:
		f.kh, f.kw = w.Shape[0], w.Shape[1]
	default:
		return nil
	}
	cin, cout := w.Shape[r-2], w.Shape[r-1]
	f.rows, f.cols = cin*f.kh, f.kw*cout
	m := mat.NewDense(f.rows, f.cols, nil)
	for y := range f.kh {
		for x := range f.kw {
			for c := range cin {
				for o := range cout {
					v := w.At(((y*f.kw+x)*cin+c)*cout + o)
					if math.IsNaN(v) || math.IsInf(v, 0) {
						return nil
					}
					m.Set(c*f.kh+y, x*cout+o, v)
				}
			}
		}
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return nil
	}
	f.s = svd.Values(nil)
	svd.UTo(&f.u)
	svd.VTo(&f.v)
	return f
}

// rankFor is the least rank that keeps a share of the sum of squares.
func (f *singular) rankFor(energy float64) int {
	total, sum := 0.0, 0.0
	for _, s := range f.s {
		total += s * s
	}
	for i, s := range f.s {
		if sum += s * s; sum >= energy*total {
			return i + 1
		}
	}
	return len(f.s)
}

// build makes the two layers; nil where they would not be smaller than the one.
func (f *singular) build(e *editor, n *ir.Node, rank int) (*ir.Value, error) {
	if rank*(f.rows+f.cols) >= f.rows*f.cols || rank > len(f.s) {
		return nil, nil
	}
	w := n.Inputs[1]
	r := len(w.Type.Shape)
	cin, cout := w.Type.Shape[r-2], w.Type.Shape[r-1]
	first, second := []int{cin, rank}, []int{rank, cout}
	if r == 3 {
		first, second = []int{1, cin, rank}, []int{f.kw, rank, cout}
	} else if r == 4 {
		first, second = []int{f.kh, 1, cin, rank}, []int{1, f.kw, rank, cout}
	}
	p, q := ir.NewTensor(w.Type.DType, first...), ir.NewTensor(w.Type.DType, second...)
	for k := range rank {
		root := math.Sqrt(f.s[k])
		for c := range cin {
			for y := range f.kh {
				p.Set((y*cin+c)*rank+k, f.u.At(c*f.kh+y, k)*root)
			}
		}
		for x := range f.kw {
			for o := range cout {
				q.Set((x*rank+k)*cout+o, f.v.At(x*cout+o, k)*root)
			}
		}
	}
	inner, outer := ir.Attrs{}, maps.Clone(n.Attrs)
	delete(outer, "winograd")
	if r == 4 { // rows by the first, columns by the second
		win, err := ir.WindowOf(n)
		if err != nil {
			return nil, err
		}
		inner["strides"], outer["strides"] = []int{win.Stride[0], 1}, []int{1, win.Stride[1]}
		inner["dilation"], outer["dilation"] = []int{win.Dilation[0], 1}, []int{1, win.Dilation[1]}
		inner["padding"], outer["padding"] = []int{win.Before[0], 0, win.After[0], 0}, []int{0, win.Before[1], 0, win.After[1]}
	}
	v, err := e.add(n, n.Op.Name, inner, n.Inputs[0], e.g.Const(w.Name+".in", p))
	if err != nil {
		return nil, err
	}
	v.Def.Name = ""
	return e.add(n, n.Op.Name, outer, v, e.g.Const(w.Name+".out", q), n.In(2))
}
