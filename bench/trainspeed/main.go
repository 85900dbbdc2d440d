// Command trainspeed measures training steps: pictures a second of nasc on
// cpu-f32 and on xla-cpu, and of PyTorch where Python has it, taking turns in
// one run. Each step is forward, loss, gradient and the optimizer's update
// (SGD with Nesterov momentum) of one batch that lies ready. It also says where
// the step's time goes on cpu-f32 and what share of the f32 peak that is.
//
//	go run ./bench/trainspeed -python .cache/torch/bin/python -report bench/reports/trainspeed-$(date +%F).md
//	go run ./bench/trainspeed -nets resnet20 -profile 20      the slowest steps of the plan
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends/gomlx"
	"github.com/nasc-dev/nasc/bench/report"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/quant"
	"github.com/nasc-dev/nasc/train"
)

//go:embed nets/*.toml
var netFS embed.FS

// networks are those measured; torch.py builds the same.
var networks = []string{"resnet20", "mobilenetv2", "vit-tiny"}

type settings struct {
	nets    []string
	batch   int
	threads int
	rounds  int
	steps   int
	python  string
	script  string
	xla     bool
	qat     bool
	state   string
}

func main() {
	var s settings
	nets := flag.String("nets", strings.Join(networks, ","), "networks, with commas")
	flag.IntVar(&s.batch, "batch", 128, "pictures a step")
	flag.IntVar(&s.threads, "threads", 2, "threads")
	flag.IntVar(&s.rounds, "rounds", 5, "turns of each engine")
	flag.IntVar(&s.steps, "steps", 4, "steps in a turn, after one that is not counted")
	flag.StringVar(&s.python, "python", "", "a Python with torch; without, nasc alone is measured")
	flag.StringVar(&s.script, "script", "bench/trainspeed/torch_steps.py", "what it runs")
	flag.BoolVar(&s.xla, "xla", gomlx.XLA().Available() == nil, "measure xla-cpu too")
	flag.BoolVar(&s.qat, "qat", false, "train nasc's networks as int8 runs them, calibrated on noise")
	profile := flag.Int("profile", 0, "only print the slowest so many steps of the plan")
	flag.StringVar(&s.state, "state", "", "file that keeps the networks measured, to go on from")
	report := flag.String("report", "", "the Markdown file to write; stdout otherwise")
	flag.Parse()
	s.nets = strings.Split(*nets, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &s, *profile, *report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *settings, profile int, file string) error {
	for _, n := range s.nets {
		if !slices.Contains(networks, n) {
			return fmt.Errorf("-nets: %q; wanted some of %s", n, strings.Join(networks, ", "))
		}
	}
	if profile > 0 {
		for _, n := range s.nets {
			if err := printSteps(ctx, s, n, profile); err != nil {
				return err
			}
		}
		return nil
	}
	done, err := kept(s.state, s.key())
	if err != nil {
		return err
	}
	var rows []result
	for _, n := range s.nets {
		r, ok := done[n]
		if !ok {
			if r, err = compare(ctx, s, n); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
			if err := keep(s.state, r); err != nil {
				return err
			}
		}
		rows = append(rows, r)
		fmt.Fprintln(os.Stderr, r.line())
	}
	text := markdown(s, rows)
	return report.Write(file, text)
}

// timing prepares a network's steps on a target.
func timing(ctx context.Context, s *settings, net, target string) (*train.Timing, error) {
	g, _, err := arch.LoadFS(netFS, "nets/"+net+".toml", net)
	if err != nil {
		return nil, err
	}
	n, err := train.New(g)
	if err != nil {
		return nil, err
	}
	n.Init(1)
	if s.qat {
		if n, err = simulated(ctx, n); err != nil {
			return nil, err
		}
	}
	b, err := train.Backends(target)
	if err != nil {
		return nil, err
	}
	c := train.Default()
	c.Batch, c.Optimizer, c.LR, c.Target = s.batch, "sgd", 0.01, target
	return train.NewTiming(ctx, n, c, b, s.threads)
}

// simulated is a network on levels, its scales from random pictures.
func simulated(ctx context.Context, n *train.Network) (*train.Network, error) {
	g := n.Inference(nil)
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return nil, err
	}
	f, err := nasc.RandomFeed(g, 4, 1)
	if err != nil {
		return nil, err
	}
	sim, _, err := passes.Simulate(g, passes.SimulateOptions{QuantizeOptions: passes.QuantizeOptions{
		Calib: f, Run: nasc.Runner(ctx, 1), Rounding: passes.Nearest, NoCorrection: true, NoEqualize: true, Method: quant.MinMax,
	}})
	if err != nil {
		return nil, err
	}
	return train.New(sim)
}

// median of durations.
func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
