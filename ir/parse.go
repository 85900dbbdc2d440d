package ir

import (
	"fmt"
	"strings"

	"github.com/nasc-dev/nasc/internal/diag"
)

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
