package latency

import (
	"slices"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// ByBlocks are the targets whose compilers fuse as they like and show no steps:
// their networks are profiled and predicted by blocks, each an op with what is
// computed elementwise from it, compiled and timed alone.
var ByBlocks = []string{"xla-cpu"}

// Steps lists what a compiled graph's time is the sum of: its plan where the
// executable shows one, blocks where the target is one of ByBlocks.
func Steps(e backends.Executable, g *ir.Graph, target string) ([]backends.Step, error) {
	if p, ok := e.(backends.Planned); ok {
		return p.Steps(), nil
	}
	base, _ := backends.SplitName(target)
	if !slices.Contains(ByBlocks, base) {
		return nil, &diag.Error{Place: "target " + target, Found: "it shows no steps of its own", Wanted: "cpu-int8 or cpu-f32, or xla-cpu, which is taken by blocks"}
	}
	return blocks(g, base), nil
}

// blocks cuts a graph: an elementwise node goes with the node that its first
// operand comes from, where nothing else wants that.
func blocks(g *ir.Graph, kernel string) []backends.Step {
	uses := map[*ir.Value]int{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			uses[v]++
		}
	}
	for _, v := range g.Outputs {
		uses[v] += 2 // a result is wanted by the caller, too
	}
	at := map[*ir.Node]int{} // block by node
	var out [][]*ir.Node
	for _, n := range g.Nodes {
		b := len(out)
		if n.Op.Class == ir.Unary || n.Op.Class == ir.Binary {
			for _, v := range n.Inputs {
				if v != nil && v.Def != nil && len(v.Def.Outputs) == 1 && uses[v] == 1 && v.Type.Shape.Equal(n.Out().Type.Shape) {
					b = at[v.Def]
					break
				}
			}
		}
		at[n] = b
		if b == len(out) {
			out = append(out, nil)
		}
		out[b] = append(out[b], n)
	}
	steps := make([]backends.Step, len(out))
	for i, nodes := range out {
		steps[i] = blockStep(nodes, kernel)
	}
	return steps
}

func blockStep(nodes []*ir.Node, kernel string) backends.Step {
	s := backends.Step{Nodes: nodes, Label: nodes[0].Label(), Kernel: kernel}
	var weights int64
	for i, n := range nodes {
		if i > 0 {
			s.Op += "+"
		}
		s.Op += n.Op.Name
		s.MACs += n.Op.MACs(n)
		for _, v := range n.Inputs {
			switch {
			case v == nil:
			case v.IsConst():
				weights += int64(len(v.Const.RawBytes()))
			case v.Def == nil || !slices.Contains(nodes, v.Def):
				s.In = append(s.In, v.Type)
			}
		}
	}
	for _, v := range nodes[len(nodes)-1].Outputs {
		s.Out = append(s.Out, v.Type)
	}
	s.Bytes = weights + typesBytes(s.In) + typesBytes(s.Out)
	return s
}

func typesBytes(ts []ir.Type) (n int64) {
	for _, t := range ts {
		n += int64(t.Shape.Elems()) * int64(t.DType.Size())
	}
	return n
}

// blockGraph is a block as a graph of its own.
func blockGraph(s backends.Step) (*ir.Graph, error) {
	b := ir.NewBuilder("block")
	values := map[*ir.Value]*ir.Value{}
	var last []*ir.Value
	for _, n := range s.Nodes {
		in := make([]*ir.Value, len(n.Inputs))
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			if values[v] == nil {
				if v.IsConst() {
					values[v] = b.QConst(b.G.UniqueConst(v.Name), v.Const, v.Type.Quant)
				} else {
					values[v] = b.Input(b.G.Unique("x"), v.Type)
				}
			}
			in[i] = values[v]
		}
		last = b.Multi(n.Op.Name, n.Label(), n.Attrs, in...)
		if b.Err() != nil {
			return nil, b.Err()
		}
		for i, v := range n.Outputs {
			values[v] = last[i]
		}
	}
	return b.Graph(last...)
}
