// Latency proves the predictions of latency tables: it profiles spaces of
// networks on this machine, predicts networks that were not profiled, measures
// them, and writes a report. Every step leaves its result in the folder of the
// state; one that has it is not done again, and one that was stopped goes on.
//
//	go run ./bench/latency -report bench/reports/latency-$(date +%F).md
//	go run ./bench/latency -steps profile-cpu-int8-1-1,measure-cpu-int8-1-1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bench is one run of the comparison.
type bench struct {
	nasc     string // the command
	dir      string // of the state
	n        int    // networks of each space that are measured for a table
	models   []string
	nasbench string
	within   time.Duration // the steps that would end later are left for another run
}

var spaces = []string{"mobilenetv3", "resnet", "vit"}

func main() {
	b := &bench{}
	var report, steps, models string
	var list, burn bool
	flag.StringVar(&b.nasc, "nasc", "", "the command (empty: built from here)")
	flag.StringVar(&b.dir, "state", ".cache/latency", "folder of results")
	flag.IntVar(&b.n, "n", 34, "networks of each space that a table is judged on")
	flag.DurationVar(&b.within, "within", 0, "leave the steps that would end later for another run (0: none)")
	flag.StringVar(&models, "models", "zoo/*.toml,.cache/models/*.onnx,../shared/models/*.onnx", "real models to predict, too")
	flag.StringVar(&b.nasbench, "nasbench", "", "NAS-Bench-201 with latencies (nasbench201.csv.gz)")
	flag.StringVar(&steps, "steps", "", "these alone, comma-separated (empty: all)")
	flag.StringVar(&report, "report", "", "write the report here, and its pictures beside it")
	flag.BoolVar(&list, "list", false, "name the steps")
	flag.BoolVar(&burn, "burn", false, "be a busy neighbour until killed")
	flag.Parse()
	if burn {
		neighbour()
	}
	for _, pattern := range strings.Split(models, ",") {
		m, err := filepath.Glob(pattern)
		if err != nil {
			fail(err)
		}
		b.models = append(b.models, m...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ran := b.run(ctx, steps, list)
	if report != "" && !list { // of what is done
		if err := b.report(report); err != nil {
			fail(err)
		}
	}
	if ran != nil {
		fail(ran)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "latency:", err)
	os.Exit(1)
}

func (b *bench) run(ctx context.Context, names string, list bool) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if b.nasc == "" && !list {
		b.nasc = filepath.Join(b.dir, "nasc")
		if err := command(ctx, "go", "build", "-o", b.nasc, "./cmd/nasc"); err != nil {
			return err
		}
	}
	var todo []step
	for _, s := range b.steps() {
		if list {
			fmt.Printf("%-36s about %v\n", s.name, s.about)
		}
		if list || names != "" && !strings.Contains(","+names+",", ","+s.name+",") || exists(b.file(s.name+".json")) {
			continue
		}
		todo = append(todo, s)
	}
	var failed []error
	started, left := time.Now(), 0
	for i, s := range todo {
		rest := time.Duration(0)
		for _, t := range todo[i:] {
			rest += t.about
		}
		if begun := time.Since(started); b.within > 0 && begun+s.about > b.within {
			fmt.Fprintf(os.Stderr, "step %s is left for another run: it would end after %v\n", s.name, b.within)
			left++
			continue
		}
		begun := time.Now()
		fmt.Fprintf(os.Stderr, "step %s, %d of %d, about %v; all: about %v left\n", s.name, i+1, len(todo), s.about, rest)
		if err := s.do(ctx, s.name); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// What needs it fails, too; the others do not.
			fmt.Fprintf(os.Stderr, "step %s failed: %v\n", s.name, err)
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			left++
			continue
		}
		fmt.Fprintf(os.Stderr, "step %s took %.0f s\n", s.name, time.Since(begun).Seconds())
	}
	if left > 0 {
		fmt.Fprintf(os.Stderr, "%d steps are not done: the same command goes on with them\n", left)
	}
	return errors.Join(failed...)
}

func (b *bench) file(name string) string { return filepath.Join(b.dir, name) }

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func command(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c.Run()
}

// save runs the command with --json and keeps what it prints, whole or not at all.
func (b *bench) save(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, b.nasc, append(args, "--json")...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("nasc %s: %w", strings.Join(args, " "), err)
	}
	tmp := b.file(name + ".json.new")
	if err := os.WriteFile(tmp, out, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, b.file(name+".json"))
}

// neighbour keeps every processor and the way to memory busy, two seconds of
// three.
func neighbour() {
	for range runtime.NumCPU() {
		go func() {
			a := make([]uint64, 8<<20)
			for {
				for start := time.Now(); time.Since(start) < 2*time.Second; {
					for i := range a {
						a[i] = a[i]*3 + 1
					}
				}
				time.Sleep(time.Second)
			}
		}()
	}
	select {}
}
