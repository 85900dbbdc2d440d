package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// tableFlags are what commands that predict share.
type tableFlags struct {
	table, target  string
	threads, batch int
	foreign        bool
}

func (t *tableFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.table, "table", "", "the latency table")
	f.StringVar(&t.target, "target", "", "another target than the file's or the table's")
	f.IntVar(&t.threads, "threads", 0, "threads of one run (0: the table's)")
	f.IntVar(&t.batch, "batch", 0, "samples in one run (0: the table's)")
	f.BoolVar(&t.foreign, "allow-foreign", false, "use a table of another device or version")
}

// open reads the table and sets threads and batch that were not given to the
// table's.
func (t *tableFlags) open() (*latency.Table, error) {
	if t.table == "" {
		return nil, &diag.Error{Place: "--table", Found: "nothing", Wanted: "a table of nasc profile"}
	}
	if t.threads < 0 || t.batch < 0 {
		return nil, &diag.Error{Place: "--threads, --batch", Found: fmt.Sprint(t.threads, ", ", t.batch), Wanted: "1 or more"}
	}
	table, err := latency.Read(t.table)
	if err != nil {
		return nil, err
	}
	here := func(v *int, fact string) {
		if *v == 0 {
			*v = 1
			_, _ = fmt.Sscan(table.Fact(fact), v) // an odd table stays at one and is found foreign
		}
	}
	here(&t.threads, "threads")
	here(&t.batch, "batch")
	return table, nil
}

// native refuses a table of another device or version; one that is allowed is
// named all the same.
func (a *app) native(t *tableFlags, table *latency.Table) error {
	base, isa := backends.SplitName(t.target)
	err := table.Foreign(latency.Fingerprint(nasc.Version(), base, isa, t.threads, t.batch))
	if e := (*diag.Error)(nil); t.foreign && errors.As(err, &e) {
		a.note("note: %s: %s", t.table, e.Found)
		return nil
	}
	return diag.At(t.table, err)
}

