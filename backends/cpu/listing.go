package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/ir"
)

// Recipe says how a step's kernel was made: a constructor of a kernel package
// (f32, int8, move) and its specification, a plain struct of that package.
type Recipe struct {
	Package string
	Func    string
	Spec    any
}

// Kind says whose memory a Place is.
type Kind string

// The kinds of places.
const (
	Absent   Kind = ""
	Arena    Kind = "arena"
	Input    Kind = "input"
	Output   Kind = "output"
	Constant Kind = "constant"
)

// Place is where a step finds a tensor: Bytes bytes at Offset of the arena, of
// a graph input or output (Index), or of a constant's Data.
type Place struct {
	Kind          Kind
	Index         int
	Offset, Bytes int
	Data          []byte
	Type          ir.Type
}

// Listed is one step of a Listing.
type Listed struct {
	Recipe
	Node    *ir.Node // of a fallback step, which has no recipe
	Label   string
	In, Out []Place
	Tiles   int
}

// Listing is a plan in a form that code can be generated from.
type Listing struct {
	Level        isa.Level
	Inputs       []*ir.Value
	Outputs      []*ir.Value
	Steps        []Listed
	ArenaBytes   int
	ScratchBytes int
}

// Program gives the executable's plan, for code generation.
func (p *program) Program() Listing {
	l := Listing{Level: p.level, Inputs: p.inputs, Outputs: p.outputs, ArenaBytes: p.arena, ScratchBytes: p.scratch}
	for i := range p.steps {
		s := &p.steps[i]
		e := Listed{Recipe: s.recipe, Label: s.info.Label, Tiles: s.tiles}
		if s.eval != nil {
			e.Node = s.eval.node
		}
		for _, o := range s.in {
			e.In = append(e.In, o.place())
		}
		for _, o := range s.out {
			e.Out = append(e.Out, o.place())
		}
		l.Steps = append(l.Steps, e)
	}
	return l
}

func (o operand) place() Place {
	b := o.buf
	if b == nil {
		return Place{}
	}
	p := Place{Index: b.io, Offset: o.off, Bytes: o.len, Type: o.typ}
	switch b.where {
	case inArena:
		p.Kind, p.Offset = Arena, b.offset+o.off
	case inInput:
		p.Kind = Input
	case inOutput:
		p.Kind = Output
	case inConst:
		p.Kind, p.Data = Constant, b.data
	}
	return p
}
