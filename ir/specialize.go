package ir

import (
	"fmt"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Specialize gives a copy of the graph with the symbolic batch replaced by n.
func Specialize(g *Graph, n int) (*Graph, error) {
	if n < 1 {
		return nil, diag.Errorf("batch", "found %d, wanted 1 or more", n)
	}
	c := g.Clone()
	for _, v := range c.Inputs {
		v.Type.Shape = v.Type.Shape.With(n)
	}
	for _, k := range c.Nodes {
		for name, a := range k.Attrs {
			if s, ok := a.(Shape); ok {
				k.Attrs[name] = s.With(n)
			}
		}
	}
	if err := c.InferAll(); err != nil {
		return nil, err
	}
	for _, v := range c.Inputs {
		if err := holdable(v); err != nil {
			return nil, err
		}
	}
	for _, k := range c.Nodes {
		for _, v := range k.Outputs {
			if err := holdable(v); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// mostElems is more than any machine holds of one tensor.
const mostElems = 1 << 34

// holdable refuses a value that no machine holds, whose size might overflow.
func holdable(v *Value) error {
	n := 1
	for _, d := range v.Type.Shape {
		if d > 0 && n > mostElems/d {
			return &diag.Error{Place: "%" + v.Name, Found: "a tensor of shape " + v.Type.Shape.String(), Wanted: fmt.Sprintf("at most %d elements", mostElems), Fix: "take a smaller batch or smaller inputs"}
		}
		n *= max(d, 1)
	}
	return nil
}

// Static says whether no input depends on the symbolic batch.
func (g *Graph) Static() bool {
	for _, v := range g.Inputs {
		if !v.Type.Shape.Static() {
			return false
		}
	}
	return true
}
