package passes

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// SimulateOptions steer Simulate.
type SimulateOptions struct {
	QuantizeOptions
	// WeightBits are those of weights: 8 [default] or 4. At 4 the first and the
	// last contraction keep 8, as is usual.
	WeightBits int
}

// Simulate quantizes a canonical float graph as Quantize does, and writes the
// result as a float graph that carries out the same integer arithmetic on
// levels, in which scales, zero points, weights and biases are constants that
// can be trained:
//
//	%y = q_convolution %x @w @b @m  →  %w = fake_quantize @w …
//	                                   %a = convolution %x %w %b
//	                                   %y = fake_quantize %a …
//
// It gives the bits of the quantized graph, and Execute turns it into one.
func Simulate(g *ir.Graph, opt SimulateOptions) (*ir.Graph, *QuantReport, error) {
	if opt.WeightBits == 0 {
		opt.WeightBits = 8
	}
	if opt.WeightBits != 4 && opt.WeightBits != 8 {
		return nil, nil, &diag.Error{Place: "weights", Found: fmt.Sprintf("%d bits", opt.WeightBits), Wanted: "8 or 4"}
	}
	if opt.Dynamic {
		return nil, nil, &diag.Error{Place: "quantization-aware training", Found: "scales found while layers run", Wanted: "static ones, which can be trained"}
	}
	opt.simulate, opt.KeepSoftmax8 = true, false
	if err := opt.fill(g); err != nil {
		return nil, nil, err
	}
	z, err := newQuantizer(g, opt.QuantizeOptions)
	if err != nil {
		return nil, nil, err
	}
	z.report.Samples = opt.Calib.Len()
	if err := z.measured(); err != nil {
		return nil, nil, err
	}
	b := &simBuilder{
		z: z, b: &ir.Builder{G: ir.NewGraph(z.g.Name)}, bits: opt.WeightBits, levels: map[*ir.Value]*ir.Value{}, real: map[*ir.Value]*ir.Value{},
		scales: map[*ir.Value]*ir.Value{}, zeros: map[*ir.Value]*ir.Value{}, roles: z.roles(),
	}
	out, err := b.build()
	if err != nil {
		return nil, nil, err
	}
	z.finishReport(out)
	return out, z.report, out.Verify()
}

// Simulates says whether a graph computes on levels, as Simulate makes it.
func Simulates(g *ir.Graph) bool { return g.OpCounts()["fake_quantize"] > 0 }

// simBuilder is quantBuilder's counterpart for levels.
type simBuilder struct {
	z      *quantizer
	b      *ir.Builder
	bits   int
	levels map[*ir.Value]*ir.Value // float value → its levels
	real   map[*ir.Value]*ir.Value // float value → itself
	scales map[*ir.Value]*ir.Value // class root → scale
	zeros  map[*ir.Value]*ir.Value // class root → zero point, nil for 0
	roles  map[*ir.Node]role
}

func (s *simBuilder) build() (*ir.Graph, error) {
	z := s.z
	for _, v := range z.g.Inputs {
		s.real[v] = s.b.Input(v.Name, v.Type)
	}
	need := z.needed(z.g.Outputs)
	for _, n := range z.g.Nodes {
		if !need[n] || z.p.folded[n] || z.p.absorb[n] {
			continue
		}
		if z.p.int8[n] {
			s.int8(n)
		} else {
			s.float(n)
		}
		if err := s.b.Err(); err != nil {
			return nil, diag.At("simulate "+n.Label(), err)
		}
	}
	g := s.b.G
	for _, v := range z.g.Outputs {
		g.Outputs = append(g.Outputs, s.realOf(v))
	}
	if err := s.b.Err(); err != nil {
		return nil, err
	}
	g.RemoveDead()
	for i, v := range z.g.Outputs {
		if w := g.Outputs[i]; w.Def != nil && w.Name != v.Name {
			if q := s.levels[v]; q != nil && q.Name == v.Name {
				g.Rename(q, v.Name+".q")
			}
			g.Rename(w, v.Name)
		}
	}
	return g, nil
}

