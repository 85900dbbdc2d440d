package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

A table holds kernels as networks drawn for it met them; networks that are judged are others (another seed, none of the
table's). A network's time is the median of three fresh processes that take turns over all networks, unless said; *noise* is
the same share for a second such measurement against the first: no prediction can be expected to do better. Tables are of
the same machine minutes before.

## Networks of spaces

| target | threads | networks | ±5 %% | ±10 %% | noise ±5 %% | noise ±10 %% | mean error | Spearman | Kendall | in the 90 %% interval |
|---|---|---|---|---|---|---|---|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), cpu, runtime.NumCPU(), runtime.Version())
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
			fmt.Fprintf(&s, "| %s | %d | not run | | | | | | | | |\n", c.target, c.threads)
			continue
		}
		row(fmt.Sprintf("%s | %d", c.target, c.threads), v)
		picture := strings.TrimSuffix(path, ".md") + "-" + c.id() + ".svg"
		if err := os.WriteFile(picture, []byte(scatter(v)), 0o644); err != nil {
			return err
		}
		charts = append(charts, fmt.Sprintf("![predicted against measured ms, %s, threads: %d](%s)\n", c.target, c.threads, filepath.Base(picture)))
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
	s.WriteString("\nThe tables:\n\n| target | threads | budget | kernels | networks | wider than ±3 % | without quiet | networks left out |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range b.configurations() {
		if err := b.tableRow(&s, "profile-"+c.id(), fmt.Sprintf("%s | %d | %s", c.target, c.threads, c.budget)); err != nil {
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
	s.WriteString("\n## Accuracy by budget\n\nThe MobileNetV3-like space, cpu-int8, one thread; one process a measurement. A profile ends before its budget where all rows are within ±3 %.\n\n| budget | kernels | networks left out | judged on | ±5 % | ±10 % | mean error | Spearman | noise ±5 % |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, budget := range []string{"10s", "20s", "30s", "60s", "180s"} {
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
		}
	}
	return nil
}

func (b *bench) repeatPart(s *strings.Builder, _ func(string, nasc.Validation)) error {
	s.WriteString("\n## The same table again\n\nThree tables of the MobileNetV3-like space for cpu-int8, one thread, made at different times, the third beside a process that keeps the other core and its way to memory busy three quarters of the time.\n\n| against the first | kernels | median row | median difference | within ±3 % | rows marked noisy |\n|---|---|---|---|---|---|\n")
	for _, r := range []string{"repeat-b", "repeat-busy"} {
		d, ok, err := load[latency.Diff](b, "diff-"+r)
		if err != nil {
			return err
		}
		if ok {
			fmt.Fprintf(s, "| %s | %d | ×%.4f | %s | %s | %d |\n", strings.TrimPrefix(r, "repeat-"), d.Both, d.Median, pct(d.Typical), pct(d.Within3), d.Noisy)
		}
	}
	return nil
}

func (b *bench) adaptPart(s *strings.Builder, row func(string, nasc.Validation)) error {
	s.WriteString("\n## From another device, with ten networks\n\n`nasc latency adapt --samples 10`; networks of all three spaces.\n\n| from, to" + heads)
	for _, id := range []string{"cpu-f32-1-to-cpu-int8-1", "cpu-int8-1-to-cpu-int8-2"} {
		v, ok, err := load[nasc.Validation](b, "validate-adapt-"+id)
		if err != nil {
			return err
		}
		if ok {
			row(strings.Replace(id, "-to-", " to ", 1), v)
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
