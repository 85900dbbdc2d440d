package passes

import (
	"context"
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// dropBlock removes a residual block: what is added to a shortcut.
//
//	%r = convolution %x @w
//	%y = add %r %x   →   %x
//
// It changes the function. The addition is the place; one operand must lead to
// the other.
func dropBlock(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(_ *editor, n *ir.Node) (*ir.Value, error) { return shortcut(g, n), nil })
}

// shortcut gives the operand of an addition that the other one is computed
// from, of the same type; nil where there is none.
func shortcut(g *ir.Graph, n *ir.Node) *ir.Value {
	if n.Op.Name != "add" {
		return nil
	}
	for i, x := range n.Inputs {
		y := n.Inputs[1-i]
		if x == y || x.IsConst() || y.Def == nil || !x.Type.Equal(n.Out().Type) {
			continue
		}
		if leads(x, y, map[*ir.Value]bool{}) && !isOutput(g, n.Out(), x) {
			return x
		}
	}
	return nil
}

// isOutput says whether dropping the node would make an input of the network
// its output.
func isOutput(g *ir.Graph, v, x *ir.Value) bool {
	for _, o := range g.Outputs {
		if o == v && x.Def == nil {
			return true
		}
	}
	return false
}

func leads(x, y *ir.Value, seen map[*ir.Value]bool) bool {
	if x == y {
		return true
	}
	if seen[y] || y.Def == nil {
		return false
	}
	seen[y] = true
	for _, v := range y.Def.Inputs {
		if v != nil && leads(x, v, seen) {
			return true
		}
	}
	return false
}

// dropBlocks removes the residual blocks whose removal changes the outputs
// least, one after the other, and gives their names.
func dropBlocks(ctx context.Context, g *ir.Graph, o PruneOptions) ([]string, error) {
	in := o.Samples
	first, err := ir.Specialize(g, 1)
	if err != nil {
		return nil, err
	}
	if len(in) == 0 {
		in = [][]*ir.Tensor{RandomInputs(first, o.Seed), RandomInputs(first, o.Seed+1)}
	}
	want, err := runAll(ctx, o.Run, first, in)
	if err != nil {
		return nil, err
	}
	var dropped []string
	for len(dropped) < o.Blocks {
		best, least := "", math.Inf(1)
		for k, n := range g.Nodes {
			o.Progress(fmt.Sprintf("block %d of %d", len(dropped)+1, o.Blocks), k+1, len(g.Nodes))
			if shortcut(g, n) == nil {
				continue
			}
			c := g.Clone()
			if ok, err := dropBlock(c, Args{"node": c.Nodes[k].Out().Name}); err != nil || !ok {
				continue
			}
			c.RemoveDead()
			if c, err = ir.Specialize(c, 1); err != nil {
				return nil, err
			}
			got, err := runAll(ctx, o.Run, c, in)
			if err != nil {
				return nil, err
			}
			d := 0.0
			for i, t := range want {
				for j := range t.Len() {
					e := t.At(j) - got[i].At(j)
					d += e * e
				}
			}
			if d < least {
				best, least = n.Out().Name, d
			}
		}
		if best == "" {
			return nil, &diag.Error{Place: "--blocks", Found: fmt.Sprint(o.Blocks), Wanted: fmt.Sprintf("%d or fewer: no more residual blocks can go", len(dropped))}
		}
		if _, err := dropBlock(g, Args{"node": best}); err != nil {
			return nil, err
		}
		g.RemoveDead()
		dropped = append(dropped, best)
	}
	return dropped, nil
}

// runAll gives the outputs for all inputs, one after the other.
func runAll(ctx context.Context, on Runner, g *ir.Graph, in [][]*ir.Tensor) ([]*ir.Tensor, error) {
	run, free, err := on(g)
	if err != nil {
		return nil, err
	}
	if free != nil {
		defer free()
	}
	var out []*ir.Tensor
	for _, x := range in {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		y, err := run(x)
		if err != nil {
			return nil, err
		}
		out = append(out, y...)
	}
	return out, nil
}
