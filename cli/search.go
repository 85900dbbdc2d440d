package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/queue"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
	"github.com/nasc-dev/nasc/search/tabular"
	"github.com/nasc-dev/nasc/search/task"
)

func (a *app) search() *cobra.Command {
	s := &searchFlags{}
	c := &cobra.Command{
		Use: "search SPACE --strategy S --study s.db --budget 2000 --data DATA -o best.nasc", Short: "look for better networks",
		Long: "search looks for networks of a space: a strategy proposes, each network is trained and judged on data that\n" +
			"it was not trained on, ms and bytes come from a latency table or from measuring. The study's file keeps every\n" +
			"trial: a search that was stopped goes on with the budget that is left, and what is not given again comes from\n" +
			"the file. At the end the best networks are compiled and measured, predicted beside measured.",
		Example: "  nasc search zoo/spaces/plain-cnn.toml --strategy regularized-evolution --study s.db --budget 20m --data mnist:DIR -o best.nasc\n" +
			"  nasc search --table nasbench201:nasbench201.csv.gz --strategy regularized-evolution --study s.db --budget 300",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runSearch(cmd, s, args) },
	}
	s.flags(c.Flags())
	c.AddCommand(a.searchStrategies(), a.searchBench(), a.searchTable())
	return c
}

// searching is a search that is made ready.
type searching struct {
	*searchFlags
	cmd     *cobra.Command
	teacher *compressFlags // of nasc compress; nil: an architecture file's space, or a table's
	space   string         // the path given
	goal    search.Goal
	trials  int // budget
	wall    time.Duration
	study   *study.Study // nil: nothing is kept
	fresh   bool         // begun by this process
	meta    study.Meta
	weights search.DirStore
	scratch string // folder of weights that are not kept
	opened  *task.Opened
	// strategic is the strategy when the search ran.
	strategic search.Strategy
	said      []string // flags that were given, and are not the study's
}

func (a *app) runSearch(cmd *cobra.Command, s *searchFlags, args []string) error {
	ctx := cmd.Context()
	r := &searching{searchFlags: s, cmd: cmd}
	defer r.close()
	trials, took, err := a.conduct(ctx, r, args)
	if err == nil {
		err = a.searched(ctx, r, trials, took)
	}
	if errors.Is(err, context.Canceled) {
		r.interrupted(a, len(trials))
	}
	return err
}

