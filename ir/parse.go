package ir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nasc-dev/nasc/internal/diag"
)

// maxParsedElems bounds what a line of text may make the parser allocate.
const maxParsedElems = 1 << 25

// Weights gives the data of constants that the text leaves out; nil, false for
// an unknown name.
type Weights func(name string) (*Tensor, bool)

// WeightMap looks names up in a map.
func WeightMap(m map[string]*Tensor) Weights {
	return func(name string) (*Tensor, bool) { t, ok := m[name]; return t, ok }
}

// Parse reads text IR. file names it in errors; weights (which may be nil)
// gives the constants that are not written inline. The result is verified.
//
//	module = { const } graph { graph }
//	const  = "const" @name ":" type [ "scale=" list "zero=" list ] [ "=" data ]
//	data   = list | "splat" x | "normal" "(" seed "," std ")" | "randint" "(" seed "," lo "," hi ")"
//	graph  = "graph" @name "(" %name ":" type {","…} ")" "{" { node } "return" value {","…} "}"
//	node   = %name {","…} "=" op { value | "_" } { attr "=" x } [ !"label" ] [ ":" type {","…} ]
//
// A # starts a comment to the end of the line. Types after a node are checked
// where given.
func Parse(file, text string, weights Weights) (*Module, error) {
	p := &parser{file: file, src: text, line: 1, weights: weights, consts: map[string]*Value{}}
	m, err := p.module()
	if err != nil {
		return nil, err
	}
	if err := m.Verify(); err != nil {
		return nil, diag.At(file, err)
	}
	return m, nil
}

// ParseGraph reads text with one graph.
func ParseGraph(file, text string, weights Weights) (*Graph, error) {
	m, err := Parse(file, text, weights)
	if err != nil {
		return nil, err
	}
	if len(m.Graphs) != 1 {
		return nil, &diag.Error{Place: file, Found: fmt.Sprintf("%d graphs", len(m.Graphs)), Wanted: "one"}
	}
	return m.Graphs[0], nil
}

type parser struct {
	file    string
	src     string
	pos     int
	line    int
	bol     int // offset of the line's first byte
	weights Weights
	consts  map[string]*Value
}

type parseError struct{ *diag.Error }

func (p *parser) fail(wanted, format string, args ...any) {
	panic(parseError{&diag.Error{
		Place:  fmt.Sprintf("%s:%d:%d", p.file, p.line, p.pos-p.bol+1),
		Found:  fmt.Sprintf(format, args...),
		Wanted: wanted,
	}})
}

func (p *parser) failErr(err error) {
	panic(parseError{&diag.Error{Place: fmt.Sprintf("%s:%d:%d", p.file, p.line, p.pos-p.bol+1), Err: err}})
}

// module parses the whole file; parse errors travel as a panic of parseError
// from any depth and end here.
func (p *parser) module() (m *Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			pe, ok := r.(parseError)
			if !ok {
				panic(r)
			}
			m, err = nil, pe.Error
		}
	}()
	m = &Module{}
	for p.skip(true); p.pos < len(p.src); p.skip(true) {
		switch w := p.word(); w {
		case "const":
			p.constant()
		case "graph":
			m.Graphs = append(m.Graphs, p.graph())
		default:
			p.fail("const or graph", "found %q", w)
		}
	}
	if len(m.Graphs) == 0 {
		p.fail("a graph", "the text ends")
	}
	return m, nil
}

// skip passes blanks and comments, and line ends too where lines is true.
func (p *parser) skip(lines bool) {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == '\n':
			if !lines {
				return
			}
			p.pos++
			p.line++
			p.bol = p.pos
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' {
				p.pos++
			}
		default:
			return
		}
	}
}

