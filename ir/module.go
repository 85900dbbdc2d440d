package ir

import (
	"bytes"
	"strconv"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Module is what one file holds: a graph for each compiled set of input
// shapes, sharing constants. The first graph is the default.
type Module struct {
	Graphs []*Graph
}

// Verify checks every graph and that constants of one name are one tensor.
func (m *Module) Verify() error {
	var errs diag.List
	if len(m.Graphs) == 0 {
		errs.Add(diag.Errorf("module", "holds no graph"))
	}
	seen := map[string]*Value{}
	names := map[string]bool{}
	for _, g := range m.Graphs {
		if names[g.Name] {
			errs.Add(diag.Errorf("graph @"+g.Name, "two graphs have this name"))
		}
		names[g.Name] = true
		errs.Add(diag.At("graph @"+g.Name, g.Verify()))
		for _, v := range g.Constants() {
			if old := seen[v.Name]; old != nil && (old.Const != v.Const || !old.Type.Equal(v.Type)) {
				errs.Add(diag.Errorf(v.String(), "graphs disagree on this constant"))
			}
			seen[v.Name] = v
		}
	}
	return errs.Err()
}

// Constants lists the constants of all graphs, each once.
func (m *Module) Constants() []*Value {
	seen := map[string]bool{}
	var out []*Value
	for _, g := range m.Graphs {
		for _, v := range g.Constants() {
			if !seen[v.Name] {
				seen[v.Name] = true
				out = append(out, v)
			}
		}
	}
	return out
}

// NamedTensor is a tensor to store beside the text.
type NamedTensor struct {
	Name   string
	Tensor *Tensor
}

// Tensors lists the data that the text form leaves out and a weights file
// holds: large constants under their names, per-channel scales as NAME.scale
// and zero points as NAME.zero.
func (m *Module) Tensors() []NamedTensor {
	var out []NamedTensor
	for _, v := range m.Constants() {
		if inlineForm(v.Const) == "" {
			out = append(out, NamedTensor{v.Name, v.Const})
		}
		if q := v.Type.Quant; q != nil && q.Axis >= 0 && len(q.Scale) > maxInline {
			out = append(out, NamedTensor{v.Name + ".scale", From(q.Scale, len(q.Scale))})
			if len(q.Zero) > maxInline {
				out = append(out, NamedTensor{v.Name + ".zero", From(q.Zero, len(q.Zero))})
			}
		}
	}
	return out
}

// Dedup makes constants of one name in several graphs share one tensor where
// their contents are equal, and renames the others.
func (m *Module) Dedup() {
	byName := map[string]*Value{}
	for _, g := range m.Graphs {
		for _, v := range g.Constants() {
			for i := 0; ; i++ {
				name := v.Name
				if i > 0 {
					name += "." + strconv.Itoa(i)
				}
				old := byName[name]
				if old != nil && !(old.Type.Equal(v.Type) && (old.Const == v.Const || SameData(old.Const, v.Const))) {
					continue
				}
				if old != nil {
					v.Const, v.Type.Quant = old.Const, old.Type.Quant
				}
				g.Rename(v, name)
				byName[v.Name] = v
				break
			}
		}
	}
}

// SameData compares element types, shapes and contents bit for bit.
func SameData(a, b *Tensor) bool {
	return a.DType == b.DType && a.Shape.Equal(b.Shape) && bytes.Equal(a.RawBytes(), b.RawBytes())
}
