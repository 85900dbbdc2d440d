package task_test

import (
	"context"
	"errors"
	"fmt"
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
	if err := o.Feasible(t.Context(), goal(1e9), count); err != nil || looks != 1 {
		t.Errorf("%d looks, %v", looks, err)
	}
	looks = 0
	err = o.Feasible(t.Context(), goal(10), count)
	if err == nil || !strings.Contains(err.Error(), "--max-params 10: a limit that no network keeps: the least found is") || looks > 20000 {
		t.Errorf("%d looks, %v", looks, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	looks = 0
	err = o.Feasible(ctx, goal(10), func(int, int) {
		if looks++; looks == 5 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || looks > 6 {
		t.Errorf("%d looks, %v", looks, err)
	}
}
