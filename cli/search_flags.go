package cli

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/study"
	"github.com/nasc-dev/nasc/search/tabular"
	"github.com/nasc-dev/nasc/search/task"
	"github.com/nasc-dev/nasc/train"
)

// limited are the metrics that --max-… bounds.
var limited = []string{"ms", "macs", "params", "bytes", "arena"}

// searchFlags are what a search is asked for with.
type searchFlags struct {
	study    string
	strategy string
	options  []string // k=v
	budget   string
	seed     uint64
	window   int
	jobs     int

	tables    []string
	foreign   bool
	objective string
	limits    map[string]*float64

	task task.Task
	natsFlags

	finalists   int
	finalEpochs int // -1: as a trial's
	plan        int // trials that the strategy is set up for; -1: those of the budget
	out         string
	report      string
}

func (s *searchFlags) flags(f *pflag.FlagSet) {
	s.shared(f, "random", 10)
	f.StringVar(&s.objective, "objective", "accuracy", "what is looked for; several, accuracy,ms, give a front")
	f.Float64Var(&s.task.TuneLR, "tune-lr", 0, "learning rate of networks that inherit weights (0: as --lr)")
	f.Float64Var(&s.task.Noise, "noise", 0, "disturb inherited copies of weights by so many standard deviations before they are trained on")
	f.IntVar(&s.task.Sample, "trial-samples", 0, "train trials on so many samples of --data, drawn by the seed, and judge them by at most as many (0: all; with --budget of wall time what lets some 40 networks fit); last trainings see all")
	f.IntVar(&s.finalists, "finalists", 3, "best networks that are compiled and measured at the end")
	f.IntVar(&s.plan, "plan", -1, "trials that the strategy is set up for, where a new study's differ from --budget (-1: as --budget; 0: as with wall time)")
	f.IntVar(&s.finalEpochs, "final-epochs", -1, "with -o: epochs that the winner, or each network of a front, is trained beyond its trial before it is written (-1: as many as --epochs; with --budget of wall time at most what takes a quarter of it)")
	f.Lookup("table").Usage += "; or a tabular benchmark to search: " + tabular.Forms()
	for _, m := range limited {
		s.limits[m] = f.Float64("max-"+m, 0, limitDoc(m)+" (0: none)")
	}
}

// limitDoc says what --max-… bounds.
func limitDoc(metric string) string {
	m, err := search.FindMetric(metric)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return "limit: " + m.Doc
}

// shared are the flags of all commands that search.
func (s *searchFlags) shared(f *pflag.FlagSet, strategy string, epochs int) {
	s.task.Train = train.Default()
	f.StringVar(&s.study, "study", "", "the study's file (.db): trials are kept there, and a search goes on where it stopped")
	f.StringVar(&s.strategy, "strategy", strategy, "what proposes networks: nasc search strategies lists them")
	f.StringArrayVar(&s.options, "opt", nil, "an option of the strategy, NAME=VALUE")
	f.StringVar(&s.budget, "budget", "", "trials (2000) or wall time (20m) in all")
	f.Uint64Var(&s.seed, "seed", 1, "of the strategy and the trials")
	f.IntVar(&s.window, "window", 0, "trials asked for and not yet told, at most (0: as many as --jobs); the same window and seed make the same study")
	f.IntVar(&s.jobs, "jobs", 1, "trials evaluated at once")
	f.StringArrayVar(&s.tables, "table", nil, "a latency table of nasc profile, by which ms is predicted")
	f.BoolVar(&s.foreign, "allow-foreign", false, "use a latency table of another device or version")
	s.limits, s.plan = map[string]*float64{}, -1
	t := &s.task
	f.StringVar(&t.Data, "data", "", "labelled DATA to train on: "+data.Kinds)
	f.StringVar(&t.Val, "val", "", "labelled DATA that networks are judged by")
	f.Float64Var(&t.Share, "val-split", 0.2, "without --val: the share of --data to judge by")
	f.IntVar(&t.Train.Epochs, "epochs", epochs, "passes over the data of a full training")
	f.IntVar(&t.Train.Batch, "batch", t.Train.Batch, "samples a step")
	f.Float64Var(&t.Train.LR, "lr", 0, "highest learning rate (0: the optimizer's own)")
	f.StringVar(&t.Train.Optimizer, "optimizer", t.Train.Optimizer, strings.Join(train.Optimizers(), ", "))
	f.StringVar(&t.Train.Schedule, "schedule", t.Train.Schedule, strings.Join(train.Schedules(), ", "))
	f.Float64Var(&t.Train.Smoothing, "smoothing", 0, "of labels")
	f.IntVar(&t.Train.Augment.Crop, "random-crop", 0, "shift pictures by up to so many pixels")
	f.BoolVar(&t.Train.Augment.Flip, "flip", false, "mirror every second picture")
	f.StringVar(&t.Target, "target", "cpu-int8", "what the networks are meant to run on: ms, bytes and the compiled result are of it")
	f.IntVar(&t.Threads, "threads", 1, "threads of a run on the target")
	f.IntVar(&t.Workers, "train-threads", 1, "threads of a training step")
	f.BoolVar(&t.Measure, "measure", false, "measure each network's ms on this device, instead of predicting it")
	s.natsFlags.flags(f)
	f.StringVarP(&s.out, "output", "o", "", "the compiled .nasc file of the best network (of a front: one file a network)")
	f.StringVar(&s.report, "report", "", "write a page: progress, front, choices, the winner's lineage")
}