// conduct makes a search ready and goes through it. r.close follows, also after an
// error.
func (a *app) conduct(ctx context.Context, r *searching, args []string) (trials []*search.Trial, took time.Duration, err error) {
	s := r.searchFlags
	r.cmd.Flags().Visit(func(f *pflag.Flag) { r.said = append(r.said, f.Name) })
	if s.study != "" {
		r.weights = study.Weights(s.study)
	} else {
		if r.scratch, err = os.MkdirTemp("", "nasc-search-*"); err != nil {
			return nil, 0, err
		}
		r.weights = search.DirStore(r.scratch)
	}
	if err := r.read(ctx, a, args); err != nil {
		return nil, 0, err
	}
	if err := s.check(s.study); err != nil {
		return nil, 0, err
	}
	for _, f := range [][2]string{{"-o", s.out}, {"--report", s.report}} {
		if f[1] != "" {
			if err := writable(f[0], f[1]); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := r.prepare(ctx, a); err != nil {
		return nil, 0, err
	}
	x, err := r.strategist()
	if err != nil {
		return nil, 0, err
	}
	l := &search.Loop{
		Space: r.opened.Space, Goal: r.goal, Seed: r.meta.Seed, Window: r.meta.Window, Jobs: s.jobs, Budget: r.trials, Time: r.wall,
	}
	if r.teacher != nil {
		r.teacher.extend(a, r, l)
	}
	if s.study != "" {
		st, unborn := os.Stat(s.study)
		r.fresh = unborn != nil || st.Size() == 0
		r.study, err = study.Open(ctx, s.study, r.meta, func() { a.note("another process works on %s: waiting for it", s.study) })
		if err != nil {
			return nil, 0, err
		}
		r.meta = r.study.Meta
		l.Journal, l.Window = r.study, r.meta.Window
		if x, err = r.strategist(); err != nil { // as it was set up when the study was begun
			return nil, 0, err
		}
	}
	r.strategic, l.Strategy = x, x
	begun := time.Now()
	trials, err = a.perform(ctx, l, r)
	return trials, time.Since(begun), err
}

// abandon removes the study that a search without a server has begun: it would
// be taken for one to go on with.
func (r *searching) abandon() error {
	if !r.fresh || r.study == nil {
		return nil
	}
	st := r.study
	r.study = nil
	return errors.Join(st.Abandon(), os.RemoveAll(queue.Folder(st.Path)))
}

// close frees what a search holds.
func (r *searching) close() {
	if r.study != nil {
		_ = r.study.Close() // what was kept is in the file
	}
	if r.scratch != "" {
		_ = os.RemoveAll(r.scratch)
	}
}

// read makes of flags, and of the study where there is one, what is searched.
func (r *searching) read(ctx context.Context, a *app, args []string) error {
	s, f := r.searchFlags, r.cmd.Flags()
	var was *study.Study
	if s.study != "" {
		st, err := os.Stat(s.study)
		switch {
		case err == nil && st.Size() > 0:
			if was, err = study.Read(ctx, s.study); err != nil {
				return err
			}
			defer was.Close()
			if of := strings.HasPrefix(was.Meta.SpaceText, teacherSpace); of != (r.teacher != nil) {
				return &diag.Error{Place: "--study " + s.study, Found: "a study of " + was.Meta.Space, Wanted: "one of nasc " + r.cmd.Name(), Fix: map[bool]string{true: "nasc compress goes on with it", false: "nasc search goes on with it"}[of]}
			}
			if err := s.resume(r.cmd, was.Meta); err != nil {
				return err
			}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return diag.At("--study", err)
		}
	}
	var err error
	if r.trials, r.wall, err = s.limit(); err != nil {
		return err
	}
	for _, v := range []struct {
		name string
		n    int
	}{{"jobs", s.jobs}, {"epochs", s.task.Train.Epochs}, {"threads", s.task.Threads}, {"train-threads", s.task.Workers}} {
		if v.n < 1 {
			return &diag.Error{Place: "--" + v.name, Found: fmt.Sprint(v.n), Wanted: "1 or more"}
		}
	}
	for _, v := range []struct {
		name string
		x    float64
	}{{"noise", s.task.Noise}, {"tune-lr", s.task.TuneLR}} {
		if !(v.x >= 0) || math.IsInf(v.x, 0) {
			return &diag.Error{Place: "--" + v.name, Found: fmt.Sprint(v.x), Wanted: "0 or more"}
		}
	}
	if t, _, err := nasc.Target(s.task.Target); err != nil {
		return err
	} else if err := t.Available(); err != nil {
		return diag.At("--target "+s.task.Target, err)
	}
	if s.window == 0 && !f.Changed("window") {
		s.window = max(s.jobs, s.workers)
	}
	if s.finalEpochs < -1 || s.plan < -1 {
		return &diag.Error{Place: "--final-epochs, --plan", Found: fmt.Sprint(s.finalEpochs, ", ", s.plan), Wanted: "-1 or more"}
	}
	if s.task.Sample < 0 {
		return &diag.Error{Place: "--trial-samples", Found: fmt.Sprint(s.task.Sample), Wanted: "0 or more"}
	}
	if s.window < 1 || s.finalists < 0 {
		return &diag.Error{Place: "--window, --finalists", Found: fmt.Sprint(s.window, ", ", s.finalists), Wanted: "1 or more, and 0 or more"}
	}
	bench := ""
	for _, t := range s.tables {
		if task.IsBench(t) {
			bench = t
		}
	}
	t := &s.task
	t.Seed = 1 // the split is the same for all seeds of a search
	switch {
	case r.teacher != nil:
		err = r.teacher.open(ctx, a, r, args, was)
	case bench != "" && (len(args) > 0 || len(s.tables) > 1):
		return &diag.Error{Place: "--table " + bench, Found: "a space or another table beside it", Wanted: "the benchmark alone: it has a space of its own, and its networks' ms"}
	case bench != "" && s.out != "":
		err = &diag.Error{Place: "-o", Found: "a tabular benchmark", Wanted: "a space: a benchmark's networks have no weights", Fix: "leave it out"}
	case bench != "":
		err = t.OpenBench(bench)
	case len(args) > 0:
		r.space = args[0]
		err = t.OpenSpace(args[0])
	case was != nil:
		t.Space, t.File, t.Digest = was.Meta.SpaceText, was.Meta.Space+".toml", was.Meta.SpaceDigest
		r.space = t.File
		if path := spaceOf(was.Meta.Command); path != "" {
			r.space = path // where the file was
		}
	case len(s.tables) > 0 && strings.Contains(s.tables[0], ":"):
		_, err = tabular.Open(s.tables[0]) // says which forms there are
	default:
		err = &diag.Error{Place: "nasc search", Found: "no space", Wanted: "an architecture file with choices, or --table with a tabular benchmark", Fix: "zoo/spaces has some"}
	}
	if err != nil {
		return err
	}
	var limits []search.Limit
	for _, name := range limited {
		if v := s.limits[name]; v != nil && *v > 0 {
			v := *v
			m, err := search.FindMetric(name)
			if err != nil {
				return err
			}
			limits = append(limits, search.Limit{Metric: m, Bound: v})
		}
	}
	r.goal, err = search.ParseGoal(s.objective, limits...)
	return err
}

// prepare opens space, data and tables, and refuses what cannot be reached.
func (r *searching) prepare(ctx context.Context, a *app) error {
	s := r.searchFlags
	edited := func(t *search.Trial, edit string, delta, maxOut float64) {
		a.note("trial %d: %s: max |Δlogit| %.2g of %.3g", t.ID, edit, delta, maxOut)
	}
	var err error
	if r.opened, err = s.task.Open(r.weights, edited); err != nil {
		return err
	}
	if changed, err := r.pace(a, r.opened); err != nil {
		return err
	} else if changed {
		if r.opened, err = s.task.Open(r.weights, edited); err != nil {
			return err
		}
	}
	planned := r.trials
	if s.plan >= 0 {
		planned = s.plan
	}
	if r.meta, err = s.meta(r.cmd, r.opened.Space.Name(), planned); err != nil {
		return err
	}
	r.meta.Nasc = nasc.Version()
	if r.opened.Data != nil {
		if r.meta.Settings[study.DataDigest], err = r.opened.Data.Digest(); err != nil {
			return err
		}
	}
	if path := r.meta.Options["policy"]; path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return &diag.Error{Place: "--policy-in " + path, Err: err, Wanted: "the file that --policy-out of another search left"}
		}
		r.meta.Settings["policy-digest"] = search.Digest(b)
	}
	r.meta.Command = command(r.cmd, r.space, r.meta, s.budget)
	if r.opened.Table == nil && len(s.tables) > 0 {
		var table *latency.Table
		for _, path := range s.tables {
			t, err := latency.Read(path)
			if err != nil {
				return err
			}
			if !s.foreign {
				base, isa := backends.SplitName(s.task.Target)
				if err := t.Foreign(latency.Fingerprint(nasc.Version(), base, isa, s.task.Threads, 1)); err != nil {
					return diag.At(path, err)
				}
			}
			if table = t; len(s.tables) > 1 {
				return &diag.Error{Place: "--table", Found: "two latency tables", Wanted: "one: that of the target"}
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			r.meta.Settings["table-digest"] = search.Digest(b)
		}
		update, finish := a.progress()
		err := r.opened.WithLatency(ctx, table, update)
		finish()
		if err != nil {
			return err
		}
	}
	if needs(r.goal, "bytes", "arena") {
		r.opened.WithSizes(ctx)
	}
	if err := r.opened.Check(r.goal); err != nil {
		return err
	}
	update, finish := a.progress()
	defer finish()
	begun := time.Now()
	return r.opened.Feasible(ctx, r.goal, func(done, total int) {
		if time.Since(begun) > time.Second { // most limits are kept by the first networks
			update("look for networks that keep the limits", done, total)
		}
	}, func(text string) { a.note("note: %s", text) })
}

func needs(g search.Goal, metrics ...string) bool {
	return slices.ContainsFunc(g.Objectives, func(m search.Metric) bool { return slices.Contains(metrics, m.Name) }) ||
		slices.ContainsFunc(g.Limits, func(l search.Limit) bool { return slices.Contains(metrics, l.Metric.Name) })
}

// strategist makes the strategy as the study begins it.
func (r *searching) strategist() (search.Strategy, error) {
	return strategy.Find(r.strategy, search.Setup{
		Space: r.opened.Space, Goal: r.goal, Budget: r.meta.Budget, Seed: r.meta.Seed, Options: r.meta.Options, Cheap: r.opened.Cheap,
	})
}

// perform runs the loop, here or by workers.
func (a *app) perform(ctx context.Context, l *search.Loop, r *searching) ([]*search.Trial, error) {
	if r.nats == "" {
		l.Evaluator, l.Journal = evaluators(r.opened, r.goal, nil, l.Journal)
		return a.watch(ctx, l)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := a.hire(ctx, r, cancel)
	if err != nil {
		return nil, errors.Join(err, r.abandon())
	}
	l.Evaluator, l.Journal = evaluators(r.opened, r.goal, c, l.Journal)
	l.Jobs = l.Window // who evaluates at once is the workers' matter
	trials, err := a.watch(ctx, l)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = diag.At("no worker is left", cause)
	}
	return trials, errors.Join(err, c.dismiss(err == nil))
}

// watch runs the loop and shows how far it is.
func (a *app) watch(ctx context.Context, l *search.Loop) ([]*search.Trial, error) {
	update, finish := a.progress()
	defer finish()
	var best *search.Trial
	start := time.Now()
	l.Told = func(t *search.Trial) {
		if t.Note == search.LastNote {
			// It has shown how far it is.
		} else if l.Budget > 0 {
			update("search", int(t.ID), l.Budget)
		} else if l.Time > 0 {
			update("search", min(int(time.Since(start).Seconds()), int(l.Time.Seconds())), int(l.Time.Seconds()))
		}
		if t.Fault == "" && (best == nil || t.Better(best)) {
			best = t
			a.note("trial %d: %s, the best so far", t.ID, metricsText(l.Goal, t))
		}
	}
	return l.Run(ctx)
}

// metricsText shows the metrics of the goal.
func metricsText(g search.Goal, t *search.Trial) string {
	if t.Fault != "" {
		return "fault: " + t.Fault
	}
	var out []string
	show := func(m search.Metric) {
		v, ok := t.Metrics[m.Name]
		switch text := m.Name + " "; {
		case !ok:
			out = append(out, text+"unknown")
		case m.Name == "accuracy":
			out = append(out, fmt.Sprintf("%s%.2f %%", text, 100*v))
		case m.Name == "macs" || m.Name == "params":
			out = append(out, text+countText(int64(v)))
		case m.Unit == "B":
			out = append(out, text+bytesText(int64(v)))
		default:
			out = append(out, fmt.Sprintf("%s%.4g", text, v))
		}
	}
	list := slices.Clone(g.Objectives)
	if list[0].Name == "reward" { // which is made of these
		for _, m := range search.Metrics {
			if m.Name == "accuracy" || m.Name == "params" {
				list = append(list, m)
			}
		}
	}
	for _, l := range g.Limits {
		if !slices.ContainsFunc(list, func(m search.Metric) bool { return m.Name == l.Metric.Name }) {
			list = append(list, l.Metric)
		}
	}
	for _, m := range list {
		show(m)
	}
	return strings.Join(out, ", ")
}
