package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/evaluate"
	"github.com/nasc-dev/nasc/search/task"
)

// wide is a space of 10^60 networks: 20 layers, a thousand widths each.
func wide(t *testing.T) *task.Opened {
	t.Helper()
	var widths []string
	for i := range 1000 {
		widths = append(widths, fmt.Sprint(i+1))
	}
	var b strings.Builder
	b.WriteString("name = \"wide\"\ninput = [8, 8, 1]\n")
	for i := range 20 {
		fmt.Fprintf(&b, "[[stage]]\nblock = \"conv\"\nname = \"a%d\"\nchannels = { choose = [%s] }\n", i, strings.Join(widths, ", "))
	}
	b.WriteString("[[stage]]\nblock = \"pool\"\n[[stage]]\nblock = \"dense\"\nout = 10\n")
	s, err := arch.ParseSpace("wide.toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return &task.Opened{Arch: s, Space: search.ArchSpace{Space: s}, Cheap: evaluate.Cheap(s)}
}

// A limit is judged in a bounded number of looks, ends with the first network
// that keeps it, and with its context.
func TestFeasibleOfHugeSpace(t *testing.T) {
	params, err := search.FindMetric("params")
	if err != nil {
		t.Fatal(err)
	}
	goal := func(bound float64) search.Goal {
		return search.Goal{Limits: []search.Limit{{Metric: params, Bound: bound}}}
	}
	o := wide(t)
	looks := 0
	count := func(int, int) { looks++ }
	if err := o.Feasible(t.Context(), goal(1e9), count, nil); err != nil || looks != 1 {
		t.Errorf("%d looks, %v", looks, err)
	}
	looks = 0
	err = o.Feasible(t.Context(), goal(10), count, nil)
	if err == nil || !strings.Contains(err.Error(), "--max-params 10: a limit that no network keeps: the least found is") || looks > 20000 {
		t.Errorf("%d looks, %v", looks, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	looks = 0
	err = o.Feasible(ctx, goal(10), func(int, int) {
		if looks++; looks == 5 {
			cancel()
		}
	}, nil)
	if !errors.Is(err, context.Canceled) || looks > 6 {
		t.Errorf("%d looks, %v", looks, err)
	}
}

// either is a space whose networks have many parameters or take many
// multiplications; wide, it has 10^12 of each kind.
func either(t *testing.T, wide bool) *task.Opened {
	t.Helper()
	var b strings.Builder
	b.WriteString(`name = "either"
input = [32, 32, 3]
[[stage]]
name = "a"
choose = [
  [{ block = "conv", name = "few", channels = 64, kernel = 7, stride = 16 }],
  [{ block = "conv", name = "many", channels = 8, repeat = 3 }],
]
[[stage]]
block = "pool"
`)
	for i := range 4 {
		var outs []string
		for k := range 1000 {
			if wide || k < 2 {
				outs = append(outs, fmt.Sprint(k+1))
			}
		}
		fmt.Fprintf(&b, "[[stage]]\nblock = \"dense\"\nname = \"d%d\"\nout = { choose = [%s] }\n", i, strings.Join(outs, ", "))
	}
	b.WriteString("[[stage]]\nblock = \"dense\"\nout = 10\n")
	s, err := arch.ParseSpace("either.toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return &task.Opened{Arch: s, Space: search.ArchSpace{Space: s}, Cheap: evaluate.Cheap(s)}
}

// Limits that some network keeps each, and none all: refused where each network
// was looked at, otherwise a warning says so.
func TestFeasibleTogether(t *testing.T) {
	goal := func(params, macs float64) (g search.Goal) {
		for name, bound := range map[string]float64{"params": params, "macs": macs} {
			m, err := search.FindMetric(name)
			if err != nil {
				t.Fatal(err)
			}
			g.Limits = append(g.Limits, search.Limit{Metric: m, Bound: bound})
		}
		slices.SortFunc(g.Limits, func(a, b search.Limit) int { return strings.Compare(b.Metric.Name, a.Metric.Name) })
		return g
	}
	for _, wide := range []bool{false, true} {
		o := either(t, wide)
		looks, warned := 0, ""
		count := func(int, int) { looks++ }
		warn := func(text string) { warned = text }
		for _, g := range []search.Goal{goal(5000, 2e6), goal(20000, 5e5)} { // one kind, the other
			if err := o.Feasible(t.Context(), g, count, warn); err != nil || warned != "" {
				t.Errorf("%v, %s", err, warned)
			}
		}
		looks = 0
		err := o.Feasible(t.Context(), goal(5000, 5e5), count, warn)
		const limits = "--max-params 5000, --max-macs 500000: "
		switch {
		case !wide && (err == nil || !strings.Contains(err.Error(), limits+"limits that no network keeps together, each alone some do: the nearest, ") || !strings.Contains(err.Error(), " params, ")):
			t.Error(err)
		case wide && (err != nil || !strings.HasPrefix(warned, limits+"none of ") || !strings.Contains(warned, " networks looked at keeps them together; the nearest, ") || looks > 6000):
			t.Errorf("%d looks: %v, %s", looks, err, warned)
		}
		t.Logf("%d looks: %v %s", looks, err, warned)
	}
}
