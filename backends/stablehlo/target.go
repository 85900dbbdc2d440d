package stablehlo

import (
	"context"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// Target is xla-cpu-int8: quantized graphs as integer StableHLO on XLA's CPU
// backend. Float islands run as XLA computes them, within a tolerance; the
// rest gives the reference's bits (see IntegerPart).
type Target struct{}

// Name is the target's name.
func (Target) Name() string { return "xla-cpu-int8" }

// Doc is one line about it.
func (Target) Doc() string { return "integer StableHLO on XLA's CPU backend, through go-xla" }

// Available says why XLA cannot run here.
func (Target) Available() error { return available() }

// Compile writes the module and has XLA compile it. The ISA is XLA's own choice;
// asking for one is refused.
func (t Target) Compile(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	if o.ISA != "" {
		return nil, &diag.Error{Place: t.Name() + "@" + o.ISA, Found: "an ISA", Wanted: "none: XLA chooses its own"}
	}
	if err := backends.CheckStatic(g); err != nil {
		return nil, err
	}
	if err := available(); err != nil {
		return nil, err
	}
	text, err := Write(g)
	if err != nil {
		return nil, err
	}
	p, err := compile(text, g, o.Threads)
	if err != nil {
		return nil, diag.At(t.Name(), err)
	}
	return &executable{g: g, p: p}, nil
}

type executable struct {
	g *ir.Graph
	p *program
}

func (e *executable) Run(ctx context.Context, in, out []*ir.Tensor) error {
	if err := backends.CheckTensors("input", e.g.Inputs, in); err != nil {
		return err
	}
	if err := backends.CheckTensors("output", e.g.Outputs, out); err != nil {
		return err
	}
	return e.p.Run(ctx, in, out)
}

func (e *executable) Close() error { return e.p.Close() }

// IntegerPart is the graph of g's nodes whose results are exact on every
// target: quantized ops and movement. Its inputs are g's inputs and the float
// islands' results that these nodes read, its outputs what they hand to the
// islands or to the caller. Fed the reference's values it must give the
// reference's bits. inputs and outputs are the values of g that they stand
// for; nil, nil, nil where g has no such node.
func IntegerPart(g *ir.Graph) (part *ir.Graph, inputs, outputs []*ir.Value) {
	c, fromOld := g.CloneMap()
	toOld := make(map[*ir.Value]*ir.Value, len(fromOld))
	for old, v := range fromOld {
		toOld[v] = old
	}
	part = ir.NewGraph(g.Name)
	renamed := map[*ir.Value]*ir.Value{}
	used := c.Uses()
	inside := map[*ir.Node]bool{}
	for _, n := range c.Nodes {
		inside[n] = exact(n)
	}
	for _, n := range c.Nodes {
		if !inside[n] {
			continue
		}
		for i, v := range n.Inputs {
			if v == nil || v.Const != nil || v.Def != nil && inside[v.Def] {
				continue
			}
			if renamed[v] == nil {
				renamed[v] = part.Input(v.Name, v.Type)
				inputs = append(inputs, toOld[v])
			}
			n.Inputs[i] = renamed[v]
		}
		part.Nodes = append(part.Nodes, n)
		for _, v := range n.Outputs {
			for _, u := range used[v] {
				if u.Node == nil || !inside[u.Node] {
					part.Outputs = append(part.Outputs, v)
					outputs = append(outputs, toOld[v])
					break
				}
			}
		}
	}
	if len(part.Nodes) == 0 || len(part.Outputs) == 0 {
		return nil, nil, nil
	}
	return part, inputs, outputs
}

// exact says whether a node's results are the same bits everywhere.
func exact(n *ir.Node) bool {
	switch n.Op.Class {
	case ir.Quantized:
		// XLA may take a row's scale in another order, and so another level.
		return quantizedOps[n.Op.Name] != nil && n.Op.Name != "dynamic_dot"
	case ir.Movement:
		return n.Op.Name != "resize" || n.Str("mode") == "nearest"
	}
	return n.Op.Name == "max_pool" && n.Inputs[0].Type.DType.Is8Bit()
}
