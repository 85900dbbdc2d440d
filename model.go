// Package nasc is the driver: it opens models of any form, compiles them for a
// target, measures what changed, and holds the list of targets. The command
// line is on top of it.
package nasc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nasc-dev/nasc/frontend/onnx"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

// Model is an opened model file: its graphs, one for each set of shapes, and
// what the file says of them.
type Model struct {
	Path     string
	Module   *ir.Module
	Manifest *nascfile.Manifest
	Compiled bool     // a .nasc file for a target: passes and quantization are done
	Random   bool     // the weights are random: an architecture without any
	Notes    []string // what was assumed while reading

	close func() error
}

// Graph is the first graph.
func (m *Model) Graph() *ir.Graph { return m.Module.Graphs[0] }

// Masked says whether zeros among the weights are a mask's, as the file tells.
func (m *Model) Masked() bool { return slices.Contains(m.Manifest.Passes, "mask") }

// Close frees what the file holds.
func (m *Model) Close() error {
	if m.close == nil {
		return nil
	}
	return m.close()
}

// Open reads .onnx, .toml or .nasc. shapes are sets of input shapes, each of
// which becomes a graph; none stands for the file's own. Of a .nasc file, which has
// its graphs, they choose.
func Open(path string, shapes []map[string]ir.Shape) (*Model, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".nasc":
		f, err := nascfile.Open(path)
		if err != nil {
			return nil, err
		}
		if len(shapes) > 0 {
			if err := choose(f.Module, shapes); err != nil {
				return nil, errors.Join(diag.At(path, err), f.Close())
			}
		}
		return &Model{Path: path, Module: f.Module, Manifest: f.Manifest, Compiled: f.Manifest.Target != "", close: f.Close}, nil
	case ".onnx":
		return openONNX(path, shapes)
	case ".toml":
		return openArch(path, shapes)
	default:
		if ext == "" {
			return nil, &diag.Error{Place: path, Found: "a name without an ending", Wanted: ".onnx, .toml or .nasc"}
		}
		return nil, &diag.Error{Place: path, Found: "a file of type " + ext, Wanted: ".onnx, .toml or .nasc"}
	}
}

// choose leaves those sets of shapes in a compiled module that are named.
func choose(m *ir.Module, shapes []map[string]ir.Shape) error {
	var chosen []*ir.Graph
	for _, set := range shapes {
		i := slices.IndexFunc(m.Graphs, func(g *ir.Graph) bool {
			n := 0
			for _, v := range g.Inputs {
				if s, ok := set[v.Name]; ok && s.With(1).Equal(v.Type.Shape.With(1)) { // 1 stands for any batch, too
					n++
				}
			}
			return n == len(set)
		})
		if i < 0 {
			var have []string
			for _, g := range m.Graphs {
				for _, v := range g.Inputs {
					have = append(have, "--shape "+v.Name+"="+strings.ReplaceAll(strings.Trim(v.Type.Shape.String(), "[]"), ",", "x"))
				}
			}
			return &diag.Error{Found: "no set of these shapes in the file", Wanted: strings.Join(have, ", "), Fix: "shapes are chosen when a model is compiled; others take the .onnx file"}
		}
		chosen = append(chosen, m.Graphs[i])
	}
	m.Graphs = chosen
	return nil
}

func openONNX(path string, shapes []map[string]ir.Shape) (*Model, error) {
	m := &Model{Path: path, Module: &ir.Module{}, Manifest: &nascfile.Manifest{}}
	if len(shapes) == 0 {
		shapes = []map[string]ir.Shape{nil}
	}
	for i, s := range shapes {
		name := "main"
		if i > 0 {
			name = fmt.Sprintf("main%d", i)
		}
		g, info, err := onnx.Import(path, onnx.Options{Shapes: s, Name: name})
		if err != nil {
			return nil, err
		}
		m.Module.Graphs = append(m.Module.Graphs, g)
		if i == 0 {
			m.Notes = info.Notes
		}
	}
	if in := m.Graph().Inputs; len(in) == 1 {
		m.Manifest.Preprocess = data.Assume(in[0].Type)
	}
	return m, m.source()
}

// source records where the model came from.
func (m *Model) source() error {
	b, err := os.ReadFile(m.Path)
	if err != nil {
		return &diag.Error{Place: m.Path, Err: err}
	}
	sum := sha256.Sum256(b)
	m.Manifest.Source, m.Manifest.SourceSHA256 = filepath.Base(m.Path), hex.EncodeToString(sum[:])
	return nil
}

// Quantized says whether a graph holds quantized arithmetic.
func Quantized(g *ir.Graph) bool {
	for _, n := range g.Nodes {
		if n.Op.Class == ir.Quantized {
			return true
		}
	}
	return false
}

// RandomFeed draws n seeded random samples for a graph with a batch of one.
func RandomFeed(g *ir.Graph, n int, seed uint64) (*data.Random, error) {
	s, err := ir.Specialize(g, 1)
	if err != nil {
		return nil, err
	}
	return &data.Random{Inputs: g.Inputs, N: n, Draw: func(i int) []*ir.Tensor { return passes.RandomInputs(s, seed+uint64(i)) }}, nil
}
