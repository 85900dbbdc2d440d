package train

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/zoo"
)

func network(t *testing.T, name string) *Network {
	t.Helper()
	g, _, err := arch.LoadFS(zoo.FS, name, name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func feed(t *testing.T, n *Network, arg string) *data.Feed {
	t.Helper()
	s, err := data.Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := data.NewFeed(s, n.graph.Inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// digits is a job that trains the digits network from scratch.
func digits(t *testing.T, arg string) *Job {
	n := network(t, "digits-cnn.toml")
	n.Init(3)
	c := Default()
	c.Epochs, c.Batch, c.LR, c.ValSplit = 4, 50, 3e-3, 0.2
	c.Augment.Crop, c.EMA, c.Smoothing = 1, 0.98, 0.05
	return &Job{Config: c, Network: n, Data: feed(t, n, arg)}
}

func TestDigits(t *testing.T) {
	r, err := digits(t, "digits[0:1000]").Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if last := r.Epochs[3]; last.VTop1 < 0.8 || last.Loss > r.Epochs[0].Loss {
		t.Errorf("after 4 epochs: %+v", r.Epochs)
	}
}

// TestResume: a training that was cut off at a step and goes on from its
// checkpoint ends with the same bits.
func TestResume(t *testing.T) {
	const arg = "digits[0:250]"
	whole, err := digits(t, arg).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state")
	for _, cut := range []int{3, 5} { // in the first epoch and in the second
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		j := digits(t, arg)
		ctx, cancel := context.WithCancel(context.Background())
		j.Checkpoint, j.Every = path, 1
		j.Progress = func(done, _ int) {
			if done == cut {
				cancel()
			}
		}
		if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("cut off at step %d: %v", cut, err)
		}
		j = digits(t, arg)
		j.Checkpoint, j.Resume = path, true
		again, err := j.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if again.Epochs[3].Loss != whole.Epochs[3].Loss {
			t.Errorf("cut at %d: the last loss is %v, wanted %v", cut, again.Epochs[3].Loss, whole.Epochs[3].Loss)
		}
		a, b := whole.Graph.Constants(), again.Graph.Constants()
		for i := range a {
			if !ir.SameData(a[i].Const, b[i].Const) {
				t.Errorf("cut at %d: %s differs", cut, a[i].Name)
			}
		}
	}
	j := digits(t, arg)
	j.Checkpoint, j.Resume, j.LR = path, true, 1e-3
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another LR: 0.003, now 0.001") {
		t.Errorf("another learning rate: %v", err)
	}
	for _, other := range []string{"digits[0:240]", "digits[1:251]"} {
		j := digits(t, other)
		j.Checkpoint, j.Resume = path, true
		if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "a training on other data") {
			t.Errorf("on %s: %v", other, err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-9] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j = digits(t, arg)
	j.Checkpoint, j.Resume = path, true
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another checksum; wanted") {
		t.Errorf("a damaged checkpoint: %v", err)
	}
}

// A training that is told to stop keeps its last step, whenever the checkpoint
// before was; a file that is no checkpoint is not written over.
func TestStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	j := digits(t, "digits[0:250]")
	j.Checkpoint, j.Every = path, time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	done := 0
	j.Progress = func(d, _ int) {
		if done = d; d == 2 {
			cancel()
		}
	}
	if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s, _, err := readState(path)
	if err != nil || s.Step != done || done < 2 {
		t.Errorf("stopped after step %d: %+v, %v", done, s, err)
	}
	const text = "not to be lost"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "--checkpoint: "+path) || !strings.Contains(err.Error(), "wanted a checkpoint of nasc train; give another name") {
		t.Errorf("over another file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != text {
		t.Errorf("the file is %q, %v", b, err)
	}
}

// How pictures lie is what preprocessing says, or the number of channels, or what
// the network does to them first: flips and shifts go by it.
func TestPlanar(t *testing.T) {
	b := ir.NewBuilder("net")
	x := b.Input("x", ir.T(ir.F32, 2, 4, 6, 8))
	y := b.Input("y", ir.T(ir.F32, 2, 4, 6, 8))
	z := b.Input("z", ir.T(ir.F32, 2, 1, 6, 8))
	turned := b.Op("transpose", ir.Attrs{"permutation": []int{0, 2, 3, 1}}, x)
	g, err := b.Graph(turned, b.Op("relu", nil, y), b.Op("relu", nil, z))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if planar(g.Inputs[i], g, nil) != want {
			t.Errorf("input %s: channels first is %v, wanted %v", g.Inputs[i].Name, !want, want)
		}
	}
	if planar(x, g, &nascfile.Preprocess{Layout: "nhwc"}) {
		t.Error("preprocessing is not heard")
	}
}

