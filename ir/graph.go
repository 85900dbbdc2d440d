package ir

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
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

// Unique gives want, or want with a number, so that no value has the name yet.
func (g *Graph) Unique(want string) string { return unique(g.names, want) }

// UniqueConst does the same among constants.
func (g *Graph) UniqueConst(want string) string { return unique(g.consts, want) }

func unique(taken map[string]bool, want string) string {
	if want != "" && !taken[want] {
		return want
	}
	for i := len(taken); ; i++ {
		s := strconv.Itoa(i)
		if want != "" {
			s = want + "~" + s
		}
		if !taken[s] {
			return s
		}
	}
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

// Rename gives a value another name, numbered where it is taken.
func (g *Graph) Rename(v *Value, name string) {
	if v.Name == name {
		return
	}
	taken := g.names
	if v.Const != nil {
		taken = g.consts
	}
	delete(taken, v.Name)
	v.Name = unique(taken, name)
	taken[v.Name] = true
}

// addedNumbers are what unique puts into names; an importer's own names hold
// no ~ with a number after it, or lose it here.
var addedNumbers = regexp.MustCompile(`~\d+`)

// TidyNames drops the numbers that were added to names (as name~7) where the
// plain name has become free, and forgets the names of what is gone.
func (g *Graph) TidyNames() {
	g.names, g.consts = map[string]bool{}, map[string]bool{}
	all := slices.Clone(g.Inputs)
	for _, n := range g.Nodes {
		all = append(all, n.Outputs...)
	}
	constants := g.Constants()
	for _, v := range all {
		g.names[v.Name] = true
	}
	for _, v := range constants {
		g.consts[v.Name] = true
	}
	for _, v := range append(all, constants...) {
		base := addedNumbers.ReplaceAllString(v.Name, "")
		if base == v.Name {
			continue
		}
		taken := g.names
		if v.Const != nil {
			taken = g.consts
		}
		if base != "" && !taken[base] {
			g.Rename(v, base)
		}
	}
}

// Use is one place where a value is read; Node nil means graph output Index.
type Use struct {
	Node  *Node
	Index int
}

// Uses maps every value to the places that read it.
func (g *Graph) Uses() map[*Value][]Use {
	m := make(map[*Value][]Use)
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v != nil {
				m[v] = append(m[v], Use{n, i})
			}
		}
	}
	for i, v := range g.Outputs {
		m[v] = append(m[v], Use{nil, i})
	}
	return m
}

// ReplaceUses makes every reader of old read new instead, outputs included.
// An output keeps its name: new is renamed when old's name was the graph's.
func (g *Graph) ReplaceUses(old, new *Value) {
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v == old {
				n.Inputs[i] = new
			}
		}
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = new
			if new.Def != nil && !slices.Contains(g.Outputs[:i], new) {
				name := old.Name
				g.Rename(old, name+".old")
				g.Rename(new, name)
			}
		}
	}
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

// RemoveDead drops nodes whose results nobody reads and says whether there
// were any.
func (g *Graph) RemoveDead() bool {
	live := map[*Node]bool{}
	var visit func(v *Value)
	var stack []*Node
	visit = func(v *Value) {
		if v != nil && v.Def != nil && !live[v.Def] {
			live[v.Def] = true
			stack = append(stack, v.Def)
		}
	}
	for _, v := range g.Outputs {
		visit(v)
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range n.Inputs {
			visit(v)
		}
	}
	before := len(g.Nodes)
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool {
		if live[n] {
			return false
		}
		for _, v := range n.Outputs {
			delete(g.names, v.Name)
		}
		return true
	})
	return len(g.Nodes) != before
}

// Sort restores topological order, keeping the present order where it is one.
// It fails when the nodes form a cycle.
func (g *Graph) Sort() error {
	state := make(map[*Node]uint8, len(g.Nodes)) // 1: on the stack, 2: placed
	out := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		n *Node
		i int
	}
	for _, root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		stack := []frame{{root, 0}}
		state[root] = 1
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.i == len(f.n.Inputs) {
				state[f.n] = 2
				out = append(out, f.n)
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.n.Inputs[f.i]
			f.i++
			if v == nil || v.Def == nil {
				continue
			}
			switch state[v.Def] {
			case 0:
				state[v.Def] = 1
				stack = append(stack, frame{v.Def, 0})
			case 1:
				return diag.Errorf(v.Def.place(), "depends on its own result")
			}
		}
	}
	g.Nodes = out
	return nil
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

// Clone copies graph, nodes and values; constant data is shared.
func (g *Graph) Clone() *Graph {
	c, _ := g.CloneMap()
	return c
}

// CloneMap is Clone with the map from old values to new ones.
func (g *Graph) CloneMap() (*Graph, map[*Value]*Value) {
	c := &Graph{Name: g.Name, names: maps.Clone(g.names), consts: maps.Clone(g.consts)}
	m := make(map[*Value]*Value)
	val := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if w := m[v]; w != nil {
			return w
		}
		w := &Value{Name: v.Name, Type: v.Type, Const: v.Const}
		w.Type.Shape = v.Type.Shape.Clone()
		m[v] = w
		return w
	}
	for _, v := range g.Inputs {
		c.Inputs = append(c.Inputs, val(v))
	}
	for _, n := range g.Nodes {
		k := &Node{Op: n.Op, Name: n.Name, Attrs: n.Attrs.Clone()}
		for _, v := range n.Inputs {
			k.Inputs = append(k.Inputs, val(v))
		}
		for _, v := range n.Outputs {
			w := val(v)
			w.Def = k
			k.Outputs = append(k.Outputs, w)
		}
		c.Nodes = append(c.Nodes, k)
	}
	for _, v := range g.Outputs {
		c.Outputs = append(c.Outputs, val(v))
	}
	return c, m
}

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

// MACs sums the multiply-accumulates of all nodes at batch 1.
func (g *Graph) MACs() int64 {
	var s int64
	for _, n := range g.Nodes {
		s += n.Op.MACs(n)
	}
	return s
}

// Params is the number of elements in constants of rank 1 and more.
func (g *Graph) Params() int64 {
	var s int64
	for _, v := range g.Constants() {
		if len(v.Type.Shape) > 0 {
			s += int64(v.Const.Len())
		}
	}
	return s
}

// ConstBytes is the size of all constants.
func (g *Graph) ConstBytes() int64 {
	var s int64
	for _, v := range g.Constants() {
		s += v.Const.Bytes()
	}
	return s
}

// Bytes is what a node reads and writes, batch counted as 1.
func (n *Node) Bytes() int64 {
	var s int64
	for _, v := range n.Inputs {
		if v != nil {
			s += v.Type.Bytes()
		}
	}
	for _, v := range n.Outputs {
		s += v.Type.Bytes()
	}
	return s
}

// OpCounts counts the nodes of each op.
func (g *Graph) OpCounts() map[string]int {
	m := map[string]int{}
	for _, n := range g.Nodes {
		m[n.Op.Name]++
	}
	return m
}
