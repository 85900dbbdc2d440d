package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

func (a *app) latency() *cobra.Command {
	c := &cobra.Command{Use: "latency", Short: "predict times from a latency table"}
	c.AddCommand(a.latencyPredict())
	return c
}

func (a *app) latencyPredict() *cobra.Command {
	var (
		table, target  string
		threads, batch int
		foreign        bool
		shapes         shapeFlag
	)
	c := &cobra.Command{
		Use: "predict MODEL --table F", Short: "the time of a run, from the rows of its kernels", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if table == "" {
				return &diag.Error{Place: "--table", Found: "nothing", Wanted: "a table of nasc profile"}
			}
			if threads < 1 || batch < 1 {
				return &diag.Error{Place: "--threads, --batch", Found: fmt.Sprint(threads, ", ", batch), Wanted: "1 or more"}
			}
			t, err := latency.Read(table)
			if err != nil {
				return err
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			name := targetOf(target, m)
			if err := suits(name, args[0], m); err != nil {
				return err
			}
			base, isa := backends.SplitName(name)
			if !foreign {
				if err := t.Foreign(latency.Fingerprint(nasc.Version(), base, isa, threads, batch)); err != nil {
					return diag.At(table, err)
				}
			}
			e, _, err := nasc.Start(m.Graph(), name, batch, threads)
			if err != nil {
				return err
			}
			defer e.Close()
			plan, ok := e.(backends.Planned)
			if !ok {
				return &diag.Error{Place: "--target", Found: name, Wanted: "cpu-int8 or cpu-f32, which run steps of their own"}
			}
			p, err := t.Predict(plan)
			if err != nil {
				return err
			}
			return a.show(p, func(w io.Writer) {
				for _, n := range p.PerNode {
					fmt.Fprintf(w, "%9.4f ms  %-28s %s\n", n.MS, n.Op, n.Node)
				}
				fmt.Fprintf(w, "%9.4f ms  in all (%.4f to %.4f), %d kernels, all in the table\n", p.Total, p.Lo, p.Hi, len(p.PerNode))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&table, "table", "", "the latency table")
	f.StringVar(&target, "target", "", "another target than the file's")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.BoolVar(&foreign, "allow-foreign", false, "use a table of another device or version")
	shapes.flag(f)
	return c
}
