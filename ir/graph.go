package ir

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Value is an SSA value: a graph input, a constant, or a node's result.
type Value struct {
	Name  string // unique within its graph among values, or among constants
	Type  Type
	Def   *Node   // the node that computes it; nil for inputs and constants
	Const *Tensor // the data of a constant; nil otherwise
}

// IsConst says whether the value is a constant.
func (v *Value) IsConst() bool { return v != nil && v.Const != nil }

// String prints the name with its sigil.
func (v *Value) String() string {
	if v == nil {
		return "_"
	}
	if v.Const != nil {
		return "@" + quoteName(v.Name)
	}
	return "%" + quoteName(v.Name)
}

// Node is one operation.
type Node struct {
	Op      *Op
	Name    string // where it came from, for messages; may be empty
	Inputs  []*Value
	Outputs []*Value
	Attrs   Attrs
}

// Out is the node's first result.
func (n *Node) Out() *Value { return n.Outputs[0] }

// In gives operand i, or nil where it is absent.
func (n *Node) In(i int) *Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// Label is the node's own name or that of its first result.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.Outputs[0].Name
}

// SetAttr sets one attribute.
func (n *Node) SetAttr(name string, v any) {
	if n.Attrs == nil {
		n.Attrs = Attrs{}
	}
	n.Attrs[name] = v
}

// Infer recomputes the types of the node's results from its operands.
func (n *Node) Infer() error {
	if err := n.checkAttrs(); err != nil {
		return diag.At(n.place(), err)
	}
	ts, err := n.infer()
	if err != nil {
		return diag.At(n.place(), err)
	}
	for i, t := range ts {
		n.Outputs[i].Type = t
	}
	return nil
}

func (n *Node) place() string {
	name := n.Op.Name
	if n.Name != "" {
		return name + " " + strconv.Quote(n.Name)
	}
	if len(n.Outputs) > 0 && n.Outputs[0].Name != "" {
		return name + " " + n.Outputs[0].String()
	}
	return name
}

func (n *Node) infer() ([]Type, error) {
	least, most := n.Op.Arity()
	if k := len(n.Inputs); k < least || most >= 0 && k > most {
		return nil, fmt.Errorf("found %d operands, wanted %s", k, arityString(least, most))
	}
	for i, v := range n.Inputs {
		j := min(i, len(n.Op.In)-1)
		if v == nil && !n.Op.In[j].Optional {
			return nil, fmt.Errorf("operand %s is absent", n.Op.In[j].Name)
		}
	}
	ts, err := n.Op.Infer(n)
	if err != nil {
		return nil, err
	}
	for _, t := range ts {
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("result %v: %v", t, err)
		}
	}
	return ts, nil
}

func arityString(least, most int) string {
	switch {
	case most < 0:
		return fmt.Sprintf("%d or more", least)
	case least == most:
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// Graph is a function from inputs to outputs in SSA form. Nodes are kept in
// topological order: after appending nodes out of order call Sort.
type Graph struct {
	Name    string
	Inputs  []*Value
	Outputs []*Value
	Nodes   []*Node

	names  map[string]bool // of inputs and results
	consts map[string]bool
}

// NewGraph makes an empty graph.
func NewGraph(name string) *Graph {
	return &Graph{Name: name, names: map[string]bool{}, consts: map[string]bool{}}
}

// Input appends a graph input; a taken name gets a number.
func (g *Graph) Input(name string, t Type) *Value {
	v := &Value{Name: g.Unique(name), Type: t}
	g.names[v.Name] = true
	g.Inputs = append(g.Inputs, v)
	return v
}

// Const makes a constant of t's data. It belongs to the graph once a node
// uses it.
func (g *Graph) Const(name string, t *Tensor) *Value { return g.QConst(name, t, nil) }

// QConst makes a quantized constant.
func (g *Graph) QConst(name string, t *Tensor, q *Quant) *Value {
	v := &Value{Name: g.UniqueConst(name), Const: t, Type: Type{DType: t.DType, Shape: t.Shape.Clone(), Quant: q}}
	g.consts[v.Name] = true
	return v
}

// AddNamed appends a node, infers its result types and names the results after
// name (a number is added where it is taken). attrs may be nil.
func (g *Graph) AddNamed(op, name string, attrs Attrs, in ...*Value) (*Node, error) {
	o := LookupOp(op)
	if o == nil {
		return nil, &diag.Error{Place: name, Found: "unknown op " + strconv.Quote(op), Wanted: "an op of the table (nasc inspect --ops lists them)"}
	}
	n := &Node{Op: o, Inputs: in, Attrs: maps.Clone(attrs)}
	if n.Attrs == nil {
		n.Attrs = Attrs{}
	}
	if err := n.checkAttrs(); err != nil {
		return nil, diag.At(op+" "+strconv.Quote(name), err)
	}
	ts, err := n.infer()
	if err != nil {
		return nil, diag.At(op+" "+strconv.Quote(name), err)
	}
	for i, t := range ts {
		want := name
		if i > 0 && name != "" {
			want = name + ".out" + strconv.Itoa(i)
		}
		v := &Value{Name: g.Unique(want), Type: t, Def: n}
		g.names[v.Name] = true
		n.Outputs = append(n.Outputs, v)
	}
	g.Nodes = append(g.Nodes, n)
	return n, nil
}

// Add is AddNamed without a name, for nodes with one result.
func (g *Graph) Add(op string, attrs Attrs, in ...*Value) (*Value, error) {
	n, err := g.AddNamed(op, "", attrs, in...)
	if err != nil {
		return nil, err
	}
	return n.Outputs[0], nil
}

// Constants lists the constants that nodes or outputs use, in order of first use.
func (g *Graph) Constants() []*Value {
	seen := map[*Value]bool{}
	var out []*Value
	add := func(v *Value) {
		if v.IsConst() && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			add(v)
		}
	}
	for _, v := range g.Outputs {
		add(v)
	}
	return out
}

// InferAll recomputes every result type in order.
func (g *Graph) InferAll() error {
	for _, n := range g.Nodes {
		if err := n.Infer(); err != nil {
			return err
		}
	}
	return nil
}
