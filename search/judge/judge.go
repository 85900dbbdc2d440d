// Package judge compares strategies on tables of trained networks: the same
// budget, many seeds, regret on data that no search sees, and the improvement
// over a network drawn blindly. Those that do not beat random stay in.
package judge

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/strategy"
	"github.com/nasc-dev/nasc/search/tabular"
)

// Contest is what is compared.
type Contest struct {
	Table      *tabular.Table
	Goal       search.Goal
	Strategies []string
	Options    map[string]map[string]string // of strategies, by name
	Budget     int                          // trainings a seed, whole ones
	Seeds      int
	Seed       uint64 // the first
	Window     int
	Jobs       int                   // searches at once; 0: one a CPU
	Done       func(done, total int) // after each search; nil: not called
}

// Result is what came out.
type Result struct {
	Table      string   `json:"table"`
	Doc        string   `json:"doc"`
	Networks   int      `json:"networks"`
	Objectives []string `json:"objectives"`
	Budget     int      `json:"budget"`
	Seeds      int      `json:"seeds"`
	// BestTest is the best test accuracy of the table under the limits, and
	// MeanTest that of a network drawn blindly.
	BestTest   float64  `json:"best_test"`
	MeanTest   float64  `json:"mean_test"`
	Strategies []Judged `json:"strategies"`
}

// Judged is one strategy's outcome. Regrets are differences in test accuracy,
// from 0 to 1.
type Judged struct {
	Name         string  `json:"name"`
	Budget       int     `json:"budget"`
	RegretMedian float64 `json:"regret_median"`
	RegretQ25    float64 `json:"regret_q25"`
	RegretQ75    float64 `json:"regret_q75"`
	// RI is the relative improvement over the mean random network in percent,
	// 100 (acc_m − acc_r) / acc_r, of mean test accuracies.
	RI       float64 `json:"ri"`
	MeanTest float64 `json:"mean_test"`
	// P is that of a two-sided Wilcoxon signed-rank test of the seeds' final
	// regrets against random's, or of hypervolumes where there are several
	// objectives. Beats: it is below 0.05 and the median is better.
	P     float64 `json:"p_vs_random"`
	Beats bool    `json:"beats_random"`
	// Hypervolumes are shares of that of the table's own front, from the worst
	// figures in the table: of what the search saw, and of the test accuracies of
	// the networks of its front.
	HV       *Spread   `json:"hypervolume,omitempty"`
	HVTest   *Spread   `json:"hypervolume_test,omitempty"`
	Trials   float64   `json:"trials"`      // mean number of trials a seed; more than the budget where some are of less than a whole training
	Overhead float64   `json:"overhead_ms"` // median time of an ask and its tell
	Curve    []Point   `json:"curve"`
	Regrets  []float64 `json:"regrets"` // a seed each
	HVs      []float64 `json:"hypervolumes,omitempty"`
}

// Spread is a median with its quartiles.
type Spread struct {
	Median float64 `json:"median"`
	Q25    float64 `json:"q25"`
	Q75    float64 `json:"q75"`
}

// Point is the regret after a part of the budget.
type Point struct {
	Budget int `json:"budget"`
	Spread
}

func spread(v []float64) Spread {
	s := slices.Sorted(slices.Values(v))
	return Spread{Quantile(s, 0.5), Quantile(s, 0.25), Quantile(s, 0.75)}
}

// one is what a seed of a strategy came to.
type one struct {
	regret     []float64 // after each whole training
	test       float64   // accuracy of the network found
	hv, hvTest float64
	trials     int
	overhead   time.Duration
}