// named appends a node and keeps where it came from.
func (s *simBuilder) named(from *ir.Node, op, name string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	y := s.b.Named(op, name, attrs, in...)
	if y.Def != nil && from != nil {
		y.Def.Name = from.Name
	}
	return y
}

// float copies a node that stays as it is.
func (s *simBuilder) float(n *ir.Node) {
	in := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		if v != nil {
			in[i] = s.realOf(v)
		}
	}
	for i, y := range s.b.Multi(n.Op.Name, n.Out().Name, n.Attrs, in...) {
		y.Def.Name = n.Name
		s.real[n.Outputs[i]] = y
	}
}

// realOf gives a value as real numbers.
func (s *simBuilder) realOf(v *ir.Value) *ir.Value {
	if w := s.real[v]; w != nil {
		return w
	}
	if v.IsConst() {
		s.real[v] = s.b.Const(v.Name, v.Const)
	} else {
		s.real[v] = s.named(nil, "multiply", v.Name+".f32", nil, s.levelsOf(v), s.scaleOf(v))
	}
	return s.real[v]
}

// levelsOf gives a value's levels, in the quantization of its class; a
// constant has its own.
func (s *simBuilder) levelsOf(v *ir.Value) *ir.Value {
	if w := s.levels[v]; w != nil {
		return w
	}
	x := s.realOf(v)
	s.levels[v] = s.quantize(nil, v.Name+".q", v, x, s.factor("channel", nil, nil, s.scaleOf(v)), false)
	return s.levels[v]
}

// params gives a value's quantization: its class's, or a constant's own.
func (s *simBuilder) params(v *ir.Value) (root *ir.Value, p quant.Params) {
	if v.IsConst() {
		var o quant.Observer
		o.Add(v.Const.F32())
		return v, quant.Affine(o.Min, o.Max, ir.U8)
	}
	return s.z.p.root(v), s.z.paramsOf(v)
}

func (s *simBuilder) scaleOf(v *ir.Value) *ir.Value {
	root, p := s.params(v)
	if s.scales[root] == nil {
		s.scales[root] = s.b.Const(root.Name+".scale", ir.From([]float32{p.Scale}, 1))
	}
	return s.scales[root]
}

// zeroOf gives the zero point; nil for the u8 zero of what is never negative.
func (s *simBuilder) zeroOf(v *ir.Value) *ir.Value {
	root, p := s.params(v)
	if p.Zero == 0 && p.DType == ir.U8 {
		return nil
	}
	if s.zeros[root] == nil {
		s.zeros[root] = s.b.Const(root.Name+".zero", ir.From([]float32{float32(p.Zero)}, 1))
	}
	return s.zeros[root]
}

func (s *simBuilder) factor(kind string, a, b, out *ir.Value) *ir.Value {
	return s.b.Named("requantize_factor", "factor", ir.Attrs{"kind": kind}, a, b, out)
}

// quantize gives x·factor in the levels of v's class.
func (s *simBuilder) quantize(from *ir.Node, name string, v, x, factor *ir.Value, floor bool) *ir.Value {
	_, p := s.params(v)
	lo, hi := p.DType.Range()
	return s.named(from, "fake_quantize", name, ir.Attrs{"qmin": int(lo), "qmax": int(hi), "floor": floor}, x, factor, s.zeroOf(v))
}

