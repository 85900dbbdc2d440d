package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

type step struct {
	name string
	do   func(ctx context.Context, name string) error
}

// configuration is a target with threads, whose table is judged on n networks
// of each space by medians of rounds processes.
type configuration struct {
	target  string
	threads int
	budget  string // of the table
	spaces  []string
	n       int
	rounds  int
	took    string // of a process
}

func (c configuration) id() string { return fmt.Sprintf("%s-%d", c.target, c.threads) }

func (b *bench) configurations() []configuration {
	few := max(b.n/3, 1)
	return []configuration{
		{"cpu-int8", 1, "75s", spaces, b.n, 3, "100ms"},
		{"cpu-f32", 1, "90s", spaces, b.n, 3, "100ms"},
		{"cpu-int8", 2, "60s", spaces, few, 3, "100ms"},
		{"cpu-f32", 2, "75s", spaces, few, 3, "100ms"},
		{"xla-cpu", 1, "75s", spaces[:1], few, 3, "200ms"},
	}
}

// Seeds: of the networks profiled, and of those that they are judged on.
const profileSeed, judgeSeed = "1", "20261126"

func (b *bench) steps() []step {
	var out []step
	for _, c := range b.configurations() {
		out = append(out,
			step{"profile-" + c.id(), func(ctx context.Context, name string) error { return b.profile(ctx, name, c, c.budget) }},
			step{"validate-" + c.id(), func(ctx context.Context, name string) error {
				return b.validate(ctx, name, b.table("profile-"+c.id()), c)
			}},
		)
	}
	for _, target := range []string{"cpu-int8", "cpu-f32"} {
		out = append(out, step{"compile-" + target, func(ctx context.Context, name string) error {
			return os.WriteFile(b.file(name+".json"), fmt.Appendf(nil, "%d\n", len(b.compiled(ctx, target))), 0o644)
		}}, step{"models-" + target, func(ctx context.Context, name string) error { return b.realModels(ctx, name, target) }})
	}
	small := configuration{"cpu-int8", 1, "", spaces[:1], max(b.n/2, 1), 1, "100ms"}
	for _, budget := range []string{"10s", "20s", "30s", "60s", "180s"} {
		out = append(out,
			step{"budget-" + budget, func(ctx context.Context, name string) error { return b.profile(ctx, name, small, budget) }},
			step{"validate-budget-" + budget, func(ctx context.Context, name string) error {
				return b.validate(ctx, name, b.table("budget-"+budget), small)
			}},
		)
	}
	for _, r := range []string{"repeat-a", "repeat-b", "repeat-busy"} {
		out = append(out, step{r, func(ctx context.Context, name string) error {
			if strings.HasSuffix(name, "busy") {
				defer b.busy(ctx)()
			}
			return b.profile(ctx, name, small, "40s")
		}})
	}
	for _, r := range []string{"repeat-b", "repeat-busy"} {
		out = append(out, step{"diff-" + r, func(ctx context.Context, name string) error {
			return b.save(ctx, name, "profile", "diff", b.table("repeat-a"), b.table(r), "--most", "0")
		}})
	}
	for _, c := range []struct {
		from string
		to   configuration
	}{
		{"cpu-f32-1", configuration{"cpu-int8", 1, "20s", spaces, max(b.n/4, 1), 1, "100ms"}},
		{"cpu-int8-1", configuration{"cpu-int8", 2, "20s", spaces, max(b.n/4, 1), 1, "100ms"}},
	} {
		id := "adapt-" + c.from + "-to-" + c.to.id()
		out = append(out,
			step{id, func(ctx context.Context, name string) error {
				return b.save(ctx, name, "latency", "adapt", "--table", b.table("profile-"+c.from), "--space", files(c.to.spaces), "--samples", "10",
					"--target", c.to.target, "--threads", fmt.Sprint(c.to.threads), "--budget", c.to.budget, "-o", b.table(name))
			}},
			step{"validate-" + id, func(ctx context.Context, name string) error { return b.validate(ctx, name, b.table(id), c.to) }},
		)
	}
	if b.nasbench != "" {
		out = append(out, step{"nasbench", func(ctx context.Context, name string) error {
			text, err := exec.CommandContext(ctx, "go", "run", "./bench/nasbench", b.nasbench).Output()
			if err != nil {
				return err
			}
			return os.WriteFile(b.file(name+".json"), text, 0o644)
		}})
	}
	return out
}

func (b *bench) table(name string) string { return b.file(name + ".csv") }

// files are the spaces' files, as flags take them.
func files(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, filepath.Join("zoo/spaces", n+".toml"))
	}
	return strings.Join(out, ",")
}

func (b *bench) profile(ctx context.Context, name string, c configuration, budget string) error {
	return b.save(ctx, name, "profile", "--target", c.target, "--threads", fmt.Sprint(c.threads), "--space", files(c.spaces), "--seed", profileSeed, "--budget", budget, "-o", b.table(name))
}

func (b *bench) validate(ctx context.Context, name, table string, c configuration) error {
	return b.save(ctx, name, "latency", "validate", "--table", table, "--space", files(c.spaces), "--n", fmt.Sprint(c.n), "--rounds", fmt.Sprint(c.rounds),
		"--time", c.took, "--seed", judgeSeed, "--report", b.file(name+".html"))
}

// shapes are those that models' files leave open.
var shapes = map[string][]string{
	"minilm.onnx":  {"input_ids=1x128", "attention_mask=1x128", "token_type_ids=1x128"},
	"ocr_cls.onnx": {"x=1x3x48x192"},
	"ocr_det.onnx": {"x=1x3x320x320"},
	"ocr_rec.onnx": {"x=1x3x48x320"},
}

// compiled gives the real models ready for a target; those that cannot be are
// named and left out.
func (b *bench) compiled(ctx context.Context, target string) []string {
	var ready []string
	for _, m := range b.models {
		out := b.file(strings.TrimSuffix(filepath.Base(m), filepath.Ext(m)) + "." + target + ".nasc")
		if !exists(out) {
			args := []string{"compile", m, "--target", target, "-o", out}
			for _, shape := range shapes[filepath.Base(m)] {
				args = append(args, "--shape", shape)
			}
			if target == "cpu-int8" {
				args = append(args, "--calib", "synthetic")
			}
			if err := command(ctx, b.nasc, args...); err != nil {
				fmt.Fprintf(os.Stderr, "%s is left out: %v\n", m, err)
				continue
			}
		}
		ready = append(ready, out)
	}
	return ready
}

// realModels profiles the models' kernels, two seconds each, and judges the sums.
func (b *bench) realModels(ctx context.Context, name, target string) error {
	ready := b.compiled(ctx, target)
	list := strings.Join(ready, ",")
	if err := b.save(ctx, name+"-profile", "profile", "--target", target, "--models", list, "--budget", fmt.Sprint(2*len(ready), "s"), "-o", b.table(name)); err != nil {
		return err
	}
	return b.save(ctx, name, "latency", "validate", "--table", b.table(name), "--models", list, "--time", "100ms", "--report", b.file(name+".html"))
}

// busy starts a neighbour; the returned function ends it.
func (b *bench) busy(ctx context.Context) func() {
	self, err := os.Executable()
	if err != nil {
		fail(err)
	}
	c := exec.CommandContext(ctx, self, "-burn")
	if err := c.Start(); err != nil {
		fail(err)
	}
	return func() {
		_ = c.Process.Kill()
		_ = c.Wait() // killed
	}
}
