package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nasc-dev/nasc"
	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/internal/data"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/passes"
)

func dirOf(path string) string { return filepath.Dir(path) }

// pictureData says whether DATA gives pictures, which preprocessing makes inputs
// of; .npy files and the digits enter as they are.
func pictureData(arg string) bool {
	kind, _, _ := strings.Cut(arg, ":")
	return slices.Contains([]string{"images", "cifar10", "mnist", "m2k", "m2k-test", "idx"}, kind)
}

// ready opens a model and brings it to the form that targets take.
func ready(cmd *cobra.Command, path string, shapes []map[string]ir.Shape) (*nasc.Model, error) {
	m, err := nasc.Open(path, shapes)
	if err != nil {
		return nil, err
	}
	if m.Compiled {
		return m, nil
	}
	for _, g := range m.Module.Graphs {
		if _, err := passes.Canonicalize(cmd.Context(), g, passes.Options{}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// targetOf is the target asked for, the file's own, or what fits the graph.
func targetOf(flag string, m *nasc.Model) string {
	switch {
	case flag != "":
		return flag
	case m.Manifest.Target != "":
		return m.Manifest.Target
	case nasc.Quantized(m.Graph()):
		return "cpu-int8"
	}
	return "cpu-f32"
}

// noteSets says that one of several sets of shapes is taken.
func (a *app) noteSets(path string, m *nasc.Model) {
	if n := len(m.Module.Graphs); n > 1 {
		a.note("note: %s has %d sets of shapes: the first is taken; --shape chooses", path, n)
	}
}

// noteType says where a model does not compute in the type that the target is
// named after: its figures would be taken for the other type's.
func (a *app) noteType(path string, m *nasc.Model, target string) {
	base, _ := backends.SplitName(target)
	if compiled, _ := backends.SplitName(m.Manifest.Target); compiled == base {
		return // whoever compiled it was told
	}
	switch int8 := strings.HasSuffix(base, "int8"); {
	case int8 && !nasc.Quantized(m.Graph()):
		a.note("note: %s is a float model: %s runs it in f32; nasc compile makes an int8 one", path, target)
	case base == "cpu-f32" && nasc.Quantized(m.Graph()):
		a.note("note: %s is quantized: %s runs it in int8; for f32 take the model that it was compiled from", path, target)
	}
}

func (a *app) eval() *cobra.Command {
	var (
		arg, target string
		pre         preFlags
		shapes      shapeFlag
	)
	c := &cobra.Command{
		Use: "eval FILE --data DATA", Short: "accuracy and loss on labelled data", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if arg == "" {
				return &diag.Error{Place: "--data", Found: "nothing", Wanted: data.Kinds}
			}
			m, err := ready(cmd, args[0], shapes.sets)
			if err != nil {
				return err
			}
			defer m.Close()
			f, err := pre.feed(a, m, arg)
			if err != nil {
				return err
			}
			name := targetOf(target, m)
			a.noteSets(args[0], m)
			a.noteType(args[0], m, name)
			update, finish := a.progress()
			r, err := nasc.Evaluate(cmd.Context(), m.Graph(), name, f, false, func(d, n int) { update("evaluate", d, n) })
			finish()
			if err != nil {
				return err
			}
			if r.Labels == 0 {
				return &diag.Error{Place: "--data " + arg, Found: "samples without classes", Wanted: "labelled data"}
			}
			v := struct {
				Top1 float64 `json:"top1"`
				N    int     `json:"n"`
				Loss float64 `json:"loss"`
			}{r.Top1, r.Labels, r.Loss}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "top-1 %.2f %% of %d samples, loss %.4f\n", 100*v.Top1, v.N, v.Loss)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&arg, "data", "", "DATA: "+data.Kinds)
	f.StringVar(&target, "target", "", "another target than the file's")
	pre.flags(f)
	shapes.flag(f)
	return c
}
