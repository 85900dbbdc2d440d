package train

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// series is one line of the learning curve.
type series struct {
	name, colour string
	values       []float64
	share        bool // 0 to 1; else a loss
}

func curves(es []Epoch) []series {
	s := []series{{"loss", "#c43", nil, false}, {"top-1", "#36c", nil, true}, {"validation loss", "#e98", nil, false}, {"validation top-1", "#8ae", nil, true}}
	for _, e := range es {
		for i, v := range []float64{e.Loss, e.Top1, e.VLoss, e.VTop1} {
			if i < 2 || e.Valid {
				s[i].values = append(s[i].values, v)
			}
		}
	}
	return s
}

// CurveText draws the epochs for a terminal, a line of blocks each.
func CurveText(es []Epoch) string {
	if len(es) < 2 {
		return ""
	}
	const width = 60
	var b strings.Builder
	for _, s := range curves(es) {
		n := len(s.values)
		if n < 2 {
			continue
		}
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, v := range s.values {
			lo, hi = min(lo, v), max(hi, v)
		}
		fmt.Fprintf(&b, "%17s ", s.name)
		for i := range min(n, width) {
			v := s.values[i*(n-1)/(min(n, width)-1)]
			b.WriteRune([]rune("▁▂▃▄▅▆▇█")[int(math.Round(7*(v-lo)/max(hi-lo, 1e-12)))])
		}
		if s.share {
			fmt.Fprintf(&b, " %.2f → %.2f %%\n", 100*s.values[0], 100*s.values[n-1])
		} else {
			fmt.Fprintf(&b, " %.4f → %.4f\n", s.values[0], s.values[n-1])
		}
	}
	return b.String()
}

// CurveSVG draws loss (left axis) and top-1 (right axis) by epoch.
func CurveSVG(title string, es []Epoch) []byte {
	const w, h, left, right, top, bottom = 720, 420, 60, 60, 48, 60
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", w, h, left, html.EscapeString(title))
	all := curves(es)
	worst := 0.0
	for _, s := range all {
		if !s.share {
			for _, v := range s.values {
				worst = max(worst, v)
			}
		}
	}
	worst = max(worst, 1e-9)
	x := func(i int) float64 { return left + float64(i)/float64(max(len(es)-1, 1))*(w-left-right) }
	y := func(share float64) float64 { return h - bottom - share*(h-top-bottom) }
	for i := range 5 {
		f := float64(i) / 4
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`, left, w-right, y(f), y(f))
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%.3g</text><text x="%d" y="%.1f">%.0f %%</text>`+"\n", left-6, y(f)+4, f*worst, w-right+6, y(f)+4, 100*f)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">epoch 1 to %d</text>`+"\n", (w+left-right)/2, h-bottom+18, len(es))
	for i, s := range all {
		if len(s.values) == 0 {
			continue
		}
		var pts []string
		for k, v := range s.values {
			if !s.share {
				v /= worst
			}
			pts = append(pts, fmt.Sprintf("%.1f,%.1f", x(len(es)-len(s.values)+k), y(v)))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(pts, " "), s.colour)
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
			left+i*150, left+20+i*150, h-18, h-18, s.colour, left+26+i*150, h-14, s.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