func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// here shows what stands at the position, for messages.
func (p *parser) here() string {
	if p.pos >= len(p.src) {
		return "the end of the text"
	}
	if p.src[p.pos] == '\n' {
		return "the end of the line"
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return strconv.QuoteRune(r)
}

func (p *parser) accept(c byte) bool {
	p.skip(false)
	if p.peek() == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(c byte) {
	if !p.accept(c) {
		p.fail(strconv.QuoteRune(rune(c)), "found %s", p.here())
	}
}

// word reads a run of name bytes, or a quoted string.
func (p *parser) word() string {
	p.skip(false)
	if p.peek() == '"' {
		q, err := strconv.QuotedPrefix(p.src[p.pos:])
		if err != nil {
			p.fail("a closed string", "found a broken string")
		}
		p.pos += len(q)
		s, err := strconv.Unquote(q)
		if err != nil {
			p.fail("a string", "found %s", q)
		}
		return s
	}
	i := p.pos
	for p.pos < len(p.src) && nameByte(p.src[p.pos]) {
		p.pos++
	}
	if i == p.pos {
		p.fail("a name", "found %s", p.here())
	}
	return p.src[i:p.pos]
}

// number reads an integer or float word, with sign.
func (p *parser) number() string {
	p.skip(false)
	i := p.pos
	for p.pos < len(p.src) && (nameByte(p.src[p.pos]) || p.src[p.pos] == '+') {
		p.pos++
	}
	if i == p.pos {
		p.fail("a number", "found %s", p.here())
	}
	return p.src[i:p.pos]
}

func (p *parser) float() float64 {
	s := p.number()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		p.fail("a number", "found %q", s)
	}
	return f
}

func (p *parser) float32() float32 {
	s := p.number()
	f, err := strconv.ParseFloat(s, 32)
	if err != nil {
		p.fail("a number that float32 holds", "found %q", s)
	}
	return float32(f)
}

func (p *parser) integer() int {
	s := p.number()
	k, err := strconv.Atoi(s)
	if err != nil {
		p.fail("an integer", "found %q", s)
	}
	return k
}

// list reads [x,…] calling item for each element.
func (p *parser) list(item func()) {
	p.expect('[')
	if p.accept(']') {
		return
	}
	for {
		item()
		if p.accept(']') {
			return
		}
		p.expect(',')
	}
}

func (p *parser) shape() Shape {
	s := Shape{}
	elems := 1
	p.list(func() {
		w := p.number()
		d, err := parseDim(w)
		if err != nil {
			p.failErr(err)
		}
		a := max(d, -d)
		if a > 0 && elems > maxParsedElems/a {
			p.fail(fmt.Sprintf("at most %d elements", maxParsedElems), "found a larger shape")
		}
		elems *= max(a, 1)
		s = append(s, d)
	})
	return s
}

func (p *parser) typ() Type {
	w := p.word()
	d, ok := ParseDType(w)
	if !ok {
		p.fail("an element type such as f32, u8, s8", "found %q", w)
	}
	t := Type{DType: d, Shape: p.shape()}
	if p.peek() == '<' {
		p.pos++
		if strings.HasPrefix(p.src[p.pos:], "axis") {
			p.word()
			p.expect('=')
			t.Quant = &Quant{Axis: p.integer()}
			if t.Quant.Axis < 0 || t.Quant.Axis >= len(t.Shape) {
				p.fail("an axis of the shape", "found axis %d for %v", t.Quant.Axis, t.Shape)
			}
		} else {
			s := p.float32()
			p.expect(':')
			t.Quant = PerTensor(s, int32(p.integer()))
		}
		p.expect('>')
	}
	return t
}

func (p *parser) constant() {
	p.expect('@')
	v := &Value{Name: p.word()}
	if p.consts[v.Name] != nil {
		p.fail("", "constant @%s is declared twice", v.Name)
	}
	p.expect(':')
	v.Type = p.typ()
	if !v.Type.Shape.Static() {
		p.fail("a static shape", "constant @%s has shape %v", v.Name, v.Type.Shape)
	}
	for p.skip(false); p.pos < len(p.src) && nameByte(p.peek()); p.skip(false) {
		w := p.word()
		p.expect('=')
		q := v.Type.Quant
		if q == nil || q.Axis < 0 || w != "scale" && w != "zero" {
			p.fail("scale= or zero= of a type with <axis=…>", "found %q", w)
		}
		if w == "scale" {
			p.list(func() { q.Scale = append(q.Scale, p.float32()) })
		} else {
			p.list(func() { q.Zero = append(q.Zero, int32(p.integer())) })
		}
	}
	if p.accept('=') {
		v.Const = p.data(v.Type)
	} else {
		v.Const = p.external(v.Name)
		if v.Const.DType != v.Type.DType || !v.Const.Shape.Equal(v.Type.Shape) {
			p.fail(v.Type.String(), "the data of @%s is %v", v.Name, v.Const.Type())
		}
	}
	if q := v.Type.Quant; q != nil && q.Axis >= 0 {
		if q.Scale == nil {
			t := p.external(v.Name + ".scale")
			s, ok := t.Data.([]float32)
			if !ok {
				p.fail("f32", "@%s.scale is %v", v.Name, t.DType)
			}
			q.Scale = s
		}
		if q.Zero == nil {
			t := p.external(v.Name + ".zero")
			z, ok := t.Data.([]int32)
			if !ok {
				p.fail("i32", "@%s.zero is %v", v.Name, t.DType)
			}
			q.Zero = z
		}
	}
	if err := v.Type.check(); err != nil {
		p.fail("", "constant @%s: %v", v.Name, err)
	}
	p.endLine()
	p.consts[v.Name] = v
}

func (p *parser) external(name string) *Tensor {
	if p.weights != nil {
		if t, ok := p.weights(name); ok {
			return t
		}
	}
	p.fail("its values after =, or a weights file that has it", "constant @%s has no data", name)
	return nil
}

func (p *parser) data(t Type) *Tensor {
	out := NewTensor(t.DType, t.Shape...)
	n := out.Len()
	p.skip(false)
	if p.peek() == '[' {
		i := 0
		p.list(func() {
			if i == n {
				p.fail(fmt.Sprintf("%d elements", n), "found more")
			}
			p.elem(out, i)
			i++
		})
		if i != n {
			p.fail(fmt.Sprintf("%d elements", n), "found %d", i)
		}
		return out
	}
	switch w := p.word(); w {
	case "splat":
		if n == 0 {
			p.fail("a shape with elements", "found splat for %v", t.Shape)
		}
		p.elem(out, 0)
		for i := 1; i < n; i++ {
			copyElem(out, i, 0)
		}
	case "normal":
		if !t.DType.IsFloat() && !t.DType.Is8Bit() {
			p.fail("a float or 8-bit type", "found normal for %v", t.DType)
		}
		p.expect('(')
		seed := p.integer()
		p.expect(',')
		std := p.float()
		p.expect(')')
		r := rand.New(rand.NewPCG(uint64(seed), 0x6e617363))
		for i := range n {
			out.Set(i, r.NormFloat64()*std)
		}
	case "randint":
		if !t.DType.IsInt() {
			p.fail("an integer type", "found randint for %v", t.DType)
		}
		p.expect('(')
		seed := p.integer()
		p.expect(',')
		lo := p.integer()
		p.expect(',')
		hi := p.integer()
		p.expect(')')
		if lo > hi || lo < math.MinInt32 || hi > math.MaxInt32 {
			p.fail("randint(seed,lo,hi) with lo ≤ hi, both int32", "found %d and %d", lo, hi)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 0x6e617363))
		for i := range n {
			out.Set(i, float64(lo+r.IntN(hi-lo+1)))
		}
	default:
		p.fail("[…], splat, normal or randint", "found %q", w)
	}
	return out
}

