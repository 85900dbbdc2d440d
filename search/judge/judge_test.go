package judge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/tabular"
)

// The counted distribution against going through all choices of signs, with
// ties and zeros among the pairs.
func TestWilcoxonIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		n := 1 + r.IntN(10)
		a, b := make([]float64, n), make([]float64, n)
		var d []float64
		for i := range a {
			a[i], b[i] = float64(r.IntN(5)), float64(r.IntN(5))
			if a[i] != b[i] {
				d = append(d, a[i]-b[i])
			}
		}
		rank := make([]float64, len(d))
		up, all := 0.0, 0.0
		for i, x := range d {
			for _, y := range d {
				switch {
				case math.Abs(y) < math.Abs(x):
					rank[i]++
				case math.Abs(y) == math.Abs(x):
					rank[i] += 0.5
				}
			}
			rank[i] += 0.5
			all += rank[i]
			if x > 0 {
				up += rank[i]
			}
		}
		extreme := 0
		for signs := range 1 << len(d) {
			sum := 0.0
			for i, v := range rank {
				if signs>>i&1 == 1 {
					sum += v
				}
			}
			if math.Abs(sum-all/2) >= math.Abs(up-all/2) {
				extreme++
			}
		}
		want := float64(extreme) / float64(int(1)<<len(d))
		if got := Wilcoxon(a, b); math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v against %v: %v; counted %v", a, b, got, want)
		}
	}
}

// Hollander & Wolfe's example of depression scores under a tranquilizer.
func TestWilcoxonOfTextbooks(t *testing.T) {
	// V = 40 of 9 pairs: 20 of the 512 choices of signs are as uneven.
	x := []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30}
	y := []float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
	if p := Wilcoxon(x, y); math.Abs(p-0.0390625) > 1e-12 {
		t.Errorf("p = %v; wanted 0.0390625", p)
	}
	if p := Wilcoxon([]float64{1, 2}, []float64{1, 2}); p != 1 {
		t.Errorf("equal pairs give %v", p)
	}
}

// Beyond the pairs that are counted out, the normal distribution goes on from
// where they end.
func TestWilcoxonOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a, b := make([]float64, exactPairs+1), make([]float64, exactPairs+1)
	for i := range a {
		a[i], b[i] = r.NormFloat64()+0.15, r.NormFloat64()
	}
	near, exact := Wilcoxon(a, b), Wilcoxon(a[:exactPairs], b[:exactPairs])
	if near <= 0 || near >= 1 || math.Abs(math.Log(near/exact)) > 0.35 {
		t.Errorf("%d pairs: %v; %d pairs: %v", len(a), near, exactPairs, exact)
	}
}

