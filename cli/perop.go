package cli

import (
	"fmt"
	"io"
	"path/filepath"
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
	place
}

// perOp times the steps of a plan, the median of each over all runs, and holds
// them to the machine's roofs; picture is where to draw them, if anywhere.
func (a *app) perOp(cmd *cobra.Command, p backends.Planned, g *ir.Graph, t *nasc.Timing, runs int, seed uint64, file, picture string) error {
	_, level := backends.SplitName(t.Target)
	roof, err := measureRoofs(level, t.Threads)
	if err != nil {
		return err
	}
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
	total, atRoof, weights := 0.0, 0.0, int64(0)
	for _, s := range steps {
		_, w := traffic(s)
		weights += w
	}
	rows := make([]stepTime, len(steps))
	for i, s := range steps {
		slices.Sort(all[i])
		ms := float64(all[i][len(all[i])/2].Nanoseconds()) / 1e6
		total += ms
		at, moved := roof.put(s, ms, weights <= roof.cache/2)
		atRoof += at.Roof
		rows[i] = stepTime{Label: s.Label, Op: s.Op, Kernel: s.Kernel, MS: ms, MACs: s.MACs, Bytes: moved, Fallback: s.Fallback, place: at}
		if ms > 0 {
			rows[i].GOPS, rows[i].GBPS = float64(at.Ops)/ms/1e6, float64(moved)/ms/1e6
		}
	}
	for i := range rows {
		rows[i].Share = rows[i].MS / max(total, 1e-9)
	}
	v := struct {
		*nasc.Timing
		ArenaBytes int64      `json:"arena_bytes"`
		Roofs      roofs      `json:"roofs"`
		Steps      []stepTime `json:"steps"`
	}{t, p.ArenaBytes(), roof, rows}
	if picture != "" {
		title := fmt.Sprintf("%s, %s, %d thread(s), batch %d: %.3f ms", filepath.Base(file), t.Target, t.Threads, t.Batch, t.Median)
		if err := replaceFile(picture, func(w io.Writer) error { return writeRoofline(w, title, roof, rows) }); err != nil {
			return err
		}
	}
	return a.show(v, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "ms\tshare\tGOPS\tGB/s\tops/byte\tbound\tof bound\tkernel\tstep\t")
		for _, r := range rows {
			fmt.Fprintf(tw, "%.4f\t%.1f %%\t%.1f\t%.1f\t%.1f\t%s\t%.0f %%\t%s\t%s %s\t\n", r.MS, 100*r.Share, r.GOPS, r.GBPS, r.Intensity, r.Bound, 100*r.OfBound, r.Kernel, r.Op, r.Label)
		}
		tw.Flush()
		fmt.Fprintf(w, "roofs of %d thread(s): int8 %.0f GOPS (%s), f32 %.0f GOPS, L2 %.0f GB/s, memory %.0f GB/s; at them the steps would take %.4f ms (%.0f %%)\n",
			t.Threads, roof.Int8, roof.Level, roof.F32, roof.L2, roof.Memory, atRoof, 100*atRoof/max(total, 1e-9))
		fmt.Fprintf(w, "steps %.4f ms, whole run %.4f ms (median of %d); arena %s\n", total, t.Median, t.Runs, bytesText(p.ArenaBytes()))
	})
}
