package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/study"
	"github.com/nasc-dev/nasc/search/task"
)

// compressFlags are what nasc compress has beside a search's.
type compressFlags struct {
	searchFlags
	final     float64
	policyIn  string
	policyOut string
	test      string
	pre       preFlags
	bounds    map[string]*string // of --max-…: numbers, or shares of the teacher's
}

// relative are the limits that may be a share of the teacher's.
var relative = []string{"params", "macs"}

func (a *app) compress() *cobra.Command {
	f := &compressFlags{bounds: map[string]*string{}}
	c := &cobra.Command{
		Use: "compress MODEL --strategy n2n --data DATA --budget 20m -o OUT.nasc", Short: "look for a small network within a trained one",
		Long: "compress makes students of a trained float network, the teacher: a strategy takes layers and channels away, the\n" +
			"student keeps the weights that stay and learns from the teacher's answers, and what it still knows for its size\n" +
			"is the reward: C(2-C) times its accuracy over the teacher's, where C is the share of parameters that is gone.\n" +
			"The best student is trained on with what is left of the budget, compiled, and measured beside the teacher.\n" +
			"Judge by data that the teacher was not trained on (--val), or it looks better than it is. The study's file keeps\n" +
			"every trial, as that of nasc search does: one that was stopped goes on.",
		Example: "  nasc compress resnet.nasc --strategy n2n --data mnist:DIR[0:50000] --val mnist:DIR[50000:60000] --budget 20m --study s.db -o small.nasc\n" +
			"  nasc compress small.onnx --data DATA --val DATA --budget 100 --policy-out p.json && nasc compress large.onnx --data DATA --val DATA --budget 100 --policy-in p.json -o s.nasc",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runCompress(cmd, f, args) },
	}
	x := c.Flags()
	f.shared(x, "n2n", 2)
	x.Lookup("epochs").Usage = "passes over the data of a student's training"
	x.Lookup("random-crop").Usage += ", in the last training"
	x.Lookup("flip").Usage += ", in the last training"
	x.Lookup("report").Usage = "write a page: progress, accuracy and size, choices, teacher and student"
	x.Lookup("output").Usage = "the compiled .nasc file of the best student"
	x.Lookup("target").Usage = "what the student is compiled for, and measured on beside the teacher"
	x.Float64Var(&f.final, "final", 0.5, "share of the budget that the best student's last training gets: of the time, or with a budget of trials of the multiplications that all trainings take")
	x.Float64Var(&f.task.Train.Distill.Weight, "distill-weight", f.task.Train.Distill.Weight, "the teacher's share of the loss; the labels have the rest")
	x.Float64Var(&f.task.Train.Distill.Temperature, "temperature", f.task.Train.Distill.Temperature, "softens the answers that are compared; 0: squared error of the logits")
	x.StringVar(&f.policyIn, "policy-in", "", "begin with the policy that another search left, of this teacher or another")
	x.StringVar(&f.policyOut, "policy-out", "", "file to keep the learned policy in")
	x.StringVar(&f.test, "test", "", "labelled DATA that nothing is chosen by: teacher and student are scored on it once, at the end")
	for _, m := range limited {
		doc := limitDoc(m)
		if slices.Contains(relative, m) {
			doc += ", or a share of the teacher's, 0.1x"
		}
		f.bounds[m] = x.String("max-"+m, "", doc)
	}
	f.pre.flags(x)
	return c
}

func (a *app) runCompress(cmd *cobra.Command, f *compressFlags, args []string) error {
	ctx := cmd.Context()
	f.objective = "reward"
	r := &searching{searchFlags: &f.searchFlags, cmd: cmd, teacher: f}
	defer r.close()
	trials, took, err := a.conduct(ctx, r, args)
	if err == nil {
		err = a.compressed(ctx, r, trials, took)
	}
	if errors.Is(err, context.Canceled) {
		r.interrupted(a, len(trials))
	}
	return err
}

// open makes the teacher's students what is searched.
func (f *compressFlags) open(ctx context.Context, a *app, r *searching, args []string, was *study.Study) error {
	if err := f.check(args, was != nil); err != nil {
		return err
	}
	t := &f.task
	if len(args) > 0 {
		r.space = args[0]
		m, err := nasc.Open(args[0], nil)
		if err != nil {
			return err
		}
		defer m.Close()
		pre, err := f.pre.apply(a, m.Manifest.Preprocess, true)
		if err != nil {
			return err
		}
		if err := t.OpenTeacher(ctx, m, pre, r.weights); err != nil {
			return err
		}
	} else {
		t.Teacher, t.Digest, t.File = true, was.Meta.SpaceDigest, "the teacher of "+f.study
		if path := spaceOf(was.Meta.Command); path != "" {
			r.space, t.File = path, path
		}
	}
	return f.bound(r)
}

