package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

func (a *app) profile() *cobra.Command {
	var (
		target, out    string
		models, spaces []string
		seed           uint64
		threads, batch int
		budget         time.Duration
		ci             float64
		shapes         shapeFlag
	)
	c := &cobra.Command{
		Use: "profile --target T -o DEVICE.csv", Short: "measure this device's kernels into a latency table", Args: cobra.NoArgs,
		Long: `profile times every kernel of networks inside runs of the networks and writes a row a kernel: of
the models given, of networks that cover the search spaces given, or, where neither is given, of a
sweep over sizes of every family of kernels. It goes on from DEVICE.csv and, after an interruption,
from DEVICE.csv.partial. Where a neighbour on the same machine takes part of the core, by an anchor
kernel timed every few milliseconds, it waits for quiet; what met none is marked, and measured again
when all the rest is, by this run or by the same command later.`,
		Example: "  nasc profile --target cpu-int8 --models net.nasc -o device.csv --budget 60s\n  nasc profile --target cpu-f32 --space zoo/spaces/mobilenetv3.toml -o device.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case out == "":
				return &diag.Error{Place: "-o", Found: "nothing", Wanted: "the table to write"}
			case threads < 1 || batch < 1:
				return &diag.Error{Place: "--threads, --batch", Found: fmt.Sprint(threads, ", ", batch), Wanted: "1 or more"}
			case !(ci > 0 && ci < 1):
				return &diag.Error{Place: "--ci", Found: fmt.Sprint(ci), Wanted: "a share between 0 and 1"}
			case budget < 0:
				return &diag.Error{Place: "--budget", Found: budget.String(), Wanted: "a time, such as 60s"}
			}
			if err := writable("-o", out); err != nil {
				return err
			}
			t, isa, err := nasc.Target(target)
			if err != nil {
				return err
			}
			src, err := a.profileSource(cmd, t.Name(), target, models, spaces, batch, seed, shapes)
			if err != nil {
				return err
			}
			defer src.close()
			update, finish := a.progress()
			res, err := latency.Profile(cmd.Context(), out, src, latency.Options{
				Target: t, Compile: backends.Options{Threads: threads, ISA: isa}, CI: ci, Budget: budget,
				Facts:    latency.Fingerprint(nasc.Version(), t.Name(), isa, threads, batch),
				Progress: func(done, total int) { update("measure", done, total) },
				Waiting:  func() { a.note("%s", waitNote(out)) },
			})
			finish()
			a.noteStopped(err, out)
			if err != nil {
				return err
			}
			return a.show(res, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d kernels of %d networks, %d measured now; %d of them wider than ±%.3g %%, %d of all without quiet; %d outliers\n", out, res.Rows, res.Networks, res.Measured, res.Wide, ci*100, res.Noisy, res.Outliers)
				if res.Left > 0 {
					fmt.Fprintf(w, "the budget left out %d networks: their kernels will be modelled\n", res.Left)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&target, "target", "cpu-int8", "the target whose kernels are measured")
	f.StringSliceVar(&spaces, "space", nil, "search spaces whose kernels to measure")
	f.Uint64Var(&seed, "seed", 1, "seed of the networks drawn")
	f.StringSliceVar(&models, "models", nil, "models whose kernels to measure")
	f.StringVarP(&out, "output", "o", "", "the table")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.DurationVar(&budget, "budget", 0, "time for all of it (0: up to 10s a network)")
	f.Float64Var(&ci, "ci", 0.03, "half the confidence interval wanted of each median, as a share of it")
	shapes.flag(f)
	c.AddCommand(a.profileDiff(), a.profileShow())
	return c
}

func waitNote(table string) string {
	return table + ": another process measures into it: waiting for it to end"
}

// noteStopped says where what was measured is when a profile was stopped.
func (a *app) noteStopped(err error, table string) {
	if !errors.Is(err, context.Canceled) {
		return
	}
	if _, err := os.Stat(table + ".partial"); err != nil {
		a.note("stopped before anything was measured")
		return
	}
	a.note("stopped: what was measured is in %s.partial; the same command goes on", table)
}

// source is what a profile measures: models, then networks of spaces, then
// those of the sweep where nothing else is asked for.
type source struct {
	latency.List
	space *nasc.SpaceSource
	close func()
}

func (s *source) Len() int { return len(s.List) + s.space.Len() }

func (s *source) Name(i int) string {
	if i < len(s.List) {
		return s.List.Name(i)
	}
	return s.space.Name(i - len(s.List))
}

func (s *source) At(i int) (latency.Work, error) {
	if i < len(s.List) {
		return s.List.At(i)
	}
	return s.space.At(i - len(s.List))
}

func (a *app) profileSource(cmd *cobra.Command, base, target string, models, spaces []string, batch int, seed uint64, shapes shapeFlag) (*source, error) {
	var open []*nasc.Model
	s := &source{close: func() {
		for _, m := range open {
			_ = m.Close() // read only
		}
	}}
	for _, path := range models {
		m, err := ready(cmd, path, shapes.sets)
		if err != nil {
			return s, err
		}
		open = append(open, m)
		if err := suits(base, path, m); err != nil {
			return s, err
		}
		for _, g := range m.Module.Graphs {
			if err := freeBatch(path, g, batch); err != nil {
				return s, err
			}
			static, err := ir.Specialize(g, batch)
			if err != nil {
				return s, diag.At(path, err)
			}
			s.List = append(s.List, latency.Work{Name: netName(path, static), Graph: static, In: passes.RandomInputs(static, 1)})
		}
	}
	if base == "cpu-int8" { // for networks of both types
		w, err := nasc.EdgesWork(batch)
		if err != nil {
			return s, err
		}
		s.List = append(s.List, w)
	}
	var list []*arch.Space
	most := 0
	for _, path := range spaces {
		sp, err := arch.LoadSpace(path)
		if err != nil {
			return s, err
		}
		list = append(list, sp)
	}
	if len(models)+len(spaces) == 0 {
		var err error
		if list, err = nasc.Sweep(); err != nil {
			return s, err
		}
		most = nasc.SweepNets
	}
	var err error
	s.space, err = nasc.NewSpaceSource(cmd.Context(), list, target, batch, seed, most)
	return s, err
}

// freeBatch refuses a batch for a model whose shapes are fixed: it would run as
// it is, and be called a run of the batch.
func freeBatch(path string, g *ir.Graph, batch int) error {
	if batch <= 1 || !g.Static() {
		return nil
	}
	var inputs []string
	for _, v := range g.Inputs {
		inputs = append(inputs, v.Name+" "+v.Type.String())
	}
	return &diag.Error{Place: "--batch", Found: fmt.Sprintf("%d for %s, whose shapes are fixed: %s", batch, path, strings.Join(inputs, ", ")), Wanted: "a model with a free first axis", Fix: "leave --batch out, or make the model with N there (compile --shape NAME=Nx…)"}
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