// teacherSpace begins a study's space text where it holds a teacher's students;
// the digest of the teacher's file follows.
const teacherSpace = "teacher:"

// settings are the flags beside a study's columns that decide what trials give.
var settings = []string{
	"val", "val-split", "trial-samples", "epochs", "batch", "lr", "tune-lr", "noise", "optimizer", "schedule", "smoothing", "random-crop", "flip",
	"target", "threads", "train-threads", "measure",
	"final", "distill-weight", "temperature", // of nasc compress
}

// given are settings that are kept where they were given: without, the model
// says.
var given = []string{"preprocess", "mean", "std", "resize", "crop"}

// resume gives the flags that are not set the values of the study, and the
// budget that it was begun with.
func (s *searchFlags) resume(c *cobra.Command, m study.Meta) error {
	f := c.Flags()
	set := func(name, value string) error {
		if f.Changed(name) {
			return nil
		}
		return f.Set(name, value)
	}
	values := maps.Clone(m.Settings)
	tables := values["table"]
	delete(values, "table")
	delete(values, "table-digest")
	delete(values, "policy-digest")
	delete(values, study.DataDigest)
	if v := values[study.Budget]; v == "" && m.Budget > 0 {
		values[study.Budget] = fmt.Sprint(m.Budget)
	}
	if f.Lookup("objective") != nil {
		values["objective"] = m.Objective
	}
	for k, v := range map[string]string{"strategy": m.Strategy, "seed": fmt.Sprint(m.Seed), "window": fmt.Sprint(m.Window), "data": m.Data} {
		values[k] = v
	}
	for k, v := range m.Limits {
		values["max-"+k] = fmt.Sprint(v)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if f.Lookup(k) == nil {
			return &diag.Error{Place: s.study, Found: "setting " + k, Wanted: "settings that this nasc knows", Fix: "use a newer nasc"}
		}
		if err := set(k, values[k]); err != nil {
			return err
		}
	}
	if !f.Changed("table") && tables != "" {
		s.tables = strings.Split(tables, "\n")
	}
	if !f.Changed("opt") {
		for _, k := range slices.Sorted(maps.Keys(m.Options)) {
			s.options = append(s.options, k+"="+m.Options[k])
		}
	}
	return nil
}

// meta is what the study holds of the flags. budget is the trials that the
// strategy is set up for.
func (s *searchFlags) meta(c *cobra.Command, space string, budget int) (study.Meta, error) {
	m := study.Meta{
		Space: space, SpaceText: s.task.Space, SpaceDigest: s.task.Digest, Strategy: s.strategy, Objective: s.objective,
		Options: map[string]string{}, Limits: map[string]float64{}, Settings: map[string]string{},
		Seed: s.seed, Window: s.window, Budget: budget, Data: s.task.Data,
	}
	if s.budget != fmt.Sprint(budget) {
		m.Settings[study.Budget] = s.budget
	}
	for _, o := range s.options {
		k, v, ok := strings.Cut(o, "=")
		if !ok || k == "" {
			return m, &diag.Error{Place: "--opt", Found: fmt.Sprintf("%q", o), Wanted: "NAME=VALUE"}
		}
		m.Options[k] = v
	}
	for k, v := range s.limits {
		if !(*v >= 0) || math.IsInf(*v, 0) {
			return m, &diag.Error{Place: "--max-" + k, Found: fmt.Sprint(*v), Wanted: "a number above 0"}
		}
		if *v > 0 {
			m.Limits[k] = *v
		}
	}
	if len(s.tables) > 0 {
		m.Settings["table"] = strings.Join(s.tables, "\n")
	}
	if s.task.Bench != "" {
		m.SpaceText = s.task.Bench
		return m, nil
	}
	if s.task.Teacher {
		m.SpaceText = teacherSpace + s.task.Digest
	}
	for _, name := range given {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			m.Settings[name] = strings.Trim(f.Value.String(), "[]")
		}
	}
	for _, name := range settings {
		if f := c.Flags().Lookup(name); f != nil {
			m.Settings[name] = f.Value.String()
		}
	}
	return m, nil
}