func (a *app) latencyValidate() *cobra.Command {
	var (
		t              tableFlags
		spaces, models []string
		n, rounds      int
		until          int
		once           bool
		seed           uint64
		report, known  string
		took           time.Duration
	)
	c := &cobra.Command{
		Use: "validate --table F --space S --n 100", Short: "predict networks that the table has not seen, measure them, compare", Args: cobra.NoArgs,
		Long: `validate draws networks of the spaces that were not measured into the table as a whole, predicts
them, and measures them in fresh processes, in which they take turns: the median of the processes is
what is compared with. Of cpu-int8 and cpu-f32 the runs count that met the machine in quiet, by an anchor beside
them, as the table's did; how all runs compare is told, too. As many processes again, between those, give a second measurement: how far that
is from the first is the noise that no prediction can be better than. What was measured is kept beside the table until
all is: after an interruption the same command goes on.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(spaces)+len(models) == 0:
				return &diag.Error{Place: "--space, --models", Found: "nothing", Wanted: "spaces to draw networks of, or models"}
			case n < 1 || rounds < 1 || until < 0:
				return &diag.Error{Place: "--n, --rounds, --until", Found: fmt.Sprint(n, ", ", rounds, ", ", until), Wanted: "1 or more, 0 or more rounds until"}
			case took <= 0:
				return &diag.Error{Place: "--time", Found: took.String(), Wanted: "a time, such as 300ms"}
			}
			table, err := t.open()
			if err != nil {
				return err
			}
			if t.target == "" {
				t.target = table.Fact("target")
			}
			if err := a.native(&t, table); err != nil {
				return err
			}
			if report != "" {
				if err := writable("--report", report); err != nil {
					return err
				}
			}
			o := nasc.ValidateOptions{Table: table, N: n, Until: until, Once: once, Seed: seed, Target: t.target, Threads: t.threads, Batch: t.batch, Rounds: rounds, Measure: t.elsewhere(took, table.Pace())}
			if known != "" {
				if o.Known, err = knownNets(known, t.target, t.threads); err != nil {
					return err
				}
			}
			for _, path := range spaces {
				s, err := arch.LoadSpace(path)
				if err != nil {
					return err
				}
				o.Spaces = append(o.Spaces, s)
			}
			base, _ := backends.SplitName(t.target)
			for _, path := range models {
				m, err := ready(cmd, path, nil)
				if err != nil {
					return err
				}
				defer m.Close()
				if err := suits(base, path, m); err != nil {
					return err
				}
				if n := len(m.Module.Graphs); n > 1 {
					a.note("note: %s has %d sets of shapes: the first is compared", path, n)
				}
				if err := freeBatch(path, m.Graph(), t.batch); err != nil {
					return err
				}
				g, err := ir.Specialize(m.Graph(), t.batch)
				if err != nil {
					return diag.At(path, err)
				}
				o.Models = append(o.Models, latency.Work{Name: netName(path, g), Graph: g, In: passes.RandomInputs(g, 1)})
			}
			o.Log = t.validationLog(took, seed, slices.Concat(spaces, models))
			update, finish := a.progress()
			o.Progress = func(done, total int) { update("validate", done, total) }
			v, err := nasc.Validate(cmd.Context(), o)
			finish()
			if errors.Is(err, context.Canceled) {
				a.note("stopped: what was measured is in %s; the same command goes on", o.Log)
			}
			if err != nil {
				return err
			}
			if until > 0 {
				a.note("%d rounds are measured: without --until the same command goes on and compares", min(until, 2*rounds))
				return nil
			}
			if len(v.Networks) == 0 {
				return &diag.Error{Place: "--space", Found: "no network that the table has not measured as a whole", Wanted: "spaces with further networks, or --models"}
			}
			if report != "" {
				if err := writeLatencyReport(report, t.table, table, v); err != nil {
					return err
				}
			}
			return a.show(v, func(w io.Writer) { validationText(w, v) })
		},
	}
	t.flags(c)
	f := c.Flags()
	f.StringSliceVar(&spaces, "space", nil, "spaces to draw networks of")
	f.StringSliceVar(&models, "models", nil, "models to compare on, too")
	f.IntVar(&n, "n", 100, "networks of each space")
	f.IntVar(&rounds, "rounds", 3, "processes whose median is a network's time, and as many again")
	f.DurationVar(&took, "time", 300*time.Millisecond, "time of a network's runs in one process")
	f.Uint64Var(&seed, "seed", 1, "seed of the networks")
	f.IntVar(&until, "until", 0, "measure so many of the rounds (a process each) and stop: a machine's mood lasts minutes, and rounds may be spread (0: all, and compare)")
	f.BoolVar(&once, "once", false, "without the second measurement")
	f.StringVar(&known, "measured", "", "what an earlier validation printed with --json: its networks' times are compared with, and nothing is measured")
	f.StringVar(&report, "report", "", "write a page with charts here")
	return c
}

// knownNets reads the networks that an earlier validation measured.
func knownNets(path, target string, threads int) ([]nasc.ValidNet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.At(path, err)
	}
	var v nasc.Validation
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, &diag.Error{Place: path, Err: err, Wanted: "what nasc latency validate --json printed"}
	}
	if v.Target != target || v.Threads != threads || len(v.Networks) == 0 {
		return nil, &diag.Error{Place: path, Found: fmt.Sprintf("%d networks of %s, threads: %d", len(v.Networks), v.Target, v.Threads), Wanted: fmt.Sprintf("networks of %s, threads: %d", target, threads), Fix: "give what nasc latency validate --json printed"}
	}
	return v.Networks, nil
}

// validationLog is where a validation keeps what it measured until it is done.
// What decides a measurement is part of the name, and where networks come from,
// so that validations of two spaces may run beside each other; networks and
// rounds are told apart within.
func (t *tableFlags) validationLog(took time.Duration, seed uint64, sources []string) string {
	id := crc32.ChecksumIEEE(fmt.Append(nil, nasc.Version(), t.target, t.threads, t.batch, took, seed, sources))
	return fmt.Sprintf("%s.validate-%08x.partial", t.table, id)
}

// netName tells a model's graph apart from others of the same file name.
func netName(path string, g *ir.Graph) string {
	return fmt.Sprintf("%s#%08x", filepath.Base(path), crc32.ChecksumIEEE([]byte(g.Body())))
}

// elsewhere measures files in a process of their own.
func (t *tableFlags) elsewhere(took time.Duration, pace float64) func(ctx context.Context, files []string) ([]*nasc.Measured, error) {
	return func(ctx context.Context, files []string) ([]*nasc.Measured, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, append([]string{"latency", "measure", "--json", "--target", t.target, "--threads", fmt.Sprint(t.threads), "--batch", fmt.Sprint(t.batch), "--time", took.String(), "--pace", fmt.Sprint(pace)}, files...)...)
		cmd.Args[0] = os.Args[0]
		out, err := cmd.Output()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			if e := (*exec.ExitError)(nil); errors.As(err, &e) && len(e.Stderr) > 0 {
				return nil, fmt.Errorf("measuring in another process: %w: %s", err, e.Stderr)
			}
			return nil, fmt.Errorf("measuring in another process: %w", err)
		}
		var ms []*nasc.Measured
		if err := json.Unmarshal(out, &ms); err != nil {
			return nil, err
		}
		if len(ms) != len(files) {
			return nil, fmt.Errorf("measuring in another process: %d times of %d networks", len(ms), len(files))
		}
		return ms, nil
	}
}

// latencyMeasure is what validate runs in processes of their own.
func (a *app) latencyMeasure() *cobra.Command {
	var (
		target         string
		threads, batch int
		took           time.Duration
		pace           float64
	)
	c := &cobra.Command{
		Use: "measure FILE...", Short: "the median time of runs, and of each step, of networks that take turns", Args: cobra.MinimumNArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case threads < 1 || batch < 1:
				return &diag.Error{Place: "--threads, --batch", Found: fmt.Sprint(threads, ", ", batch), Wanted: "1 or more"}
			case took <= 0:
				return &diag.Error{Place: "--time", Found: took.String(), Wanted: "a time, such as 300ms"}
			}
			var list []nasc.Runnable
			for _, file := range args {
				m, err := ready(cmd, file, nil)
				if err != nil {
					return err
				}
				defer m.Close()
				t := targetOf(target, m)
				if base, _ := backends.SplitName(t); slices.Contains(latency.ByBlocks, base) && len(list) == 0 {
					defer latency.Pin(threads)() // its threads begin here and take no number
				}
				e, g, err := m.Start(t, batch, threads)
				if err != nil {
					return err
				}
				defer e.Close()
				list = append(list, nasc.Runnable{Exec: e, Graph: g})
			}
			r, err := nasc.MeasureNets(cmd.Context(), list, threads, took, pace)
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				for i, m := range r {
					fmt.Fprintf(w, "%s: %.4f ms, median of %d runs\n", args[i], m.Median, m.Runs)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&target, "target", "", "another target than the file's")
	f.IntVar(&threads, "threads", 1, "threads of one run")
	f.IntVar(&batch, "batch", 1, "samples in one run")
	f.DurationVar(&took, "time", 300*time.Millisecond, "time of the runs")
	f.Float64Var(&pace, "pace", 0, "what the anchor is known to take in quiet, in µs (0: not known)")
	return c
}

func validationText(w io.Writer, v *nasc.Validation) {
	pct := func(x float64) string { return fmt.Sprintf("%5.1f %%", 100*x) }
	fmt.Fprintf(w, "%-16s %5s %8s %8s %8s %9s %8s %9s\n", v.Target, "n", "±5 %", "±10 %", "MAPE", "Spearman", "Kendall", "coverage")
	row := func(name string, a latency.Accuracy, c float64) {
		fmt.Fprintf(w, "%-16s %5d %8s %8s %8s %9.4f %8.4f %9s\n", name, a.N, pct(a.Within5), pct(a.Within10), pct(a.MAPE), a.Spearman, a.Kendall, pct(c))
	}
	if len(v.Groups) > 1 {
		for _, g := range v.Groups {
			row(g.Name, g.Accuracy, g.Coverage)
		}
	}
	row("all", v.Accuracy, v.Coverage)
	if v.Repeated() {
		fmt.Fprintf(w, "noise: a second measurement is within ±5 %% of the first for %s, within ±10 %% for %s\n", pct(v.NoiseWithin5), pct(v.NoiseWithin10))
	} else {
		fmt.Fprintln(w, "noise: not known, there was no second measurement")
	}
	if v.Busy > 0 {
		fmt.Fprintf(w, "%d networks met no moment of quiet in all processes of a measurement: their times are those of a busy machine\n", v.Busy)
	}
	against := func(what string, s *nasc.ValidAgainst) {
		if s == nil {
			return
		}
		fmt.Fprintf(w, "%s: within ±5 %% %s, within ±10 %% %s, MAPE %s, Spearman %.4f, coverage %s", what, pct(s.Within5), pct(s.Within10), pct(s.MAPE), s.Spearman, pct(s.Coverage))
		if s.NoiseWithin10 > 0 {
			fmt.Fprintf(w, "; noise: %s, %s", pct(s.NoiseWithin5), pct(s.NoiseWithin10))
		}
		fmt.Fprintln(w)
	}
	against("by all runs, those beside a busy neighbour, too", v.AllRuns)
	against("at the table's speed of the machine, by an anchor beside each time", v.Steady)
	for _, f := range v.Families {
		if f.Measured == 0 { // the target shows no steps
			fmt.Fprintf(w, "  %-24s %9.3f ms predicted\n", f.Name, f.Predicted)
			continue
		}
		fmt.Fprintf(w, "  %-24s %9.3f ms predicted, %9.3f measured, MAPE %s\n", f.Name, f.Predicted, f.Measured, pct(f.MAPE))
	}
}