func (s *simBuilder) int8(n *ir.Node) {
	switch s.roles[n] {
	case contraction:
		s.contraction(n)
		return
	case mover:
		s.mover(n)
		return
	case table:
		s.table(n)
		return
	}
	if n.Op.Name == "multiply" && !s.z.p.wants8(s.z.p.result(n)) {
		s.float(n) // a product of levels may be −0, which integers do not have
		if t := s.z.p.tail[n]; t != nil {
			s.float(t)
		}
		return
	}
	var in, scale []*ir.Value
	for _, at := range dataOperands(n, s.roles[n]) {
		v := n.In(at)
		in, scale = append(in, s.levelsOf(v)), append(scale, s.scaleOf(v))
	}
	name := n.Out().Name + ".sum"
	var acc *ir.Value
	var f func(out *ir.Value) *ir.Value
	switch n.Op.Name {
	case "add":
		a := s.b.Named("multiply", n.Out().Name+".a", nil, in[0], s.factor("share", scale[0], scale[1], nil))
		b := s.b.Named("multiply", n.Out().Name+".b", nil, in[1], s.factor("share", scale[1], scale[0], nil))
		acc = s.named(n, "add", name, nil, a, b)
		f = func(out *ir.Value) *ir.Value { return s.factor("add", scale[0], scale[1], out) }
	case "multiply", "dot_general":
		acc = s.named(n, n.Op.Name, name, n.Attrs, in...)
		f = func(out *ir.Value) *ir.Value { return s.factor("product", scale[0], scale[1], out) }
	case "reduce_mean", "average_pool":
		op, count := "average_pool", 1 // of a power of two: the mean is exact
		if n.Op.Name == "reduce_mean" {
			op, count = "reduce_sum", meanCount(n)
		}
		acc = s.named(n, op, name, n.Attrs, in...)
		f = func(out *ir.Value) *ir.Value {
			return s.b.Named("requantize_factor", "factor", ir.Attrs{"kind": "mean", "count": count}, scale[0], nil, out)
		}
	default:
		s.b.Fail(fmt.Errorf("BUG: no levels of %s", n.Op.Name))
		return
	}
	s.emit(n, acc, f)
}

// meanCount is how many elements a mean takes, none of them along the batch.
func meanCount(n *ir.Node) int {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return 1
	}
	count := 1
	for _, a := range axes {
		count *= n.In(0).Type.Shape[a]
	}
	return count
}

// emit brings sums to levels where somebody reads them so, and to real
// numbers otherwise; f gives the factor for a scale, nil for 1.
func (s *simBuilder) emit(n *ir.Node, acc *ir.Value, f func(out *ir.Value) *ir.Value) {
	res := s.z.p.result(n)
	lo, hi := s.z.p.bounds(n)
	wants := s.z.p.wants8(res)
	if wants && (math.IsInf(lo, -1) && math.IsInf(hi, 1) || lo == 0) {
		// A limit above is the quantization's own: its range came from values
		// within it.
		s.levels[res] = s.quantize(n, res.Name, res, acc, f(s.scaleOf(res)), lo == 0)
		return
	}
	y := s.named(n, "multiply", res.Name+".real", nil, acc, f(nil))
	switch {
	case math.IsInf(lo, -1) && math.IsInf(hi, 1):
	case lo == 0 && math.IsInf(hi, 1):
		y = s.b.Named("relu", res.Name+".relu", nil, y)
	default:
		y = s.b.Named("clamp", res.Name+".clamp", ir.Attrs{"min": lo, "max": hi}, y)
	}
	s.real[res] = y
}

