package passes

import (
	"fmt"
	"math"
	"runtime/debug"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

// Samples are the calibration inputs: one set of input tensors a sample, in
// the graph's own layout. They are read more than once.
type Samples interface {
	Len() int
	At(i int) ([]*ir.Tensor, error)
}

// SampleList holds samples in memory.
type SampleList [][]*ir.Tensor

// Len is the number of samples.
func (s SampleList) Len() int { return len(s) }

// At gives sample i.
func (s SampleList) At(i int) ([]*ir.Tensor, error) { return s[i], nil }

// Rounding names a way to round weights.
type Rounding string

// The roundings.
const (
	Nearest  Rounding = "nearest"
	GPTQ     Rounding = "gptq"
	AdaRound Rounding = "adaround"
)

// QuantizeOptions steer Quantize. The zero value of a field means the default
// in brackets.
type QuantizeOptions struct {
	Calib  Samples
	Run    Runner       // of float graphs [the interpreter]
	Method quant.Method // of activation ranges [mse]

	Rounding       Rounding // [gptq]
	NoCorrection   bool     // leave biases alone
	NoEqualize     bool     // leave channel scales alone
	Smooth         float64  // SmoothQuant's alpha for dense layers after f32 computation [0.5, negative for off]
	Damp           float64  // of second-order rounding [0.03]
	Polish         int      // passes of coordinate descent after GPTQ [2, −1 for none]
	AdaRoundIters  int      // [500]
	Budget         int64    // bytes that calibration may hold at a time [32 MiB + half the weights]
	KeepSoftmax8   bool     // softmax between 8-bit tensors by q_softmax instead of f32
	FloatAttention bool     // products of two activations stay f32
	// Dynamic gives dense layers a scale for each row of their input, found
	// while they run (dynamic_dot); their inputs and results are f32, and products
	// of two activations stay f32. Convolutions are as without it.
	Dynamic bool

	Policy Policy
	// MaxDrop, in points of Evaluate's score, makes Quantize keep the fewest
	// layers in f32 that meet it. 0 with Evaluate nil: no search.
	MaxDrop  float64
	Evaluate func(g *ir.Graph) (score float64, err error)

	Seed     uint64
	Progress func(stage string, done, total int)

	fast     bool // Run is a target, not the interpreter
	simulate bool // on levels, of which not all ops have a form
}

// Policy says which layers are int8. Keys are node names (or those of their
// results); a trailing * stands for any ending. It is written as TOML:
//
//	default = "int8"
//	[layers]
//	"features.0.*" = "f32"
type Policy struct {
	Default string            `toml:"default"` // "int8" or "f32"; empty is int8
	Layers  map[string]string `toml:"layers"`
}

// float says whether the policy keeps the node in f32.
func (p Policy) float(n *ir.Node) bool {
	best, mode := -1, p.Default
	for key, m := range p.Layers {
		hit := key == n.Label() || key == n.Outputs[0].Name
		if pre, ok := strings.CutSuffix(key, "*"); ok && !hit {
			hit = strings.HasPrefix(n.Label(), pre) || strings.HasPrefix(n.Outputs[0].Name, pre)
		}
		if hit && len(key) > best {
			best, mode = len(key), m
		}
	}
	return mode == "f32"
}

func (p Policy) check(g *ir.Graph) error {
	var errs diag.List
	word := func(place, m string) {
		if m != "int8" && m != "f32" && m != "" {
			errs.Add(&diag.Error{Place: place, Found: fmt.Sprintf("%q", m), Wanted: `"int8" or "f32"`})
		}
	}
	word("policy: default", p.Default)
	for key, m := range p.Layers {
		word("policy: "+key, m)
		one := Policy{Default: "int8", Layers: map[string]string{key: "f32"}}
		found := false
		for _, n := range g.Nodes {
			found = found || one.float(n)
		}
		if !found {
			errs.Add(&diag.Error{Place: "policy: " + key, Found: "no layer of this name", Fix: "nasc inspect lists the names"})
		}
	}
	return errs.Err()
}

// LayerReport is what became of one contraction.
type LayerReport struct {
	Name   string  `json:"name"`
	Op     string  `json:"op"`
	Int8   bool    `json:"int8"`
	Reason string  `json:"reason,omitempty"` // why it stayed f32
	MACs   int64   `json:"macs"`
	SQNR   float64 `json:"sqnr_db,omitempty"` // of the rounded weights' output, on the calibration data
}

// Sensitivity is what one layer alone costs in int8.
type Sensitivity struct {
	Name string  `json:"name"`
	Drop float64 `json:"drop"` // points of the score regained when this layer alone is f32
	SQNR float64 `json:"sqnr_db"`
}

// QuantReport says what Quantize did.
type QuantReport struct {
	Layers      []LayerReport `json:"layers"`
	Int8MACs    int64         `json:"int8_macs"`
	MACs        int64         `json:"macs"`
	Int8Nodes   int           `json:"int8_nodes"`
	FloatNodes  int           `json:"f32_nodes"`
	Equalized   int           `json:"equalized_channels"`
	Samples     int           `json:"samples"`
	Sensitivity []Sensitivity `json:"sensitivity,omitempty"`
	Score       float64       `json:"score,omitempty"`
	FloatScore  float64       `json:"score_f32,omitempty"`
	Notes       []string      `json:"notes,omitempty"`

	recipe *recipe // for QuantizeLike
}

// Int8MACShare is the share of multiply-accumulates done in int8.
func (r *QuantReport) Int8MACShare() float64 {
	if r.MACs == 0 {
		return 0
	}
	return float64(r.Int8MACs) / float64(r.MACs)
}

// Quantize turns a canonical float graph (batch norms folded, activations
// fused) into an int8 graph that computes nearly the same: inputs are
// quantized, every contraction that the policy allows and what lies between
// them runs on 8-bit tensors, and what cannot stays an f32 island. The float
// graph is not changed.
func Quantize(g *ir.Graph, opt QuantizeOptions) (*ir.Graph, *QuantReport, error) {
	if err := opt.fill(g); err != nil {
		return nil, nil, err
	}
	// Calibration makes much short-lived memory: let the collector run early
	// rather than double the heap.
	limit := 4*g.ConstBytes() + 160<<20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(min(limit, debug.SetMemoryLimit(-1))))
	if opt.Evaluate != nil && opt.MaxDrop > 0 {
		return quantizeWithin(g, opt)
	}
	return quantizeOnce(g, opt)
}

