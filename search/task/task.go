package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/shrink"
	"github.com/nasc-dev/nasc/search/tabular"
	"github.com/nasc-dev/nasc/train"
)

// Task is what is searched and how a trial is evaluated.
type Task struct {
	// Space is an architecture file's text; "" where Bench names a tabular
	// benchmark, whose space is searched.
	Space string `json:"space,omitempty"`
	File  string `json:"file,omitempty"` // the space's, for messages
	Bench string `json:"bench,omitempty"`
	// Teacher says that Digest is a trained network's in the store, and its
	// students are searched (OpenTeacher).
	Teacher bool `json:"teacher,omitempty"`
	// Digest is that of Space, of the benchmark's file or of the teacher.
	Digest string `json:"digest"`

	Data  string  `json:"data,omitempty"` // DATA to train on
	Sum   string  `json:"sum,omitempty"`  // the digest that the data must have; "": any (Sealed)
	Val   string  `json:"val,omitempty"`  // DATA to judge by; "": a share of Data
	Share float64 `json:"share,omitempty"`
	Seed  uint64  `json:"seed"` // of the split
	// Sample is how many samples of Data trials are trained on; 0: all.
	Sample int          `json:"sample,omitempty"`
	Train  train.Config `json:"train"`
	TuneLR float64      `json:"tune_lr,omitempty"` // of inherited weights; 0: Train's
	Noise  float64      `json:"noise,omitempty"`   // on inherited weights

	Target  string `json:"target,omitempty"`
	Threads int    `json:"threads,omitempty"`       // of a run on the target, for latency
	Workers int    `json:"train_threads,omitempty"` // of a training step
	Measure bool   `json:"measure,omitempty"`       // ms is measured, on a device that fits
}

// OpenSpace sets the space and its digest from an architecture file.
func (t *Task) OpenSpace(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return &diag.Error{Place: path, Err: err}
	}
	t.Space, t.File, t.Digest = string(b), path, search.Digest(b)
	_, err = arch.ParseSpace(path, b)
	return err
}

// OpenBench sets a tabular benchmark and its digest.
func (t *Task) OpenBench(name string) error {
	d, err := benchDigest(name)
	t.Bench, t.Digest = name, d
	return err
}

func benchDigest(name string) (string, error) {
	_, path, _ := strings.Cut(name, ":")
	path, _, _ = strings.Cut(path, "?")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return "", &diag.Error{Place: "--table " + name, Err: err, Wanted: "one of " + tabular.Forms()}
	}
	return search.Digest(b), nil
}

// IsBench says whether a --table argument names a tabular benchmark, and not a
// latency table.
func IsBench(name string) bool {
	for form := range strings.SplitSeq(tabular.Forms(), ", ") {
		if kind, _, _ := strings.Cut(form, ":"); strings.HasPrefix(name, kind+":") {
			return true
		}
	}
	return false
}

// Opened is a task made ready.
type Opened struct {
	Task
	Space    search.Space
	Arch     *arch.Space    // nil: the space is no architecture file's
	Table    *tabular.Table // nil: the space is no tabular benchmark's
	Students *shrink.Space  // nil: the space is no teacher's
	Data     *evaluate.Set
	// Cheap gives what is known of a network without training it. WithLatency
	// adds ms to it.
	Cheap func(search.Genotype) (map[string]float64, error)
	// Trains evaluates one trial, on this machine.
	Trains search.Evaluator
}

