package train

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Param is one trained tensor.
type Param struct {
	Name  string
	Value []float32
	Shape ir.Shape
	// Decay says that weight decay applies: it leaves out what has one axis
	// (biases, scales of norms), where it only hurts.
	Decay bool
	// Kind is what a step changes: a weight itself, a scale of quantization by
	// a factor, a zero point in shares of the levels.
	Kind Kind
	// Values is how many numbers a scale quantizes, Levels how many it has.
	values, levels int
}

// Kind tells parameters of quantization from others.
type Kind uint8

// The kinds.
const (
	Weight Kind = iota
	Scale
	Zero
)

// norm is the running statistics of a batch norm, which steps update and
// inference uses.
type norm struct {
	meanName, varName string
	mean, variance    []float32
}

// Network is a float graph (batch symbolic or not) and what is trained of it.
type Network struct {
	graph  *ir.Graph
	Params []*Param
	norms  []*norm
	steps  []*Param // scales and zero points, which Quantization picks from
	aside  []*Param // what only further outputs read, trained with weights of theirs
	// Classes is the extent of the output's last axis.
	Classes int
}

// New finds the trained parts of a graph: its float constants of one axis or
// more that a gradient reaches, but for the statistics of batch norms. The
// graph is copied.
func New(g *ir.Graph) (*Network, error) {
	n := &Network{graph: g.Clone()}
	if len(g.Outputs) == 0 || len(g.Outputs[0].Type.Shape) != 2 || g.Outputs[0].Type.DType != ir.F32 {
		found := "no output"
		if len(g.Outputs) > 0 {
			found = g.Outputs[0].Type.String()
		}
		return nil, &diag.Error{Place: "network @" + g.Name, Found: "output " + found, Wanted: "f32[N,classes]"}
	}
	n.Classes = g.Outputs[0].Type.Shape[1]
	stats := map[*ir.Value]bool{}
	for _, d := range n.graph.Nodes {
		if d.Op.Name != "batch_norm_inference" {
			if d.Op.Class == ir.Quantized {
				return nil, &diag.Error{Place: d.Op.Name + " " + d.Label(), Found: "a quantized network", Wanted: "a float one", Fix: "train the model before it is compiled for int8"}
			}
			continue
		}
		m, v := d.Inputs[3], d.Inputs[4]
		if !m.IsConst() || !v.IsConst() {
			return nil, &diag.Error{Place: d.Label(), Found: "a batch norm with computed statistics", Wanted: "constants"}
		}
		stats[m], stats[v] = true, true
		n.norms = append(n.norms, &norm{m.Name, v.Name, slices.Clone(m.Const.F32()), slices.Clone(v.Const.F32())})
	}
	live, all := reached(n.graph.Outputs[:1], n.graph), reached(n.graph.Outputs, n.graph)
	quantized := scales(n.graph)
	for _, v := range n.graph.Constants() {
		if v.Type.DType != ir.F32 || len(v.Type.Shape) == 0 || stats[v] || !all[v] {
			continue
		}
		w := v.Const.F32()
		if slices.ContainsFunc(w, func(f float32) bool { return math.IsInf(float64(f), 0) }) {
			continue // a mask
		}
		p := &Param{Name: v.Name, Value: slices.Clone(w), Shape: v.Type.Shape}
		if q, ok := quantized[v]; ok {
			p.Kind, p.values, p.levels = q.Kind, q.values, q.levels
			n.steps = append(n.steps, p)
			continue
		}
		p.Decay = axes(v.Type.Shape) > 1
		if !live[v] {
			n.aside = append(n.aside, p)
			continue
		}
		n.Params = append(n.Params, p)
	}
	if len(n.Params) == 0 {
		return nil, &diag.Error{Place: "network @" + g.Name, Found: "nothing to train", Wanted: "weights that are constants"}
	}
	return n, nil
}

// axes counts those of more than one element.
func axes(s ir.Shape) int {
	k := 0
	for _, d := range s {
		if d != 1 {
			k++
		}
	}
	return k
}

// reached are the constants from which a path of differentiable ops leads to
// the outputs.
func reached(outs []*ir.Value, g *ir.Graph) map[*ir.Value]bool {
	live := map[*ir.Value]bool{}
	for _, v := range outs {
		live[v] = true
	}
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return live[v] }) {
			continue
		}
		for _, v := range n.Inputs {
			if v != nil && v.Type.DType == ir.F32 {
				live[v] = true
			}
		}
	}
	return live
}

// Inference gives the network with the given values of its parameters and its
// present running statistics; nil stands for the present values.
func (n *Network) Inference(values [][]float32) *ir.Graph {
	g := n.graph.Clone()
	data := map[string][]float32{}
	for i, p := range n.Params {
		data[p.Name] = p.Value
		if values != nil {
			data[p.Name] = values[i]
		}
	}
	for _, s := range n.norms {
		data[s.meanName], data[s.varName] = s.mean, s.variance
	}
	for _, v := range g.Constants() {
		if d, ok := data[v.Name]; ok {
			v.Const = ir.From(slices.Clone(d), v.Type.Shape...)
		}
	}
	return g
}