func (o *QuantizeOptions) fill(g *ir.Graph) error {
	if o.Calib == nil || o.Calib.Len() == 0 {
		return &diag.Error{Place: "quantize", Found: "no calibration data", Wanted: "samples of the model's inputs", Fix: "give --calib DATA (or --calib synthetic, for timing only)"}
	}
	if o.Method != "" {
		if _, err := quant.ParseMethod(string(o.Method)); err != nil {
			return diag.At("quantize", err)
		}
	}
	switch o.Rounding {
	case "":
		o.Rounding = GPTQ
	case Nearest, GPTQ, AdaRound:
	default:
		return &diag.Error{Place: "quantize", Found: fmt.Sprintf("rounding %q", o.Rounding), Wanted: "nearest, gptq or adaround"}
	}
	if o.Smooth == 0 {
		o.Smooth = 0.5
	}
	if !(o.Smooth <= 1) {
		return &diag.Error{Place: "--smooth", Found: fmt.Sprint(o.Smooth), Wanted: "SmoothQuant's alpha, up to 1, or -1 for off"}
	}
	if o.Dynamic {
		o.FloatAttention = true
	}
	o.fast = o.Run != nil
	if !o.fast {
		o.Run = interpreter
	}
	if o.Polish == 0 {
		o.Polish = 2
	}
	if o.Budget == 0 {
		o.Budget = 32<<20 + g.ConstBytes()/2
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	for _, n := range g.Nodes {
		if n.Op.Class == ir.Quantized {
			return &diag.Error{Place: n.Label(), Found: "the graph is quantized already (" + n.Op.Name + ")", Wanted: "a float graph"}
		}
	}
	if err := g.CheckFinite(); err != nil {
		return err
	}
	return o.Policy.check(g)
}

// quantizeOnce runs the whole recipe for one policy.
func quantizeOnce(g *ir.Graph, opt QuantizeOptions) (*ir.Graph, *QuantReport, error) {
	z, err := newQuantizer(g, opt)
	if err != nil {
		return nil, nil, err
	}
	z.report.Samples = opt.Calib.Len()
	return z.run()
}

// quantizer holds the state of one quantization.
type quantizer struct {
	opt    QuantizeOptions
	g      *ir.Graph // the float graph, prepared
	p      *plan
	obs    map[*ir.Value]*quant.Observer // of class representatives
	params map[*ir.Value]quant.Params    // by class root
	layers []*layer                      // int8 contractions in topological order
	byNode map[*ir.Node]*layer
	report *QuantReport
	made   *recipe // what this run measured
	like   *recipe // an earlier run's, to take instead of measuring; else nil
}

// layer is one int8 contraction on its way.
type layer struct {
	node  *ir.Node
	spec  quant.Layer
	scale []float32
	q     []int8    // nil until rounded
	bias  []float32 // corrected
	sqnr  float64
	parts []part // while its moments are gathered
}

func newQuantizer(g *ir.Graph, opt QuantizeOptions) (*quantizer, error) {
	g = g.Clone()
	Direct(g)
	if err := prepareQuantize(g, opt); err != nil {
		return nil, err
	}
	z := &quantizer{opt: opt, g: g, report: &QuantReport{}, made: &recipe{policy: opt.Policy}, byNode: map[*ir.Node]*layer{}}
	z.p = place(g, opt)
	return z, nil
}

// measured chooses scales and rounds weights.
func (z *quantizer) measured() error {
	if z.opt.Smooth > 0 {
		if err := z.smooth(); err != nil {
			return err
		}
	}
	if !z.opt.NoEqualize {
		if err := z.equalize(); err != nil {
			return err
		}
	}
	if err := z.observe(); err != nil {
		return err
	}
	z.choose()
	return z.round()
}

func (z *quantizer) run() (*ir.Graph, *QuantReport, error) {
	if err := z.measured(); err != nil {
		return nil, nil, err
	}
	out, err := z.build(z.g.Outputs)
	if err != nil {
		return nil, nil, err
	}
	if err := out.Verify(); err != nil {
		return nil, nil, diag.At("quantized graph", err)
	}
	z.finishReport(out)
	z.report.recipe = z.made
	return out, z.report, nil
}

func (z *quantizer) finishReport(out *ir.Graph) {
	r := z.report
	for _, n := range z.g.Nodes {
		macs := n.Op.MACs(n)
		if macs == 0 {
			continue
		}
		l := LayerReport{Name: n.Label(), Op: n.Op.Name, Int8: z.p.int8[n] || z.p.rows[n], MACs: macs, Reason: z.p.reason[n]}
		if k := z.byNode[n]; k != nil && k.sqnr != 0 && !math.IsInf(k.sqnr, 0) {
			l.SQNR = k.sqnr
		}
		r.Layers = append(r.Layers, l)
		r.MACs += macs
		if l.Int8 {
			r.Int8MACs += macs
		}
		if l.Reason != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("%s stays f32: %s", l.Name, l.Reason))
		}
	}
	for _, n := range out.Nodes {
		switch {
		case n.Op.Class == ir.Quantized, n.Out().Type.DType.Is8Bit():
			r.Int8Nodes++
		default:
			r.FloatNodes++
		}
	}
}
