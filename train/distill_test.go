package train

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// student is a job whose network is its own teacher, on data without labels.
func student(t *testing.T, mode string) *Job {
	n := network(t, "digits-cnn.toml")
	n.Init(3)
	c := Default()
	c.Epochs, c.Batch, c.LR, c.Optimizer = 1, 50, 0, "sgd"
	c.Options.FreezeNorm = true
	c.Distill.Mode, c.Distill.Weight = mode, 1
	j := &Job{Config: c, Network: n, Data: feed(t, n, "digits[0:50]"), Teacher: &Teacher{Graph: n.Inference(nil)}}
	j.Data.Source = unlabelled{j.Data.Source}
	return j
}

type unlabelled struct{ data.Source }

func (u unlabelled) Sample(i int) (data.Sample, error) {
	s, err := u.Source.Sample(i)
	s.Label = -1
	return s, err
}

// TestNothingToLearn: a network that is its own teacher has no loss, whatever
// is compared; one that is not has.
func TestNothingToLearn(t *testing.T) {
	for _, mode := range []string{"logits", "features", "blocks", "logits,features"} {
		for _, other := range []bool{false, true} {
			j := student(t, mode)
			if other {
				j.Network.Init(4)
			}
			r, err := j.Run(context.Background())
			if err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
			if l := r.Epochs[0].Loss; other == (math.Abs(l) < 1e-3) {
				t.Errorf("%s, another student: %v, loss %v", mode, other, l)
			}
		}
	}
	j := student(t, "logits")
	j.Distill.Temperature = 0
	if r, err := j.Run(context.Background()); err != nil || math.Abs(r.Epochs[0].Loss) > 1e-6 {
		t.Errorf("squared error of the logits: %v, %v", r, err)
	}
}

// TestTeacherInputs: a teacher of another layout and normalization sees the
// same pictures.
func TestTeacherInputs(t *testing.T) {
	j := student(t, "logits")
	j.Preprocess = &nascfile.Preprocess{Layout: "nhwc", Order: "gray", Height: 8, Width: 8, Scale: 1.0 / 16}
	g := j.Teacher.Graph
	old := g.Inputs[0]
	g.Inputs = nil
	in := g.Input("planar", ir.T(ir.F32, ir.Batch, 1, 8, 8))
	b := &ir.Builder{G: g}
	x := b.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 3, 1}}, in)
	x = b.Op("add", nil, b.Op("multiply", nil, x, b.Const("std", ir.Scalar(float32(0.25)))), b.Const("mean", ir.Scalar(float32(0.5))))
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	g.ReplaceUses(old, x)
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	j.Teacher.Preprocess = &nascfile.Preprocess{Layout: "nchw", Order: "gray", Height: 8, Width: 8, Scale: 1.0 / 16, Mean: []float64{0.5}, Std: []float64{0.25}}
	r, err := j.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if l := r.Epochs[0].Loss; math.Abs(l) > 1e-4 {
		t.Errorf("loss %v", l)
	}
	j.Teacher.Preprocess.Order = "rgb"
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "pictures as rgb") {
		t.Errorf("a teacher of colours: %v", err)
	}
}

// TestFeatures: a narrower student learns the teacher's layers through
// adapters, which the trained network does not keep; its checkpoint does.
func TestFeatures(t *testing.T) {
	wide := network(t, "resnet20.toml")
	wide.Init(1)
	n := network(t, "mobilenetv2.toml")
	got, err := match(n.graph, wide.graph, "")
	if err == nil {
		t.Errorf("224×224 and 32×32 pictures have %v in common", got)
	}
	pairs, err := match(wide.graph, wide.graph, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pairs {
		names = append(names, p[0].Def.Label())
	}
	if want := []string{"layer1.2.relu2", "layer2.2.relu2", "layer3.2.relu2"}; !slices.Equal(names, want) {
		t.Errorf("layers %v are compared, wanted %v", names, want)
	}
	j := student(t, "features")
	b := ir.NewBuilder("narrow")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 8, 8, 1))
	x = b.Op("convolution", ir.Attrs{"strides": []int{2, 2}, "padding": []int{1, 1, 1, 1}}, x, b.Const("w", ir.NewTensor(ir.F32, 3, 3, 1, 8)), b.Const("b", ir.NewTensor(ir.F32, 8)))
	x = b.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, 128}}, b.Op("relu", nil, x))
	narrow, err := b.Graph(b.Op("dot", nil, x, b.Const("fc", ir.NewTensor(ir.F32, 128, 10))))
	if err != nil {
		t.Fatal(err)
	}
	if j.Network, err = New(narrow); err != nil {
		t.Fatal(err)
	}
	j.Network.Init(1)
	j.Epochs, j.LR = 30, 0.05
	r, err := j.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(j.trained) != len(j.Network.Params)+1 {
		t.Errorf("%d parameters are trained, wanted one more than the network's %d", len(j.trained), len(j.Network.Params))
	}
	if a, b := r.Epochs[0].Loss, r.Epochs[29].Loss; b > 0.7*a {
		t.Errorf("loss %v → %v", a, b)
	}
	for _, v := range r.Graph.Constants() {
		if strings.HasPrefix(v.Name, "adapter") {
			t.Errorf("the network keeps %s", v.Name)
		}
	}
}

