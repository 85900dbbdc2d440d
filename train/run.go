package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
)

// Config is what decides the bits of a training, with the network, the data
// and the target.
type Config struct {
	Epochs    int
	Steps     int // where less than Epochs: the training ends after so many; 0: any
	Batch     int
	LR        float64 // 0: the optimizer's own
	Optimizer string
	Schedule  string
	Warmup    float64 // epochs
	Seed      uint64
	Hyper     Hyper
	Clip      float64 // of the gradients' joint norm; 0: none
	EMA       float64 // decay of the averaged weights that are kept; 0: none
	Smoothing float64 // of labels
	GradNoise float64 // η of noise with variance η/(1+step)^0.55 (Neelakantan et al. 2015)
	NormDecay float64 // how much of a batch's statistics enters the running ones; 0 is 0.1
	ValSplit  float64 // share of the data kept for validation, drawn by the seed
	Options   Options
	Augment   Augment
	Distill   Distill // used where the job has a teacher
	// Quantization is what is trained of a network that computes on levels, one
	// of Quantizations; "" is lsq, and nothing for a float network.
	Quantization string
	// KeepZeros leaves the weights of convolutions and dense layers zero that are
	// zero when it begins: a mask stays one.
	KeepZeros bool
	Target    string
}

// Default is a configuration that trains most small networks.
func Default() Config {
	return Config{
		Epochs: 10, Batch: 64, Optimizer: "adamw", Schedule: "cosine", Seed: 1,
		Hyper:   Hyper{Momentum: 0.9, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 1e-4, Nesterov: true},
		Distill: Distill{Mode: "logits", Weight: 0.9, Temperature: 4},
	}
}

// Check refuses settings that no training takes.
func (c *Config) Check() error {
	if _, err := findOptimizer(c.Optimizer); err != nil {
		return err
	}
	if _, err := findSchedule(c.Schedule); err != nil {
		return err
	}
	bad := func(key string, found any, wanted string) error {
		return &diag.Error{Place: key, Found: fmt.Sprint(found), Wanted: wanted}
	}
	within := func(key string, v, lo, hi float64) error {
		if v >= lo && v <= hi {
			return nil
		}
		return bad(key, v, fmt.Sprintf("%v to %v", lo, hi))
	}
	switch {
	case c.Epochs < 1 || c.Epochs > 1<<20:
		return bad("--epochs", c.Epochs, "1 or more")
	case c.Steps < 0:
		return bad("--steps", c.Steps, "0 or more")
	case c.Batch < 1 || c.Batch > 1<<20:
		return bad("--batch", c.Batch, "1 or more")
	}
	return errors.Join(
		within("--lr", c.LR, 0, 1e3), within("--warmup", c.Warmup, 0, float64(c.Epochs)), within("--momentum", c.Hyper.Momentum, 0, 0.99999),
		within("--weight-decay", c.Hyper.WeightDecay, 0, 10), within("--clip", c.Clip, 0, 1e9), within("--ema", c.EMA, 0, 0.999999),
		within("--smoothing", c.Smoothing, 0, 0.99), within("--val-split", c.ValSplit, 0, 0.9), within("--grad-noise", c.GradNoise, 0, 1e3),
		within("--dropout", c.Options.Dropout, 0, 0.99), within("--drop-path", c.Options.DropPath, 0, 0.99),
		within("--distill-weight", c.Distill.Weight, 0, 1), within("--temperature", c.Distill.Temperature, 0, 1e3),
		within("--mixup", c.Augment.Mixup, 0, 100), within("--cutmix", c.Augment.Cutmix, 0, 100),
		within("--autoaugment", float64(c.Augment.Auto), 0, 8), within("--random-crop", float64(c.Augment.Crop), 0, 1<<12), within("--cutout", float64(c.Augment.Cutout), 0, 1<<12),
	)
}

// Epoch is what one pass over the data gave.
type Epoch struct {
	Loss  float64 `json:"loss"`
	Top1  float64 `json:"top1"` // of the training batches, as they came
	Rate  float64 `json:"lr"`   // of the last step
	MS    float64 `json:"ms_per_step"`
	Valid bool    `json:"validated"`
	VLoss float64 `json:"val_loss,omitempty"`
	VTop1 float64 `json:"val_top1,omitempty"`
}

// sums are those of a running epoch.
type sums struct {
	Loss  float64
	Right int
	Seen  int
	Steps int
}

