package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/train"
)

func (a *app) train() *cobra.Command {
	o := nasc.TrainOptions{Config: train.Default()}
	var (
		pre         preFlags
		shapes      shapeFlag
		curve       string
		recalibrate bool
	)
	c := &cobra.Command{
		Use: "train MODEL --data DATA -o OUT.nasc", Short: "train a float network",
		Long: "train fits the weights of an .onnx, .toml or .nasc float model to labelled data and writes a .nasc file,\n" +
			"which compiles like any other model. A step's forward, loss and gradient are one graph that the target runs.\n" +
			"A checkpoint beside OUT.nasc is replaced after each epoch (and each minute): --resume goes on from it to the same bits.",
		Example: "  nasc train zoo/digits-cnn.toml --data digits[0:1200] --val digits[1200:] --epochs 20 --random-crop 1 -o digits.nasc",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.trainFlags(cmd, args[0], curve, recalibrate, &o); err != nil {
				return err
			}
			m, err := nasc.Open(args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			pictures := pictureData(o.Data)
			if in := m.Graph().Inputs; pictures && m.Manifest.Preprocess == nil && len(in) == 1 {
				m.Manifest.Preprocess = data.Assume(in[0].Type) // the architecture does not say
			}
			if o.Preprocess, err = pre.apply(a, m.Manifest.Preprocess, pictures); err != nil {
				return err
			}
			for _, n := range m.Notes {
				a.note("note: %s", n)
			}
			if !cmd.Flags().Changed("keep-zeros") && m.Masked() && !o.Reinit {
				o.KeepZeros = true
				a.note("note: %s has a mask: what it set to zero stays so (--keep-zeros=false trains it, too)", args[0])
			}
			o.Warn = func(s string) { a.note("note: %s", s) }
			if recalibrate {
				r, err := nasc.RecalibrateNorms(cmd.Context(), m, o)
				if err != nil {
					return err
				}
				return a.show(r, func(w io.Writer) { recalibratedText(w, r) })
			}
			update, finish := a.progress()
			o.Progress = func(done, total int) { update("train", done, total) }
			o.Report = func(k int, e train.Epoch) { a.note("%s", epochText(k, o.Epochs, e)) }
			start := time.Now()
			r, err := nasc.Train(cmd.Context(), m, o)
			finish()
			if err != nil {
				a.goesOn(err, &o)
				return err
			}
			if curve != "" {
				if err := replaceFile(curve, func(w io.Writer) error { _, err := w.Write(train.CurveSVG(m.Path, r.Epochs)); return err }); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) { trainText(w, r, time.Since(start)) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "labelled DATA to train on: "+data.Kinds)
	f.StringVar(&o.Val, "val", "", "labelled DATA to validate on after each epoch")
	f.Float64Var(&o.ValSplit, "val-split", 0, "without --val: the share of --data kept for validation")
	f.StringVarP(&o.Out, "output", "o", "", "the .nasc file to write")
	f.StringVar(&o.Target, "target", "cpu-f32", "what runs the steps: cpu-f32 (cpu-f32@vnni on AMX: the bits of machines without), or xla-cpu or go, where gomlx differentiates")
	f.IntVar(&o.Epochs, "epochs", o.Epochs, "passes over the data")
	f.IntVar(&o.Steps, "steps", 0, "stop after so many steps, also within an epoch (0: when the epochs are over)")
	f.IntVar(&o.Batch, "batch", o.Batch, "samples a step")
	f.Float64Var(&o.LR, "lr", 0, "highest learning rate (0: the optimizer's own)")
	f.StringVar(&o.Optimizer, "optimizer", o.Optimizer, strings.Join(train.Optimizers(), ", "))
	f.StringVar(&o.Schedule, "schedule", o.Schedule, strings.Join(train.Schedules(), ", "))
	f.Float64Var(&o.Warmup, "warmup", 0, "epochs in which the learning rate rises")
	f.Float64Var(&o.Hyper.Momentum, "momentum", o.Hyper.Momentum, "of sgd")
	f.BoolVar(&o.Hyper.Nesterov, "nesterov", o.Hyper.Nesterov, "Nesterov's form of the momentum")
	f.Float64Var(&o.Hyper.WeightDecay, "weight-decay", o.Hyper.WeightDecay, "of weights; biases and norms have none")
	f.Float64Var(&o.Clip, "clip", 0, "greatest norm of the gradients (0: any)")
	f.Float64Var(&o.EMA, "ema", 0, "keep a running average of the weights with this decay, such as 0.999")
	f.Float64Var(&o.Smoothing, "smoothing", 0, "of labels")
	f.StringVar(&o.Options.Loss, "loss", "cross-entropy", strings.Join(train.Losses, ", "))
	f.StringVar(&o.Options.Heads, "heads", "", "weights, with commas, of the losses of the second output and the following ones, which have the same classes")
	f.Float64Var(&o.Options.Dropout, "dropout", 0, "before the last dense layer")
	f.Float64Var(&o.Options.DropPath, "drop-path", 0, "chance that the last residual branch is left out; earlier ones less")
	f.BoolVar(&o.Options.FreezeNorm, "freeze-norm", false, "keep the batch norms' statistics")
	f.Float64Var(&o.GradNoise, "grad-noise", 0, "variance of noise on the gradients, falling with (1+step)^-0.55")
	f.IntVar(&o.Augment.Crop, "random-crop", 0, "shift pictures by up to so many pixels")
	f.BoolVar(&o.Augment.Flip, "flip", false, "mirror every second picture")
	f.IntVar(&o.Augment.Auto, "autoaugment", 0, "operations drawn for each picture: shears, rotation, shift, contrast, brightness, colour")
	f.IntVar(&o.Augment.Cutout, "cutout", 0, "blank a square of so many pixels")
	f.Float64Var(&o.Augment.Mixup, "mixup", 0, "alpha of mixed pairs of pictures")
	f.Float64Var(&o.Augment.Cutmix, "cutmix", 0, "alpha of rectangles pasted from another picture")
	f.StringVar(&o.Teacher, "teacher", "", "a trained model, float or quantized, to learn from")
	f.StringVar(&o.Distill.Mode, "distill", o.Distill.Mode, "what is learned from the teacher, with commas: logits, features (layers of equal resolution), blocks (each fed by the teacher); in-place: without --teacher, the first output teaches those of --heads")
	f.Float64Var(&o.Distill.Weight, "distill-weight", o.Distill.Weight, "the teacher's share of the loss; at 1 no labels are needed")
	f.Float64Var(&o.Distill.Temperature, "temperature", o.Distill.Temperature, "softens the answers that are compared; 0: squared error of the logits")
	f.StringVar(&o.Distill.At, "distill-at", "", "pairs STUDENT=TEACHER of layers for features and blocks, with commas; without, the last of each resolution")
	f.BoolVar(&recalibrate, "recalibrate-bn", false, "train nothing: take the batch norms' statistics anew from --data, and compare accuracy on --val with and without")
	f.StringVar(&o.Quantization, "qat", "", "train the network as int8 will run it, from quantized weights on: ste (weights), lsq (scales too) or lsq+ (zero points too); OUT compiles without --calib")
	f.IntVar(&o.WeightBits, "weight-bits", 0, "with --qat: 8, or 4 (the first and last layer keep 8)")
	f.StringVar(&o.Calib, "calib", "", "with --qat: DATA for the first scales; without, 128 samples of --data")
	f.BoolVar(&o.KeepZeros, "keep-zeros", false, "weights of layers that are zero stay zero (the default for a file with a mask)")
	f.BoolVar(&o.Reinit, "reinit", false, "draw the weights anew first; without, those of the model are trained on")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the order, the augmentation, the masks and --reinit")
	f.IntVar(&o.Threads, "threads", 2, "threads of a step")
	f.StringVar(&o.Checkpoint, "checkpoint", "", "file that keeps the state (OUT.nasc.ckpt)")
	f.DurationVar(&o.Every, "checkpoint-every", time.Minute, "time between checkpoints within an epoch")
	f.BoolVar(&o.Resume, "resume", false, "go on from the checkpoint, where there is one")
	f.StringVar(&curve, "curve", "", "write the learning curve here, as SVG")
	shapes.flag(f)
	pre.flags(f)
	return c
}

// goesOn says how to go on with a training that was interrupted.
func (a *app) goesOn(err error, o *nasc.TrainOptions) {
	if !errors.Is(err, context.Canceled) {
		return
	}
	path := cmp.Or(o.Checkpoint, o.Out+".ckpt")
	if _, err := os.Stat(path); err == nil && path != ".ckpt" {
		a.note("note: the state is in %s; the same command with --resume goes on from it", path)
	}
}

func recalibratedText(w io.Writer, r *nasc.Recalibrated) {
	fmt.Fprintf(w, "%d batch norms measured on %d samples\n", r.Norms, r.Samples)
	if r.N > 0 {
		fmt.Fprintf(w, "top-1 %.2f → %.2f %% of %d samples\n", 100*r.Before, 100*r.Top1, r.N)
	}
	if r.Out != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Out)
	}
}