// TestTeacherRefused: what cannot teach is said.
func TestTeacherRefused(t *testing.T) {
	for _, c := range []struct {
		mode, at string
		set      func(j *Job)
		words    string
	}{
		{"in-place", "", nil, "none: the network's own first output"},
		{"in-place", "", func(j *Job) { j.Teacher = nil }, "--heads: the first output teaches"},
		{"logit", "", nil, "logits, features, blocks"},
		{"features,blocks", "", nil, "not both"},
		{"features", "nowhere=nowhere", nil, "no layer nowhere"},
		{"logits", "", func(j *Job) { j.Teacher.Graph = network(t, "mobilenetv2.toml").graph }, "--teacher"},
	} {
		j := student(t, c.mode)
		j.Distill.At = c.at
		if c.set != nil {
			c.set(j)
		}
		if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("--distill %s: %v; wanted %q", c.mode, err, c.words)
		}
	}
}

// inPlaced is a job in which the first output teaches the second alone.
func inPlaced(t *testing.T) *Job {
	j := digits(t, "digits[0:400]")
	j.Network, j.ValSplit, j.EMA, j.Smoothing, j.Augment.Crop = headed(t), 0, 0, 0, 0
	j.Network.Init(1)
	j.Options.Heads = "1"
	j.Distill = Distill{Mode: "in-place", Weight: 1, Temperature: 2}
	return j
}

// TestInPlace: the first output teaches the further ones, which come to agree
// with it without labels, and learns nothing from that itself.
func TestInPlace(t *testing.T) {
	run := func(j *Job) map[string]*ir.Tensor {
		t.Helper()
		r, err := j.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]*ir.Tensor{}
		for _, v := range r.Graph.Constants() {
			out[v.Name] = v.Const
		}
		return out
	}
	// One step: the first output's own weights move as they do without pupils.
	one := func(heads, mode string) map[string]*ir.Tensor {
		j := inPlaced(t)
		j.Batch, j.Epochs, j.Optimizer, j.LR = 400, 1, "sgd", 0.1
		j.Options.Heads, j.Distill.Mode = heads, mode
		return run(j)
	}
	alone, taught := one("", "logits"), one("1", "in-place")
	if err := difftest.Close(taught["main"], alone["main"], 1e-5, 1e-6); err != nil {
		t.Errorf("the teacher moves with its pupil: %v", err)
	}
	if ir.SameData(taught["trunk"], alone["trunk"]) || ir.SameData(taught["aux"], alone["aux"]) {
		t.Error("the pupil learns nothing, or not through the trunk")
	}
	j := inPlaced(t)
	j.Epochs, j.LR = 60, 2e-2
	w := run(j)
	agree := 0
	for i := range 100 {
		x, _, err := feed(t, j.Network, "digits[1000:1100]").Labelled(i)
		if err != nil {
			t.Fatal(err)
		}
		var best [2]int
		for k, name := range []string{"main", "aux"} {
			most := math.Inf(-1)
			for c := range 10 {
				sum := 0.0
				for u := range 16 {
					h := 0.0
					for p := range 64 {
						h += x[0].At(p) * w["trunk"].At(p*16+u)
					}
					sum += max(h, 0) * w[name].At(u*10+c)
				}
				if sum > most {
					most, best[k] = sum, c
				}
			}
		}
		if best[0] == best[1] {
			agree++
		}
	}
	if agree < 85 {
		t.Errorf("the two outputs agree on %d of 100 pictures", agree)
	}
}

// TestInPlaceAgrees: both ways have the gradients of a step in which a network
// teaches itself.
func TestInPlaceAgrees(t *testing.T) {
	j := inPlaced(t)
	j.Distill.Weight = 0.7
	if err := j.Network.useHeads("1"); err != nil {
		t.Fatal(err)
	}
	l, err := j.Options.inPlace(j.Distill)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Network.step(4, j.Options, l)
	if err != nil {
		t.Fatal(err)
	}
	got := bothGradients(t, s, j.Network)
	for i, p := range j.Network.Params {
		if err := difftest.Close(got[1][i], got[0][i], 1e-3, 1e-5); err != nil {
			t.Errorf("gradient of %s: %v", p.Name, err)
		}
	}
}
