package passes

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
	"github.com/nasc-dev/nasc/quant"
)

// netMaker builds test networks with random weights of sensible size.
type netMaker struct {
	*ir.Builder
	r *rand.Rand
	n int
}

func newNet(name string, seed uint64) *netMaker {
	return &netMaker{Builder: ir.NewBuilder(name), r: rand.New(rand.NewPCG(seed, 1))}
}

func (m *netMaker) random(std float64, shape ...int) *ir.Value {
	t := ir.NewTensor(ir.F32, shape...)
	for i := range t.F32() {
		t.F32()[i] = float32(m.r.NormFloat64() * std)
	}
	m.n++
	return m.Const(fmt.Sprintf("c%d", m.n), t)
}

// conv is a same-padded convolution of k×k.
func (m *netMaker) conv(x *ir.Value, k, cout, groups, stride int, attrs ir.Attrs) *ir.Value {
	cin := x.Type.Shape[3] / groups
	a := ir.Attrs{"padding": []int{k / 2, k / 2, k / 2, k / 2}, "groups": groups, "strides": []int{stride, stride}}
	for name, v := range attrs {
		a[name] = v
	}
	return m.Op("convolution", a, x, m.random(1.4/math.Sqrt(float64(k*k*cin)), k, k, cin, cout), m.random(0.1, cout))
}

func (m *netMaker) dot(x *ir.Value, n int) *ir.Value {
	k := x.Type.Shape[len(x.Type.Shape)-1]
	return m.Op("dot", nil, x, m.random(1/math.Sqrt(float64(k)), k, n), m.random(0.1, n))
}

func (m *netMaker) graph(t *testing.T, out ...*ir.Value) *ir.Graph {
	t.Helper()
	g, err := m.Graph(out...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var relu6 = ir.Attrs{"activation": "clamp", "act_min": 0.0, "act_max": 6.0}

// mobileNet has depthwise convolutions, a linear bottleneck with a residual,
// squeeze-excite, hard swish, and a dense head.
func mobileNet(t *testing.T) *ir.Graph {
	m := newNet("mobile", 1)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 12, 12, 3))
	s := m.conv(x, 3, 8, 1, 2, nil)
	s = m.Op("hard_swish", nil, s)
	e := m.conv(s, 1, 24, 1, 1, relu6)
	d := m.conv(e, 3, 24, 24, 1, relu6)
	gate := m.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}}, d)
	gate = m.conv(gate, 1, 6, 1, 1, ir.Attrs{"activation": "relu"})
	gate = m.conv(gate, 1, 24, 1, 1, nil)
	gate = m.Op("multiply", nil, gate, m.Const("half", ir.Scalar(float32(0.5)))) // one table with what follows
	gate = m.Op("hard_sigmoid", nil, gate)
	d = m.Op("multiply", nil, d, gate)
	p := m.conv(d, 1, 8, 1, 1, nil)
	y := m.Op("add", nil, p, s)
	y = m.Op("max_pool", ir.Attrs{"kernel": []int{2, 2}, "strides": []int{2, 2}}, y)
	y = m.Op("reduce_mean", ir.Attrs{"axes": []int{1, 2}, "keep_dims": false}, y)
	return m.graph(t, m.Op("softmax", nil, m.dot(y, 10)))
}