// Job is one training.
type Job struct {
	Config
	Network    *Network
	Data       *data.Feed
	Valid      *data.Feed           // nil: ValSplit of Data, or none
	Preprocess *nascfile.Preprocess // of Data, where it is pictures
	Teacher    *Teacher             // nil: the labels alone
	Backend    Backend              // nil: cpu-f32
	Threads    int

	Checkpoint string        // file to keep the state in; "": none
	Every      time.Duration // between checkpoints within an epoch; 0 is a minute
	Resume     bool          // go on from Checkpoint where it exists

	Progress func(done, total int)    // steps
	Report   func(epoch int, e Epoch) // after each
	Warn     func(text string)

	opt     *optimizer
	sched   *schedule
	train   *batcher
	valid   *samples
	exe     backends.Executable
	teach   backends.Executable // of Teacher
	answers []*ir.Tensor        // what it says of a batch
	trained []*Param            // the network's parameters, then a teacher's adapters
	out     []*ir.Tensor
	params  []*ir.Tensor
	grads   [][]float32
	moments [][][]float32 // by parameter, then moment
	zeros   [][]int       // by parameter: the elements that stay zero
	ema     [][]float32
	state   state
	saved   int   // the step of the last checkpoint
	free    int64 // memory to assume, for tests; 0: what the system says
}

// Result is a finished training.
type Result struct {
	Epochs  []Epoch   `json:"epochs"`
	Steps   int       `json:"steps"`
	Resumed int       `json:"resumed_at,omitempty"`  // of the steps, how many were done before
	MS      float64   `json:"ms_per_step,omitempty"` // of those done now
	Graph   *ir.Graph `json:"-"`                     // the network with its trained weights
}

// Run trains. On an error the last checkpoint stays; when ctx ends, one of the
// last step is written.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	defer j.close()
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	per := j.train.perEpoch()
	total := per * j.Epochs
	if j.Steps > 0 {
		total = min(total, j.Steps)
	}
	warmup := min(int(j.Warmup*float64(per)), total)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	saved := time.Now()
	var took time.Duration
	first := j.state.Step
	mark := time.Now()
	stepsHere := 0
	for b := range j.train.stream(ctx, j.state.Step, total) {
		if b.err != nil {
			return nil, b.err
		}
		rate := j.sched.rate(b.step, total, warmup) * j.LR
		if err := j.step(ctx, b, rate); err != nil {
			return nil, j.kept(j.stopped(err))
		}
		stepsHere++
		j.state.Step = b.step + 1
		if j.Progress != nil {
			j.Progress(j.state.Step, total)
		}
		done := j.state.Step%per == 0 || j.state.Step == total
		if done {
			d := time.Since(mark)
			took += d
			s := j.state.Sums
			e := Epoch{Loss: s.Loss / float64(s.Steps), Top1: float64(s.Right) / float64(s.Seen), Rate: rate, MS: d.Seconds() * 1e3 / float64(stepsHere)}
			if j.valid != nil {
				var err error
				if e.VLoss, e.VTop1, err = j.validate(ctx); err != nil {
					return nil, err
				}
				if !finite(e.VLoss) {
					return nil, j.kept(&diag.Error{
						Place: fmt.Sprintf("validation after step %d", j.state.Step), Found: fmt.Sprintf("a loss of %v", e.VLoss), Wanted: "finite numbers",
						Fix: "look for numbers that are too large in the data, or a lower --lr", Unmet: true,
					})
				}
				e.Valid = true
			}
			j.state.Epochs, j.state.Sums = append(j.state.Epochs, e), sums{}
			if j.Report != nil {
				j.Report(len(j.state.Epochs), e)
			}
		}
		if done || time.Since(saved) > j.Every {
			if err := j.keep(); err != nil {
				return nil, j.kept(err)
			}
			saved = time.Now()
		}
		if done {
			mark, stepsHere = time.Now(), 0
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, j.stopped(err)
	}
	r := &Result{Epochs: j.state.Epochs, Steps: total, Resumed: first, Graph: j.Network.Inference(j.best())}
	if n := total - first; n > 0 {
		r.MS = took.Seconds() * 1e3 / float64(n)
	}
	return r, nil
}

func (j *Job) warn(format string, args ...any) {
	if j.Warn != nil {
		j.Warn(fmt.Sprintf(format, args...))
	}
}

func (j *Job) close() {
	for _, e := range []backends.Executable{j.exe, j.teach} {
		if e != nil {
			e.Close()
		}
	}
}