// table writes one of 4·4·4·4 networks with curves: the first choice decides
// most.
func table(t *testing.T, curves bool) *tabular.Table {
	t.Helper()
	var b strings.Builder
	b.WriteString("genotype,a,b,c,d,val_seed0,test_seed0,")
	if curves {
		b.WriteString("curve_seed0,")
	}
	b.WriteString("ms,params,macs,bytes\n")
	for n := range 256 {
		g := []int{n / 64, n / 16 % 4, n / 4 % 4, n % 4}
		acc := 0.5 + float64(7*((3*g[0]+1)%4)+5*g[1]-3*(g[2]-1)*(g[2]-1)+g[3])/100
		ms := 1 + g[0] + g[1] + g[3]
		fmt.Fprintf(&b, "%d.%d.%d.%d,a%d,b%d,c%d,d%d,%g,%g,", g[0], g[1], g[2], g[3], g[0], g[1], g[2], g[3], acc, acc-0.1)
		if curves {
			for e := range 9 {
				fmt.Fprintf(&b, "%g ", acc*float64(e+1)/9)
			}
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "%d,1,1,1\n", ms)
	}
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tab, err := tabular.Open("table:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func goal(t *testing.T, objectives string) search.Goal {
	t.Helper()
	g, err := search.ParseGoal(objectives)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A contest gives the same whatever runs at once, but for the time it took, and
// its figures are those of its curves.
func TestContestRepeats(t *testing.T) {
	var results []*Result
	for _, jobs := range []int{1, 3} {
		c := Contest{Table: table(t, true), Goal: goal(t, "accuracy"), Strategies: []string{"regularized-evolution", "random", "asha"}, Budget: 40, Seeds: 9, Jobs: jobs}
		r, err := c.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Strategies {
			s := &r.Strategies[i]
			s.Overhead = 0
			last := s.Curve[len(s.Curve)-1]
			if last.Budget != 40 || last.Median != s.RegretMedian || s.RegretQ25 > s.RegretMedian || s.RegretMedian > s.RegretQ75 || len(s.Regrets) != 9 {
				t.Errorf("%s: %+v and a curve that ends with %+v", s.Name, s, last)
			}
			for j, p := range s.Curve[1:] {
				if s.Name != "asha" && p.Median > s.Curve[j].Median+1e-12 { // validation and test agree in this table
					t.Errorf("%s: regret grows at %d", s.Name, p.Budget)
				}
			}
			mean := 0.0
			for _, v := range s.Regrets {
				mean += (r.BestTest - v) / 9
			}
			if ri := 100 * (mean - r.MeanTest) / r.MeanTest; math.Abs(ri-s.RI) > 1e-9 {
				t.Errorf("%s: RI %v; the regrets say %v", s.Name, s.RI, ri)
			}
		}
		if asha := r.Strategies[2]; asha.Trials <= 40 {
			t.Errorf("asha had %v trials of the cost of 40 trainings", asha.Trials)
		}
		if evolution, random := r.Strategies[0], r.Strategies[1]; random.P != 1 || evolution.Name != "regularized-evolution" || evolution.Budget != 40 {
			t.Errorf("%+v, %+v", evolution, random)
		}
		results = append(results, r)
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		t.Errorf("one job gives\n%+v\nthree\n%+v", results[0], results[1])
	}
}

func TestHypervolumesAreShares(t *testing.T) {
	c := Contest{Table: table(t, false), Goal: goal(t, "accuracy,ms"), Strategies: []string{"nsga2"}, Budget: 256, Seeds: 3}
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// All networks were asked for, so the front is the table's.
	if s := r.Strategies[0]; len(r.Strategies) != 1 || math.Abs(s.HV.Median-1) > 1e-9 || math.Abs(s.HVTest.Q25-1) > 1e-9 {
		t.Errorf("the whole table's front has the shares %+v and %+v", s.HV, s.HVTest)
	}
	c.Budget = 20
	if r, err = c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Strategies[0]; s.HV.Median >= 1 || s.HV.Median < 0.3 {
		t.Errorf("20 networks reach %+v", s.HV)
	}
}

// A search costs what its trainings add, and what it would give is the best of
// those trained the longest.
func TestCostOfShares(t *testing.T) {
	tab := table(t, true)
	p := progress{table: tab, best: tab.Best(search.Goal{}), budget: 4}
	trial := func(id int64, a int, budget, value float64, parent *search.Trial) *search.Trial {
		return &search.Trial{ID: id, Proposal: search.Proposal{Genotype: search.Genotype{a, 0, 0, 0}, Budget: budget}, Values: []float64{value}, ParentTrial: parent}
	}
	third := trial(1, 0, 1.0/3, 0.9, nil)
	for i, c := range []struct {
		t    *search.Trial
		cost float64
		at   int // first choice of the network that is given then
	}{
		{third, 1.0 / 3, 0},
		{trial(2, 1, 1.0/3, 0.8, nil), 2.0 / 3, 0},
		{trial(3, 0, 0, 0.5, third), 4.0 / 3, 0},
		{trial(4, 2, 1.0/3, 0.99, nil), 5.0 / 3, 0}, // better, but trained less
		{trial(5, 3, 0, 0.6, nil), 8.0 / 3, 3},
	} {
		if got := p.told(c.t); math.Abs(got-c.cost) > 1e-12 || p.given.Genotype[0] != c.at {
			t.Errorf("after trial %d: cost %v, wanted %v; given %v, wanted %d", i+1, got, c.cost, p.given.Genotype, c.at)
		}
	}
	o := p.end()
	row := func(a int) float64 {
		r, err := tab.Row(search.Genotype{a, 0, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		return p.best - r.Test
	}
	if want := []float64{row(0), row(0), row(3), row(3)}; !reflect.DeepEqual(o.regret, want) {
		t.Errorf("regrets %v; wanted %v", o.regret, want)
	}
}

func TestContestErrors(t *testing.T) {
	ms, err := search.FindMetric("ms")
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Contest{
		"without training curves": {Strategies: []string{"asha"}, Goal: goal(t, "accuracy"), Budget: 1, Seeds: 1},
		"--budget: 0":             {Strategies: []string{"random"}, Goal: goal(t, "accuracy"), Seeds: 1},
		"--seeds: 0":              {Strategies: []string{"random"}, Goal: goal(t, "accuracy"), Budget: 1},
		"--strategies: 0":         {Goal: goal(t, "accuracy"), Budget: 1, Seeds: 1},
		`"no-such"`:               {Strategies: []string{"no-such"}, Goal: goal(t, "accuracy"), Budget: 1, Seeds: 1},
		"no arena":                {Strategies: []string{"random"}, Goal: goal(t, "accuracy,arena"), Budget: 1, Seeds: 1},
		"ms at first":             {Strategies: []string{"random"}, Goal: goal(t, "ms"), Budget: 1, Seeds: 1},
		"take nsga2":              {Strategies: []string{"tpe"}, Goal: goal(t, "accuracy,ms"), Budget: 1, Seeds: 1},
		"keeps the limits":        {Strategies: []string{"random"}, Goal: search.Goal{Objectives: goal(t, "accuracy").Objectives, Limits: []search.Limit{{Metric: ms, Bound: 0.1}}}, Budget: 1, Seeds: 1},
	} {
		c.Table = table(t, false)
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; wanted %s", err, want)
		}
	}
}
