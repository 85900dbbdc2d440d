package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
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
		arg        string
		samples    int
		shapes     shapeFlag
		pre        preFlags
	)
	c := &cobra.Command{
		Use: "opt MODEL --passes P,Q -o OUT.nasc", Short: "run passes alone and look at what they do", Args: cobra.ExactArgs(1),
		Example: "  nasc opt net.onnx --passes fold-constants,layout,fold-bn --verify-each --dump-ir-after=changed\n" +
			"  nasc opt net.nasc --passes 'widen(node=conv2,factor=1.5),deepen(node=conv3)' --data digits[0:8] -o grown.nasc",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nascName("-o", out); err != nil {
				return err
			}
			if out != "" {
				if err := writable("-o", out); err != nil {
					return err
				}
			}
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
			for _, name := range o.Disable {
				if passes.Lookup(name) == nil {
					return &diag.Error{Place: "--disable-pass", Found: name, Wanted: "a pass: " + passNames(passes.List)}
				}
			}
			if samples < 1 {
				return &diag.Error{Place: "--samples", Found: fmt.Sprint(samples), Wanted: "1 or more"}
			}
			o.Dump, o.Runner, o.Difference = a.err, nasc.Runner(cmd.Context(), 2), true
			pp, err := pre.apply(a, m.Manifest.Preprocess, arg != "")
			if err != nil {
				return err
			}
			if arg != "" {
				if o.Inputs, err = firstSamples(arg, m, pp, samples); err != nil {
					return err
				}
			}
			if len(m.Graph().Inputs) == 0 {
				return &diag.Error{Place: args[0], Found: "a model without inputs", Wanted: "one that computes something"}
			}
			before := m.Graph().Inputs[0].Type.Shape
			var steps []passes.Step
			progress, finish := a.progress()
			o.Progress = progress
			for _, g := range m.Module.Graphs {
				s, err := passes.Run(cmd.Context(), g, list, o)
				steps = append(steps, s...)
				if err != nil {
					finish()
					return err
				}
			}
			finish()
			if out != "" {
				man := *m.Manifest
				man.Producer, man.Preprocess = "nasc "+nasc.Version(), largerPictures(pp, before, m.Graph().Inputs[0].Type.Shape)
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
				stepsText(a.err, steps, timePasses, arg)
				if spec != "" {
					noteUnchanged(a, m.Graph(), steps)
				}
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
	f.StringVar(&arg, "data", "", "DATA on which transforms (widen, deepen, …) show that the function stays, and others (factorize, mask, …) by how much it changes, random inputs otherwise; and which recalibrate-bn measures")
	f.IntVar(&samples, "samples", 4, "samples of --data to use")
	shapes.flag(f)
	pre.flags(f)
	return c
}

// firstSamples reads the first inputs of a data set, a batch of one each.
func firstSamples(arg string, m *nasc.Model, pp *nascfile.Preprocess, n int) ([][]*ir.Tensor, error) {
	feed, err := data.OpenFeed(arg, m.Graph().Inputs, pp)
	if err != nil {
		return nil, err
	}
	var out [][]*ir.Tensor
	for i := range min(max(1, n), feed.Len()) {
		in, err := feed.At(i)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// largerPictures is how pictures become the input where a pass has changed its
// extent.
func largerPictures(pp *nascfile.Preprocess, before, after ir.Shape) *nascfile.Preprocess {
	if pp == nil || before.Equal(after) || len(before) != 4 || len(after) != 4 {
		return pp
	}
	q := *pp
	h, w := 1, 2
	if before[1] == after[1] { // channels first
		h, w = 2, 3
	}
	q.Resize, q.Height, q.Width = q.Resize*after[h]/before[h], after[h], after[w]
	return &q
}

func stepsText(w io.Writer, steps []passes.Step, times bool, arg string) {
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
		switch p := passes.Lookup(s.Name); {
		case s.MaxAbs < 0: // not run
		case p != nil && (p.Grow != nil || p.Promise == passes.Changes):
			on := "random inputs"
			if arg != "" {
				on = arg
			}
			proof = fmt.Sprintf("max |Δ| %.3g of the output on %s", s.MaxAbs, on)
		default:
			proof = fmt.Sprintf("verified: |Δ| %.3g of the output", s.MaxAbs)
		}
		if len(s.Places) > 0 {
			what = counted(len(s.Places), "place")
		}
		took := ""
		if times {
			took = s.Took.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d nodes\t%s\t%s\n", s.Name, what, s.Nodes, took, proof)
	}
	t.Flush()
	for _, s := range steps {
		for i, r := range s.Refused {
			if i == 8 {
				fmt.Fprintf(w, "%s: %d more places refused (--json lists them)\n", s.Name, len(s.Refused)-i)
				break
			}
			fmt.Fprintf(w, "%s leaves %s as it is: %s\n", s.Name, r.Node, r.Reason)
		}
	}
}

// noteUnchanged names passes that were asked for and found nothing to do: those
// that refuse places have said why.
func noteUnchanged(a *app, g *ir.Graph, steps []passes.Step) {
	why := ""
	if nasc.Quantized(g) {
		why = ": the network is quantized; transform it first, then compile"
	}
	for _, s := range steps {
		if !s.Changed && len(s.Refused) == 0 {
			a.note("%s found nothing to change%s", s.Name, why)
		}
	}
}
