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

<<<<<<< HEAD
// dot is a point of a chart.
type dot struct {
	x, y  float64
	class string
	title string
}

// chart is a plot with two axes, both linear or both logarithmic.
type chart struct {
	xName, yName string
	log          bool
	dots         []dot
	lines        []chartLine
	diagonal     bool // y = x, and ±10 % around it
	near         bool // axes begin near the least value, not at 0
}

type chartLine struct {
	name string
	dots []dot
}

// palette colours series.
var palette = []string{"#3b6ea5", "#c9a227", "#7a9e3f", "#a54b3b", "#6b5b95", "#3f8e8e"}

// svg draws the chart.
func (c chart) svg() string {
	const width, height, left, bottom, top = 640, 420, 70, 48, 14
	all := slices.Clone(c.dots)
	for _, l := range c.lines {
		all = append(all, l.dots...)
	}
	if len(all) == 0 {
		return "<p>nothing to draw</p>"
	}
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for _, d := range all {
		for i, v := range []float64{d.x, d.y} {
			lo[i], hi[i] = min(lo[i], v), max(hi[i], v)
		}
	}
	if c.diagonal {
		lo[0], hi[0] = min(lo[0], lo[1]), max(hi[0], hi[1])
		lo[1], hi[1] = lo[0], hi[0]
	}
	f := func(v float64) float64 {
		if c.log {
			return math.Log10(max(v, 1e-9))
		}
		return v
	}
	for i := range lo {
		switch {
		case c.near && !c.log:
			lo[i] -= 0.04 * (hi[i] - lo[i])
		case !c.log:
			lo[i] = 0
		}
		if lo[i] == hi[i] {
			hi[i] = lo[i] + 1
		}
	}
	x := func(v float64) float64 {
		return left + (f(v)-f(lo[0]))/(f(hi[0])-f(lo[0]))*(width-left-16)
	}
	y := func(v float64) float64 {
		return height - bottom - (f(v)-f(lo[1]))/(f(hi[1])-f(lo[1]))*(height-bottom-top)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg" class="chart">`, width, height, width)
	for _, v := range ticks(lo[0], hi[0], c.log) {
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="grid"/><text x="%.1f" y="%d" class="v" text-anchor="middle">%.4g</text>`, x(v), x(v), top, height-bottom, x(v), height-bottom+16, v)
	}
	for _, v := range ticks(lo[1], hi[1], c.log) {
		fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/><text x="%d" y="%.1f" class="v" text-anchor="end">%.4g</text>`, left, width-16, y(v), y(v), left-6, y(v)+4, v)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" class="l" text-anchor="middle">%s</text><text transform="translate(14 %d) rotate(-90)" class="l" text-anchor="middle">%s</text>`,
		(left+width)/2, height-10, html.EscapeString(c.xName), height/2, html.EscapeString(c.yName))
	if c.diagonal {
		for _, k := range []float64{0.9, 1, 1.1} {
			from, to := max(lo[0], lo[1]/k), min(hi[0], hi[1]/k)
			fmt.Fprintf(&s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="diagonal"/>`, x(from), y(from*k), x(to), y(to*k))
		}
	}
	for i, l := range c.lines {
		var pts []string
		for _, d := range l.dots {
			pts = append(pts, fmt.Sprintf("%.1f,%.1f", x(d.x), y(d.y)))
		}
		colour := palette[i%len(palette)]
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s"/><text x="%d" y="%d" class="v" fill="%s">%s</text>`, strings.Join(pts, " "), colour, left+10, top+14+14*i, colour, html.EscapeString(l.name))
		for _, d := range l.dots {
			fmt.Fprintf(&s, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"><title>%s</title></circle>`, x(d.x), y(d.y), colour, html.EscapeString(d.title))
		}
	}
	for _, d := range c.dots {
		fmt.Fprintf(&s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s" fill-opacity="0.7"><title>%s</title></circle>`, x(d.x), y(d.y), d.class, html.EscapeString(d.title))
	}
	s.WriteString("</svg>")
	return s.String()
}

// ticks are round values within a range.
func ticks(lo, hi float64, log bool) []float64 {
	var out []float64
	if log {
		for e := math.Floor(math.Log10(max(lo, 1e-9))); e <= math.Ceil(math.Log10(max(hi, 1e-9))); e++ {
			for _, m := range []float64{1, 2, 5} {
				if v := m * math.Pow(10, e); v >= lo && v <= hi {
					out = append(out, v)
				}
			}
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10(hi-lo)))
	for (hi-lo)/step < 4 {
		step /= 2
	}
	for v := math.Ceil(lo/step) * step; v <= hi; v += step {
		out = append(out, v)
	}
	return out
}

const chartStyle = `<style>svg.chart .grid{stroke:#eee}svg.chart .diagonal{stroke:#bbb;stroke-dasharray:4 3}</style>`

=======
>>>>>>> 5aca103 (nasc search bench: strategies judged on tables, regret on test, Wilcoxon against random, hypervolumes, charts)
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
	fmt.Fprintf(&b, `</table><p>A second measurement was within ±5 %% of the first for <b id="noise5">%.1f %%</b> of the networks, within ±10 %% for <b id="noise10">%.1f %%</b>.</p>`, 100*v.NoiseWithin5, 100*v.NoiseWithin10)
	scatter := chart{xName: "measured, ms", yName: "predicted, ms", log: true, diagonal: true}
	for _, n := range v.Networks {
		i := slices.IndexFunc(v.Groups, func(g nasc.ValidGroup) bool { return g.Name == n.Group })
		scatter.dots = append(scatter.dots, dot{n.Measured, n.Predicted, palette[i%len(palette)], fmt.Sprintf("%s: measured %.4f, predicted %.4f ms", n.Name, n.Measured, n.Predicted)})
	}
	b.WriteString("<h2>Predicted against measured</h2><p>The dashed lines are equality and ±10 %.</p>" + scatter.svg())
	var bars []bar
	for _, f := range v.Families {
		bars = append(bars, bar{f.Name, f.MAPE, fmt.Sprintf("%.1f %%, in all %.3f ms predicted, %.3f measured", 100*f.MAPE, f.Predicted, f.Measured), "int8"})
	}
	b.WriteString("<h2>Error by family of kernels (mean over networks)</h2>" + barsSVG(bars))
	b.WriteString("<h2>The staircase: time against output channels</h2>" + staircase(table).svg())
	b.WriteString("<h2>Networks</h2><table><tr><th>network</th><th>measured</th><th>again</th><th>predicted</th><th>interval</th><th>error</th></tr>")
	for _, n := range v.Networks {
		fmt.Fprintf(&b, "<tr><td>%s</td><td>%.4f</td><td>%.4f</td><td>%.4f</td><td>%.4f to %.4f</td><td>%+.1f %%</td></tr>", html.EscapeString(n.Name), n.Measured, n.Again, n.Predicted, n.Lo, n.Hi, 100*(n.Predicted/n.Measured-1))
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
