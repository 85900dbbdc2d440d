package passes

import (
	"context"
	"math"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// deepen puts a layer behind a convolution or dense layer (Net2Deeper).
//
//	%c = convolution %x @w activation="relu"   →   %c = convolution %x @w activation="relu"
//	                                               %d = convolution %c @one activation="relu"
//
// @one is the identity: 1 at the centre, the extent and groups of @w, or of
// kernel=. Where the layer has a batch norm, the new one gets one whose mean and
// variance are those of its input, measured, or with norm=unit 0 and 1, for a
// caller that measures on data. Safe where the activation changes
// nothing the second time (ReLU, clip); elsewhere a residual block is put in
// whose last weights are 0:
//
//	%d = convolution %c @one activation="relu"
//	%e = convolution %d @zero
//	%y = add %c %e
func deepen(g *ir.Graph, a Args) (*Grown, error) {
	kernel, err := a.whole("kernel", 0, 1)
	if err != nil {
		return nil, err
	}
	measured := true
	switch v, ok := a["norm"]; {
	case ok && v == "unit":
		measured = false
	case ok && v != "measured":
		return nil, &diag.Error{Place: "norm=" + v, Found: strconv.Quote(v), Wanted: "measured or unit"}
	}
	stats := &statistics{g: g.Clone(), of: map[string]moments{}}
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" && n.Op.Name != "dot" {
			return false, "", nil
		}
		end, bn, act := e.layer(n)
		w := n.Inputs[1].Type.Shape
		spatial := make([]int, len(w)-2)
		groups := 1
		if n.Op.Name == "convolution" {
			groups = n.Int("groups")
			for i := range spatial {
				if spatial[i] = w[i]; kernel > 0 {
					spatial[i] = kernel
				}
				if spatial[i]%2 == 0 {
					if kernel > 0 {
						return false, "an even kernel has no centre", nil
					}
					spatial[i] = 1
				}
			}
		}
		twice := act != nil && act.op != "" && (act.op == "relu" || act.op == "clamp")
		var put func(v *ir.Value) (*ir.Value, error)
		if !twice {
			put = func(v *ir.Value) (*ir.Value, error) {
				op := "relu"
				if act != nil {
					op = act.op
				}
				d, err := e.conv(n, v, spatial, groups, identityWeights, nil)
				if err != nil {
					return nil, err
				}
				if act == nil {
					d, err = e.add(n, op, nil, d)
				} else {
					d, err = e.add(n, act.op, act.attrs, d)
				}
				if err != nil {
					return nil, err
				}
				z, err := e.conv(n, d, spatial, groups, nil, nil)
				if err != nil {
					return nil, err
				}
				return e.add(n, "add", nil, v, z)
			}
		} else {
			var m moments
			if bn != nil && !measured {
				m = unitMoments(end)
			} else if bn != nil {
				if m, err = stats.at(end.Name); err != nil {
					return false, "", err
				}
				if m.mean == nil {
					return false, "its values were not measured", nil
				}
			}
			put = func(v *ir.Value) (*ir.Value, error) {
				d, err := e.conv(n, v, spatial, groups, identityWeights, nil)
				if err != nil {
					return nil, err
				}
				if bn != nil {
					if d, err = e.normAs(n, d, m); err != nil {
						return nil, err
					}
				}
				return e.add(n, act.op, act.attrs, d)
			}
		}
		return true, "", e.after(end, put)
	})
}

// activation is what follows a layer: an op with its attributes.
type activation struct {
	op    string
	attrs ir.Attrs
}

// layer follows a contraction through batch norm and activation where nobody
// else reads what is between.
func (e *growing) layer(n *ir.Node) (end *ir.Value, bn *ir.Node, act *activation) {
	end = n.Out()
	switch n.Str("activation") {
	case "relu":
		return end, nil, &activation{"relu", nil}
	case "clamp":
		return end, nil, &activation{"clamp", ir.Attrs{"min": n.Float("act_min"), "max": n.Float("act_max")}}
	}
	r := e.reader(end)
	if r != nil && r.Op.Name == "batch_norm_inference" && r.Inputs[0] == end {
		bn, end = r, r.Out()
		r = e.reader(end)
	}
	if r != nil && r.Op.Class == ir.Unary && len(r.Inputs) == 1 && r.Out().Type.DType == end.Type.DType {
		switch r.Op.Name { // those that are activations
		case "relu", "clamp", "leaky_relu", "tanh", "logistic", "hard_sigmoid", "hard_swish", "silu", "gelu", "elu", "selu", "softplus", "mish":
			return r.Out(), bn, &activation{r.Op.Name, r.Attrs.Clone()}
		}
	}
	return end, bn, nil
}

