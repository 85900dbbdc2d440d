package passes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes/coupling"
)

// KeptTolerance is what Keeps promises: |Δ| relative to max(1, max |output|).
const KeptTolerance = 1e-5

// Grown is what a pass that keeps the function while it changes the network
// did: where, and where not and why.
type Grown struct {
	Places  []string // names of nodes
	Refused []Refusal
	// Copied are the elements that are copies of others, for noise.
	Copied []coupling.Copied
	// Norms are batch norms that were added so that they change nothing, whatever
	// their statistics.
	Norms []*ir.Node
	// Adapt turns inputs of the new graph into the old one's, where they differ.
	Adapt func(in []*ir.Tensor) ([]*ir.Tensor, error)
}

// Refusal is a place that a transform cannot take.
type Refusal struct{ Node, Reason string }

// growing offers nodes to a transform that changes one place at a time.
type growing struct {
	*editor
	args  Args
	grown *Grown
}

// sites offers every node that a allows to f, which changes the graph there, or
// says why it cannot, or (with neither) that the node is no place of its kind.
func sites(g *ir.Graph, a Args, f func(e *growing, n *ir.Node) (done bool, why string, err error)) (*Grown, error) {
	e := &growing{edit(g), a, &Grown{}}
	for _, n := range slices.Clone(g.Nodes) {
		if !a.takes(n) || len(n.Outputs) != 1 || len(e.uses[n.Out()]) == 0 {
			continue
		}
		label := n.Label()
		done, why, err := f(e, n)
		switch {
		case err != nil:
			return nil, diag.At(n.Op.Name+" "+strconv.Quote(label), err)
		case done:
			e.grown.Places = append(e.grown.Places, label)
			if err := g.Sort(); err != nil {
				return nil, err
			}
			e.uses = g.Uses()
		case why != "":
			e.grown.Refused = append(e.grown.Refused, Refusal{label, why})
		}
	}
	return e.grown, e.grown.named(a)
}

// convSites is sites of the convolutions whose weights are constant.
func convSites(g *ir.Graph, a Args, f func(e *growing, n *ir.Node, win ir.Window) (done bool, why string, err error)) (*Grown, error) {
	return sites(g, a, func(e *growing, n *ir.Node) (bool, string, error) {
		if n.Op.Name != "convolution" {
			return false, "", nil
		}
		if !n.Inputs[1].IsConst() {
			return false, "its weights are computed", nil
		}
		win, err := ir.WindowOf(n)
		if err != nil {
			return false, "", err
		}
		return f(e, n, win)
	})
}

// named makes an error of a refusal of the one place that was asked for.
func (w *Grown) named(a Args) error {
	name, ok := a["node"]
	if !ok || len(w.Places) > 0 {
		return nil
	}
	for _, r := range w.Refused {
		return &diag.Error{Place: "node=" + name, Found: r.Reason, Wanted: "a place where the function stays"}
	}
	return &diag.Error{Place: "node=" + name, Found: "no place of this kind", Wanted: "a node that the pass takes; without node= it takes every place it can"}
}

// after puts what build makes of v in v's place, for the readers that v has
// now.
func (e *growing) after(v *ir.Value, build func(v *ir.Value) (*ir.Value, error)) error {
	readers := slices.Clone(e.uses[v])
	w, err := build(v)
	if err != nil {
		return err
	}
	for _, u := range readers {
		if u.Node != nil {
			u.Node.Inputs[u.Index] = w
			continue
		}
		e.g.Outputs[u.Index] = w
	}
	if slices.Contains(e.g.Outputs, w) { // outputs keep their names
		name := v.Name
		e.g.Rename(v, name+".inner")
		e.g.Rename(w, name)
	}
	return nil
}

// add is the editor's, without the name of the node that it comes from: names
// say which node is meant.
func (e *growing) add(from *ir.Node, op string, attrs ir.Attrs, in ...*ir.Value) (*ir.Value, error) {
	v, err := e.editor.add(from, op, attrs, in...)
	if err == nil {
		v.Def.Name = ""
	}
	return v, err
}

// reader is the one reader of v; nil where there are more, or v is an output.
func (e *growing) reader(v *ir.Value) *ir.Node {
	if u := e.uses[v]; len(u) == 1 {
		return u[0].Node
	}
	return nil
}

// whole reads a whole number among the arguments.
func (a Args) whole(name string, def, least int) (int, error) {
	s, ok := a[name]
	if !ok {
		return def, nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || k < least {
		return 0, &diag.Error{Place: name + "=" + s, Found: "not a whole number", Wanted: fmt.Sprintf("%d or more", least)}
	}
	return k, nil
}

// number reads a number greater than above among the arguments.
func (a Args) number(name string, def, above float64) (float64, error) {
	s, ok := a[name]
	if !ok {
		return def, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > above) || f > 1e6 {
		return 0, &diag.Error{Place: name + "=" + s, Found: "not such a number", Wanted: fmt.Sprintf("more than %g", above)}
	}
	return f, nil
}

// grow runs a transform, checks that the function stayed, and then adds noise
// where that was asked for.
func (p Pass) grow(ctx context.Context, g, before *ir.Graph, o Options) (*Grown, float64, error) {
	noise, err := p.Args.number("noise", 0, 0)
	if err != nil {
		return nil, -1, err
	}
	seed, err := p.Args.whole("seed", 1, 0)
	if err != nil {
		return nil, -1, err
	}
	grown, err := p.Grow(g, p.Args)
	if err != nil || len(grown.Places) == 0 {
		return grown, -1, err
	}
	g.RemoveDead()
	g.TidyNames()
	if err := g.Verify(); err != nil {
		return grown, -1, diag.At("left a bad graph", err)
	}
	if len(o.Inputs) > 0 && len(grown.Norms) > 0 {
		// On data they get the statistics that training finds.
		if err := renormalize(ctx, g, grown.Norms, o.Inputs); err != nil {
			return grown, -1, err
		}
	}
	worst := -1.0
	if !o.Unchecked {
		if worst, err = validateOn(ctx, before, g, p.Promise, grown.Adapt, o.Inputs, o.progress("check "+p.Name)); err != nil {
			return grown, worst, err
		}
	}
	if noise > 0 {
		for _, c := range grown.Copied {
			addNoise(c, noise, uint64(seed))
		}
	}
	return grown, worst, nil
}

// addNoise disturbs the elements that are copies by noise times the standard
// deviation of the whole.
func addNoise(c coupling.Copied, noise float64, seed uint64) {
	t := c.Const.Const
	if !t.DType.IsFloat() || len(t.Shape) < 2 {
		return
	}
	r := rand.New(rand.NewPCG(seed, uint64(t.Len())))
	sd := deviation(t)
	for _, i := range c.Elements {
		t.Set(i, t.At(i)+noise*sd*r.NormFloat64())
	}
}
