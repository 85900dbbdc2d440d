package cli

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// dot is a point of a chart.
type dot struct {
	x, y  float64
	class string
	title string
}

// chart is a plot with two axes, both linear or both logarithmic. Its lines are
// named within it, or at its side.
type chart struct {
	xName, yName string
	log          bool
	dots         []dot
	lines        []chartLine
	near         bool // axes begin near the least value, not at 0
	title        string
	side         bool    // lines are named at the side, with what they end at
	floor        float64 // smallest y of a logarithmic axis; 0: that of the points
	diagonal     bool    // y = x, and ±10 % around it
}

type chartLine struct {
	name  string
	dots  []dot
	band  [][2]float64 // around the line, lowest and highest at each dot; nil: none
	plain bool         // without circles at the dots
}

// palette colours series.
var palette = []string{"#3b6ea5", "#c9a227", "#7a9e3f", "#a54b3b", "#6b5b95", "#3f8e8e", "#333333", "#d17fa8", "#8a6d3b", "#5aa9e6", "#b5651d", "#9aa0a6"}

// finite leaves out what has no place on an axis, such as the loss of a training
// that diverged.
func finite(dots []dot) []dot {
	odd := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	return slices.DeleteFunc(slices.Clone(dots), func(d dot) bool { return odd(d.x) || odd(d.y) })
}

// svg draws the chart.
func (c chart) svg() string {
	const height, left, bottom = 420, 70, 48
	width, right, top := 640, 16, 14
	if c.side {
		width, right = 820, 196
	}
	if c.title != "" {
		top = 30
	}
	c.dots, c.lines = finite(c.dots), slices.Clone(c.lines)
	for i, l := range c.lines {
		if l.band == nil {
			c.lines[i].dots = finite(l.dots)
		}
	}
	all := slices.Clone(c.dots)
	for _, l := range c.lines {
		all = append(all, l.dots...)
		for i, b := range l.band {
			all = append(all, dot{x: l.dots[i].x, y: b[0]}, dot{x: l.dots[i].x, y: b[1]})
		}
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
	if c.floor > 0 {
		lo[1] = max(lo[1], c.floor)
		hi[1] = max(hi[1], lo[1])
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
		if hi[i]-lo[i] <= 1e-9*max(math.Abs(lo[i]), math.Abs(hi[i])) { // nothing to tell apart, and no ticks between
			hi[i] = lo[i] + max(1, math.Abs(lo[i])/10)
		}
	}
	x := func(v float64) float64 {
		return left + (f(v)-f(lo[0]))/(f(hi[0])-f(lo[0]))*float64(width-left-right)
	}
	y := func(v float64) float64 {
		return height - bottom - (f(max(v, lo[1]))-f(lo[1]))/(f(hi[1])-f(lo[1]))*float64(height-bottom-top)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg" class="chart">`, width, height, width)
	if c.title != "" {
		fmt.Fprintf(&s, `<text x="%d" y="18" class="l" font-weight="600">%s</text>`, left, html.EscapeString(c.title))
	}
	for _, v := range ticks(lo[0], hi[0], c.log) {
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="grid"/><text x="%.1f" y="%d" class="v" text-anchor="middle">%.4g</text>`, x(v), x(v), top, height-bottom, x(v), height-bottom+16, v)
	}
	for _, v := range ticks(lo[1], hi[1], c.log) {
		fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/><text x="%d" y="%.1f" class="v" text-anchor="end">%.4g</text>`, left, width-right, y(v), y(v), left-6, y(v)+4, v)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" class="l" text-anchor="middle">%s</text><text transform="translate(14 %d) rotate(-90)" class="l" text-anchor="middle">%s</text>`,
		(left+width-right)/2, height-10, html.EscapeString(c.xName), height/2, html.EscapeString(c.yName))
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
		at := left + 10
		if c.side {
			at = width - right + 12
		}
		if l.band != nil {
			var around []string
			for j, d := range l.dots {
				around = append(around, fmt.Sprintf("%.1f,%.1f", x(d.x), y(l.band[j][1])))
			}
			for j := len(l.dots) - 1; j >= 0; j-- {
				around = append(around, fmt.Sprintf("%.1f,%.1f", x(l.dots[j].x), y(l.band[j][0])))
			}
			fmt.Fprintf(&s, `<polygon points="%s" fill="%s" fill-opacity="0.08"/>`, strings.Join(around, " "), colour)
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s"/><text x="%d" y="%d" class="v" fill="%s">%s</text>`, strings.Join(pts, " "), colour, at, top+14+14*i, colour, html.EscapeString(l.name))
		for _, d := range l.dots {
			if l.plain {
				break
			}
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
