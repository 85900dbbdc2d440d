package cli

import (
	"context"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// bar is one bar of a chart.
type bar struct {
	label string
	value float64
	text  string
	class string
}

// bars draws horizontal bars as SVG.
func barsSVG(bs []bar) string {
	top := 1e-12
	for _, b := range bs {
		top = math.Max(top, b.value)
	}
	const row, left, width = 18, 320, 420
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg">`, left+width+110, len(bs)*row+4, left+width+110)
	for i, b := range bs {
		y := i * row
		fmt.Fprintf(&s, `<text x="%d" y="%d" class="l" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/><text x="%.1f" y="%d" class="v">%s</text>`,
			left-6, y+13, html.EscapeString(plainNames(b.label)), left, y+2, width*math.Max(b.value, 0)/top, row-4, b.class, float64(left)+width*math.Max(b.value, 0)/top+5, y+13, html.EscapeString(b.text))
	}
	s.WriteString("</svg>")
	return s.String()
}

const pageStyle = `<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse}td,th{padding:.25em .9em;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}
svg .l,svg .v{font-size:11px;fill:#333}svg .int8{fill:#3b6ea5}svg .f32{fill:#c9a227}
pre{background:#f6f6f4;padding:1em;overflow:auto;font-size:12px}
</style>`

// writeReport writes the page of compile --report: figures before and after,
// the error of each layer, the time of each step, the graph. Nothing in it is
// fetched from elsewhere.
func writeReport(ctx context.Context, path string, m *nasc.Model, r *nasc.Result) error {
	var b strings.Builder
	title := "nasc: " + m.Manifest.Source + " for " + r.Target
	fmt.Fprintf(&b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>%s<h1>%s</h1>\n", html.EscapeString(title), pageStyle, html.EscapeString(title))
	fmt.Fprintf(&b, "<table id=\"figures\"><tr><th></th><th>f32</th><th>%s</th></tr>", html.EscapeString(r.Target))
	if r.Labelled {
		fmt.Fprintf(&b, "<tr><td>top-1</td><td>%.2f %%</td><td id=\"top1\">%.2f %%</td></tr>", 100*r.Top1F32, 100*r.Top1)
	}
	fmt.Fprintf(&b, "<tr><td>size</td><td>%s</td><td id=\"bytes\">%s</td></tr>", bytesText(r.BytesF32), bytesText(r.Bytes))
	fmt.Fprintf(&b, "<tr><td>time of a run</td><td>%.3f ms</td><td id=\"ms\">%.3f ms</td></tr></table>", r.MSF32, r.MS)
	if r.Evaluated {
		fmt.Fprintf(&b, "<p>On %d samples the same class as f32 in <b id=\"agreement\">%.2f %%</b>, SQNR of the outputs <b id=\"sqnr\">%.1f dB</b>.</p>", r.EvalN, 100*r.Agreement, r.SQNR)
	}
	fmt.Fprintf(&b, "<p>%s multiply-accumulates, <b id=\"share\">%.2f %%</b> of them int8; %d nodes int8, %d f32.</p>", countText(r.MACs), 100*r.MACShare, r.Int8Nodes, r.F32Nodes)
	if r.Labelled {
		b.WriteString("<h2>Accuracy before and after</h2>" + barsSVG([]bar{
			{"f32", r.Top1F32, fmt.Sprintf("%.2f %%", 100*r.Top1F32), "f32"}, {r.Target, r.Top1, fmt.Sprintf("%.2f %%", 100*r.Top1), "int8"},
		}))
	}
	if r.Quant != nil && len(r.Quant.Layers) > 0 {
		var rows []bar
		for _, l := range r.Quant.Layers {
			class := "int8"
			if !l.Int8 {
				class = "f32"
			}
			rows = append(rows, bar{l.Name, l.SQNR, fmt.Sprintf("%.1f dB", l.SQNR), class})
		}
		b.WriteString("<h2>Error of each layer's rounded weights (SQNR on calibration data; more is better)</h2>" + barsSVG(rows))
	}
	steps, err := timedSteps(ctx, r)
	if err != nil {
		return err
	}
	if steps != nil {
		b.WriteString("<h2>Time of each step</h2>" + barsSVG(steps))
	}
	b.WriteString("<h2>The graph</h2>" + graphSVG(r.Module.Graphs[0]))
	fmt.Fprintf(&b, "<details><summary>Text IR</summary><pre>%s</pre></details></html>\n", html.EscapeString(r.Module.Graphs[0].Body()))
	return replaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, b.String()); return err })
}

