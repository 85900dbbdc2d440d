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
		Use: "calibrate --table F --by V.json", Short: "set a table's intervals by networks that were predicted by it and measured", Args: cobra.NoArgs,
		Long: `calibrate takes what validate --json printed of this table, and makes the table's intervals so wide or
narrow that 90 % of networks like those lie within (conformal prediction). Judge the intervals on
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
			var predicted, hi, measured []float64
			for _, n := range nets {
				for _, m := range []float64{n.Measured, n.Again} {
					if m > 0 {
						predicted, hi, measured = append(predicted, n.Predicted), append(hi, n.Hi), append(measured, m)
					}
				}
			}
			k, err := t.Calibrate(table, predicted, hi, measured)
			if err != nil {
				return diag.At(by, err)
			}
			v := struct {
				Networks int     `json:"networks"`
				Factor   float64 `json:"factor"`
			}{len(nets), k}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: intervals are %.2f times as wide, by %d networks\n", table, k, len(nets))
			})
		},
	}
	c.Flags().StringVar(&table, "table", "", "the latency table")
	c.Flags().StringVar(&by, "by", "", "what validate --json printed of it")
	return c
}
