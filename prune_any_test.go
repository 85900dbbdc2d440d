package nasc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/ir/eval"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/passes"
)

// pruning is one way to prune any network.
type pruning struct {
	goal    string
	amount  float64
	options passes.PruneOptions
}

// prunings are ways that between them take every criterion, scope and goal.
var prunings = []pruning{
	{"macs", 0.6, passes.PruneOptions{Criterion: "l2", Scope: "global"}},
	{"params", 0.5, passes.PruneOptions{Criterion: "taylor", Scope: "global", PerCost: true}},
	{"bytes", 0.7, passes.PruneOptions{Criterion: "activation", Scope: "local", Real: true, Correct: true}},
	{"macs", 0.4, passes.PruneOptions{Criterion: "fpgm", Scope: "alike", Round: 8}},
	{"params", 0.8, passes.PruneOptions{Criterion: "bn-scale", Scope: "local"}},
	{"macs", 0.7, passes.PruneOptions{Criterion: "hessian", Scope: "alike", PerCost: true, Round: 4}},
	{"bytes", 0.5, passes.PruneOptions{Criterion: "lamp", Scope: "global", Inner: true}},
	{"macs", 0.8, passes.PruneOptions{Criterion: "l1", Scope: "local", Blocks: 1, Real: true}},
	{"params", 0.3, passes.PruneOptions{Criterion: "random", Scope: "global", Keep: 0.05}},
}

// refused says that an error of Prune gives a reason: where the network cannot
// come down so far, or has not what the criterion ranks.
func refused(err error) bool {
	var d *diag.Error
	if !errors.As(err, &d) || strings.Contains(err.Error(), "BUG") {
		return false
	}
	return strings.Contains(err.Error(), "where all that can go is gone") || strings.Contains(err.Error(), "a quantized network") || d.Found != "" && d.Wanted != "" && strings.HasPrefix(d.Place, "--criterion")
}

// prune prunes a graph and proves the result: it verifies, is as small as asked
// for, runs in the interpreter as on cpu-f32, and as int8 with the
// interpreter's bits. It says whether it was pruned, not refused.
func (p pruning) prune(t *testing.T, g *ir.Graph, exact bool) bool {
	t.Helper()
	ctx := context.Background()
	one, err := ir.Specialize(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := &costs{o: &PruneOptions{Goal: p.goal, Target: "cpu-f32"}}
	cost, err := c.of()
	if err != nil {
		t.Fatal(err)
	}
	now, err := cost(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	o := p.options
	o.Cost, o.Target, o.Seed, o.Run = cost, p.amount*now, 1, Runner(ctx, 2)
	for i := range uint64(3) {
		o.Samples, o.Labels = append(o.Samples, passes.RandomInputs(one, i)), append(o.Labels, -1)
	}
	before := g.Body()
	small, rep, err := passes.Prune(ctx, g, o)
	if g.Body() != before {
		t.Errorf("%s: the graph given was changed", o.Criterion)
	}
	if err != nil {
		if !refused(err) {
			t.Errorf("%s, %s: %v", o.Criterion, p.goal, err)
		}
		t.Logf("%s, %s: refused: %v", o.Criterion, p.goal, err)
		return false
	}
	if after, err := cost(ctx, small); err != nil || after > o.Target || after != rep.After {
		t.Errorf("%s: %s %g, reported %g, wanted at most %g: %v", o.Criterion, p.goal, after, rep.After, o.Target, err)
	}
	proveRuns(t, small, exact)
	return true
}

// proveRuns proves that a float network runs on all ways.
func proveRuns(t *testing.T, g *ir.Graph, exact bool) {
	t.Helper()
	ctx := context.Background()
	if err := g.Verify(); err != nil {
		t.Error(err)
		return
	}
	folded, err := canonical(ctx, g)
	if err != nil {
		t.Error(err)
		return
	}
	c := &costs{o: &PruneOptions{Target: "cpu-int8"}}
	q, err := c.runnable(g)
	if err != nil {
		t.Error(err)
		return
	}
	for target, x := range map[string]*ir.Graph{"cpu-f32": folded, "cpu-int8": q} {
		e, s, err := Start(x, target, 1, 2)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		in, out := passes.RandomInputs(s, 7), backends.NewOutputs(s)
		if err := e.Run(ctx, in, out); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if !exact {
			continue
		}
		ref, err := eval.Run(ctx, s, in, eval.Options{})
		if err != nil {
			t.Errorf("the interpreter, %s: %v", target, err)
			continue
		}
		for i, want := range ref.Outputs {
			if target == "cpu-int8" {
				if !ir.SameData(out[i], want) {
					t.Errorf("output %d: cpu-int8 has other bits than the interpreter", i)
				}
			} else if err := difftest.Close(out[i], want, 1e-3, 1e-3); err != nil {
				t.Errorf("output %d: %v", i, err)
			}
		}
	}
}

// smallZoo opens a network of the zoo for small pictures or few tokens: the same
// layers, in a test's time.
func smallZoo(t *testing.T, file string) *Model {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, s := range [][2]string{
		{`(?m)^input = \[224, 224, 3\]`, "input = [32, 32, 3]"},
		{`(?m)^input = \[128\]`, "input = [8]"},
		{`(?m)^weights = .*`, ""},
		{`(?m)^(height|width|resize) = (224|256)$`, "$1 = 32"},
	} {
		text = regexp.MustCompile(s[0]).ReplaceAllString(text, s[1])
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // read only
	return m
}

// Networks of the zoo are pruned or refused with the reason: the small ones by
// two criteria, in turns, and with NASC_EXHAUSTIVE=1 all of them by every one.
func TestPruneZoo(t *testing.T) {
	files, err := filepath.Glob("zoo/*.toml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d networks, %v", len(files), err)
	}
	done := 0
	all := os.Getenv("NASC_EXHAUSTIVE") != ""
	for k, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".toml"), func(t *testing.T) {
			g, err := Trainable(context.Background(), smallZoo(t, f))
			if err != nil {
				t.Fatal(err)
			}
			if !all && g.Params() > 3e6 {
				t.Skip("large")
			}
			for i, p := range prunings {
				if !all && i != k%len(prunings) && (testing.Short() || i != (k+4)%len(prunings)) {
					continue
				}
				if p.prune(t, g, i == k%len(prunings) && g.MACs() < 2e8) {
					done++
				}
			}
		})
	}
	if done < 3 {
		t.Errorf("only %d prunings were done", done)
	}
}

