package nasc

import (
	"context"
	"strings"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/quant"
)

// Synthetic makes a network of an architecture's text ready for a target of
// nasc's own engine, as compile with --calib synthetic does but for the least
// effort: good for timing, accuracy means nothing. The graph is static.
func Synthetic(ctx context.Context, name, text, target string, batch int) (*ir.Graph, error) {
	g, _, err := arch.Parse(name, []byte(text), nil)
	if err != nil {
		return nil, err
	}
	return SyntheticGraph(ctx, g, target, batch)
}

// SyntheticGraph is Synthetic from a float graph, which it changes.
func SyntheticGraph(ctx context.Context, g *ir.Graph, target string, batch int) (*ir.Graph, error) {
	if _, err := passes.Canonicalize(ctx, g, passes.Options{}); err != nil {
		return nil, err
	}
	if base, _ := backends.SplitName(target); strings.HasSuffix(base, "int8") {
		f, err := RandomFeed(g, 1, 1)
		if err != nil {
			return nil, err
		}
		q, _, err := passes.Quantize(g, passes.QuantizeOptions{
			Calib: f, Method: quant.MinMax, Rounding: passes.Nearest, NoEqualize: true, NoCorrection: true, Run: Runner(ctx, 2), Progress: func(string, int, int) {},
		})
		if err != nil {
			return nil, err
		}
		if _, err := passes.Run(ctx, q, afterQuantize, passes.Options{}); err != nil {
			return nil, err
		}
		g = q
	}
	g.TidyNames()
	return ir.Specialize(g, batch)
}
