package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

//go:embed mnist-resnet.toml
var mnistNet []byte

// int8 is a network ready to be timed on cpu-int8, one thread.
type int8Net struct {
	e  backends.Executable
	in []*ir.Tensor
	s  *ir.Graph
}

func (b *bench) int8(ctx context.Context, path string) (*int8Net, error) {
	m, err := nasc.Open(path, nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	g, err := nasc.SyntheticGraph(ctx, m.Graph().Clone(), "cpu-int8", 1)
	if err != nil {
		return nil, err
	}
	e, s, err := nasc.Start(g, "cpu-int8", 1, 1)
	if err != nil {
		return nil, err
	}
	return &int8Net{e, passes.RandomInputs(s, 1), s}, nil
}

// Turns are short, since a shared host's speed changes within a second; the first
// runs of each find cold caches and do not count.
const (
	turnsTime = 20 * time.Second
	turnRuns  = 9
	coldRuns  = 2
)

// turn is the median ms of a few runs.
func (n *int8Net) turn(ctx context.Context, out []*ir.Tensor) (float64, error) {
	var ms []float64
	for i := range turnRuns {
		begun := time.Now()
		if err := n.e.Run(ctx, n.in, out); err != nil {
			return 0, err
		}
		if i >= coldRuns {
			ms = append(ms, time.Since(begun).Seconds()*1e3)
		}
	}
	return paired.Median(ms), nil
}

// turns gives the median turn of each network, the networks in turns.
func turns(ctx context.Context, nets []*int8Net) ([]float64, error) {
	ms, outputs := make([][]float64, len(nets)), make([][]*ir.Tensor, len(nets))
	for i, n := range nets {
		outputs[i] = backends.NewOutputs(n.s)
	}
	for begun := time.Now(); time.Since(begun) < turnsTime; {
		for i, n := range nets {
			t, err := n.turn(ctx, outputs[i])
			if err != nil {
				return nil, err
			}
			ms[i] = append(ms[i], t)
		}
	}
	out := make([]float64, len(nets))
	for i, m := range ms {
		out[i] = paired.Median(m)
	}
	return out, nil
}

// time times the CIFAR networks in one run, beside the whole one.
func (b *bench) time(ctx context.Context) error {
	paths := append([]string{b.cifarNet}, b.models("cifar-")...)
	var nets []*int8Net
	for _, p := range paths {
		n, err := b.int8(ctx, p)
		if err != nil {
			return err
		}
		defer n.e.Close()
		nets = append(nets, n)
	}
	ms, err := turns(ctx, nets)
	if err != nil {
		return err
	}
	for i, p := range paths {
		what := name(p)
		if i == 0 {
			what = "cifar-whole"
		}
		fmt.Fprintf(os.Stderr, "%s: %.4f ms\n", what, ms[i])
		if err := b.runs.Add(run{Key: "time " + what, Model: what, MS: ms[i], MSWhole: ms[0]}); err != nil {
			return err
		}
	}
	return nil
}

// match prunes to the other side's networks' share of the whole one's int8 time,
// measured in turns.
func (b *bench) match(ctx context.Context) error {
	whole, err := b.int8(ctx, b.cifarNet)
	if err != nil {
		return err
	}
	defer whole.e.Close()
	for _, share := range cifarShares {
		for _, side := range []string{"l2", "taylor"} {
			to := "cifar-nasc-as-" + side + "-" + share
			if !b.only.MatchString(to) {
				continue
			}
			paths := b.models("cifar-torch-" + side + "-" + share)
			if len(paths) != 1 {
				return fmt.Errorf("no cifar-torch-%s-%s in %s", side, share, b.dir)
			}
			n, err := b.int8(ctx, paths[0])
			if err != nil {
				return err
			}
			ms, err := turns(ctx, []*int8Net{whole, n})
			_ = n.e.Close()
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s: %.4f ms, the whole one %.4f ms\n", name(paths[0]), ms[1], ms[0])
			if err := b.prune(ctx, b.cifarNet, to, method{name: "l2", criterion: "l2", inner: true}, nasc.PruneOptions{
				Goal: "latency", Amount: fmt.Sprintf("%.4fx", ms[1]/ms[0]), Target: "cpu-int8", Data: "cifar10:" + b.cifar + "/train.bin.gz", Samples: 400,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}
