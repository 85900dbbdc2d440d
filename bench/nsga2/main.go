// Nsga2 holds nasc's NSGA-II to pymoo's: the same table, budget and number of
// seeds, two objectives (validation accuracy and latency), one hypervolume for
// both.
//
//	go run ./bench/nsga2 -table nasbench201:FILE?data=cifar10 -opt population=20 pymoo.json …
//
// The files are of pymoo_runs.py; make bench-nsga2 does it all.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/judge"
	"github.com/nasc-dev/nasc/search/tabular"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "nsga2:", err)
		os.Exit(1)
	}
}

// other is what pymoo_runs.py writes.
type other struct {
	Pymoo, Numpy, Data, Form string
	Population, Budget       int
	Runs                     [][]string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("nsga2", flag.ContinueOnError)
	name := f.String("table", "", "the table")
	opts := f.String("opt", "", "nasc's options, NAME=VALUE,…")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("no file of pymoo_runs.py")
	}
	table, err := tabular.Open(*name)
	if err != nil {
		return err
	}
	goal, err := search.ParseGoal("accuracy,ms")
	if err != nil {
		return err
	}
	scale, err := judge.NewScale(table, goal)
	if err != nil {
		return err
	}
	options := map[string]string{}
	for o := range strings.SplitSeq(*opts, ",") {
		if k, v, ok := strings.Cut(o, "="); ok {
			options[k] = v
		}
	}
	fmt.Fprintf(out, "| table | nasc's NSGA-II: median (quartiles) | pymoo's | pymoo's: median (quartiles) | ratio of medians | p | on test: nasc, pymoo | evaluations |\n|---|---|---|---|---|---|---|---|\n")
	for _, path := range f.Args() {
		var p other
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if "nasbench201-"+p.Data != table.Name {
			return fmt.Errorf("%s is of %s; the table is %s", path, p.Data, table.Name)
		}
		var theirs, tested []float64
		for _, r := range p.Runs {
			hv, test, err := volumes(ctx, table, goal, scale, r)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			theirs, tested = append(theirs, hv), append(tested, test)
		}
		contest := judge.Contest{
			Table: table, Goal: goal, Strategies: []string{"nsga2"}, Options: map[string]map[string]string{"nsga2": options},
			Budget: p.Budget, Seeds: len(p.Runs), Seed: 1, Window: 1,
		}
		result, err := contest.Run(ctx)
		if err != nil {
			return err
		}
		ours := result.Strategies[0]
		slices.Sort(tested)
		sorted := slices.Sorted(slices.Values(theirs))
		fmt.Fprintf(out, "| %s | %.4f (%.4f to %.4f) | %s %s, population %d | %.4f (%.4f to %.4f) | %.4f | %.4f | %.4f, %.4f | %d, %d seeds |\n",
			table.Name, ours.HV.Median, ours.HV.Q25, ours.HV.Q75, p.Pymoo, p.Form, p.Population,
			judge.Quantile(sorted, 0.5), judge.Quantile(sorted, 0.25), judge.Quantile(sorted, 0.75),
			ours.HV.Median/judge.Quantile(sorted, 0.5), judge.Wilcoxon(ours.HVs, theirs), ours.HVTest.Median, judge.Quantile(tested, 0.5), p.Budget, len(p.Runs))
	}
	return nil
}

// volumes judges the networks that a seed of pymoo's evaluated.
func volumes(ctx context.Context, table *tabular.Table, goal search.Goal, scale *judge.Scale, genotypes []string) (seen, test float64, err error) {
	var trials []*search.Trial
	for i, text := range genotypes {
		t := &search.Trial{ID: int64(i + 1)}
		for f := range strings.SplitSeq(text, ".") {
			v, err := strconv.Atoi(f)
			if err != nil {
				return 0, 0, err
			}
			t.Genotype = append(t.Genotype, v)
		}
		if t.Outcome, err = table.Evaluate(ctx, t); err != nil {
			return 0, 0, err
		}
		t.Judge(goal)
		trials = append(trials, t)
	}
	return scale.Volumes(trials)
}