// openSizes are sizes for the inputs of fetched models that leave theirs open.
var openSizes = map[string]map[string]ir.Shape{
	"minilm":      {"input_ids": {1, 16}, "attention_mask": {1, 16}, "token_type_ids": {1, 16}},
	"minilm_int8": {"input_ids": {1, 16}, "attention_mask": {1, 16}, "token_type_ids": {1, 16}},
	"ocr_cls":     {"x": {1, 3, 48, 192}},
	"ocr_det":     {"x": {1, 3, 64, 96}},
	"ocr_rec":     {"x": {1, 3, 48, 96}},
}

// Models of others, where NASC_EXHAUSTIVE=1: those in the folders of NASC_MODELS,
// or in .cache/models, where bench/fetch-models.py puts some.
func TestPruneModels(t *testing.T) {
	folders := os.Getenv("NASC_MODELS")
	if folders == "" {
		folders = ".cache/models"
	}
	var files []string
	for _, d := range filepath.SplitList(folders) {
		found, _ := filepath.Glob(filepath.Join(d, "*.onnx"))
		files = append(files, found...)
	}
	if len(files) == 0 || os.Getenv("NASC_EXHAUSTIVE") == "" {
		t.Skip("no models, or NASC_EXHAUSTIVE is not set")
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".onnx")
		t.Run(name, func(t *testing.T) {
			var shapes []map[string]ir.Shape
			if s := openSizes[name]; s != nil {
				shapes = append(shapes, s)
			}
			m, err := Open(f, shapes)
			if err != nil {
				t.Skip(err)
			}
			defer m.Close()
			g, err := Trainable(context.Background(), m)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range prunings {
				p.prune(t, g, false)
			}
		})
	}
}

// By latency from a table that has none of a network's other widths: it comes
// down by the table, or says that it cannot. With NASC_EXHAUSTIVE=1 larger
// networks, too, and those of others.
func TestPruneByTable(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for some seconds")
	}
	files := []string{"zoo/digits-cnn.toml"}
	targets := []string{"cpu-f32"}
	if os.Getenv("NASC_EXHAUSTIVE") != "" {
		files = append(files, "zoo/resnet20.toml", "zoo/mobilenetv3-small.toml", "zoo/densenet-small.toml", "zoo/vit-tiny.toml")
		targets = append(targets, "cpu-int8")
	}
	for _, f := range files {
		for _, target := range targets {
			t.Run(filepath.Base(f)+"/"+target, func(t *testing.T) { pruneByTable(t, smallZoo(t, f), target) })
		}
	}
}

func pruneByTable(t *testing.T, m *Model, target string) {
	t.Helper()
	ctx := context.Background()
	table := filepath.Join(t.TempDir(), "t.csv")
	c := &costs{o: &PruneOptions{Target: target, Seed: 1}}
	g, err := c.runnable(m.Graph())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ir.Specialize(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	tg, isa, err := Target(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := latency.Profile(ctx, table, latency.List{{Name: "whole", Graph: s, In: passes.RandomInputs(s, 1)}}, latency.Options{
		Target: tg, Compile: backends.Options{Threads: 1, ISA: isa}, Facts: latency.Fingerprint(Version(), target, isa, 1, 1), Budget: rowBudget,
	}); err != nil {
		t.Fatal(err)
	}
	for _, round := range []int{0, 4} {
		o := PruneOptions{Goal: "latency", Amount: "0.6x", Target: target, Table: table, Criterion: "l2", Scope: "global", Round: round, Seed: 1}
		r, err := Prune(ctx, m, o)
		if err != nil {
			if !refused(err) {
				t.Error(err)
			}
			t.Logf("refused: %v", err)
			continue
		}
		if r.Predicted[1] > 0.6*r.Predicted[0] || r.Predicted[1] <= 0 || r.After.MACs >= r.Before.MACs {
			t.Errorf("predicted %v ms, %d MACs of %d", r.Predicted, r.After.MACs, r.Before.MACs)
		}
		t.Logf("predicted %.4f ms, measured %.4f and %.4f", r.Predicted, r.Before.MS, r.After.MS)
	}
}