// Validation reports the loss that is trained.
func TestScore(t *testing.T) {
	b := ir.NewBuilder("net")
	x := b.Input("x", ir.T(ir.F32, 2, 2))
	plain, err := b.Graph(b.Op("relu", nil, x))
	if err != nil {
		t.Fatal(err)
	}
	y, labels := []float32{0, 0, 1, 0}, []int{1, 0}
	for name, want := range map[string]float64{"mse": 0.5, "": math.Ln2 + math.Log(1+math.Exp(-1)), "cross-entropy": math.Ln2 + math.Log(1+math.Exp(-1))} {
		if loss, right := score(plain, y, labels, name); math.Abs(loss-want) > 1e-6 || right != 1 {
			t.Errorf("%q: loss %v, %d right; wanted %v and 1", name, loss, right, want)
		}
	}
}

// What finds no place in the network is said, as is what changes untrained.
func TestWithout(t *testing.T) {
	g := network(t, "digits-cnn.toml").graph
	g.Outputs = append(g.Outputs, g.Nodes[0].Out())
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	j := digits(t, "digits[0:64]")
	var said []string
	j.Network, j.Options.DropPath, j.Options.Dropout, j.Epochs = n, 0.1, 0.1, 1
	j.Data, j.Warn = feed(t, n, "digits[0:64]"), func(s string) { said = append(said, s) }
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 || !strings.Contains(said[0], "--drop-path is without effect") || !strings.Contains(said[1], "alone is trained; what it shares with conv1") {
		t.Errorf("notes: %q", said)
	}
}

// A training of so many steps ends within an epoch, with its rate down, and is
// judged there; a stop before goes on to the same bits.
func TestSteps(t *testing.T) {
	job := func() *Job {
		j := digits(t, "digits[0:250]")
		j.Steps, j.Warmup = 7, 4 // longer than all there is
		j.Valid = feed(t, j.Network, "digits[1200:1300]")
		return j
	}
	per := 250 / job().Batch
	whole, err := job().Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	last := whole.Epochs[len(whole.Epochs)-1]
	if whole.Steps != 7 || len(whole.Epochs) != (7+per-1)/per || 7%per == 0 || !last.Valid {
		t.Fatalf("%d steps, epochs %+v, %d steps each", whole.Steps, whole.Epochs, per)
	}
	path := filepath.Join(t.TempDir(), "state")
	j := job()
	ctx, cancel := context.WithCancel(context.Background())
	j.Checkpoint, j.Every = path, 1
	j.Progress = func(done, total int) {
		if total != 7 {
			t.Errorf("%d steps of %d", done, total)
		}
		if done == 4 {
			cancel()
		}
	}
	if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	j = job()
	j.Checkpoint, j.Resume = path, true
	again, err := j.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	a, b := whole.Graph.Constants(), again.Graph.Constants()
	for i := range a {
		if !ir.SameData(a[i].Const, b[i].Const) {
			t.Errorf("%s differs", a[i].Name)
		}
	}
	j = job()
	j.Steps = -1
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "--steps") {
		t.Error(err)
	}
}

// constant is a source of one picture with a label.
type constant struct {
	n, label int
	value    float32
}

func (c constant) Len() int { return c.n }

func (c constant) Sample(int) (data.Sample, error) {
	x := ir.NewTensor(ir.F32, 8, 8, 1)
	for i := range x.F32() {
		x.F32()[i] = c.value
	}
	return data.Sample{Tensors: map[string]*ir.Tensor{"": x}, Label: c.label}, nil
}

// poisoned gives a number that is not finite for one sample.
type poisoned struct {
	data.Source
	at   int
	with float64
}

func (p poisoned) Sample(i int) (data.Sample, error) {
	s, err := p.Source.Sample(i)
	if i == p.at {
		s.Tensors = map[string]*ir.Tensor{"": ir.NewTensor(ir.F32, 8, 8, 1)}
		s.Tensors[""].F32()[3] = float32(p.with)
	}
	return s, err
}

func TestBadInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, c := range []struct {
		name  string
		set   func(j *Job)
		words []string
	}{
		{"label out of range", func(j *Job) { j.Data.Source = constant{100, 10, 1} }, []string{"sample 0", "label 10", "0 to 9"}},
		{"no label", func(j *Job) { j.Data.Source = constant{100, -1, 1} }, []string{"no label"}},
		{"no data", func(j *Job) { j.Data.Source = constant{0, 1, 1} }, []string{"no samples"}},
		{"NaN in one sample", func(j *Job) { j.Data.Source = poisoned{j.Data.Source, 7, math.NaN()} }, []string{"--data: sample 7, input x: element 3 is NaN"}},
		{"an infinite number in one", func(j *Job) { j.Data.Source = poisoned{j.Data.Source, 7, math.Inf(1)} }, []string{"step ", "sample 7 of --data brings an infinite number into input x", "the last good state is in " + path}},
		{"numbers that are too large", func(j *Job) { j.Data.Source = constant{100, 1, 1e38} }, []string{"step 1: a loss of ", `convolution "conv2"`, "--lr"}},
		{"a loss that is too large", func(j *Job) { j.Options.Loss, j.Data.Source = "mse", constant{100, 1, 1e30} }, []string{"step 1:", "comes out of the loss, all layers' results are finite"}},
		{"a step that is too large", func(j *Job) { // in the last step: no loss comes after it
			j.Steps, j.Optimizer, j.LR, j.Hyper.WeightDecay, j.Data.Source = 1, "sgd", 1e3, 0, constant{100, 1, 1e36}
		}, []string{"step 1: a number in", "that is not finite", "the last good state is in " + path}},
		{"validation data that are too large", func(j *Job) {
			v := *j.Data
			v.Source = constant{20, 1, 3e38}
			j.Valid = &v
		}, []string{"validation after step", "a loss of ", "the last good state"}},
		{"pictures shifted away", func(j *Job) { j.Augment.Crop = 8 }, []string{"--random-crop: 8 for pictures of 8×8"}},
		{"pictures blanked", func(j *Job) { j.Augment.Cutout = 9 }, []string{"--cutout: 9 for pictures of 8×8"}},
		{"too little memory", func(j *Job) { j.free = 1 << 20 }, []string{"memory", "GB", "--batch"}},
		{"few samples", func(j *Job) { j.Batch = 500 }, []string{"--batch", "samples to train on"}},
		{"an optimizer that is not had", func(j *Job) { j.Optimizer = "adm" }, []string{"adm", "lamb"}},
		{"a schedule that is not had", func(j *Job) { j.Schedule = "x" }, []string{"one-cycle"}},
		{"dropout of all", func(j *Job) { j.Options.Dropout = 1 }, []string{"--dropout", "0.99"}},
	} {
		j := digits(t, "digits[0:150]")
		j.ValSplit, j.Checkpoint, j.Every, j.EMA = 0, path, 1, 0
		c.set(j)
		_, err := j.Run(context.Background())
		for _, w := range c.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v; wanted an error with %q", c.name, err, w)
			}
		}
	}
}

