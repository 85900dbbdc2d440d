package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// stepTime is one row of bench --per-op.
type stepTime struct {
	Label    string  `json:"label"`
	Op       string  `json:"op"`
	Kernel   string  `json:"kernel"`
	MS       float64 `json:"ms"`
	Share    float64 `json:"share"`
	MACs     int64   `json:"macs"`
	Bytes    int64   `json:"bytes"`
	GOPS     float64 `json:"gops"`
	GBPS     float64 `json:"gbps"`
	Fallback bool    `json:"fallback,omitempty"`
}

// perOp times the steps of a plan: the median of each over all runs.
func (a *app) perOp(cmd *cobra.Command, p backends.Planned, g *ir.Graph, t *nasc.Timing, runs int, seed uint64) error {
	steps := p.Steps()
	in, out := passes.RandomInputs(g, seed), backends.NewOutputs(g)
	all := make([][]time.Duration, len(steps))
	for range runs {
		took := make([]time.Duration, len(steps))
		if err := p.RunTimed(cmd.Context(), in, out, took); err != nil {
			return err
		}
		for i, d := range took {
			all[i] = append(all[i], d)
		}
	}
	total := 0.0
	rows := make([]stepTime, len(steps))
	for i, s := range steps {
		slices.Sort(all[i])
		ms := float64(all[i][len(all[i])/2].Nanoseconds()) / 1e6
		total += ms
		rows[i] = stepTime{Label: s.Label, Op: s.Op, Kernel: s.Kernel, MS: ms, MACs: s.MACs, Bytes: s.Bytes, Fallback: s.Fallback}
		if ms > 0 {
			rows[i].GOPS, rows[i].GBPS = 2*float64(s.MACs)/ms/1e6, float64(s.Bytes)/ms/1e6
		}
	}
	for i := range rows {
		rows[i].Share = rows[i].MS / max(total, 1e-9)
	}
	v := struct {
		*nasc.Timing
		ArenaBytes int64      `json:"arena_bytes"`
		Steps      []stepTime `json:"steps"`
	}{t, p.ArenaBytes(), rows}
	return a.show(v, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "ms\tshare\tGOPS\tGB/s\tkernel\tstep\t")
		for _, r := range rows {
			fmt.Fprintf(tw, "%.4f\t%.1f %%\t%.1f\t%.1f\t%s\t%s %s\t\n", r.MS, 100*r.Share, r.GOPS, r.GBPS, r.Kernel, r.Op, r.Label)
		}
		tw.Flush()
		fmt.Fprintf(w, "steps %.4f ms, whole run %.4f ms (median of %d); arena %s\n", total, t.Median, t.Runs, bytesText(p.ArenaBytes()))
	})
}
