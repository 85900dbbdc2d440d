package ir

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxInline is the number of elements up to which a constant is written in the
// text itself.
const maxInline = 16

// String prints the module in text form.
func (m *Module) String() string {
	var b strings.Builder
	_ = m.Print(&b) // a strings.Builder does not fail
	return b.String()
}

// Print writes the text form: the constants, then the graphs.
func (m *Module) Print(w io.Writer) error {
	bw := bufio.NewWriter(w)
	for _, v := range m.Constants() {
		printConst(bw, v)
	}
	for i, g := range m.Graphs {
		if i > 0 || len(m.Constants()) > 0 {
			fmt.Fprintln(bw)
		}
		g.print(bw)
	}
	return bw.Flush()
}

// String prints the graph with the constants it uses.
func (g *Graph) String() string { return (&Module{Graphs: []*Graph{g}}).String() }

// Body prints the graph without its constants' declarations.
func (g *Graph) Body() string {
	var b strings.Builder
	bw := bufio.NewWriter(&b)
	g.print(bw)
	_ = bw.Flush() // a strings.Builder does not fail
	return b.String()
}

func printConst(w io.Writer, v *Value) {
	fmt.Fprintf(w, "const %v: %v", v, v.Type)
	if q := v.Type.Quant; q != nil && q.Axis >= 0 {
		if len(q.Scale) <= maxInline {
			s := make([]string, len(q.Scale))
			for i, f := range q.Scale {
				s[i] = formatF32(f)
			}
			fmt.Fprintf(w, " scale=[%s]", strings.Join(s, ","))
		}
		if len(q.Zero) <= maxInline {
			s := make([]string, len(q.Zero))
			for i, z := range q.Zero {
				s[i] = strconv.Itoa(int(z))
			}
			fmt.Fprintf(w, " zero=[%s]", strings.Join(s, ","))
		}
	}
	if s := inlineForm(v.Const); s != "" {
		fmt.Fprintf(w, " = %s", s)
	}
	fmt.Fprintln(w)
}

// inlineForm writes a small or uniform tensor as text; "" for the others.
func inlineForm(t *Tensor) string {
	n := t.Len()
	if n == 0 {
		return "[]"
	}
	if n > maxInline {
		if !uniform(t) {
			return ""
		}
		return "splat " + elemString(t, 0)
	}
	s := make([]string, n)
	for i := range s {
		s[i] = elemString(t, i)
	}
	return "[" + strings.Join(s, ",") + "]"
}

func uniform(t *Tensor) bool {
	first := elemBits(t, 0)
	for i, n := 1, t.Len(); i < n; i++ {
		if elemBits(t, i) != first {
			return false
		}
	}
	return true
}

func elemBits(t *Tensor, i int) uint64 {
	switch d := t.Data.(type) {
	case []float32:
		return uint64(math.Float32bits(d[i]))
	case []float64:
		return math.Float64bits(d[i])
	case []uint16:
		return uint64(d[i])
	case []int64:
		return uint64(d[i])
	case []bool:
		if d[i] {
			return 1
		}
		return 0
	}
	return uint64(int64(t.At(i)))
}

func elemString(t *Tensor, i int) string {
	switch d := t.Data.(type) {
	case []float32:
		return formatF32(d[i])
	case []float64:
		return strconv.FormatFloat(d[i], 'g', -1, 64)
	case []uint16:
		return "0x" + strconv.FormatUint(uint64(d[i]), 16)
	case []int64:
		return strconv.FormatInt(d[i], 10)
	case []bool:
		return strconv.FormatBool(d[i])
	}
	return strconv.Itoa(int(t.At(i)))
}

func (g *Graph) print(w io.Writer) {
	fmt.Fprintf(w, "graph @%s(", quoteName(g.Name))
	for i, v := range g.Inputs {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprintf(w, "%v: %v", v, v.Type)
	}
	fmt.Fprintln(w, ") {")
	for _, n := range g.Nodes {
		fmt.Fprintf(w, "  %s\n", n)
	}
	fmt.Fprint(w, "  return ")
	for i, v := range g.Outputs {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprint(w, v)
	}
	fmt.Fprintln(w, "\n}")
}

// String prints the node as one line of text IR.
func (n *Node) String() string {
	var b strings.Builder
	for i, v := range n.Outputs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v.String())
	}
	b.WriteString(" = ")
	b.WriteString(n.Op.Name)
	ins := n.Inputs
	for len(ins) > 0 && ins[len(ins)-1] == nil {
		ins = ins[:len(ins)-1]
	}
	for _, v := range ins {
		b.WriteByte(' ')
		b.WriteString(v.String())
	}
	for _, k := range slices.Sorted(maps.Keys(n.Attrs)) {
		if s := n.Op.Attr(k); s != nil && s.Default != nil && attrEqual(n.Attrs[k], s.Default) {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", k, formatAttr(n.Attrs[k]))
	}
	if n.Name != "" {
		fmt.Fprintf(&b, " !%s", strconv.Quote(n.Name))
	}
	for i, v := range n.Outputs {
		if i == 0 {
			b.WriteString(" : ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(v.Type.String())
	}
	return b.String()
}

// quoteName leaves plain names as they are and quotes the rest.
func quoteName(s string) string {
	if s == "" {
		return `""`
	}
	for i := 0; i < len(s); i++ {
		if !nameByte(s[i]) {
			return strconv.Quote(s)
		}
	}
	return s
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '/' || c == '-' || c == '$' || c == '~'
}
