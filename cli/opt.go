package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

func readRaw(_ *cobra.Command, path string, shapes []map[string]ir.Shape) (*nasc.Model, error) {
	return nasc.Open(path, shapes)
}

func (a *app) opt() *cobra.Command {
	var (
		spec, out  string
		o          passes.Options
		timePasses bool
		shapes     shapeFlag
	)
	c := &cobra.Command{
		Use: "opt MODEL --passes P,Q -o OUT.nasc", Short: "run passes alone and look at what they do", Args: cobra.ExactArgs(1),
		Example: "  nasc opt net.onnx --passes fold-constants,layout,fold-bn --verify-each --dump-ir-after=changed",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := nasc.Open(args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			list := passes.Default()
			if spec != "" {
				if list, err = passes.Parse(spec); err != nil {
					return err
				}
			}
			for _, name := range o.DumpAfter {
				if name != "all" && name != "changed" && passes.Lookup(name) == nil {
					return &diag.Error{Place: "--dump-ir-after", Found: name, Wanted: "all, changed or a pass"}
				}
			}
			o.Dump = a.err
			var steps []passes.Step
			for _, g := range m.Module.Graphs {
				s, err := passes.Run(cmd.Context(), g, list, o)
				steps = append(steps, s...)
				if err != nil {
					return err
				}
			}
			if out != "" {
				man := *m.Manifest
				man.Producer = "nasc " + nasc.Version()
				for _, s := range steps {
					if s.Changed {
						man.Passes = append(man.Passes, s.Name)
					}
				}
				m.Module.Dedup()
				if err := nascfile.Write(out, m.Module, &man); err != nil {
					return err
				}
			}
			return a.show(map[string]any{"passes": steps, "nodes": len(m.Graph().Nodes)}, func(w io.Writer) {
				if out == "" && !timePasses {
					fmt.Fprint(w, m.Graph().Body())
				}
				stepsText(a.err, steps, timePasses)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&spec, "passes", "", "passes to run, in order (all of them otherwise)")
	f.StringVarP(&out, "output", "o", "", "the .nasc file to write")
	f.BoolVar(&o.VerifyEach, "verify-each", false, "run the interpreter before and after each pass")
	f.StringSliceVar(&o.DumpAfter, "dump-ir-after", nil, "print the IR after these passes; all, changed")
	f.StringSliceVar(&o.Disable, "disable-pass", nil, "leave these passes out")
	f.StringVar(&o.ReproDir, "repro", "", "folder for PASS.repro.nasc, the graph before a pass that failed")
	f.BoolVar(&timePasses, "time-passes", false, "print how long each pass took")
	shapes.flag(f)
	return c
}

func stepsText(w io.Writer, steps []passes.Step, times bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range steps {
		if !s.Changed && !times {
			continue
		}
		what := "changed"
		if !s.Changed {
			what = "-"
		}
		proof := ""
		if s.MaxAbs >= 0 {
			proof = fmt.Sprintf("verified: |Δ| %.3g of the output", s.MaxAbs)
		}
		took := ""
		if times {
			took = s.Took.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d nodes\t%s\t%s\n", s.Name, what, s.Nodes, took, proof)
	}
	t.Flush()
}
