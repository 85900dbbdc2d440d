package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/passes"
)

func (a *app) bench() *cobra.Command {
	var (
		target               string
		threads, batch, runs int
		perOp                bool
		seed                 uint64
		picture              string
		shapes               shapeFlag
	)
	c := &cobra.Command{
		Use: "bench FILE", Short: "the time of a run on this machine", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if runs < 1 || threads < 1 || batch < 1 {
				return &diag.Error{Place: "--runs, --threads, --batch", Found: fmt.Sprint(runs, ", ", threads, ", ", batch), Wanted: "1 or more"}
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			if err := freeBatch(args[0], m.Graph(), batch); err != nil {
				return err
			}
			if picture != "" {
				if err := writable("--roofline", picture); err != nil {
					return err
				}
			}
			name := targetOf(target, m)
			a.noteSets(args[0], m)
			a.noteType(args[0], m, name)
			e, s, err := m.Start(name, batch, threads)
			if err != nil {
				return err
			}
			defer e.Close()
			p, planned := e.(backends.Planned)
			if (perOp || picture != "") && !planned {
				return &diag.Error{Place: "--per-op, --roofline", Found: "target " + name, Wanted: "cpu-int8 or cpu-f32, which run steps of their own"}
			}
			in := passes.RandomInputs(s, seed)
			t, err := nasc.Bench(cmd.Context(), e, s, in, runs, time.Second)
			if err != nil {
				return err
			}
			t.Target, t.Threads, t.Batch = name, threads, batch
			if !perOp && picture == "" {
				return a.show(t, func(w io.Writer) {
					fmt.Fprintf(w, "%s, %d thread(s), batch %d: median %.4f ms (p10 %.4f, p90 %.4f) of %d runs\n", t.Target, t.Threads, t.Batch, t.Median, t.P10, t.P90, t.Runs)
				})
			}
			return a.perOp(cmd, p, s, t, runs, seed, args[0], picture)
		},
	}
	f := c.Flags()
	f.StringVar(&target, "target", "", "another target than the file's")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.IntVar(&runs, "runs", 100, "runs measured")
	f.BoolVar(&perOp, "per-op", false, "the time of each step of the plan, and its share of what bounds it: this machine's arithmetic, second level cache or memory")
	f.StringVar(&picture, "roofline", "", "draw the steps under this machine's roofs, as SVG (means --per-op)")
	f.Uint64Var(&seed, "seed", 1, "seed of the inputs")
	shapes.flag(f)
	return c
}
