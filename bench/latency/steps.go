package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type step struct {
	name  string
	about time.Duration // that it takes
	do    func(ctx context.Context, name string) error
}

// configuration is a target with threads, whose table is judged on n networks
// of each space by medians of rounds processes.
type configuration struct {
	target  string
	threads int
	leg     time.Duration // of the table, which is made in legs
	spaces  []string
	n       int
	rounds  int
	took    string        // of a network in a process
	round   time.Duration // that a process takes about
	calib   int           // networks of each space that set the width of the intervals
}

func (c configuration) id() string { return fmt.Sprintf("%s-%d", c.target, c.threads) }

// legs is how many pieces a table is made in, and rounds of how many processes
// a time is the median: all configurations take turns, since a machine's mood
// lasts minutes.
const legs, rounds = 3, 3

func (b *bench) configurations() []configuration {
	return []configuration{
		{"cpu-int8", 1, 24 * time.Second, spaces, b.n, rounds, "80ms", 25 * time.Second, calibrateNets},
		{"cpu-f32", 1, 32 * time.Second, spaces, b.n, rounds, "80ms", 40 * time.Second, calibrateNets},
		{"cpu-int8", 2, 24 * time.Second, spaces, b.n, rounds, "80ms", 22 * time.Second, calibrateNets},
		{"cpu-f32", 2, 30 * time.Second, spaces, b.n, rounds, "80ms", 30 * time.Second, calibrateNets},
		{"xla-cpu", 1, 240 * time.Second, spaces, max(b.n/2, 1), rounds, "80ms", 105 * time.Second, xlaCalibrateNets}, // two seconds a network: it compiles
	}
}

// engine are the configurations whose tables are made in legs, in turns with the
// others.
func (b *bench) engine() []configuration {
	return slices.DeleteFunc(b.configurations(), func(c configuration) bool { return c.target == "xla-cpu" })
}

// Seeds: of the networks profiled, and of those that they are judged on. Draws
// of ten for transfers have the seeds from drawSeed on.
const profileSeed, calibrateSeed, judgeSeed, drawSeed, draws = "1", "11", "20261128", 31, 3

// calibrateNets of each space set the width of a table's intervals; of targets
// whose networks take seconds to compile they are fewer.
const calibrateNets, xlaCalibrateNets = 24, 8

// transfers are from one configuration's table to another's.
var transfers = []struct{ from, to string }{
	{"cpu-int8-1", "cpu-int8-2"},
	{"cpu-f32-1", "cpu-int8-1"},
}

func transferID(from, to string, draw int) string {
	return fmt.Sprintf("adapt-%s-to-%s-%d", from, to, draw)
}

var budgets = []string{"30s", "60s", "180s"}

// repeats are the same table at the start, in the middle, and at the end beside
// a busy neighbour.
var repeats = []string{"repeat-a", "repeat-b", "repeat-busy"}

const repeatTime = 25 * time.Second

// steps are in the order of what they are worth: a run that ends early has the
// first ones whole.
func (b *bench) steps() []step {
	small := configuration{target: "cpu-int8", threads: 1, spaces: spaces[:1]}
	repeat := func(name string) step {
		return step{name, repeatTime + 5*time.Second, func(ctx context.Context, name string) error {
			if strings.HasSuffix(name, "busy") {
				defer b.busy(ctx)()
			}
			return b.profile(ctx, name, b.table(name), small, repeatTime)
		}}
	}
	out := []step{repeat(repeats[0])}
	for r := range 2 * rounds {
		for _, c := range b.engine() {
			if r%2 == 0 {
				leg := r/2 + 1
				out = append(out, step{fmt.Sprintf("profile-%s-%d", c.id(), leg), c.leg + 6*time.Second, func(ctx context.Context, name string) error {
					return b.profile(ctx, name, b.table("profile-"+c.id()), c, c.leg)
				}})
			}
			out = append(out, step{fmt.Sprintf("measure-%s-%d", c.id(), r+1), c.round, func(ctx context.Context, name string) error {
				return b.measure(ctx, name, b.judging(c), r+1)
			}})
			if r%2 == 1 {
				out = append(out, b.calibratingStep(c, r/2+1))
			}
		}
		if r == rounds {
			out = append(out, repeat(repeats[1]))
		}
	}
	for _, c := range b.engine() {
		out = append(out, b.calibrateStep(c))
		out = append(out, step{"validate-" + c.id(), 15 * time.Second, func(ctx context.Context, name string) error {
			return b.validate(ctx, name, c)
		}})
	}
	for draw := range draws {
		for _, t := range transfers {
			id := transferID(t.from, t.to, draw)
			to := b.configuration(t.to)
			out = append(out, step{id, 16 * time.Second, func(ctx context.Context, name string) error {
				return b.save(ctx, name, "latency", "adapt", "--table", b.table("profile-"+t.from), "--space", files(to.spaces), "--samples", "10",
					"--seed", fmt.Sprint(drawSeed+draw), "--target", to.target, "--threads", fmt.Sprint(to.threads), "--budget", "12s", "-o", b.table(name))
			}}, step{"validate-" + id, 6 * time.Second, func(ctx context.Context, name string) error {
				return b.compare(ctx, name, b.table(id), to, 15)
			}})
		}
	}
	for _, budget := range budgets {
		most, err := time.ParseDuration(budget)
		if err != nil {
			fail(err)
		}
		judged := b.configuration("cpu-int8-1")
		judged.spaces = spaces[:1]
		out = append(out,
			step{"budget-" + budget, min(most, 90*time.Second) + 5*time.Second, func(ctx context.Context, name string) error {
				return b.profile(ctx, name, b.table(name), small, most)
			}},
			step{"validate-budget-" + budget, 5 * time.Second, func(ctx context.Context, name string) error {
				return b.compare(ctx, name, b.table("budget-"+budget), judged, b.n)
			}},
		)
	}
	out = append(out, repeat(repeats[2]))
	for _, r := range repeats[1:] {
		out = append(out, step{"diff-" + r, time.Second, func(ctx context.Context, name string) error {
			return b.save(ctx, name, "profile", "diff", b.table(repeats[0]), b.table(r), "--most", "0")
		}})
	}
	for _, target := range []string{"cpu-int8", "cpu-f32"} {
		out = append(out, step{"compile-" + target, 20 * time.Second, func(ctx context.Context, name string) error {
			return os.WriteFile(b.file(name+".json"), fmt.Appendf(nil, "%d\n", len(b.compiled(ctx, target))), 0o644)
		}}, step{"models-" + target, 100 * time.Second, func(ctx context.Context, name string) error { return b.realModels(ctx, name, target) }})
	}
	xla := b.configuration("xla-cpu-1")
	out = append(out, step{"profile-xla-cpu-1", xla.leg + 10*time.Second, func(ctx context.Context, name string) error {
		return b.profile(ctx, name, b.table(name), xla, xla.leg)
	}})
	for r := range 2 * rounds {
		out = append(out, step{fmt.Sprintf("measure-xla-cpu-1-%d", r+1), xla.round, func(ctx context.Context, name string) error {
			return b.measure(ctx, name, b.judging(xla), r+1)
		}})
		if r%2 == 1 {
			out = append(out, b.calibratingStep(xla, r/2+1))
		}
	}
	out = append(out, b.calibrateStep(xla))
	out = append(out, step{"validate-xla-cpu-1", 15 * time.Second, func(ctx context.Context, name string) error {
		return b.save(ctx, name, append(b.judging(xla), "--report", b.file(name+".html"))...)
	}})
	if b.nasbench != "" {
		out = append(out, step{"nasbench", 30 * time.Second, func(ctx context.Context, name string) error {
			text, err := exec.CommandContext(ctx, "go", "run", "./bench/nasbench", b.nasbench).Output()
			if err != nil {
				return err
			}
			return os.WriteFile(b.file(name+".json"), text, 0o644)
		}})
	}
	return out
}

