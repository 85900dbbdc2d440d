package main

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/train"
)

// runner does the arms of one seed.
type runner struct {
	s     *settings
	j     *journal
	seed  uint64
	model string
}

// calibration is what post-training quantization gets: as many training
// pictures as the start of quantization-aware training.
const calibration = 128

// all runs, in order: base, the float training; f32, base trained on in float;
// ptq8, f32 quantized after training; and from base trained on as int8 runs it
// qat8 and, with weights of 4 bits, qat4.
func (r *runner) all(ctx context.Context) error {
	base, f32 := r.path("base"), r.path("f32")
	if err := r.arm("base", func() (row, error) {
		if err := r.train(ctx, r.model, base, r.s.epochs, r.s.lr, func(o *nasc.TrainOptions) { o.Reinit, o.Warmup = true, float64(min(2, r.s.epochs)) }); err != nil {
			return row{}, err
		}
		return r.float(ctx, base)
	}); err != nil {
		return err
	}
	if err := r.arm("f32", func() (row, error) {
		if err := r.train(ctx, base, f32, r.s.more, r.s.moreLR, func(o *nasc.TrainOptions) { o.EMA, o.Options.FreezeNorm = r.s.ema, r.s.freeze }); err != nil {
			return row{}, err
		}
		return r.float(ctx, f32)
	}); err != nil {
		return err
	}
	if err := r.arm("ptq8", func() (row, error) {
		return r.int8(ctx, f32, fmt.Sprintf("%s?seed=%d&n=%d", r.s.train, r.seed, calibration))
	}); err != nil {
		return err
	}
	for _, bits := range []int{8, 4} {
		name := fmt.Sprintf("qat%d", bits)
		out := r.path(name)
		if err := r.arm(name, func() (row, error) {
			rate := r.s.moreLR
			if bits == 4 {
				rate = cmp.Or(r.s.moreLR4, rate)
			}
			if err := r.train(ctx, base, out, r.s.more, rate, func(o *nasc.TrainOptions) { o.Quantization, o.WeightBits, o.EMA = "lsq", bits, r.s.ema }); err != nil {
				return row{}, err
			}
			return r.int8(ctx, out, "")
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) path(arm string) string {
	return filepath.Join(r.s.work, fmt.Sprintf("%s-%d.nasc", arm, r.seed))
}

// arm does one that is not done.
func (r *runner) arm(name string, f func() (row, error)) error {
	if r.j.find(r.seed, name) != nil {
		return nil
	}
	start := time.Now()
	w, err := f()
	if err != nil {
		return fmt.Errorf("seed %d, %s: %w", r.seed, name, err)
	}
	w.Seed, w.Arm, w.Seconds = r.seed, name, time.Since(start).Seconds()
	return r.j.add(w)
}

func (r *runner) train(ctx context.Context, from, to string, epochs int, lr float64, set func(o *nasc.TrainOptions)) error {
	m, err := nasc.Open(from, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	c := train.Default()
	c.Epochs, c.Batch, c.LR, c.Seed, c.Target = epochs, r.s.batch, lr, r.seed, "cpu-f32"
	c.Hyper.WeightDecay, c.Smoothing = 0.02, 0.05
	c.Augment.Crop, c.Augment.Flip = 4, true
	o := nasc.TrainOptions{Config: c, Out: to, Data: r.s.train, Threads: 1, Resume: true, Every: time.Minute}
	set(&o)
	o.Report = func(k int, e train.Epoch) {
		fmt.Fprintf(os.Stderr, "%s: epoch %d/%d, loss %.4f, top-1 %.2f %%, %.0f ms a step\n", filepath.Base(to), k, epochs, e.Loss, 100*e.Top1, e.MS)
	}
	if _, err := nasc.Train(ctx, m, o); err != nil {
		return err
	}
	return os.Remove(to + ".ckpt") // done: a further run of other settings begins anew
}

// feed opens the test pictures for a model.
func (r *runner) feed(m *nasc.Model) (*data.Feed, error) {
	return data.OpenFeed(r.s.test, m.Graph().Inputs, m.Manifest.Preprocess)
}

// float judges a network on cpu-f32.
func (r *runner) float(ctx context.Context, path string) (row, error) {
	m, err := nasc.Open(path, nil)
	if err != nil {
		return row{}, err
	}
	defer m.Close()
	res, err := nasc.Compile(ctx, m, nasc.CompileOptions{Target: "cpu-f32", Eval: r.s.test, Threads: 1})
	if err != nil {
		return row{}, err
	}
	return row{Top1: res.Top1, N: res.EvalN, Bytes: res.Module.Graphs[0].ConstBytes()}, nil
}

// int8 compiles a network, judges the file on cpu-int8 and, for one trained as
// int8, counts the bits of the logits in which it differs from the trained
// network on cpu-f32.
func (r *runner) int8(ctx context.Context, path, calib string) (row, error) {
	m, err := nasc.Open(path, nil)
	if err != nil {
		return row{}, err
	}
	defer m.Close()
	res, err := nasc.Compile(ctx, m, nasc.CompileOptions{Target: "cpu-int8", Calib: calib, Eval: r.s.test, Threads: 1})
	if err != nil {
		return row{}, err
	}
	g := res.Module.Graphs[0]
	w := row{Top1: res.Top1, N: res.EvalN, Bytes: g.ConstBytes(), Share: res.MACShare}
	if calib != "" {
		return w, nil
	}
	feed, err := r.feed(m)
	if err != nil {
		return row{}, err
	}
	var want [][]*ir.Tensor
	for i, t := range []string{"cpu-f32", "cpu-int8"} {
		e, static, err := nasc.Start([]*ir.Graph{m.Graph(), g}[i], t, 1, 1)
		if err != nil {
			return row{}, err
		}
		err = nasc.Each(ctx, e, static, feed, func(int, int) {}, func(k, _ int, out []*ir.Tensor) error {
			if i == 0 {
				want = append(want, out)
				return nil
			}
			a, b := want[k][0].RawBytes(), out[0].RawBytes()
			for x := range a {
				w.Differ += bits.OnesCount8(a[x] ^ b[x])
			}
			w.Bits += 8 * len(a)
			return nil
		})
		if cerr := e.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return row{}, err
		}
	}
	return w, nil
}
