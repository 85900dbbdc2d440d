package passes

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// appendLayer puts one more layer into a dense block (Huang et al. 2017), behind
// the one whose result the concatenation appends:
//
//	%r = relu %x                      →   %r = relu %x
//	%c = convolution %r @w                %c = convolution %r @w
//	%y = concatenate %x %c                %y = concatenate %x %c
//	%z = convolution %y @v                %s = relu %y
//	                                      %d = convolution %s @w.added
//	                                      %t = concatenate %y %d
//	                                      %z = convolution %t @v.more
//
// The new layer is a copy of that one with drawn weights (seed=), fitted to its
// input. It is the identity of the block that changes nothing, not of the
// layer: whoever reads the block has zeros for the new channels. So the function
// stays to the last bit, and a gradient reaches the zeros at once. Readers that
// mix channels otherwise (a flattened picture, a softmax) are refused.
func appendLayer(g *ir.Graph, a Args) (*Grown, error) {
	seed, err := a.whole("seed", 1, 0)
	if err != nil {
		return nil, err
	}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		s := n.Out().Type.Shape
		if n.Op.Name != "concatenate" || len(n.Inputs) != 2 || n.Int("axis") != len(s)-1 || len(s) < 3 {
			return false, "", nil
		}
		layer := e.layerBetween(n.Inputs[0], n.Inputs[1])
		if layer == nil {
			return false, "what it appends is no chain of layers on what it appends it to", nil
		}
		more := n.Inputs[1].Type.Shape[len(s)-1]
		x := &extension{e: e, more: more, inputs: map[*ir.Node][]*ir.Value{}}
		if why := x.readers(n.Out(), s[len(s)-1]); why != "" {
			return false, why, nil
		}
		err := e.after(n.Out(), func(v *ir.Value) (*ir.Value, error) {
			y, err := e.fresh(layer, v, uint64(seed))
			if err != nil {
				return nil, err
			}
			return e.add(n, "concatenate", n.Attrs.Clone(), v, y)
		})
		if err != nil {
			return false, "", err
		}
		for r, in := range x.inputs {
			for i, v := range in {
				if v != nil {
					r.Inputs[i] = v
				}
			}
		}
		if err := g.Sort(); err != nil {
			return false, "", err
		}
		return true, "", g.InferAll()
	})
}

// layerBetween gives the nodes from x to y in order, where they are a chain of
// convolutions, batch norms and activations that nobody else reads.
func (e *growing) layerBetween(x, y *ir.Value) []*ir.Node {
	var out []*ir.Node
	for y != x {
		n := y.Def
		if n == nil || e.reader(y) == nil || len(n.Outputs) != 1 {
			return nil
		}
		switch {
		case n.Op.Name == "convolution":
			win, err := ir.WindowOf(n)
			if err != nil || win.Groups != 1 || !slices.Equal(win.In, win.Out) {
				return nil
			}
		case n.Op.Name == "batch_norm_inference":
		case n.Op.Class == ir.Unary && len(n.Inputs) == 1:
		default:
			return nil
		}
		for _, v := range n.Inputs[1:] {
			if v != nil && !v.IsConst() {
				return nil
			}
		}
		out = append(out, n)
		y = n.Inputs[0]
	}
	slices.Reverse(out)
	if !slices.ContainsFunc(out, func(n *ir.Node) bool { return n.Op.Name == "convolution" }) {
		return nil
	}
	return out
}

