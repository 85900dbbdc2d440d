package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/task"
)

// compressedNet is the teacher or the student, as the results show it.
type compressedNet struct {
	Trial      int64    `json:"trial"`
	Genotype   string   `json:"genotype"`
	Edits      []string `json:"edits,omitempty"` // what made it of the teacher
	Params     int64    `json:"params"`
	MACs       int64    `json:"macs"`
	Accuracy   float64  `json:"accuracy"`                // in float, on the data that students are judged by
	Test       *float64 `json:"test_accuracy,omitempty"` // in float
	TopTarget  float64  `json:"target_accuracy"`         // compiled
	TestTarget *float64 `json:"target_test_accuracy,omitempty"`
	MS         float64  `json:"ms"` // compiled, measured
	Bytes      int64    `json:"bytes"`
}

// compressResult is what nasc compress gave.
type compressResult struct {
	Study     string         `json:"study,omitempty"`
	Model     string         `json:"model"`
	Strategy  string         `json:"strategy"`
	Seed      uint64         `json:"seed"`
	Trials    int            `json:"trials"`
	Evaluated int            `json:"evaluated"`
	Reward    *float64       `json:"reward"` // null: no student could be trained, as the other two
	Feasible  bool           `json:"feasible"`
	Target    string         `json:"target"`
	Smaller   *float64       `json:"smaller"` // times fewer parameters
	Teacher   *compressedNet `json:"teacher"`
	Student   *compressedNet `json:"student"`
	TrainMACs float64        `json:"train_macs"` // of all trainings
	Policy    string         `json:"policy,omitempty"`
	Out       string         `json:"out,omitempty"`
	Report    string         `json:"report,omitempty"`
	Command   string         `json:"command"`
	Seconds   float64        `json:"seconds"`
}

// compressed ends nasc compress: the policy, teacher and student compiled,
// measured and tested, files, what is printed.
func (a *app) compressed(ctx context.Context, r *searching, trials []*search.Trial, took time.Duration) error {
	f := r.teacher
	if f.policyOut != "" {
		if err := f.keepPolicy(r.strategic); err != nil {
			return err
		}
	}
	students := 0
	for _, t := range trials {
		if t.Note != search.LastNote {
			students++
		}
	}
	out := &compressResult{
		Study: f.study, Model: r.opened.File, Strategy: r.strategy, Seed: r.meta.Seed, Trials: len(trials), Target: f.task.Target, Policy: f.policyOut,
		Command: again(r, students), Seconds: took.Seconds(),
	}
	for _, t := range trials {
		if t.CopyOf == 0 {
			out.Evaluated++
			out.TrainMACs += t.Metrics["train_macs"]
		}
	}
	b := search.Best(trials)
	best := b
	if b == nil || len(b.Curve) == 0 {
		best = nil // the teacher is all there is
	}
	var finals []*task.Finalist
	for i, t := range []*search.Trial{best, teacherOf(trials)} {
		if t == nil {
			continue
		}
		n, c, fin, err := a.finish(ctx, r, t)
		if err != nil {
			return err
		}
		finals = append(finals, fin)
		if i == 1 {
			out.Teacher = n
			continue
		}
		out.Student = n
		if f.out != "" {
			if err := nascfile.Write(f.out, c.Module, c.Manifest); err != nil {
				return err
			}
			out.Out, fin.Out = f.out, f.out
		}
	}
	if best != nil {
		reward, smaller := best.Metrics["reward"], float64(out.Teacher.Params)/float64(max(1, out.Student.Params))
		out.Reward, out.Smaller, out.Feasible = &reward, &smaller, best.Feasible()
	}
	if f.report != "" {
		p := &studyPage{meta: r.meta, trials: trials, finalists: finals, students: r.opened.Students}
		p.meta.Command = out.Command
		if err := p.prepare(); err != nil {
			return err
		}
		if err := replaceFile(f.report, p.write); err != nil {
			return err
		}
		out.Report = f.report
	}
	if err := a.show(out, func(w io.Writer) { compressText(w, out) }); err != nil {
		return err
	}
	if best == nil {
		text := fmt.Sprintf("none of %d trials is a student that could be trained", len(trials))
		if t := firstFault(trials); t != nil {
			text += fmt.Sprintf("; trial %d: %s", t.ID, t.Fault)
		}
		return errUnmet{text}
	}
	if !out.Feasible {
		return errUnmet{fmt.Sprintf("none of %d students keeps the limits", out.Evaluated-1)}
	}
	return nil
}