func epochText(k, of int, e train.Epoch) string {
	s := fmt.Sprintf("epoch %d/%d: loss %.4f, top-1 %.2f %%", k, of, e.Loss, 100*e.Top1)
	if e.Valid {
		s += fmt.Sprintf("; validation loss %.4f, top-1 %.2f %%", e.VLoss, 100*e.VTop1)
	}
	return s + fmt.Sprintf("; %.1f ms a step", e.MS)
}

func trainText(w io.Writer, r *nasc.TrainResult, took time.Duration) {
	fmt.Fprint(w, train.CurveText(r.Epochs))
	if now := r.Steps - r.Resumed; now > 0 {
		of := ""
		if r.Resumed > 0 {
			of = fmt.Sprintf(" of %d", r.Steps)
		}
		fmt.Fprintf(w, "%d%s steps in %s, %.1f ms each on %s", now, of, took.Round(100*time.Millisecond), r.MS, r.Target)
	} else {
		fmt.Fprintf(w, "all %d steps were done before", r.Steps)
	}
	fmt.Fprintf(w, "; %s parameters\n", countText(r.Params))
	if k := len(r.Epochs); k > 0 && r.Epochs[k-1].Valid {
		fmt.Fprintf(w, "validation top-1 %.2f %%\n", 100*r.Top1)
	}
	if r.Out != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Out)
	}
}