// Options of the loss and of what is random within the network.
type Options struct {
	Loss     string  // cross-entropy (default) or mse
	Dropout  float64 // share of the last layer's operand set to zero
	DropPath float64 // chance that a residual branch is left out, growing to this at the last
	// FreezeNorm keeps batch norms as they are in inference.
	FreezeNorm bool
	// Heads are weights, with commas, by which the losses of the second output
	// and the following ones are added to the first's; "": they are not trained.
	Heads string
}

// heads reads the weights of further outputs.
func (n *Network) heads(spec string) ([]float64, error) {
	if spec == "" {
		return nil, nil
	}
	bad := func(found, wanted string) error {
		return &diag.Error{Place: "--heads", Found: found, Wanted: wanted}
	}
	parts := strings.Split(spec, ",")
	if len(parts) != len(n.graph.Outputs)-1 {
		return nil, bad(fmt.Sprintf("%d weights", len(parts)), fmt.Sprintf("one for each output after the first: %d", len(n.graph.Outputs)-1))
	}
	var out []float64
	for i, p := range parts {
		w, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || !(w >= 0 && w <= 1e3) {
			return nil, bad(p, "a number from 0 to 1000")
		}
		if v := n.graph.Outputs[i+1]; v.Type.DType != ir.F32 || !v.Type.Shape.Equal(n.graph.Outputs[0].Type.Shape) {
			return nil, bad("output "+v.String()+" "+v.Type.String(), "the first output's "+n.graph.Outputs[0].Type.String())
		}
		out = append(out, w)
	}
	return out, nil
}

// useHeads trains what the weighted outputs read, too.
func (n *Network) useHeads(spec string) error {
	w, err := n.heads(spec)
	if err != nil || w == nil {
		return err
	}
	n.Params, n.aside = append(n.Params, n.aside...), nil
	return nil
}

// Losses lists the losses.
var Losses = []string{"cross-entropy", "mse"}

// mask is an input of the step that is drawn anew each time: 0 with chance
// rate, else 1/(1−rate).
type mask struct {
	value *ir.Value
	rate  float64
}

// step is a training step as a graph. Its inputs are those of the network,
// the targets f32[N,classes], masks, a teacher's answers, then the parameters
// (the teacher's adapters last); its outputs are the
// loss, the output before the loss, and mean and variance of each norm.
type step struct {
	graph  *ir.Graph
	data   int // how many inputs are the network's
	target *ir.Value
	masks  []mask
	params []*ir.Value
	norms  int // how many outputs after the first two are statistics, two each
}

// Step builds the training step for a batch; l is nil without a teacher.
func (n *Network) step(batch int, o Options, l *lesson) (*step, error) {
	g, err := ir.Specialize(n.graph, batch)
	if err != nil {
		return nil, err
	}
	if got := g.Outputs[0].Type.Shape[0]; got != batch {
		return nil, &diag.Error{Place: "network @" + g.Name, Found: fmt.Sprintf("a fixed batch of %d", got), Wanted: fmt.Sprintf("%d, or a symbolic one", batch), Fix: fmt.Sprintf("train with --batch %d", got)}
	}
	weights, err := n.heads(o.Heads)
	if err != nil {
		return nil, err
	}
	g.Outputs = g.Outputs[:1+len(weights)]
	s := &step{graph: g, data: len(g.Inputs)}
	byName := map[string]*ir.Value{}
	for _, v := range g.Constants() {
		byName[v.Name] = v
	}
	s.target = g.Input("target", ir.T(ir.F32, batch, n.Classes))
	if err := s.drops(o, batch); err != nil {
		return nil, err
	}
	var answers, points, adapters []*ir.Value
	if l != nil {
		if answers, points, err = l.inputs(g); err != nil {
			return nil, err
		}
		g.Outputs = append(g.Outputs, points...)
	}
	for _, p := range n.Params {
		v := byName[p.Name]
		in := g.Input(p.Name, v.Type)
		g.ReplaceUses(v, in)
		s.params = append(s.params, in)
	}
	if l != nil {
		for _, p := range l.adapters {
			adapters = append(adapters, g.Input(p.Name, ir.Type{DType: ir.F32, Shape: p.Shape}))
		}
		s.params = append(s.params, adapters...)
	}
	var stats []*ir.Value
	if !o.FreezeNorm {
		if stats, err = passes.TrainingNorms(g); err != nil {
			return nil, err
		}
	}
	y := g.Outputs[0]
	outs := slices.Clone(g.Outputs)
	points = outs[1+len(weights):]
	if l != nil && l.blocks { // what follows a block reads the teacher
		g.Outputs = g.Outputs[:1]
		for i, v := range points {
			g.ReplaceUses(v, answers[len(answers)-len(points)+i])
		}
	}
	b := &ir.Builder{G: g}
	var loss, logits *ir.Value
	for i, v := range outs[:1+len(weights)] {
		one, at, inner, err := o.loss(b, v, s.target)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			loss, y, logits = one, at, inner
		} else {
			if l != nil && l.inPlace {
				one = l.head(b, one, inner, logits)
			}
			loss = b.Op("add", nil, loss, times(b, one, weights[i-1]))
		}
	}
	if l != nil && !l.inPlace {
		taught := times(b, l.loss(b, answers, points, adapters, logits), l.d.Weight)
		if l.d.Weight < 1 {
			taught = b.Op("add", nil, times(b, loss, 1-l.d.Weight), taught)
		}
		loss = taught
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	g.Outputs = append([]*ir.Value{loss, y}, stats...)
	s.norms = len(stats) / 2
	if err := g.Sort(); err != nil {
		return nil, err
	}
	g.RemoveDead()
	return s, g.Verify()
}

