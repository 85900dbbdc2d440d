package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/train"
)

// finetuneFlags say how prune trains, if it does.
var finetuneFlags = []string{
	"finetune-lr", "finetune-batch", "finetune-optimizer", "distill", "distill-weight", "distill-mode", "temperature", "freeze-norm", "random-crop", "flip",
}

// channelFlags say which channels go.
var channelFlags = []string{"criterion", "scope", "per-cost", "correct", "inner"}

func (a *app) prune() *cobra.Command {
	var (
		o       = nasc.PruneOptions{Finetune: nasc.FinetuneOptions{Config: train.Default()}}
		targets = make([]string, len(nasc.PruneGoals))
		shapes  shapeFlag
		pre     preFlags
	)
	c := &cobra.Command{
		Use: "prune MODEL --target-macs 0.5x -o OUT.nasc", Short: "remove channels, heads and hidden units until the model costs what is asked for",
		Long: "prune removes whole channels (what belongs together goes together), so that the model is smaller and\nfaster and not only sparse. It prints what it cost before and after, measured; the result is a float .nasc,\nto be fine-tuned or compiled. For --target-latency every group of channels is timed at several widths and\nloses those that save the most time for what they are worth. With --finetune-epochs it trains what is left,\nafter each of --rounds; with --distill the network before pruning is the teacher. With --low-rank each\nlayer becomes two thin ones instead: a CIFAR ResNet-32 that was trained on ended more accurate at the same\nMACs, and slower.",
		Example: "  nasc prune net.onnx --target-macs 0.8x --data images:labels.tsv[0:100] --samples 100 --correct -o small.nasc\n" +
			"  nasc prune net.onnx --target-latency 0.6x --target cpu-int8 --table device.csv -o fast.nasc\n" +
			"  nasc prune net.onnx --target-macs 0.5x --criterion taylor --data cifar10:train.bin.gz --rounds 3 --finetune-epochs 4 --distill -o half.nasc",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, amount := range targets {
				switch {
				case amount != "" && o.Goal != "":
					return &diag.Error{Place: "--target-" + nasc.PruneGoals[i], Found: "a second target beside --target-" + o.Goal, Wanted: "one"}
				case amount != "":
					o.Goal, o.Amount = nasc.PruneGoals[i], amount
				}
			}
			if o.Goal == "" && o.Mask == "" {
				return &diag.Error{Place: "prune", Found: "no target", Wanted: "--target-macs, --target-params, --target-bytes, --target-latency or --mask", Fix: "0.5x is half of what it is now"}
			}
			if o.Table != "" && o.Goal != "latency" {
				return &diag.Error{Place: "--table", Found: "--target-" + o.Goal, Wanted: "--target-latency, which reads it"}
			}
			if o.Round < 0 || o.Blocks < 0 || o.Samples < 1 || o.Rounds < 1 || o.Finetune.Epochs < 0 {
				return &diag.Error{
					Place: "--round, --blocks, --samples, --rounds, --finetune-epochs", Found: fmt.Sprint(o.Round, ", ", o.Blocks, ", ", o.Samples, ", ", o.Rounds, ", ", o.Finetune.Epochs),
					Wanted: "whole numbers, of samples and rounds 1 or more",
				}
			}
			if o.Threads < 1 {
				return &diag.Error{Place: "--threads", Found: fmt.Sprint(o.Threads), Wanted: "1 or more"}
			}
			if !(o.Keep > 0) { // Prune's own meaning of 0 is the default
				return &diag.Error{Place: "--keep", Found: fmt.Sprint(o.Keep), Wanted: "a share, more than 0 and at most 1"}
			}
			for _, name := range finetuneFlags {
				if cmd.Flags().Changed(name) && o.Finetune.Epochs == 0 {
					return &diag.Error{Place: "--" + name, Found: "no fine-tuning", Wanted: "--finetune-epochs, for which it is"}
				}
			}
			for _, name := range channelFlags {
				if cmd.Flags().Changed(name) && o.LowRank {
					return &diag.Error{Place: "--" + name, Found: "--low-rank", Wanted: "one of the two: it is about channels that go"}
				}
			}
			for _, name := range append(slices.Clone(channelFlags), "keep", "round") {
				if cmd.Flags().Changed(name) && o.Goal == "" {
					return &diag.Error{Place: "--" + name, Found: "--mask alone, which removes nothing", Wanted: "a target, such as --target-macs 0.5x, or the flag left out"}
				}
			}
			if cmd.Flags().Changed("samples") && o.Data == "" {
				return &diag.Error{Place: "--samples", Found: "no data", Wanted: "--data, of which they are"}
			}
			alone := ""
			if o.LowRank {
				alone = "--low-rank"
			} else if o.Goal == "" {
				alone = "--mask"
			}
			if alone != "" && o.Data != "" && o.Finetune.Epochs == 0 && o.Blocks == 0 {
				return &diag.Error{Place: "--data", Found: alone + " alone, which goes by the weights", Wanted: "--finetune-epochs or --blocks, which read it", Fix: "--eval judges by DATA"}
			}
			if !cmd.Flags().Changed("per-cost") {
				o.PerCost = o.Criterion == "taylor" || o.Criterion == "hessian"
			}
			if err := nascName("-o", o.Out); err != nil {
				return err
			}
			if o.Out != "" {
				if err := writable("-o", o.Out); err != nil {
					return err
				}
			}
			m, err := nasc.Open(args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			if o.Preprocess, err = pre.apply(a, m.Manifest.Preprocess, o.Data != "" || o.Eval != ""); err != nil {
				return err
			}
			o.Finetune.Report = func(round, k int, e train.Epoch) {
				s := epochText(k, o.Finetune.Epochs, e)
				if o.Rounds > 1 {
					s = fmt.Sprintf("round %d: %s", round, s)
				}
				a.note("%s", s)
			}
			var finish func()
			o.Progress, finish = a.progress()
			o.Warn = func(s string) { a.note("note: %s", s) }
			r, err := nasc.Prune(cmd.Context(), m, o)
			finish()
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { pruneText(w, args[0], r) })
		},
	}
	f := c.Flags()
	for i, goal := range nasc.PruneGoals {
		f.StringVar(&targets[i], "target-"+goal, "", "what "+goal+" to come down to: a share (0.5x) or a number")
	}
	f.StringVarP(&o.Out, "output", "o", "", "the .nasc file to write")
	f.StringVar(&o.Target, "target", "cpu-f32", "the target whose time counts (cpu-int8 is timed with scales from noise)")
	f.IntVar(&o.Threads, "threads", 1, "threads of one run")
	f.StringVar(&o.Table, "table", "", "latency table to predict from; rows that it lacks are measured and added")
	f.StringVar(&o.Data, "data", "", "DATA whose means go into biases; taylor, hessian and activation rank by it, --correct fits layers on it, fine-tuning trains on it")
	f.IntVar(&o.Samples, "samples", 32, "samples of --data to use, but for fine-tuning, which takes all")
	f.StringVar(&o.Eval, "eval", "", "DATA to judge by: top-1 and agreement before and after")
	f.StringVar(&o.Criterion, "criterion", "l2", "what ranks channels: "+strings.Join(passes.Criteria, ", "))
	f.StringVar(&o.Scope, "scope", "global", "what is ranked together: "+strings.Join(passes.Scopes, ", ")+" (groups of one width)")
	f.BoolVar(&o.PerCost, "per-cost", false, "rank by score per cost (the default of taylor and hessian)")
	f.BoolVar(&o.Correct, "correct", false, "fit each layer that is left to what it gave before, on --data, without labels: for what is not trained afterwards")
	f.IntVar(&o.Round, "round", 0, "widths become multiples of this (0: any; for --target-latency those that save the most time for what is lost)")
	f.Float64Var(&o.Keep, "keep", 0.1, "the least share of every group of channels that stays")
	f.BoolVar(&o.Inner, "inner", false, "leave channels that residual sums join: only the insides of blocks become narrower")
	f.IntVar(&o.Blocks, "blocks", 0, "remove so many residual blocks first, those that change the outputs least")
	f.BoolVar(&o.LowRank, "low-rank", false, "make each layer two thin ones by its singular values (--keep, --round: their ranks), in place of removing channels")
	f.StringVar(&o.Mask, "mask", "", "set weights to zero: 2:4 keeps 2 of each 4, 0.8 makes 80 % of all zero; saves bytes of the file and no time")
	t := &o.Finetune
	t.Epochs = 0
	f.IntVar(&o.Rounds, "rounds", 1, "prune in so many rounds, with fine-tuning after each")
	f.IntVar(&t.Epochs, "finetune-epochs", 0, "train so many epochs on --data after each round")
	f.Float64Var(&t.LR, "finetune-lr", 0, "highest learning rate (0: the optimizer's own)")
	f.IntVar(&t.Batch, "finetune-batch", t.Batch, "samples a step")
	f.StringVar(&t.Optimizer, "finetune-optimizer", t.Optimizer, strings.Join(train.Optimizers(), ", "))
	f.BoolVar(&t.Teach, "distill", false, "fine-tune towards the network before pruning")
	f.Float64Var(&t.Distill.Weight, "distill-weight", t.Distill.Weight, "the teacher's share of the loss; at 1 no labels are needed")
	f.Float64Var(&t.Distill.Temperature, "temperature", t.Distill.Temperature, "softens the answers that are compared; 0: squared error of the logits")
	f.StringVar(&t.Distill.Mode, "distill-mode", t.Distill.Mode, "what is learned from the teacher, with commas: logits, features")
	f.BoolVar(&t.Options.FreezeNorm, "freeze-norm", false, "fine-tune with the batch norms' statistics as they are")
	f.IntVar(&t.Augment.Crop, "random-crop", 0, "fine-tune on pictures shifted by up to so many pixels")
	f.BoolVar(&t.Augment.Flip, "flip", false, "fine-tune on pictures mirrored at random")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of everything random")
	shapes.flag(f)
	pre.flags(f)
	return c
}

