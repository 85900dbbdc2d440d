package cli

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/peak"
	"github.com/nasc-dev/nasc/ir"
)

// roofs are this machine's limits, measured for the threads of a run: 10^9
// operations a second on registers, and 10^9 bytes a second.
type roofs struct {
	Level  string  `json:"level"`
	Int8   float64 `json:"int8_gops"`
	F32    float64 `json:"f32_gops"`
	L2     float64 `json:"l2_gbps"`
	Memory float64 `json:"memory_gbps"`
	vector float64 // int8 without matrix tiles: the roof of depthwise kernels
	cache  int64   // bytes of the second level caches of all threads
}

// measureRoofs takes about a third of a second.
func measureRoofs(level string, threads int) (roofs, error) {
	if level == "" {
		l, err := isa.Best()
		if err != nil {
			return roofs{}, err
		}
		level = l.String()
	}
	const d = 50 * time.Millisecond
	r := roofs{Level: level, cache: int64(threads * peak.L2Bytes())}
	wide := peak.For(peak.Int8, level)
	vector := wide
	if level == "amx" {
		vector = peak.For(peak.Int8, isa.VNNI.String())
	}
	r.Int8 = wide.GOPS(threads, d)
	if r.vector = r.Int8; vector.Name != wide.Name {
		r.vector = vector.GOPS(threads, d)
	}
	r.F32 = peak.For(peak.F32, level).GOPS(threads, d)
	r.L2, r.Memory = peak.Bandwidth(threads, 4*d)
	return r, nil
}

// place is where a step stands under the roofs.
type place struct {
	Ops       int64   `json:"ops"`       // two a product; without products one an element written
	Intensity float64 `json:"intensity"` // operations a byte
	Bound     string  `json:"bound"`     // compute, L2 or memory: what takes the longest at its peak
	Roof      float64 `json:"roof_ms"`   // the time at that peak
	OfBound   float64 `json:"of_bound"`  // share of the peak that was reached
	Kind      string  `json:"kind"`      // int8 or f32
}

// put holds a step to the roofs. Activations that fit the second level cache
// are counted at its speed; weights too where those of the whole network do.
func (r roofs) put(s backends.Step, ms float64, weightsFit bool) (place, int64) {
	p := place{Ops: 2 * s.MACs, Kind: "f32"}
	moved, weights := traffic(s)
	if p.Ops == 0 {
		for _, t := range s.Out {
			if t.DType != ir.Invalid {
				p.Ops += int64(t.Shape.Elems())
			}
		}
	}
	top := r.F32
	if isInt8(s) {
		p.Kind, top = "int8", r.Int8
		if strings.HasPrefix(s.Kernel, "depthwise") {
			top = r.vector
		}
	}
	p.Intensity = float64(p.Ops) / float64(max(moved, 1))
	compute := float64(p.Ops) / top / 1e6
	near, far := moved-weights, weights
	if near > r.cache {
		near, far = 0, moved
	} else if weightsFit {
		near, far = moved, 0
	}
	l2, memory := float64(near)/r.L2/1e6, float64(far)/r.Memory/1e6
	p.Bound, p.Roof = "compute", compute
	if l2+memory > compute {
		p.Bound, p.Roof = "memory", l2+memory
		if l2 > memory {
			p.Bound = "L2"
		}
	}
	if ms > 0 {
		p.OfBound = p.Roof / ms
	}
	return p, moved
}

// traffic counts the bytes that a step moves, and those of them that are
// weights: what no operand brings.
func traffic(s backends.Step) (moved, weights int64) {
	activations := int64(0)
	for _, t := range slices.Concat(s.In, s.Out) {
		if t.DType != ir.Invalid {
			activations += t.Bytes()
		}
	}
	if len(s.Nodes) > 0 && s.Nodes[0].Op.Name == "gather" { // reads what it takes, not the whole table
		out := s.Out[0].Bytes()
		return 2*out + s.Nodes[0].Inputs[1].Type.Bytes(), 0
	}
	return max(s.Bytes, activations), max(s.Bytes-activations, 0)
}

// isInt8 says whether a step's products are of 8-bit integers; without
// products, whether it gives 8-bit integers.
func isInt8(s backends.Step) bool {
	for _, n := range s.Nodes {
		if n.Op.MACs(n) > 0 {
			return n.Inputs[0].Type.DType.Is8Bit()
		}
	}
	return len(s.Out) > 0 && s.Out[0].DType.Is8Bit()
}

// The picture's extents: the plot, and the list at its right.
const (
	plotLeft, plotTop, plotWidth, plotHeight = 70, 50, 620, 480
	listLeft, listRow, listed                = plotLeft + plotWidth + 40, 29, 16
)

