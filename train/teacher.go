package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Teacher is a network that a student learns from: any graph in the form that
// inference has, float or quantized. It runs as a program of its own, whose
// results are inputs of the student's step.
type Teacher struct {
	Graph      *ir.Graph
	Preprocess *nascfile.Preprocess // how its pictures become inputs; nil: as the student's
	// Keep is for many jobs on the same data: its answers to samples that no
	// augmentation changes are computed once.
	Keep bool

	mu   sync.Mutex
	kept map[int][][]float32 // by the feed's sample, then output
}

// Remembers says whether a job with this configuration takes kept answers.
func (t *Teacher) Remembers(c Config) bool {
	return t.Keep && c.Augment == (Augment{}) && c.Distill.Mode == "logits"
}

// recall fills the answers of a batch from those kept. The first call computes
// all, in the samples' order, so that their bits do not depend on who asks.
func (t *Teacher) recall(ctx context.Context, j *Job, samples []int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		kept := map[int][][]float32{}
		s, size := j.train.samples, j.Batch
		for first := 0; first < len(s.index); first += size {
			b := j.train.plain(first)
			if b.err != nil {
				return b.err
			}
			if err := j.teach.Run(ctx, b.in[:j.train.s.data], j.answers); err != nil {
				return err
			}
			for i := first; i < min(first+size, len(s.index)); i++ {
				var rows [][]float32
				for _, a := range j.answers {
					n := a.Len() / size
					rows = append(rows, slices.Clone(a.F32()[(i-first)*n:][:n]))
				}
				kept[s.index[i]] = rows
			}
		}
		t.kept = kept
	}
	for i, at := range samples {
		rows := t.kept[at]
		if len(rows) != len(j.answers) {
			return fmt.Errorf("BUG: a teacher that keeps its answers is asked about other data, or for others")
		}
		for k, a := range j.answers {
			copy(a.F32()[i*len(rows[k]):], rows[k])
		}
	}
	return nil
}

// digest identifies what the teacher computes.
func (t *Teacher) digest() string {
	h := sha256.New()
	fmt.Fprint(h, t.Graph) // a hash does not fail
	for _, v := range t.Graph.Constants() {
		h.Write(v.Const.RawBytes())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// lesson finds what the student learns, and makes the graph that answers for a
// batch.
func (t *Teacher) lesson(ctx context.Context, n *Network, pre *nascfile.Preprocess, d Distill, batch int, seed uint64) (*lesson, *ir.Graph, error) {
	modes, err := d.modes()
	if err != nil {
		return nil, nil, err
	}
	l := &lesson{d: d, logits: slices.Contains(modes, "logits"), blocks: slices.Contains(modes, "blocks")}
	g := t.Graph.Clone()
	if err := t.adapt(g, n, pre); err != nil {
		return nil, nil, err
	}
	y := g.Outputs[0]
	g.Outputs = nil
	if l.logits {
		if len(y.Type.Shape) != 2 || y.Type.Shape[1] != n.Classes || y.Type.DType != ir.F32 {
			return nil, nil, &diag.Error{Place: "--teacher", Found: "output " + y.Type.String(), Wanted: fmt.Sprintf("f32[N,%d], as the student has", n.Classes)}
		}
		if y, err = logits(g, y); err != nil {
			return nil, nil, err
		}
		g.Outputs = append(g.Outputs, y)
	}
	if len(modes) > 1 || !l.logits {
		if quantized(g) {
			return nil, nil, &diag.Error{Place: "--teacher", Found: "a quantized network with --distill " + d.Mode, Wanted: "a float one: its layers are 8-bit levels", Fix: "--distill logits, or the float model"}
		}
		pairs, err := match(n.graph, g, d.At)
		if err != nil {
			return nil, nil, err
		}
		for i, p := range pairs {
			g.Outputs = append(g.Outputs, p[1])
			q := point{student: p[0].Name}
			s, w := p[0].Type.Shape, p[1].Type.Shape
			if from, to := s[len(s)-1], w[len(w)-1]; from != to {
				if l.blocks {
					return nil, nil, &diag.Error{
						Place: "--distill blocks", Found: fmt.Sprintf("%s of the student beside %s of the teacher", p[0].Type, p[1].Type),
						Wanted: "equal widths between blocks, since each block is fed by the teacher", Fix: "--distill features, which learns an adapter",
					}
				}
				q.adapted = true
				l.adapters = append(l.adapters, adapter(fmt.Sprintf("adapter%d", i), from, to, seed))
			}
			l.points = append(l.points, q)
		}
	}
	if err := g.Sort(); err != nil {
		return nil, nil, err
	}
	g.RemoveDead()
	if err := g.Verify(); err != nil {
		return nil, nil, err
	}
	if !quantized(g) {
		if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
			return nil, nil, err
		}
	}
	if g, err = ir.Specialize(g, batch); err != nil {
		return nil, nil, err
	}
	for _, v := range g.Outputs {
		if v.Type.Shape[0] != batch {
			return nil, nil, &diag.Error{Place: "--teacher", Found: fmt.Sprintf("a fixed batch of %d", v.Type.Shape[0]), Wanted: fmt.Sprintf("%d, or a symbolic one", batch)}
		}
		l.types = append(l.types, v.Type)
	}
	return l, g, nil
}

// answering compiles the graph of a lesson.
func answering(g *ir.Graph, threads int) (backends.Executable, error) {
	target := cpu.F32()
	if quantized(g) {
		target = cpu.Int8()
	}
	return target.Compile(g, backends.Options{Threads: threads})
}

func quantized(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Class == ir.Quantized })
}

