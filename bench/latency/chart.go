package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/nasc-dev/nasc"
)

// scatter draws predicted against measured times on logarithmic axes, with the
// diagonal, ±10 % beside it, and each network's interval.
func scatter(v nasc.Validation) string {
	const size, edge = 460, 52
	lo, hi := math.Inf(1), 0.0
	for _, n := range v.Networks {
		lo, hi = min(lo, n.Measured, n.Predicted), max(hi, n.Measured, n.Predicted)
	}
	lo, hi = lo/1.15, hi*1.15
	x := func(ms float64) float64 {
		return edge + (size-2*edge+30)*math.Log(ms/lo)/math.Log(hi/lo)
	}
	y := func(ms float64) float64 { return size - x(ms) }
	colours := map[string]string{}
	palette := []string{"#3b6ea5", "#c9a227", "#a54b3b", "#6b5b95"}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="11"><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", size, size, size)
	for _, ms := range []float64{0.25, 0.5, 1, 2, 4, 8, 16, 32, 64} {
		if ms < lo || ms > hi {
			continue
		}
		fmt.Fprintf(&s, `<path d="M%.1f %.1fV%.1fM%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="middle">%g</text><text x="%.1f" y="%.1f" text-anchor="end">%g</text>`+"\n",
			x(ms), y(lo), y(hi), x(lo), y(ms), x(hi), x(ms), y(lo)+14, ms, x(lo)-4, y(ms)+4, ms)
	}
	for _, f := range []float64{1, 1.1, 1 / 1.1} {
		dash := ""
		if f != 1 {
			dash = ` stroke-dasharray="4 3"`
		}
		fmt.Fprintf(&s, `<path d="M%.1f %.1fL%.1f %.1f" stroke="#888"%s/>`+"\n", x(max(lo, lo/f)), y(max(lo, lo*f)), x(min(hi, hi/f)), y(min(hi, hi*f)), dash)
	}
	for _, n := range v.Networks {
		if colours[n.Group] == "" {
			colours[n.Group] = palette[len(colours)%len(palette)]
			at := float64(30 + 15*len(colours))
			fmt.Fprintf(&s, `<circle cx="%d" cy="%.1f" r="4" fill="%s"/><text x="%d" y="%.1f">%s</text>`+"\n", edge+16, at-4, colours[n.Group], edge+25, at, n.Group)
		}
		fmt.Fprintf(&s, `<path d="M%.1f %.1fV%.1f" stroke="%s" opacity=".5"/><circle cx="%.1f" cy="%.1f" r="2.5" fill="%s" opacity=".8"/>`+"\n",
			x(n.Measured), y(max(n.Lo, lo)), y(min(n.Hi, hi)), colours[n.Group], x(n.Measured), y(n.Predicted), colours[n.Group])
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="middle">measured ms</text><text transform="translate(12 %d) rotate(-90)" text-anchor="middle">predicted ms (90 %% interval)</text></svg>`+"\n", size/2, size-8, size/2)
	return s.String()
}
