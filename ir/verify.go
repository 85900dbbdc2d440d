package ir

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Verify checks that the graph is what its form promises: every operand is an
// input, a constant or the result of an earlier node; names are unique; no
// value has two definitions; attributes fit the op table; and the types are
// those that the shape rules give. All faults are returned together.
func (g *Graph) Verify() error {
	var errs diag.List
	defined := map[*Value]bool{}
	names := map[string]bool{}
	consts := map[string]*Tensor{}
	define := func(v *Value, what string) {
		if defined[v] {
			errs.Add(diag.Errorf(v.String(), "%s is defined twice", what))
		}
		defined[v] = true
		if names[v.Name] {
			errs.Add(diag.Errorf(v.String(), "two values have this name"))
		}
		names[v.Name] = true
	}
	for _, v := range g.Inputs {
		if v.Def != nil || v.Const != nil {
			errs.Add(diag.Errorf(v.String(), "an input with a definition"))
		}
		if err := v.Type.check(); err != nil {
			errs.Add(diag.At(v.String(), err))
		}
		define(v, "input")
	}
	read := func(place string, v *Value) {
		switch {
		case v == nil:
		case v.Const != nil:
			if old, ok := consts[v.Name]; ok && old != v.Const {
				errs.Add(diag.Errorf(v.String(), "two constants have this name"))
			}
			consts[v.Name] = v.Const
			if v.Const.DType != v.Type.DType || !v.Const.Shape.Equal(v.Type.Shape) {
				errs.Add(diag.Errorf(v.String(), "data is %v, type says %v", v.Const.Type(), v.Type))
			} else if err := v.Type.check(); err != nil {
				errs.Add(diag.At(v.String(), err))
			}
		case !defined[v]:
			errs.Add(diag.Errorf(place, "reads %v before it is computed", v))
		}
	}
	for _, n := range g.Nodes {
		if n.Op == nil || LookupOp(n.Op.Name) != n.Op {
			errs.Add(diag.Errorf(n.Label(), "its op is not in the table"))
			continue
		}
		place := n.place()
		for _, v := range n.Inputs {
			read(place, v)
		}
		for _, v := range n.Outputs {
			if v.Def != n {
				errs.Add(diag.Errorf(place, "result %v names another definition", v))
			}
			define(v, "result")
		}
		if err := n.checkAttrs(); err != nil {
			errs.Add(diag.At(place, err))
			continue
		}
		ts, err := n.infer()
		if err != nil {
			errs.Add(diag.At(place, err))
			continue
		}
		if len(ts) != len(n.Outputs) {
			errs.Add(diag.Errorf(place, "found %d results, wanted %d", len(n.Outputs), len(ts)))
			continue
		}
		for i, t := range ts {
			if !t.Equal(n.Outputs[i].Type) {
				errs.Add(&diag.Error{Place: place, Found: fmt.Sprintf("%v is %v", n.Outputs[i], n.Outputs[i].Type), Wanted: t.String()})
			}
		}
	}
	if len(g.Outputs) == 0 {
		errs.Add(diag.Errorf("graph @"+g.Name, "returns nothing"))
	}
	for i, v := range g.Outputs {
		if v == nil {
			errs.Add(diag.Errorf("graph @"+g.Name, "output %d is absent", i))
			continue
		}
		read(fmt.Sprintf("output %d", i), v)
	}
	return errs.Err()
}

// CheckFinite reports constants that hold NaN or infinities.
func (g *Graph) CheckFinite() error {
	var errs diag.List
	for _, v := range g.Constants() {
		d, ok := v.Const.Data.([]float32)
		if !ok {
			continue
		}
		for i, f := range d {
			if math.IsNaN(float64(f)) {
				errs.Add(&diag.Error{Place: v.String(), Found: fmt.Sprintf("element %d is %v", i, f), Wanted: "finite weights", Fix: "the model file is damaged or its training diverged"})
				break
			}
		}
	}
	return errs.Err()
}
