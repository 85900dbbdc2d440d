package task

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/latency"
	"github.com/nasc-dev/nasc/search"
)

// compiled is a network as the target runs it, with weights that say nothing.
func (o *Opened) compiled(ctx context.Context, g search.Genotype) (backends.Executable, *ir.Graph, error) {
	var net *ir.Graph
	var err error
	if o.Students != nil {
		if net, err = o.Students.Network(ctx, g); err == nil {
			net, err = nasc.SyntheticGraph(ctx, net, o.Target, 1)
		}
	} else {
		var text string
		if text, err = o.Arch.Instance(g); err == nil {
			net, err = nasc.Synthetic(ctx, "network "+g.String(), text, o.Target, 1)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return nasc.Start(net, o.Target, 1, max(1, o.Threads))
}

// WithLatency adds ms to what is known of a network: from a chain of look-ups
// where the space's networks are sums of their blocks, otherwise from each
// network's compiled plan. progress hears of what is done beforehand.
func (o *Opened) WithLatency(ctx context.Context, table *latency.Table, progress func(stage string, done, total int)) error {
	if o.Table != nil {
		return &diag.Error{Place: "--table", Found: "a tabular benchmark", Wanted: "a space: a benchmark's networks have their own ms"}
	}
	if o.Students != nil {
		o.predict(ctx, table)
		return nil
	}
	chain, err := nasc.PrepareSpace(ctx, o.Arch, table, nasc.PrepareOptions{
		Target: o.Target, Threads: max(1, o.Threads), Seed: o.Seed,
		Walking:  func(done, total int) { progress("find the blocks", done, total) },
		Progress: func(done, total int) { progress("look up blocks", done, total) },
	})
	var d *diag.Error
	switch {
	case err == nil:
		o.add("ms", func(g search.Genotype) (map[string]float64, error) {
			ms, ok := chain.Predict(g)
			if !ok {
				return nil, o.Space.Check(g)
			}
			return map[string]float64{"ms": ms}, nil
		})
	case errors.As(err, &d) && d.Place == "space "+o.Arch.Name: // not a sum of its blocks
		o.predict(ctx, table)
	default:
		return err
	}
	return nil
}

// predict adds ms from each network's compiled plan.
func (o *Opened) predict(ctx context.Context, table *latency.Table) {
	o.add("ms", func(g search.Genotype) (map[string]float64, error) {
		e, _, err := o.compiled(ctx, g)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		p, ok := e.(backends.Planned)
		if !ok {
			return nil, &diag.Error{Place: "--target", Found: o.Target, Wanted: "cpu-int8 or cpu-f32, which run steps of their own"}
		}
		pred, err := table.Predict(p)
		if err != nil {
			return nil, err
		}
		return map[string]float64{"ms": pred.Total}, nil
	})
}

// WithSizes adds bytes and arena, those of the network compiled for the target,
// which takes a compilation a network.
func (o *Opened) WithSizes(ctx context.Context) {
	if o.Table != nil {
		return // a benchmark's networks have theirs, or none
	}
	o.add("bytes", func(g search.Genotype) (map[string]float64, error) {
		e, graph, err := o.compiled(ctx, g)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		var b bytes.Buffer
		man := &nascfile.Manifest{Producer: "nasc " + nasc.Version(), Source: "network", Target: o.Target}
		if err := nascfile.Encode(&b, &ir.Module{Graphs: []*ir.Graph{graph}}, man); err != nil {
			return nil, err
		}
		m := map[string]float64{"bytes": float64(b.Len())}
		if p, ok := e.(backends.Planned); ok {
			m["arena"] = float64(p.ArenaBytes())
		}
		return m, nil
	})
}

// add merges what f knows into Cheap, and remembers it for each network.
func (o *Opened) add(metric string, f func(search.Genotype) (map[string]float64, error)) {
	before := o.Cheap
	var mu sync.Mutex
	known := map[string]map[string]float64{}
	o.Cheap = func(g search.Genotype) (map[string]float64, error) {
		key := g.String()
		mu.Lock()
		m := known[key]
		mu.Unlock()
		if m != nil {
			return m, nil
		}
		m, err := before(g)
		if err != nil {
			return nil, err
		}
		more, err := f(g)
		if err != nil {
			return nil, diag.At(metric+" of network "+key, err)
		}
		m = maps.Clone(m)
		maps.Copy(m, more)
		mu.Lock()
		defer mu.Unlock()
		if len(known) > 1<<16 {
			clear(known)
		}
		known[key] = m
		return m, nil
	}
}

// measureTime is how long a network runs for one measurement.
const measureTime = 300 * time.Millisecond

// Millis measures a network on this device.
func (o *Opened) Millis(ctx context.Context, g search.Genotype) (float64, error) {
	e, graph, err := o.compiled(ctx, g)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	m, err := nasc.MeasureNet(ctx, e, graph, max(1, o.Threads), measureTime)
	if err != nil {
		return 0, err
	}
	return m.Median, nil
}