func (p *parser) elem(t *Tensor, i int) {
	s := p.number()
	bad := func() { p.fail(t.DType.String(), "found %q", s) }
	switch d := t.Data.(type) {
	case []float32:
		f, err := strconv.ParseFloat(s, 32)
		if err != nil {
			bad()
		}
		d[i] = float32(f)
	case []float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			bad()
		}
		d[i] = f
	case []uint16:
		k, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			bad()
		}
		d[i] = uint16(k)
	case []bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			bad()
		}
		d[i] = b
	default:
		k, err := strconv.ParseInt(s, 10, 64)
		lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
		switch t.DType {
		case I32:
			lo, hi = math.MinInt32, math.MaxInt32
		case U8:
			lo, hi = 0, 255
		case S8:
			lo, hi = -128, 127
		}
		if err != nil || k < lo || k > hi {
			bad()
		}
		if d, ok := t.Data.([]int64); ok {
			d[i] = k
		} else {
			t.Set(i, float64(k))
		}
	}
}

func copyElem(t *Tensor, dst, src int) {
	switch d := t.Data.(type) {
	case []float32:
		d[dst] = d[src]
	case []float64:
		d[dst] = d[src]
	case []uint16:
		d[dst] = d[src]
	case []int64:
		d[dst] = d[src]
	case []int32:
		d[dst] = d[src]
	case []uint8:
		d[dst] = d[src]
	case []int8:
		d[dst] = d[src]
	case []bool:
		d[dst] = d[src]
	}
}

func (p *parser) endLine() {
	p.skip(false)
	if p.pos < len(p.src) && p.peek() != '\n' {
		p.fail("the end of the line", "found %s", p.here())
	}
}