// kept says in an error where the last good state is.
func (j *Job) kept(err error) error {
	if j.Checkpoint == "" {
		return err
	}
	if _, e := os.Stat(j.Checkpoint); e != nil {
		return err
	}
	var d *diag.Error
	if errors.As(err, &d) && d.Fix != "" {
		d.Fix += "; the last good state is in " + j.Checkpoint
	}
	return err
}

// keep writes the checkpoint where there is one to write.
func (j *Job) keep() error {
	if err := j.sound(); err != nil || j.Checkpoint == "" {
		return err
	}
	j.saved = j.state.Step
	return j.state.save(j.Checkpoint)
}

// stopped keeps the state of the last whole step where the training was told to
// end between two.
func (j *Job) stopped(err error) error {
	if !errors.Is(err, context.Canceled) || j.state.Step == j.saved || j.sound() != nil {
		return err
	}
	return errors.Join(err, j.keep())
}

// sound refuses to keep a state whose last step made a number that is not finite:
// what comes next would find it, and the file before would be lost.
func (j *Job) sound() error {
	for _, t := range j.state.tensors {
		if slices.ContainsFunc(t.Tensor.F32(), func(v float32) bool { return v-v != 0 }) {
			name, kind := t.Name[strings.IndexByte(t.Name, '.')+1:], "a moment of "
			switch t.Name[0] {
			case 'w':
				kind = ""
			case 'e':
				kind = "the average of "
			case 's':
				kind = "the statistics "
			}
			return &diag.Error{Place: fmt.Sprintf("step %d", j.state.Step), Found: "a number in " + kind + strconv.Quote(name) + " that is not finite", Wanted: "finite numbers", Fix: "a lower --lr, --warmup or --clip", Unmet: true}
		}
	}
	return nil
}

// best is the weights to keep: the averaged ones where there are any, nil for
// the present ones.
func (j *Job) best() [][]float32 {
	if j.ema == nil {
		return nil
	}
	return j.ema[:len(j.Network.Params)]
}

// Check refuses settings and samples that Run would refuse before its first
// step, so that who trains many networks alike knows before the first. Memory is
// each network's own matter. A job that was checked is not for running.
func (j *Job) Check(ctx context.Context) error {
	j.free = math.MaxInt64
	_, _, err := j.ready(ctx)
	return err
}

func (j *Job) prepare(ctx context.Context) error {
	if j.Every == 0 {
		j.Every = time.Minute
	}
	if j.Checkpoint != "" {
		if err := replaceable(j.Checkpoint); err != nil {
			return err
		}
	}
	s, teacher, err := j.ready(ctx)
	if err != nil {
		return err
	}
	if teacher != nil {
		if j.teach, err = answering(teacher, max(1, j.Threads)); err != nil {
			return err
		}
		for _, v := range teacher.Outputs {
			j.answers = append(j.answers, ir.NewTensor(v.Type.DType, v.Type.Shape...))
		}
	}
	if j.exe, err = j.Backend(s.graph, s.params, max(1, j.Threads)); err != nil {
		return err
	}
	for _, v := range s.graph.Outputs {
		j.out = append(j.out, ir.NewTensor(v.Type.DType, v.Type.Shape...))
	}
	j.state = state{Config: j.Config}
	if j.Checkpoint != "" {
		if j.state.Data, err = j.train.digest(); err != nil {
			return err
		}
	}
	keep := func(name string, v []float32) {
		j.state.tensors = append(j.state.tensors, ir.NamedTensor{Name: name, Tensor: ir.From(v, len(v))})
	}
	if j.KeepZeros {
		j.zeros = j.Network.zeros()
	}
	for _, p := range j.trained {
		j.params = append(j.params, ir.From(p.Value, p.Shape...))
		g := ir.NewTensor(ir.F32, p.Shape...)
		j.out, j.grads = append(j.out, g), append(j.grads, g.F32())
		keep("w."+p.Name, p.Value)
		ms := make([][]float32, j.opt.moments)
		for k := range ms {
			ms[k] = make([]float32, len(p.Value))
			keep("m"+strconv.Itoa(k)+"."+p.Name, ms[k])
		}
		j.moments = append(j.moments, ms)
		if j.EMA > 0 {
			e := slices.Clone(p.Value)
			j.ema = append(j.ema, e)
			keep("e."+p.Name, e)
		}
	}
	for _, n := range j.Network.norms {
		keep("s."+n.meanName, n.mean)
		keep("s."+n.varName, n.variance)
	}
	if j.Resume && j.Checkpoint != "" {
		if err := j.state.load(j.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		} else if err == nil {
			j.warn("resumed at step %d from %s", j.state.Step, j.Checkpoint)
		} else {
			j.warn("no checkpoint in %s: the training begins at its first step", j.Checkpoint)
		}
		j.saved = j.state.Step
	}
	return nil
}

