package coupling

import (
	"fmt"
	"maps"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// rewriting is a plan being carried out: what it will change is collected
// first, so that a graph is changed whole or not at all.
type rewriting struct {
	a       *Analysis
	plan    Plan
	orders  map[*ir.Value][][]slot
	known   map[*ir.Value][]bool
	attrs   map[*ir.Node]ir.Attrs
	inputs  map[*ir.Node]map[int]*ir.Tensor
	gathers map[*ir.Node]gathered
	err     error
}

// gathered takes the place of a shuffle.
type gathered struct {
	x    *ir.Value
	axis int
	idx  *ir.Tensor
}

// Copied are constants that got copies of channels which make values, with the
// elements that are copies: what noise may be added to.
type Copied struct {
	Const    *ir.Value
	Elements []int
}

// Rewrite carries out a plan on the graph that was analyzed, in place; the
// analysis must not be used afterwards. An error names the node that cannot
// follow, and the graph is then as it was.
func (a *Analysis) Rewrite(p Plan) ([]Copied, error) {
	r, err := a.prepare(p)
	if err != nil {
		return nil, err
	}
	copied := r.constants()
	return copied, r.commit()
}

// Check says why a plan cannot be carried out, or nil.
func (a *Analysis) Check(p Plan) error {
	_, err := a.prepare(p)
	return err
}

// prepare finds all that a plan changes besides constants.
func (a *Analysis) prepare(p Plan) (*rewriting, error) {
	if err := a.check(p); err != nil {
		return nil, err
	}
	r := &rewriting{
		a: a, plan: p, orders: map[*ir.Value][][]slot{}, known: map[*ir.Value][]bool{}, attrs: map[*ir.Node]ir.Attrs{},
		inputs: map[*ir.Node]map[int]*ir.Tensor{}, gathers: map[*ir.Node]gathered{},
	}
	for _, n := range a.g.Nodes {
		rule := ruleOf(n)
		if rule.fit != nil {
			if err := rule.fit(r, n); err != nil {
				return nil, &diag.Error{Place: n.Op.Name + " " + n.Label(), Err: err}
			}
		}
		for _, v := range append(n.Inputs[:len(n.Inputs):len(n.Inputs)], n.Outputs...) {
			if v == nil {
				continue
			}
			for i := range v.Type.Shape {
				if r.order(v, i) != nil && r.extent(v, i) == 0 {
					return nil, &diag.Error{Place: n.Op.Name + " " + n.Label(), Found: "a plan that leaves nothing of " + v.String(), Wanted: "one channel or more"}
				}
			}
		}
		if r.err != nil {
			return nil, &diag.Error{Place: n.Op.Name + " " + n.Label(), Err: r.err}
		}
	}
	return r, nil
}

// check refuses a plan that touches what is fixed, or copies what may not be.
func (a *Analysis) check(p Plan) error {
	for u, k := range p.Copies {
		if why := a.fixed[u]; why != "" && k != 1 {
			return &diag.Error{Found: why, Wanted: "channels that can change"}
		}
		if why := a.single[u]; why != "" && k > 1 {
			return &diag.Error{Found: why, Wanted: "channels that can be copied"}
		}
	}
	for u := range p.Place {
		if why := a.fixed[u]; why != "" && p.Place[u] != u {
			return &diag.Error{Found: why, Wanted: "channels that can change"}
		}
	}
	return a.checkEven(p)
}

// checkEven refuses copies of some channels where all are needed.
func (a *Analysis) checkEven(p Plan) error {
	for _, e := range a.even {
		least, most := -1, 0
		for _, id := range e.ids {
			k, ok := p.Copies[a.unit.find(id)]
			if !ok {
				k = 1
			}
			if k == 0 {
				continue // removed: another mean, as pruning goes
			}
			if least < 0 || k < least {
				least = k
			}
			most = max(most, k)
		}
		if least >= 0 && most > 1 && least != most {
			return &diag.Error{Found: e.why, Wanted: "a whole factor"}
		}
	}
	return nil
}

func (r *rewriting) setAttr(n *ir.Node, name string, v any) {
	if r.attrs[n] == nil {
		r.attrs[n] = ir.Attrs{}
	}
	r.attrs[n][name] = v
}

func (r *rewriting) setInput(n *ir.Node, at int, t *ir.Tensor) {
	if r.inputs[n] == nil {
		r.inputs[n] = map[int]*ir.Tensor{}
	}
	r.inputs[n][at] = t
}

// last is the order of a value's last axis.
func (r *rewriting) last(v *ir.Value) []slot { return r.order(v, len(v.Type.Shape)-1) }

// extent is what an axis will have.
func (r *rewriting) extent(v *ir.Value, at int) int {
	if o := r.order(v, at); o != nil {
		return len(o)
	}
	return v.Type.Shape[at]
}

// order gives the positions of an axis as they will be; nil: as they are.
func (r *rewriting) order(v *ir.Value, at int) []slot {
	if r.known[v] == nil {
		r.known[v], r.orders[v] = make([]bool, len(v.Type.Shape)), make([][]slot, len(v.Type.Shape))
	}
	if !r.known[v][at] {
		r.known[v][at] = true
		r.orders[v][at] = r.makeOrder(r.a.of(v)[at])
	}
	return r.orders[v][at]
}

func (r *rewriting) makeOrder(x axis) []slot {
	ids := x.ids
	touched := false
	units := make([]Unit, len(ids))
	for i, id := range ids {
		u := r.a.unit.find(id)
		units[i] = u
		if k, ok := r.plan.Copies[u]; ok && k != 1 {
			touched = true
		} else if to, ok := r.plan.Place[u]; ok && to != u {
			touched = true
		}
	}
	switch {
	case !touched:
		return nil
	case r.plan.Place != nil:
		return r.placed(ids, units)
	}
	out := []slot{}
	for i := 0; i < len(ids); {
		k, ok := r.plan.Copies[units[i]]
		if !ok {
			k = 1
		}
		j := i + 1
		if k > 1 { // copies follow a whole run of the unit's channels
			seen := map[atom]bool{r.a.same.find(ids[i]): true}
			for j < len(ids) && units[j] == units[i] && !seen[r.a.same.find(ids[j])] {
				seen[r.a.same.find(ids[j])] = true
				j++
			}
		}
		for c := range k {
			for p := i; p < j; p++ {
				out = append(out, slot{int32(p), int32(c)})
			}
		}
		i = j
	}
	return out
}

// placed permutes the channels of each round: a stretch in which no channel
// comes twice.
func (r *rewriting) placed(ids []atom, units []Unit) []slot {
	out := make([]slot, 0, len(ids))
	for i := 0; i < len(ids); {
		seen := map[atom]bool{}
		at := map[Unit][]int32{}
		j := i
		for ; j < len(ids) && !seen[r.a.same.find(ids[j])]; j++ {
			seen[r.a.same.find(ids[j])] = true
			at[units[j]] = append(at[units[j]], int32(j))
		}
		next := map[Unit]int{}
		for p := i; p < j; p++ {
			u := units[p]
			to, ok := r.plan.Place[u]
			if !ok {
				to = u
			}
			if len(at[to]) != len(at[u]) {
				r.err = fmt.Errorf("the channels to be moved do not all lie beside each other there")
				return identity(len(ids))
			}
			out = append(out, slot{pos: at[to][next[u]]})
			next[u]++
		}
		i = j
	}
	return out
}

// constants makes the constants of every node anew where an axis changes.
func (r *rewriting) constants() []Copied {
	type key struct {
		v      *ir.Value
		shared int
	}
	made := map[key]*ir.Value{}
	var copied []Copied
	for _, n := range r.a.g.Nodes {
		for i, v := range n.Inputs {
			if !v.IsConst() || r.inputs[n][i] != nil {
				continue
			}
			changed := false
			for k := range v.Type.Shape {
				changed = changed || r.order(v, k) != nil
			}
			if !changed {
				continue
			}
			over := -1
			if c := ruleOf(n).contracts; c != nil {
				for _, p := range c(n) {
					if p.at == i {
						over = p.axis
					}
				}
			}
			w, ok := made[key{v, over}]
			if !ok {
				t, elems := r.remake(v, over)
				w = r.a.g.Const(v.Name, t)
				made[key{v, over}] = w
				if len(elems) > 0 {
					copied = append(copied, Copied{w, elems})
				}
			}
			n.Inputs[i] = w
		}
	}
	return copied
}

// remake selects and copies a constant's elements along all axes; copies along
// axis over share the weight. Elements that are copies on another axis are
// listed.
func (r *rewriting) remake(v *ir.Value, over int) (*ir.Tensor, []int) {
	old := v.Type.Shape
	shape := make([]int, len(old))
	orders := make([][]slot, len(old))
	shares := make([][]float64, len(old))
	for k := range old {
		if orders[k] = r.order(v, k); orders[k] == nil {
			orders[k] = identity(old[k])
		}
		shape[k] = len(orders[k])
	}
	if over >= 0 {
		ids := r.a.of(v)[over].ids
		for _, s := range orders[over] {
			share := 1.0
			if k := r.plan.Copies[r.a.unit.find(ids[s.pos])]; k > 1 {
				share = Shares(k)[s.copy]
			}
			shares[over] = append(shares[over], share)
		}
	}
	t := ir.NewTensor(v.Const.DType, shape...)
	steps := make([]int, len(old))
	step := 1
	for k := len(old) - 1; k >= 0; k-- {
		steps[k] = step
		step *= old[k]
	}
	var elems []int
	at := make([]int, len(old))
	for i := range t.Len() {
		from, share, isCopy := 0, 1.0, false
		for k, p := range at {
			s := orders[k][p]
			from += int(s.pos) * steps[k]
			if k == over {
				share = shares[k][p]
			} else if s.copy > 0 {
				isCopy = true
			}
		}
		switch d := t.Data.(type) {
		case []int64:
			d[i] = v.Const.I64()[from]
		default:
			t.Set(i, v.Const.At(from)*share)
		}
		if isCopy {
			elems = append(elems, i)
		}
		for k := len(at) - 1; k >= 0; k-- {
			if at[k]++; at[k] < shape[k] {
				break
			}
			at[k] = 0
		}
	}
	return t, elems
}

// commit writes attributes and infers all types anew.
func (r *rewriting) commit() error {
	g := r.a.g
	for n, in := range r.inputs {
		for i, t := range in {
			n.Inputs[i] = g.Const(n.Inputs[i].Name, t)
		}
	}
	for n, attrs := range r.attrs {
		n.Attrs = maps.Clone(n.Attrs)
		for name, v := range attrs {
			n.SetAttr(name, v)
		}
	}
	for n, s := range r.gathers {
		n.Op, n.Attrs = ir.LookupOp("gather"), ir.Attrs{"axis": s.axis}
		n.Inputs = []*ir.Value{s.x, g.Const(n.Out().Name+".order", s.idx)}
	}
	if len(r.gathers) > 0 {
		g.RemoveDead()
	}
	if err := g.InferAll(); err != nil {
		return fmt.Errorf("BUG: coupling: %w", err)
	}
	return nil
}
