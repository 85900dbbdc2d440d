package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/study"
)

func (a *app) study() *cobra.Command {
	c := &cobra.Command{
		Use: "study", Short: "what searches left: their trials, best networks, charts",
		Long: "A study is the file that nasc search --study keeps (SQLite; the schema has comments). These commands read\nit, also while a search works on it.",
	}
	c.AddCommand(a.studyList(), a.studyShow(), a.studyExport(), a.studyPlot())
	return c
}

// studyRow is a study in a list.
type studyRow struct {
	File     string     `json:"file"`
	Error    string     `json:"-"`
	Space    string     `json:"space"`
	Strategy string     `json:"strategy"`
	Seed     uint64     `json:"seed"`
	Trials   int        `json:"trials"` // with an outcome
	Open     int        `json:"open"`   // asked for, without one
	Best     *bestTrial `json:"best"`
	Created  time.Time  `json:"created"`
}

// unreadRow is a study in a list that could not be read: nothing else is known.
type unreadRow struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

func rowOf(s *study.Study) studyRow {
	done := s.Done()
	return studyRow{
		File: s.Path, Space: s.Meta.Space, Strategy: s.Meta.Strategy, Seed: s.Meta.Seed, Trials: len(done), Open: len(s.Rows()) - len(done),
		Best: best(search.Best(done)), Created: s.Meta.Created,
	}
}

func (a *app) studyList() *cobra.Command {
	return &cobra.Command{
		Use: "list FILE|FOLDER …", Short: "studies, a line each", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []string
			for _, arg := range args {
				if st, err := os.Stat(arg); err != nil {
					return &diag.Error{Place: arg, Err: err}
				} else if !st.IsDir() {
					files = append(files, arg)
					continue
				}
				in, err := filepath.Glob(filepath.Join(arg, "*.db"))
				if err != nil {
					return err
				}
				files = append(files, in...)
			}
			rows := []studyRow{}
			for _, f := range files {
				s, err := study.Read(cmd.Context(), f)
				if err != nil {
					rows = append(rows, studyRow{File: f, Error: err.Error()}) // the others are listed all the same
					continue
				}
				rows = append(rows, rowOf(s))
				s.Close()
			}
			list := []any{}
			for _, r := range rows {
				if r.Error != "" {
					list = append(list, unreadRow{r.File, r.Error})
				} else {
					list = append(list, r)
				}
			}
			return a.show(map[string]any{"studies": list}, func(w io.Writer) {
				if len(rows) == 0 {
					fmt.Fprintf(w, "no studies (*.db) in %s\n", strings.Join(args, ", "))
				}
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, r := range rows {
					switch {
					case r.Error != "":
						fmt.Fprintf(t, "%s\t%s\n", r.File, r.Error)
					case r.Best == nil:
						fmt.Fprintf(t, "%s\t%s\t%s\tseed %d\t%d trials\t\n", r.File, r.Space, r.Strategy, r.Seed, r.Trials)
					default:
						fmt.Fprintf(t, "%s\t%s\t%s\tseed %d\t%d trials\tbest %d: %s\n", r.File, r.Space, r.Strategy, r.Seed, r.Trials, r.Best.ID, metricsLine(r.Best.Metrics))
					}
				}
				t.Flush()
			})
		},
	}
}

// metricsLine shows all metrics, in the order of search.Metrics.
func metricsLine(m map[string]float64) string {
	out := ""
	for _, x := range search.Metrics {
		if v, ok := m[x.Name]; ok {
			out += fmt.Sprintf("%s %.6g  ", x.Name, v)
		}
	}
	return out
}

// studyView is what study show prints.
type studyView struct {
	studyRow
	Meta      study.Meta    `json:"study"`
	Evaluated int           `json:"evaluated"`
	Faults    int           `json:"faults"`
	Front     []*bestTrial  `json:"front,omitempty"`
	Lineage   []lineageStep `json:"lineage,omitempty"`
	Rows      []study.Row   `json:"rows,omitempty"` // with --trials
}

// lineageStep is one trial on the way to the best.
type lineageStep struct {
	ID       int64    `json:"id"`
	Genotype string   `json:"genotype"`
	Edits    []string `json:"edits,omitempty"`
	Accuracy *float64 `json:"accuracy"` // null: not trained
	Delta    float64  `json:"delta,omitempty"`
	MaxOut   float64  `json:"max_out,omitempty"`
}

// accuracyText is the step's accuracy, where it was trained.
func (s *lineageStep) accuracyText() string {
	if s.Accuracy == nil {
		return "accuracy unknown"
	}
	return fmt.Sprintf("accuracy %.2f %%", 100**s.Accuracy)
}

// lineage is the winner's ancestors, the first one first.
func lineage(trials []*search.Trial) []lineageStep {
	byID := map[int64]*search.Trial{}
	for _, t := range trials {
		byID[t.ID] = t
	}
	var out []lineageStep
	for t := search.Best(trials); t != nil; t = byID[t.Parent] {
		s := lineageStep{ID: t.ID, Genotype: t.Genotype.String(), Edits: t.Edits, Delta: t.Delta, MaxOut: t.MaxOut}
		if v, ok := t.Metrics["accuracy"]; ok {
			s.Accuracy = &v
		}
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

func (a *app) studyShow() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "show FILE", Short: "one study: what it searches, its best network and how that came about", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := study.Read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			done := s.Done()
			v := studyView{studyRow: rowOf(s), Meta: s.Meta, Lineage: lineage(done)}
			v.Meta.Command = retold(s)
			goal, err := s.Meta.Goal()
			if err != nil {
				return err
			}
			for _, t := range done {
				if t.CopyOf == 0 {
					v.Evaluated++
				}
				if t.Fault != "" {
					v.Faults++
				}
			}
			if len(goal.Objectives) > 1 {
				for _, t := range search.Front(done) {
					v.Front = append(v.Front, best(t))
				}
			}
			if all {
				v.Rows = s.Rows()
			}
			return a.show(v, func(w io.Writer) { studyText(w, &v, goal, search.Best(done), firstFault(done)) })
		},
	}
	c.Flags().BoolVar(&all, "trials", false, "list all trials")
	return c
}