// dense has concatenations whose parts are read twice, an average pool with
// ragged edges, a linear resize and a relu after an add.
func denseNet(t *testing.T) *ir.Graph {
	m := newNet("dense", 2)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 10, 10, 4))
	a := m.conv(x, 3, 6, 1, 1, ir.Attrs{"activation": "relu"})
	b := m.conv(a, 3, 6, 1, 1, ir.Attrs{"activation": "relu"})
	c := m.Op("concatenate", ir.Attrs{"axis": 3}, a, b)
	n := m.Op("batch_norm_inference", nil, c, m.random(1, 12), m.random(0.3, 12), m.random(0.3, 12), m.Const("var", ones(12)))
	n = m.Op("relu", nil, n)
	d := m.conv(n, 3, 12, 1, 1, nil)
	d = m.Op("relu", nil, m.Op("add", nil, d, c))
	d = m.Op("average_pool", ir.Attrs{"kernel": []int{3, 3}, "strides": []int{2, 2}, "padding": []int{1, 1, 1, 1}}, d)
	d = m.Op("resize", ir.Attrs{"size": []int{10, 10}, "mode": "linear"}, d)
	d = m.Op("pad", ir.Attrs{"low": []int{0, 1, 0, 0}, "high": []int{0, 0, 1, 0}}, d)
	d = m.Op("leaky_relu", nil, d)
	return m.graph(t, m.conv(d, 3, 5, 1, 1, nil))
}

// segmenter goes up again by transposed convolutions: stride and kernel 2, and
// phases of unlike windows with a residual behind.
func segmenter(t *testing.T) *ir.Graph {
	m := newNet("segmenter", 4)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 8, 8, 3))
	a := m.conv(x, 3, 12, 1, 1, ir.Attrs{"activation": "relu"})
	b := m.conv(a, 3, 16, 1, 2, ir.Attrs{"activation": "relu"})
	c := m.Op("convolution_transpose", ir.Attrs{"strides": []int{2, 2}, "padding": []int{1, 1, 1, 1}, "output_padding": []int{1, 1}}, b, m.random(0.2, 3, 3, 16, 12), m.random(0.1, 12))
	c = m.Op("add", nil, m.Op("relu", nil, c), a)
	d := m.Op("convolution_transpose", ir.Attrs{"strides": []int{2, 2}}, c, m.random(0.3, 2, 2, 12, 1), m.random(0.1, 1))
	return m.graph(t, m.Op("logistic", nil, d))
}

func ones(n int) *ir.Tensor {
	t := ir.NewTensor(ir.F32, n)
	for i := range t.F32() {
		t.F32()[i] = 1
	}
	return t
}

// encoder is one transformer layer with an attention mask as second input.
func encoder(t *testing.T) *ir.Graph { return encoderOf(t, 6) }

func encoderOf(t *testing.T, tokens int) *ir.Graph {
	m := newNet("encoder", 3)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, tokens, 16))
	mask := m.Input("mask", ir.T(ir.F32, ir.Batch, 1, 1, tokens))
	h := m.Op("layer_norm", nil, x, m.random(1, 16), m.random(0.2, 16))
	heads := func() *ir.Value {
		v := m.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, tokens, 2, 8}}, m.dot(h, 16))
		return m.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, v)
	}
	a := m.Op("attention", ir.Attrs{"scale": 1 / math.Sqrt(8)}, heads(), heads(), heads(), mask)
	a = m.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, tokens, 16}}, m.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 1, 3}}, a))
	h = m.Op("add", nil, h, m.dot(a, 16))
	h = m.Op("layer_norm", nil, h, m.random(1, 16), m.random(0.2, 16))
	f := m.dot(m.Op("gelu", nil, m.dot(h, 32)), 16)
	return m.graph(t, m.Op("layer_norm", nil, m.Op("add", nil, h, f), m.random(1, 16), m.random(0.2, 16)))
}

func samplesFor(g *ir.Graph, n int, seed uint64) SampleList {
	r := rand.New(rand.NewPCG(seed, 2))
	var out SampleList
	for range n {
		var in []*ir.Tensor
		for _, v := range g.Inputs {
			t := ir.NewTensor(ir.F32, v.Type.Shape.With(1)...)
			for i := range t.F32() {
				t.F32()[i] = float32(r.NormFloat64())
				if v.Name == "mask" {
					t.F32()[i] = float32(-10000 * r.IntN(2))
				}
			}
			if v.Name == "mask" {
				t.F32()[0] = 0
			}
			in = append(in, t)
		}
		out = append(out, in)
	}
	return out
}