func (p *parser) graph() *Graph {
	p.expect('@')
	g := NewGraph(p.word())
	vals := map[string]*Value{}
	p.expect('(')
	p.skip(true)
	for p.peek() != ')' {
		p.expect('%')
		name := p.word()
		p.expect(':')
		t := p.typ()
		if vals[name] != nil {
			p.fail("", "two inputs are named %%%s", name)
		}
		vals[name] = g.Input(name, t)
		p.skip(true)
		if p.peek() != ')' {
			p.expect(',')
			p.skip(true)
		}
	}
	p.expect(')')
	p.expect('{')
	used := map[string]*Value{}
	for {
		p.skip(true)
		if p.peek() != '%' {
			break
		}
		p.node(g, vals, used)
		p.endLine()
	}
	if w := p.word(); w != "return" {
		p.fail("a node or return", "found %q", w)
	}
	for {
		g.Outputs = append(g.Outputs, p.value(g, vals, used))
		if !p.accept(',') {
			break
		}
	}
	p.skip(true)
	p.expect('}')
	return g
}

// value reads %name, @name or _ (nil).
func (p *parser) value(g *Graph, vals, used map[string]*Value) *Value {
	p.skip(false)
	switch p.peek() {
	case '%':
		p.pos++
		name := p.word()
		v := vals[name]
		if v == nil {
			p.fail("a value computed above", "found %%%s", name)
		}
		return v
	case '@':
		p.pos++
		name := p.word()
		if v := used[name]; v != nil {
			return v
		}
		c := p.consts[name]
		if c == nil {
			p.fail("a declared constant", "found @%s", name)
		}
		v := &Value{Name: name, Type: c.Type, Const: c.Const}
		used[name] = v
		g.consts[name] = true
		return v
	case '_':
		p.pos++
		return nil
	}
	p.fail("%value, @constant or _", "found %s", p.here())
	return nil
}

func (p *parser) node(g *Graph, vals, used map[string]*Value) {
	var outs []string
	for {
		p.expect('%')
		name := p.word()
		if vals[name] != nil || g.names[name] {
			p.fail("", "%%%s is defined twice", name)
		}
		outs = append(outs, name)
		if !p.accept(',') {
			break
		}
	}
	p.expect('=')
	opName := p.word()
	op := LookupOp(opName)
	if op == nil {
		p.fail("an op of the table", "found %q", opName)
	}
	n := &Node{Op: op, Attrs: Attrs{}}
	for {
		p.skip(false)
		if c := p.peek(); c != '%' && c != '@' && c != '_' {
			break
		}
		n.Inputs = append(n.Inputs, p.value(g, vals, used))
	}
	for p.skip(false); nameByte(p.peek()); p.skip(false) {
		name := p.word()
		s := op.Attr(name)
		if s == nil {
			p.fail(attrNames(op), "%s has no attribute %s", opName, name)
		}
		if _, ok := n.Attrs[name]; ok {
			p.fail("", "attribute %s is given twice", name)
		}
		p.expect('=')
		n.Attrs[name] = p.attr(s)
	}
	if p.accept('!') {
		n.Name = p.word()
	}
	if err := n.checkAttrs(); err != nil {
		p.failErr(err)
	}
	ts, err := n.infer()
	if err != nil {
		p.failErr(diag.At(opName, err))
	}
	if len(ts) != len(outs) {
		p.fail(fmt.Sprintf("%d results", len(ts)), "%s has %d", opName, len(outs))
	}
	if p.accept(':') {
		for i, t := range ts {
			if i > 0 {
				p.expect(',')
			}
			p.skip(false)
			if u := p.typ(); u.String() != t.String() {
				p.fail(t.String(), "%%%s is declared %v", outs[i], u)
			}
		}
	}
	for i, name := range outs {
		v := &Value{Name: name, Type: ts[i], Def: n}
		if vals[name] != nil {
			p.fail("", "%%%s is defined twice", name)
		}
		vals[name] = v
		g.names[name] = true
		n.Outputs = append(n.Outputs, v)
	}
	g.Nodes = append(g.Nodes, n)
}

func (p *parser) attr(s *AttrSpec) any {
	switch s.Kind {
	case Int:
		return p.integer()
	case Float:
		return p.float()
	case Str:
		return p.word()
	case BoolA:
		w := p.word()
		b, err := strconv.ParseBool(w)
		if err != nil {
			p.fail("true or false", "found %q", w)
		}
		return b
	case Ints:
		l := []int{}
		p.list(func() { l = append(l, p.integer()) })
		return l
	case Floats:
		l := []float64{}
		p.list(func() { l = append(l, p.float()) })
		return l
	default:
		return p.shape()
	}
}