func (s *simBuilder) contraction(n *ir.Node) {
	x, sx := s.levelsOf(n.In(0)), s.scaleOf(n.In(0))
	l := s.z.byNode[n]
	w := n.In(1)
	bias := l.bias
	if bias == nil {
		bias = l.spec.Bias
	}
	q, scale, real := 127, slices.Clone(l.scale), quant.Dequantized(l.q, l.scale)
	if s.bits == 4 && n != s.z.layers[0].node && n != s.z.layers[len(s.z.layers)-1].node {
		q, real = 7, l.spec.W
		scale = narrowScales(&l.spec, q)
	}
	sxv := s.z.paramsOf(n.In(0)).Scale
	for c := range scale { // float32 holds the bias's levels with room for the sum
		if bias != nil {
			scale[c] = max(scale[c], float32(math.Abs(float64(bias[c]))/(float64(sxv)*(ir.FakeLevels/2))))
		}
	}
	sw := s.b.Const(w.Name+".scale", ir.From(scale, len(scale)))
	in := []*ir.Value{x, s.b.Named("fake_quantize", w.Name+".q", ir.Attrs{"qmin": -q, "qmax": q}, s.b.Const(w.Name, ir.From(real, w.Const.Shape...)), s.factor("channel", nil, nil, sw))}
	if bias != nil {
		name := w.Name + ".bias"
		if n.In(2) != nil {
			name = n.In(2).Name
		}
		b := s.b.Const(name, ir.From(bias, len(bias)))
		in = append(in, s.b.Named("fake_quantize", name+".q", ir.Attrs{"qmin": -ir.FakeLevels, "qmax": ir.FakeLevels}, b, s.factor("channel", nil, nil, s.factor("channel", sx, sw, nil))))
	}
	attrs := maps.Clone(n.Attrs)
	for _, a := range []string{"activation", "act_min", "act_max"} {
		delete(attrs, a)
	}
	acc := s.named(n, n.Op.Name, n.Out().Name+".sum", attrs, in...)
	s.emit(n, acc, func(out *ir.Value) *ir.Value { return s.factor("channel", sx, sw, out) })
}

// narrowScales gives the scale of each column with the least squared error
// for levels −top … top.
func narrowScales(l *quant.Layer, top int) []float32 {
	out := make([]float32, l.N)
	for c := range out {
		most := 0.0
		for k := range l.K {
			most = max(most, math.Abs(float64(l.W[k*l.N+c])))
		}
		best, at := math.Inf(1), max(most/float64(top), quant.MinScale)
		for t := 1.0; t > 0.3 && most > 0; t -= 0.025 {
			s, e := most/float64(top)*t, 0.0
			for k := range l.K {
				w := float64(l.W[k*l.N+c])
				d := w - s*min(max(math.RoundToEven(w/s), -float64(top)), float64(top))
				e += d * d
			}
			if e < best {
				best, at = e, s
			}
		}
		out[c] = float32(at)
	}
	return out
}

// mover emits the op itself on levels.
func (s *simBuilder) mover(n *ir.Node) {
	in := make([]*ir.Value, len(n.Inputs))
	data := dataOperands(n, mover)
	for i, v := range n.Inputs {
		switch {
		case v == nil:
		case i < len(data) && data[i] == i && n.Op.Name == "concatenate":
			in[i] = s.rescaled(v, n.Out())
		case i == 0:
			in[i] = s.levelsOf(v)
		default:
			in[i] = s.realOf(v)
		}
	}
	for i, y := range s.b.Multi(n.Op.Name, n.Out().Name, n.Attrs, in...) {
		y.Def.Name = n.Name
		s.levels[n.Outputs[i]] = y
	}
}

// rescaled gives v's levels in the quantization of like's class.
func (s *simBuilder) rescaled(v, like *ir.Value) *ir.Value {
	x := s.levelsOf(v)
	if a, _ := s.params(v); a == s.z.p.root(like) {
		return x
	}
	return s.quantize(nil, v.Name+".rescaled", like, x, s.factor("channel", s.scaleOf(v), nil, s.scaleOf(like)), false)
}

// table emits a chain of unary functions between real numbers.
func (s *simBuilder) table(n *ir.Node) {
	chain := s.z.p.chain(n)
	y := s.realOf(chain[0].In(dataOperand(chain[0])))
	for _, k := range chain {
		in := make([]*ir.Value, len(k.Inputs))
		for i, v := range k.Inputs {
			if i == dataOperand(k) {
				in[i] = y
			} else {
				in[i] = s.realOf(v)
			}
		}
		y = s.named(k, k.Op.Name, k.Out().Name+".real", k.Attrs, in...)
	}
	v := n.Out()
	if !s.z.p.wants8(v) {
		s.real[v] = y
		return
	}
	s.levels[v] = s.quantize(n, v.Name, v, y, s.factor("channel", nil, nil, s.scaleOf(v)), false)
}