// ready makes the step's graph and the batches, and refuses what no step would
// come through.
func (j *Job) ready(ctx context.Context) (s *step, teacher *ir.Graph, err error) {
	if err := j.Config.Check(); err != nil {
		return nil, nil, err
	}
	if j.opt, err = findOptimizer(j.Optimizer); err != nil {
		return nil, nil, err
	}
	if j.sched, err = findSchedule(j.Schedule); err != nil {
		return nil, nil, err
	}
	if j.LR == 0 {
		j.LR = j.opt.lr
	}
	if j.NormDecay == 0 {
		j.NormDecay = 0.1
	}
	var l *lesson
	if err := j.Network.useHeads(j.Options.Heads); err != nil {
		return nil, nil, err
	}
	if quantized, err := j.Network.Quantization(cmp.Or(j.Quantization, "lsq")); err != nil {
		return nil, nil, err
	} else if j.Quantization != "" && !quantized {
		return nil, nil, &diag.Error{Place: "--qat", Found: "a float network", Wanted: "one that computes on levels, as passes.Simulate makes it"}
	}
	j.trained = slices.Clone(j.Network.Params)
	switch {
	case j.Teacher == nil && j.Distill.Mode == "in-place":
		if l, err = j.Options.inPlace(j.Distill); err != nil {
			return nil, nil, err
		}
	case j.Teacher == nil:
		j.Distill = Distill{}
	default:
		j.Distill.Digest = j.Teacher.digest()
		if l, teacher, err = j.Teacher.lesson(ctx, j.Network, j.Preprocess, j.Distill, j.Batch, j.Seed); err != nil {
			return nil, nil, err
		}
		j.trained = append(j.trained, l.adapters...)
	}
	if s, err = j.Network.step(j.Batch, j.Options, l); err != nil {
		return nil, nil, err
	}
	j.without(s)
	if err := j.samples(s); err != nil {
		return nil, nil, err
	}
	if j.Backend == nil {
		if j.Backend, err = Backends("cpu-f32"); err != nil {
			return nil, nil, err
		}
	}
	if err := j.room(s, teacher); err != nil {
		return nil, nil, err
	}
	for _, x := range []*samples{j.train.samples, j.valid} {
		if x == nil {
			continue
		}
		if err := x.check(ctx); err != nil {
			return nil, nil, err
		}
	}
	return s, teacher, nil
}

// without says what was asked for and finds no place, and which outputs change
// untrained.
func (j *Job) without(s *step) {
	has := func(kind string) bool {
		return slices.ContainsFunc(s.masks, func(m mask) bool { return strings.HasPrefix(m.value.Name, kind) })
	}
	if j.Options.Dropout > 0 && !has("dropout") {
		j.warn("--dropout is without effect: the network has no dense layer")
	}
	if j.Options.DropPath > 0 && !has("drop_path") {
		j.warn("--drop-path is without effect: the network has no residual branch")
	}
	if outs := j.Network.graph.Outputs; len(outs) > 1 && j.Options.Heads == "" {
		var names []string
		for _, v := range outs {
			if names = append(names, v.Name); v.Def != nil {
				names[len(names)-1] = v.Def.Label()
			}
		}
		j.warn("output %s alone is trained; what it shares with %s changes them, too (--heads trains those of the same classes)", names[0], strings.Join(names[1:], ", "))
	}
}

