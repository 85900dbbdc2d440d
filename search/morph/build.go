package morph

import (
	"context"
	"fmt"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Build gives the network of a genotype, with random weights, in the form in
// which networks are trained.
func Build(ctx context.Context, s *arch.Space, g arch.Genotype) (*ir.Graph, *arch.Info, error) {
	text, err := s.Instance(g)
	if err != nil {
		return nil, nil, err
	}
	raw, info, err := arch.Parse("network "+g.String(), []byte(text), nil)
	if err != nil {
		return nil, nil, err
	}
	net, err := trainable(ctx, raw)
	return net, info, err
}

func trainable(ctx context.Context, g *ir.Graph) (*ir.Graph, error) {
	return nasc.Trainable(ctx, &nasc.Model{Module: &ir.Module{Graphs: []*ir.Graph{g}}})
}

// Edit carries out an edit: passes in the syntax of nasc opt, without checking
// the function. Nodes that come without a name get added1, added2, …, so that
// later edits can speak of them. keeps says that every pass promises to keep
// the function.
func Edit(ctx context.Context, g *ir.Graph, edit string) (keeps bool, err error) {
	list, err := passes.Parse(edit)
	if err != nil {
		return false, err
	}
	return Apply(ctx, g, edit, list)
}

// Apply is Edit for passes that are read already.
func Apply(ctx context.Context, g *ir.Graph, edit string, list []passes.Pass) (keeps bool, err error) {
	keeps = true
	for _, p := range list {
		keeps = keeps && p.Promise != passes.Changes
		steps, err := passes.Run(ctx, g, []passes.Pass{p}, passes.Options{Unchecked: true})
		if err != nil {
			return false, err
		}
		if !steps[0].Changed {
			return false, &diag.Error{Place: edit, Found: p.Name + " changed nothing", Wanted: "a place that it takes"}
		}
		Name(g)
	}
	return keeps, nil
}

// Name gives every node that has none its name.
func Name(g *ir.Graph) {
	taken := map[string]bool{}
	for _, n := range g.Nodes {
		taken[n.Name] = true
	}
	k := 1
	for _, n := range g.Nodes {
		if n.Name != "" {
			continue
		}
		for taken[fmt.Sprintf("added%d", k)] {
			k++
		}
		n.Name = fmt.Sprintf("added%d", k)
		taken[n.Name] = true
	}
}

// Fit puts the weights of an edited network into the network of a genotype,
// which must have its structure. fresh are the batch norms that an edit put in:
// their statistics are any, and may be measured.
func Fit(ctx context.Context, edited, network *ir.Graph) (fresh []*ir.Node, err error) {
	have, err := trainable(ctx, edited)
	if err != nil {
		return nil, err
	}
	p, err := match(have, network)
	if err != nil {
		return nil, &diag.Error{Place: "edits", Found: "another network than the genotype's", Wanted: "its structure", Err: err}
	}
	return p.take(network), nil
}