// teacherOf is the trial of the teacher itself; nil where it has no outcome.
func teacherOf(trials []*search.Trial) *search.Trial {
	if len(trials) == 0 || trials[0].Weights == "" {
		return nil
	}
	return trials[0]
}

// finish compiles a trial's network, measures it, and scores it on the test
// data.
func (a *app) finish(ctx context.Context, r *searching, t *search.Trial) (*compressedNet, *nasc.Result, *task.Finalist, error) {
	update, end := a.progress()
	defer end()
	who := "student"
	if len(t.Curve) == 0 {
		who = "teacher"
	}
	f, c, err := r.opened.Final(ctx, r.weights, t, r.goal, func(stage string, done, total int) { update(who+": "+stage, done, total) })
	if err != nil {
		return nil, nil, nil, err
	}
	n := &compressedNet{
		Trial: t.ID, Genotype: t.Genotype.String(), Edits: r.opened.Students.Edits(t.Genotype), Params: int64(t.Metrics["params"]), MACs: int64(t.Metrics["macs"]),
		Accuracy: t.Metrics["accuracy"], TopTarget: f.Accuracy, MS: f.MS, Bytes: f.Bytes,
	}
	if r.teacher.test == "" {
		return n, c, f, nil
	}
	path, err := r.weights.Path(t.Weights)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	defer m.Close()
	src, err := data.Open(r.teacher.test)
	if err != nil {
		return nil, nil, nil, diag.At("--test", err)
	}
	feed, err := data.NewFeed(src, m.Graph().Inputs, m.Manifest.Preprocess)
	if err != nil {
		return nil, nil, nil, diag.At("--test", err)
	}
	float, err := nasc.Evaluate(ctx, m.Graph(), "cpu-f32", feed, false, func(done, total int) { update(who+": test", done, total) })
	if err != nil {
		return nil, nil, nil, diag.At("--test", err)
	}
	small, err := nasc.Evaluate(ctx, c.Module.Graphs[0], f.Target, feed, false, func(done, total int) { update(who+": test, compiled", done, total) })
	if err != nil {
		return nil, nil, nil, diag.At("--test", err)
	}
	n.Test, n.TestTarget = &float.Top1, &small.Top1
	return n, c, f, nil
}

func compressText(w io.Writer, r *compressResult) {
	fmt.Fprintf(w, "%s on %s: %d trials, %d networks, %s; %.3g multiplications of training\n", r.Strategy, r.Model, r.Trials, r.Evaluated, time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond), r.TrainMACs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	test := r.Teacher != nil && r.Teacher.Test != nil
	fmt.Fprintf(t, "\tparameters\tMACs\taccuracy f32\t%s\t", r.Target)
	if test {
		fmt.Fprintf(t, "test f32\t%s\t", r.Target)
	}
	fmt.Fprintf(t, "ms\tbytes\t\n")
	for _, n := range []struct {
		name string
		*compressedNet
	}{{"teacher", r.Teacher}, {"student", r.Student}} {
		if n.compressedNet == nil {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.2f %%\t%.2f %%\t", n.name, countText(n.Params), countText(n.MACs), 100*n.Accuracy, 100*n.TopTarget)
		if test {
			fmt.Fprintf(t, "%.2f %%\t%.2f %%\t", 100**n.Test, 100**n.TestTarget)
		}
		fmt.Fprintf(t, "%.4f\t%s\t\n", n.MS, bytesText(n.Bytes))
	}
	t.Flush()
	if s := r.Student; s != nil {
		fmt.Fprintf(w, "the student, trial %d: %.1f times fewer parameters, reward %.4f\n", s.Trial, *r.Smaller, *r.Reward)
		for _, e := range s.Edits {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
	if r.Policy != "" {
		fmt.Fprintf(w, "wrote %s, for --policy-in of another teacher\n", r.Policy)
	}
	if r.Out != "" {
		fmt.Fprintf(w, "wrote %s; to ONNX: nasc export %s --format onnx -o %s\n", r.Out, r.Out, strings.TrimSuffix(filepath.Base(r.Out), ".nasc")+".onnx")
	}
	if r.Report != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Report)
	}
	fmt.Fprintf(w, "again: %s\n", r.Command)
}