// logits undoes a softmax at the end: what stands before it, or the logarithm
// of what comes out, which is the same but for a constant.
func logits(g *ir.Graph, y *ir.Value) (*ir.Value, error) {
	d := y.Def
	if d != nil && d.Op.Name == "softmax" {
		return d.Inputs[0], nil
	}
	for d != nil && d.Op.Name == "dequantize" {
		d = d.Inputs[0].Def
	}
	if d == nil || !strings.HasSuffix(d.Op.Name, "softmax") || d.Op.Name == "log_softmax" {
		return y, nil
	}
	p, err := g.Add("maximum", nil, y, g.Const("least", ir.Scalar(float32(1e-6))))
	if err != nil {
		return nil, err
	}
	return g.Add("log", nil, p)
}

// adapter draws a learned 1×1 from a student's width to a teacher's.
func adapter(name string, from, to int, seed uint64) *Param {
	h := fnv.New64a()
	h.Write([]byte(name)) // a hash does not fail
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	p := &Param{Name: name, Shape: ir.Shape{from, to}, Value: make([]float32, from*to), Decay: true}
	for i := range p.Value {
		p.Value[i] = float32(r.NormFloat64() / math.Sqrt(float64(from)))
	}
	return p
}

// adapt makes a teacher take the student's inputs: in their layout and their
// normalization.
func (t *Teacher) adapt(g *ir.Graph, n *Network, pre *nascfile.Preprocess) error {
	from := n.graph.Inputs
	if len(from) != len(g.Inputs) {
		return &diag.Error{Place: "--teacher", Found: fmt.Sprintf("%d inputs", len(g.Inputs)), Wanted: fmt.Sprintf("%d, as the student has", len(from))}
	}
	old := g.Inputs
	g.Inputs = nil
	for i, v := range old {
		s := from[i].Type
		in := g.Input("student."+from[i].Name, s)
		x := in
		var err error
		add := func(op string, a ir.Attrs, operands ...*ir.Value) {
			if err == nil {
				x, err = g.Add(op, a, operands...)
			}
		}
		planar, wanted := false, false
		if pre != nil {
			planar = pre.Layout == "nchw"
			wanted = planar
			if t.Preprocess != nil {
				wanted = t.Preprocess.Layout == "nchw"
			} else if !s.Shape.With(1).Equal(v.Type.Shape.With(1)) {
				wanted = !planar
			}
		}
		if len(s.Shape) == 4 && pre != nil && t.Preprocess != nil {
			if pre.Order != t.Preprocess.Order {
				return &diag.Error{Place: "--teacher", Found: "pictures as " + t.Preprocess.Order, Wanted: pre.Order + ", as the student has"}
			}
			if f, b := renormalize(pre, t.Preprocess); f != nil {
				shape := ir.Shape{len(f)}
				if planar {
					shape = ir.Shape{len(f), 1, 1}
				}
				add("multiply", nil, x, g.Const("teacher.factor", ir.From(f, shape...)))
				add("add", nil, x, g.Const("teacher.offset", ir.From(b, shape...)))
			}
		}
		if planar != wanted && len(s.Shape) == 4 {
			perm := []int{0, 3, 1, 2}
			if planar {
				perm = []int{0, 2, 3, 1}
			}
			add("transpose", ir.Attrs{"permutation": perm}, x)
		}
		if err != nil {
			return err
		}
		if x.Type.DType != v.Type.DType || !x.Type.Shape.With(1).Equal(v.Type.Shape.With(1)) {
			return &diag.Error{Place: "--teacher", Found: "input " + v.Type.String(), Wanted: s.String() + ", as the student has"}
		}
		g.ReplaceUses(v, x)
	}
	if err := g.Sort(); err != nil {
		return err
	}
	if err := g.InferAll(); err != nil { // the student's batch may be symbolic where the teacher's is not
		if b := old[0].Type.Shape; len(b) > 0 && b[0] > 0 {
			return &diag.Error{Place: "--teacher", Found: fmt.Sprintf("a network made for a batch of %d", b[0]), Wanted: "one with a free first axis (N)", Err: err}
		}
		return err
	}
	return nil
}

