package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
)

// predicted is what is known of a network before it is trained.
type predicted struct {
	Genotype string  `json:"genotype"`
	MS       float64 `json:"ms"`
	MACs     float64 `json:"macs"`
}

// predict finds every network's ms: by a chain where the space's networks are
// sums of their blocks, otherwise from each one's compiled plan, which is kept
// in a file, so that it is done once. Where the benchmark does not tell the
// MACs, they are counted then too.
func (c *config) predict(ctx context.Context, k *known, t *latency.Table) error {
	k.cheaply = map[string]predicted{}
	chain, err := nasc.PrepareSpace(ctx, k.space.Space, t, nasc.PrepareOptions{Target: target, Threads: 1, Batch: 1, Seed: 1})
	if err == nil && c.own() {
		for _, r := range k.table.Rows {
			ms, ok := chain.Predict(r.Genotype)
			if !ok {
				return fmt.Errorf("no prediction for %v", r.Genotype)
			}
			k.cheaply[r.Genotype.String()] = predicted{r.Genotype.String(), ms, r.Metrics["macs"]}
		}
		return nil
	}
	var d *diag.Error
	if err != nil && (!errors.As(err, &d) || d.Place != "space "+k.space.Name()) {
		return err
	}
	b, err := os.ReadFile(c.device)
	if err != nil {
		return err
	}
	state := c.file("predicted-" + search.Digest(b)[:12] + ".jsonl")
	runs, err := paired.Open(state, func(p predicted) string { return p.Genotype })
	if err != nil {
		return err
	}
	defer runs.Close()
	err = paired.Each(ctx, len(k.table.Rows), runtime.NumCPU(), func(ctx context.Context, i int) error {
		g := k.table.Rows[i].Genotype
		if _, ok := runs.Get(g.String()); ok {
			return nil
		}
		net, err := k.graph(ctx, g)
		if err != nil {
			return err
		}
		e, static, err := nasc.Start(net, target, 1, 1)
		if err != nil {
			return err
		}
		defer e.Close()
		p, err := t.Predict(e.(backends.Planned))
		if err != nil {
			return err
		}
		return runs.Add(predicted{g.String(), p.Total, float64(static.MACs())})
	})
	for _, p := range runs.All() {
		k.cheaply[p.Genotype] = p
	}
	return err
}

// graph is a network with random weights, ready for the target.
func (k *known) graph(ctx context.Context, g search.Genotype) (*ir.Graph, error) {
	text, err := k.space.Instance(g)
	if err != nil {
		return nil, err
	}
	return nasc.Synthetic(ctx, g.String(), text, target, 1)
}
