package tabular

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/search"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// cells writes a whole NAS-Bench-201 table, with accuracies that say which
// network they are of.
func cells() string {
	var b strings.Builder
	b.WriteString("arch,cifar10_val,cifar10_test,cifar100_val,cifar100_test,imagenet16_val,imagenet16_test,latency_gold6226\n")
	for n := range 15625 {
		var op [6]string
		for i, k := 5, n; i >= 0; i, k = i-1, k/5 {
			op[i] = cellOps[k%5]
		}
		fmt.Fprintf(&b, "|%s~0|+|%s~0|%s~1|+|%s~0|%s~1|%s~2|,%g,50,%g,40,1,1,%g\n", op[0], op[1], op[2], op[3], op[4], op[5], float64(n)/200, float64(n)/400, 1+float64(n)/1000)
	}
	return b.String()
}

func TestNASBench201(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(cells())); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	table, err := Open("nasbench201:" + write(t, packed.String()) + "?data=cifar100")
	if err != nil {
		t.Fatal(err)
	}
	if n := table.Space().Count().Int64(); n != 15625 {
		t.Errorf("%d networks", n)
	}
	out, err := table.Evaluate(t.Context(), &search.Trial{Proposal: search.Proposal{Genotype: search.Genotype{0, 1, 2, 3, 4, 1}}})
	const n = ((((0*5+1)*5+2)*5+3)*5+4)*5 + 1
	if err != nil || math.Abs(out.Metrics["accuracy"]-float64(n)/400/100) > 1e-12 || out.Metrics["ms"] != 1+float64(n)/1000 {
		t.Errorf("network %d gives %v, %v", n, out, err)
	}
	if b := table.Best(search.Goal{}); b != 0.4 {
		t.Errorf("the best test accuracy is %v", b)
	}
	_, err = table.Evaluate(t.Context(), &search.Trial{Proposal: search.Proposal{Genotype: make(search.Genotype, 6), Budget: 0.3}})
	if err == nil || !strings.Contains(err.Error(), "no training curves") {
		t.Errorf("a third of a training: %v", err)
	}
}

const ownTable = `# space: test
genotype,stage1/width,stage2/repeat,stage2/kernel,val_seed0,val_seed1,test_seed0,test_seed1,curve_seed0,curve_seed1,ms,params,macs,bytes,note
0.0.0,8,none,,0.5,0.6,0.4,0.6,0.2 0.5,0.3 0.6,1,10,100,1000,x
0.1.0,8,one,1,0.6,0.6,0.5,0.5,0.2 0.6,0.3 0.6,2,20,200,2000,
0.1.1,8,one,3,0.7,0.6,0.5,0.5,0.2 0.7,0.3 0.6,3,30,300,3000,
1.0.0,16,none,,0.8,0.6,0.5,0.7,0.2 0.8,0.3 0.6,4,40,400,4000,
1.1.0,16,one,1,0.9,0.6,0.5,0.5,0.2 0.9,0.3 0.6,5,50,500,5000,
1.1.1,16,one,3,0.1,0.6,0.5,0.5,0.2 0.1,0.3 0.6,6,60,600,6000,
`

func TestOwnTable(t *testing.T) {
	table, err := Open("table:" + write(t, ownTable))
	if err != nil {
		t.Fatal(err)
	}
	s := table.Space()
	if !table.Curves() || s.Count().Int64() != 6 || len(s.Genes()) != 3 || strings.Join(s.Genes()[2].Options, ",") != "1,3" {
		t.Errorf("%v networks of %v", s.Count(), s.Genes())
	}
	if got := fmt.Sprint(search.ActiveGenes(s, search.Genotype{1, 0, 0}), search.ActiveGenes(s, search.Genotype{1, 1, 0})); got != "[0 1] [0 1 2]" {
		t.Errorf("choices that are there: %s", got)
	}
	if s.Check(search.Genotype{1, 0, 1}) == nil || s.Check(search.Genotype{1, 2, 0}) == nil || s.Check(search.Genotype{1}) == nil || s.Check(search.Genotype{1, 1, 1}) != nil {
		t.Error("Check takes what is not of the space, or refuses what is")
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		if g := search.Draw(s, r); s.Check(g) != nil {
			t.Fatalf("%v is drawn", g)
		}
	}
	trial := &search.Trial{Seed: 2, Proposal: search.Proposal{Genotype: search.Genotype{1, 0, 0}}}
	out, err := table.Evaluate(t.Context(), trial)
	if err != nil || out.Metrics["accuracy"] != 0.8 || out.Metrics["bytes"] != 4000 || len(out.Curve) != 2 {
		t.Errorf("seed 2: %v, %v", out, err)
	}
	trial.Seed, trial.Budget = 3, 0.5
	if out, err = table.Evaluate(t.Context(), trial); err != nil || out.Metrics["accuracy"] != 0.3 || len(out.Curve) != 1 {
		t.Errorf("half a training of seed 3: %v, %v", out, err)
	}
	trial.Budget = 0.4
	if _, err = table.Evaluate(t.Context(), trial); err == nil || !strings.Contains(err.Error(), "min-share=0.5") {
		t.Errorf("less than an epoch: %v", err)
	}
	if b := table.Best(search.Goal{}); math.Abs(b-0.6) > 1e-12 {
		t.Errorf("the best test accuracy is %v", b)
	}
	ms, err := search.FindMetric("ms")
	if err != nil {
		t.Fatal(err)
	}
	tight := search.Goal{Limits: []search.Limit{{Metric: ms, Bound: 3}}}
	if b, m := table.Best(tight), table.MeanTest(tight); b != 0.5 || math.Abs(m-0.5) > 1e-12 {
		t.Errorf("up to 3 ms: best %v, mean %v", b, m)
	}
	if b := table.Best(search.Goal{Limits: []search.Limit{{Metric: ms, Bound: 0.5}}}); !math.IsInf(b, -1) {
		t.Errorf("up to 0.5 ms: best %v", b)
	}
}