// renormalize gives factor and offset by channel that turn pictures as one
// wants them into pictures as the other does; nil where they agree.
func renormalize(from, to *nascfile.Preprocess) (factor, offset []float32) {
	c := 3
	if from.Order == "gray" {
		c = 1
	}
	at := func(v []float64, i int, none float64) float64 {
		if i < len(v) {
			return v[i]
		}
		return none
	}
	same := true
	for i := range c {
		scale := to.Scale / from.Scale
		f := at(from.Std, i, 1) * scale / at(to.Std, i, 1)
		b := (at(from.Mean, i, 0)*scale - at(to.Mean, i, 0)) / at(to.Std, i, 1)
		same = same && f == 1 && b == 0
		factor, offset = append(factor, float32(f)), append(offset, float32(b))
	}
	if same {
		return nil, nil
	}
	return factor, offset
}

// match pairs layers of a student and a teacher: those named, or the last
// value at each resolution through which all that either computes goes.
func match(s, t *ir.Graph, at string) ([][2]*ir.Value, error) {
	var out [][2]*ir.Value
	if at != "" {
		for pair := range strings.SplitSeq(at, ",") {
			a, b, ok := strings.Cut(pair, "=")
			if !ok {
				b = a
			}
			v, w := labelled(s, a), labelled(t, b)
			if v == nil || w == nil {
				who, name := "the student", a
				if v != nil {
					who, name = "the teacher", b
				}
				return nil, &diag.Error{Place: "--distill-at " + pair, Found: "no layer " + name + " in " + who, Wanted: "STUDENT=TEACHER, names that nasc inspect shows"}
			}
			if resolution(v) == "" || resolution(v) != resolution(w) {
				return nil, &diag.Error{Place: "--distill-at " + pair, Found: v.Type.String() + " beside " + w.Type.String(), Wanted: "the same extents but for channels"}
			}
			out = append(out, [2]*ir.Value{v, w})
		}
		return out, nil
	}
	last := map[string]*ir.Value{}
	for _, v := range cuts(t) {
		last[resolution(v)] = v
	}
	cs := cuts(s)
	for i, v := range cs {
		r := resolution(v)
		if r == "" || last[r] == nil || slices.ContainsFunc(cs[i+1:], func(w *ir.Value) bool { return resolution(w) == r }) {
			continue
		}
		out = append(out, [2]*ir.Value{v, last[r]})
	}
	if len(out) == 0 {
		return nil, &diag.Error{Place: "--teacher", Found: "no resolution that both networks pass through", Wanted: "layers to compare", Fix: "name them with --distill-at STUDENT=TEACHER,…"}
	}
	return out, nil
}

// resolution is a value's extents but for batch and channels; "" where it has
// none.
func resolution(v *ir.Value) string {
	s := v.Type.Shape
	if v.Type.DType != ir.F32 || len(s) < 3 || s[1:len(s)-1].Elems() == 1 {
		return ""
	}
	return s[1 : len(s)-1].String()
}

func labelled(g *ir.Graph, name string) *ir.Value {
	for _, n := range slices.Backward(g.Nodes) {
		if n.Label() == name || n.Out().Name == name {
			return n.Out()
		}
	}
	return nil
}

// cuts are the values through which everything goes that the first output is
// computed from, in order.
func cuts(g *ir.Graph) []*ir.Value {
	left := map[*ir.Value]int{} // readers to come of values alive
	dynamic := map[*ir.Value]bool{}
	uses := g.Uses()
	live := 0
	begin := func(v *ir.Value) {
		dynamic[v] = true
		if k := len(uses[v]); k > 0 {
			left[v], live = k, live+1
		}
	}
	for _, v := range g.Inputs {
		begin(v)
	}
	var out []*ir.Value
	for _, n := range g.Nodes {
		from := false
		for _, v := range n.Inputs {
			if v != nil && dynamic[v] {
				from = true
				if left[v]--; left[v] == 0 {
					live--
				}
			}
		}
		if !from {
			continue // constants
		}
		for _, v := range n.Outputs {
			begin(v)
		}
		if len(n.Outputs) == 1 && live == 1 {
			out = append(out, n.Out())
		}
	}
	return out
}