// timedSteps runs the plan a few times; nil for targets without one.
func timedSteps(ctx context.Context, r *nasc.Result) ([]bar, error) {
	e, g, err := nasc.Start(r.Module.Graphs[0], r.Target, 1, 1)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	p, ok := e.(backends.Planned)
	if !ok {
		return nil, nil
	}
	const runs = 20
	steps := p.Steps()
	took := make([]time.Duration, len(steps))
	in, out := passes.RandomInputs(g, 1), backends.NewOutputs(g)
	for range runs {
		if err := p.RunTimed(ctx, in, out, took); err != nil {
			return nil, err
		}
	}
	rows := make([]bar, len(steps))
	for i, s := range steps {
		us := float64(took[i].Nanoseconds()) / 1e3 / runs
		class := "f32"
		for _, n := range s.Nodes {
			if n.Op.Class == ir.Quantized || n.Outputs[0].Type.DType.Is8Bit() {
				class = "int8"
			}
		}
		rows[i] = bar{s.Op + " " + s.Label, us, fmt.Sprintf("%.1f µs", us), class}
	}
	return rows, nil
}

// graphSVG draws nodes in rows by depth, edges as lines.
func graphSVG(g *ir.Graph) string {
	const w, h, gapX, gapY = 150, 34, 14, 22
	depth := map[*ir.Value]int{}
	for _, v := range g.Inputs {
		depth[v] = 0
	}
	perRow := map[int]int{}
	type place struct{ x, y int }
	at := map[*ir.Value]place{}
	var nodes, edges strings.Builder
	put := func(label, sub, class string, d int) place {
		p := place{perRow[d] * (w + gapX), d * (h + gapY)}
		perRow[d]++
		fmt.Fprintf(&nodes, `<g class="%s"><rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="#888"/><text x="%d" y="%d" class="v" text-anchor="middle">%s</text><text x="%d" y="%d" class="l" text-anchor="middle">%s</text></g>`,
			class, p.x, p.y, w, h, map[string]string{"int8": "#dbe7f3", "f32": "#f5ecc8", "io": "#eee"}[class], p.x+w/2, p.y+14, html.EscapeString(label), p.x+w/2, p.y+27, html.EscapeString(sub))
		return p
	}
	for _, v := range g.Inputs {
		at[v] = put(v.Name, v.Type.DType.String()+v.Type.Shape.String(), "io", 0)
	}
	for _, n := range g.Nodes {
		d := 0
		for _, v := range n.Inputs {
			if v != nil && v.Const == nil {
				d = max(d, depth[v])
			}
		}
		d++
		class := "f32"
		if n.Outputs[0].Type.DType.Is8Bit() || n.Op.Class == ir.Quantized {
			class = "int8"
		}
		p := put(n.Op.Name, n.Outputs[0].Type.DType.String()+n.Outputs[0].Type.Shape.String(), class, d)
		for _, v := range n.Inputs {
			if q, ok := at[v]; ok && v.Const == nil {
				fmt.Fprintf(&edges, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#999"/>`, q.x+w/2, q.y+h, p.x+w/2, p.y)
			}
		}
		for _, v := range n.Outputs {
			depth[v], at[v] = d, p
		}
	}
	wide, deep := 0, 0
	for d, k := range perRow {
		wide, deep = max(wide, k*(w+gapX)), max(deep, (d+1)*(h+gapY))
	}
	return fmt.Sprintf(`<div style="overflow:auto;max-height:60em"><svg id="graph" viewBox="0 0 %d %d" width="%d" xmlns="http://www.w3.org/2000/svg">%s%s</svg></div>`, wide, deep, wide, edges.String(), nodes.String())
}

// graphPage is inspect --html.
func graphPage(name string, g *ir.Graph) string {
	return fmt.Sprintf("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>%s<h1>%s</h1><p>%d nodes, %s parameters, %s MACs.</p>%s</html>\n",
		html.EscapeString(name), pageStyle, html.EscapeString(name), len(g.Nodes), countText(g.Params()), countText(g.MACs()), graphSVG(g))
}
