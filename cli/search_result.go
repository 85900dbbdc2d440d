package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/task"
)

// bestTrial is a trial as the results show it.
type bestTrial struct {
	ID       int64              `json:"id"`
	Genotype string             `json:"genotype"`
	Metrics  map[string]float64 `json:"metrics"`
	Feasible bool               `json:"feasible"`
	Weights  string             `json:"weights,omitempty"`
}

func best(t *search.Trial) *bestTrial {
	if t == nil {
		return nil
	}
	return &bestTrial{t.ID, t.Genotype.String(), t.Metrics, t.Feasible(), t.Weights}
}

// searchResult is what a search gave.
type searchResult struct {
	Study     string           `json:"study,omitempty"`
	Space     string           `json:"space"`
	Strategy  string           `json:"strategy"`
	Seed      uint64           `json:"seed"`
	Trials    int              `json:"trials"`
	Evaluated int              `json:"evaluated"` // trials that are no copies of others
	Best      *bestTrial       `json:"best"`
	Front     []*bestTrial     `json:"front,omitempty"`
	Faults    int              `json:"faults"` // trials whose network could not be evaluated
	Finalists []*task.Finalist `json:"finalists,omitempty"`
	Test      *float64         `json:"test_accuracy,omitempty"` // of a tabular benchmark's best
	Out       []string         `json:"out,omitempty"`
	Report    string           `json:"report,omitempty"`
	Command   string           `json:"command"`
	Seconds   float64          `json:"seconds"`
}

// searched ends a search: finalists, files, report, what is printed.
func (a *app) searched(ctx context.Context, r *searching, trials []*search.Trial, took time.Duration) error {
	out := &searchResult{
		Study: r.searchFlags.study, Space: r.opened.Space.Name(), Strategy: r.strategy, Seed: r.meta.Seed, Trials: len(trials),
		Best: best(search.Best(trials)), Command: again(r, len(trials)), Seconds: took.Seconds(),
	}
	for _, t := range trials {
		if t.CopyOf == 0 {
			out.Evaluated++
		}
		if t.Fault != "" {
			out.Faults++
		}
	}
	if len(r.goal.Objectives) > 1 {
		for _, t := range search.Front(trials) {
			out.Front = append(out.Front, best(t))
		}
	}
	if b := search.Best(trials); b != nil && r.opened.Table != nil {
		if row, err := r.opened.Table.Row(b.Genotype); err == nil {
			out.Test = &row.Test
		}
	}
	if r.opened.Arch != nil && r.finalists > 0 {
		if err := a.finals(ctx, r, trials, out); err != nil {
			return err
		}
	}
	if r.report != "" {
		p := &studyPage{meta: r.meta, trials: trials, finalists: out.Finalists}
		p.meta.Command = out.Command
		if err := p.prepare(); err != nil {
			return err
		}
		if err := replaceFile(r.report, p.write); err != nil {
			return err
		}
		out.Report = r.report
	}
	if err := a.show(out, func(w io.Writer) { searchText(w, r.goal, out, trials) }); err != nil {
		return err
	}
	switch {
	case out.Best == nil:
		text := "no network could be evaluated"
		if t := firstFault(trials); t != nil {
			text += fmt.Sprintf("; trial %d: %s", t.ID, t.Fault)
		}
		return errUnmet{text}
	case !out.Best.Feasible:
		return errUnmet{fmt.Sprintf("none of %d networks keeps the limits", out.Evaluated)}
	}
	return nil
}

// firstFault is the first trial that ended in one; nil for none.
func firstFault(trials []*search.Trial) *search.Trial {
	i := slices.IndexFunc(trials, func(t *search.Trial) bool { return t.Fault != "" })
	if i < 0 {
		return nil
	}
	return trials[i]
}

// mostFinals bounds how many networks are compiled where the first ones measure
// above the limit.
const mostFinals = 10

// finals compiles and measures the best networks and writes those asked for:
// the first that keeps the limits as measured, or all of a front.
func (a *app) finals(ctx context.Context, r *searching, trials []*search.Trial, out *searchResult) error {
	front := len(r.goal.Objectives) > 1
	n := max(r.finalists, mostFinals)
	list := task.Finalists(r.goal, trials, n)
	update, finish := a.progress()
	defer finish()
	var won *nasc.Result
	var winner *task.Finalist
	var winning *search.Trial
	for i, t := range list {
		if i >= r.finalists && !front && winner != nil && winner.Within {
			break
		}
		f, res, err := r.opened.Final(ctx, r.weights, t, r.goal, func(stage string, done, total int) { update(fmt.Sprintf("finalist %d: %s", i+1, stage), done, total) })
		if err != nil {
			return err
		}
		if front && r.out != "" {
			if f, res, err = a.retrain(ctx, r, t, f, res); err != nil {
				return err
			}
		}
		out.Finalists = append(out.Finalists, f)
		if front {
			if r.out != "" {
				f.Out = strings.TrimSuffix(r.out, ".nasc") + fmt.Sprintf("-%d.nasc", t.ID)
				if err := nascfile.Write(f.Out, res.Module, res.Manifest); err != nil {
					return err
				}
				out.Out = append(out.Out, f.Out)
			}
			continue
		}
		if winner == nil || f.Within && !winner.Within {
			won, winner, winning = res, f, t
		}
	}
	if winner == nil || r.out == "" {
		return nil
	}
	done, won, err := a.retrain(ctx, r, winning, winner, won)
	if err != nil {
		return err
	}
	*winner = *done
	if err := nascfile.Write(r.out, won.Module, won.Manifest); err != nil {
		return err
	}
	winner.Out = r.out
	out.Out = []string{r.out}
	return nil
}