// fresh builds a layer anew on v: convolutions are drawn with the variance that
// keeps activations at unit scale (He et al. 2015), norms are neutral.
func (e *growing) fresh(layer []*ir.Node, v *ir.Value, seed uint64) (*ir.Value, error) {
	for _, n := range layer {
		in := []*ir.Value{v}
		c := v.Type.Shape[len(v.Type.Shape)-1]
		for i, w := range n.Inputs[1:] {
			if w == nil {
				in = append(in, nil)
				continue
			}
			shape := w.Type.Shape.Clone()
			switch {
			case n.Op.Name == "batch_norm_inference":
				shape[0] = c
			case i == 0:
				shape[len(shape)-2] = c
			}
			t := ir.NewTensor(w.Type.DType, shape...)
			name := w.Name + ".added"
			switch {
			case n.Op.Name == "batch_norm_inference":
				for k := range t.Len() {
					t.Set(k, neutral[i])
				}
			case i == 0:
				h := fnv.New64a()
				h.Write([]byte(name)) // a hash does not fail
				r := rand.New(rand.NewPCG(seed, h.Sum64()))
				std := math.Sqrt(2 / float64(shape[:len(shape)-1].Elems()))
				for k := range t.Len() {
					t.Set(k, std*r.NormFloat64())
				}
			}
			in = append(in, e.g.Const(name, t))
		}
		var err error
		if v, err = e.add(n, n.Op.Name, n.Attrs.Clone(), in...); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// neutral are scale, bias, mean and variance of a batch norm that changes
// nothing but by its epsilon.
var neutral = [4]float64{1, 0, 0, 1}

// extension collects the operands of those who read a value that gets more
// channels.
type extension struct {
	e      *growing
	more   int
	inputs map[*ir.Node][]*ir.Value // nil entries stay
}

// readers gives each reader of v what it needs for more channels at the given
// place, or says why one cannot have them.
func (x *extension) readers(v *ir.Value, at int) string {
	last := len(v.Type.Shape) - 1
	for _, u := range x.e.uses[v] {
		n := u.Node
		if n == nil {
			return "its channels are an output"
		}
		if x.inputs[n] != nil {
			return "its channels reach " + n.Label() + " by two ways"
		}
		x.inputs[n] = make([]*ir.Value, len(n.Inputs))
		constant := func(i, axis int, value float64) bool {
			w := n.Inputs[i]
			if w == nil || !w.IsConst() {
				return false
			}
			x.inputs[n][i] = x.e.g.Const(w.Name+".more", inserted(w.Const, axis, at, x.more, value))
			return true
		}
		next := func(at int) string { return x.readers(n.Out(), at) }
		why := ""
		switch {
		case u.Index == 0 && (n.Op.Name == "dot" || n.Op.Name == "convolution"):
			if n.Op.Name == "convolution" && n.Int("groups") != 1 {
				why = "its channels are read in groups by " + n.Label()
			} else if !constant(1, len(n.Inputs[1].Type.Shape)-2, 0) {
				why = "its channels are read by computed weights in " + n.Label()
			}
		case u.Index == 0 && n.Op.Name == "batch_norm_inference":
			for i, f := range neutral {
				if !constant(1+i, 0, f) {
					return "its channels are normed by computed numbers in " + n.Label()
				}
			}
			why = next(at)
		case n.Op.Class == ir.Unary && len(n.Inputs) == 1 || n.Op.Name == "max_pool" || n.Op.Name == "average_pool":
			why = next(at)
		case n.Op.Name == "concatenate" && n.Int("axis") == last:
			k := at
			for _, w := range n.Inputs[:u.Index] {
				k += w.Type.Shape[last]
			}
			why = next(k)
		case (n.Op.Name == "reduce_mean" || n.Op.Name == "reduce_max" || n.Op.Name == "reduce_sum") && !slices.Contains(n.Ints("axes"), last) && !slices.Contains(n.Ints("axes"), -1):
			why = next(at)
		default:
			why = "its channels are mixed by " + n.Op.Name + " " + n.Label()
		}
		if why != "" {
			return why
		}
	}
	return ""
}

// inserted gives a tensor with more entries of a value at a place of an axis.
func inserted(t *ir.Tensor, axis, at, more int, value float64) *ir.Tensor {
	s := t.Shape.Clone()
	d := s[axis]
	s[axis] += more
	out := ir.NewTensor(t.DType, s...)
	inner := s[axis+1:].Elems()
	for i := range out.Len() {
		in, k, rest := i%inner, i/inner%s[axis], i/inner/s[axis]
		switch {
		case k < at:
			out.Set(i, t.At((rest*d+k)*inner+in))
		case k < at+more:
			out.Set(i, value)
		default:
			out.Set(i, t.At((rest*d+k-more)*inner+in))
		}
	}
	return out
}
