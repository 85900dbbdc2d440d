package evaluate

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
	"github.com/nasc-dev/nasc/search"
	"github.com/nasc-dev/nasc/search/morph"
)

// inherit puts the parent's weights into the trial's network, through the
// proposal's edits, and proves that the function stayed where they promise it.
func (e *Evaluator) inherit(ctx context.Context, t *search.Trial, net *ir.Graph, o *search.Outcome) error {
	p := t.ParentTrial
	if p == nil {
		return fmt.Errorf("BUG: trial %d comes without its parent %d", t.ID, t.Parent)
	}
	if p.Fault != "" {
		return fault{&diag.Error{Place: fmt.Sprintf("trial %d", p.ID), Found: "no weights to inherit: " + p.Fault}}
	}
	base, err := e.Network(p)
	if err != nil {
		return err
	}
	if len(t.Edits) == 0 {
		if !slices.Equal(t.Genotype, p.Genotype) {
			return fault{&diag.Error{Place: fmt.Sprintf("trial %d", t.ID), Found: "another genotype than its parent's, and no edits", Wanted: "the passes that lead to it"}}
		}
		_, err := morph.Fit(ctx, base, net)
		return asFault(err)
	}
	want, err := e.run(ctx, base, base.Outputs)
	if err != nil {
		return fault{err}
	}
	top := largest(want[0], nil)
	o.MaxOut = top
	work := base.Clone()
	proven := true
	judge := func(edit string, g *ir.Graph) error {
		got, err := e.run(ctx, g, g.Outputs)
		if err != nil {
			return fault{err}
		}
		d := largest(want[0], got[0])
		o.Delta = max(o.Delta, d)
		if e.Edited != nil {
			e.Edited(t, edit, d, top)
		}
		if !(d <= passes.KeptTolerance*max(1, top)) {
			return fault{&diag.Error{Place: edit, Found: fmt.Sprintf("outputs change by %.3g where the greatest is %.3g", d, top), Wanted: fmt.Sprintf("%g of it or less", passes.KeptTolerance)}}
		}
		return nil
	}
	for i, edit := range t.Edits {
		keeps, err := morph.Edit(ctx, work, edit)
		if err != nil {
			return fault{err}
		}
		if proven = proven && keeps; !proven {
			continue
		}
		if i < len(t.Edits)-1 {
			if err := judge(edit, work); err != nil {
				return err
			}
		}
	}
	if err := e.fit(ctx, work, net); err != nil {
		return err
	}
	if proven { // the last edit, and that the weights came into the right places
		if err := judge(t.Edits[len(t.Edits)-1], net); err != nil {
			return err
		}
	}
	if e.Noise == 0 {
		return nil
	}
	noisy := base.Clone()
	for i, edit := range t.Edits {
		list, err := passes.Parse(edit)
		if err != nil {
			return fault{err}
		}
		for k, p := range list {
			if slices.Contains(p.Takes, "noise") && p.Args["noise"] == "" {
				a := maps.Clone(p.Args)
				if a == nil {
					a = passes.Args{}
				}
				a["noise"] = strconv.FormatFloat(e.Noise, 'g', -1, 64)
				a["seed"] = strconv.FormatUint(t.Seed%(1<<31)+uint64(i*len(list)+k), 10)
				list[k].Args = a
			}
		}
		if _, err := morph.Apply(ctx, noisy, edit, list); err != nil {
			return fault{err}
		}
	}
	return e.fit(ctx, noisy, net)
}

func asFault(err error) error {
	if err == nil {
		return nil
	}
	return fault{err}
}

// fit puts an edited network's weights into the genotype's, and gives batch
// norms that an edit put in the moments of the data, so that they change
// nothing in training either.
func (e *Evaluator) fit(ctx context.Context, edited, net *ir.Graph) error {
	fresh, err := morph.Fit(ctx, edited, net)
	if err != nil || len(fresh) == 0 {
		return asFault(err)
	}
	var at []*ir.Value
	for _, n := range fresh {
		at = append(at, n.Inputs[0])
	}
	out, err := e.run(ctx, net, at)
	if err != nil {
		return fault{err}
	}
	for i, n := range fresh {
		neutralize(n, out[i])
	}
	return nil
}

// neutralize gives a batch norm the moments of what it is given, and the scale
// and bias that undo it.
func neutralize(n *ir.Node, x *ir.Tensor) {
	scale, bias, mean, variance := n.Inputs[1].Const, n.Inputs[2].Const, n.Inputs[3].Const, n.Inputs[4].Const
	c := mean.Len()
	rows := float64(x.Len() / c)
	for k := range c {
		var sum, squares float64
		for i := k; i < x.Len(); i += c {
			sum += x.At(i)
			squares += x.At(i) * x.At(i)
		}
		m := sum / rows
		mean.Set(k, m)
		bias.Set(k, mean.At(k))
		variance.Set(k, max(0, squares/rows-m*m))
		scale.Set(k, math.Sqrt(variance.At(k)+n.Float("epsilon")))
	}
}

// run computes values of a network for the inputs that functions are compared
// on.
func (e *Evaluator) run(ctx context.Context, g *ir.Graph, at []*ir.Value) ([]*ir.Tensor, error) {
	c, m := g.CloneMap()
	c.Outputs = nil
	for _, v := range at {
		c.Outputs = append(c.Outputs, m[v])
	}
	c.RemoveDead()
	s, err := ir.Specialize(c, e.proof[0].Shape[0])
	if err != nil {
		return nil, err
	}
	exe, err := cpu.F32().Compile(s, backends.Options{Threads: e.Threads})
	if err != nil {
		return nil, err
	}
	out := backends.NewOutputs(s)
	if err := exe.Run(ctx, e.proof, out); err != nil {
		_ = exe.Close()
		return nil, err
	}
	return out, exe.Close()
}

// largest is the greatest |a − b|, of a alone where b is nil.
func largest(a, b *ir.Tensor) float64 {
	top := 0.0
	for i := range a.Len() {
		v := a.At(i)
		if b != nil {
			v -= b.At(i)
		}
		if v != v {
			return math.Inf(1)
		}
		top = max(top, math.Abs(v))
	}
	return top
}
