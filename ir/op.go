package ir

import (
	"fmt"
	"slices"
	"sync"
)

// Operand is one input of an op.
type Operand struct {
	Name     string
	Optional bool // may be absent (nil in Node.Inputs)
	Variadic bool // the last operand may repeat
}

// Grad says whether an op has a derivative.
type Grad uint8

// Differentiable ops have a vector-Jacobian product in passes/gradient; NoGrad
// ones have none: integers, comparisons, quantized arithmetic, recurrent layers.
const (
	Differentiable Grad = iota + 1
	NoGrad
)

// Class groups ops for passes and targets that treat many alike.
type Class uint8

// The classes of the op table.
const (
	Other       Class = iota + 1
	Unary             // elementwise, one tensor
	Binary            // elementwise with broadcasting
	Contraction       // convolution and matrix products
	Reduction         // pools and reductions
	Movement          // moves elements without arithmetic
	Norm              // normalizations
	Quantized         // q_… ops: exact integer meaning
)

// Op is one row of the op table: all that nasc knows of an operation.
type Op struct {
	Name  string
	Doc   string // one line, with the specification followed
	Class Class
	In    []Operand
	Attrs []AttrSpec
	// Outs is the number of results; 0 means as many as Infer returns.
	Outs int
	// Infer is the shape rule: the result types from operand types and
	// attributes. Its errors say what was found and what was wanted.
	Infer func(n *Node) ([]Type, error)
	// MACs counts multiply-accumulates, batch counted as 1.
	MACs func(n *Node) int64
	// Eval computes the results of a static node; it is the definition that
	// every target is compared with. Float tensors come as F32 or, in the
	// interpreter's double mode, as F64.
	Eval func(n *Node, in []*Tensor) ([]*Tensor, error)
	Grad Grad
}

// Arity gives the least and the most operands; most is −1 for variadic ops.
func (o *Op) Arity() (least, most int) {
	for _, p := range o.In {
		if !p.Optional {
			least++
		}
	}
	if k := len(o.In); k > 0 && o.In[k-1].Variadic {
		return least, -1
	}
	return least, len(o.In)
}

// Attr finds an attribute's specification.
func (o *Op) Attr(name string) *AttrSpec {
	for i := range o.Attrs {
		if o.Attrs[i].Name == name {
			return &o.Attrs[i]
		}
	}
	return nil
}

var opIndex = sync.OnceValue(func() map[string]*Op {
	m := make(map[string]*Op)
	for _, family := range Table {
		for i := range family {
			op := &family[i]
			if m[op.Name] != nil {
				panic("BUG: op " + op.Name + " is in the table twice")
			}
			m[op.Name] = op
		}
	}
	return m
})

// LookupOp finds a row of the table; nil if there is none.
func LookupOp(name string) *Op { return opIndex()[name] }

// OpNames lists the table, sorted.
func OpNames() []string {
	var names []string
	for name := range opIndex() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func noMACs(*Node) int64 { return 0 }

// Int reads an integer attribute, or its default.
func (n *Node) Int(name string) int { return n.attr(name, Int).(int) }

// Float reads a float attribute, or its default.
func (n *Node) Float(name string) float64 { return n.attr(name, Float).(float64) }

// F32 reads a float attribute as the float32 that arithmetic uses.
func (n *Node) F32(name string) float32 { return float32(n.Float(name)) }

// Str reads a string attribute, or its default.
func (n *Node) Str(name string) string { return n.attr(name, Str).(string) }

// Bool reads a boolean attribute, or its default.
func (n *Node) Bool(name string) bool { return n.attr(name, BoolA).(bool) }

// Ints reads a list of integers, or its default.
func (n *Node) Ints(name string) []int { return n.attr(name, Ints).([]int) }

// Floats reads a list of floats, or its default.
func (n *Node) Floats(name string) []float64 { return n.attr(name, Floats).([]float64) }

// Dims reads a shape attribute, or its default.
func (n *Node) Dims(name string) Shape { return n.attr(name, Dims).(Shape) }

// Has says whether the attribute is set on the node itself.
func (n *Node) Has(name string) bool { _, ok := n.Attrs[name]; return ok }

func (n *Node) attr(name string, kind AttrKind) any {
	if v, ok := n.Attrs[name]; ok {
		return v
	}
	s := n.Op.Attr(name)
	if s == nil || s.Kind != kind {
		panic(fmt.Sprintf("BUG: op %s has no %v attribute %s", n.Op.Name, kind, name))
	}
	return s.Default
}

// checkAttrs normalizes the node's attributes to the Go types of their kinds,
// drops those equal to the default, and reports unknown, missing or mistyped
// ones.
func (n *Node) checkAttrs() error {
	for name, v := range n.Attrs {
		s := n.Op.Attr(name)
		if s == nil {
			return fmt.Errorf("unknown attribute %s; %s takes %s", name, n.Op.Name, attrNames(n.Op))
		}
		w, err := normAttr(s.Kind, v)
		if err != nil {
			return fmt.Errorf("attribute %s: %v", name, err)
		}
		if s.Enum != nil && !slices.Contains(s.Enum, w.(string)) {
			return fmt.Errorf("attribute %s: found %q, wanted one of %q", name, w, s.Enum)
		}
		if s.Default != nil && attrEqual(w, s.Default) {
			delete(n.Attrs, name)
		} else {
			n.Attrs[name] = w
		}
	}
	for _, s := range n.Op.Attrs {
		if _, ok := n.Attrs[s.Name]; !ok && s.Default == nil {
			return fmt.Errorf("attribute %s is missing", s.Name)
		}
	}
	return nil
}

func attrNames(o *Op) string {
	if len(o.Attrs) == 0 {
		return "none"
	}
	s := ""
	for i, a := range o.Attrs {
		if i > 0 {
			s += ", "
		}
		s += a.Name
	}
	return s
}
