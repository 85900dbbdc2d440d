package ir

import (
	"fmt"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
)

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