// loss builds the loss of one output: it gives the loss, the value that it is
// taken of, and what stands before a softmax.
func (o *Options) loss(b *ir.Builder, y, target *ir.Value) (loss, at, logits *ir.Value, err error) {
	logits = y
	if d := y.Def; d != nil && d.Op.Name == "softmax" {
		logits = d.Inputs[0]
	}
	switch o.Loss {
	case "", "cross-entropy": // takes the logarithm of a softmax itself
		p := b.Op("log_softmax", nil, logits)
		loss = b.Op("reduce_sum", ir.Attrs{"axes": []int{0, 1}, "keep_dims": false}, b.Op("multiply", nil, p, target))
		return times(b, loss, -1/float64(y.Type.Shape[0])), logits, logits, nil
	case "mse":
		return square(b, b.Op("subtract", nil, y, target)), y, logits, nil
	}
	return nil, nil, nil, &diag.Error{Place: "--loss", Found: fmt.Sprintf("%q", o.Loss), Wanted: strings.Join(Losses, " or ")}
}

// drops puts the masks of dropout and drop path in.
func (s *step) drops(o Options, batch int) error {
	g := s.graph
	if o.Dropout > 0 {
		for _, d := range slices.Backward(g.Nodes) {
			if d.Op.Name != "dot" {
				continue
			}
			x := d.Inputs[0]
			m := g.Input("dropout", x.Type)
			v, err := g.Add("multiply", nil, x, m)
			if err != nil {
				return err
			}
			d.Inputs[0] = v
			s.masks = append(s.masks, mask{m, o.Dropout})
			break
		}
	}
	if o.DropPath == 0 {
		return g.Sort()
	}
	at := residuals(g, batch)
	for i, r := range at {
		x := r.node.Inputs[r.branch]
		shape := ir.Shape{batch}
		for range len(x.Type.Shape) - 1 {
			shape = append(shape, 1)
		}
		m := g.Input(fmt.Sprintf("drop_path%d", i), ir.Type{DType: ir.F32, Shape: shape})
		v, err := g.Add("multiply", nil, x, m)
		if err != nil {
			return err
		}
		r.node.Inputs[r.branch] = v
		s.masks = append(s.masks, mask{m, o.DropPath * float64(i+1) / float64(len(at))})
	}
	return g.Sort()
}

// residual is an addition of a branch to the value it began with.
type residual struct {
	node   *ir.Node
	branch int // the operand that is the branch
}

// residuals finds additions one operand of which is computed from the other.
func residuals(g *ir.Graph, batch int) []residual {
	var out []residual
	for _, n := range g.Nodes {
		if n.Op.Name != "add" || !n.Inputs[0].Type.Equal(n.Inputs[1].Type) || n.Inputs[0].IsConst() || n.Inputs[1].IsConst() {
			continue
		}
		if s := n.Inputs[0].Type.Shape; len(s) < 2 || s[0] != batch {
			continue
		}
		switch a, b := n.Inputs[0], n.Inputs[1]; {
		case from(b, a):
			out = append(out, residual{n, 1})
		case from(a, b):
			out = append(out, residual{n, 0})
		}
	}
	return out
}

// from says whether v is computed from x.
func from(v, x *ir.Value) bool {
	seen := map[*ir.Node]bool{}
	var walk func(v *ir.Value) bool
	walk = func(v *ir.Value) bool {
		if v == x {
			return true
		}
		if v == nil || v.Def == nil || seen[v.Def] {
			return false
		}
		seen[v.Def] = true
		return slices.ContainsFunc(v.Def.Inputs, walk)
	}
	return walk(v)
}
