package evaluate

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/train"
)

const resnet = `name = "tiny"
input = [8, 8, 1]
[[stage]]
block = "conv"
name = "stem"
channels = 8
[[stage]]
block = "basic"
name = "one"
channels = 8
repeat = 2
[[stage]]
block = "basic"
name = "two"
channels = 16
stride = 2
[[stage]]
block = "pool"
[[stage]]
block = "dense"
name = "fc"
out = 10
`

// shrinker trains a teacher and opens its students. labels changes the labels
// that students see.
func shrinker(t *testing.T, weights search.Store, labels func(int) int) *Shrinker {
	t.Helper()
	set, err := Load("digits[0:800]", "", 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw, _, err := arch.Parse("tiny", []byte(resnet), nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := nasc.Trainable(t.Context(), &nasc.Model{Module: &ir.Module{Graphs: []*ir.Graph{raw}}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := train.New(g)
	if err != nil {
		t.Fatal(err)
	}
	n.Init(1)
	c := train.Default()
	c.Epochs, c.Batch, c.LR = 8, 32, 1e-2
	feed, err := data.NewFeed(set.Train, g.Inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&train.Job{Config: c, Network: n, Data: feed, Threads: 1}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	space, err := shrink.New(r.Graph)
	if err != nil {
		t.Fatal(err)
	}
	if labels != nil {
		set.Train = relabelled{set.Train, labels}
	}
	c.Epochs, c.LR = 2, 1e-2
	e, err := NewShrinker(space, Config{Data: set, Train: c, Weights: weights, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type relabelled struct {
	data.Source
	label func(int) int
}

func (r relabelled) Sample(i int) (data.Sample, error) {
	s, err := r.Source.Sample(i)
	s.Label = r.label(s.Label)
	return s, err
}

func shrinks(t *testing.T, e *Shrinker, trial *search.Trial) *search.Trial {
	t.Helper()
	o, err := e.Evaluate(t.Context(), trial)
	if err != nil {
		t.Fatal(err)
	}
	trial.Outcome = o
	return trial
}

// student is the teacher without a block, narrower.
func student(t *testing.T, s *shrink.Space) search.Genotype {
	t.Helper()
	g := make(search.Genotype, len(s.Genes()))
	for _, name := range []string{"one.1.conv1", "one.1.conv2"} {
		i := slices.IndexFunc(s.Layers, func(l shrink.Layer) bool { return l.Node == name })
		if i < 0 {
			t.Fatalf("no layer %s", name)
		}
		g[i] = 1
	}
	for _, i := range s.Leaders(g) {
		g[len(s.Layers)+i] = 3 // 0.7
	}
	if err := s.Check(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// The teacher is scored as it is; a student keeps weights and learns; what is
// paid is what it still knows for its size; the same trial gives the same bits.
func TestShrinker(t *testing.T) {
	m := &Memory{}
	e := shrinker(t, m, nil)
	g := student(t, e.Space)
	teacher := shrinks(t, e, &search.Trial{ID: 1, Seed: 5, Proposal: search.Proposal{Genotype: make(search.Genotype, len(g))}})
	if teacher.Metrics["reward"] != 0 || teacher.Metrics["accuracy"] < 0.9 || len(teacher.Curve) != 0 {
		t.Fatalf("teacher %+v", teacher.Outcome)
	}
	kept, err := e.Network(teacher)
	if err != nil {
		t.Fatal(err)
	}
	if kept.Params() != e.Space.Teacher.Params() {
		t.Errorf("the teacher was kept with %d parameters of %d", kept.Params(), e.Space.Teacher.Params())
	}
	a := shrinks(t, e, &search.Trial{ID: 2, Seed: 6, Proposal: search.Proposal{Genotype: g}})
	c := 1 - a.Metrics["params"]/teacher.Metrics["params"]
	if want := c * (2 - c) * a.Metrics["accuracy"] / teacher.Metrics["accuracy"]; math.Abs(a.Metrics["reward"]-want) > 1e-12 || c < 0.4 {
		t.Errorf("reward %v of %v gone, wanted %v", a.Metrics["reward"], c, want)
	}
	if a.Metrics["accuracy"] < 0.5 || a.Steps != 2*20 || len(a.Curve) != 2 {
		t.Errorf("student %+v", a.Outcome)
	}
	if want := 40 * 32 * 3 * a.Metrics["macs"]; a.Metrics["train_macs"] != want {
		t.Errorf("its training took %v multiplications, wanted %v: the teacher's answers are kept", a.Metrics["train_macs"], want)
	}
	b := shrinks(t, e, &search.Trial{ID: 3, Seed: 6, Proposal: search.Proposal{Genotype: g}})
	if fresh := shrinks(t, shrinker(t, m, nil), &search.Trial{ID: 2, Seed: 6, Proposal: search.Proposal{Genotype: g}}); a.Weights == "" || b.Weights != a.Weights || fresh.Weights != a.Weights {
		t.Errorf("the same trial gave %s, %s and %s", a.Weights, b.Weights, fresh.Weights)
	}

	// It goes on from its weights, for longer than a full training, and asks the
	// teacher about what augmentation makes.
	e.Train.Augment.Crop = 1
	more := shrinks(t, e, &search.Trial{ID: 4, Seed: 7, ParentTrial: a, Proposal: search.Proposal{Genotype: g, Parent: 2, Budget: 3}})
	if len(more.Curve) != 6 || more.Curve[0] < a.Metrics["accuracy"]-0.1 || more.Metrics["params"] != a.Metrics["params"] {
		t.Errorf("going on from %v: %+v", a.Metrics, more.Outcome)
	}
	if want := 6 * e.EpochMACs(a.Metrics["macs"]); more.Metrics["train_macs"] != want || want <= 6*640*3*a.Metrics["macs"] {
		t.Errorf("going on took %v multiplications, wanted %v", more.Metrics["train_macs"], want)
	}
	if _, err := e.Evaluate(t.Context(), &search.Trial{ID: 5, Proposal: search.Proposal{Genotype: g, Parent: 2}}); err == nil {
		t.Error("a trial without its parent is trained")
	}
}

// With all weight on the teacher, wrong labels change nothing: students learn
// what it says.
func TestShrinkerLearnsFromTheTeacher(t *testing.T) {
	learn := func(weight float64, labels func(int) int) *search.Trial {
		e := shrinker(t, &Memory{}, labels)
		e.Train.Distill.Weight = weight
		g := student(t, e.Space)
		return shrinks(t, e, &search.Trial{ID: 2, Seed: 6, Proposal: search.Proposal{Genotype: g}})
	}
	wrong := func(l int) int { return (l + 1) % 10 }
	right, same := learn(1, nil), learn(1, wrong)
	if right.Weights == "" || right.Weights != same.Weights {
		t.Errorf("wrong labels lead from %s to %s", right.Weights, same.Weights)
	}
	if own := learn(0, wrong); own.Metrics["accuracy"] > same.Metrics["accuracy"]-0.2 {
		t.Errorf("by wrong labels alone %v, by the teacher %v", own.Metrics, same.Metrics)
	}
}

// What does not fit together is refused, or is a fault of the student's.
func TestShrinkerRefuses(t *testing.T) {
	e := shrinker(t, &Memory{}, nil)
	bad := make(search.Genotype, len(e.Space.Genes()))
	bad[slices.IndexFunc(e.Space.Layers, func(l shrink.Layer) bool { return l.Node == "two.conv1" })] = 1
	if x := shrinks(t, e, &search.Trial{ID: 2, Proposal: search.Proposal{Genotype: bad}}); !strings.Contains(x.Fault, "two.conv1") {
		t.Errorf("a layer that cannot go: %+v", x.Outcome)
	}
	many := *e.Data
	many.Classes = 11
	if _, err := NewShrinker(e.Space, Config{Data: &many, Train: e.Train, Weights: &Memory{}}); err == nil || !strings.Contains(err.Error(), "11 classes; wanted at most the teacher's 10") {
		t.Error(err)
	}
	wide := *e.Data
	wide.Train = pixels{}
	if _, err := NewShrinker(e.Space, Config{Data: &wide, Train: e.Train, Weights: &Memory{}}); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Error(err)
	}
	untrained := *e.Data
	untrained.Valid = relabelled{untrained.Valid, func(int) int { return 10 }} // none of the teacher's answers
	f, err := NewShrinker(e.Space, Config{Data: &untrained, Train: e.Train, Weights: &Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	if x := shrinks(t, f, &search.Trial{ID: 1, Proposal: search.Proposal{Genotype: make(search.Genotype, len(bad))}}); x.Fault == "" {
		t.Errorf("a teacher that knows nothing: %+v", x.Outcome)
	}
}

// pixels are samples of another size.
type pixels struct{}

func (pixels) Len() int { return 4 }
func (pixels) Sample(int) (data.Sample, error) {
	return data.Sample{Tensors: map[string]*ir.Tensor{"": ir.NewTensor(ir.F32, 14, 14, 1)}}, nil
}
