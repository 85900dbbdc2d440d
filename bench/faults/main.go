// Faults kills the coordinator and the workers of searches at random moments
// and says whether anything was lost or counted twice.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search/queue/queuetest"
)

func main() {
	o := queuetest.Options{Log: os.Stderr}
	flag.StringVar(&o.Nasc, "nasc", "./nasc", "the command")
	flag.StringVar(&o.Table, "table", "", "tabular benchmark to search, such as nasbench201:FILE")
	flag.StringVar(&o.Strategy, "strategy", "regularized-evolution", "of the searches")
	flag.IntVar(&o.Trials, "trials", 200, "of a study")
	flag.IntVar(&o.Workers, "workers", 3, "processes that evaluate")
	flag.IntVar(&o.Kills, "kills", 20, "processes to kill in the midst of studies")
	flag.Uint64Var(&o.Seed, "seed", 1, "of the search and the moments")
	flag.DurationVar(&o.Least, "least", 20*time.Millisecond, "time between two kills, at least")
	flag.DurationVar(&o.Most, "most", 400*time.Millisecond, "and at most")
	report := flag.String("report", "", "Markdown file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o, *report)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o queuetest.Options, file string) error {
	dir, err := os.MkdirTemp("", "nasc-faults-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	start := time.Now()
	r, err := queuetest.Run(ctx, o)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Searches whose processes are killed, %s\n\n", time.Now().Format(time.DateOnly))
	for _, f := range latency.Fingerprint(nasc.Version(), "cpu-int8", "", 1, 1) {
		if f.Name == "cpu" || f.Name == "cores" || f.Name == "os" || f.Name == "go" {
			fmt.Fprintf(&b, "%s: %s  \n", f.Name, f.Value)
		}
	}
	form, _, _ := strings.Cut(o.Table, ":")
	fmt.Fprintf(&b, "\n`bench/faults -table %s:FILE -trials %d -workers %d -kills %d -seed %d`: %s on %s, a coordinator with an embedded NATS server and %d workers, processes of their own on the loopback interface. "+
		"At random moments one of the %d, the coordinator every second time, was killed with SIGKILL and started again at once; kills before the first outcome and after the last are not counted.\n\n", form, o.Trials, o.Workers, o.Kills, o.Seed, o.Strategy, form, o.Workers, o.Workers+1)
	fmt.Fprintf(&b, "Each of the %d studies has its %d trials, every one once, with the genotypes, seeds and metrics of the study that was left alone, and the same best: %s. It took %s.\n\n", r.Studies, r.Trials, r.Best, time.Since(start).Round(time.Second))
	b.WriteString("| study | killed | after | trials done then |\n|---|---|---|---|\n")
	for _, k := range r.Kills {
		fmt.Fprintf(&b, "| %d | %s | %s | %d |\n", k.Study, k.Victim, k.After.Round(10*time.Millisecond), k.Done)
	}
	return report.Write(file, b.String())
}