// TestStep: norms in training form, masks and all losses make a graph that
// verifies, and drop path finds the residuals of a network.
func TestStep(t *testing.T) {
	n := network(t, "resnet20.toml")
	s, err := n.step(2, Options{Dropout: 0.1, DropPath: 0.2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.norms != len(n.norms) || len(n.norms) != 21 {
		t.Errorf("%d of %d norms are trained", s.norms, len(n.norms))
	}
	if len(s.masks) != 1+7 { // two blocks begin with a projection
		t.Errorf("%d masks", len(s.masks))
	}
	if c := s.graph.OpCounts(); c["batch_norm_training"] != 21 || c["batch_norm_inference"] != 0 {
		t.Errorf("ops are %v", c)
	}
	if _, err := n.step(2, Options{Loss: "mse", FreezeNorm: true}, nil); err != nil {
		t.Error(err)
	}
	if _, err := n.step(2, Options{Loss: "hinge"}, nil); err == nil {
		t.Error("an unknown loss is taken")
	}
}

// TestOptimizers: each finds the least of a bowl.
func TestOptimizers(t *testing.T) {
	for _, o := range optimizers {
		h := Default().Hyper
		w := []float32{3, -2}
		m := make([][]float32, o.moments)
		for i := range m {
			m[i] = make([]float32, 2)
		}
		for s := range 2000 {
			g := []float32{2 * (w[0] - 1), 20 * (w[1] - 0.5)}
			o.step(&h, s+1, 0.01*(1-float64(s)/2000), 0, w, g, m)
		}
		if math.Abs(float64(w[0]-1)) > 2e-2 || math.Abs(float64(w[1]-0.5)) > 2e-2 {
			t.Errorf("%s ends at %v, wanted [1 0.5]", o.name, w)
		}
	}
	// The first step of Adam is the rate whatever the gradient; decay is added.
	w := []float32{2}
	h := Default().Hyper
	adam(&h, 1, 0.1, 0.5, w, []float32{1e-3}, [][]float32{{0}, {0}})
	if want := 2 - 0.1*(1+0.5*2); math.Abs(float64(w[0])-want) > 1e-4 {
		t.Errorf("AdamW's first step gives %v, wanted %v", w[0], want)
	}
	// Nesterov: v = g, w −= lr (g + µ v).
	w = []float32{1}
	sgd(&h, 1, 0.1, 0, w, []float32{1}, [][]float32{{0}})
	if want := 1 - 0.1*1.9; math.Abs(float64(w[0])-want) > 1e-6 {
		t.Errorf("SGD's first step gives %v, wanted %v", w[0], want)
	}
}

func TestSchedules(t *testing.T) {
	for _, s := range schedules {
		if r := s.rate(0, 100, 10); r > 0.1 {
			t.Errorf("%s begins warm-up at %v", s.name, r)
		}
		for i := range 100 {
			if r := s.rate(i, 100, 10); !(r >= 0 && r <= 1) {
				t.Errorf("%s: rate %v at step %d", s.name, r, i)
			}
		}
	}
	c, _ := findSchedule("cosine")
	if r := c.rate(50, 100, 0); math.Abs(r-0.5) > 1e-9 {
		t.Errorf("cosine is %v half way", r)
	}
}

// TestAugment: shifts and flips move pixels to where they say, mixed targets
// sum to one.
func TestAugment(t *testing.T) {
	for _, planar := range []bool{false, true} {
		p := picture{h: 3, w: 4, c: 2, planar: planar}
		at := func(y, x, c int) int {
			if planar {
				return (c*p.h+y)*p.w + x
			}
			return (y*p.w+x)*p.c + c
		}
		src, dst := make([]float32, 24), make([]float32, 24)
		for i := range src {
			src[i] = float32(i + 1)
		}
		p.moved(dst, src, 1, -1, true)
		for y := range 3 {
			for x := range 4 {
				for c := range 2 {
					want := float32(0)
					if sy, sx := y-1, 3-(x+1); sy >= 0 && sx >= 0 {
						want = src[at(sy, sx, c)]
					}
					if got := dst[at(y, x, c)]; got != want {
						t.Errorf("planar %v: (%d,%d,%d) is %v, wanted %v", planar, y, x, c, got, want)
					}
				}
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for _, a := range []Augment{{Mixup: 0.3}, {Cutmix: 1}} {
			x, tg := make([]float32, 4*24), []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0}
			for i := range x {
				x[i] = float32(i / 24)
			}
			a.mix(r, p, x, tg, 4)
			for i := range 4 {
				if s := tg[3*i] + tg[3*i+1] + tg[3*i+2]; math.Abs(float64(s)-1) > 1e-6 {
					t.Errorf("%+v: targets sum to %v", a, s)
				}
			}
			if !slices.ContainsFunc(tg, func(v float32) bool { return v > 0 && v < 1 }) {
				t.Errorf("%+v mixed nothing: %v", a, tg)
			}
		}
	}
}

// TestAutoAugment: a warp by nothing changes nothing, a half turn is one, and
// every operation leaves finite numbers in pictures of either layout.
func TestAutoAugment(t *testing.T) {
	for _, planar := range []bool{false, true} {
		p := picture{h: 5, w: 7, c: 3, planar: planar}
		x := make([]float32, 105)
		for i := range x {
			x[i] = float32(i%11) - 5
		}
		y := slices.Clone(x)
		p.warped(y, 1, 0, 0, 1)
		if !slices.Equal(x, y) {
			t.Error("a warp by the identity changes the picture")
		}
		p.warped(y, -1, 0, 0, -1)
		for at := range 35 {
			for c := range 3 {
				if y[p.index(34-at, c)] != x[p.index(at, c)] {
					t.Fatalf("planar %v: half a turn moves pixel %d elsewhere", planar, at)
				}
			}
		}
		changed := 0
		for i, f := range autoOps {
			y := slices.Clone(x)
			f(rand.New(rand.NewPCG(uint64(i), 1)), p, y)
			if slices.ContainsFunc(y, func(v float32) bool { return v-v != 0 }) {
				t.Errorf("operation %d gives %v", i, y)
			}
			if !slices.Equal(x, y) {
				changed++
			}
		}
		if changed != len(autoOps)-1 {
			t.Errorf("%d of %d operations change a picture, wanted all but the identity", changed, len(autoOps))
		}
	}
}

// headed is a network of two outputs on one trunk.
func headed(t *testing.T) *Network {
	t.Helper()
	b := ir.NewBuilder("heads")
	x := b.Input("x", ir.T(ir.F32, ir.Batch, 8, 8, 1))
	x = b.Op("reshape", ir.Attrs{"shape": ir.Shape{ir.Batch, 64}}, x)
	h := b.Op("relu", nil, b.Op("dot", nil, x, b.Const("trunk", ir.NewTensor(ir.F32, 64, 16))))
	first := b.Op("dot", nil, h, b.Const("main", ir.NewTensor(ir.F32, 16, 10)))
	second := b.Op("softmax", nil, b.Op("dot", nil, h, b.Const("aux", ir.NewTensor(ir.F32, 16, 10))))
	g, err := b.Graph(first, second)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHeads: further outputs are trained by their weights, what only they read
// with them, and not without.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		heads string
		moves bool
	}{{"", false}, {"0.5", true}} {
		j := digits(t, "digits[0:200]")
		j.Network, j.ValSplit, j.Epochs, j.EMA = headed(t), 0, 1, 0
		j.Network.Init(1)
		clear(j.Network.aside[0].Value)
		j.Options.Heads = c.heads
		r, err := j.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Graph.Constants() {
			if v.Name != "aux" {
				continue
			}
			if moved := slices.ContainsFunc(v.Const.F32(), func(f float32) bool { return f != 0 }); moved != c.moves {
				t.Errorf("heads %q: the second head was trained: %v", c.heads, moved)
			}
		}
	}
	for heads, words := range map[string]string{"0.5,1": "one for each output after the first: 1", "x": "a number from 0"} {
		j := digits(t, "digits[0:200]")
		j.Network, j.Options.Heads = headed(t), heads
		if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("heads %q: %v", heads, err)
		}
	}
}

// TestCurve draws without dividing by zero.
func TestCurve(t *testing.T) {
	es := []Epoch{{Loss: 2, Top1: 0.1}, {Loss: 1, Top1: 0.5, Valid: true, VLoss: 1.5, VTop1: 0.4}}
	if s := string(CurveSVG("a<b", es)); !strings.Contains(s, "a&lt;b") || strings.Contains(s, "NaN") || !strings.HasSuffix(s, "</svg>\n") {
		t.Error(s)
	}
	if s := CurveText(es); !strings.Contains(s, "loss █▁ 2.0000 → 1.0000") {
		t.Error(s)
	}
	if s := CurveText(es[:1]); s != "" {
		t.Error(s)
	}
}

// TestZooTrains: every network of the zoo with classes as outputs has a step
// that differentiates, verifies and compiles for the engine.
func TestZooTrains(t *testing.T) {
	files, err := zoo.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	trained := 0
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".toml" {
			continue
		}
		g, _, err := arch.LoadFS(zoo.FS, f.Name(), f.Name())
		if err != nil {
			continue // a search space
		}
		n, err := New(g)
		if err != nil {
			if !strings.Contains(err.Error(), "wanted f32[N,classes]") {
				t.Errorf("%s: %v", f.Name(), err)
			}
			continue
		}
		s, err := n.step(2, Options{DropPath: 0.1}, nil)
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			continue
		}
		d, err := Differentiated(s.graph, s.params)
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			continue
		}
		trained++
		fallback := map[string]int{}
		e, err := cpu.F32().Compile(d, backends.Options{})
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			continue
		}
		for _, s := range e.(backends.Planned).Steps() {
			if s.Fallback {
				fallback[s.Op]++
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d parameters tensors, ops without kernels: %v", f.Name(), len(n.Params), fallback)
	}
	if trained < 8 {
		t.Errorf("only %d networks were trained", trained)
	}
}
