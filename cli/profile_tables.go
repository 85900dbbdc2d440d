package cli

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
)

func (a *app) profileDiff() *cobra.Command {
	var most int
	c := &cobra.Command{
		Use: "diff A B", Short: "compare the rows of two tables", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			x, err := latency.Read(args[0])
			if err != nil {
				return err
			}
			y, err := latency.Read(args[1])
			if err != nil {
				return err
			}
			if most < 0 {
				return &diag.Error{Place: "--most", Found: fmt.Sprint(most), Wanted: "a number of rows, or 0 for all"}
			}
			d := x.Compare(y)
			if most > 0 {
				d.Rows = d.Rows[:min(most, len(d.Rows))]
			}
			return a.show(d, func(w io.Writer) {
				for _, f := range d.Facts {
					fmt.Fprintln(w, f)
				}
				for _, r := range d.Rows {
					note := ""
					if r.Noisy {
						note = "  (noisy)"
					}
					fmt.Fprintf(w, "%10.3f %10.3f µs  ×%.3f  %s%s\n", r.A, r.B, r.Ratio, r.Key, note)
				}
				fmt.Fprintf(w, "%d kernels in both (%d noisy), %d in %s alone, %d in %s alone\n", d.Both, d.Noisy, d.OnlyA, args[0], d.OnlyB, args[1])
				if d.Both == 0 { // nothing to compare is not "no difference"
					return
				}
				fmt.Fprintf(w, "the median row takes ×%.4f; the median difference is %.2f %%; %.1f %% of rows are within 3 %%\n", d.Median, 100*d.Typical, 100*d.Within3)
				if q := d.Quiet; d.Noisy > 0 && q.Rows > 0 {
					fmt.Fprintf(w, "of the %d that are not noisy: ×%.4f, %.2f %%, %.1f %%\n", q.Rows, q.Median, 100*q.Typical, 100*q.Within3)
				}
			})
		},
	}
	c.Flags().IntVar(&most, "most", 20, "rows to show, those that differ most (0: all)")
	return c
}

// familySum is the rows of one family.
type familySum struct {
	Family  string  `json:"family"`
	Rows    int     `json:"rows"`
	Least   float64 `json:"least_us"`
	Most    float64 `json:"most_us"`
	Noisy   int     `json:"noisy"`
	Wide    int     `json:"wide"` // whose interval is above 3 %
	Carried int     `json:"carried"`
}

func (a *app) profileShow() *cobra.Command {
	var plot, family string
	c := &cobra.Command{
		Use: "show FILE", Short: "what a table holds; --plot draws it", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := latency.Read(args[0])
			if err != nil {
				return err
			}
			by, noisy := map[string]*familySum{}, t.Unquiet()
			for i, r := range t.Rows {
				f := latency.KeyFamily(r.Key)
				s := by[f]
				if s == nil {
					s = &familySum{Family: f, Least: r.Median}
					by[f] = s
				}
				s.Rows++
				s.Least, s.Most = min(s.Least, r.Median), max(s.Most, r.Median)
				if noisy[i] {
					s.Noisy++
				}
				if r.Interval > 0.03 {
					s.Wide++
				}
				if r.Runs == 0 {
					s.Carried++
				}
			}
			sums := []familySum{}
			for _, s := range by {
				sums = append(sums, *s)
			}
			slices.SortFunc(sums, func(a, b familySum) int { return cmp.Or(b.Rows-a.Rows, strings.Compare(a.Family, b.Family)) })
			if family != "" && by[family] == nil {
				var names []string
				for _, s := range sums {
					names = append(names, s.Family)
				}
				return &diag.Error{Place: "--family", Found: family, Wanted: "one of " + strings.Join(names, ", ")}
			}
			if plot != "" {
				if err := writeFamilies(plot, args[0], t, sums, family); err != nil {
					return err
				}
			}
			facts := map[string]string{}
			for _, f := range t.Facts {
				facts[f.Name] = f.Value
			}
			return a.show(map[string]any{"facts": facts, "rows": len(t.Rows), "networks": len(t.Nets), "families": sums}, func(w io.Writer) {
				for _, f := range t.Facts {
					fmt.Fprintf(w, "%-10s %s\n", f.Name, f.Value)
				}
				fmt.Fprintf(w, "%d kernels, %d networks\n", len(t.Rows), len(t.Nets))
				for _, s := range sums {
					fmt.Fprintf(w, "%6d  %-28s %10.3f to %10.3f µs; %d noisy, %d wider than ±3 %%\n", s.Rows, s.Family, s.Least, s.Most, s.Noisy, s.Wide)
				}
			})
		},
	}
	c.Flags().StringVar(&plot, "plot", "", "write a page with charts of the families here")
	c.Flags().StringVar(&family, "family", "", "draw this family alone")
	return c
}

// writeFamilies draws each family's time against its work, and the staircases.
func writeFamilies(path, name string, t *latency.Table, sums []familySum, only string) error {
	if err := writable("--plot", path); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>nasc: %s</title>%s%s<h1>%s</h1><p>%s, %s</p>\n", html.EscapeString(name), pageStyle, chartStyle, html.EscapeString(name), html.EscapeString(t.Fact("cpu")), html.EscapeString(t.Fact("target")))
	for _, s := range sums {
		if only != "" && s.Family != only {
			continue
		}
		c := chart{xName: "multiply-accumulates", yName: "µs", log: true}
		for _, r := range t.Rows {
			if latency.KeyFamily(r.Key) != s.Family || r.Median <= 0 {
				continue
			}
			x := float64(r.MACs)
			if x == 0 {
				x, c.xName = float64(r.Bytes), "multiply-accumulates, or bytes where there are none"
			}
			c.dots = append(c.dots, dot{max(x, 1), r.Median, palette[0], fmt.Sprintf("%s: %.3f µs", r.Key, r.Median)})
		}
		fmt.Fprintf(&b, "<h2>%s: %d kernels</h2>%s", html.EscapeString(s.Family), s.Rows, c.svg())
	}
	if only == "" {
		b.WriteString("<h2>The staircase: time against output channels</h2>" + staircase(t).svg())
	}
	b.WriteString("</html>\n")
	return replaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, b.String()); return err })
}
