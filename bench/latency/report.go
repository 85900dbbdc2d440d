package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/latency"
)

// load reads a step's result; ok is false where the step was not done.
func load[T any](b *bench, name string) (v T, ok bool, err error) {
	data, err := os.ReadFile(b.file(name + ".json"))
	if os.IsNotExist(err) {
		return v, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	return v, err == nil, err
}

func pct(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

// bars are what a configuration is to reach.
type bars struct {
	within5, within10 share
	spearman          float64
}

// share is a bar for a share of networks; 0 is none.
type share float64

func barsOf(c configuration) bars {
	if c.target == "xla-cpu" {
		return bars{0, 0.85, 0.97}
	}
	return bars{0.80, 0.95, 0.99}
}

// lowered is the bar, or the noise ceiling less 3 points where that is under it.
func (s share) lowered(noise float64) float64 {
	if noise < float64(s) {
		return noise - 0.03
	}
	return float64(s)
}

func (s share) against(v, noise float64) string {
	if s == 0 {
		return "none"
	}
	bar := s.lowered(noise)
	return fmt.Sprintf("≥ %s %s", pct(bar), met(v >= bar))
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**not met**"
}

// report writes what the steps that are done have shown.
func (b *bench) report(path string) error {
	var s strings.Builder
	cpu := ""
	for _, f := range latency.Fingerprint("", "cpu-int8", "", 1, 1) {
		if f.Name == "cpu" || f.Name == "caches" {
			cpu += f.Value + "; "
		}
	}
	fmt.Fprintf(&s, `# Latency: predicted and measured

%s, %s%d cores, %s. `+"`make bench-latency`"+` (`+"`go run ./bench/latency`"+`, steps one after another with nothing else running).

A table holds kernels as networks drawn for it met them; networks that are judged are others (seed %s, none of the
table's). A network's time is the median of three fresh processes, in each of which all networks take turns, five visits each.
Of cpu-int8 and cpu-f32 the runs count that met the core in quiet, by an anchor kernel timed before and after: tables and times are both
of such moments (where a visit meets too few, all its runs count). By all runs as they came is told below.
A machine's mood lasts minutes: tables are made in %d legs, and legs and processes of the cpu targets take turns over half an
hour. *Noise* is the same share for a second measurement of as many processes, between the first's: no prediction can be
expected to do better. Where it is under a bar, the bar is the noise less 3 points. The tables' levels, where
processes agreed on one, and the intervals were set before by %d networks of each space with another seed, %d of xla-cpu, which are
measured between the others (`+"`nasc latency calibrate`"+`).

## Networks of spaces

| target | threads | networks | ±5 %% | noise | bar | ±10 %% | noise | bar | Spearman | noise | bar | in the 90 %% interval | bar |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), cpu, runtime.NumCPU(), runtime.Version(), judgeSeed, legs, calibrateNets, xlaCalibrateNets)
	var charts []string
	row := func(label string, v nasc.Validation) {
		fmt.Fprintf(&s, "| %s | %d | %s | %s | %s | %s | %s | %.4f | %.4f | %s |\n", label, v.N, pct(v.Within5), pct(v.Within10), pct(v.NoiseWithin5), pct(v.NoiseWithin10), pct(v.MAPE), v.Spearman, v.Kendall, pct(v.Coverage))
	}
	for _, c := range b.configurations() {
		v, ok, err := load[nasc.Validation](b, "validate-"+c.id())
		if err != nil {
			return err
		}
		if !ok {
			fmt.Fprintf(&s, "| %s | %d | not run | | | | | | | | | | | |\n", c.target, c.threads)
			continue
		}
		bars := barsOf(c)
		if v.Networks[0].Again == 0 { // without a second measurement the bars stand
			fmt.Fprintf(&s, "| %s | %d | %d | %s | | none | %s | | %s | %.4f | | ≥ %g %s | %s | 85 to 95 %% %s |\n", c.target, c.threads, v.N,
				pct(v.Within5), pct(v.Within10), bars.within10.against(v.Within10, 1), v.Spearman, bars.spearman, met(v.Spearman >= bars.spearman),
				pct(v.Coverage), met(v.Coverage >= 0.85 && v.Coverage <= 0.95))
		} else {
			fmt.Fprintf(&s, "| %s | %d | %d | %s | %s | %s | %s | %s | %s | %.4f | %.4f | ≥ %g %s | %s | 85 to 95 %% %s |\n", c.target, c.threads, v.N,
				pct(v.Within5), pct(v.NoiseWithin5), bars.within5.against(v.Within5, v.NoiseWithin5),
				pct(v.Within10), pct(v.NoiseWithin10), bars.within10.against(v.Within10, v.NoiseWithin10),
				v.Spearman, v.NoiseSpearman, bars.spearman, met(v.Spearman >= bars.spearman),
				pct(v.Coverage), met(v.Coverage >= 0.85 && v.Coverage <= 0.95))
		}
		picture := strings.TrimSuffix(path, ".md") + "-" + c.id() + ".svg"
		if err := os.WriteFile(picture, []byte(scatter(v)), 0o644); err != nil {
			return err
		}
		charts = append(charts, fmt.Sprintf("![predicted against measured ms, %s, threads: %d](%s)\n", c.target, c.threads, filepath.Base(picture)))
	}
	for _, c := range b.configurations() {
		v, ok, err := load[nasc.Validation](b, "validate-"+c.id())
		if err != nil {
			return err
		}
		if y := v.AllRuns; ok && y != nil {
			if v.Busy > 0 {
				fmt.Fprintf(&s, "\n%s, %d threads: %d networks met no moment of quiet in all processes of a measurement; their times are those of a busy machine.\n", c.target, c.threads, v.Busy)
			}
			fmt.Fprintf(&s, "\n%s, %d threads, by all runs, those beside a neighbour, too: %s within ±5 %% (noise %s), %s within ±10 %% (%s), Spearman %.4f (%.4f).\n",
				c.target, c.threads, pct(y.Within5), pct(y.NoiseWithin5), pct(y.Within10), pct(y.NoiseWithin10), y.Spearman, y.NoiseSpearman)
		}
		if y := v.Steady; ok && y != nil {
			fmt.Fprintf(&s, "\n%s with each time brought to the speed of the machine that its table met, by an anchor beside it: %s within ±5 %% (noise %s), %s within ±10 %% (%s), Spearman %.4f (%.4f), %s in the interval. The bars are for times as they are.\n",
				c.target, pct(y.Within5), pct(y.NoiseWithin5), pct(y.Within10), pct(y.NoiseWithin10), y.Spearman, y.NoiseSpearman, pct(y.Coverage))
		}
	}
	s.WriteString("\nBy space:\n\n| target | threads | space | networks | ±5 % | ±10 % | mean error | Spearman | in the 90 % interval |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range b.configurations() {
		v, ok, err := load[nasc.Validation](b, "validate-"+c.id())
		if err != nil {
			return err
		}
		for _, g := range v.Groups {
			if ok {
				fmt.Fprintf(&s, "| %s | %d | %s | %d | %s | %s | %s | %.4f | %s |\n", c.target, c.threads, g.Name, g.N, pct(g.Within5), pct(g.Within10), pct(g.MAPE), g.Spearman, pct(g.Coverage))
			}
		}
	}
	if err := b.levelPart(&s); err != nil {
		return err
	}
	s.WriteString("\nThe tables:\n\n| target | threads | budget | kernels | networks | of the last leg wider than ±3 % | without quiet | networks left out |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range b.configurations() {
		last, label := fmt.Sprintf("profile-%s-%d", c.id(), legs), fmt.Sprintf("%s | %d | %d × %v", c.target, c.threads, legs, c.leg)
		if c.target == "xla-cpu" {
			last, label = "profile-"+c.id(), fmt.Sprintf("%s | %d | %v", c.target, c.threads, c.leg)
		}
		if err := b.tableRow(&s, last, label); err != nil {
			return err
		}
	}
	s.WriteString("\n" + strings.Join(charts, "\n"))
	for _, part := range []func(*strings.Builder, func(string, nasc.Validation)) error{b.modelsPart, b.budgetPart, b.repeatPart, b.adaptPart} {
		if err := part(&s, row); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(s.String()), 0o644)
}

// levelPart says what calibrating changed.
func (b *bench) levelPart(s *strings.Builder) error {
	s.WriteString("\nWhat calibrating multiplied predictions and intervals by:\n\n| target | threads | predictions | intervals |\n|---|---|---|---|\n")
	for _, c := range b.configurations() {
		v, ok, err := load[struct{ Factor, Level float64 }](b, "calibrate-"+c.id())
		if err != nil {
			return err
		}
		if ok {
			fmt.Fprintf(s, "| %s | %d | %.3f | %.2f |\n", c.target, c.threads, v.Level, v.Factor)
		}
	}
	return nil
}

func (b *bench) tableRow(s *strings.Builder, name, label string) error {
	r, ok, err := load[latency.Result](b, name)
	if ok {
		fmt.Fprintf(s, "| %s | %d | %d | %d | %d | %d |\n", label, r.Rows, r.Networks, r.Wide, r.Noisy, r.Left)
	}
	return err
}

const heads = " | networks | ±5 % | ±10 % | noise ±5 % | noise ±10 % | mean error | Spearman | Kendall | in the 90 % interval |\n|---|---|---|---|---|---|---|---|---|---|\n"

func (b *bench) modelsPart(s *strings.Builder, row func(string, nasc.Validation)) error {
	s.WriteString("\n## Real models\n\nTheir kernels are in the table, from two seconds of each; the sum is predicted.\n\n| target" + heads)
	var all []string
	for _, target := range []string{"cpu-int8", "cpu-f32"} {
		v, ok, err := load[nasc.Validation](b, "models-"+target)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		row(target, v)
		for _, n := range v.Networks {
			name, _, _ := strings.Cut(n.Name, "#")
			all = append(all, fmt.Sprintf("| %s | %.3f | %.3f | %+.1f %% | %+.1f %% |\n", strings.TrimSuffix(name, ".nasc"), n.Measured, n.Predicted, 100*(n.Predicted/n.Measured-1), 100*(n.Again/n.Measured-1)))
		}
	}
	s.WriteString("\n| model | measured ms | predicted ms | off by | second measurement |\n|---|---|---|---|---|\n" + strings.Join(all, ""))
	return nil
}

func (b *bench) budgetPart(s *strings.Builder, _ func(string, nasc.Validation)) error {
	s.WriteString("\n## Accuracy by budget\n\nThe MobileNetV3-like space, cpu-int8, one thread, against the times above. A profile ends before its budget where all rows are within ±3 %.\n\n| budget | kernels | networks left out | judged on | ±5 % | ±10 % | mean error | Spearman | noise ±5 % |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, budget := range budgets {
		r, ok, err := load[latency.Result](b, "budget-"+budget)
		if err != nil {
			return err
		}
		v, judged, err := load[nasc.Validation](b, "validate-budget-"+budget)
		if err != nil {
			return err
		}
		if ok && judged {
			fmt.Fprintf(s, "| %s | %d | %d | %d | %s | %s | %s | %.4f | %s |\n", budget, r.Rows, r.Left, v.N, pct(v.Within5), pct(v.Within10), pct(v.MAPE), v.Spearman, pct(v.NoiseWithin5))
		} else {
			fmt.Fprintf(s, "| %s | not run | | | | | | | |\n", budget)
		}
	}
	return nil
}

func (b *bench) repeatPart(s *strings.Builder, _ func(string, nasc.Validation)) error {
	fmt.Fprintf(s, "\n## The same table again\n\nThree tables of the MobileNetV3-like space for cpu-int8, one thread, %v each: at the start of the run, in its middle, and at its end beside a process that keeps every processor and the way to memory busy two seconds of three. Bar: the median row differs by ≤ 3 %%. A row says that it is noisy where its time is not of networks that met quiet alone; the last columns are of the others.\n\n| against the first | kernels | median row | median difference | bar | within ±3 %% | rows marked noisy | others: median row | median difference | within ±3 %% |\n|---|---|---|---|---|---|---|---|---|---|\n", repeatTime)
	for _, r := range repeats[1:] {
		d, ok, err := load[latency.Diff](b, "diff-"+r)
		if err != nil {
			return err
		}
		if ok {
			others := "none | | "
			if q := d.Quiet; q.Rows > 0 {
				others = fmt.Sprintf("×%.4f | %s | %s", q.Median, pct(q.Typical), pct(q.Within3))
			}
			fmt.Fprintf(s, "| %s | %d | ×%.4f | %s | %s | %s | %d | %s |\n", strings.TrimPrefix(r, "repeat-"), d.Both, d.Median, pct(d.Typical), met(d.Typical <= 0.03), pct(d.Within3), d.Noisy, others)
		} else {
			fmt.Fprintf(s, "| %s | not run | | | | | | | | |\n", strings.TrimPrefix(r, "repeat-"))
		}
	}
	return nil
}

func (b *bench) adaptPart(s *strings.Builder, row func(string, nasc.Validation)) error {
	s.WriteString("\n## From another device, with ten networks\n\n`nasc latency adapt --samples 10`, several draws of the ten, each judged on 15 networks of each space by the times above. Bar: Spearman ≥ 0.98.\n\n| from, to, draw" + heads)
	for _, t := range transfers {
		var sp []float64
		for draw := range draws {
			v, ok, err := load[nasc.Validation](b, "validate-"+transferID(t.from, t.to, draw))
			if err != nil {
				return err
			}
			if ok {
				row(fmt.Sprintf("%s to %s, %d", t.from, t.to, draw+1), v)
				sp = append(sp, v.Spearman)
			}
		}
		if slices.Sort(sp); len(sp) > 0 {
			fmt.Fprintf(s, "| median of %d | | | | | | | %.4f (least %.4f): %s | | |\n", len(sp), sp[len(sp)/2], sp[0], met(sp[len(sp)/2] >= 0.98))
		} else {
			fmt.Fprintf(s, "| %s to %s | not run | | | | | | | | |\n", t.from, t.to)
		}
	}
	text, err := os.ReadFile(b.file("nasbench.json"))
	if err == nil {
		fmt.Fprintf(s, "\nNAS-Bench-201 on a Xeon that others measured, from this machine's kernels and ten of its times (`go run ./bench/nasbench`):\n\n```\n%s```\n", text)
	} else if !os.IsNotExist(err) {
		return err
	}
	return nil
}
