// Package tabular is searching where the answers are known: tables of networks
// that were all trained and measured before. It reads NAS-Bench-201,
// NAS-Bench-Macro and nasc's own tables, makes a space and an evaluator of one,
// and says what the best network would have been. README.md tells the forms.
package tabular

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// Row is one network of a table.
type Row struct {
	Name     string // as the table writes it
	Genotype search.Genotype
	// Val are the validation accuracies, one a seed of training: what a search
	// sees. Test is the mean accuracy on data that no search sees.
	Val     []float64
	Test    float64
	Curves  [][]float64        // validation accuracy after each epoch, a seed each; nil where the table has none
	Metrics map[string]float64 // ms, macs, params, bytes: those that the table has
}

// Table is a space whose networks' outcomes are all known.
type Table struct {
	Name, File string
	Doc        string // what a search sees, and what it is judged on
	Rows       []Row
	tree       *tree
	at         map[string]int // row by genotype
}

// source is one form of table.
type source struct {
	name, doc string
	options   map[string][]string // option: what it may be, the first by default
	read      func(t *Table, f *file, options map[string]string) error
}

var sources = []source{
	{"nasbench201", "NAS-Bench-201: 15,625 cells, three data sets, a measured latency", map[string][]string{"data": {"cifar10", "cifar100", "imagenet16"}}, readNASBench201},
	{"macro", "NAS-Bench-Macro: 6,561 stacks of blocks on CIFAR-10", nil, readMacro},
	{"table", "nasc's own, made by nasc search table", nil, readOwn},
}

// Forms says how a table is named, for help texts.
func Forms() string {
	var out []string
	for _, s := range sources {
		out = append(out, s.name+":FILE")
	}
	return strings.Join(out, ", ")
}

// Open reads a table: FORM:FILE, with options behind a question mark
// (nasbench201:FILE?data=cifar100).
func Open(name string) (*Table, error) {
	form, rest, ok := strings.Cut(name, ":")
	var s *source
	for i := range sources {
		if sources[i].name == form {
			s = &sources[i]
		}
	}
	if !ok || s == nil || rest == "" {
		return nil, &diag.Error{Place: "--table", Found: fmt.Sprintf("%q", name), Wanted: "one of " + Forms()}
	}
	path, query, _ := strings.Cut(rest, "?")
	options, err := s.parse(query)
	if err != nil {
		return nil, err
	}
	f, err := openCSV(path)
	if err != nil {
		return nil, err
	}
	t := &Table{Name: form, File: path, at: map[string]int{}}
	if err := s.read(t, f, options); err != nil {
		return nil, err
	}
	return t, nil
}

func (s *source) parse(query string) (map[string]string, error) {
	out := map[string]string{}
	for k, vs := range s.options {
		out[k] = vs[0]
	}
	if query == "" {
		return out, nil
	}
	for kv := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(kv, "=")
		known := false
		for _, may := range s.options[k] {
			known = known || may == v
		}
		if !known {
			wanted := "no option"
			for name, may := range s.options {
				wanted = name + "=" + strings.Join(may, "|")
			}
			return nil, &diag.Error{Place: "--table " + s.name, Found: fmt.Sprintf("%q", kv), Wanted: wanted}
		}
		out[k] = v
	}
	return out, nil
}

// add takes a row, whose place in the file is for messages.
func (t *Table) add(f *file, r Row) error {
	k := r.Genotype.String()
	if _, twice := t.at[k]; twice {
		return &diag.Error{Place: f.place(""), Found: r.Name + " stands in the table before", Wanted: "each network once"}
	}
	t.at[k] = len(t.Rows)
	t.Rows = append(t.Rows, r)
	return nil
}

// finish makes the space of the rows; a table without one network of it is
// refused, for a search may ask for any.
func (t *Table) finish(genes []gene, active [][]bool) error {
	tr, err := newTree(t, genes, active)
	if err != nil {
		return err
	}
	t.tree = tr
	return nil
}

