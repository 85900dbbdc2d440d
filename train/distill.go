package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Distill says what a student learns from a teacher.
type Distill struct {
	// Mode lists what is taken over, with commas: logits, features, blocks; or it
	// is in-place, where the network's first output teaches the further ones, of
	// Options.Heads, in the same step, and there is no other teacher.
	Mode string
	// Weight is the teacher's share of the loss; the labels have the rest. At
	// 1 no labels are needed.
	Weight float64
	// Temperature softens the answers of both (Hinton et al. 2015); 0 compares
	// the logits themselves by squared error (Ba and Caruana 2014).
	Temperature float64
	// At are pairs student=teacher of node names for features and blocks, with
	// commas; without, the last value of each resolution that both have.
	At string
	// Digest is the teacher's, which Run fills in.
	Digest string
}

// DistillModes lists the modes.
var DistillModes = []string{"logits", "features", "blocks", "in-place"}

// modes checks and splits the mode.
func (d *Distill) modes() ([]string, error) {
	list := strings.Split(d.Mode, ",")
	for _, m := range list {
		switch {
		case !slices.Contains(DistillModes, m):
			return nil, &diag.Error{Place: "--distill", Found: fmt.Sprintf("%q", m), Wanted: "some of " + strings.Join(DistillModes, ", ")}
		case m == "in-place":
			return nil, &diag.Error{Place: "--distill in-place", Found: "a teacher", Wanted: "none: the network's own first output teaches the others"}
		}
	}
	if slices.Contains(list, "blocks") && slices.Contains(list, "features") {
		return nil, &diag.Error{Place: "--distill", Found: d.Mode, Wanted: "features or blocks, not both: blocks compares the same layers, each fed by the teacher"}
	}
	return list, nil
}

// inPlace is the lesson that the network's first output gives its further ones.
func (o *Options) inPlace(d Distill) (*lesson, error) {
	if o.Heads == "" {
		return nil, &diag.Error{
			Place: "--distill in-place", Found: "no further outputs that are trained", Wanted: "--heads: the first output teaches them",
			Fix: "of two networks, train the larger first and give it as --teacher",
		}
	}
	return &lesson{d: d, inPlace: true}, nil
}

// lesson is what a teacher adds to a step: inputs that it fills, and terms of
// the loss.
type lesson struct {
	d       Distill
	logits  bool
	blocks  bool
	inPlace bool // no inputs: the first output is the teacher
	points  []point
	// adapters are trained with the network and dropped at the end: they bring
	// a student's layer to the width of the teacher's.
	adapters []*Param
	types    []ir.Type // of the inputs: logits where asked for, then the points'
}

// point is a layer of the student that answers to one of the teacher.
type point struct {
	student string // value name
	adapted bool   // the widths differ
}

// inputs adds the teacher's answers to a step's inputs and gives the student's
// values at the points, which the caller keeps as outputs while it rewrites.
func (l *lesson) inputs(g *ir.Graph) (answers, points []*ir.Value, err error) {
	for i, t := range l.types {
		answers = append(answers, g.Input(fmt.Sprintf("teacher%d", i), t))
	}
	for _, p := range l.points {
		v := find(g, p.student)
		if v == nil {
			return nil, nil, fmt.Errorf("BUG: the step has no value %q", p.student)
		}
		points = append(points, v)
	}
	return answers, points, nil
}

// find looks a computed value up by name.
func find(g *ir.Graph, name string) *ir.Value {
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v.Name == name {
				return v
			}
		}
	}
	return nil
}

// loss builds the teacher's term: the mean of what was asked for. points are
// the student's values, y its output before a softmax, adapters the inputs
// that hold them.
func (l *lesson) loss(b *ir.Builder, answers, points, adapters []*ir.Value, y *ir.Value) *ir.Value {
	var terms []*ir.Value
	if l.logits {
		terms = append(terms, l.soft(b, y, answers[0]))
		answers = answers[1:]
	}
	for i, p := range l.points {
		s := points[i]
		if p.adapted {
			s, adapters = b.Op("dot", nil, s, adapters[0]), adapters[1:]
		}
		terms = append(terms, relative(b, s, answers[i]))
	}
	sum := terms[0]
	for _, t := range terms[1:] {
		sum = b.Op("add", nil, sum, t)
	}
	return times(b, sum, 1/float64(len(terms)))
}

// head is the loss of a further output, y before a softmax: its own, and what it
// is apart from the first output t, whose gradient this is not.
func (l *lesson) head(b *ir.Builder, own, y, t *ir.Value) *ir.Value {
	taught := times(b, l.soft(b, y, still(b, t)), l.d.Weight)
	return b.Op("add", nil, times(b, own, 1-l.d.Weight), taught)
}

// still is x, to 2^-17, as a constant: rounding has no gradient.
func still(b *ir.Builder, x *ir.Value) *ir.Value {
	return times(b, b.Op("round_nearest_even", nil, times(b, x, 1<<16)), 1.0/(1<<16))
}

// soft is T²·KL(teacher ‖ student) of the softened answers, the mean over the
// batch, or at temperature 0 the squared error of the logits.
func (l *lesson) soft(b *ir.Builder, y, t *ir.Value) *ir.Value {
	if l.d.Temperature == 0 {
		return square(b, b.Op("subtract", nil, y, t))
	}
	f := 1 / l.d.Temperature
	lt := b.Op("log_softmax", nil, times(b, t, f))
	d := b.Op("subtract", nil, lt, b.Op("log_softmax", nil, times(b, y, f)))
	kl := b.Op("reduce_sum", ir.Attrs{"axes": []int{0, 1}, "keep_dims": false}, b.Op("multiply", nil, b.Op("exponential", nil, lt), d))
	return times(b, kl, l.d.Temperature*l.d.Temperature/float64(y.Type.Shape[0]))
}

// relative is the squared error of s as a share of t's own square, so that
// layers of any scale count alike.
func relative(b *ir.Builder, s, t *ir.Value) *ir.Value {
	power := b.Op("add", nil, square(b, t), b.Const("tiny", ir.Scalar(float32(1e-12))))
	return b.Op("divide", nil, square(b, b.Op("subtract", nil, s, t)), power)
}

// square is the mean of x².
func square(b *ir.Builder, x *ir.Value) *ir.Value {
	axes := make([]int, len(x.Type.Shape))
	for i := range axes {
		axes[i] = i
	}
	return b.Op("reduce_mean", ir.Attrs{"axes": axes, "keep_dims": false}, b.Op("multiply", nil, x, x))
}

func times(b *ir.Builder, x *ir.Value, f float64) *ir.Value {
	return b.Op("multiply", nil, x, b.Const("factor", ir.Scalar(float32(f))))
}