// writeRoofline draws the steps under the roofs on logarithmic axes: a dot a
// step, as large as its time; those that lose the most against their bound are
// numbered and listed.
func writeRoofline(w io.Writer, title string, r roofs, rows []stepTime) error {
	rows = slices.DeleteFunc(slices.Clone(rows), func(s stepTime) bool { return s.MS <= 0 || s.Ops == 0 })
	loX, hiX, hiY := 0.1, 100.0, math.Max(r.Int8, r.F32)
	loY := hiY / 1e3
	total := 0.0
	for _, s := range rows {
		loX, hiX = min(loX, s.Intensity), max(hiX, s.Intensity)
		loY = min(loY, s.GOPS)
		total += s.MS
	}
	loX, hiX, loY, hiY = decade(loX, -1), decade(hiX, 1), decade(max(loY, hiY/1e6), -1), decade(hiY, 1)
	x := func(v float64) float64 { return plotLeft + plotWidth*math.Log10(max(v, loX)/loX)/math.Log10(hiX/loX) }
	y := func(v float64) float64 {
		return plotTop + plotHeight*(1-math.Log10(max(v, loY)/loY)/math.Log10(hiY/loY))
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 600" width="1200" font-family="system-ui,sans-serif">
<style>text{font-size:11px;fill:#333}tspan{font-size:10px}.t{font-size:14px;font-weight:600}.g{stroke:#eee}.roof{fill:none;stroke-width:1.6}.int8{fill:#3b6ea5;stroke:#3b6ea5}.f32{fill:#c9a227;stroke:#c9a227}.mem{stroke:#777;fill:#777}circle{fill-opacity:.45}.n{font-size:9px;font-weight:700;stroke:none}text.int8,text.f32,text.mem{stroke:none}</style>
<rect width="1200" height="600" fill="white"/><text x="%d" y="24" class="t">%s</text>
`, plotLeft, html.EscapeString(title))
	for v := loX; v <= hiX*1.01; v *= 10 {
		fmt.Fprintf(&s, `<line class="g" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(v), plotTop, x(v), plotTop+plotHeight, x(v), plotTop+plotHeight+16, round3(v))
	}
	for v := loY; v <= hiY*1.01; v *= 10 {
		fmt.Fprintf(&s, `<line class="g" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`, plotLeft, y(v), plotLeft+plotWidth, y(v), plotLeft-6, y(v)+4, round3(v))
	}
	fmt.Fprintf(&s, "\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">operations a byte</text><text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">10⁹ operations a second</text>\n", plotLeft+plotWidth/2, plotTop+plotHeight+36, plotTop+plotHeight/2)
	top := math.Max(r.Int8, r.F32)
	for _, roof := range []struct {
		class, name string
		gbps        float64
	}{{"mem", "L2", r.L2}, {"mem", "memory", r.Memory}} {
		end := min(top/roof.gbps, hiX)
		start := max(loX, loY/roof.gbps)
		fmt.Fprintf(&s, `<line class="roof %s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, roof.class, x(start), y(start*roof.gbps), x(end), y(end*roof.gbps))
		at := start * math.Pow(end/start, 0.55)
		fmt.Fprintf(&s, `<text class="%s" x="%.1f" y="%.1f">%s %.0f GB/s</text>`+"\n", roof.class, x(at)+8, y(at*roof.gbps)+8, roof.name, roof.gbps)
	}
	for _, roof := range []struct {
		class, name string
		gops        float64
	}{{"int8", "int8 " + r.Level, r.Int8}, {"f32", "f32", r.F32}} {
		fmt.Fprintf(&s, `<line class="roof %s" x1="%.1f" y1="%.1f" x2="%d" y2="%.1f"/><text class="%s" text-anchor="end" x="%d" y="%.1f">%s %.0f GOPS</text>`+"\n",
			roof.class, x(min(roof.gops/r.L2, hiX)), y(roof.gops), plotLeft+plotWidth, y(roof.gops), roof.class, plotLeft+plotWidth-4, y(roof.gops)-5, html.EscapeString(roof.name), roof.gops)
	}
	slices.SortStableFunc(rows, func(a, b stepTime) int { return cmp.Compare(b.MS-b.Roof, a.MS-a.Roof) })
	for i := len(rows) - 1; i >= 0; i-- { // the worst on top
		v := rows[i]
		cx, cy := x(v.Intensity), y(v.GOPS)
		fmt.Fprintf(&s, `<circle class="%s" cx="%.1f" cy="%.1f" r="%.1f"><title>%s</title></circle>`, v.Kind, cx, cy, 2+40*math.Sqrt(v.MS/total), html.EscapeString(v.Op+" "+v.Label))
		if i < listed {
			fmt.Fprintf(&s, `<text class="n" text-anchor="middle" x="%.1f" y="%.1f">%d</text>`, cx, cy+3, i+1)
		}
		s.WriteString("\n")
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" font-weight="600">farthest from their bound, in time lost</text>`+"\n", listLeft, plotTop)
	for i, v := range rows[:min(listed, len(rows))] {
		at := plotTop + 22 + i*listRow
		fmt.Fprintf(&s, `<text x="%d" y="%d" class="%s">%d</text><text x="%d" y="%d">%s: %.0f %% of its %s bound<tspan x="%d" dy="12" fill="#777">%.4f ms, %.1f %% of the run; %s</tspan></text>`+"\n",
			listLeft, at, v.Kind, i+1, listLeft+22, at, html.EscapeString(short(v.Op, 30)+" "+plainNames(v.Label)), 100*v.OfBound, v.Bound, listLeft+22, v.MS, 100*v.MS/total, html.EscapeString(short(v.Kernel, 48)))
	}
	s.WriteString("</svg>\n")
	_, err := io.WriteString(w, s.String())
	return err
}

// short cuts what is longer than n bytes.
func short(s string, n int) string {
	if len(s) > n {
		return s[:n-1] + "…"
	}
	return s
}

// decade is the power of ten at or below (−1), at or above (1) v.
func decade(v float64, side int) float64 {
	e := math.Log10(v)
	if side < 0 {
		return math.Pow(10, math.Floor(e))
	}
	return math.Pow(10, math.Ceil(e))
}

func round3(v float64) float64 {
	p := math.Pow(10, 2-math.Floor(math.Log10(v)))
	return math.Round(v*p) / p
}
