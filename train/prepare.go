package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

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