func runOn(t *testing.T, g *ir.Graph, in []*ir.Tensor) []*ir.Tensor {
	t.Helper()
	s, err := ir.Specialize(g, in[0].Shape[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := eval.Run(context.Background(), s, in, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Outputs
}

// sqnr compares two graphs on samples.
func sqnr(t *testing.T, f, q *ir.Graph, s SampleList) float64 {
	t.Helper()
	var sig, noise float64
	for _, in := range s {
		a, b := runOn(t, f, in), runOn(t, q, in)
		for k := range a {
			for i, v := range a[k].F32() {
				d := float64(v - b[k].F32()[i])
				sig += float64(v) * float64(v)
				noise += d * d
			}
		}
	}
	return 10 * math.Log10(sig/noise)
}

// noPairs fails where a dequantized tensor is quantized again with nothing
// between.
func noPairs(t *testing.T, g *ir.Graph) {
	t.Helper()
	for _, n := range g.Nodes {
		if n.Op.Name == "uniform_quantize" && n.In(0).Def != nil && n.In(0).Def.Op.Name == "uniform_dequantize" {
			t.Errorf("%s: a dequantize-quantize pair is left", n.Label())
		}
	}
}

func TestQuantizeNetworks(t *testing.T) {
	for _, c := range []struct {
		name  string
		g     *ir.Graph
		least float64        // dB
		ops   map[string]int // how many of these the result has
	}{
		{"mobile", mobileNet(t), 25, map[string]int{
			"q_convolution": 6, "q_lookup": 2, "q_add": 1, "q_multiply": 1, "q_reduce_mean": 2, "max_pool": 1, "q_dot": 1,
			"uniform_quantize": 1, "uniform_dequantize": 0, "softmax": 1, "relu": 0,
		}},
		{"dense", denseNet(t), 25, map[string]int{
			"q_convolution": 5, "concatenate": 1, "q_add": 1, "q_average_pool": 1, "q_resize": 1, "pad": 1,
			"uniform_quantize": 1, "uniform_dequantize": 0, "relu": 0, "batch_norm_inference": 0,
		}},
		{"segmenter", segmenter(t), 25, map[string]int{
			"q_convolution": 2, "q_convolution_transpose": 2, "q_add": 1, "relu": 0, "logistic": 1, "uniform_dequantize": 0,
		}},
		{"encoder", encoder(t), 22, map[string]int{
			"q_dot": 6, "q_dot_general": 2, "softmax": 1, "layer_norm": 3, "gelu": 0, "q_lookup": 1,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, rounding := range []Rounding{Nearest, GPTQ} {
				q, r, err := Quantize(c.g, QuantizeOptions{Calib: samplesFor(c.g, 24, 5), Rounding: rounding})
				if err != nil {
					t.Fatal(err)
				}
				noPairs(t, q)
				if s := r.Int8MACShare(); s < 0.999 {
					t.Errorf("%s: int8_mac_share %v: %v", rounding, s, r.Notes)
				}
				db := sqnr(t, c.g, q, samplesFor(c.g, 8, 77))
				t.Logf("%s: %.1f dB, %d channels equalized", rounding, db, r.Equalized)
				if db < c.least {
					t.Errorf("%s: %.1f dB, wanted %v", rounding, db, c.least)
				}
				got := q.OpCounts()
				for op, want := range c.ops {
					if got[op] != want {
						t.Errorf("%s: %d %s, wanted %d", rounding, got[op], op, want)
					}
				}
				if q.Outputs[0].Name != c.g.Outputs[0].Name || q.Inputs[0].Name != c.g.Inputs[0].Name {
					t.Errorf("names of inputs or outputs changed: %v -> %v", c.g.Outputs[0], q.Outputs[0])
				}
			}
		})
	}
}

// Dense layers with dynamic scales stand between f32 tensors; convolutions
// before them are as ever.
func TestQuantizeDynamic(t *testing.T) {
	e := encoder(t)
	q, r, err := Quantize(e, QuantizeOptions{Calib: samplesFor(e, 24, 5), Dynamic: true})
	if err != nil {
		t.Fatal(err)
	}
	for op, want := range map[string]int{"dynamic_dot": 6, "attention": 1, "gelu": 1, "uniform_quantize": 0, "q_dot": 0, "q_multiply": 0, "q_lookup": 0} {
		if got := q.OpCounts()[op]; got != want {
			t.Errorf("%d %s, wanted %d", got, op, want)
		}
	}
	static, _, err := Quantize(e, QuantizeOptions{Calib: samplesFor(e, 24, 5)})
	if err != nil {
		t.Fatal(err)
	}
	a, b := sqnr(t, e, q, samplesFor(e, 8, 77)), sqnr(t, e, static, samplesFor(e, 8, 77))
	t.Logf("dynamic %.1f dB, static %.1f dB", a, b)
	if a < 35 || a < b+2 {
		t.Errorf("dynamic %.1f dB, static %.1f dB", a, b)
	}
	products := int64(0)
	for _, l := range r.Layers {
		if l.Op == "attention" {
			products += l.MACs
		}
	}
	if r.Int8MACs != r.MACs-products || products == 0 {
		t.Errorf("%d of %d MACs are int8, %d are products of activations", r.Int8MACs, r.MACs, products)
	}
	g := mobileNet(t)
	q, r, err = Quantize(g, QuantizeOptions{Calib: samplesFor(g, 24, 5), Dynamic: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := q.OpCounts(); n["dynamic_dot"] != 1 || n["q_convolution"] != 6 || r.Int8MACShare() != 1 {
		t.Errorf("%v, share %v", n, r.Int8MACShare())
	}
	noPairs(t, q)
}

// A mover of a constant that nothing folded stays f32, and so does what joins it
// with activations.
func TestQuantizeConstantMover(t *testing.T) {
	m := newNet("token", 8)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 6, 12))
	token := m.Op("pad", ir.Attrs{"low": []int{0, 1, 0}, "high": []int{0, 0, 0}}, m.random(1, 1, 5, 16))
	y := m.Op("add", nil, m.dot(x, 16), token)
	g := m.graph(t, m.dot(y, 4))
	q, _, err := Quantize(g, QuantizeOptions{Calib: samplesFor(g, 8, 5)})
	if err != nil {
		t.Fatal(err)
	}
	if db := sqnr(t, g, q, samplesFor(g, 4, 9)); db < 20 || q.OpCounts()["q_dot"] != 2 {
		t.Errorf("%.1f dB, %v", db, q.OpCounts())
	}
}

// Tables of embeddings are stored in 8 bits, small ones and those that the
// policy keeps are not.
func TestQuantizeTables(t *testing.T) {
	m := newNet("tables", 6)
	ids := m.Input("ids", ir.T(ir.I64, ir.Batch, 8))
	a := m.Op("gather", nil, m.random(0.1, 1024, 64), ids)
	b := m.Op("gather", nil, m.random(0.1, 512, 64), ids)
	h := m.Op("layer_norm", nil, m.Op("add", nil, a, b), m.random(1, 64), nil)
	g := m.graph(t, m.dot(h, 16))
	var calib SampleList
	r := rand.New(rand.NewPCG(3, 3))
	for range 16 {
		x := ir.NewTensor(ir.I64, 1, 8)
		for i := range x.I64() {
			x.I64()[i] = int64(r.IntN(512))
		}
		calib = append(calib, []*ir.Tensor{x})
	}
	q, _, err := Quantize(g, QuantizeOptions{Calib: calib})
	if err != nil {
		t.Fatal(err)
	}
	if n := q.OpCounts(); n["gather"] != 3 || n["uniform_dequantize"] != 1 || n["multiply"] < 1 {
		t.Errorf("%v; wanted one table of two in 8 bits", n)
	}
	if q.ConstBytes() > g.ConstBytes()-1024*64*3+1024*4+4096 {
		t.Errorf("%d bytes of %d are left", q.ConstBytes(), g.ConstBytes())
	}
	if db := sqnr(t, g, q, calib); db < 30 {
		t.Errorf("%.1f dB", db)
	}
	kept, _, err := Quantize(g, QuantizeOptions{Calib: calib, Policy: Policy{Layers: map[string]string{a.Def.Label(): "f32"}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := kept.OpCounts()["gather"]; n != 2 {
		t.Errorf("%d gathers where the policy keeps the table", n)
	}
}

func TestQuantizeMethodsAndRoundings(t *testing.T) {
	g := mobileNet(t)
	calib := samplesFor(g, 16, 5)
	for _, m := range quant.Methods {
		q, _, err := Quantize(g, QuantizeOptions{Calib: calib, Method: m, Rounding: Nearest})
		if err != nil {
			t.Fatal(err)
		}
		if db := sqnr(t, g, q, samplesFor(g, 4, 7)); db < 12 {
			t.Errorf("%s: %.1f dB", m, db)
		}
	}
	e := encoder(t)
	for _, alpha := range []float64{0.5, 0.9} {
		q, r, err := Quantize(e, QuantizeOptions{Calib: samplesFor(e, 24, 5), Smooth: alpha, NoEqualize: true})
		if err != nil {
			t.Fatal(err)
		}
		if db := sqnr(t, e, q, samplesFor(e, 8, 7)); db < 25 || r.Int8MACShare() < 1 {
			t.Errorf("smooth %v: %.1f dB, share %v", alpha, db, r.Int8MACShare())
		}
	}
	for name, o := range map[string]QuantizeOptions{
		"adaround":     {Rounding: AdaRound, AdaRoundIters: 100},
		"small groups": {Budget: 4096},
		"plain":        {Rounding: Nearest, NoCorrection: true, NoEqualize: true},
	} {
		o.Calib = calib
		q, _, err := Quantize(g, o)
		if err != nil {
			t.Fatal(err)
		}
		if db := sqnr(t, g, q, samplesFor(g, 4, 7)); db < 20 {
			t.Errorf("%s: %.1f dB", name, db)
		}
	}
}

// The same input gives the same bytes, however the samples are cut.
func TestQuantizeRepeats(t *testing.T) {
	g := denseNet(t)
	text := func(budget int64) string {
		q, _, err := Quantize(g, QuantizeOptions{Calib: samplesFor(g, 10, 5), Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		s := q.String()
		for _, v := range q.Constants() {
			s += fmt.Sprint(v.Name, v.Const.Data, v.Type.Quant)
		}
		return s
	}
	a := text(1 << 20)
	if text(1<<20) != a || text(1<<14) != a {
		t.Error("two runs differ")
	}
}

// Equalization alone must not change the float function.
func TestEqualizeKeepsFunction(t *testing.T) {
	for _, g := range []*ir.Graph{mobileNet(t), denseNet(t), encoder(t)} {
		o := QuantizeOptions{Calib: samplesFor(g, 4, 1)}
		if err := o.fill(g); err != nil {
			t.Fatal(err)
		}
		z, err := newQuantizer(g, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := z.equalize(); err != nil {
			t.Fatal(err)
		}
		if err := z.g.Verify(); err != nil {
			t.Fatal(err)
		}
		if g.Name != "encoder" && z.report.Equalized == 0 {
			t.Errorf("%s: nothing was equalized", g.Name)
		}
		if db := sqnr(t, g, z.g, samplesFor(g, 3, 9)); db < 100 {
			t.Errorf("%s: equalized graph agrees to %.1f dB only", g.Name, db)
		}
	}
}

func TestQuantizePolicy(t *testing.T) {
	g := mobileNet(t)
	g.Nodes[2].Name = "expand" // the second convolution
	o := QuantizeOptions{Calib: samplesFor(g, 8, 5), Rounding: Nearest, Policy: Policy{Layers: map[string]string{"exp*": "f32"}}}
	q, r, err := Quantize(g, o)
	if err != nil {
		t.Fatal(err)
	}
	noPairs(t, q)
	if q.OpCounts()["convolution"] != 1 || r.Int8MACShare() >= 1 {
		t.Errorf("%v, share %v", q.OpCounts(), r.Int8MACShare())
	}
	if db := sqnr(t, g, q, samplesFor(g, 4, 7)); db < 20 {
		t.Errorf("%.1f dB", db)
	}
	o.Policy.Layers = map[string]string{"nowhere": "f32", "expand": "f16"}
	_, _, err = Quantize(g, o)
	if err == nil || !strings.Contains(err.Error(), "nowhere") || !strings.Contains(err.Error(), "f16") {
		t.Errorf("bad policy gives %v", err)
	}
	o.Policy = Policy{Default: "f32"}
	_, r, err = Quantize(g, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Int8MACShare() != 0 {
		t.Errorf("share %v with everything f32", r.Int8MACShare())
	}
}

// One layer is made to be very bad in int8: the search must find it.
func TestMaxDrop(t *testing.T) {
	m := newNet("bad", 4)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 6, 6, 4))
	a := m.conv(x, 3, 8, 1, 1, ir.Attrs{"activation": "relu"})
	b := m.conv(a, 3, 8, 1, 1, ir.Attrs{"activation": "relu"})
	y := m.conv(b, 3, 4, 1, 1, nil)
	g := m.graph(t, y)
	w := g.Nodes[1].In(1).Const.F32()
	for c := range 8 { // one huge weight a channel, on an input that is nearly zero
		w[7*8+c] = 3000
	}
	first := g.Nodes[0].In(1).Const.F32()
	for i := range first {
		if i%8 == 7 {
			first[i] *= 1e-4
		}
	}
	g.Nodes[0].In(2).Const.F32()[7] = 0
	g.Nodes[0].Name, g.Nodes[1].Name, g.Nodes[2].Name = "first", "bad", "last"
	test := samplesFor(g, 6, 8)
	score := func(q *ir.Graph) (float64, error) {
		if q == g {
			return 100, nil
		}
		return min(sqnr(t, g, q, test), 100), nil
	}
	o := QuantizeOptions{Calib: samplesFor(g, 8, 5), NoEqualize: true, Rounding: Nearest}
	all, _, err := Quantize(g, o)
	if err != nil {
		t.Fatal(err)
	}
	base, _ := score(all)
	o.Evaluate, o.MaxDrop = score, 100-(base+10)
	_, r, err := Quantize(g, o)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, l := range r.Layers {
		if !l.Int8 {
			kept = append(kept, l.Name)
		}
	}
	if len(kept) != 1 || kept[0] != "bad" || len(r.Sensitivity) != 3 || r.Sensitivity[0].Name != "bad" {
		t.Errorf("kept %v in f32, score %.1f; table %v", kept, r.Score, r.Sensitivity)
	}
}

func TestQuantizeErrors(t *testing.T) {
	g := mobileNet(t)
	nan := samplesFor(g, 2, 1)
	nan[1][0].F32()[5] = float32(math.NaN())
	wrong := samplesFor(g, 2, 1)
	wrong[0][0] = ir.NewTensor(ir.F32, 1, 3, 12, 12)
	bad := g.Clone()
	w := bad.Nodes[0].Inputs[1].Const.Clone()
	w.F32()[0] = float32(math.NaN())
	bad.Nodes[0].Inputs[1] = bad.Const("broken", w)
	for name, c := range map[string]struct {
		g    *ir.Graph
		o    QuantizeOptions
		want string
	}{
		"no data":  {g, QuantizeOptions{}, "no calibration data"},
		"nan":      {g, QuantizeOptions{Calib: nan}, "NaN"},
		"shape":    {g, QuantizeOptions{Calib: wrong}, "sample 0"},
		"method":   {g, QuantizeOptions{Calib: nan, Method: "best"}, "best"},
		"rounding": {g, QuantizeOptions{Calib: nan, Rounding: "up"}, "up"},
		"weights":  {bad, QuantizeOptions{Calib: samplesFor(g, 1, 1)}, "broken"},
	} {
		_, _, err := Quantize(c.g, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, wanted an error with %q", name, err, c.want)
		}
	}
}

// The same model for longer sequences takes over scales and weights.
func TestQuantizeLike(t *testing.T) {
	short, long := encoderOf(t, 6), encoderOf(t, 10)
	q, r, err := Quantize(short, QuantizeOptions{Calib: samplesFor(short, 24, 5)})
	if err != nil {
		t.Fatal(err)
	}
	p, r2, err := QuantizeLike(long, QuantizeOptions{}, r)
	if err != nil {
		t.Fatal(err)
	}
	if db := sqnr(t, long, p, samplesFor(long, 8, 7)); db < 22 {
		t.Errorf("%.1f dB", db)
	}
	if r2.Int8MACShare() != 1 {
		t.Errorf("share %v", r2.Int8MACShare())
	}
	p.Name = "other"
	m := &ir.Module{Graphs: []*ir.Graph{q, p}}
	m.Dedup()
	if err := m.Verify(); err != nil {
		t.Fatal(err)
	}
	if a, b := len(m.Constants()), len(q.Constants()); a != b {
		t.Errorf("two graphs hold %d constants, one %d", a, b)
	}
	if _, _, err := QuantizeLike(mobileNet(t), QuantizeOptions{}, r); err == nil {
		t.Error("another model is taken")
	}
}

// A softmax between two contractions runs on 8-bit tensors where asked for.
func TestQuantizeSoftmax(t *testing.T) {
	m := newNet("soft", 6)
	x := m.Input("x", ir.T(ir.F32, ir.Batch, 5, 5, 4))
	y := m.Op("softmax", nil, m.conv(x, 1, 16, 1, 1, nil))
	g := m.graph(t, m.conv(y, 3, 6, 1, 1, nil))
	for _, keep := range []bool{false, true} {
		q, _, err := Quantize(g, QuantizeOptions{Calib: samplesFor(g, 16, 5), KeepSoftmax8: keep})
		if err != nil {
			t.Fatal(err)
		}
		if n := q.OpCounts()["q_softmax"]; (n == 1) != keep {
			t.Errorf("keep %v: %d q_softmax", keep, n)
		}
		if db := sqnr(t, g, q, samplesFor(g, 6, 7)); db < 25 {
			t.Errorf("keep %v: %.1f dB", keep, db)
		}
	}
}

// A residual stream that norms read stays f32 from end to end, its dense layers
// are int8; the same sum before a dense layer is 8 bits.
func TestQuantizeResidualStream(t *testing.T) {
	for _, normed := range []bool{true, false} {
		m := newNet("stream", 8)
		x := m.Input("x", ir.T(ir.F32, ir.Batch, 6, 16))
		h := m.dot(x, 16)
		for range 3 {
			n := h
			if normed {
				n = m.Op("layer_norm", nil, h, m.random(1, 16), m.random(0.2, 16))
			}
			h = m.Op("add", nil, h, m.dot(n, 16))
		}
		if normed {
			h = m.Op("layer_norm", nil, h, m.random(1, 16), m.random(0.2, 16))
		}
		g := m.graph(t, m.dot(h, 8))
		q, r, err := Quantize(g, QuantizeOptions{Calib: samplesFor(g, 16, 5)})
		if err != nil {
			t.Fatal(err)
		}
		if n := q.OpCounts()["q_add"]; (n == 0) != normed {
			t.Errorf("normed %v: %d q_add", normed, n)
		}
		if s := r.Int8MACShare(); s != 1 {
			t.Errorf("normed %v: int8_mac_share %v: %v", normed, s, r.Notes)
		}
	}
}