// calibratingStep measures networks that set the width of a table's intervals.
func (b *bench) calibratingStep(c configuration, round int) step {
	about := (c.round * time.Duration(c.calib) / time.Duration(max(c.n, 1))).Round(time.Second) + 4*time.Second
	return step{fmt.Sprintf("calibrating-%s-%d", c.id(), round), about, func(ctx context.Context, name string) error {
		return b.measure(ctx, name, b.calibrating(c), round)
	}}
}

// calibrateStep sets it.
func (b *bench) calibrateStep(c configuration) step {
	return step{"calibrate-" + c.id(), 8 * time.Second, func(ctx context.Context, name string) error {
		if err := b.save(ctx, name+"-by", b.calibrating(c)...); err != nil {
			return err
		}
		return b.save(ctx, name, "latency", "calibrate", "--table", b.table("profile-"+c.id()), "--by", b.file(name+"-by.json"))
	}}
}

// configuration finds one by its id.
func (b *bench) configuration(id string) configuration {
	all := b.configurations()
	return all[slices.IndexFunc(all, func(c configuration) bool { return c.id() == id })]
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

func (b *bench) profile(ctx context.Context, name, table string, c configuration, budget time.Duration) error {
	return b.save(ctx, name, "profile", "--target", c.target, "--threads", fmt.Sprint(c.threads), "--space", files(c.spaces), "--seed", profileSeed, "--budget", budget.String(), "-o", table)
}

// judging are the arguments that validate a configuration's table, calibrating
// those before its intervals are set.
func (b *bench) judging(c configuration) []string { return b.validating(c, c.n, judgeSeed) }

func (b *bench) calibrating(c configuration) []string {
	return append(b.validating(c, min(c.calib, c.n), calibrateSeed), "--once")
}

func (b *bench) validating(c configuration, n int, seed string) []string {
	return []string{
		"latency", "validate", "--table", b.table("profile-" + c.id()), "--space", files(c.spaces), "--n", fmt.Sprint(n),
		"--rounds", fmt.Sprint(c.rounds), "--time", c.took, "--seed", seed,
	}
}

// measure takes networks' times up to a round.
func (b *bench) measure(ctx context.Context, name string, validating []string, until int) error {
	if err := command(ctx, b.nasc, append(validating, "--until", fmt.Sprint(until))...); err != nil {
		return err
	}
	return os.WriteFile(b.file(name+".json"), fmt.Appendf(nil, "%d\n", until), 0o644)
}

func (b *bench) validate(ctx context.Context, name string, c configuration) error {
	return b.save(ctx, name, append(b.judging(c), "--report", b.file(name+".html"))...)
}

// compare judges another table of a configuration by the times that are known.
func (b *bench) compare(ctx context.Context, name, table string, c configuration, n int) error {
	return b.save(ctx, name, "latency", "validate", "--table", table, "--space", files(c.spaces), "--n", fmt.Sprint(n), "--seed", judgeSeed,
		"--measured", b.file("validate-"+c.id()+".json"))
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