// check refuses what cannot be before anything is written.
func (f *compressFlags) check(args []string, resumes bool) error {
	row, err := strategy.Lookup(f.strategy)
	switch {
	case err != nil:
		return err
	case !row.Compresses:
		var names []string
		for _, r := range strategy.Table {
			if r.Compresses {
				names = append(names, r.Name)
			}
		}
		return &diag.Error{Place: "--strategy", Found: row.Name + ", which searches spaces of architectures", Wanted: "one that compresses: " + strings.Join(names, ", ")}
	case len(args) == 0 && !resumes:
		return &diag.Error{Place: "nasc compress", Found: "no model", Wanted: "a trained .nasc or .onnx file, or --study with one that goes on"}
	case f.task.Data == "":
		return &diag.Error{Place: "--data", Found: "nothing", Wanted: "labelled DATA to train the students on"}
	case !(f.final >= 0 && f.final < 1):
		return &diag.Error{Place: "--final", Found: fmt.Sprint(f.final), Wanted: "0, or more and less than 1"}
	case f.policyIn != "" && slices.ContainsFunc(f.options, func(o string) bool { return strings.HasPrefix(o, "policy=") && o != "policy="+f.policyIn }):
		return &diag.Error{Place: "--policy-in", Found: "another policy than the study's", Wanted: "that with which it was begun", Fix: "leave it out"}
	}
	for _, o := range [][2]string{{"policy-in", f.policyIn}, {"policy-out", f.policyOut}} {
		if o[1] != "" && !slices.ContainsFunc(row.Options, func(x strategy.Option) bool { return x.Name == "policy" }) {
			return &diag.Error{Place: "--" + o[0], Found: row.Name + ", which learns no policy", Wanted: "a strategy that does: n2n"}
		}
	}
	if f.policyIn != "" && !slices.Contains(f.options, "policy="+f.policyIn) {
		f.options = append(f.options, "policy="+f.policyIn)
	}
	if f.test != "" {
		if _, err := data.Open(f.test); err != nil {
			return diag.At("--test", err)
		}
	}
	if f.policyOut != "" {
		return writable("--policy-out", f.policyOut)
	}
	return nil
}

// bound reads the limits, of which some are shares of the teacher's.
func (f *compressFlags) bound(r *searching) error {
	for name, text := range f.bounds {
		if *text == "" {
			continue
		}
		bad := &diag.Error{Place: "--max-" + name, Found: fmt.Sprintf("%q", *text), Wanted: "a number above 0"}
		number, share := strings.CutSuffix(*text, "x")
		if slices.Contains(relative, name) {
			bad.Wanted += ", or a share of the teacher's such as 0.1x"
		} else if share {
			return bad
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return bad
		}
		if share {
			s, _, err := task.Students(r.weights, f.task.Digest)
			if err != nil {
				return err
			}
			macs, params := evaluate.Count(s.Teacher)
			v = math.Floor(v * float64(map[string]int64{"params": params, "macs": macs}[name]))
		}
		f.limits[name] = &v
	}
	return nil
}

// extend gives a search its last training.
func (f *compressFlags) extend(a *app, r *searching, l *search.Loop) {
	var left func() time.Duration
	if r.wall > 0 {
		l.Time = max(1, time.Duration(float64(r.wall)*(1-f.final))) // 0 would be any
		begun := time.Now()
		left = func() time.Duration {
			used := time.Since(begun)
			if r.study != nil {
				used += r.study.Used()
			}
			return max(0, r.wall-used)
		}
	}
	last := r.opened.Last(f.final, left)
	l.Last = func(told []*search.Trial) (search.Proposal, error) {
		p, err := last(told)
		if err == nil {
			a.note("trial %d is the best of %d and is trained on, %.0f epochs", p.Parent, len(told), p.Budget*float64(f.task.Train.Epochs))
		}
		return p, err
	}
	if r.nats == "" {
		update, _ := a.progress()
		r.opened.Watch(func(t *search.Trial, done, of int) {
			if t.Note == search.LastNote {
				update("last training", done, of)
			}
		})
	}
}

// keepPolicy writes what the strategy learned.
func (f *compressFlags) keepPolicy(x search.Strategy) error {
	l, ok := x.(strategy.Learner)
	if !ok {
		return errors.New("BUG: a strategy with option policy leaves none")
	}
	b, err := l.Policies()
	if err != nil {
		return err
	}
	return replaceFile(f.policyOut, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
