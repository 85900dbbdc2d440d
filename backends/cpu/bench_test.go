package cpu

import (
	"context"
	"flag"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/graphgen"
	"github.com/nasc-dev/nasc/ir"
)

var top = flag.Int("top", 12, "how many steps a benchmark lists")

// BenchmarkNets times whole networks with random weights, and with -v prints
// where the time of each goes.
func BenchmarkNets(b *testing.B) {
	for _, net := range graphgen.Nets() {
		for _, quantized := range []bool{false, true} {
			for _, threads := range []int{1, 2} {
				kind := "f32"
				if quantized {
					kind = "int8"
				}
				b.Run(fmt.Sprintf("%s/%s/threads=%d", net.Name, kind, threads), func(b *testing.B) { benchNet(b, net, quantized, threads) })
			}
		}
	}
}

func benchNet(b *testing.B, net graphgen.Net, quantized bool, threads int) {
	g, err := net.Build(quantized)
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	e, err := Int8().Compile(g, backends.Options{Threads: threads})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	compiled := time.Since(start)
	ctx := context.Background()
	in, out := graphgen.Inputs(g, 1), backends.NewOutputs(g)
	p := e.(backends.Planned)
	steps := p.Steps()
	took := make([]time.Duration, len(steps))
	runs := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := p.RunTimed(ctx, in, out, took); err != nil {
			b.Fatal(err)
		}
		runs++
	}
	b.ReportMetric(float64(compiled.Microseconds())/1000, "compile-ms")
	order := make([]int, len(steps))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return took[order[i]] > took[order[j]] })
	var s strings.Builder
	for _, i := range order[:min(len(order), *top)] {
		us := float64(took[i].Nanoseconds()) / float64(runs) / 1000
		fmt.Fprintf(&s, "%9.1f µs %6.1f MMAC/ms  %-14s %s %v\n", us, float64(steps[i].MACs)/1000/us, steps[i].Op, steps[i].Kernel, steps[i].Fallback)
	}
	b.Logf("%d steps, arena %d KiB\n%s", len(steps), p.ArenaBytes()>>10, s.String())
}

// BenchmarkStepOverhead is the cost of a step that does next to nothing.
func BenchmarkStepOverhead(b *testing.B) {
	const steps = 100
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			g := ir.NewBuilder("chain")
			x := g.Input("x", ir.T(ir.F32, 4))
			y := x
			for range steps {
				y = g.Op("relu", nil, y)
			}
			graph, err := g.Graph(y)
			if err != nil {
				b.Fatal(err)
			}
			e, err := F32().Compile(graph, backends.Options{Threads: threads})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			in, out := graphgen.Inputs(graph, 1), backends.NewOutputs(graph)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for b.Loop() {
				if err := e.Run(ctx, in, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/steps, "ns/step")
		})
	}
}
