package stablehlo

import (
	"fmt"
	"maps"

	"github.com/nasc-dev/nasc/ir"
)

// lowering writes one node and gives its results.
type lowering func(w *writer, n *ir.Node) ([]val, error)

// lowerings are the ops that have a StableHLO form.
var lowerings = func() map[string]lowering {
	all := map[string]lowering{}
	for _, m := range []map[string]lowering{floatOps, movementOps, quantizedOps} {
		maps.Copy(all, m)
	}
	return all
}()

// Supports says whether an op has a StableHLO form.
func Supports(op string) bool { return lowerings[op] != nil }

func (w *writer) node(n *ir.Node) error {
	f := lowerings[n.Op.Name]
	if f == nil {
		return fmt.Errorf("the op has no StableHLO form in nasc")
	}
	out, err := f(w, n)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		o := out[i]
		if o.d != v.Type.DType || !o.s.Equal(v.Type.Shape) {
			panic(fmt.Sprintf("BUG: %s was lowered to %v%v, its type is %v", n.Op.Name, o.d, o.s, v.Type))
		}
		w.vals[v] = o
	}
	return nil
}

// in gives operand i.
func (w *writer) in(n *ir.Node, i int) val { return w.get(n.Inputs[i]) }

// one wraps a function that gives one result and cannot fail.
func one(f func(w *writer, n *ir.Node) val) lowering {
	return func(w *writer, n *ir.Node) ([]val, error) { return []val{f(w, n)}, nil }
}

// ones is [1,1,…].
func ones(k int) []int {
	v := make([]int, k)
	for i := range v {
		v[i] = 1
	}
	return v
}