// retrain trains a finalist beyond its trial, and compiles and measures what came
// of it.
func (a *app) retrain(ctx context.Context, r *searching, t *search.Trial, f *task.Finalist, res *nasc.Result) (*task.Finalist, *nasc.Result, error) {
	epochs := r.finalEpochs
	if epochs < 0 {
		epochs = r.lastEpochs(t)
	}
	if epochs == 0 {
		return f, res, nil
	}
	update, end := a.progress()
	defer end()
	r.opened.Watch(func(_ *search.Trial, done, of int) { update(fmt.Sprintf("trial %d: final training", t.ID), done, of) })
	defer r.opened.Watch(nil)
	better, final, err := r.opened.Retrain(ctx, t, epochs)
	if err != nil {
		return nil, nil, err
	}
	final.Int8 = f.Accuracy
	if better != t {
		if f, res, err = r.opened.Final(ctx, r.weights, better, r.goal, func(string, int, int) {}); err != nil {
			return nil, nil, err
		}
	}
	f.Final = final
	return f, res, nil
}

func searchText(w io.Writer, goal search.Goal, r *searchResult, trials []*search.Trial) {
	fmt.Fprintf(w, "%s on %s: %d trials, %d networks, %s\n", r.Strategy, r.Space, r.Trials, r.Evaluated, time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond))
	if t := firstFault(trials); t != nil {
		fmt.Fprintf(w, "%d trials could not be evaluated; trial %d: %s\n", r.Faults, t.ID, t.Fault)
	}
	if b := search.Best(trials); b != nil {
		fmt.Fprintf(w, "best: trial %d, %s\n      %s\n", b.ID, metricsText(goal, b), b.Genotype)
	}
	if r.Test != nil {
		fmt.Fprintf(w, "      on test data, which the search did not see: %.2f %%\n", 100**r.Test)
	}
	if len(r.Front) > 0 {
		fmt.Fprintf(w, "front: %d networks\n", len(r.Front))
	}
	if len(r.Finalists) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "trial\taccuracy f32\t%s\tms predicted\tms measured\tbytes\twithin limits\t\n", r.Finalists[0].Target)
		for _, f := range r.Finalists {
			ms := "–"
			if v, ok := f.Predicted["ms"]; ok {
				ms = fmt.Sprintf("%.4f", v)
			}
			fmt.Fprintf(t, "%d\t%.2f %%\t%.2f %%\t%s\t%.4f\t%s\t%s\t\n", f.Trial, 100*f.Predicted["accuracy"], 100*f.Accuracy, ms, f.MS, bytesText(f.Bytes), map[bool]string{true: "yes", false: "no"}[f.Within])
		}
		t.Flush()
		for _, f := range r.Finalists {
			if x := f.Final; x != nil {
				fmt.Fprintf(w, "trial %d, %d more epochs: %s; f32 %.2f to %.2f %%, %s %.2f to %.2f %%\n", f.Trial, x.Epochs, x.How, 100*x.Before, 100*x.After, f.Target, 100*x.Int8, 100*f.Accuracy)
			}
		}
	}
	for _, o := range r.Out {
		fmt.Fprintf(w, "wrote %s; to ONNX: nasc export %s --format onnx -o %s\n", o, o, strings.TrimSuffix(filepath.Base(o), ".nasc")+".onnx")
	}
	if r.Report != "" {
		fmt.Fprintf(w, "wrote %s\n", r.Report)
	}
	fmt.Fprintf(w, "again: %s\n", r.Command)
}

// searchStrategies lists the strategies and their options.
func (a *app) searchStrategies() *cobra.Command {
	return &cobra.Command{
		Use: "strategies", Short: "what can propose networks, with the options of each", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name    string            `json:"name"`
				Doc     string            `json:"doc"`
				Paper   string            `json:"paper"`
				Options []strategy.Option `json:"options,omitempty"`
			}
			rows := []row{}
			for _, s := range strategy.Table {
				rows = append(rows, row{s.Name, s.Doc, s.Paper, s.Options})
			}
			return a.show(map[string]any{"strategies": rows}, func(w io.Writer) {
				for _, s := range rows {
					fmt.Fprintf(w, "%-24s%s (%s)\n", s.Name, s.Doc, s.Paper)
					for _, o := range s.Options {
						fmt.Fprintf(w, "    --opt %s=%s  %s\n", o.Name, o.Default, o.Doc)
					}
				}
			})
		},
	}
}