// samples splits the data and prepares the batches.
func (j *Job) samples(s *step) error {
	n := j.Data.Len()
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	var err error
	if j.Valid == nil && j.ValSplit > 0 {
		rand.New(rand.NewPCG(j.Seed, 3)).Shuffle(n, func(a, b int) { index[a], index[b] = index[b], index[a] })
		k := int(j.ValSplit*float64(n) + 0.5)
		held := slices.Clone(index[:k])
		index = index[k:]
		slices.Sort(held)
		slices.Sort(index)
		if j.valid, err = newSamples("--val-split", j.Data, held, j.Network.Classes); err != nil {
			return err
		}
	}
	if j.Valid != nil {
		all := make([]int, j.Valid.Len())
		for i := range all {
			all[i] = i
		}
		if j.valid, err = newSamples("--val", j.Valid, all, j.Network.Classes); err != nil {
			return err
		}
	}
	tr, err := newSamples("--data", j.Data, index, j.Network.Classes)
	if err != nil {
		return err
	}
	tr.unlabelled = j.Teacher != nil && j.Distill.Weight == 1
	j.train = &batcher{samples: tr, s: s, size: j.Batch, seed: j.Seed, augment: j.Augment, smoothing: j.Smoothing}
	if err := j.pictures(s.graph); err != nil {
		return err
	}
	if len(index) < j.Batch {
		return &diag.Error{Place: "--batch", Found: fmt.Sprintf("%d with %d samples to train on", j.Batch, len(index)), Wanted: "at most the number of samples"}
	}
	return nil
}

// pictures finds how pictures lie in the first input, and refuses augmentation
// where it is none, or would leave nothing of one.
func (j *Job) pictures(g *ir.Graph) error {
	a, in := j.Augment, g.Inputs[0].Type
	d := in.Shape
	if in.DType != ir.F32 || len(d) != 4 {
		if f := a.flags(); f != "" {
			return &diag.Error{Place: f, Found: "input " + in.String(), Wanted: "pictures, which it changes"}
		}
		return nil
	}
	p := picture{h: d[1], w: d[2], c: d[3]}
	if planar(g.Inputs[0], g, j.Preprocess) {
		p = picture{h: d[2], w: d[3], c: d[1], planar: true}
	}
	j.train.pictures, j.train.picture = true, p
	bad := func(place string, found any, wanted string) error {
		return &diag.Error{Place: place, Found: fmt.Sprintf("%v for pictures of %d×%d", found, p.h, p.w), Wanted: wanted}
	}
	switch {
	case a.Crop >= min(p.h, p.w):
		return bad("--random-crop", a.Crop, "less than their extent, so that something is left")
	case a.Cutout > max(p.h, p.w):
		return bad("--cutout", a.Cutout, "at most their extent")
	case (a.Mixup > 0 || a.Cutmix > 0) && j.train.s.data > 1:
		return &diag.Error{Place: "--mixup, --cutmix", Found: fmt.Sprintf("%d inputs", j.train.s.data), Wanted: "one, a picture"}
	}
	return nil
}

// planar says whether channels come before rows and columns: by preprocessing, by
// how many channels pictures can have, or where the network turns them first.
func planar(v *ir.Value, g *ir.Graph, pp *nascfile.Preprocess) bool {
	if pp == nil {
		pp = data.Assume(v.Type)
	}
	if pp != nil {
		return pp.Layout == "nchw"
	}
	return slices.ContainsFunc(g.Uses()[v], func(u ir.Use) bool {
		return u.Node != nil && u.Node.Op.Name == "transpose" && slices.Equal(u.Node.Ints("permutation"), []int{0, 2, 3, 1})
	})
}

// step runs one batch and updates parameters and statistics.
func (j *Job) step(ctx context.Context, b batch, rate float64) error {
	switch {
	case j.teach == nil:
	case j.Teacher.Remembers(j.Config):
		if err := j.Teacher.recall(ctx, j, b.from); err != nil {
			return err
		}
	default:
		if err := j.teach.Run(ctx, b.in[:j.train.s.data], j.answers); err != nil {
			return err
		}
	}
	in := slices.Concat(b.in, j.answers, j.params)
	if err := j.exe.Run(ctx, in, j.out); err != nil {
		return err
	}
	loss := float64(j.out[0].F32()[0])
	if !finite(loss) {
		return j.broken(ctx, b, in, fmt.Sprintf("a loss of %v", loss))
	}
	j.keepZeros(j.grads)
	norm := clip(j.grads, j.Clip)
	if !finite(norm) {
		return j.broken(ctx, b, in, "a gradient that is not finite")
	}
	j.noise(b.step)
	y := j.out[1]
	c := j.Network.Classes
	for i, l := range b.labels {
		row := y.F32()[i*c : (i+1)*c]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		if best == l {
			j.state.Sums.Right++
		}
	}
	j.state.Sums.Loss += loss
	j.state.Sums.Seen += len(b.labels)
	j.state.Sums.Steps++
	for i, p := range j.trained {
		j.update(i, b.step+1, rate)
		j.keepZero(i, p.Value)
		if j.EMA > 0 {
			// A short memory at first: the first weights are random.
			d := float32(min(j.EMA, float64(1+b.step)/float64(10+b.step)))
			for k, v := range p.Value {
				j.ema[i][k] = float32(d*j.ema[i][k]) + float32((1-d)*v)
			}
		}
	}
	if !j.Options.FreezeNorm {
		j.statistics()
	}
	return nil
}