// Open makes a task ready. Weights are kept in and inherited from the store;
// edited hears of each edit of inherited weights, where it is not nil.
func (t Task) Open(store search.Store, edited func(t *search.Trial, edit string, delta, maxOut float64)) (*Opened, error) {
	o := &Opened{Task: t}
	if t.Bench != "" {
		d, err := benchDigest(t.Bench)
		if err != nil {
			return nil, err
		}
		if d != t.Digest {
			return nil, &diag.Error{Place: "--table " + t.Bench, Found: "a file whose SHA-256 is " + d, Wanted: t.Digest + ", as the search has it"}
		}
		if o.Table, err = tabular.Open(t.Bench); err != nil {
			return nil, err
		}
		o.Space, o.Cheap, o.Trains = o.Table.Space(), o.Table.Cheap, o.Table
		return o, nil
	}
	if t.Data == "" {
		return nil, &diag.Error{Place: "--data", Found: "nothing", Wanted: "labelled DATA to train the networks on"}
	}
	if t.Teacher {
		if err := o.openTeacher(store); err != nil {
			return nil, err
		}
		return o, o.sameData()
	}
	s, err := arch.ParseSpace(t.File, []byte(t.Space))
	if err != nil {
		return nil, err
	}
	if o.Data, err = evaluate.Load(t.Data, t.Val, t.Share, t.Seed); err != nil {
		return nil, err
	}
	if err := o.sameData(); err != nil {
		return nil, err
	}
	o.Data.Shorten(t.Sample, t.Seed)
	e, err := evaluate.New(evaluate.Config{
		Space: s, Data: o.Data, Train: t.Train, TuneLR: t.TuneLR, Noise: t.Noise, Weights: store, Threads: max(1, t.Workers), Edited: edited,
	})
	if err != nil {
		return nil, err
	}
	o.Arch = e.Space // as it is for the data
	o.Space, o.Cheap, o.Trains = search.ArchSpace{Space: e.Space}, evaluate.Cheap(e.Space), e
	return o, nil
}

// Sealed is the task for other machines, which find the data by name: with the
// digest that it must have there.
func (o *Opened) Sealed() (Task, error) {
	t := o.Task
	if o.Data == nil {
		return t, nil
	}
	var err error
	t.Sum, err = o.Data.Digest()
	return t, err
}

// sameData refuses data that is not the search's.
func (o *Opened) sameData() error {
	if o.Sum == "" {
		return nil
	}
	sum, err := o.Data.Digest()
	if err == nil && sum != o.Sum {
		place := "--data " + o.Task.Data
		if o.Val != "" {
			place += " and --val " + o.Val
		}
		err = &diag.Error{Place: place, Found: "samples whose SHA-256 is " + sum + " on this machine", Wanted: o.Sum + ", as the search has it", Fix: "bring the search's data here, under the same name"}
	}
	return err
}

// Screened is the evaluator with what is known beforehand: it becomes part of
// the outcome, and a network that it says breaks a limit is not trained. Students
// are: what they still know is part of the reward.
func (o *Opened) Screened(goal search.Goal, inner search.Evaluator) search.Evaluator {
	return search.EvaluatorFunc(func(ctx context.Context, t *search.Trial) (search.Outcome, error) {
		cheap, err := o.Cheap(t.Genotype)
		if err != nil {
			return search.Outcome{Fault: err.Error()}, nil
		}
		if goal.Violation(cheap) > 0 && o.Students == nil {
			m := map[string]float64{}
			for k, v := range cheap {
				m[k] = v
			}
			return search.Outcome{Metrics: m}, nil
		}
		out, err := inner.Evaluate(ctx, t)
		if err != nil {
			return out, err
		}
		if out.Metrics == nil {
			out.Metrics = map[string]float64{}
		}
		for k, v := range cheap {
			if _, has := out.Metrics[k]; !has {
				out.Metrics[k] = v
			}
		}
		return out, nil
	})
}

// Check says which of the goal's metrics nothing gives.
func (o *Opened) Check(goal search.Goal) error {
	known := map[string]bool{"accuracy": true, "loss": o.Table == nil, "train_macs": o.Table == nil, "ms": o.Measure, "reward": o.Students != nil}
	m, err := o.Cheap(search.Canonical(o.Space, make(search.Genotype, len(o.Space.Genes()))))
	if err != nil {
		return err
	}
	for k := range m {
		known[k] = true
	}
	names := []string{}
	for _, x := range goal.Objectives {
		names = append(names, x.Name)
	}
	for _, l := range goal.Limits {
		names = append(names, l.Metric.Name)
	}
	for _, n := range names {
		if known[n] {
			continue
		}
		fix := "leave it out"
		if n == "ms" {
			fix = "give the latency table of nasc profile: --table device.csv, or --measure"
		}
		return &diag.Error{Place: "--objective and limits", Found: n, Wanted: fmt.Sprintf("what is known of %s's networks", o.Space.Name()), Fix: fix}
	}
	return nil
}