func pruneText(w io.Writer, name string, r *nasc.PruneResult) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\tparameters\tMACs\tweights\tmedian on %s\t\n", name, r.Target)
	for _, row := range []struct {
		name string
		s    nasc.Size
	}{{"before", r.Before}, {"after", r.After}} {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.4f ms\t\n", row.name, countText(row.s.Params), countText(row.s.MACs), bytesText(row.s.Bytes), row.s.MS)
	}
	t.Flush()
	fmt.Fprintln(w, r.Describe())
	if r.Predicted[0] > 0 {
		fmt.Fprintf(w, "by the table %.4f ms before, %.4f ms after\n", r.Predicted[0], r.Predicted[1])
	}
	if m := r.Mask; m != nil {
		fmt.Fprintf(w, "%.1f %% of the weights are zero: a file of %s instead of %s; kernels multiply zeros like other weights, so that the mask saves no time\n", 100*m.Zeros, bytesText(m.File[1]), bytesText(m.File[0]))
	}
	removedText(w, r)
	if r.Corrected > 0 {
		fmt.Fprintf(w, "%d layers fitted to what they gave before\n", r.Corrected)
	}
	if j := r.Judged; j != nil {
		if j.Top1Whole > 0 {
			fmt.Fprintf(w, "top-1 %.2f %% before, %.2f %% after\n", 100*j.Top1Whole, 100*j.Top1)
		}
		fmt.Fprintf(w, "agreement %.2f %%, SQNR %.1f dB on %d samples\n", 100*j.Agreement, j.SQNR, j.Samples)
	}
	if len(r.Blocks) > 0 {
		fmt.Fprintf(w, "blocks removed: %s\n", strings.Join(r.Blocks, ", "))
	}
	for _, x := range r.Refused {
		fmt.Fprintf(w, "kept %s: %s\n", x.Node, x.Reason)
	}
}

// removedText says what became less.
func removedText(w io.Writer, r *nasc.PruneResult) {
	if len(r.Ranks) > 0 {
		thin, rank, of := 0, 0, 0
		for _, l := range r.Ranks {
			if l.Rank < l.Of {
				thin++
			}
			rank, of = rank+l.Rank, of+l.Of
		}
		fmt.Fprintf(w, "%d of %d layers made of two thin ones; ranks of %d in all, %d would lose nothing\n", thin, len(r.Ranks), rank, of)
		return
	}
	gone, all := 0, 0
	for _, g := range r.Groups {
		gone += (g.Was - g.Is) * g.Each
		all += g.Was * g.Each
	}
	fmt.Fprintf(w, "%d of %d channels in %d groups removed; what %d of them left behind went into biases\n", gone, all, len(r.Groups), r.Absorbed)
}
