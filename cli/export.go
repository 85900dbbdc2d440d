package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends/stablehlo"
	"github.com/nasc-dev/nasc/export/gopkg"
	"github.com/nasc-dev/nasc/export/onnx"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/safetensors"
	"github.com/nasc-dev/nasc/ir"
)

// exporters is every form that export writes; adding one is a row.
var exporters = map[string]func(path string, g *ir.Graph) error{
	"go": func(path string, g *ir.Graph) error { return gopkg.Write(path, g, nasc.Sources) },
	"onnx": func(path string, g *ir.Graph) error {
		return replaceFile(path, func(w io.Writer) error { return onnx.Write(w, g) })
	},
	"stablehlo": func(path string, g *ir.Graph) error {
		s, err := ir.Specialize(g, 1)
		if err != nil {
			return err
		}
		text, err := stablehlo.Write(s)
		if err != nil {
			return err
		}
		return replaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	},
	"safetensors": func(path string, g *ir.Graph) error {
		var ts []ir.NamedTensor
		for _, v := range g.Constants() {
			ts = append(ts, ir.NamedTensor{Name: v.Name, Tensor: v.Const})
		}
		return replaceFile(path, func(w io.Writer) error { return safetensors.Write(w, ts) })
	},
}

func exportNames() string { return strings.Join(slices.Sorted(maps.Keys(exporters)), ", ") }

func (a *app) export() *cobra.Command {
	var (
		format, out string
		shapes      shapeFlag
	)
	c := &cobra.Command{
		Use: "export MODEL --format F -o PATH", Short: "deployable forms of a model", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := exporters[format]
			if f == nil {
				return &diag.Error{Place: "--format", Found: fmt.Sprintf("%q", format), Wanted: "one of " + exportNames()}
			}
			if out == "" {
				return &diag.Error{Place: "-o", Found: "nothing", Wanted: "a path to write"}
			}
			if format != "go" { // which wants a new folder
				if err := writable("-o", out); err != nil {
					return err
				}
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			if len(m.Module.Graphs) > 1 {
				return &diag.Error{Place: args[0], Found: fmt.Sprintf("%d sets of shapes", len(m.Module.Graphs)), Wanted: "one", Fix: "choose one with --shape"}
			}
			if err := f(out, m.Graph()); err != nil {
				return err
			}
			return a.show(map[string]any{"format": format, "out": out}, func(w io.Writer) { fmt.Fprintf(w, "wrote %s\n", out) })
		},
	}
	f := c.Flags()
	f.StringVar(&format, "format", "", exportNames())
	f.StringVarP(&out, "output", "o", "", "where to write")
	shapes.flag(f)
	return c
}

// replaceFile writes a file wholly or not at all.
func replaceFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(dirOf(path), ".nasc-*")
	if err != nil {
		return diag.At(path, err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is what matters
	}
	return diag.At(path, err)
}
