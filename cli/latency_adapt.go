package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

func (a *app) latencyAdapt() *cobra.Command {
	var (
		table, target, out string
		spaces             []string
		threads, batch     int
		samples            int
		seed               uint64
		budget             time.Duration
	)
	c := &cobra.Command{
		Use: "adapt --table A --space S --samples 10 -o B", Short: "a table for this device or target from another's and a few measured networks", Args: cobra.NoArgs,
		Long: `adapt measures a few networks of the spaces here, for --target and --threads, into the table B, and
carries the rows of A that B lacks over to it: they change as those that both have measured did.
The networks are those of A whose kernels take most of the time of all that A has of the spaces; --seed
leaves a third out by lot. Where A has fewer than that takes, they are drawn.
Carried rows have 0 runs, and predictions call them modelled. Where A's target runs other kernels,
B's own rows must do.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case table == "" || out == "":
				return &diag.Error{Place: "--table, -o", Found: "nothing", Wanted: "the table to adapt, and the one to write"}
			case len(spaces) == 0:
				return &diag.Error{Place: "--space", Found: "nothing", Wanted: "spaces to draw networks of"}
			case samples < 1 || threads < 1 || batch < 1:
				return &diag.Error{Place: "--samples, --threads, --batch", Found: fmt.Sprint(samples, ", ", threads, ", ", batch), Wanted: "1 or more"}
			case budget < 0:
				return &diag.Error{Place: "--budget", Found: budget.String(), Wanted: "a time, such as 60s"}
			}
			if err := writable("-o", out); err != nil {
				return err
			}
			from, err := latency.Read(table)
			if err != nil {
				return err
			}
			if target == "" {
				target = from.Fact("target")
			}
			t, isa, err := nasc.Target(target)
			if err != nil {
				return err
			}
			var list []*arch.Space
			for _, path := range spaces {
				s, err := arch.LoadSpace(path)
				if err != nil {
					return err
				}
				list = append(list, s)
			}
			src, err := adaptSource(cmd.Context(), from, list, target, batch, seed, samples)
			if err != nil {
				return err
			}
			facts := latency.Fingerprint(nasc.Version(), t.Name(), isa, threads, batch)
			update, finish := a.progress()
			p, err := latency.Profile(cmd.Context(), out, src, latency.Options{
				Target: t, Compile: backends.Options{Threads: threads, ISA: isa}, Budget: budget, Facts: facts,
				Progress: func(done, total int) { update("measure", done, total) },
				Waiting:  func() { a.note("%s", waitNote(out)) },
			})
			finish()
			a.noteStopped(err, out)
			if err != nil {
				return err
			}
			r, err := from.Adapt(cmd.Context(), out, facts)
			if err != nil {
				return err
			}
			v := struct {
				Networks int `json:"networks"`
				Measured int `json:"measured"`
				*latency.Carried
			}{p.Networks, p.Rows, r}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d kernels of %d networks measured, %d of them in %s, too; %d carried over from it\n", out, p.Rows, p.Networks, r.Shared, table, r.Carried)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&table, "table", "", "the table to adapt")
	f.StringVarP(&out, "output", "o", "", "the table to write")
	f.StringSliceVar(&spaces, "space", nil, "spaces to draw networks of")
	f.IntVar(&samples, "samples", 10, "networks to measure")
	f.StringVar(&target, "target", "", "the target to adapt to (empty: the table's)")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.Uint64Var(&seed, "seed", 1, "seed of the networks")
	f.DurationVar(&budget, "budget", time.Minute, "time for measuring")
	return c
}

// adaptSource gives the networks to measure: of those that the table has those
// that tell most, where these are enough to choose from; others are drawn.
func adaptSource(ctx context.Context, from *latency.Table, spaces []*arch.Space, target string, batch int, seed uint64, samples int) (*nasc.SpaceSource, error) {
	ours := func(name string) bool {
		for _, s := range spaces {
			if text, ok := strings.CutPrefix(name, s.Name+"/"); ok {
				_, err := s.DecodeGenotype(text) // of another version of the space
				return err == nil
			}
		}
		return false
	}
	if names := from.Representatives(ours, samples, seed); len(names) == samples {
		return nasc.SpaceSourceOf(ctx, spaces, target, batch, names)
	}
	src, err := nasc.NewSpaceSource(ctx, spaces, target, batch, seed, samples)
	if err != nil {
		return nil, err
	}
	src.Networks = src.Networks[:min(samples, len(src.Networks))]
	return src, nil
}
