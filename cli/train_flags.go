package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
)

// writablePlaces refuses a flag's file that cannot be written, or that another
// flag writes or reads, too: the later one would be all that is left of them.
func writablePlaces(read []string, places ...[2]string) error {
	for i, p := range places {
		if p[1] == "" {
			continue
		}
		if err := writable(p[0], p[1]); err != nil {
			return err
		}
		for _, q := range places[:i] {
			if q[1] != "" && samePlace(p[1], q[1]) {
				return &diag.Error{Place: p[0] + " " + p[1], Found: "the file of " + q[0], Wanted: "one of its own"}
			}
		}
		for _, r := range read {
			if p[0] != "-o" && r != "" && samePlace(p[1], r) { // -o may replace what was read
				return &diag.Error{Place: p[0] + " " + p[1], Found: "a model that is read", Wanted: "a file of its own"}
			}
		}
	}
	return nil
}

// samePlace says whether two paths name one file, which need not exist.
func samePlace(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	if err == nil && err2 == nil {
		return os.SameFile(x, y)
	}
	a, err = filepath.Abs(a)
	b, err2 = filepath.Abs(b)
	return err == nil && err2 == nil && a == b
}

// flagsGiven are the flags among names that the command line has.
func flagsGiven(cmd *cobra.Command, names ...string) []string {
	var out []string
	for _, n := range names {
		if cmd.Flags().Changed(n) {
			out = append(out, "--"+n)
		}
	}
	return out
}

// flagNames lists all flags of a command.
func flagNames(cmd *cobra.Command) []string {
	var out []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { out = append(out, f.Name) })
	return out
}

// teaching are the flags that say what a teacher does, recalibrating those that
// count where nothing is trained.
var (
	teaching      = []string{"distill", "distill-weight", "distill-at", "temperature"}
	recalibrating = []string{"recalibrate-bn", "data", "val", "output", "threads", "shape", "preprocess", "mean", "std", "resize", "crop", "json"}
)

// trainFlags refuses values of train that cannot be meant together, and says
// which have no effect.
func (a *app) trainFlags(cmd *cobra.Command, model, curve string, recalibrate bool, o *nasc.TrainOptions) error {
	if o.Threads < 1 {
		return &diag.Error{Place: "--threads", Found: fmt.Sprint(o.Threads), Wanted: "1 or more"}
	}
	if err := nascName("-o", o.Out); err != nil {
		return err
	}
	if err := writablePlaces([]string{model, o.Teacher}, [2]string{"-o", o.Out}, [2]string{"--curve", curve}, [2]string{"--checkpoint", o.Checkpoint}); err != nil {
		return err
	}
	inPlace := o.Distill.Mode == "in-place"
	if f := flagsGiven(cmd, teaching...); o.Teacher == "" && !inPlace && f != nil {
		return &diag.Error{Place: f[0], Found: "no teacher", Wanted: "--teacher MODEL"}
	}
	switch {
	case o.Distill.At != "" && (o.Distill.Mode == "logits" || inPlace):
		return &diag.Error{Place: "--distill-at", Found: "--distill " + o.Distill.Mode, Wanted: "--distill features or blocks, whose layers it pairs"}
	case o.Val != "" && o.ValSplit > 0:
		return &diag.Error{Place: "--val-split", Found: "--val beside it", Wanted: "one of them: the data to validate on, or a share of --data"}
	case o.Resume && o.Out == "" && o.Checkpoint == "":
		return &diag.Error{Place: "--resume", Found: "neither -o nor --checkpoint", Wanted: "one of them: the checkpoint lies beside OUT.nasc"}
	}
	var idle []string
	why := "with --recalibrate-bn, which trains nothing"
	if recalibrate {
		counts := map[string]bool{}
		for _, n := range recalibrating {
			counts["--"+n] = true
		}
		for _, f := range flagsGiven(cmd, flagNames(cmd)...) {
			if !counts[f] {
				idle = append(idle, f)
			}
		}
	} else if o.Optimizer != "sgd" {
		why = "with --optimizer " + o.Optimizer
		idle = flagsGiven(cmd, "momentum", "nesterov")
	}
	if idle != nil {
		a.note("note: without effect %s: %s", why, strings.Join(idle, ", "))
	}
	if o.Out == "" {
		a.note("note: without -o the result is measured and not kept")
	}
	return nil
}