// identityWeights writes an identity into a kernel [taps…, cin/groups, cout].
func identityWeights(t *ir.Tensor, spatial []int) {
	s := t.Shape
	cin, cout := s[len(s)-2], s[len(s)-1]
	centre := 0
	for _, k := range spatial {
		centre = centre*k + k/2
	}
	for c := range cout {
		t.Set((centre*cin+c%cin)*cout+c, 1)
	}
}

// conv adds a convolution, or for no spatial axes and a value that is no
// picture a dense layer, of as many channels as v has, with stride 1 and
// padding that keeps the extent. fill writes the weights, which are 0 before.
func (e *growing) conv(from *ir.Node, v *ir.Value, spatial []int, groups int, fill func(*ir.Tensor, []int), bias *ir.Value) (*ir.Value, error) {
	s := v.Type.Shape
	c := s[len(s)-1]
	t := ir.NewTensor(v.Type.DType, append(append([]int{}, spatial...), c/groups, c)...)
	if fill != nil {
		fill(t, spatial)
	}
	name := from.Inputs[1].Name
	if from.Name != "" {
		name = from.Name
	}
	w := e.g.Const(name+".added", t)
	e.grown.Copied = append(e.grown.Copied, everyElement(w))
	if len(spatial) == 0 {
		return e.add(from, "dot", nil, v, w, bias)
	}
	pad := make([]int, 2*len(spatial))
	for i, k := range spatial {
		pad[i], pad[len(spatial)+i] = k/2, k/2
	}
	return e.add(from, "convolution", ir.Attrs{"padding": pad, "groups": groups}, v, w, bias)
}

// everyElement offers all of a constant to noise.
func everyElement(w *ir.Value) coupling.Copied {
	c := coupling.Copied{Const: w, Elements: make([]int, w.Const.Len())}
	for i := range c.Elements {
		c.Elements[i] = i
	}
	return c
}

// moments are mean and variance of each channel.
type moments struct{ mean, variance []float64 }

// normAs adds a batch norm with the given statistics that changes nothing.
func (e *growing) normAs(from *ir.Node, v *ir.Value, m moments) (*ir.Value, error) {
	name := from.Label() + ".added"
	scale, mean, variance := m.nothing(v.Type.DType)
	// Bias and mean are equal numbers and two constants: one is trained.
	y, err := e.add(from, "batch_norm_inference", ir.Attrs{"epsilon": addedEpsilon}, v, e.g.Const(name+".scale", scale),
		e.g.Const(name+".bias", mean), e.g.Const(name+".mean", mean.Clone()), e.g.Const(name+".variance", variance))
	if err == nil {
		e.grown.Norms = append(e.grown.Norms, y.Def)
	}
	return y, err
}

// addedEpsilon is that of added batch norms: near to the usual 1e-5, and a power
// of two, so that it can be taken from the variance without rounding.
const addedEpsilon = 1.0 / (1 << 17)

// nothing gives scale, mean and variance of a norm that changes nothing: the
// scale is rounded so that scale² is the variance with epsilon to the last bit.
func (m moments) nothing(d ir.DType) (scale, mean, variance *ir.Tensor) {
	c := len(m.mean)
	scale, mean, variance = ir.NewTensor(d, c), ir.NewTensor(d, c), ir.NewTensor(d, c)
	for i := range c {
		sd := shortFloat(math.Sqrt(m.variance[i]))
		if sd*sd < 2*addedEpsilon { // a channel that is constant so far
			sd = 1
		}
		scale.Set(i, sd)
		variance.Set(i, sd*sd-addedEpsilon)
		mean.Set(i, m.mean[i])
	}
	return scale, mean, variance
}

// renormalize gives added norms the statistics of their inputs on data; what
// they compute stays nothing.
func renormalize(ctx context.Context, g *ir.Graph, norms []*ir.Node, in [][]*ir.Tensor) error {
	stats := &statistics{g: g, in: in, of: map[string]moments{}}
	if err := stats.measure(ctx); err != nil {
		return err
	}
	for _, n := range norms {
		m, ok := stats.of[n.Inputs[0].Name]
		if !ok || len(m.mean) != n.Inputs[1].Const.Len() {
			continue
		}
		scale, mean, variance := m.nothing(n.Inputs[1].Type.DType)
		n.Inputs[1].Const, n.Inputs[2].Const, n.Inputs[4].Const = scale, mean, variance
		n.Inputs[3].Const = mean.Clone()
	}
	return nil
}

// unitMoments are a mean of 0 and a variance of 1 for each channel.
func unitMoments(v *ir.Value) moments {
	s := v.Type.Shape
	m := moments{make([]float64, s[len(s)-1]), make([]float64, s[len(s)-1])}
	for i := range m.variance {
		m.variance[i] = 1
	}
	return m
}

// shortFloat rounds to 11 bits, so that the square is a float32.
func shortFloat(x float64) float64 {
	f, exp := math.Frexp(x)
	return math.Ldexp(math.Round(f*2048)/2048, exp)
}
