package cli

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/judge"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/tabular"
)

func (a *app) searchBench() *cobra.Command {
	var table, objective, plot, report string
	var options []string
	k := judge.Contest{}
	limits := map[string]*float64{}
	c := &cobra.Command{
		Use: "bench", Short: "compare strategies on a table of trained networks, over many seeds", Args: cobra.NoArgs,
		Long: "bench runs each strategy with the same budget and seeds on a table of networks that were all trained. A search\n" +
			"sees validation accuracy only; its regret is on test accuracy, against the best network of the table. Every\n" +
			"strategy is held to random with the same seeds (Wilcoxon's signed-rank test), and to a network drawn blindly (RI).",
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if k.Table, err = tabular.Open(table); err != nil {
				return err
			}
			if k.Goal, err = limitedGoal(objective, limits); err != nil {
				return err
			}
			if len(k.Strategies) == 0 {
				k.Strategies = suited(k.Table, k.Goal)
			}
			if k.Options, err = strategyOptions(options); err != nil {
				return err
			}
			update, finish := a.progress()
			k.Done = func(done, total int) { update("searches", done, total) }
			r, err := k.Run(c.Context())
			finish()
			if err != nil {
				return err
			}
			if plot != "" {
				if err := replaceFile(plot, func(w io.Writer) error {
					_, err := io.WriteString(w, strings.Replace(regretChart(r).svg(), "<svg ", `<svg font-family="system-ui,sans-serif" font-size="11" `, 1)+"\n")
					return err
				}); err != nil {
					return err
				}
			}
			if report != "" {
				if err := replaceFile(report, func(w io.Writer) error { return writeContest(w, r) }); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) { contestText(w, r) })
		},
	}
	f := c.Flags()
	f.StringVar(&table, "table", "", "the table: "+tabular.Forms())
	f.StringSliceVar(&k.Strategies, "strategies", nil, "which, with commas between them (default: all that the table and the objectives suit)")
	f.IntVar(&k.Budget, "budget", 300, "trainings a search")
	f.IntVar(&k.Seeds, "seeds", 30, "searches of each strategy")
	f.Uint64Var(&k.Seed, "seed", 1, "the first seed")
	f.IntVar(&k.Window, "window", 1, "trials that a strategy may ask for before it is told the first")
	f.IntVar(&k.Jobs, "jobs", 0, "searches at once (0: one a CPU)")
	f.StringVar(&objective, "objective", "accuracy", "accuracy, or accuracy,ms and the like: then hypervolumes are compared")
	f.StringArrayVar(&options, "opt", nil, "a strategy's option, STRATEGY.NAME=VALUE")
	f.StringVar(&plot, "plot", "", "write a chart of regret over budget (.svg)")
	f.StringVar(&report, "report", "", "write a page: the comparison as a table, the chart (.html)")
	for _, m := range []string{"ms", "macs", "params", "bytes"} {
		metric, err := search.FindMetric(m)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		limits[m] = f.Float64("max-"+m, 0, "limit: "+metric.Doc+" (0: none)")
	}
	return c
}

// limitedGoal reads objectives and the flags of limits.
func limitedGoal(objective string, limits map[string]*float64) (search.Goal, error) {
	var l []search.Limit
	for _, m := range search.Metrics {
		v := limits[m.Name]
		if v == nil || *v == 0 {
			continue
		}
		if !(*v > 0) {
			return search.Goal{}, &diag.Error{Place: "--max-" + m.Name, Found: fmt.Sprint(*v), Wanted: "a number above 0"}
		}
		l = append(l, search.Limit{Metric: m, Bound: *v})
	}
	return search.ParseGoal(objective, l...)
}

// suited lists the strategies that can do with the table and the objectives.
func suited(t *tabular.Table, g search.Goal) []string {
	var out []string
	for _, r := range strategy.Table {
		if !r.Single && !r.Grows && !r.Compresses && (t.Curves() || !r.Partial) && (len(g.Objectives) == 1 || r.Many) {
			out = append(out, r.Name)
		}
	}
	return out
}

