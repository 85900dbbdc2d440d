package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/backends"
)

// parts of a step, by the op that the plan's steps compute.
var parts = []string{"forward", "input gradient", "weight gradient", "norms", "quantization", "rest"}

// partOf sorts a step of the plan. Products of a layer's activations with its
// weights are forward, with the transposed weights input gradients. Activations and
// additions that the plan has in one step with a batch norm are of the norms.
func partOf(s backends.Step) string {
	op := s.Op
	switch {
	case strings.Contains(op, "weight_grad"):
		return "weight gradient"
	case strings.Contains(op, "norm"):
		return "norms"
	case strings.Contains(op, "fake_quantize"):
		return "quantization"
	case strings.HasPrefix(op, "convolution_transpose"):
		return "input gradient"
	case strings.HasPrefix(op, "dot_general"):
		n := s.Nodes[0]
		switch {
		case n.Bool("transpose_a"):
			return "weight gradient"
		case n.Bool("transpose_b"):
			return "input gradient"
		}
		return "input gradient"
	case strings.HasPrefix(op, "convolution"), strings.HasPrefix(op, "dot"), strings.HasPrefix(op, "attention"):
		return "forward"
	}
	return "rest"
}

// share is the time of one part of a step.
type share struct {
	Took time.Duration `json:"took"`
	MACs int64         `json:"macs"`
}

// profiled times the steps of the plan: the median of several runs.
func profiled(ctx context.Context, s *settings, net string, runs int) ([]backends.Step, []time.Duration, error) {
	t, err := timing(ctx, s, net, "cpu-f32")
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	var steps []backends.Step
	var all [][]time.Duration
	for i := range runs + 1 {
		st, took, err := t.PerOp(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		if steps = st; i > 0 { // the first is cold
			all = append(all, took)
		}
	}
	out := make([]time.Duration, len(steps))
	for i := range out {
		var d []time.Duration
		for _, r := range all {
			d = append(d, r[i])
		}
		out[i] = median(d)
	}
	return steps, out, nil
}

func printSteps(ctx context.Context, s *settings, net string, count int) error {
	steps, took, err := profiled(ctx, s, net, 3)
	if err != nil {
		return err
	}
	type line struct {
		i    int
		took time.Duration
	}
	var lines []line
	sum := map[string]time.Duration{}
	kinds := map[string]time.Duration{}
	var total time.Duration
	for i, d := range took {
		lines = append(lines, line{i, d})
		sum[partOf(steps[i])] += d
		kinds[steps[i].Op] += d
		total += d
	}
	fmt.Printf("%s: %.1f ms in %d steps\n", net, ms(total), len(steps))
	for _, p := range parts {
		fmt.Printf("  %-16s %8.1f ms\n", p, ms(sum[p]))
	}
	ops := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return cmp.Compare(kinds[b], kinds[a]) })
	for _, o := range ops[:min(count, len(ops))] {
		fmt.Printf("  %8.2f ms  %s\n", ms(kinds[o]), o)
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(b.took, a.took) })
	for _, l := range lines[:min(count, len(lines))] {
		st := steps[l.i]
		gflops := 2 * float64(st.MACs) / l.took.Seconds() / 1e9
		gbs := float64(st.Bytes) / l.took.Seconds() / 1e9
		fmt.Printf("  %7.2f ms %6.1f GFLOP/s %6.1f GB/s  %-28s %s\n", ms(l.took), gflops, gbs, st.Op, st.Kernel)
	}
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
