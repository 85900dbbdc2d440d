package nasc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// WinogradResult is what --winograd did to the first set of shapes.
type WinogradResult struct {
	Layers int `json:"layers"` // convolutions that compute so,
	Of     int `json:"of"`     // of those that can
	// MaxDiff is the greatest difference to the network without, on Samples
	// samples, relative to the greatest |output|.
	MaxDiff float64 `json:"max_rel_diff"`
	Samples int     `json:"samples"`
}

// winogradSamples is how many samples the difference is measured on.
const winogradSamples = 4

// winograd gives a graph Winograd's algorithms where they are faster and checks
// that the outputs stay within the tolerance of passes. The choice is the graph
// itself: on another device it computes the same.
func (o *CompileOptions) winograd(ctx context.Context, g *ir.Graph, man *nascfile.Manifest, res *Result) (*ir.Graph, error) {
	if !strings.HasPrefix(o.Target, "cpu-") {
		return nil, &diag.Error{Place: "--winograd", Found: "--target " + o.Target, Wanted: "cpu-f32 or cpu-int8: other targets choose their own algorithms"}
	}
	direct := g
	passes.Direct(direct)
	g = g.Clone()
	r := &WinogradResult{}
	for _, n := range g.Nodes {
		if passes.CanWinograd(n) {
			r.Of++
		}
	}
	if _, err := passes.Run(ctx, g, []passes.Pass{*passes.Lookup("winograd")}, o.Pipeline); err != nil {
		return nil, err
	}
	first := len(res.Module.Graphs) == 0
	if o.Tune && first {
		if err := o.tuneWinograd(ctx, direct, g); err != nil {
			return nil, err
		}
	} else if o.Tune { // as the first set of shapes measured
		likeFirst(g, res.Module.Graphs[0])
	}
	for _, n := range g.Nodes {
		if n.Op.Name == "convolution" && n.Int("winograd") != 0 {
			r.Layers++
		}
	}
	if r.Layers > 0 {
		s, err := o.winogradFeed(g, man)
		if err != nil {
			return nil, err
		}
		d, err := VerifyModels(ctx, direct, g, o.Target, o.Target, s)
		if err != nil {
			return nil, err
		}
		if d.MaxAbs > 0 {
			r.MaxDiff = d.MaxAbs / d.MaxAbsOut
		}
		if r.Samples = s.Len(); !(r.MaxDiff <= passes.Tolerance) {
			return nil, &diag.Error{
				Place: "--winograd", Found: fmt.Sprintf("outputs that differ by %.1e of the greatest", r.MaxDiff),
				Wanted: fmt.Sprintf("%.0e at most", passes.Tolerance), Fix: "leave --winograd out for this network",
			}
		}
	}
	if first {
		res.Winograd = r
		if r.Layers > 0 && !slices.Contains(man.Passes, "winograd") {
			man.Passes = append(slices.Clone(man.Passes), "winograd")
		}
	}
	return g, nil
}

// winogradFeed is the first samples of --eval, or random ones.
func (o *CompileOptions) winogradFeed(g *ir.Graph, man *nascfile.Manifest) (Samples, error) {
	if o.Eval == "" {
		return RandomFeed(g, winogradSamples, o.Seed)
	}
	f, err := o.feed(o.Eval, g, man)
	if err != nil {
		return nil, err
	}
	return firstOf{f, min(winogradSamples, f.Len())}, nil
}

// firstOf is the first n samples of others.
type firstOf struct {
	Samples
	n int
}

func (f firstOf) Len() int { return f.n }

// tuneWinograd measures each convolution by the chain and by both widths of tiles
// and gives g the fastest, if the network as a whole is faster by them.
func (o *CompileOptions) tuneWinograd(ctx context.Context, direct, g *ir.Graph) error {
	threads := max(1, o.Threads)
	best, tiles := map[string]float64{}, map[string]int{}
	for _, m := range []int{0, 2, 4} {
		h := direct.Clone()
		for _, n := range h.Nodes {
			if passes.CanWinograd(n) {
				passes.SetWinograd(n, m)
			}
		}
		times, err := layerTimes(ctx, plan{h, o.Target, backends.Options{Threads: threads}}, o.Progress)
		if err != nil {
			return err
		}
		for layer, ms := range times {
			if old, ok := best[layer]; !ok || ms < worthwhile*old {
				best[layer], tiles[layer] = ms, m
			}
		}
	}
	for _, n := range g.Nodes {
		if passes.CanWinograd(n) {
			passes.SetWinograd(n, tiles[n.Label()])
		}
	}
	ms, err := alternateGraphs(ctx, o.Target, threads, direct, g)
	if err != nil {
		return err
	}
	if ms[1] >= onTheWhole*ms[0] {
		passes.Direct(g)
	}
	return nil
}

// likeFirst gives a graph's convolutions what those of the same label have.
func likeFirst(g, first *ir.Graph) {
	tiles := map[string]int{}
	for _, n := range first.Nodes {
		if n.Op.Name == "convolution" {
			tiles[n.Label()] = n.Int("winograd")
		}
	}
	for _, n := range g.Nodes {
		if passes.CanWinograd(n) {
			passes.SetWinograd(n, tiles[n.Label()])
		}
	}
}