// Space is the space of the table's networks.
func (t *Table) Space() search.Space { return t.tree }

// Row finds a network.
func (t *Table) Row(g search.Genotype) (*Row, error) {
	i, ok := t.at[g.String()]
	if !ok {
		return nil, &diag.Error{Place: t.File, Found: "no network " + g.String(), Wanted: "one of its " + fmt.Sprint(len(t.Rows))}
	}
	return &t.Rows[i], nil
}

// Curves says whether the table has training curves, and so answers trials of
// less than a full training.
func (t *Table) Curves() bool { return len(t.Rows) > 0 && t.Rows[0].Curves != nil }

// Epoch is the share of a training that one epoch is, 1 where there are no
// curves.
func (t *Table) Epoch() float64 {
	if !t.Curves() {
		return 1
	}
	return 1 / float64(len(t.Rows[0].Curves[0]))
}

// Evaluate gives what a training would have found: the validation accuracy of
// one of the table's seeds, which the trial's seed picks. A trial of a share of
// the training gets the accuracy that the curve had after the whole epochs in it;
// where there are no curves, or not one epoch, it is refused.
func (t *Table) Evaluate(_ context.Context, trial *search.Trial) (search.Outcome, error) {
	r, err := t.Row(trial.Genotype)
	if err != nil {
		return search.Outcome{}, err
	}
	seed := int(trial.Seed % uint64(len(r.Val)))
	m := map[string]float64{"accuracy": r.Val[seed]}
	for k, v := range r.Metrics {
		m[k] = v
	}
	out := search.Outcome{Metrics: m}
	if r.Curves != nil {
		out.Curve = r.Curves[seed]
	}
	if b := trial.Budget; b > 0 && b < 1 {
		if r.Curves == nil {
			return search.Outcome{}, &diag.Error{
				Place: t.File, Found: fmt.Sprintf("a trial of %.3g of a training", b),
				Wanted: "whole trainings: this table has no training curves", Fix: "take a table with curve_seed columns, or another strategy",
			}
		}
		epochs := int(b*float64(len(out.Curve)) + 1e-9)
		if epochs == 0 {
			return search.Outcome{}, &diag.Error{
				Place: t.File, Found: fmt.Sprintf("a trial of %.3g of a training", b),
				Wanted: fmt.Sprintf("an epoch at least: trainings have %d", len(out.Curve)), Fix: fmt.Sprintf("give the strategy the option min-share=%.3g or more", t.Epoch()),
			}
		}
		out.Curve = out.Curve[:epochs]
		m["accuracy"] = out.Curve[epochs-1]
	}
	return out, nil
}

// Cheap gives what is known of a network without training it.
func (t *Table) Cheap(g search.Genotype) (map[string]float64, error) {
	r, err := t.Row(g)
	if err != nil {
		return nil, err
	}
	return r.Metrics, nil
}

// Has says whether the table knows a metric.
func (t *Table) Has(metric string) bool {
	if metric == "accuracy" {
		return true
	}
	_, ok := t.Rows[0].Metrics[metric]
	return ok
}

// Best is the highest test accuracy of the networks that keep the limits, -Inf
// where none does.
func (t *Table) Best(g search.Goal) float64 {
	best := math.Inf(-1)
	for i := range t.Rows {
		if r := &t.Rows[i]; g.Violation(r.Metrics) == 0 {
			best = max(best, r.Test)
		}
	}
	return best
}

// MeanTest is the mean test accuracy of the networks that keep the limits: what
// a network drawn blindly gives.
func (t *Table) MeanTest(g search.Goal) float64 {
	sum, n := 0.0, 0
	for i := range t.Rows {
		if r := &t.Rows[i]; g.Violation(r.Metrics) == 0 {
			sum, n = sum+r.Test, n+1
		}
	}
	return sum / float64(n)
}