// Run holds the contest. What it finds depends on the contest alone, not on the
// jobs, except for the overhead.
func (c *Contest) Run(ctx context.Context) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	best := c.Table.Best(c.Goal)
	if math.IsInf(best, -1) {
		return nil, &diag.Error{Place: c.Table.File, Found: "no network that keeps the limits", Wanted: "one at least", Fix: "loosen them"}
	}
	scale, err := NewScale(c.Table, c.Goal)
	if err != nil {
		return nil, err
	}
	var rows []*strategy.Row
	for _, name := range append(slices.Clone(c.Strategies), "random") { // random's seeds are what others are paired with
		r, err := strategy.Lookup(name)
		if err != nil {
			return nil, err
		}
		if r.Partial && !c.Table.Curves() {
			return nil, &diag.Error{
				Place: "strategy " + r.Name, Found: "a table without training curves: " + c.Table.File,
				Wanted: "accuracies after each epoch, which this strategy decides by", Fix: "take a table with curve_seed columns",
			}
		}
		if r.Grows || r.Compresses {
			return nil, &diag.Error{
				Place: "strategy " + r.Name, Found: "a table of networks", Wanted: "networks that are trained: this strategy hands weights on",
				Fix: "compare it by nasc search on a space",
			}
		}
		if !slices.ContainsFunc(rows, func(o *strategy.Row) bool { return o.Name == r.Name }) {
			rows = append(rows, r)
		}
	}
	runs, err := c.searches(ctx, rows, best, scale)
	if err != nil {
		return nil, err
	}
	out := &Result{
		Table: c.Table.Name, Doc: c.Table.Doc, Networks: len(c.Table.Rows), Budget: c.Budget, Seeds: c.Seeds,
		BestTest: best, MeanTest: c.Table.MeanTest(c.Goal),
	}
	for _, o := range c.Goal.Objectives {
		out.Objectives = append(out.Objectives, o.Name)
	}
	random := runs[slices.IndexFunc(rows, func(r *strategy.Row) bool { return r.Name == "random" })]
	for i, r := range rows {
		if i == len(c.Strategies) {
			break // random, which was not asked for
		}
		out.Strategies = append(out.Strategies, c.judge(r.Name, runs[i], random, out))
	}
	return out, nil
}

func (c *Contest) check() error {
	for what, n := range map[string]int{"--budget": c.Budget, "--seeds": c.Seeds, "--strategies": len(c.Strategies)} {
		if n < 1 {
			return &diag.Error{Place: what, Found: fmt.Sprint(n), Wanted: "1 or more"}
		}
	}
	var metrics []string
	for _, o := range c.Goal.Objectives {
		metrics = append(metrics, o.Name)
	}
	for _, l := range c.Goal.Limits {
		metrics = append(metrics, l.Metric.Name)
	}
	for _, m := range metrics {
		if !c.Table.Has(m) {
			return &diag.Error{Place: c.Table.File, Found: "no " + m + " in this table", Wanted: "objectives and limits of what it has"}
		}
	}
	if c.Goal.Objectives[0].Name != "accuracy" {
		return &diag.Error{Place: "--objective", Found: c.Goal.Objectives[0].Name + " at first", Wanted: "accuracy: regret is of it"}
	}
	return nil
}