func studyText(w io.Writer, v *studyView, goal search.Goal, b, fault *search.Trial) {
	m := v.Meta
	fmt.Fprintf(w, "%s: %s on %s, seed %d, window %d, begun %s with nasc %s\n", v.File, m.Strategy, m.Space, m.Seed, m.Window, m.Created.Format(time.DateTime), m.Nasc)
	fmt.Fprintf(w, "objective %s", m.Objective)
	for _, l := range goal.Limits {
		fmt.Fprintf(w, ", %s ≤ %g", l.Metric.Name, l.Bound)
	}
	fmt.Fprintf(w, "\n%d trials, %d networks evaluated, %d of them faults; %d asked for and not done\n", v.Trials, v.Evaluated, v.Faults, v.Open)
	if fault != nil {
		fmt.Fprintf(w, "the first fault, of trial %d: %s\n", fault.ID, fault.Fault)
	}
	if b != nil {
		fmt.Fprintf(w, "best: trial %d, %s\n      %s\n", b.ID, metricsText(goal, b), b.Genotype)
	}
	if len(v.Front) > 0 {
		fmt.Fprintf(w, "front: %d networks\n", len(v.Front))
	}
	if len(v.Lineage) > 1 {
		fmt.Fprintln(w, "how it came about:")
		for _, s := range v.Lineage {
			fmt.Fprintf(w, "  trial %d  %s", s.ID, s.accuracyText())
			for _, e := range s.Edits {
				fmt.Fprintf(w, "  %s", e)
			}
			if len(s.Edits) > 0 {
				fmt.Fprintf(w, "  max |Δlogit| %.2g of %.3g", s.Delta, s.MaxOut)
			}
			fmt.Fprintln(w)
		}
	}
	for _, r := range v.Rows {
		state := "open"
		if r.Done {
			state = metricsText(goal, r.Trial)
		}
		fmt.Fprintf(w, "%5d  %s  %s\n", r.ID, r.Genotype, state)
	}
	fmt.Fprintf(w, "again: %s\n", m.Command)
}

// wrote says which file a command wrote.
func (a *app) wrote(path string) error {
	written := struct {
		Out string `json:"out"`
	}{path}
	return a.show(written, func(w io.Writer) { fmt.Fprintf(w, "wrote %s\n", path) })
}

func (a *app) studyExport() *cobra.Command {
	var asCSV bool
	var out string
	c := &cobra.Command{
		Use: "export FILE --csv|--json [-o OUT]", Short: "all trials as a table or as JSON", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asCSV == a.json {
				return &diag.Error{Place: "nasc study export", Found: "no form, or two", Wanted: "--csv or --json"}
			}
			s, err := study.Read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			write := func(w io.Writer) error {
				if asCSV {
					return exportCSV(w, s)
				}
				e := json.NewEncoder(w)
				e.SetEscapeHTML(false)
				return e.Encode(map[string]any{"study": s.Meta, "trials": s.Rows()})
			}
			if out == "" {
				return write(a.out)
			}
			if err := replaceFile(out, write); err != nil {
				return err
			}
			return a.wrote(out)
		},
	}
	c.Flags().BoolVar(&asCSV, "csv", false, "a table with a row a trial")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write instead of printing")
	return c
}

// exportCSV writes a row a trial, a column for each metric that any has.
func exportCSV(w io.Writer, s *study.Study) error {
	var metrics []string
	for _, m := range search.Metrics {
		if slices.ContainsFunc(s.Rows(), func(r study.Row) bool { _, ok := r.Metrics[m.Name]; return ok }) {
			metrics = append(metrics, m.Name)
		}
	}
	c := csv.NewWriter(w)
	head := append([]string{"id", "state", "seed", "genotype", "parent", "edits", "share", "copy_of"}, metrics...)
	if err := c.Write(append(head, "steps", "delta", "fault", "weights", "took_ms")); err != nil {
		return err
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, r := range s.Rows() {
		state := "asked"
		if r.Done {
			state = "done"
		}
		edits := ""
		for i, e := range r.Edits {
			if i > 0 {
				edits += "; "
			}
			edits += e
		}
		row := []string{fmt.Sprint(r.ID), state, fmt.Sprint(r.Seed), r.Genotype.String(), fmt.Sprint(r.Parent), edits, number(r.Budget), fmt.Sprint(r.CopyOf)}
		for _, m := range metrics {
			text := ""
			if v, ok := r.Metrics[m]; ok {
				text = number(v)
			}
			row = append(row, text)
		}
		if err := c.Write(append(row, fmt.Sprint(r.Steps), number(r.Delta), r.Fault, r.Weights, number(float64(r.Took)/float64(time.Millisecond)))); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}
