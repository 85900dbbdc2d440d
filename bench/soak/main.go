// Command soak runs models the way a busy service does, for a long time:
// goroutines that share one compiled model, others of their own beside it,
// inputs of several batch sizes, contexts cancelled at any moment. Every output
// of a run that finished must have the expected bits; goroutines, threads, open
// files and memory must not grow; an idle process must not use the processor.
//
//	go run ./bench/soak -time 10m -report bench/reports/soak.md
//	NASC_ISA=portable go run -race ./bench/soak -time 2m -small -report bench/reports/soak.md
//
// Exit 1: a bit was wrong or something grew.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/internal/difftest"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/runtime"
)

var (
	length     = flag.Duration("time", 10*time.Minute, "how long to run")
	goroutines = flag.Int("goroutines", 8, "goroutines that share the models")
	cancelled  = flag.Float64("cancel", 0.3, "share of the runs whose context is cancelled")
	small      = flag.Bool("small", false, "small networks only: for the race detector and slow kernels")
	seed       = flag.Uint64("seed", 1, "seed of inputs and of what happens when")
	zoo        = flag.String("zoo", "zoo", "folder of architecture files")
	report     = flag.String("report", "", "Markdown file whose section of this kind of run is written anew")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := soak(ctx)
	if err == nil {
		fmt.Print(r.text())
		if *report != "" {
			err = r.writeTo(*report)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	if len(r.faults) > 0 {
		os.Exit(1)
	}
}

// model is a compiled network with inputs whose outputs are known.
type model struct {
	name    string
	m       *runtime.Model
	cases   []sample
	typical time.Duration // of a run

	runs, stopped, wrong atomic.Int64
}

// sample is an input and the bits that it must give.
type sample struct{ in, want []*runtime.Tensor }

// networks are the soak's models; the first is the one that most runs share.
func networks() []struct {
	file, target string
	threads      int
} {
	type n = struct {
		file, target string
		threads      int
	}
	if *small {
		return []n{{"digits-cnn", "cpu-int8", 2}, {"digits-cnn", "cpu-f32", 2}, {"resnet20", "cpu-int8", 2}, {"resnet20", "cpu-f32", 2}}
	}
	return []n{{"mobilenetv2", "cpu-int8", 2}, {"mobilenetv3-small", "cpu-f32", 2}, {"resnet20", "cpu-int8", 1}, {"vit-tiny", "cpu-int8", 2}, {"resnet20", "cpu-f32", 2}}
}

func soak(ctx context.Context) (*result, error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &result{began: time.Now(), cancels: make([]atomic.Pointer[context.CancelFunc], *goroutines)}
	r.before = look()
	var models []*model
	for i, n := range networks() {
		fmt.Fprintf(os.Stderr, "making %s for %s\n", n.file, n.target)
		m, err := load(ctx, dir, i, n.file, n.target, n.threads)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	fmt.Fprintf(os.Stderr, "running for %v\n", *length)
	run, cancel := context.WithTimeout(ctx, *length)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for k := range *goroutines {
		wg.Go(func() { r.work(run, k, rand.New(rand.NewPCG(*seed, uint64(k))), models) })
	}
	r.watch(run, models)
	wg.Wait()
	r.took = time.Since(start)
	if err := ctx.Err(); err != nil {
		r.fault("ended after %v of %v", r.took.Round(time.Second), *length)
	}
	r.idle = idleShare(time.Second)
	for _, m := range models {
		if err := m.m.Close(); err != nil {
			r.fault("closing %s: %v", m.name, err)
		}
		m.m, m.cases = nil, nil
	}
	r.end(models)
	return r, nil
}

// load compiles a network, opens the file as a service does, and finds the
// expected outputs: of integer programs on plain Go kernels, of float programs
// on a model that nothing else uses.
func load(ctx context.Context, dir string, i int, file, target string, threads int) (*model, error) {
	net, err := nasc.Open(filepath.Join(*zoo, file+".toml"), nil)
	if err != nil {
		return nil, err
	}
	defer net.Close()
	out := filepath.Join(dir, fmt.Sprintf("%d.nasc", i))
	o := nasc.CompileOptions{Target: target, Out: out, Seed: *seed, Threads: 2, Rounding: "nearest", Winograd: target == "cpu-f32"}
	if target == "cpu-int8" {
		o.Calib = "synthetic"
	}
	if _, err := nasc.Compile(ctx, net, o); err != nil {
		return nil, err
	}
	m := &model{name: file + " " + target}
	if m.m, err = runtime.Load(out, runtime.Threads(threads)); err != nil {
		return nil, err
	}
	trusted := target
	if target == "cpu-int8" {
		trusted += "@portable"
	}
	reference, err := runtime.Load(out, runtime.Target(trusted))
	if err != nil {
		return nil, err
	}
	defer reference.Close()
	for k := range 6 {
		s, err := ir.Specialize(net.Graph(), 1+k/4) // four of one sample, two of two
		if err != nil {
			return nil, err
		}
		c := sample{in: passes.RandomInputs(s, *seed+uint64(k))}
		if c.want, err = reference.NewOutputs(c.in); err != nil {
			return nil, err
		}
		if err := reference.Run(ctx, c.in, c.want); err != nil {
			return nil, err
		}
		m.cases = append(m.cases, c)
	}
	c := m.cases[0]
	own, err := m.m.NewOutputs(c.in)
	if err != nil {
		return nil, err
	}
	for range 3 {
		start := time.Now()
		if err := m.m.Run(ctx, c.in, own); err != nil {
			return nil, err
		}
		m.typical = time.Since(start)
	}
	return m, nil
}

// work runs models until the context ends. Its outputs begin each run with
// other bits than the expected ones. Contexts are cancelled by a timer, or by
// another goroutine between two runs of its own.
func (r *result) work(ctx context.Context, id int, rng *rand.Rand, models []*model) {
	outs := map[*runtime.Tensor][]*runtime.Tensor{}
	for ctx.Err() == nil {
		m := models[0]
		if rng.Float64() < 0.4 {
			m = models[rng.IntN(len(models))]
		}
		c := m.cases[rng.IntN(len(m.cases))]
		out := outs[c.in[0]]
		if out == nil {
			var err error
			if out, err = m.m.NewOutputs(c.in); err != nil {
				r.fault("%s: %v", m.name, err)
				return
			}
			outs[c.in[0]] = out
		}
		for _, t := range out {
			spoil(t)
		}
		run, cancel := context.WithCancel(context.Background())
		timer := time.NewTimer(0)
		timer.Stop()
		if rng.Float64() < *cancelled/2 {
			timer = time.AfterFunc(time.Duration(rng.Float64()*float64(m.typical)), cancel)
		}
		if rng.Float64() < *cancelled {
			if f := r.cancels[rng.IntN(len(r.cancels))].Load(); f != nil {
				(*f)()
			}
		}
		r.gate.RLock()
		r.cancels[id].Store(&cancel)
		err := m.m.Run(run, c.in, out)
		r.cancels[id].Store(nil)
		r.gate.RUnlock()
		timer.Stop()
		cancel()
		switch {
		case errors.Is(err, context.Canceled):
			m.stopped.Add(1)
			continue
		case err != nil:
			r.fault("%s: %v", m.name, err)
			return
		}
		m.runs.Add(1)
		for i, t := range out {
			if err := difftest.Bits(t, c.want[i]); err != nil && m.wrong.Add(1) <= 3 {
				r.fault("%s, output %d: %v", m.name, i, err)
			}
		}
		if rng.IntN(200) == 0 { // helpers go to sleep and are woken
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		}
	}
}

// spoil fills a tensor with what no run gives.
func spoil(t *runtime.Tensor) {
	b := t.RawBytes()
	for i := range b {
		b[i] = 0x5a
	}
}
