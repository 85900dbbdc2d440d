package cli

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/latency"
)

// writeLatencyReport writes the page of latency validate --report. Nothing in it
// is fetched from elsewhere.
func writeLatencyReport(path, name string, table *latency.Table, v *nasc.Validation) error {
	var b strings.Builder
	title := "nasc: predictions by " + name + " for " + v.Target
	fmt.Fprintf(&b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>%s%s<h1>%s</h1>\n", html.EscapeString(title), pageStyle, chartStyle, html.EscapeString(title))
	fmt.Fprintf(&b, "<p>%s; %d thread(s); %d kernels and %d networks in the table.</p>", html.EscapeString(table.Fact("cpu")), v.Threads, len(table.Rows), len(table.Nets))
	b.WriteString(`<table id="figures"><tr><th></th><th>n</th><th>±5 %</th><th>±10 %</th><th>MAPE</th><th>Spearman</th><th>Kendall</th><th>coverage of the 90 % interval</th></tr>`)
	row := func(id, name string, a latency.Accuracy, c float64) {
		fmt.Fprintf(&b, `<tr id="%s"><td>%s</td><td>%d</td><td>%.1f %%</td><td>%.1f %%</td><td>%.2f %%</td><td>%.4f</td><td>%.4f</td><td>%.1f %%</td></tr>`,
			html.EscapeString(id), html.EscapeString(name), a.N, 100*a.Within5, 100*a.Within10, 100*a.MAPE, a.Spearman, a.Kendall, 100*c)
	}
	for _, g := range v.Groups {
		row("group-"+g.Name, g.Name, g.Accuracy, g.Coverage)
	}
	row("all", "all", v.Accuracy, v.Coverage)
	b.WriteString("</table>")
	if v.Repeated() {
		fmt.Fprintf(&b, `<p>A second measurement was within ±5 %% of the first for <b id="noise5">%.1f %%</b> of the networks, within ±10 %% for <b id="noise10">%.1f %%</b>.</p>`, 100*v.NoiseWithin5, 100*v.NoiseWithin10)
	} else {
		b.WriteString("<p>There was no second measurement: how noisy these are is not known.</p>")
	}
	scatter := chart{xName: "measured, ms", yName: "predicted, ms", log: true, diagonal: true}
	for _, n := range v.Networks {
		i := slices.IndexFunc(v.Groups, func(g nasc.ValidGroup) bool { return g.Name == n.Group })
		scatter.dots = append(scatter.dots, dot{n.Measured, n.Predicted, palette[i%len(palette)], fmt.Sprintf("%s: measured %.4f, predicted %.4f ms", n.Name, n.Measured, n.Predicted)})
	}
	b.WriteString("<h2>Predicted against measured</h2><p>The dashed lines are equality and ±10 %.</p>" + scatter.svg())
	var bars []bar
	for _, f := range v.Families {
		if f.Measured == 0 { // the target shows no steps
			continue
		}
		bars = append(bars, bar{f.Name, f.MAPE, fmt.Sprintf("%.1f %%, in all %.3f ms predicted, %.3f measured", 100*f.MAPE, f.Predicted, f.Measured), "int8"})
	}
	if len(bars) > 0 {
		b.WriteString("<h2>Error by family of kernels (mean over networks)</h2>" + barsSVG(bars))
	}
	b.WriteString("<h2>The staircase: time against output channels</h2>" + staircase(table).svg())
	b.WriteString("<h2>Networks</h2><table><tr><th>network</th><th>measured</th><th>again</th><th>predicted</th><th>interval</th><th>error</th></tr>")
	for _, n := range v.Networks {
		again := "–"
		if n.Again > 0 {
			again = fmt.Sprintf("%.4f", n.Again)
		}
		fmt.Fprintf(&b, "<tr><td>%s</td><td>%.4f</td><td>%s</td><td>%.4f</td><td>%.4f to %.4f</td><td>%+.1f %%</td></tr>", html.EscapeString(n.Name), n.Measured, again, n.Predicted, n.Lo, n.Hi, 100*(n.Predicted/n.Measured-1))
	}
	b.WriteString("</table></html>\n")
	return replaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, b.String()); return err })
}

// staircase draws the series of the table in which the output channels vary
// most and nothing else does.
func staircase(table *latency.Table) chart {
	c := chart{xName: "output channels", yName: "µs"}
	series := table.Series()
	slices.SortStableFunc(series, func(a, b latency.Series) int { return cmp.Compare(len(b.Points), len(a.Points)) })
	for _, s := range series[:min(len(series), 6)] {
		l := chartLine{name: s.Name}
		for _, p := range s.Points {
			l.dots = append(l.dots, dot{x: p[0], y: p[1], title: fmt.Sprintf("%s: %g channels, %.3f µs", s.Name, p[0], p[1])})
		}
		c.lines = append(c.lines, l)
	}
	return c
}
