package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

func (a *app) profile() *cobra.Command {
	var (
		target, out    string
		models         []string
		threads, batch int
		budget         time.Duration
		ci             float64
		shapes         shapeFlag
	)
	c := &cobra.Command{
		Use: "profile --target T --models A,B -o DEVICE.csv", Short: "measure the kernels of models on this device into a latency table", Args: cobra.NoArgs,
		Long:    "profile times every kernel of the models' plans inside runs of the models and writes a row a\nkernel. It goes on from DEVICE.csv and, after an interruption, from DEVICE.csv.partial.",
		Example: "  nasc profile --target cpu-int8 --models net.nasc -o device.csv --budget 60s",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case out == "":
				return &diag.Error{Place: "-o", Found: "nothing", Wanted: "the table to write"}
			case len(models) == 0:
				return &diag.Error{Place: "--models", Found: "nothing", Wanted: "models whose kernels to measure"}
			case threads < 1 || batch < 1:
				return &diag.Error{Place: "--threads, --batch", Found: fmt.Sprint(threads, ", ", batch), Wanted: "1 or more"}
			case !(ci > 0 && ci < 1):
				return &diag.Error{Place: "--ci", Found: fmt.Sprint(ci), Wanted: "a share between 0 and 1"}
			case budget < 0:
				return &diag.Error{Place: "--budget", Found: budget.String(), Wanted: "a time, such as 60s"}
			}
			t, isa, err := nasc.Target(target)
			if err != nil {
				return err
			}
			var work []latency.Work
			for _, path := range models {
				m, err := ready(cmd, path, shapes.sets)
				if err != nil {
					return err
				}
				defer m.Close()
				if err := suits(t.Name(), path, m); err != nil {
					return err
				}
				for _, g := range m.Module.Graphs {
					s, err := ir.Specialize(g, batch)
					if err != nil {
						return diag.At(path, err)
					}
					work = append(work, latency.Work{Name: path, Graph: s, In: passes.RandomInputs(s, 1)})
				}
			}
			update, finish := a.progress()
			res, err := latency.Profile(cmd.Context(), out, work, latency.Options{
				Target: t, Compile: backends.Options{Threads: threads, ISA: isa}, CI: ci, Budget: budget,
				Facts:    latency.Fingerprint(nasc.Version(), t.Name(), isa, threads, batch),
				Progress: func(done, total int) { update("kernels", done, total) },
			})
			finish()
			if errors.Is(err, context.Canceled) {
				a.note("stopped: what was measured is in %s.partial; the same command goes on", out)
			}
			if err != nil {
				return err
			}
			return a.show(res, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d kernels, %d measured now; %d of them wider than ±%.3g %%, %d of all without quiet\n", out, res.Rows, res.Measured, res.Wide, ci*100, res.Noisy)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&target, "target", "cpu-int8", "the target whose kernels are measured")
	f.StringSliceVar(&models, "models", nil, "models whose kernels to measure")
	f.StringVarP(&out, "output", "o", "", "the table")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.DurationVar(&budget, "budget", 0, "time for all of it (0: up to 10s a model)")
	f.Float64Var(&ci, "ci", 0.03, "half the confidence interval wanted of each median, as a share of it")
	shapes.flag(f)
	return c
}

// suits refuses a model whose arithmetic is not the target's: its rows would
// stand for another compilation.
func suits(target, path string, m *nasc.Model) error {
	q := nasc.Quantized(m.Graph())
	switch {
	case target == "cpu-int8" && !q:
		return &diag.Error{Place: path, Found: "a float model", Wanted: "one compiled for cpu-int8", Fix: "nasc compile it first (--calib synthetic will do for timing), or profile cpu-f32"}
	case target == "cpu-f32" && q:
		return &diag.Error{Place: path, Found: "a quantized model", Wanted: "a float one", Fix: "profile cpu-int8"}
	}
	return nil
}
