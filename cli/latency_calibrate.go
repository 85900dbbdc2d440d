package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

func (a *app) latencyCalibrate() *cobra.Command {
	var table, by string
	c := &cobra.Command{
		Use: "calibrate --table F --by V.json", Short: "set a table's level and intervals by networks that were predicted by it and measured", Args: cobra.NoArgs,
		Long: `calibrate takes what validate --json printed of this table, brings the table's predictions to the level
of those networks, as far as their processes agree on it, and makes its intervals so wide or narrow that
90 % of networks like those lie within (conformal prediction). Judge the intervals on
networks of another seed, and calibrate again where a profile went on with the table.`,
		RunE: func(_ *cobra.Command, _ []string) error {
			if table == "" || by == "" {
				return &diag.Error{Place: "--table, --by", Found: "nothing", Wanted: "a table, and what nasc latency validate --json printed of it"}
			}
			t, err := latency.Read(table)
			if err != nil {
				return err
			}
			threads := 1
			_, _ = fmt.Sscan(t.Fact("threads"), &threads) // an odd table stays at one
			nets, err := knownNets(by, t.Fact("target"), threads)
			if err != nil {
				return err
			}
			var list []latency.Calibrating
			for _, n := range nets {
				list = append(list, latency.Calibrating{Predicted: n.Predicted, Hi: n.Hi, Measured: []float64{n.Measured, n.Again}, Processes: n.Processes})
			}
			c, err := t.Calibrate(table, list)
			if err != nil {
				return diag.At(by, err)
			}
			v := struct {
				Networks int     `json:"networks"`
				Factor   float64 `json:"factor"` // of intervals
				Level    float64 `json:"level"`  // of times
			}{len(nets), c.Width, c.Level}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: times are %.3f times as long, intervals %.2f times as wide, by %d networks\n", table, c.Level, c.Width, len(nets))
			})
		},
	}
	c.Flags().StringVar(&table, "table", "", "the latency table")
	c.Flags().StringVar(&by, "by", "", "what validate --json printed of it")
	return c
}