func TestMacro(t *testing.T) {
	var b strings.Builder
	b.WriteString("arch,acc1,acc2,acc3,params,flops\n")
	for n := range 6561 {
		var name string
		for i, k := 0, n; i < 8; i, k = i+1, k/3 {
			name += fmt.Sprint(k % 3)
		}
		fmt.Fprintf(&b, "%s,80,81,83,%d,7\n", name, n)
	}
	table, err := Open("macro:" + write(t, b.String()))
	if err != nil {
		t.Fatal(err)
	}
	row, err := table.Row(search.Genotype{1, 2, 0, 0, 0, 0, 0, 0})
	if err != nil || row.Val[0] != 0.8 || math.Abs(row.Test-0.82) > 1e-12 || row.Metrics["params"] != 7 || row.Metrics["macs"] != 7 {
		t.Errorf("%+v, %v", row, err)
	}
}

// What is wrong with a table is said with its line and column.
func TestDamagedTables(t *testing.T) {
	whole := cells()
	lines := strings.SplitAfter(whole, "\n")
	for _, c := range []struct{ form, text, want string }{
		{"nasbench201", "", "no header"},
		{"nasbench201", "arch,acc\n", "a column cifar10_val"},
		{"nasbench201", lines[0], "no rows"},
		{"nasbench201", strings.Join(lines[:9000], ""), "no network with edge2-3"},
		{"nasbench201", whole + lines[7], "stands in the table before"},
		{"nasbench201", lines[0] + strings.Replace(lines[1], ",50,", ",fifty,", 1), `:2:51: cifar10_test: "fifty"; wanted a number from 0 to 100`},
		{"nasbench201", lines[0] + strings.Replace(lines[1], ",50,", ",-1,", 1), `"-1"`},
		{"nasbench201", lines[0] + strings.Replace(lines[1], "none~0", "nine~0", 1), `:2:1: arch: "nine~0"`},
		{"nasbench201", lines[0] + strings.Replace(lines[1], "+|none~0|none~1|+", "+", 1), "arch"},
		{"nasbench201", lines[0] + "|none~0|,1\n", ":2:1: "},
		{"nasbench201", "\x1f\x8bnonsense", "damaged gzip"},
		{"macro", "arch,acc1,acc2,acc3,params,flops\n01234567,1,1,1,1,1\n", `"01234567"`},
		{"macro", "arch,acc1,acc2,acc3,params,flops\n,1,1,1,1,1\n", "a network's digits"},
		{"table", strings.Replace(ownTable, "0.7", "7", 1), "val_seed0"},
		{"table", strings.Replace(ownTable, "1.1.1,16", "1.1.1,32", 1), `"32" for option 1; wanted "16"`},
		{"table", strings.Replace(ownTable, "1.1.1,16,one,3", "1.1.x,16,one,3", 1), `"x"`},
		{"table", strings.Replace(ownTable, "1.1.1,16,one,3", "1.1.1,16,one,", 1), "nothing, where the genotype has 1"},
		{"table", strings.Replace(ownTable, "1.0.0,16,none,", "1.0.0,16,none,1", 1), "stage2/kernel"},
		{"table", strings.Replace(ownTable, "0.3 0.6,6", "0.3,6", 1), "1 epochs"},
		{"table", strings.Replace(ownTable, "1.1.1", "1.1.3", 1), "no network with option 2"},
		{"table", strings.Replace(ownTable, "0.0.0,8,none,,0.5,0.6,0.4,0.6,0.2 0.5,0.3 0.6,1,10,100,1000,x\n", "", 1), "no network with stage2/repeat"},
		{"table", strings.Replace(ownTable, "test_seed1", "other", 1), "a column test_seed1"},
	} {
		_, err := Open(c.form + ":" + write(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %.60q…: %v; wanted %s", c.form, c.text, err, c.want)
		}
	}
	for name, want := range map[string]string{
		"nasbench201":                   "wanted one of nasbench201:FILE",
		"no-such:FILE":                  "wanted one of nasbench201:FILE",
		"macro:no-such-file":            "no-such-file",
		"macro:FILE?data=cifar10":       "wanted no option",
		"nasbench201:FILE?data=cifar11": "wanted data=cifar10|cifar100|imagenet16",
	} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; wanted %s", name, err, want)
		}
	}
}

// The real tables, where they are.
func TestRealTables(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		best float64
	}{
		"nasbench201:../../../shared/nasbench/nasbench201.csv.gz": {15625, 0.8916},
		"macro:../../../shared/nasbench/nasbench_macro.csv.gz":    {6561, 0.93235},
	} {
		table, err := Open(name)
		if errors.Is(err, os.ErrNotExist) {
			t.Skipf("%v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b := table.Best(search.Goal{}); len(table.Rows) != c.n || math.Abs(b-c.best) > 1e-9 {
			t.Errorf("%s: %d networks, the best %v", name, len(table.Rows), b)
		}
		if _, err := table.Evaluate(context.Background(), &search.Trial{Proposal: search.Proposal{Genotype: make(search.Genotype, len(table.Space().Genes()))}}); err != nil {
			t.Error(err)
		}
	}
}
