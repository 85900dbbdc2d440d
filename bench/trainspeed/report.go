package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/peak"
	"github.com/nasc-dev/nasc/bench/report"
)

// markdown is the report.
func markdown(s *settings, rows []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Training speed, %s\n\n", time.Now().Format("2006-01-02"))
	fmt.Fprintf(&b, "`make bench-train` on %s. Steps of %d pictures of 32×32 on %d threads (forward, loss, gradient, SGD with Nesterov momentum), the engines in turns of %d steps, %d rounds after one to warm up; medians, in brackets the least and the greatest. PyTorch runs eagerly, in both memory formats: the faster counts.\n\n", report.Machine(), s.batch, s.threads, s.steps, s.rounds)
	b.WriteString("| network | engine | parameters | ms a step | pictures a second | times PyTorch |\n|---|---|---|---|---|---|\n")
	logs := map[string][]float64{}
	for _, r := range rows {
		best := r.best()
		for _, e := range r.Order {
			d := slices.Sorted(slices.Values(r.Times[e]))
			ratio := ""
			if best != "" {
				f := r.rate(e, s.batch) / r.rate(best, s.batch)
				ratio = fmt.Sprintf("%.2f", f)
				logs[e] = append(logs[e], math.Log(f))
			}
			fmt.Fprintf(&b, "| %s | %s | %d | %.1f (%.1f to %.1f) | %.0f | %s |\n", r.Net, e, r.Params[e], ms(median(d)), ms(d[0]), ms(d[len(d)-1]), r.rate(e, s.batch), ratio)
		}
		for e, why := range r.Failed {
			fmt.Fprintf(&b, "| %s | %s | | failed: %s | | |\n", r.Net, e, strings.ReplaceAll(why, "\n", " "))
		}
	}
	for _, e := range []string{"cpu-f32", "xla-cpu"} {
		if l := logs[e]; len(l) > 0 {
			sum := 0.0
			for _, v := range l {
				sum += v
			}
			fmt.Fprintf(&b, "\nGeometric mean of %s: %.2f times PyTorch.\n", e, math.Exp(sum/float64(len(l))))
		}
	}
	var top peak.Loop
	gops := 0.0
	for _, l := range peak.Loops() {
		if l.Kind == peak.F32 {
			if g := l.GOPS(s.threads, 100*time.Millisecond); g > gops {
				gops, top = g, l
			}
		}
	}
	fmt.Fprintf(&b, "\nWhere a step of cpu-f32 spends its time (without the update), and the share of the f32 peak, %.0f GFLOP/s of %s on %d threads, that its multiply-accumulates reach:\n\n", gops, top.Name, s.threads)
	b.WriteString("| network |")
	for _, p := range parts {
		if p != "quantization" {
			fmt.Fprintf(&b, " %s |", p)
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(parts)-1) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.Net)
		for _, p := range parts {
			if p == "quantization" {
				continue
			}
			sh := r.Parts[p]
			fmt.Fprintf(&b, " %.1f ms", ms(sh.Took))
			if sh.MACs > 0 && sh.Took > 0 {
				fmt.Fprintf(&b, ", %.0f %%", 100*2*float64(sh.MACs)/1e9/sh.Took.Seconds()/gops)
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
