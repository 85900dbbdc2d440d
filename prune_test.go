package nasc

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/ir"
)

func TestAmount(t *testing.T) {
	for text, want := range map[string]float64{"0.5x": 500, "20M": 2e7, "1.5ms": 1.5, "300k": 3e5, "2G": 2e9, "64kB": 64000, "1x": 1000} {
		if got, err := amount(text, 1000); err != nil || got != want {
			t.Errorf("amount(%q) = %v, %v; wanted %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "2x", "0x", "-1", "half", "NaNx"} {
		if got, err := amount(text, 1000); err == nil {
			t.Errorf("amount(%q) = %v; wanted an error", text, got)
		}
	}
}

// The digits network at 0.7 of its MACs, end to end: smaller, written, and
// still compiled to int8.
func TestPruneDigits(t *testing.T) {
	m, err := Open("zoo/digits-cnn.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "p.nasc")
	o := PruneOptions{Goal: "macs", Amount: "0.7x", Target: "cpu-f32", Criterion: "activation", Scope: "local", Data: "digits[0:100]", Seed: 1, Out: out}
	r, err := Prune(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if share := float64(r.After.MACs) / float64(r.Before.MACs); share > 0.7 || share < 0.5 {
		t.Errorf("%.2f of the MACs are left", share)
	}
	if r.After.Params >= r.Before.Params || r.After.Bytes >= r.Before.Bytes || r.After.MS <= 0 {
		t.Errorf("before %+v, after %+v", r.Before, r.After)
	}
	p, err := Open(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := Compile(context.Background(), p, CompileOptions{Target: "cpu-int8", Calib: "digits[0:100]", Eval: "digits[1200:1400]", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if c.Int8Nodes == 0 || c.Top1F32 < 0.8 || c.Top1F32-c.Top1 > 0.02 {
		t.Errorf("%d int8 nodes, top-1 %.3f in f32, %.3f in int8", c.Int8Nodes, c.Top1F32, c.Top1)
	}
	o.Goal = "speed"
	if _, err := Prune(context.Background(), m, o); err == nil || !strings.Contains(err.Error(), "--target-macs") {
		t.Errorf("an unknown goal: %v", err)
	}
}

// Networks that are weighed beside each other differ by the layers in which they
// do, and by nothing else, however the machine's speed changes.
func TestWeighWidths(t *testing.T) {
	m, err := Open("zoo/digits-cnn.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	small, err := Prune(context.Background(), m, PruneOptions{Goal: "macs", Amount: "0.7x", Target: "cpu-f32", Criterion: "l2", Scope: "global", Seed: 1, Out: filepath.Join(t.TempDir(), "p.nasc")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(small.Out, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, target := range []string{"cpu-int8", "cpu-f32"} {
		c := &costs{o: &PruneOptions{Target: target, Seed: 1}}
		weigh, err := c.weigher(context.Background(), m.Graph())
		if err != nil || weigh == nil {
			t.Fatal(err)
		}
		ms, err := weigh(context.Background(), []*ir.Graph{m.Graph(), p.Graph(), m.Graph()})
		if err != nil {
			t.Fatal(err)
		}
		if len(ms) != 3 || ms[0] != ms[2] || ms[0] == ms[1] || !(ms[1] > 0) {
			t.Errorf("%s: %v ms of a network, a smaller one and the first again", target, ms)
		}
		if again, err := weigh(context.Background(), []*ir.Graph{m.Graph(), p.Graph(), m.Graph()}); err != nil || !slices.Equal(again, ms) {
			t.Errorf("%s: weighed again: %v, %v", target, again, err)
		}
	}
}

// By measured time, end to end.
func TestPruneByTime(t *testing.T) {
	m, err := Open("zoo/digits-cnn.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := Prune(context.Background(), m, PruneOptions{Goal: "latency", Amount: "0.75x", Target: "cpu-f32", Criterion: "l2", Scope: "global", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.After.MACs >= r.Before.MACs || r.Pruned.After > 0.85*r.Pruned.Before { // the limit is a share of a run of its own
		t.Errorf("%d MACs of %d, %.4f ms of %.4f", r.After.MACs, r.Before.MACs, r.Pruned.After, r.Pruned.Before)
	}
}

// What there was nothing of has no share.
func TestDescribe(t *testing.T) {
	r := &PruneResult{Before: Size{Params: 200, MACs: 1000, Bytes: 800, MS: 2}, After: Size{Params: 100, MACs: 250, Bytes: 600, MS: 1}}
	if got, want := r.Describe(), "0.50× parameters, 0.25× MACs, 0.75× bytes, 0.50× measured time"; got != want {
		t.Errorf("%s; wanted %s", got, want)
	}
	r.Before.MACs, r.After.MACs = 0, 0
	if got, want := r.Describe(), "0.50× parameters, 0.75× bytes, 0.50× measured time"; got != want {
		t.Errorf("%s; wanted %s", got, want)
	}
}
