package nasc

import (
	"github.com/nasc-dev/nasc/frontend/arch"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

func openArch(path string, shapes []map[string]ir.Shape) (*Model, error) {
	if len(shapes) > 0 {
		return nil, &diag.Error{Place: "--shape", Found: "an architecture", Wanted: "an .onnx file: an architecture says its own input"}
	}
	g, info, err := arch.Load(path)
	if err != nil {
		return nil, err
	}
	m := &Model{
		Path: path, Module: &ir.Module{Graphs: []*ir.Graph{g}}, Notes: info.Notes, Random: info.Random,
		Manifest: &nascfile.Manifest{Preprocess: info.Preprocess, Labels: info.Labels},
	}
	return m, m.source()
}