// searches runs each strategy with each seed.
func (c *Contest) searches(ctx context.Context, rows []*strategy.Row, best float64, scale *Scale) ([][]one, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	runs := make([][]one, len(rows))
	var jobs [][2]int
	for s := range c.Seeds { // seeds outside, so that all strategies get on
		for i := range rows {
			jobs = append(jobs, [2]int{i, s})
		}
	}
	for i := range runs {
		runs[i] = make([]one, c.Seeds)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, done := 0, 0
	workers := c.Jobs
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	for range min(workers, len(jobs)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				if next == len(jobs) {
					mu.Unlock()
					return
				}
				j := jobs[next]
				next++
				mu.Unlock()
				o, err := c.search(ctx, rows[j[0]], c.Seed+uint64(j[1]), best, scale)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				runs[j[0]][j[1]] = o
				if done++; c.Done != nil {
					c.Done(done, len(jobs))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return runs, context.Cause(ctx)
}

// search runs one strategy with one seed, to the budget in whole trainings.
func (c *Contest) search(ctx context.Context, r *strategy.Row, seed uint64, best float64, scale *Scale) (one, error) {
	setup := search.Setup{Space: c.Table.Space(), Goal: c.Goal, Budget: c.Budget, Seed: seed, Options: c.Options[r.Name]}
	if len(c.Goal.Limits) > 0 {
		setup.Cheap = c.Table.Cheap
	}
	if _, given := setup.Options["min-share"]; r.Partial && !given { // less than an epoch is nothing
		setup.Options = maps.Clone(setup.Options)
		if setup.Options == nil {
			setup.Options = map[string]string{}
		}
		setup.Options["min-share"] = strconv.FormatFloat(max(c.Table.Epoch(), r.Default("min-share")), 'g', -1, 64)
	}
	x, err := strategy.Find(r.Name, setup)
	if err != nil {
		return one{}, err
	}
	clock := &timed{Strategy: x}
	p := progress{table: c.Table, best: best, budget: c.Budget}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	l := search.Loop{
		Space: setup.Space, Goal: c.Goal, Strategy: clock, Evaluator: c.Table, Seed: seed, Window: c.Window, Budget: c.Budget,
		Told: func(t *search.Trial) {
			if p.told(t) >= float64(c.Budget) {
				stop()
			}
		},
	}
	if r.Partial { // its trials cost less than one each
		l.Budget = 0
	}
	trials, err := l.Run(inner)
	if err != nil && (ctx.Err() != nil || inner.Err() == nil) {
		return one{}, diag.At(r.Name, err)
	}
	if p.err != nil {
		return one{}, p.err
	}
	o := p.end()
	o.trials, o.overhead = len(trials), clock.median()
	if scale == nil {
		return o, nil
	}
	o.hv, o.hvTest, err = scale.Volumes(trials)
	return o, err
}

func (c *Contest) judge(name string, runs, random []one, out *Result) Judged {
	final := func(runs []one) (regrets, hv []float64) {
		for _, o := range runs {
			regrets = append(regrets, o.regret[c.Budget-1])
			hv = append(hv, o.hv)
		}
		return regrets, hv
	}
	regrets, hv := final(runs)
	randomRegrets, randomHV := final(random)
	s := spread(regrets)
	j := Judged{Name: name, Budget: c.Budget, RegretMedian: s.Median, RegretQ25: s.Q25, RegretQ75: s.Q75, Regrets: regrets}
	var overhead, hvTest []float64
	for _, o := range runs {
		j.MeanTest += o.test / float64(len(runs))
		j.Trials += float64(o.trials) / float64(len(runs))
		overhead = append(overhead, float64(o.overhead)/float64(time.Millisecond))
		hvTest = append(hvTest, o.hvTest)
	}
	j.RI = 100 * (j.MeanTest - out.MeanTest) / out.MeanTest
	j.Overhead = spread(overhead).Median
	if len(c.Goal.Objectives) > 1 {
		a, b := spread(hv), spread(hvTest)
		j.HV, j.HVTest, j.HVs = &a, &b, hv
		j.P = Wilcoxon(hv, randomHV)
		j.Beats = j.P < 0.05 && a.Median > spread(randomHV).Median
	} else {
		j.P = Wilcoxon(regrets, randomRegrets)
		j.Beats = j.P < 0.05 && s.Median < spread(randomRegrets).Median
	}
	for _, b := range checkpoints(c.Budget) {
		var at []float64
		for _, o := range runs {
			at = append(at, o.regret[b-1])
		}
		j.Curve = append(j.Curve, Point{b, spread(at)})
	}
	return j
}

// checkpoints are the budgets at which curves are drawn: each a twelfth more.
func checkpoints(budget int) []int {
	var out []int
	for b := 1; b < budget; b = max(b+1, b*13/12) {
		out = append(out, b)
	}
	return append(out, budget)
}

// timed measures a strategy.
type timed struct {
	search.Strategy
	asks, tells []time.Duration
}

func (t *timed) Ask(ctx context.Context) (search.Proposal, error) {
	start := time.Now()
	p, err := t.Strategy.Ask(ctx)
	if err == nil {
		t.asks = append(t.asks, time.Since(start))
	}
	return p, err
}

func (t *timed) Tell(ctx context.Context, trial *search.Trial) error {
	start := time.Now()
	defer func() { t.tells = append(t.tells, time.Since(start)) }()
	return t.Strategy.Tell(ctx, trial)
}

// median of an ask and its tell.
func (t *timed) median() time.Duration {
	both := slices.Clone(t.asks[:len(t.tells)])
	for i, d := range t.tells {
		both[i] += d
	}
	if len(both) == 0 {
		return 0
	}
	slices.Sort(both)
	return both[len(both)/2]
}
