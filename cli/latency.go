package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

func (a *app) latency() *cobra.Command {
	c := &cobra.Command{Use: "latency", Short: "predict times from a latency table"}
	c.AddCommand(a.latencyPredict(), a.latencyValidate(), a.latencyCalibrate(), a.latencyAdapt(), a.latencyMeasure())
	return c
}

func (a *app) latencyPredict() *cobra.Command {
	var (
		t      tableFlags
		shapes shapeFlag
		energy bool
	)
	c := &cobra.Command{
		Use: "predict MODEL --table F", Short: "the time of a run, from the rows of its kernels", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			table, err := t.open()
			if err != nil {
				return err
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			a.noteSets(args[0], m)
			float := !nasc.Quantized(m.Graph())
			if made := table.Fact("target"); t.target == "" && float && m.Manifest.Target == "" && strings.HasSuffix(made, "int8") {
				t.target = made
			}
			t.target = targetOf(t.target, m)
			if err := a.native(&t, table); err != nil {
				return err
			}
			if err := freeBatch(args[0], m.Graph(), t.batch); err != nil {
				return err
			}
			file := int64(0)
			if base, _ := backends.SplitName(t.target); float && strings.HasSuffix(base, "int8") {
				if m, file, err = m.ForTiming(cmd.Context(), t.target, shapes.sets); err != nil {
					return err
				}
				a.note("note: %s is a float model: predicted as compile --target %s --calib synthetic makes it", args[0], t.target)
			}
			e, g, err := m.Start(t.target, t.batch, t.threads)
			if err != nil {
				return err
			}
			defer e.Close()
			steps, err := latency.Steps(e, g, t.target)
			if err != nil {
				return err
			}
			p, err := table.PredictSteps(steps)
			if err != nil {
				return err
			}
			if plan, ok := e.(backends.Planned); ok {
				p.Arena = plan.ArenaBytes()
			}
			if p.File = file; file == 0 {
				if p.File, err = nasc.FileBytes(cmd.Context(), m, t.target, shapes.sets); err != nil {
					return err
				}
			}
			if energy {
				meter, err := latency.NewMeter()
				if err != nil {
					return err
				}
				in, out := passes.RandomInputs(g, 1), backends.NewOutputs(g)
				j, err := latency.Energy(meter, time.Second, func() error { return e.Run(cmd.Context(), in, out) })
				if err != nil {
					return err
				}
				p.Joules = &j
			}
			return a.show(p, func(w io.Writer) {
				for _, n := range p.PerNode {
					fmt.Fprintf(w, "%9.4f ms  %-12s  %-28s %s\n", n.MS, n.Source, n.Op, n.Node)
				}
				fmt.Fprintf(w, "%9.4f ms  beside the kernels\n", p.Overhead)
				fmt.Fprintf(w, "%9.4f ms  in all (90 %% interval %.4f to %.4f), %d kernels, %d of them in the table\n", p.Total, p.Lo, p.Hi, len(p.PerNode), p.Hits)
				fmt.Fprintf(w, "%s of intermediate values, %s as a file\n", bytesText(p.Arena), bytesText(p.File))
				if p.Joules != nil {
					fmt.Fprintf(w, "%.6f J a run, measured\n", *p.Joules)
				}
			})
		},
	}
	t.flags(c)
	shapes.flag(c.Flags())
	c.Flags().BoolVar(&energy, "energy", false, "measure the energy of a run, too: needs the processor's counters")
	return c
}