func strategyOptions(options []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for _, o := range options {
		key, value, ok := strings.Cut(o, "=")
		name, option, dot := strings.Cut(key, ".")
		if !ok || !dot {
			return nil, &diag.Error{Place: "--opt", Found: fmt.Sprintf("%q", o), Wanted: "STRATEGY.NAME=VALUE"}
		}
		r, err := strategy.Lookup(name)
		if err != nil {
			return nil, diag.At("--opt", err)
		}
		if out[r.Name] == nil {
			out[r.Name] = map[string]string{}
		}
		out[r.Name][option] = value
	}
	return out, nil
}

// pValue writes a chance.
func pValue(p float64) string {
	if p < 1e-4 {
		return "< 0.0001"
	}
	return fmt.Sprintf("%.4f", p)
}

// verdict says what a strategy is worth against random.
func verdict(s judge.Judged) string {
	switch {
	case s.Name == "random":
		return ""
	case s.Beats:
		return "better"
	case s.P < 0.05:
		return "worse"
	}
	return "no difference shown"
}

// contestRows are the lines of the comparison: a header, and a strategy each.
func contestRows(r *judge.Result) [][]string {
	rows := [][]string{{"strategy", "regret, points", "quartiles", "RI", "p", "against random", "ask and tell"}}
	hv := len(r.Objectives) > 1
	if hv {
		rows[0] = slices.Insert(rows[0], 1, "hypervolume", "quartiles", "on test")
	}
	for _, s := range r.Strategies {
		p := pValue(s.P)
		if s.Name == "random" {
			p = ""
		}
		row := []string{
			s.Name, fmt.Sprintf("%.3f", 100*s.RegretMedian), fmt.Sprintf("%.3f to %.3f", 100*s.RegretQ25, 100*s.RegretQ75),
			fmt.Sprintf("%.2f %%", s.RI), p, verdict(s), fmt.Sprintf("%.3f ms", s.Overhead),
		}
		if hv {
			row = slices.Insert(row, 1, fmt.Sprintf("%.4f", s.HV.Median), fmt.Sprintf("%.4f to %.4f", s.HV.Q25, s.HV.Q75), fmt.Sprintf("%.4f", s.HVTest.Median))
		}
		rows = append(rows, row)
	}
	return rows
}

func contestIntro(r *judge.Result) string {
	return fmt.Sprintf("%s: %d networks; %s. %d trainings a search, %d seeds. Best test accuracy %.2f %%, a network drawn blindly %.2f %%.",
		r.Table, r.Networks, r.Doc, r.Budget, r.Seeds, 100*r.BestTest, 100*r.MeanTest)
}

func contestText(w io.Writer, r *judge.Result) {
	fmt.Fprintln(w, contestIntro(r))
	rows := contestRows(r)
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// regretChart draws median regret over budget, with quartiles.
func regretChart(r *judge.Result) chart {
	c := chart{
		title: fmt.Sprintf("%s, %d seeds: median and quartiles", r.Table, r.Seeds), xName: "trainings", yName: "regret on test, points",
		log: true, side: true, floor: 0.01,
	}
	for _, s := range r.Strategies {
		l := chartLine{name: fmt.Sprintf("%s %.2f", s.Name, 100*s.RegretMedian), plain: true}
		for _, p := range s.Curve {
			l.dots = append(l.dots, dot{x: float64(p.Budget), y: 100 * p.Median})
			l.band = append(l.band, [2]float64{100 * p.Q25, math.Max(100*p.Q75, 0)})
		}
		c.lines = append(c.lines, l)
	}
	return c
}

// writeContest writes the page of search bench --report. Nothing in it is
// fetched from elsewhere.
func writeContest(w io.Writer, r *judge.Result) error {
	var b strings.Builder
	title := "nasc: search strategies on " + r.Table
	fmt.Fprintf(&b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>%s%s<h1>%s</h1>\n<p>%s</p>\n<table>", html.EscapeString(title), pageStyle, chartStyle, html.EscapeString(title), html.EscapeString(contestIntro(r)))
	for i, row := range contestRows(r) {
		cell := "td"
		if i == 0 {
			cell = "th"
		}
		b.WriteString("<tr>")
		for _, c := range row {
			fmt.Fprintf(&b, "<%s>%s</%s>", cell, html.EscapeString(c), cell)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table>\n" + regretChart(r).svg() + "\n<p>p: two-sided Wilcoxon signed-rank test against random with the same seeds. RI: 100 (acc − acc_r) / acc_r, of mean test accuracies, acc_r of a network drawn blindly.</p></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