// statistics moves the running mean and (unbiased) variance towards the
// batch's.
func (j *Job) statistics() {
	d := float32(j.NormDecay)
	for i, n := range j.Network.norms {
		m, v := j.out[2+2*i].F32(), j.out[3+2*i].F32()
		f := float32(1)
		if k := j.train.s.normRows(i); k > 1 {
			f = float32(float64(k) / float64(k-1))
		}
		for c := range m {
			n.mean[c] += float32(d * (m[c] - n.mean[c]))
			n.variance[c] += float32(d * (float32(v[c]*f) - n.variance[c]))
		}
	}
}

// normRows is how many values a channel of norm i has in a batch.
func (s *step) normRows(i int) int {
	x := s.graph.Outputs[2+2*i].Def.Inputs[0].Type.Shape
	return x[:len(x)-1].Elems()
}

// noise adds to the gradients what GradNoise asks for.
func (j *Job) noise(step int) {
	if j.GradNoise == 0 {
		return
	}
	std := math.Sqrt(j.GradNoise / math.Pow(1+float64(step), 0.55))
	r := rand.New(rand.NewPCG(j.Seed, uint64(step)<<8|4))
	for _, g := range j.grads {
		for i := range g {
			g[i] += float32(std * r.NormFloat64())
		}
	}
}

func finite(v float64) bool { return v-v == 0 }

// broken finds the layer in which a number that is not finite appears first,
// by the interpreter, or the sample that brings it.
func (j *Job) broken(ctx context.Context, b batch, in []*ir.Tensor, found string) error {
	g, step := j.train.s.graph, b.step
	for k, v := range g.Inputs[:j.train.s.data] {
		if x := in[k]; x.DType == ir.F32 {
			if i := slices.IndexFunc(x.F32(), func(v float32) bool { return v-v != 0 }); i >= 0 {
				return &diag.Error{
					Place: "step " + strconv.Itoa(step+1), Found: fmt.Sprintf("%s; sample %d of --data brings an infinite number into input %s", found, b.from[i*j.Batch/x.Len()], v.Name),
					Wanted: "finite numbers", Fix: "mend the data, or leave the sample out",
				}
			}
		}
	}
	layer := ""
	output := computes(g, g.Outputs[1])
	stop := errors.New("found")
	_, err := eval.Run(ctx, g, in, eval.Options{Each: func(n *ir.Node, _, out []*ir.Tensor) error {
		for _, t := range out {
			if t.DType == ir.F32 && slices.ContainsFunc(t.F32(), func(v float32) bool { return v-v != 0 }) {
				layer = n.Op.Name + " " + strconv.Quote(n.Label())
				if !output[n] && !slices.ContainsFunc(j.Network.graph.Nodes, func(k *ir.Node) bool { return k.Label() == n.Label() }) {
					layer = "the loss, all layers' results are finite"
				}
				return stop
			}
		}
		return nil
	}})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	e := &diag.Error{Place: "step " + strconv.Itoa(step+1), Found: found, Wanted: "finite numbers", Fix: "a lower --lr, --warmup or --clip", Unmet: true}
	if layer != "" {
		e.Found += "; the first value that is not finite comes out of " + layer
	} else {
		e.Found += "; it arises in the gradient, all values forward are finite"
	}
	return e
}

// computes are the nodes that v comes from.
func computes(g *ir.Graph, v *ir.Value) map[*ir.Node]bool {
	need, out := map[*ir.Value]bool{v: true}, map[*ir.Node]bool{}
	for _, n := range slices.Backward(g.Nodes) {
		if slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return need[v] }) {
			out[n] = true
			for _, x := range n.Inputs {
				need[x] = true
			}
		}
	}
	return out
}

// validate measures loss and top-1 with the weights that would be kept.
func (j *Job) validate(ctx context.Context) (loss, top1 float64, err error) {
	return j.Network.evaluate(ctx, j.best(), j.valid, j.Batch, max(1, j.Threads), j.Options.Loss)
}
