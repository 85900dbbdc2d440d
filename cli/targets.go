package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

func (a *app) targets() *cobra.Command {
	return &cobra.Command{
		Use: "targets", Short: "every target, whether it can run here, and why not", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name      string `json:"name"`
				Doc       string `json:"doc"`
				Available bool   `json:"available"`
				Reason    string `json:"reason,omitempty"`
			}
			var rows []row
			for _, t := range nasc.Targets {
				r := row{Name: t.Name(), Doc: t.Doc(), Available: true}
				if err := t.Available(); err != nil {
					r.Available, r.Reason = false, err.Error()
				}
				rows = append(rows, r)
			}
			var levels []string
			for _, l := range isa.Available() {
				levels = append(levels, l.String())
			}
			taken, err := isa.Best() // NASC_ISA may say otherwise than the list
			if err != nil {
				return err
			}
			v := struct {
				Targets []row    `json:"targets"`
				ISA     []string `json:"isa"`
				Taken   string   `json:"isa_taken"`
			}{rows, levels, taken.String()}
			return a.show(v, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, r := range rows {
					state := "yes"
					if !r.Available {
						state = "no: " + r.Reason
					}
					fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, r.Doc, state)
				}
				t.Flush()
				fmt.Fprintf(w, "instruction sets of cpu-int8 and cpu-f32 here: %s (%s is taken; NASC_ISA or cpu-int8@%s chooses)\n", strings.Join(levels, ", "), taken, levels[len(levels)-1])
			})
		},
	}
}
